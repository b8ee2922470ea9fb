"""Each micro-kernel alone: the register tile, exp2, tanh and transpose of every unit."""

import numpy as np
import pytest

from arrays import poisoned, tensor
from selfattn import _selfattn

FLOATS = (np.float32, np.float64)


@pytest.fixture(params=FLOATS, ids=lambda t: np.dtype(t).name)
def dtype(request):
    return request.param


@pytest.fixture
def shape(unit, dtype):
    return _selfattn._probe_shape(unit, np.dtype(dtype))


def roundoff(dtype):
    return 2.0**-53 if dtype == np.float64 else 2.0**-24


def test_shape(unit, shape, dtype):
    lanes, rows, vectors = shape["lanes"], shape["tile_rows"], shape["tile_vectors"]
    assert lanes >= 2
    assert lanes & (lanes - 1) == 0
    assert rows >= 1
    assert vectors >= 1
    width = {"scalar": None, "avx2": 32, "avx512": 64}[unit]
    assert width is None or lanes * np.dtype(dtype).itemsize == width


@pytest.mark.parametrize("kind", ["normal", "positive"])
def test_gemm(unit, rng, shape, dtype, kind):
    """C = A B for every number of rows up to two tiles and one, every number of vectors likewise:
    all register tiles and their tails. |error| <= k u |A||B| for a sum of k terms."""
    lanes = shape["lanes"]
    for m in range(1, 2 * shape["tile_rows"] + 2):
        for vectors in range(1, 2 * shape["tile_vectors"] + 2):
            for k in (1, 2, 7, 64, 65):
                a = tensor(rng, (m, k), dtype, kind)
                b = tensor(rng, (k, vectors * lanes), dtype, kind)
                c = _selfattn._probe_gemm(unit, a, b)
                assert c.shape == (m, vectors * lanes)
                assert c.dtype == dtype
                hold_gemm(a, b, c)


@pytest.mark.parametrize(("m", "k"), [(1, 1000), (96, 64), (97, 256), (384, 3)])
def test_gemm_of_whole_blocks(unit, rng, shape, dtype, m, k):
    for vectors in (1, 8, 17):
        a, b = tensor(rng, (m, k), dtype), tensor(rng, (k, vectors * shape["lanes"]), dtype)
        hold_gemm(a, b, _selfattn._probe_gemm(unit, a, b))


def hold_gemm(a, b, c):
    wide_a, wide_b = a.astype(np.longdouble), b.astype(np.longdouble)
    bound = max(1, a.shape[1]) * roundoff(a.dtype) * (np.abs(wide_a) @ np.abs(wide_b))
    assert (np.abs(c - wide_a @ wide_b) <= bound).all(), (a.shape, b.shape)


def test_gemm_of_unit_matrices(unit, rng, shape, dtype):
    """Exact: no element lands in another place, and none is missed."""
    n = 4 * shape["lanes"]
    b = tensor(rng, (n, n), dtype)
    for shift in (0, 1, n - 1):
        a = np.roll(np.eye(n, dtype=dtype), shift, axis=1)
        assert np.array_equal(_selfattn._probe_gemm(unit, a, b), np.roll(b, -shift, axis=0))


def exact_exp2(x):
    return np.exp2(x.astype(np.longdouble))


def lowest_exponent(dtype):
    return -1022 if dtype == np.float64 else -126


def test_exp2_over_its_range(unit, rng, dtype):
    """2**t from the smallest normal result up to m + 1 = 1, within 4 units of roundoff."""
    low = lowest_exponent(dtype)
    t = np.concatenate([
        np.linspace(low, 0.99, 20_001), -(10.0 ** rng.uniform(-12, 2, 5000)),
        rng.uniform(-1, 0.99, 5000), np.arange(-120, 0) + 0.5,
        np.nextafter(np.arange(-120, 0), -np.inf),
    ]).astype(dtype)  # fmt: skip
    p = _selfattn._probe_exp2(unit, t, 0)
    right = exact_exp2(t)
    assert (np.abs(p - right) <= 4 * roundoff(dtype) * right).all()


