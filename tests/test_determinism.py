"""A row's bytes depend on its query, the keys, the values and the options, on nothing else."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings

import selfattn
from arrays import DTYPES, LAYOUTS, equal_bool_mask, in_layout, poisoned, qkv, same_bits
from problems import problems

EXAMPLES = settings.default.max_examples
# n_q, n_k, heads, kv_heads: blocks, tails, decode, grouped decode, split keys, many chunks.
SHAPES = [
    (70, 70, 4, 2), (200, 333, 2, 2), (1, 700, 8, 2), (3, 5000, 4, 1), (20, 2500, 1, 1),
    (97, 1025, 6, 3),
]  # fmt: skip
OPTIONS = {
    "plain": {},
    "causal": {"causal": "lower_right"},
    "window": {"window": (40, 3), "query_offset": 30},
    "all": {
        "causal": "lower_right", "window": (900, None), "softcap": 15.0,
        "alibi_slopes": 0.02, "sinks": 0.3, "key_lengths": -5, "scale": 0.4,
    },
}  # fmt: skip


def options_for(name, heads, n_k):
    """OPTIONS[name] with arrays of the right length."""
    options = dict(OPTIONS[name])
    for per_head in {"alibi_slopes", "sinks"} & options.keys():
        options[per_head] = np.linspace(0, options[per_head], heads)
    if "key_lengths" in options:
        options["key_lengths"] += n_k
    return options


def everything(*arrays, **options):
    """out, per-head weights and lse."""
    return selfattn.attention(*arrays, **options, return_weights=True, return_lse=True)


def assert_same(a, b):
    for x, y in zip(a, b, strict=True):
        assert same_bits(x, y)


@pytest.fixture(params=SHAPES, ids=str)
def shape(request):
    return request.param


@pytest.fixture(params=OPTIONS)
def options(request, shape):
    _, n_k, heads, _ = shape
    return options_for(request.param, heads, n_k)


@pytest.fixture(params=[np.float32, np.float64])
def arrays(request, rng, shape):
    n_q, n_k, heads, kv_heads = shape
    return qkv(rng, n_q, n_k, 24, 17, heads=heads, kv_heads=kv_heads, dtype=request.param)


def test_threads_and_repeats(unit, arrays, options):
    first = everything(*arrays, **options, num_threads=1)
    mean = selfattn.attention(*arrays, **options, return_weights="mean", num_threads=1)
    for threads in (1, 2, 3, 4):
        assert_same(everything(*arrays, **options, num_threads=threads), first)
        again = selfattn.attention(*arrays, **options, return_weights="mean", num_threads=threads)
        assert_same(again, mean)
        assert same_bits(selfattn.attention(*arrays, **options, num_threads=threads), first[0])


def test_what_is_returned(unit, arrays, options):
    out, weights, lse = everything(*arrays, **options)
    for more in ({}, {"return_weights": True}, {"return_weights": "mean"}, {"return_lse": True},
                 {"return_weights": "mean", "return_lse": True}):  # fmt: skip
        got = selfattn.attention(*arrays, **options, **more)
        got = got if isinstance(got, tuple) else (got,)
        assert same_bits(got[0], out), more
        if more.get("return_weights") is True:
            assert same_bits(got[1], weights)
        if "return_lse" in more:
            assert same_bits(got[-1], lse)


def test_sums_that_overflow_on_the_way(unit, arrays, options):
    """Values near the largest number take more care; threads, returns and neighbours as ever."""
    query, key, value = arrays
    value = np.sign(value) * value.dtype.type(np.finfo(value.dtype).max / 2)
    first = everything(query, key, value, **options, num_threads=1)
    assert np.isfinite(first[0]).all()
    for threads in (1, 4):
        more = {**options, "num_threads": threads}
        assert_same(everything(query, key, value, **more), first)
        assert same_bits(selfattn.attention(query, key, value, **more), first[0])
        mean = selfattn.attention(query, key, value, **more, return_weights="mean")
        assert same_bits(mean[0], first[0])
    others = np.full_like(query, np.nan)
    others[:, -1] = query[:, -1]
    for a, b in zip(everything(others, key, value, **options), first, strict=True):
        assert same_bits(a[:, -1], b[:, -1])


def test_memory_layout(unit, arrays, options):
    first = everything(*arrays, **options)
    for layout in LAYOUTS:
        for which in range(3):
            moved = [in_layout(x, layout) if i == which else x for i, x in enumerate(arrays)]
            assert_same(everything(*moved, **options), first)


def test_out(unit, arrays, options):
    first = everything(*arrays, **options)
    for layout in ("contiguous", "fortran", "heads_inside", "reversed", "spread"):
        out = tuple(in_layout(np.empty_like(x), layout) for x in first)
        assert_same(everything(*arrays, **options, out=out), first)


def test_other_rows(unit, arrays, options):
    """All rows but one, in all heads, replaced by other numbers: that one row keeps its bytes."""
    query, key, value = arrays
    first = everything(*arrays, **options)
    heads, n_q = query.shape[:2]
    for value_of_others in (1e30, -1e30, np.inf, -np.inf, np.nan, 0.0, 1e-42):
        for head, row in {(0, 0), (heads - 1, n_q - 1), (heads // 2, n_q // 2)}:
            others = np.full_like(query, value_of_others)
            others[head, row] = query[head, row]
            for a, b in zip(everything(others, key, value, **options), first, strict=True):
                assert same_bits(a[head, row], b[head, row]), value_of_others


def test_batch_and_head_groups_beside(unit, rng, shape):
    """A batch entry, or a key head with the query heads that read it, alone or among others."""
    n_q, n_k, heads, kv_heads = shape
    query, key, value = qkv(rng, n_q, n_k, 24, 17, heads=heads, kv_heads=kv_heads, batch=(3,))
    for name in OPTIONS:
        options = options_for(name, heads, n_k)
        whole = everything(query, key, value, **options)
        for b in range(3):
            alone = everything(query[b], key[b], value[b], **options)
            assert_same(alone, [x[b] for x in whole])
        group = heads // kv_heads
        for h in range(kv_heads):
            of_group = slice(h * group, (h + 1) * group)
            cut = {
                name: x[of_group] if name in ("alibi_slopes", "sinks") else x
                for name, x in options.items()
            }
            alone = everything(query[:, of_group], key[:, h : h + 1], value[:, h : h + 1], **cut)
            assert_same(alone, [x[:, of_group] for x in whole])


def test_broadcast_batch_equals_copies(unit, rng):
    query, key, value = qkv(rng, 9, 80, 16, heads=4, kv_heads=2)
    one = everything(query, key, value)
    copies = everything(np.stack([query] * 3), key, np.stack([value] * 3))
    for a, b in zip(one, copies, strict=True):
        assert all(same_bits(a, b[i]) for i in range(3))


HIDDEN = {
    "causal": (
        lambda n_q, n_k: {"causal": "upper_left"},
        lambda n_q, n_k: {"causal": True},
    ),
    "lower right": (
        lambda n_q, n_k: {"causal": "lower_right"},
        lambda n_q, n_k: {"causal": True, "offset": n_k - n_q},
    ),
    "window": (
        lambda n_q, n_k: {"window": (20, 5), "query_offset": n_k // 2},
        lambda n_q, n_k: {"left": 20, "right": 5, "offset": n_k // 2},
    ),
    "length": (
        lambda n_q, n_k: {"key_lengths": n_k - n_k // 3},
        lambda n_q, n_k: {"length": n_k - n_k // 3},
    ),
    "all three": (
        lambda n_q, n_k: {"causal": True, "window": 70, "key_lengths": n_k - 9, "query_offset": 5},
        lambda n_q, n_k: {"causal": True, "left": 70, "right": 70, "length": n_k - 9, "offset": 5},
    ),
}


@pytest.mark.parametrize("hider", HIDDEN)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda t: np.dtype(t).name)
def test_hidden_by_rule_or_by_mask(unit, rng, shape, dtype, hider):
    """Keys hidden by causal, a window or a length, or by the bool mask that says the same."""
    n_q, n_k, heads, kv_heads = shape
    query, key, value = qkv(rng, n_q, n_k, 24, 17, heads=heads, kv_heads=kv_heads, dtype=dtype)
    by_rule, by_mask = (make(n_q, n_k) for make in HIDDEN[hider])
    mask = equal_bool_mask(n_q, n_k, **by_mask)
    for more in ({}, {"softcap": 20.0, "sinks": np.zeros(heads)}):
        first = everything(query, key, value, **by_rule, **more)
        assert_same(everything(query, key, value, mask, **more), first)
        assert_same(everything(query, key, value, mask, **by_rule, **more), first)
        wide = in_layout(np.broadcast_to(mask, (heads, n_q, n_k)), "spread")
        assert_same(everything(query, key, value, wide, **more), first)


def test_masks_of_other_rows(unit, rng, shape):
    """A row that sees every key has the same bytes whatever its neighbours see."""
    n_q, n_k, heads, kv_heads = shape
    query, key, value = qkv(rng, n_q, n_k, 24, 17, heads=heads, kv_heads=kv_heads)
    first = everything(query, key, value)
    for share in (0.0, 0.5, 0.999):
        mask = rng.random((heads, n_q, n_k)) < share
        mask[:, n_q // 2] = True
        for a, b in zip(everything(query, key, value, mask), first, strict=True):
            assert same_bits(a[:, n_q // 2], b[:, n_q // 2])


@settings(max_examples=EXAMPLES // 10)
@given(problem=problems())
def test_any_call_on_any_threads(unit, problem):
    """Any options: the same bytes on 1 ... 4 threads and into a given out."""
    first = problem.run(selfattn.attention, num_threads=1)
    first = first if isinstance(first, tuple) else (first,)
    for threads in (2, 4):
        out = tuple(poisoned(x.shape, x.dtype)[0] for x in first)
        got = problem.run(selfattn.attention, num_threads=threads, out=out)
        assert_same(got if isinstance(got, tuple) else (got,), first)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_16_bit_types_equal_float32_rounded(unit, rng, dtype):
    """Converted on the way in and out, computed in float32: the same bits as by hand."""
    query, key, value = qkv(rng, 60, 90, 24, 17, heads=2, dtype=dtype)
    got = selfattn.attention(query, key, value)
    wide = selfattn.attention(*(x.astype(np.float32) for x in (query, key, value)))
    assert same_bits(got, wide.astype(dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d_v", [8, 40, 48])
def test_values_near_and_far(unit, rng, dtype, d_v):
    """Values of few keys are read where they lie, if rows are near each other; a NaN that some rows
    do not see makes copies of them; results go straight into arrays with columns side by side."""
    query, key, value = qkv(rng, 33, 45, 16, d_v, heads=2, dtype=dtype)
    far = np.full((2, 45, 4096), np.nan, dtype)[..., :d_v]
    mask = rng.random((33, 45)) < 0.7
    for number in (0.5, np.nan, np.inf):
        value[:, 3, -1] = number
        far[...] = value
        for options in ({}, {"mask": mask}):
            first = everything(query, key, value, **options)
            out = tuple(np.stack([x, x], -1)[..., 0] for x in first)
            assert_same(everything(query, key, far, **options), first)
            assert_same(everything(query, key, value, **options, out=out), first)
