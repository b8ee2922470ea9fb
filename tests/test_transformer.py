"""The Transformer of examples/transformer beside PyTorch's numbers, on every instruction set."""

import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parent.parent / "examples" / "transformer"
sys.path.insert(0, str(FOLDER))
from decoder import Decoder, generate  # noqa: E402
from encoder import Encoder, EncoderLayer, embed, part  # noqa: E402

with np.load(FOLDER / "torch_layers.npz") as file:
    NUMBERS = dict(file)
LENGTHS = np.array([8, 5])
TOLERANCE = {np.float64: 1e-12, np.float32: 2e-5}
NORMS = pytest.mark.parametrize("norm", ["post", "pre"])
DTYPES = pytest.mark.parametrize("dtype", [np.float64, np.float32])


def stack(kind, norm, dtype=np.float64):
    state = part(NUMBERS, f"{kind}, {norm}-norm/state/")
    state = {name: x.astype(dtype) for name, x in state.items()}
    return {"encoder": Encoder, "decoder": Decoder}[kind].from_torch(state, 4, norm == "pre")


@NORMS
@DTYPES
def test_encoder(unit, norm, dtype):
    out = stack("encoder", norm, dtype)(NUMBERS["memory"].astype(dtype), key_lengths=LENGTHS)
    seen = np.arange(8) < LENGTHS[:, None]
    assert out.dtype == dtype
    difference = np.abs(out - NUMBERS[f"encoder, {norm}-norm/out"])[seen].max()
    assert difference < TOLERANCE[dtype]


@NORMS
@DTYPES
def test_decoder(unit, norm, dtype):
    x, memory = (NUMBERS[name].astype(dtype) for name in ("x", "memory"))
    out = stack("decoder", norm, dtype)(x, memory, LENGTHS)
    assert out.dtype == dtype
    assert np.abs(out - NUMBERS[f"decoder, {norm}-norm/out"]).max() < TOLERANCE[dtype]


@NORMS
def test_padding_and_future_do_not_matter(norm):
    """NaN where nobody may look changes nothing for those who may not."""
    x, memory = NUMBERS["x"].copy(), NUMBERS["memory"].copy()
    decoder = stack("decoder", norm)
    first = decoder(x, memory, LENGTHS)
    memory[1, 5:] = np.nan
    x[:, -1] = np.nan
    with np.errstate(invalid="ignore"):
        again = decoder(x, memory, LENGTHS)
    assert np.abs(again[:, :-1] - first[:, :-1]).max() < 1e-13


@NORMS
def test_weights(norm):
    encoder, decoder = stack("encoder", norm), stack("decoder", norm)
    weights = encoder.layers[0].weights(NUMBERS["memory"], key_lengths=LENGTHS)
    assert weights.shape == (2, 4, 8, 8)
    assert not weights[1, ..., 5:].any()
    past, cross = decoder.layers[0].weights(NUMBERS["x"], NUMBERS["memory"])
    assert not np.triu(past, 1).any()
    assert cross.shape == (2, 4, 7, 8)
    for one in (weights, past, cross):
        assert np.abs(one.sum(axis=-1) - 1).max() < 1e-14


def test_generated_tokens_are_the_likeliest():
    rng = np.random.default_rng(0)
    table, readout = rng.standard_normal((30, 16)), rng.standard_normal((16, 30))
    decoder, memory = stack("decoder", "pre"), NUMBERS["memory"][0]
    written = generate(decoder, memory, table, readout, start=3, n=6)
    whole = decoder(embed(np.array([3, *written[:-1]]), table), memory) @ readout
    assert whole.argmax(axis=-1).tolist() == written


def test_small_enough_to_read():
    for name in ("encoder", "decoder"):
        assert len((FOLDER / f"{name}.py").read_text(encoding="utf-8").splitlines()) <= 150
    assert EncoderLayer.__doc__
