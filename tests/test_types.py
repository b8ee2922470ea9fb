"""What arguments may be: NumPy's promotion, integers, nested lists, subclasses; what is refused."""

import itertools

import ml_dtypes
import numpy as np
import pytest

import oracle
import selfattn
from arrays import DTYPES, qkv, same_bits, tensor
from selfattn import reference

BF16 = np.dtype(ml_dtypes.bfloat16)
FUNCTIONS = pytest.mark.parametrize("attention", [selfattn.attention, reference.attention],
                                    ids=["C", "reference"])  # fmt: skip


@FUNCTIONS
@pytest.mark.parametrize("dtypes", [
    *itertools.product(("f2", "f4", "f8"), repeat=3), ("i4", "f4", "f4"), ("i2", "f2", "i1"),
    ("f4", "?", "u1"), ("i8", "i8", "i8"), ("?", "?", "?"), ("u8", "i8", "f2"),
    (BF16, BF16, "f4"), (BF16, "f8", BF16), (BF16, "i1", BF16),
], ids=str)  # fmt: skip
def test_promotion(unit, rng, attention, dtypes):
    """Computed and returned in np.result_type; integers and bool become float64."""
    arrays = [(5 * x).astype(t) for x, t in zip(qkv(rng, 9, 12, 4, 3), dtypes, strict=True)]
    expected_dtype = np.result_type(*arrays)
    if expected_dtype.kind in "biu":
        expected_dtype = np.dtype(np.float64)
    out, weights, lse = attention(*arrays, return_weights=True, return_lse=True)
    assert out.dtype == weights.dtype == expected_dtype
    assert lse.dtype == (np.float64 if expected_dtype == np.float64 else np.float32)
    converted = [x.astype(expected_dtype) for x in arrays]
    oracle.check(out, oracle.attention(*converted))


@FUNCTIONS
def test_terms_do_not_decide_the_type(unit, rng, attention):
    """mask, bias, slopes and sinks are read in their own type, whatever the result's."""
    for dtype, other in itertools.product(DTYPES, DTYPES):
        query, key, value = qkv(rng, 9, 12, 4, heads=2, dtype=dtype)
        options = {
            "mask": tensor(rng, (9, 12), other),
            "bias": tensor(rng, (2, 1, 12), other),
            "alibi_slopes": np.abs(tensor(rng, 2, other)),
            "sinks": tensor(rng, 2, other),
            "causal": "lower_right",
        }
        got = attention(query, key, value, **options)
        assert got.dtype == dtype
        oracle.check(got, oracle.attention(query, key, value, **options))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", DTYPES)
def test_minus_infinity_of_every_type_hides(unit, rng, dtype, kind):
    arrays = qkv(rng, 9, 40, 4, dtype=dtype)
    seen = rng.random((9, 40)) < 0.5
    mask = np.where(seen, 0, -np.inf).astype(kind)
    for layout in (mask, np.repeat(mask, 2, axis=1)[:, ::2]):
        out, weights = selfattn.attention(*arrays, layout, return_weights=True)
        assert (weights[:, ~seen] == 0).all()
        oracle.check(out, oracle.attention(*arrays, seen))


@FUNCTIONS
def test_lists_and_scalars(unit, attention):
    """Nested lists become float64; one-element things NumPy turns into numbers are numbers."""
    x = [[1, 0, 1], [0, 1, 0], [1, 1, 1]]
    got = attention(x, x, x, [[True, False, True]], bias=[0.5, 0.25, 0.0], scale=1)
    array = np.array(x, float)
    mask, bias = np.array([[True, False, True]]), np.array([0.5, 0.25, 0.0])
    oracle.check(got, oracle.attention(array, array, array, mask, bias=bias, scale=1.0))
    assert got.dtype == np.float64
    numbers = {
        "scale": np.float32(0.5), "softcap": np.int64(3), "window": np.int32(2),
        "query_offset": np.int8(1), "key_lengths": np.uint8(3), "num_threads": np.int64(1),
        "causal": np.True_, "return_lse": np.True_, "return_weights": np.True_,
    }  # fmt: skip
    plain = {
        "scale": 0.5, "softcap": 3.0, "window": 2, "query_offset": 1, "key_lengths": 3,
        "num_threads": 1, "causal": True, "return_lse": True, "return_weights": True,
    }  # fmt: skip
    for a, b in zip(attention(x, x, x, **numbers), attention(x, x, x, **plain), strict=True):
        assert same_bits(a, b)


