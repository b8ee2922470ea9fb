"""out=: filled in place and returned by identity, also where it overlaps an input."""

import numpy as np
import pytest

import selfattn
from arrays import in_layout, poisoned, qkv, same_bits

LAYOUTS = ("contiguous", "fortran", "heads_inside", "reversed", "spread")


@pytest.fixture
def arrays(rng):
    return qkv(rng, 30, 30, 8, heads=4, kv_heads=2)


def test_one_array(unit, arrays):
    expected = selfattn.attention(*arrays)
    for layout in LAYOUTS:
        out = in_layout(np.full_like(expected, np.nan), layout)
        assert selfattn.attention(*arrays, out=out) is out
        assert np.array_equal(out, expected)


def test_tuple_of_arrays_and_none(unit, arrays):
    expected = selfattn.attention(*arrays, return_weights=True, return_lse=True)
    for given in range(8):
        out = tuple(
            in_layout(np.full_like(x, np.nan), LAYOUTS[i + 1]) if given >> i & 1 else None
            for i, x in enumerate(expected)
        )
        got = selfattn.attention(*arrays, return_weights=True, return_lse=True, out=out)
        assert type(got) is tuple
        for mine, theirs, right in zip(out, got, expected, strict=True):
            assert mine is None or theirs is mine
            assert same_bits(np.ascontiguousarray(theirs), right)


def test_array_for_the_first_of_several(unit, arrays):
    """A bare ndarray stands for the first result; the others are allocated."""
    expected = selfattn.attention(*arrays, return_lse=True)
    out = np.empty_like(expected[0])
    got = selfattn.attention(*arrays, return_lse=True, out=out)
    assert got[0] is out
    assert same_bits(out, expected[0])
    assert same_bits(got[1], expected[1])


def test_tuple_of_one(unit, arrays):
    out = np.empty((4, 30, 8), np.float32)
    got = selfattn.attention(*arrays, out=(out,))
    assert got is out
    assert selfattn.attention(*arrays, out=(None,)).shape == out.shape


@pytest.mark.parametrize("n", [1, 30, 300])
@pytest.mark.parametrize("which", ["query", "key", "value"])
def test_out_is_an_input(unit, rng, n, which):
    """As if there were no overlap: in place over query, key or value."""
    arrays = dict(zip(("query", "key", "value"), qkv(rng, n, n, 8, heads=2), strict=True))
    expected = selfattn.attention(**arrays)
    assert selfattn.attention(**arrays, out=arrays[which]) is arrays[which]
    assert same_bits(arrays[which], expected)


def test_out_overlaps_inputs_in_part(unit, rng):
    """Shifted by a row or reversed inside the same buffer."""
    expected = None
    for shift, step in ((0, 1), (1, 1), (7, 1), (0, -1), (30, 1)):
        buffer = np.random.default_rng(5).standard_normal((1, 100, 8))
        query = buffer[:, 10:60]
        out = buffer[:, 10 + shift : 60 + shift][:, ::step]
        expected = selfattn.attention(query.copy(), query.copy(), query.copy(), causal=True)
        assert selfattn.attention(query, query, query, causal=True, out=out) is out
        assert np.array_equal(out, expected)


@pytest.mark.parametrize("name", ["mask", "bias", "sinks", "alibi_slopes"])
def test_out_overlaps_another_argument(unit, rng, name):
    query, key, value = qkv(rng, 24, 24, 24, dtype=np.float64)
    shared = rng.random((1, 24, 24))
    given = shared[0, 0, :1] if name in ("sinks", "alibi_slopes") else shared
    expected = selfattn.attention(query, key, value, **{name: given.copy()})
    got = selfattn.attention(query, key, value, **{name: given}, out=shared)
    assert got is shared
    assert same_bits(shared, expected)


