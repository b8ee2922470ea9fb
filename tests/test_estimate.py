"""`estimate`: pairs counted one by one, bytes against real arrays, memory against a real call."""

import resource
import sys
from concurrent.futures import ThreadPoolExecutor

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings

import selfattn
from problems import problems
from selfattn import _estimate, reference

RATES = {"peak": 1e11, "bandwidth": 1e10, "num_threads": 1}


@settings(max_examples=settings.default.max_examples // 10)
@given(problem=problems())
def test_pairs_and_bytes(problem):
    """FLOPs of the visible pairs, and the sizes of the very arrays."""
    shapes = [x.shape for x in (problem.query, problem.key, problem.value)]
    options = {name: x for name, x in problem.options.items()
               if name in ("causal", "window", "query_offset", "key_lengths")}  # fmt: skip
    given_offset = "query_offset" in options or options.get("causal") in (
        "upper_left", "lower_right")  # fmt: skip
    if shapes[0][-2] != shapes[1][-2] and not given_offset and "window" in options:
        options["query_offset"] = 0
    options |= {"return_weights": problem.return_weights, "return_lse": problem.return_lse}
    found = selfattn.estimate(*shapes, dtype=problem.query.dtype, **options, **RATES)
    counted = reference.estimate(*shapes, dtype=problem.query.dtype, **options, **RATES)
    assert found == counted
    results = problem.run(selfattn.attention)
    results = results if isinstance(results, tuple) else (results,)
    assert found.bytes_written == sum(x.nbytes for x in results)
    if "key_lengths" not in options:
        assert found.bytes_read == sum(
            np.prod(s, dtype=int) * problem.query.itemsize for s in shapes
        )
    assert found.memory >= found.bytes_written
    assert found.seconds > 0


def test_the_article_on_cost():
    """n = 1,000: a million dot products for one head; twice the tokens, four times the work."""
    one, two = (selfattn.estimate((n, 64), **RATES) for n in (1000, 2000))
    assert one.pairs == 1_000_000
    assert one.flops == 256_000_000
    assert two.flops == 4 * one.flops
    causal = selfattn.estimate((1000, 64), causal=True, **RATES)
    assert causal.pairs == 500_500
    window = selfattn.estimate((1000, 64), window=(255, 0), **RATES)
    assert window.pairs == 256 * 1000 - 256 * 255 // 2


def test_memory():
    """O(n) without weights, O(n^2) with them and for who holds all scores."""
    small, large = (selfattn.estimate((1, 8, n, 64), **RATES) for n in (4096, 65536))
    assert large.memory < 17 * small.memory
    assert large.dense_memory - large.bytes_written == 8 * 65536**2 * 4
    weights = selfattn.estimate((1, 8, 4096, 64), return_weights=True, **RATES)
    assert weights.bytes_written == small.bytes_written + 8 * 4096**2 * 4
    mean = selfattn.estimate((1, 8, 4096, 64), return_weights="mean", **RATES)
    assert mean.bytes_written == small.bytes_written + 4096**2 * 4
    half = selfattn.estimate((1, 8, 4096, 64), dtype=np.float16, return_weights=True, **RATES)
    assert half.dense_memory == half.bytes_written + 8 * 4096**2 * 4


def test_memory_of_a_real_call():
    """What a call adds to the process is at most what was said, and half a MiB."""
    if sys.platform != "linux":
        return
    arrays = [np.ones((2, 20_000, 64), np.float32) for _ in range(3)]
    found = selfattn.estimate(arrays[0].shape, window=64, **RATES)
    selfattn.attention(*(x[:, :2000] for x in arrays), window=64, num_threads=1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    selfattn.attention(*arrays, window=64, num_threads=1)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (after - before) * 1024 <= found.memory + (1 << 19)


def test_time_follows_the_limits():
    long = selfattn.estimate((1, 8, 4096, 64), **RATES)
    assert long.seconds == pytest.approx(long.flops / 0.7e11, rel=0.02)
    decode = selfattn.estimate((1, 32, 1, 128), (1, 8, 8192, 128), **RATES)
    assert decode.seconds == pytest.approx(decode.bytes_read / 1e10, rel=0.02)
    two = selfattn.estimate((1, 8, 4096, 64), **RATES | {"num_threads": 2})
    assert (two.threads, two.seconds) == (2, pytest.approx(long.seconds / 2, rel=0.02))
    assert selfattn.estimate((3, 3), **RATES | {"num_threads": 8}).threads == 1


def test_measured_rates():
    """Without given rates both are measured, once."""
    first = selfattn.estimate((1, 8, 256, 64), num_threads=1)
    assert 0 < first.seconds < 10
    assert selfattn.estimate((1, 8, 256, 64), num_threads=1).seconds == first.seconds


def test_rates_measured_by_threads_at_once(monkeypatch):
    """All see what the first to end has measured."""
    monkeypatch.setattr(_estimate, "_rates", {})
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda _: selfattn.estimate((1, 8, 256, 64), num_threads=1), range(4))
    assert len({one.seconds for one in found}) == 1


def test_types_and_sizes():
    for dtype, size in ((np.float64, 8), ("float32", 4), ("f2", 2), (ml_dtypes.bfloat16, 2)):
        found = selfattn.estimate((4, 8), dtype=dtype, **RATES)
        assert (found.bytes_read, found.bytes_written) == (3 * 32 * size, 32 * size)
    for shapes in (((0, 8),), ((0, 3, 5, 8),), ((2, 0, 5, 8),), ((5, 0),), ((2, 4, 8), (2, 0, 8))):
        assert selfattn.estimate(*shapes, **RATES).flops == 0


ERRORS = [
    (((3,),), {}, ValueError, ["query", "(3,)"]),
    ((5,), {}, TypeError, ["query", "shape", "int"]),
    (((3, 4.0),), {}, TypeError, ["query", "float"]),
    (((3, -4),), {}, ValueError, ["query", "-4"]),
    (((3, 4), (5, 6)), {}, ValueError, ["key", "6", "4"]),
    (((3, 4), (5, 4)), {"causal": True}, ValueError, ["lower_right"]),
    (((3, 4),), {"dtype": int}, TypeError, ["dtype", "int64"]),
    (((3, 4),), {"peak": 0}, ValueError, ["peak", "0"]),
    (((3, 4),), {"bandwidth": "fast"}, TypeError, ["bandwidth", "str"]),
    (((3, 4),), {"window": -1}, ValueError, ["window", "-1"]),
    (((2**46, 4),), {"return_weights": True}, MemoryError, ["weights"]),
]


@pytest.mark.parametrize(("args", "keywords", "error", "texts"), ERRORS)
def test_errors(args, keywords, error, texts):
    with pytest.raises(error) as caught:
        selfattn.estimate(*args, **keywords)
    assert [part for part in texts if part not in str(caught.value)] == [], str(caught.value)