@FUNCTIONS
@pytest.mark.parametrize("kind", ["int8", "uint16", "int32", "uint64", "int64", ">i4"])
def test_integers_of_any_width(unit, rng, attention, kind):
    query, key, value = qkv(rng, 6, 9, 4, heads=2, batch=(3,))
    lengths, offsets = np.array([9, 0, 4]), np.array([0, 5, 1])
    expected = attention(query, key, value, causal=True, key_lengths=lengths, query_offset=offsets)
    got = attention(query, key, value, causal=True, key_lengths=lengths.astype(kind),
                    query_offset=offsets.astype(kind)[::1])  # fmt: skip
    assert same_bits(got, expected)


class Wrapped:
    """Something that only NumPy's protocol can read."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


class Subclass(np.ndarray):
    pass


@FUNCTIONS
def test_subclasses_and_array_protocol(unit, rng, attention):
    """Base arrays come back, whatever kind of array went in."""
    query, key, value = qkv(rng, 6, 9, 4)
    expected = attention(query, key, value)
    for wrap in (Wrapped, lambda x: x.view(Subclass), memoryview):
        got = attention(wrap(query), wrap(key), wrap(value))
        assert type(got) is np.ndarray
        assert same_bits(got, expected)


@FUNCTIONS
@pytest.mark.parametrize("name", ["query", "key", "value", "mask", "bias", "sinks", "alibi_slopes",
                                  "key_lengths", "query_offset"])  # fmt: skip
def test_masked_arrays_are_refused(rng, attention, name):
    arrays = dict(zip(("query", "key", "value"), qkv(rng, 3, 3, 3), strict=True))
    given = {"mask": np.ones((3, 3), bool), "bias": np.ones((3, 3)), "sinks": np.ones(1),
             "alibi_slopes": np.ones(1), "key_lengths": np.array(3),
             "query_offset": np.array(0)}  # fmt: skip
    given = arrays | {name: np.ma.masked_array((given | arrays)[name])}
    with pytest.raises(TypeError, match=rf"{name}.*MaskedArray"):
        attention(**given)


@FUNCTIONS
@pytest.mark.parametrize("name", ["query", "key", "value"])
@pytest.mark.parametrize("bad", [
    np.zeros((1, 3, 3), np.longdouble), np.zeros((1, 3, 3), complex), np.zeros((1, 3, 3), object),
    np.zeros((1, 3, 3), "U1"), np.zeros((1, 3, 3), "S1"), np.zeros((1, 3, 3), "M8[s]"),
    np.zeros((1, 3, 3), "m8[s]"), np.zeros((1, 3, 3), [("x", "f4")]),
    np.zeros((1, 3, 3), np.dtypes.StringDType()),
], ids=lambda x: str(x.dtype))  # fmt: skip
def test_types_that_are_refused(rng, attention, name, bad):
    arrays = dict(zip(("query", "key", "value"), qkv(rng, 3, 3, 3), strict=True))
    with pytest.raises(TypeError, match="astype"):
        attention(**arrays | {name: bad})


@FUNCTIONS
def test_float8_is_refused(attention):
    x = np.zeros((1, 3, 3), ml_dtypes.float8_e4m3fn)
    with pytest.raises(TypeError, match="astype"):
        attention(x, x, x)


@FUNCTIONS
def test_half_types_do_not_mix(rng, attention):
    """NumPy has no common type of float16 and bfloat16."""
    query, key, value = qkv(rng, 3, 3, 3, dtype=np.float16)
    with pytest.raises(TypeError, match="astype"):
        attention(query, key.astype(BF16), value)


@FUNCTIONS
def test_ragged_lists_are_refused(attention):
    with pytest.raises((TypeError, ValueError)):
        attention([[1.0, 2.0], [3.0]], [[1.0, 2.0]], [[1.0, 2.0]])
