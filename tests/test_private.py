"""The C module's private functions: what the package never passes is refused, not computed."""

import numpy as np
import pytest

from selfattn import _selfattn

X = np.zeros((3, 4), np.float32)
F = np.float32
NOTHING = ((), 0, 0, 0, None, 0, None, None, None)


def request(**changes):
    fields = dict(zip(("names", "top_k", "begin", "end", "columns", "side", "sets", "chains",
                       "progress"), NOTHING, strict=True))  # fmt: skip
    return tuple((fields | changes).values())


def test_units():
    for bad, error in ((3, TypeError), ("\ud800", UnicodeEncodeError), ("sse9", ValueError)):
        with pytest.raises(error):
            _selfattn._use_unit(bad)


@pytest.mark.parametrize("arguments", [
    (), ("scalar",), ("scalar", X), ("scalar", X, X, X), (1, X, X),
])  # fmt: skip
@pytest.mark.parametrize("name", ["gemm", "exp2", "tanh", "transpose", "shape", "fma_peak"])
def test_probes_count_and_type_their_arguments(name, arguments):
    wanted = {"tanh": 2, "transpose": 2, "shape": 2}.get(name, 3)
    if len(arguments) == wanted and isinstance(arguments[0], str) and wanted == 2:
        arguments = (*arguments, None)
    with pytest.raises((TypeError, ValueError)):
        getattr(_selfattn, f"_probe_{name}")(*arguments)


@pytest.mark.parametrize(("name", "arguments", "error"), [
    ("gemm", ("none", X, X.T), ValueError), ("gemm", ("scalar", X, X), ValueError),
    ("gemm", ("scalar", X.astype(int), X.T), TypeError), ("gemm", ("scalar", X[0], X), ValueError),
    ("gemm", ("scalar", X, X[0]), ValueError), ("gemm", ("scalar", X, X.T), ValueError),
    ("gemm", ("scalar", X, np.zeros((4, 16))), ValueError),
    ("gemm", ("scalar", X, np.zeros((3, 16), F)), ValueError),
    ("exp2", ("none", X[0], 0), ValueError), ("exp2", ("scalar", X, 0), ValueError),
    ("exp2", ("scalar", X[0], "m"), TypeError), ("tanh", ("scalar", [1], ), TypeError),
    ("transpose", ("none", X), ValueError), ("transpose", ("scalar", X[0]), ValueError),
    ("transpose", ("scalar", np.zeros((16, 1), F)), ValueError),
    ("transpose", ("scalar", np.zeros((4, 1), F)), ValueError),
    ("transpose", ("scalar", np.zeros((4, 5), F)), ValueError),
    ("transpose", ("scalar", np.zeros((8, 5), F)), ValueError),
    ("shape", ("scalar", "no type"), TypeError), ("shape", ("none", "f4"), ValueError),
    ("shape", ("scalar", "i4"), TypeError), ("fma_peak", ("scalar", "no type", 1), TypeError),
    ("fma_peak", ("none", "f4", 1), ValueError),
])  # fmt: skip
def test_probes_refuse(name, arguments, error):
    with pytest.raises(error):
        getattr(_selfattn, f"_probe_{name}")(*arguments)


SETS = np.array([[0, 0, 0]])
TOKEN = np.array([[2, 0, 0]])
CHAINS = np.zeros((1, 2, 1, 3), np.int64)


@pytest.mark.parametrize(("wanted", "error"), [
    (None, TypeError), ((1, 2), TypeError), (request(top_k="x"), TypeError),
    (request(names=3), TypeError), (request(columns=[1.0]), ValueError),
    (request(columns=np.zeros((3, 1))), ValueError),
    (request(columns=np.zeros((3, 1), F)[::-1].astype(">f4")), ValueError),
    (request(columns=np.zeros((3, 1, 1), F)), ValueError),
    (request(columns=np.zeros((4, 1), F)), ValueError),
    (request(sets=[1]), ValueError), (request(sets=SETS.astype(float)), ValueError),
    (request(sets=SETS[0]), ValueError), (request(sets=SETS[:, :2].copy()), ValueError),
    (request(sets=SETS.T), ValueError), (request(sets=SETS, chains=[1]), ValueError),
    (request(sets=SETS, chains=CHAINS[:, :1].copy()), ValueError),
    (request(sets=SETS, chains=np.repeat(CHAINS, 2, axis=2)), ValueError),
    (request(sets=SETS, chains=CHAINS[..., :2].copy()), ValueError),
    (request(sets=SETS.astype(">i8")), ValueError), (request(sets=TOKEN), ValueError),
    (request(sets=np.repeat(TOKEN, 2, axis=0), chains=CHAINS), ValueError),
])  # fmt: skip
def test_requests_for_statistics(wanted, error):
    with pytest.raises(error):
        _selfattn._attention_stats(wanted, X, X, X)


