"""A layer's call without options, which goes through one function of the C module: the bytes of the
same call step by step, and what that function refuses."""

import signal
import threading
import time

import numpy as np
import pytest

import selfattn
from arrays import LAYOUTS, in_layout, same_bits, tensor
from selfattn import _selfattn

LAYERS = {
    "8 heads": ((64, 8), {}),
    "grouped heads": ((48, 6), {"num_kv_heads": 2}),
    "one head, no bias": ((17, 1), {"bias": False}),
    "no features": ((0, 2), {}),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("sizes", "options"), LAYERS.values(), ids=LAYERS)
def test_same_bytes_as_step_by_step(unit, rng, sizes, options, dtype):
    layer = selfattn.MultiHeadAttention(*sizes, **options, dtype=dtype, rng=1)
    if layer.b_q is not None:
        layer.b_q[...], layer.b_o[...] = tensor(rng, sizes[0]), tensor(rng, sizes[0])
    for shape in ((10,), (1, 1), (3, 70), (2, 0), (0, 5), (2, 2, 33), (1,) * 6 + (4,)):
        x = tensor(rng, (*shape, sizes[0]), dtype)
        for causal in (False, True):
            at_once = layer(x, causal=causal)
            steps, _ = layer(x, causal=causal, return_weights=True)
            assert same_bits(at_once, steps)
            for threads in (1, 3):
                assert same_bits(layer(x, causal=causal, num_threads=threads), at_once)
    x = tensor(rng, (2, 9, sizes[0]), dtype)
    for layout in LAYOUTS:
        assert same_bits(layer(in_layout(x, layout)), layer(x)), layout


def test_what_it_is_not_for(unit, rng, monkeypatch):
    """Other types, options and inputs go step by step; a slip in a number is reported as there."""
    layer = selfattn.MultiHeadAttention(8, 2, rng=0)
    x = tensor(rng, (5, 8))
    right = layer(x)
    calls = []
    at_once = selfattn._multi_head._attend_layer
    monkeypatch.setattr(
        selfattn._multi_head, "_attend_layer", lambda *a: calls.append(a) or at_once(*a)
    )
    assert same_bits(layer(x), right)
    assert len(calls) == 1
    for got in (
        layer(x.tolist()), layer(x.astype(">f4")), layer(x.astype(np.float64)), layer(x, x),
        layer(x, causal="upper_left"), layer(x, return_weights=True)[0], layer(x, None, x),
        layer(x, out=np.empty_like(x)), layer(x, mask=np.ones((5, 5), bool)),
    ):  # fmt: skip
        assert got.shape == x.shape
    assert len(calls) == 1
    with pytest.raises(ValueError, match="num_threads"):
        layer(x, num_threads=0)
    with pytest.raises(ValueError, match="query"):
        layer(x[:, :7])
    with pytest.raises(ValueError, match="query"):
        layer(x[0])


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


GOOD = (zeros(3, 4), zeros(4, 8), zeros(8), zeros(4, 5), zeros(5), 2, 1, False, None)


@pytest.mark.parametrize(("at", "bad", "error"), [
    (0, zeros(4), ValueError), (0, zeros(3, 5), ValueError), (0, zeros(3, 4, dtype=int), TypeError),
    (0, zeros(3, 4, dtype=np.float16), TypeError), (0, zeros(*[1] * 63, 4), ValueError),
    (1, zeros(4, 9), ValueError), (1, zeros(4), ValueError),
    (1, zeros(4, 8, dtype=float), TypeError),
    (2, zeros(7), ValueError), (3, zeros(5, 5), ValueError), (3, zeros(4, 4, 5), ValueError),
    (4, zeros(4), ValueError), (5, 0, ValueError), (5, 3, ValueError), (5, "2", TypeError),
    (5, 2**70, OverflowError), (6, -1, ValueError), (6, 2**61, ValueError), (7, 1, TypeError),
    (8, 0, ValueError), (1, None, TypeError),
])  # fmt: skip
def test_errors(at, bad, error):
    arguments = list(GOOD)
    assert _selfattn._attend_layer(*arguments).shape == (3, 5)
    arguments[at] = bad
    with pytest.raises(error):
        _selfattn._attend_layer(*arguments)


def test_number_of_arguments():
    with pytest.raises(TypeError, match="9 arguments"):
        _selfattn._attend_layer(*GOOD[:5])


def call_often(layer, x):
    for _ in range(1000):
        layer(x)


def test_interrupt(unit, interruptible):
    layer, x = selfattn.MultiHeadAttention(512, 8), np.ones((1, 4000, 512), np.float32)

    def interrupt():
        time.sleep(0.3)
        signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    begin = time.perf_counter()
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        call_often(layer, x)
    thread.join()
    assert time.perf_counter() - begin < 3
