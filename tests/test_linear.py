"""The projection of the layer, y = x @ weight + bias, alone: `_selfattn._linear`.

The bound of every element is 32 u (|x| @ |weight| + |bias|) + tiny (n_in + 1), half a unit in the
last place of a 16-bit y on top, and on arrays of numbers without a pattern an rms error of at most
twice NumPy's own product in the same type.
"""

import signal
import threading
import time

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracle
from arrays import DTYPES, KINDS, LAYOUTS, in_layout, poisoned, same_bits, tensor
from selfattn import _selfattn

EXAMPLES = settings.default.max_examples
HALF = (np.float16, ml_dtypes.bfloat16)
SIZES = (0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 100, 129)
# Parts, strips and chunks of features begin here.
FEATURES = (*SIZES, 255, 256, 257, 320, 511, 513, 1023, 1024, 1025, 1100, 2048, 2113, 3000)


def linear(x, weight, bias=None, *, dtype=None, num_threads=None):
    dtype = np.result_type(x, weight) if dtype is None else dtype
    y, around = poisoned((*x.shape[:-1], weight.shape[1]), dtype)
    assert _selfattn._linear(x, weight, bias, y, num_threads) is y
    around = around.copy()
    around[tuple(slice(3, -3) for _ in y.shape)] = np.nan
    assert np.isnan(around).all(), "written beside y"
    return y.copy()


def expected(x, weight, bias, dtype):
    """The product in a wider type, and the bound."""
    is_f64 = np.dtype(dtype) == np.float64
    wide = np.longdouble if is_f64 else np.float64
    u, tiny = (2.0**-53, 2.0**-1022) if is_f64 else (2.0**-24, 2.0**-126)
    x, weight = x.astype(wide), weight.astype(wide)
    bias = np.zeros(weight.shape[1], wide) if bias is None else bias.astype(wide)
    size = np.abs(x) @ np.abs(weight) + np.abs(bias)
    return x @ weight + bias, 32 * u * size + tiny * (x.shape[-1] + 1)


def hold(x, weight, bias=None, dtype=None, **more):
    dtype = np.result_type(x, weight) if dtype is None else np.dtype(dtype)
    y = linear(x, weight, bias, dtype=dtype, **more)
    right, bound = expected(x, weight, bias, dtype)
    oracle.check_close("y", y, right, bound)
    return y


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_in", FEATURES)
def test_all_depths(unit, rng, dtype, n_in):
    for kind in KINDS:
        hold(*(tensor(rng, s, dtype, kind) for s in ((5, n_in), (n_in, 21), (21,))))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_out", SIZES)
def test_all_tails(unit, rng, dtype, n_out):
    for rows in SIZES:
        x, weight = tensor(rng, (rows, 70), dtype), tensor(rng, (70, n_out), dtype)
        hold(x, weight, tensor(rng, (n_out,), dtype))
        hold(x, np.asfortranarray(weight))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_in", [64, 512, 1500])
def test_rms(unit, rng, dtype, n_in):
    x, weight = tensor(rng, (100, n_in), dtype), tensor(rng, (n_in, 96), dtype)
    y = linear(x, weight)
    right, _ = expected(x, weight, None, dtype)
    assert oracle.rms_error(y, right) <= 2 * oracle.rms_error(x @ weight, right)


