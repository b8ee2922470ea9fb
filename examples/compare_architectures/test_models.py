"""The models compute what their names say: beside the formulas, in float64."""

import measure
import models
import numpy as np
import pytest

import selfattn

RNG = np.random.default_rng(5)
X = RNG.standard_normal((20, models.WIDTH), dtype=np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("forget_bias", [0.0, 3.0])
def test_lstm(forget_bias):
    rng, width = np.random.default_rng(0), models.WIDTH
    w = models.uniform(rng, width, 4 * width, width).astype(np.float64)
    r = models.uniform(rng, width, 4 * width, width).astype(np.float64)
    b = models.uniform(rng, width, 2, 4 * width).astype(np.float64).sum(axis=0)
    b[2 * width : 3 * width] += forget_bias
    h = c = np.zeros(width)
    states = []
    for x in X:
        i, o, f, g = np.split(w @ x + r @ h + b, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        states.append(h)
    np.testing.assert_allclose(models.lstm(forget_bias=forget_bias)(X), states, atol=1e-6)


@pytest.mark.parametrize("dilations", [(1,), (4,), (1, 2)])
def test_cnn(dilations):
    rng, width = np.random.default_rng(0), models.WIDTH
    y = X.astype(np.float64)
    for apart in dilations:
        w = np.sqrt(2) * models.uniform(rng, width, width, width, models.KERNEL)
        padded = np.pad(y, ((apart, apart), (0, 0)))
        taps = [padded[k * apart : k * apart + len(y)] @ w[:, :, k].T for k in range(3)]
        y = np.maximum(sum(taps), 0)
    np.testing.assert_allclose(models.cnn(dilations=dilations)(X), y, atol=1e-5)


def test_lookup_reads_the_token_of_the_same_name():
    x = X.copy()
    half = models.WIDTH // 2
    x[-1, :half] = x[3, :half]
    _, weights = models.lookup()(x, return_weights=True)
    assert weights[0, -1, [3, -1]].sum() > 0.9


def test_measure_times_every_layer(monkeypatch):
    monkeypatch.setattr(measure, "TOKENS", {64: [16], 512: [16]})
    monkeypatch.setattr(measure, "SECONDS", 0.001)
    points = measure.measure_all()
    assert {(p["layer"], p["width"], p["threads"]) for p in points} == {
        (name, width, threads)
        for name in models.LAYERS
        for width in (64, 512)
        for threads in (1, 2)
    }
    assert all(0 < p["seconds"] < 60 for p in points)


def test_attention_is_the_library_s_layer():
    layer = selfattn.MultiHeadAttention(models.WIDTH, models.HEADS[models.WIDTH], rng=0)
    assert models.attention()(X).tobytes() == layer(X).tobytes()
