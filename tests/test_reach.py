"""Many rows whose logits are known to be moderate take a shorter exponential: to the same bits."""

import numpy as np
import pytest

import oracle
import selfattn
from arrays import qkv, same_bits

FLOATS = (np.float32, np.float64)
NAN = {np.float32: np.uint32(0x7FC0ABCD).view(np.float32),
       np.float64: np.uint64(0x7FF800000000ABCD).view(np.float64)}  # fmt: skip
N_Q, N_K = 290, 1000  # enough rows to look for a bound; two chunks of keys, the last no whole step
# c = scale log2(e) is 1 up to rounding: logits of halves lie between two powers of two.
HALVES = {"scale": float(np.log(2))}


def everything(*arrays, num_threads=1, **options):
    options["num_threads"] = num_threads  # more would cut the rows into smaller blocks
    return selfattn.attention(*arrays, **options, return_weights=True, return_lse=True)


def assert_same_rows(a, b, rows):
    for x, y in zip(a, b, strict=True):
        assert same_bits(x[rows], y[rows])


def in_halves(rng, dtype):
    """query, key, value with scores that are multiples of 1/2."""
    query, key, value = qkv(rng, N_Q, N_K, 21, 9, dtype=dtype)
    query = (rng.integers(-3, 4, query.shape) / 2).astype(dtype)
    return query, rng.integers(-2, 3, key.shape).astype(dtype), value


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("options", [{}, {"causal": "lower_right"}], ids=str)
@pytest.mark.parametrize("far", [1e9, np.inf, np.nan], ids=str)
def test_bits_beside_rows_without_a_bound(unit, rng, dtype, options, far):
    """One immoderate query in each group of rows takes the shorter way from all of them, and so
    does a block of few rows."""
    arrays, halves = qkv(rng, N_Q, N_K, 21, 9, dtype=dtype), in_halves(rng, dtype)
    for (query, key, value), scale in ((arrays, {}), (halves, HALVES)):
        moderate = everything(query, key, value, **options, **scale)
        few = everything(query, key, value, **options, **scale, num_threads=3)
        assert_same_rows(few, moderate, np.s_[:])
        immoderate = query.copy()
        immoderate[:, ::2, 5] = far
        got = everything(immoderate, key, value, **options, **scale)
        assert_same_rows(got, moderate, np.s_[:, 1::2])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("eighths", [1, 4])
def test_bits_of_logits_between_powers(unit, rng, dtype, eighths):
    """Logits halfway between the numbers they are rounded to, and something beside them that is far
    below their last place: which of the two is the same beside a row's maximum of any parity."""
    query, key, value = in_halves(rng, dtype)
    query = (query * (eighths / 4)).astype(dtype)
    beside = np.finfo(dtype).eps / 8
    bias = (beside * rng.standard_normal((N_Q, N_K))).astype(dtype)
    kept = everything(query, key, value, bias=bias, **HALVES)
    again = everything(query, key, value, bias=bias, **HALVES, num_threads=3)
    assert_same_rows(kept, again, np.s_[:])
    few = everything(query[:, :1], key, value, bias=bias[:1], **HALVES)
    split = everything(query[:, :1], key, value, bias=bias[:1], **HALVES, num_threads=2)
    assert_same_rows(few, split, np.s_[:])


@pytest.mark.parametrize("dtype", FLOATS)
def test_bits_beside_keys_without_a_bound(unit, rng, dtype):
    """The same for one immoderate key that later queries see: twelve heads share a key head, so
    that all rows of a group see the same keys, and no more of the tile."""
    _, key, value = in_halves(rng, dtype)
    query = (rng.integers(-3, 4, (12, N_K, 21)) / 2).astype(dtype)
    moderate = everything(query, key, value, causal=True, **HALVES)
    key[:, 990] = 1e9
    got = everything(query, key, value, causal=True, **HALVES)
    assert_same_rows(got, moderate, np.s_[:, :990])


@pytest.mark.parametrize("dtype", FLOATS)
def test_nan_and_infinity_in_many_rows(unit, rng, dtype):
    """A NaN is not a bound, wherever in its group or tile it stands."""
    query, key, value = qkv(rng, N_Q, N_K, 9, 5, dtype=dtype)
    clean = everything(query, key, value)
    bad = np.arange(N_Q) % 31 == 0
    query[:, bad, 3] = NAN[dtype]
    got = everything(query, key, value)
    assert_same_rows(got, clean, np.s_[:, ~bad])
    assert all(np.isnan(x[:, bad]).all() for x in got)
    key[:, 777, 2] = NAN[dtype]
    assert all(np.isnan(x).all() for x in everything(query, key, value))
    key[:, 777, 2] = np.inf
    spoiled = np.isnan(everything(query, key, value)[0]).all(-1)
    assert np.array_equal(spoiled[0], bad | (query[0, :, 2] > 0))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("part", [0.2, 0.5, 0.7, 0.76, 0.9, 1.1])
@pytest.mark.parametrize("sign", [1, -1])
def test_bound_that_is_reached(unit, rng, dtype, part, sign):
    """Queries and keys along one line, logits up to a part of the range of exponents."""
    most = part * -np.log(oracle.smallest_normal(dtype))
    key = np.zeros((1, N_K, 3), dtype)
    key[0, :, 1] = rng.uniform(-1, 1, N_K) ** 3
    key[0, 300, 1] = sign
    query = np.zeros((1, N_Q, 3), dtype)
    query[0, :, 1] = np.linspace(-most, most, N_Q)
    value = rng.standard_normal((1, N_K, 5)).astype(dtype)
    got = everything(query, key, value, scale=1)
    oracle.check(
        got, oracle.attention(query, key, value, scale=1), returned=("out", "weights", "lse")
    )


@pytest.mark.parametrize("tiny", ["query", "key"])
def test_squares_below_the_normal_range(unit, rng, tiny):
    """Numbers whose squares vanish beside large ones: logits of -151, and of 0 for one key."""
    signs = np.where(np.arange(700) % 2, 1, -1)
    query, key = np.ones((1, N_Q, 700), np.float32), np.full((1, N_K, 700), -1, np.float32)
    key[:, 300] = signs
    query *= np.float32(1e-19 if tiny == "query" else 5e17)
    key *= np.float32(1e-19 if tiny == "key" else 5e17)
    value = rng.standard_normal((1, N_K, 3)).astype(np.float32)
    weights = everything(query, key, value, scale=3.0)[1]
    assert np.array_equal(weights, np.broadcast_to(np.arange(N_K) == 300, weights.shape))