@pytest.mark.parametrize("x_dtype", DTYPES, ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize("w_dtype", DTYPES, ids=lambda t: np.dtype(t).name)
def test_every_type_beside_every_other(unit, rng, x_dtype, w_dtype):
    for y_dtype in [np.float64] if np.float64 in (x_dtype, w_dtype) else DTYPES:
        for n_in, n_out in ((33, 17), (64, 48)):
            x, weight = tensor(rng, (9, n_in), x_dtype), tensor(rng, (n_in, n_out), w_dtype)
            hold(x, weight, tensor(rng, n_out, w_dtype), y_dtype)


@pytest.mark.parametrize("dtype", HALF)
def test_16_bit_types_are_rounded_once(unit, rng, dtype):
    x, weight, bias = (tensor(rng, s, dtype) for s in ((13, 100), (100, 50), (50,)))
    wide = linear(*(a.astype(np.float32) for a in (x, weight, bias)))
    assert same_bits(linear(x, weight, bias), wide.astype(dtype))


def test_threads_and_neighbours(unit, rng):
    """A row's bytes depend on that row alone: not on threads, on how many rows there are, nor on
    what the others hold."""
    for rows, n_in, n_out in ((200, 300, 70), (3, 2000, 500), (1000, 40, 33)):
        x, weight = tensor(rng, (rows, n_in)), tensor(rng, (n_in, n_out))
        bias = tensor(rng, n_out)
        first = linear(x, weight, bias, num_threads=1)
        for threads in (2, 3, 4):
            assert same_bits(linear(x, weight, bias, num_threads=threads), first)
        for i in {0, rows // 2, rows - 1}:
            assert same_bits(linear(x[i : i + 1], weight, bias)[0], first[i])
            for value in (np.nan, np.inf, 1e38):
                others = np.full_like(x, value)
                others[i] = x[i]
                assert same_bits(linear(others, weight, bias)[i], first[i])
        for j in {0, n_out // 2, n_out - 1}:
            assert same_bits(linear(x, weight[:, j : j + 1], bias[j : j + 1])[:, 0], first[:, j])


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize("n_in", [255, 256, 261, 400, 1100])
def test_few_rows(unit, rng, dtype, n_in):
    """A few tokens read the weights where they lie, however these lie: the same bytes as many."""
    x, weight, bias = (tensor(rng, s, dtype) for s in ((40, n_in), (n_in, 77), (77,)))
    x[3] = -0.0  # zeros of either sign, which a sum that starts from +0 would lose
    bias[::2] = -0.0
    first = linear(x, weight, bias)
    turned, apart = np.asfortranarray(weight), np.repeat(weight, 2, axis=1)[:, ::2]
    for rows in range(1, 20):
        for w in (weight, turned) if rows > 4 else (weight, turned, apart):
            assert same_bits(linear(x[:rows], w, bias), first[:rows]), rows
    for n_out in (1, 7, 8, 9, 15, 16, 17, 33):
        for w in (weight, turned):
            assert same_bits(linear(x[2:5], w[:, -n_out:], bias[-n_out:]), first[2:5, -n_out:])


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda t: np.dtype(t).name)
def test_layouts(unit, rng, dtype):
    """Any strides of x, weight, bias and y, the same bytes; and leading axes of any shape."""
    arrays = tensor(rng, (3, 20, 70), dtype), tensor(rng, (70, 45), dtype), tensor(rng, 45, dtype)
    first = linear(*arrays)
    assert same_bits(linear(arrays[0].reshape(60, 70), *arrays[1:]).reshape(first.shape), first)
    for layout in LAYOUTS:
        if layout == "byte_swapped" and np.dtype(dtype).kind != "f":
            continue
        for which in range(3):
            moved = [in_layout(a, layout) if i == which else a for i, a in enumerate(arrays)]
            assert same_bits(linear(*moved), first), (layout, which)
        if layout not in ("unaligned", "byte_swapped"):
            y = in_layout(np.empty_like(first), layout)
            _selfattn._linear(*arrays, y, None)
            assert same_bits(np.ascontiguousarray(y), first), layout
    repeated = np.broadcast_to(arrays[0][1], (4, 20, 70))
    assert same_bits(linear(repeated, *arrays[1:]), np.stack([first[1]] * 4))


def test_leading_axes(unit, rng):
    weight = tensor(rng, (6, 5))
    for shape in ((), (1,), (0,), (2, 0, 3), (1, 1), (2, 1, 3, 4), (1,) * 6):
        x = tensor(rng, (*shape, 6))
        assert linear(x, weight).shape == (*shape, 5)
        hold(x, weight)
    x = tensor(rng, (2, 3, 4, 6)).transpose(2, 0, 1, 3)
    hold(x, weight)
    hold(x[::-1, :, ::2], weight)


def test_not_finite(unit, rng):
    """As by the formula: an infinity or NaN spoils its row, or its column of weights, no more."""
    for n_in in (5, 300, 1500):
        x, weight = tensor(rng, (30, n_in)), tensor(rng, (n_in, 40))
        clean = linear(x, weight)
        x[3, n_in - 1], x[20, 0], weight[n_in // 2, 7] = np.nan, np.inf, -np.inf
        with np.errstate(all="ignore"):
            right = x.astype(np.float64) @ weight.astype(np.float64)
        y = linear(x, weight)
        assert np.array_equal(np.isnan(y), np.isnan(right))
        finite = np.isfinite(right)
        assert same_bits(y[finite], clean[finite])
        assert np.array_equal(y[np.isinf(right)], right[np.isinf(right)])


@settings(max_examples=EXAMPLES // 10)
@given(
    st.integers(0, 2**32 - 1), st.integers(0, 140), st.integers(0, 1300), st.integers(0, 140),
    st.sampled_from(DTYPES), st.sampled_from(KINDS), st.sampled_from(LAYOUTS[:5]), st.booleans(),
)  # fmt: skip
def test_any(unit, seed, rows, n_in, n_out, dtype, kind, layout, biased):
    rng = np.random.default_rng(seed)
    x, weight = tensor(rng, (rows, n_in), dtype, kind), tensor(rng, (n_in, n_out), dtype, kind)
    bias = tensor(rng, n_out, dtype, kind) if biased else None
    y = hold(in_layout(x, layout), in_layout(weight, layout), bias)
    assert same_bits(linear(x, weight, bias, num_threads=3), y)


def test_no_floating_point_traces(unit, rng):
    x, weight = tensor(rng, (4, 9)) * np.float32(1e37), tensor(rng, (9, 5)) * np.float32(1e37)
    with np.errstate(all="raise"):
        linear(x, weight)
        assert np.float32(1) / np.float32(3) == np.float32(1 / 3)


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


SHARED = zeros(100)


@pytest.mark.parametrize(("arguments", "error", "texts"), [
    ((zeros(2, 3), zeros(4, 5), None, zeros(2, 5)), ValueError, ["x", "(2, 3)", "(4, 5)"]),
    ((zeros(), zeros(4, 5), None, zeros(5)), ValueError, ["x", "()"]),
    ((zeros(2, 3), zeros(3), None, zeros(2)), ValueError, ["weight", "(3,)"]),
    ((zeros(2, 3), zeros(3, 5), zeros(4), zeros(2, 5)), ValueError, ["bias", "(4,)", "(5,)"]),
    ((zeros(2, 3), zeros(3, 5), None, zeros(2, 4)), ValueError, ["y", "(2, 4)", "5"]),
    ((zeros(2, 3), zeros(3, 5), None, zeros(3, 5)), ValueError, ["y", "(3, 5)", "(2, 3)"]),
    ((zeros(2, 3), zeros(3, 5), None, zeros(1, 2, 5)), ValueError, ["y", "(1, 2, 5)"]),
    ((zeros(2, 3, dtype=int), zeros(3, 5), None, zeros(2, 5)), TypeError, ["x", "int64"]),
    ((zeros(2, 3), zeros(3, 5, dtype=bool), None, zeros(2, 5)), TypeError, ["weight", "bool"]),
    ((zeros(2, 3), zeros(3, 5), None, zeros(2, 5, dtype=int)), TypeError, ["y"]),
    ((zeros(2, 3), zeros(3, 5), None, zeros(2, 5, dtype=">f4")), TypeError, ["y", "native"]),
    ((zeros(2, 3, dtype=float), zeros(3, 5), None, zeros(2, 5)), TypeError, ["y", "float64"]),
    ((zeros(2, 3), zeros(3, 5), None, [0.0]), TypeError, ["y", "list"]),
    ((SHARED[:6].reshape(2, 3), zeros(3, 5), None, SHARED[5:15].reshape(2, 5)), ValueError,
     ["y", "overlaps"]),
    ((zeros(2, 3), zeros(3, 5), None, np.lib.stride_tricks.as_strided(SHARED, (2, 5), (4, 4))),
     ValueError, ["y", "overlaps"]),
])  # fmt: skip
def test_errors(arguments, error, texts):
    with pytest.raises(error) as caught:
        _selfattn._linear(*arguments, None)
    assert [part for part in texts if part not in str(caught.value)] == [], str(caught.value)


def test_errors_of_the_call():
    with pytest.raises(TypeError, match="5 arguments"):
        _selfattn._linear(zeros(2, 3), zeros(3, 5))
    with pytest.raises(ValueError, match="num_threads"):
        _selfattn._linear(zeros(2, 3), zeros(3, 5), None, zeros(2, 5), 0)


HUGE = 2**40


@pytest.mark.parametrize(("x", "weight", "y"), [
    ((HUGE, 3), (3, 5), (HUGE, 5)),
    ((2**31, 2**31, 1, 3), (3, 5), (2**31, 2**31, 1, 5)),
    ((2, 2**55), (2**55, 5), (2, 5)),
    ((2, 3), (3, 2**60), (2, 2**60)),
])  # fmt: skip
def test_sizes_that_fit_nowhere(x, weight, y):
    """Views of one number with astronomic shapes; y can only be one that overlaps itself."""
    one = np.zeros(1, np.float32)
    view = lambda shape: np.lib.stride_tricks.as_strided(one, shape, (0,) * len(shape))  # noqa: E731
    with pytest.raises((ValueError, MemoryError)):
        _selfattn._linear(view(x), view(weight), None, view(y), None)


def multiply_often(x, weight, y):
    for _ in range(1000):
        _selfattn._linear(x, weight, None, y, 2)


def test_interrupt(unit, interruptible):
    """Ctrl-C ends a long product within a second, on the main thread."""
    x, weight = zeros(2000, 3000), zeros(3000, 20000)
    y = np.empty((2000, 20000), np.float32)

    def interrupt():
        time.sleep(0.3)
        signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    begin = time.perf_counter()
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        multiply_often(x, weight, y)
    thread.join()
    assert time.perf_counter() - begin < 3