def test_exp2_of_whole_numbers_is_exact(unit, dtype):
    t = np.arange(lowest_exponent(dtype), 1).astype(dtype)
    assert np.array_equal(_selfattn._probe_exp2(unit, t, 0), np.ldexp(dtype(1), t.astype(int)))


def test_exp2_subtracts_its_maximum_exactly(unit, rng, dtype):
    """2**(t - m) for a whole m: as exact for large t and m as for small ones."""
    for m in (-20_000, -1000, -127, -3, 0, 5, 128, 1024, 20_000):
        t = (m - rng.uniform(0.01, 100, 1000)).astype(dtype)
        p = _selfattn._probe_exp2(unit, t, m)
        right = exact_exp2(t.astype(np.longdouble) - m)
        assert (np.abs(p - right) <= 4 * roundoff(dtype) * right).all(), m


def test_exp2_limits(unit, dtype):
    """exp2(-inf) = 0 exactly, far below the range 0, at its lower end at most the smallest normal
    number; NaN stays NaN."""
    low = lowest_exponent(dtype)
    t = np.array([-np.inf, -1e30, -3e4, low - 60, low - 24, np.nan, 0], dtype)
    p = _selfattn._probe_exp2(unit, t, 0)
    assert (p[:5] == 0).all()
    assert np.isnan(p[5])
    assert p[6] == 1
    near = np.linspace(low - 1.5, low, 1000, endpoint=False).astype(dtype)
    p = _selfattn._probe_exp2(unit, near, 0)
    assert (p >= 0).all()
    assert (p <= 2.0 ** (low + 1)).all()


def test_exp2_is_monotone(unit, dtype):
    t = np.linspace(-8, 0, 50_001).astype(dtype)
    p = _selfattn._probe_exp2(unit, t, 0)
    right = exact_exp2(t)
    assert (np.diff(p) >= -2 * roundoff(dtype) * right[1:].astype(dtype)).all()


def test_tanh(unit, rng, dtype):
    """Relative error small also near 0, where tanh(x) = x; odd; +-1 from far out; NaN stays."""
    x = np.concatenate([
        np.linspace(-12, 12, 20_001), 10.0 ** rng.uniform(-12, 1, 5000),
        -(10.0 ** rng.uniform(-12, 1, 5000)), rng.uniform(0.3, 1.2, 2000),
    ]).astype(dtype)  # fmt: skip
    y = _selfattn._probe_tanh(unit, x)
    right = np.tanh(x.astype(np.longdouble))
    assert (np.abs(y - right) <= 8 * roundoff(dtype) * np.abs(right)).all()
    assert (np.abs(y) <= 1).all()
    assert np.array_equal(_selfattn._probe_tanh(unit, -x), -y)
    ends = np.array([0.0, -0.0, 50, -50, 1e30, -1e30, np.inf, -np.inf, np.nan], dtype)
    y = _selfattn._probe_tanh(unit, ends)
    assert np.array_equal(y, [0, 0, 1, -1, 1, -1, 1, -1, np.nan], equal_nan=True)


def test_transpose(unit, rng, shape, dtype):
    n = shape["lanes"]
    x = tensor(rng, (n, n), dtype)
    assert np.array_equal(_selfattn._probe_transpose(unit, x), x.T)
    x[0, -1], x[-1, 0] = np.nan, -np.inf
    assert np.array_equal(_selfattn._probe_transpose(unit, x), x.T, equal_nan=True)


def test_probes_keep_to_their_arrays(unit, rng, shape, dtype):
    """Operands in the middle of NaN: a read past an end would show."""
    n = shape["lanes"]
    for size in (1, n - 1, n, n + 1, 5 * n + 3):
        t, _ = poisoned((size,), dtype, margin=2 * n)
        t[:] = -1
        assert (_selfattn._probe_exp2(unit, t, 0) == dtype(0.5)).all()
        assert np.isfinite(_selfattn._probe_tanh(unit, t)).all()


def test_fma_peak_counts_its_work(unit, dtype):
    few = _selfattn._probe_fma_peak(unit, np.dtype(dtype), 1000)
    assert few > 0
    assert _selfattn._probe_fma_peak(unit, np.dtype(dtype), 3000) == 3 * few
