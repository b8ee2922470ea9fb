"""Numbers from elsewhere: PyTorch, ONNX's reference implementation, and cases worked by hand.

tests/data/make_golden.py made them; neither the C core nor `selfattn.reference` had a part in it,
and each of the two is held to them separately.
"""

import json
from pathlib import Path

import numpy as np
import pytest

import selfattn
from selfattn import reference

with np.load(Path(__file__).parent / "data" / "golden.npz") as file:
    GOLDEN = dict(file)
CASES = json.loads(str(GOLDEN.pop("cases")))
# The largest error of the other implementations themselves, relative to the largest value.
TOLERANCE = {np.float64: 2e-14, np.float32: 4e-6}


def arguments(case, dtype):
    options = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in case["options"].items()
    }
    for name in case["arrays"]:
        x = GOLDEN[f"{case['name']}/{name}"]
        options[name] = x.astype(dtype) if name in ("query", "key", "value") else x
    return options


def hold(attention, case, dtype):
    results = case["expected"]
    given = arguments(case, dtype)
    weights = "mean" if "mean" in results else True
    out, p, lse = attention(**given, return_weights=weights, return_lse=True)
    got = {"out": out, "weights": p, "mean": p, "lse": lse}
    for name in results:
        right = GOLDEN[f"{case['name']}/expected {name}"]
        assert got[name].shape == right.shape, name
        scale = np.abs(GOLDEN[f"{case['name']}/value"]).max(initial=1) if name == "out" else 1
        tolerance = TOLERANCE[dtype] * max(1, scale)
        with np.errstate(invalid="ignore"):
            same = (np.abs(got[name] - right) <= tolerance) | (got[name] == right)
        assert same.all(), f"{name}: {got[name]} is not {right}"


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_c(unit, case, dtype):
    hold(selfattn.attention, case, dtype)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_reference(case):
    hold(reference.attention, case, np.float64)


def test_there_are_enough():
    """At least 40 cases, from three sources, and every option among them."""
    assert len(CASES) >= 40
    assert len({case["source"] for case in CASES}) == 3
    used = {name for case in CASES for name in (*case["options"], *case["arrays"])}
    assert used >= {
        "mask", "bias", "causal", "window", "query_offset", "scale", "softcap", "alibi_slopes",
        "sinks", "key_lengths",
    }  # fmt: skip
    results = {name for case in CASES for name in case["expected"]}
    assert results == {"out", "weights", "mean", "lse"}
