"""Any strides: negative, zero, unaligned, byte-swapped; NaN-filled gaps and surroundings."""

import ml_dtypes
import numpy as np
import pytest

import oracle
import selfattn
from arrays import DTYPES, LAYOUTS, in_layout, poisoned, qkv, same_bits, tensor

RETURNED = ("out", "weights", "lse")


def everything(*arrays, **options):
    return selfattn.attention(*arrays, **options, return_weights=True, return_lse=True)


def swappable(dtype):
    return np.dtype(dtype) != ml_dtypes.bfloat16


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize(("n_q", "n_k"), [(1, 130), (4, 70), (100, 100), (33, 1100)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_query_key_value(unit, rng, dtype, n_q, n_k, layout):
    if layout == "byte_swapped" and not swappable(dtype):
        layout = "fortran"
    query, key, value = qkv(rng, n_q, n_k, 20, 9, heads=4, kv_heads=2, batch=(2,), dtype=dtype)
    expected = oracle.attention(query, key, value)
    arrays = [in_layout(x, layout) for x in (query, key, value)]
    for x, y in zip(arrays, (query, key, value), strict=True):
        assert np.array_equal(x, y)
    oracle.check(everything(*arrays), expected, returned=RETURNED)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["bool", *DTYPES], ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize("name", ["mask", "bias"])
def test_layouts_of_mask_and_bias(unit, rng, layout, kind, name):
    if (kind == "bool" and name == "bias") or (layout == "byte_swapped" and (
            kind == "bool" or not swappable(kind))):  # fmt: skip
        kind = np.float32
    query, key, value = qkv(rng, 37, 90, 8, heads=2, batch=(3,))
    for axes in ((3, 2, 37, 90), (2, 1, 90), (37, 1), (1, 1, 1, 90), (90,), (3, 1, 37, 90)):
        term = rng.random(axes) < 0.7 if kind == "bool" else tensor(rng, axes, kind)
        got = everything(query, key, value, **{name: in_layout(term, layout)})
        oracle.check(got, oracle.attention(query, key, value, **{name: term}), returned=RETURNED)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda t: np.dtype(t).name)
def test_zero_strides(unit, rng, dtype):
    """Broadcast along batch, heads, tokens and features; nothing is enlarged in memory."""
    query, key, value = qkv(rng, 50, 80, 12, 12, heads=2, dtype=dtype)
    for axis in range(3):
        cut = tuple(slice(0, 1) if i == axis else slice(None) for i in range(3))
        for which in range(3):
            arrays = [query, key, value]
            arrays[which] = np.broadcast_to(arrays[which][cut], arrays[which].shape)
            assert arrays[which].strides[axis] == 0
            oracle.check(everything(*arrays), oracle.attention(*arrays), returned=RETURNED)
    arrays = [np.broadcast_to(x, (4, *x.shape)) for x in (query, key, value)]
    oracle.check(everything(*arrays), oracle.attention(*arrays), returned=RETURNED)


@pytest.mark.parametrize("n_q", [1, 60])
def test_unusual_strides(unit, rng, n_q):
    """Views that overlap themselves, steps of an odd number of bytes, a matrix in a record."""
    line = tensor(rng, 500)
    sliding = np.lib.stride_tricks.sliding_window_view(line, 16)[None]  # rows overlap
    query = sliding[:, :n_q]
    oracle.check(everything(query, sliding, sliding),
                 oracle.attention(query, sliding, sliding), returned=RETURNED)  # fmt: skip
    record = np.zeros((1, 80, 6), np.dtype([("flag", "i1"), ("x", "f4"), ("y", "f8")]))
    record["x"], record["y"] = tensor(rng, (2, 1, 80, 6))
    x, y = record["x"], record["y"].astype(np.float32)
    assert x.strides[-1] == 13
    oracle.check(everything(x[:, :n_q], x, y), oracle.attention(x[:, :n_q], x, y),
                 returned=RETURNED)  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize(
    ("n_q", "n_k", "d"), [(1, 65, 64), (5, 7, 3), (97, 129, 33), (2, 1100, 16)]
)
def test_poisoned_surroundings(unit, rng, dtype, n_q, n_k, d):
    """Inputs and outputs lie inside NaN-filled arrays: no NaN gets in, nothing is written beside
    an output."""
    arrays = []
    for x in qkv(rng, n_q, n_k, d, heads=2, dtype=dtype):
        view, _ = poisoned(x.shape, dtype)
        view[...] = x
        arrays.append(view)
    bias, _ = poisoned((2, n_q, n_k), np.float32)
    bias[...] = rng.standard_normal(bias.shape)
    shapes = ((2, n_q, d), (2, n_q, n_k), (2, n_q))
    lse_dtype = np.float64 if dtype == np.float64 else np.float32
    outs, surroundings = zip(
        *(poisoned(s, t) for s, t in zip(shapes, (dtype, dtype, lse_dtype), strict=True)),
        strict=True,
    )
    got = everything(*arrays, bias=bias, out=outs)
    oracle.check(got, oracle.attention(*arrays, bias=bias), returned=RETURNED)
    for out, around in zip(outs, surroundings, strict=True):
        out[...] = np.nan
        assert np.isnan(around).all(), "written beside an output"


@pytest.mark.parametrize(("n_q", "n_k"), [(1, 90), (40, 70), (130, 1100)])
def test_inputs_stay_as_they_were(unit, rng, n_q, n_k):
    """No argument is written to; read-only arrays are as good as others."""
    query, key, value = qkv(rng, n_q, n_k, 8, heads=2)
    given = {
        "query": query, "key": key, "value": value, "mask": rng.random((n_q, n_k)) < 0.8,
        "bias": rng.standard_normal((n_q, n_k)), "alibi_slopes": np.array([0.5, 0.25]),
        "sinks": np.array([0.0, 1.0]), "key_lengths": np.array(n_k - 1),
        "query_offset": np.array(3),
    }  # fmt: skip
    copies = {name: x.copy() for name, x in given.items()}
    for x in given.values():
        x.flags.writeable = False
    everything(**given, causal=True, window=50)
    for name, x in given.items():
        assert np.array_equal(x, copies[name]), name


@pytest.mark.parametrize("dtype", [bool, *DTYPES], ids=lambda t: np.dtype(t).name)
def test_masks_that_hide_the_ends(unit, rng, dtype):
    """Whatever lies between its elements, and wherever the last of them are."""
    ends = np.arange(40) < np.array([0, 1, 3, 37, 39, 40])[:, None]
    seen = np.concatenate([ends, ends[:, ::-1], ~ends, ends[::-1]])
    arrays = qkv(rng, len(seen), 40, 8)
    arrays[2][:, 20, 0] = np.nan  # reaches who sees it
    mask = seen if dtype is bool else np.where(seen, 0, -np.inf).astype(dtype)
    expected = selfattn.attention(*arrays, mask)
    oracle.check(expected, oracle.attention(*arrays, mask))
    for between in (mask[0, 0], mask[5, 0]):  # hidden, seen
        for step in (2, 3, -1, -2):
            view = np.full((len(seen), 40 * abs(step)), between, dtype)[:, ::step]
            view[...] = mask
            assert same_bits(selfattn.attention(*arrays, view), expected)


@pytest.mark.parametrize("name", ["mask", "bias"])
def test_a_mask_for_each_head(unit, rng, name):
    """Of grouped heads, in a tile that they share."""
    query, key, value = qkv(rng, 20, 40, 8, heads=6, kv_heads=2)
    term = np.where(rng.random((6, 20, 40)) < 0.5, 0, -np.inf)
    term[..., 0] = rng.standard_normal((6, 20))
    oracle.check(
        selfattn.attention(query, key, value, **{name: term}),
        oracle.attention(query, key, value, **{name: term}),
    )