def test_integer_argument_inside_out(unit, rng):
    """key_lengths read from the very bytes that out takes."""
    query, key, value = qkv(rng, 6, 9, 4, heads=2, batch=(3,), dtype=np.float64)
    out = np.zeros((3, 2, 6, 4))
    lengths = out.reshape(-1).view(np.int64)[:3]
    lengths[:] = 9, 0, 4
    expected = selfattn.attention(query, key, value, key_lengths=[9, 0, 4])
    got = selfattn.attention(query, key, value, key_lengths=lengths, out=out)
    assert got is out
    assert same_bits(out, expected)


def test_weights_and_lse_overlap_inputs(unit, rng):
    query, key, value = qkv(rng, 16, 16, 16, dtype=np.float64)
    expected = selfattn.attention(query, key, value, return_weights=True, return_lse=True)
    lse = value[0, 3].reshape(1, 16)
    got = selfattn.attention(
        query, key, value, return_weights=True, return_lse=True, out=(None, key, lse)
    )
    assert got[1] is key
    assert got[2] is lse
    for a, b in zip(got, expected, strict=True):
        assert np.array_equal(a, b)


def test_results_side_by_side_in_one_buffer(unit, arrays):
    """Entries may interleave as long as they share no byte."""
    query, key, value = arrays
    both = np.full((4, 30, 16), np.nan, np.float32)
    out, weights = both[..., ::2], np.full((4, 30, 30), np.nan, np.float32)
    expected = selfattn.attention(query, key, value, return_weights=True)
    selfattn.attention(query, key, value, return_weights=True, out=(out, weights))
    assert np.array_equal(out, expected[0])
    assert np.array_equal(weights, expected[1])
    assert np.isnan(both[..., 1::2]).all()


@pytest.mark.parametrize("bad", [
    {"key": np.zeros((2, 30, 9), np.float32)}, {"scale": np.inf}, {"softcap": -1.0},
    {"mask": np.ones((31, 31), bool)}, {"sinks": [np.nan] * 4}, {"key_lengths": 31},
    {"num_threads": 0}, {"causal": "left"}, {"window": -1}, {"return_weights": "all"},
    {"return_lse": True},
], ids=str)  # fmt: skip
def test_nothing_is_written_before_all_checks_passed(arrays, bad):
    out, around = poisoned((4, 30, 8), np.float32)
    outs = (out, np.empty(3, np.float32)) if "return_lse" in bad else out
    given = dict(zip(("query", "key", "value"), arrays, strict=True)) | bad
    with pytest.raises(ValueError, match=next(iter(bad)).replace("return_lse", "lse")):
        selfattn.attention(**given, out=outs)
    assert np.isnan(around).all()


def test_empty_out(unit):
    empty = np.empty((2, 0, 5), np.float32)
    out = np.empty((2, 0, 3), np.float32)
    key, value = np.ones((2, 4, 5), np.float32), np.ones((2, 4, 3), np.float32)
    assert selfattn.attention(empty, key, value, out=out) is out


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("begin", range(3))
def test_weights_past_the_caches(unit, rng, dtype, begin):
    """From 8 million weights on whole vectors are streamed to memory: the same bits, and nothing
    beside the rows, which begin at every place between two boundaries."""
    n = 2897
    q, k, v = (x[0] for x in qkv(rng, n, n, 2, dtype=dtype))
    options = {"window": (1500, 300), "return_weights": True}
    spread = np.full((n, 2 * n), np.nan, dtype)
    selfattn.attention(q, k, v, out=(None, spread[:, ::2]), **options)
    wide = np.full((n, n + 7), 7, dtype)
    selfattn.attention(q, k, v, out=(None, wide[:, begin : begin + n]), **options)
    assert same_bits(wide[:, begin : begin + n], spread[:, ::2])
    assert (wide[:, :begin] == 7).all()
    assert (wide[:, begin + n :] == 7).all()
    assert same_bits(selfattn.attention(q, k, v, **options)[1], spread[:, ::2])
