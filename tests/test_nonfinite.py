"""NaN and infinities: hidden ones never reach a row, visible ones only the rows that see them.

Each case computes twice: with finite numbers everywhere, and with NaN or infinities at some keys.
Rows that do not see those keys must have the same bytes both times.
"""

import ml_dtypes
import numpy as np
import pytest

import selfattn
from arrays import DTYPES, equal_bool_mask, qkv, same_bits

NAN, INF = np.nan, np.inf
# A block with mixed tiles, decode, grouped decode rows, several chunks.
SHAPES = {"block": (70, 200), "one": (1, 300), "few": (3, 300), "long": (20, 2300)}


def hiders(n_q, n_k):
    """Ways to hide keys: options, and the bool mask of what each row then sees."""
    offset = n_k - n_q
    middle = np.ones((n_q, n_k), bool)
    middle[::2, n_k // 2 :: 3] = False
    by_row = np.arange(n_k) % 5 != np.arange(n_q)[:, None] % 5
    return {
        "causal": (
            {"causal": True, "query_offset": n_k // 2},
            equal_bool_mask(n_q, n_k, causal=True, offset=n_k // 2),
        ),
        "causal lower right": (
            {"causal": "lower_right"},
            equal_bool_mask(n_q, n_k, causal=True, offset=offset),
        ),
        "window": (
            {"window": (9, 20), "query_offset": n_k // 3},
            equal_bool_mask(n_q, n_k, left=9, right=20, offset=n_k // 3),
        ),
        "causal window": (
            {"window": (60, None), "causal": "lower_right"},
            equal_bool_mask(n_q, n_k, causal=True, left=60, offset=offset),
        ),
        "bool mask": ({"mask": middle}, middle),
        "bool mask by row": ({"mask": by_row}, by_row),
        "float mask": ({"mask": np.where(middle, 0.25, -INF)}, middle),
        "float32 mask by row": ({"mask": np.where(by_row, 0, -INF).astype(np.float32)}, by_row),
        "lengths": (
            {"key_lengths": n_k // 2 + 3},
            equal_bool_mask(n_q, n_k, length=n_k // 2 + 3),
        ),
        "lengths and causal": (
            {"key_lengths": n_k - 7, "causal": "lower_right"},
            equal_bool_mask(n_q, n_k, causal=True, offset=offset - 7, length=n_k - 7),
        ),
    }


HIDERS = list(hiders(2, 2))


def bad_keys(visible):
    """Keys that some rows see and others do not, at borders of what is seen, and some that none
    sees."""
    seen = visible.sum(axis=0)
    partly = np.flatnonzero((seen > 0) & (seen < len(visible)))
    never = np.flatnonzero(seen == 0)
    picks = [partly[:1], partly[len(partly) // 2 :][:1], partly[-1:], never[:2], never[-1:]]
    return np.unique(np.concatenate(picks)).astype(int)


RETURNS = {
    ("out",): {},
    ("out", "weights", "lse"): {"return_weights": True, "return_lse": True},
    ("out", "mean"): {"return_weights": "mean"},
}


def run(*arrays, names, **options):
    """Results by name, query rows first."""
    got = selfattn.attention(*arrays, **options, **RETURNS[names])
    got = got if isinstance(got, tuple) else (got,)
    axis = {"out": -2, "weights": -2, "mean": -2, "lse": -1}
    return {
        name: np.moveaxis(result, axis[name], 0) for name, result in zip(names, got, strict=True)
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("hider", HIDERS)
def test_hidden_numbers_never_arrive(unit, rng, dtype, shape, hider):
    hold_hidden(rng, dtype, shape, hider, 12, 9)


# Rows of whole vectors, which a few queries read where they lie, whatever their type.
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize("shape", ["one", "few"])
@pytest.mark.parametrize("hider", HIDERS)
def test_hidden_numbers_of_whole_rows_never_arrive(unit, rng, dtype, shape, hider):
    hold_hidden(rng, dtype, shape, hider, 32, 48)


def hold_hidden(rng, dtype, shape, hider, d, d_v):
    """Results of rows that do not see some keys do not depend on those."""
    n_q, n_k = SHAPES[shape]
    options, visible = hiders(n_q, n_k)[hider]
    keys = bad_keys(visible)
    if not keys.size:  # decode sees all: the last key
        keys = np.array([n_k - 1])
    sees = visible[:, keys].any(axis=1)
    query, key, value = qkv(rng, n_q, n_k, d, d_v, heads=4, kv_heads=2, dtype=dtype)
    for names in RETURNS:
        clean = run(query, key, value, names=names, **options)
        for bad, columns in ((NAN, [0, 2, 4, 6, 8]), (INF, [8]), (-INF, [3])):
            bad_key, bad_value = key.copy(), value.copy()
            bad_key[:, keys] = bad
            bad_value[:, keys[:, None], columns] = bad
            for arrays in ((bad_key, value), (key, bad_value), (bad_key, bad_value)):
                got = run(query, *arrays, names=names, **options)
                for name in names:
                    assert same_bits(got[name][~sees], clean[name][~sees]), (name, bad)
                if arrays[0] is bad_key and bad is NAN:
                    hold_spoiled_rows(got, sees, visible)
                if arrays[0] is key:
                    hold_values(clean, got, sees, columns)


def hold_spoiled_rows(got, sees, visible):
    """A NaN key in sight makes the row NaN, its weights where it looks; hidden weights stay 0."""
    assert np.isnan(got["out"][sees]).all()
    if "lse" in got:
        assert np.isnan(got["lse"][sees]).all()
    for name in got.keys() & {"weights", "mean"}:
        weights = np.moveaxis(got[name][sees], 0, -2)
        assert np.isnan(weights[..., visible[sees]]).all()
        assert not weights[..., ~visible[sees]].any()


def hold_values(clean, got, sees, columns):
    """Bad values in some columns: they arrive there, and nowhere else."""
    assert not np.isfinite(got["out"][sees][..., columns]).any(), "a visible value did not arrive"
    others = np.setdiff1d(np.arange(got["out"].shape[-1]), columns)
    error = np.abs(got["out"][..., others] - clean["out"][..., others])
    assert (error < 1e-5).all(), "a bad value reached another column"
    for name in got:
        assert name == "out" or same_bits(got[name], clean[name]), "a value reached the weights"


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize("shape", SHAPES)
def test_padding_is_never_read(unit, rng, dtype, shape):
    """Each batch entry of its own length; keys and values from there on are NaN or infinite."""
    n_q, n_k = SHAPES[shape]
    lengths = np.array([n_k, 0, 1, n_k // 2, n_k - 1])
    query, key, value = qkv(rng, n_q, n_k, 8, heads=2, kv_heads=1, batch=(5,), dtype=dtype)
    options = {"key_lengths": lengths, "return_weights": True, "return_lse": True}
    clean = selfattn.attention(query, key, value, **options)
    for b, length in enumerate(lengths):
        key[b, :, length:], value[b, :, length:] = NAN, INF
    for a, b in zip(clean, selfattn.attention(query, key, value, **options), strict=True):
        assert same_bits(a, b)
    assert not clean[0][1].any()
    assert (clean[2][1] == -INF).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bad", [NAN, INF, -INF, 1e30])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_bad_query_spoils_its_own_row_only(unit, rng, dtype, bad, shape):
    n_q, n_k = SHAPES[shape]
    query, key, value = qkv(rng, n_q, n_k, 12, 9, heads=4, kv_heads=2, dtype=dtype)
    names = ("out", "weights", "lse")
    clean = run(query, key, value, names=names)
    query[1, n_q // 2] = bad
    query[2, 0, 3] = bad
    good = np.ones((n_q, 4), bool)
    good[n_q // 2, 1] = good[0, 2] = False
    got = run(query, key, value, names=names)
    for name in names:
        a, b = (x[name] if name == "lse" else np.moveaxis(x[name], -2, 1) for x in (clean, got))
        assert same_bits(a[good], b[good])
        if bad is NAN:
            assert np.isnan(b[~good]).all()


@pytest.mark.parametrize(("n_q", "n_k"), SHAPES.values())
def test_overflowing_scores_give_a_nan_row(unit, rng, n_q, n_k):
    """q . k = +inf, as in NumPy: inf - inf in the softmax. Other rows keep their bits."""
    query, key, value = qkv(rng, n_q, n_k, 4, heads=2)
    clean = selfattn.attention(query, key, value)
    key[0], query[0] = np.abs(key[0]), np.abs(query[0])
    key[0, -1], query[0, -1] = 1e30, 1e30
    got, lse = selfattn.attention(query, key, value, return_lse=True)
    assert np.isnan(got[0, -1]).all()
    assert not np.isfinite(lse[0, -1])
    assert np.isfinite(got[1]).all()
    assert same_bits(got[1], clean[1])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["mask", "bias"])
def test_nan_in_an_added_term(unit, rng, shape, name):
    """A visible NaN spoils its row; one at a hidden place does nothing."""
    n_q, n_k = SHAPES[shape]
    query, key, value = qkv(rng, n_q, n_k, 8)
    term = rng.standard_normal((n_q, n_k)).astype(np.float32)
    clean = selfattn.attention(query, key, value, causal="lower_right", **{name: term})
    hidden = term.copy()
    hidden[~equal_bool_mask(n_q, n_k, causal=True, offset=n_k - n_q)] = NAN
    got = selfattn.attention(query, key, value, causal="lower_right", **{name: hidden})
    assert same_bits(got, clean)
    hidden[n_q // 2, n_k // 4] = NAN
    got = selfattn.attention(query, key, value, causal="lower_right", **{name: hidden})
    assert np.isnan(got[:, n_q // 2]).all()
    others = np.arange(n_q) != n_q // 2
    assert same_bits(got[:, others], clean[:, others])


@pytest.mark.parametrize("shape", SHAPES)
def test_a_row_of_minus_infinity_sees_no_value(unit, rng, shape):
    """Scores that are all -inf count as no key in sight, also before values that are NaN."""
    n_q, n_k = SHAPES[shape]
    query, key, value = qkv(rng, n_q, n_k, 8, heads=2)
    bias = np.zeros((n_q, n_k))
    bias[n_q // 2] = -INF
    value[:, n_k // 2] = NAN
    for sinks in (None, [0.5, -3.0]):
        out, weights, lse = selfattn.attention(
            query, key, value, bias=bias, sinks=sinks, return_weights=True, return_lse=True
        )
        assert not out[:, n_q // 2].any()
        assert not weights[:, n_q // 2].any()
        assert np.allclose(lse[:, n_q // 2], -INF if sinks is None else sinks)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_nan_and_infinity_of_16_bit_types(unit, rng, dtype):
    query, key, value = qkv(rng, 40, 40, 8, 3, dtype=dtype)
    clean = selfattn.attention(query, key, value, causal=True)
    value[:, 30, 1], value[:, 35, 2], key[:, 38] = NAN, INF, NAN
    got = selfattn.attention(query, key, value, causal=True).astype(np.float32)
    assert same_bits(got[:, :30], clean[:, :30].astype(np.float32))
    assert np.isnan(got[:, 30:, 1]).all()
    assert not np.isfinite(got[:, 35:, 2]).any()
    assert np.isfinite(got[:, 30:38, 0]).all()
    assert np.isnan(got[:, 38:]).all()


def test_infinite_value_arrives_as_infinity(unit, rng):
    """A visible +inf with a positive weight: +inf, not NaN; both signs together: NaN."""
    for n_q, n_k in SHAPES.values():
        query, key, value = qkv(rng, n_q, n_k, 8, 3, kind="small")
        value[:, 5, 0], value[:, 7, 1] = INF, -INF
        value[:, 5, 2], value[:, 9, 2] = INF, -INF
        got = selfattn.attention(query, key, value)
        assert (got[..., 0] == INF).all()
        assert (got[..., 1] == -INF).all()
        assert np.isnan(got[..., 2]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_nan_row_is_nan_where_it_looks(unit, rng, dtype):
    """In its weights, too: behind a window and a mask it has zeros, in every tile of keys."""
    n, rows = 1300, np.array([3, 30, 510, 700, 1299])
    query, key, value = qkv(rng, n, n, 8, dtype=dtype)
    query[0, rows] = NAN
    seen = rng.random((n, n)) < 0.5
    seen[3, 0] = True
    weights = selfattn.attention(query, key, value, seen, window=(9, 4), return_weights=True)[1]
    away = np.arange(n) - rows[:, None]
    looks = seen[rows] & (away >= -9) & (away <= 4)
    assert np.array_equal(np.isnan(weights[0, rows]), looks)
    assert (weights[0, rows][~looks] == 0).all()


@pytest.mark.parametrize("n_k", [1, 3, 8, 43, 601])
@pytest.mark.parametrize("kind", [bool, "f2", "f4", "f8"], ids=str)
def test_one_hidden_key(unit, rng, kind, n_k):
    """The first or last key of a tile alone, behind masks of every type that lie side by side."""
    query, key, value = qkv(rng, 20, n_k, 5, 3)
    for hidden in {0, n_k // 512 * 512, n_k - 1}:
        seen = np.arange(n_k) != hidden
        mask = seen if kind is bool else np.where(seen, 0, -INF).astype(kind)
        mask = np.hstack([np.tile(mask, (20, 1)), np.ones((20, 9), mask.dtype)])[:, :n_k]
        expected = selfattn.attention(query, key, value, mask, return_weights=True)
        poisoned = value.copy()
        poisoned[:, hidden] = NAN
        got = selfattn.attention(query, key, poisoned, mask, return_weights=True)
        assert all(map(same_bits, got, expected))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_stays_from_calls_before(unit, rng, dtype):
    """NaN in all scratch memory, then rows that see nothing, and rows that see a part of a tile."""
    query, key, value = qkv(rng, 40, 600, 8, dtype=dtype)
    bias = rng.standard_normal((40, 600)).astype(dtype)
    seen = rng.random((40, 600)) < 0.5
    seen[::3] = False
    masks = (seen, np.where(seen, 0, -INF).astype(dtype))
    options = {"bias": bias, "window": (90, 60), "query_offset": 300, "return_weights": True}
    expected = [selfattn.attention(query, key, value, mask, **options) for mask in masks]
    for n_q, n_k, d in ((1, 2000, 9), (40, 600, 70), (130, 2000, 300)):
        nan = [np.full((1, n, d), NAN, dtype) for n in (n_q, n_k, n_k)]
        assert np.isnan(selfattn.attention(*nan)).all()
        for mask, right in zip(masks, expected, strict=True):
            got = selfattn.attention(query, key, value, mask, **options)
            assert all(map(same_bits, got, right))
