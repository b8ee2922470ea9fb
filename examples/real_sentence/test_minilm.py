"""The encoder beside the numbers of the model's own program, and what it refuses."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sentences import SENTENCE, TEN

import selfattn
from selfattn import _minilm

with np.load(Path(__file__).with_name("hidden_states.npz")) as file:
    OWN = dict(file)


@pytest.fixture(scope="module")
def model():
    return _minilm.MiniLM.load()


def test_hidden_states_and_weights(model):
    run = model.run(SENTENCE)
    assert run.tokens == OWN["tokens"].tolist()
    assert run.hidden.shape == (7, 16, 384)
    assert run.weights.shape == (6, 12, 16, 16)
    assert np.abs(run.hidden - OWN["hidden"]).max() < 1e-5
    assert np.abs(run.weights - OWN["weights"]).max() < 1e-5
    assert run.hidden.dtype == run.weights.dtype == np.float32


def test_a_batch_with_padding_equals_single_sentences(model):
    batch = model.encode(TEN)
    single = np.concatenate([model.encode([sentence]) for sentence in TEN])
    assert np.abs(batch - OWN["embeddings"]).max() < 1e-5
    assert np.abs(batch - single).max() < 1e-6
    assert np.abs(np.linalg.norm(batch, axis=1) - 1).max() < 1e-6


def test_edges(model):
    assert model.encode([]).shape == (0, 384)
    assert np.isfinite(model.encode([""])).all()
    assert len(model.run("word " * 1000).tokens) == _minilm.MAX_TOKENS
    with pytest.raises(TypeError, match="sequence of str"):
        model.encode("one")


def test_another_file_is_not_read(tmp_path, monkeypatch):
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 100)
    monkeypatch.setattr("safetensors.numpy.load", lambda data: pytest.fail("it was interpreted"))
    with pytest.raises(ValueError, match="SHA-256"):
        _minilm.MiniLM.load(tmp_path)


def test_demo_shows_the_head():
    done = subprocess.run(
        [sys.executable, "-m", "selfattn", "demo"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    words = [line.split()[:2] for line in done.stdout.splitlines()]
    assert ["animal", "67.7%"] in words
    assert ["street", "5.0%"] in words
    assert "number 2 of layer 4" in done.stdout


def test_every_unit_gives_the_same_head():
    code = (
        "from selfattn._minilm import MiniLM\n"
        f"run = MiniLM.load().run({SENTENCE!r})\n"
        "print(f'{run.weights[3, 1, 11, 2]:.4f}')"
    )
    for unit in selfattn.units():
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True, text=True, timeout=60, env={"SELFATTN_MAX_ISA": unit},
        )  # fmt: skip
        assert float(done.stdout) == pytest.approx(OWN["weights"][3, 1, 11, 2], abs=1e-4)