@pytest.mark.parametrize("names", [("top_weights",), ("top_indices",), ("overview_max",),
                                   ("overview_mean",)])  # fmt: skip
def test_one_of_two_statistics_is_neither(names):
    """Kept weights have indices, and an overview both its numbers: half of it is left as zeros."""
    found = _selfattn._attention_stats(request(names=names, top_k=2, side=2), X, X, X)
    assert sorted(found) == sorted({"output", "lse", *names})
    assert (found[names[0]] == 0).all()


def test_statistics_without_a_request():
    with pytest.raises(TypeError, match="needs a request"):
        _selfattn._attention_stats()
    with pytest.raises(TypeError, match="missing"):
        _selfattn._attention_stats(NOTHING)


@pytest.mark.parametrize("bad", [None, (), (None, None), [None] * 3])
def test_output_memory(bad):
    with pytest.raises(TypeError, match="a tuple of three"):
        _selfattn._check_output_memory(bad)


def test_output_memory_of_any_type():
    y = np.zeros(8, "M8[s]")
    assert _selfattn._check_output_memory((y[:4], None, y[4:])) is None
    with pytest.raises(ValueError, match="share memory"):
        _selfattn._check_output_memory((y[:5], None, y[4:]))


def test_output_memory_at_random(rng):
    """Two small arrays with any strides share memory iff a byte is in both."""
    memory, counts = np.zeros(400, np.uint8), [0, 0]

    def view(at, dtype, shape, strides):
        return np.lib.stride_tricks.as_strided(memory[200 + at :].view(dtype)[:1], shape, strides)

    def places(at, dtype, shape, strides):
        first = at + np.tensordot(strides, np.indices(shape), 1)
        return (first[..., None] + np.arange(np.dtype(dtype).itemsize)).ravel()

    for _ in range(4000):
        layouts = []
        for dtype in rng.choice(["?", "f2", "f4"], 2):
            size = np.dtype(dtype).itemsize
            axes = rng.integers(1, 4)
            layouts.append((size * rng.integers(-12, 12), dtype, rng.integers(1, 4, axes),
                            size * rng.integers(-5, 6, axes)))  # fmt: skip
        a, b = (places(*layout) for layout in layouts)
        shared = len({*a}) + len({*b}) != len({*a, *b})
        shared |= any(len({*x}) < x.size for x in (a, b))
        counts[shared] += 1
        given = [view(*layout) for layout in layouts]
        if shared:
            with pytest.raises(ValueError, match=r"memory|itself"):
                _selfattn._check_output_memory((given[0], None, given[1]))
        else:
            _selfattn._check_output_memory((given[0], None, given[1]))
    assert min(counts) > 400


def odd(array):
    """The same numbers at an odd address."""
    moved = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    moved[...] = array
    return moved


def readonly(array):
    array = array.copy()
    array.flags.writeable = False
    return array


W, B, Y = np.ones((4, 5), F), np.ones(5, F), np.zeros((3, 5), F)


@pytest.mark.parametrize(("x", "weight", "bias", "y", "error"), [
    (X, W, B, None, TypeError), (X, W, B, Y.astype(int), TypeError), (X, W, B, odd(Y), TypeError),
    (X, W, B, Y.astype(">f4"), TypeError), (X, W, B, readonly(Y), TypeError),
    (X.astype(int), W, B, Y, TypeError), (X, W.astype(int), B, Y, TypeError),
    (X, W, B > 0, Y, TypeError), (None, W, B, Y, TypeError), (X, W, B[:4], Y, ValueError),
    (X, W, W, Y, ValueError), (X.astype(float), W, B, Y, (TypeError, ValueError)),
    (X, W.astype(float), B, Y, (TypeError, ValueError)), (X, W, B, X[:, :3], ValueError),
    (X, W[:3], B, Y, ValueError), (X, W[0], B, Y, ValueError), (X, W, B, Y[0], ValueError),
    (X, W, B, Y[:2], ValueError),
])  # fmt: skip
def test_products_refuse(x, weight, bias, y, error):
    _selfattn._linear(X, W, B, Y, None)
    with pytest.raises(error):
        _selfattn._linear(x, weight, bias, y, None)


def test_products_count_their_arguments():
    with pytest.raises(TypeError, match="5 arguments"):
        _selfattn._linear(X, W)
    for bad in (0, "2"):
        with pytest.raises((TypeError, ValueError), match="num_threads"):
            _selfattn._linear(X, W, B, Y, bad)
    with pytest.raises(ValueError, match=r"memory|overlap|share"):
        _selfattn._linear(Y, np.ones((5, 5), F), None, Y, None)
