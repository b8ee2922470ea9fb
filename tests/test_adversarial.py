"""Rows made to hurt: late and growing maxima, huge and denormal numbers, the ends of each type."""

import ml_dtypes
import numpy as np
import pytest

import oracle
import selfattn
from arrays import DTYPES, qkv

FLOATS = (np.float32, np.float64)
# One query (decode), a tail, a whole block; one chunk of keys and several.
SHAPES = [(1, 300), (7, 130), (100, 200), (3, 2500), (64, 2100)]


def scores_as_given(scores, dtype, d_v=5, rng=None):
    """query, key, value with query . key = scores [n_k], the same for every query."""
    key = np.zeros((1, len(scores), 2), dtype)
    key[0, :, 0] = scores
    value = rng.standard_normal((1, len(scores), d_v)).astype(dtype)
    return key, value


def hold(query, key, value, **options):
    got = selfattn.attention(query, key, value, **options, return_weights=True, return_lse=True)
    expected = oracle.attention(query, key, value, **options)
    oracle.check(got, expected, returned=("out", "weights", "lse"))
    return got


def profile(name, n):
    ramp = np.arange(n, dtype=float)
    last = np.zeros(n)
    last[-1] = 80.0
    return {
        "huge_logit_last": last,
        "huge_logit_first": last[::-1],
        "ramp_up": ramp / 4,
        "steep_ramp_up": 10 * ramp,
        "ramp_down": -ramp / 4,
        "saw": 60.0 * (ramp % 7) - ramp / 3,
        "step_per_tile": 33.0 * (ramp // 64),
        "just_below_a_lazy_maximum": np.where(ramp < 64, 0.0, 22.0),
        "all_equal": np.full(n, 3.25),
        "all_very_negative": np.full(n, -9000.0),
        "one_in_a_desert": np.where(ramp == n // 2, 0.0, -500.0),
    }[name]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("n_q", "n_k"), SHAPES)
@pytest.mark.parametrize("name", [
    "huge_logit_last", "huge_logit_first", "ramp_up", "steep_ramp_up", "ramp_down", "saw",
    "step_per_tile", "just_below_a_lazy_maximum", "all_equal", "all_very_negative",
    "one_in_a_desert",
])  # fmt: skip
def test_profiles_of_scores(unit, rng, dtype, n_q, n_k, name):
    """The running maximum rises late, in every tile, or never; scores as large as 25,000."""
    key, value = scores_as_given(profile(name, n_k), dtype, rng=rng)
    query = np.zeros((1, n_q, 2), dtype)
    query[0, :, 0] = 1
    query[0, 1::2, 0] = -1  # neighbours see the profile upside down
    hold(query, key, value, scale=1.0)


@pytest.mark.parametrize("dtype", FLOATS)
def test_each_row_has_its_maximum_elsewhere(unit, rng, dtype):
    """Rows of one tile rescale at different keys."""
    key = np.eye(200, dtype=dtype)[None]
    value = rng.standard_normal((1, 200, 6)).astype(dtype)
    query = 70 * np.eye(200, dtype=dtype)[None, rng.permutation(200)]
    hold(query, key, value, scale=1.0)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("n_q", "n_k"), SHAPES)
def test_scores_of_ten_thousand(unit, rng, dtype, n_q, n_k):
    query, key, value = qkv(rng, n_q, n_k, 16, 4, dtype=dtype)
    hold(query * 100, key * 100, value, scale=0.25)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("n_q", "n_k"), SHAPES)
@pytest.mark.parametrize("huge", [1.0, 3.0])
def test_values_near_the_largest_number(unit, rng, dtype, n_q, n_k, huge):
    """A weighted mean of numbers near the largest one is one of them: no partial sum overflows."""
    query, key, value = qkv(rng, n_q, n_k, 4, 6, dtype=dtype)
    largest = 1e38 if dtype == np.float32 else 5e307
    value = (huge * largest * np.sign(value)).astype(dtype)
    value[..., 0] = np.abs(value[..., 0])
    got = hold(query, key, value)[0]
    assert np.isfinite(got).all()


@pytest.mark.parametrize(("dtype", "largest"), [
    (np.float16, 65504.0), (ml_dtypes.bfloat16, 3e38), (np.float32, 3e38), (np.float64, 1.7e308),
])  # fmt: skip
@pytest.mark.parametrize("n_q", [1, 40])
def test_the_largest_value_everywhere(unit, rng, dtype, largest, n_q):
    query, key, value = qkv(rng, n_q, 300, 8, 4, dtype=dtype)
    value = np.full_like(value, largest)
    got = selfattn.attention(query, key, value)
    error = np.abs(got.astype(np.longdouble) - value[0, 0, 0].astype(np.longdouble))
    expected = oracle.attention(query, key, value)
    bound = expected.out_bound + oracle.half_ulp(expected.out, dtype)
    assert (error <= bound).all()


@pytest.mark.parametrize("n_q", [1, 40])
def test_the_whole_range_of_float16(unit, rng, n_q):
    """Queries at the largest float16, values from its smallest subnormal number on."""
    query, key, _ = qkv(rng, n_q, 90, 4, dtype=np.float16)
    bits = rng.integers(0, 0x7C00, (1, 90, 40)).astype(np.uint16)
    value = bits.view(np.float16) * np.float16(1)
    value[..., :20] = (bits[..., :20] % 0x400).view(np.float16)
    query[0, 0] = 65504
    hold(query, key / 64, value)
    hold(query, key / 64, value * np.float16(-1), causal="lower_right")


def test_float16_subnormals_are_exact(unit):
    """One visible key per row: every subnormal float16 comes back as it went in."""
    value = np.arange(1024, dtype=np.uint16).view(np.float16).reshape(1, 64, 16)
    query = np.ones((1, 64, 2), np.float16)
    for layout in (value, np.ascontiguousarray(value.swapaxes(1, 2)).swapaxes(1, 2)):
        got = selfattn.attention(query, query, layout, window=0)
        assert got.tobytes() == value.tobytes()


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_every_16_bit_number_survives_one_visible_key(unit, dtype):
    """Conversion in and out of all 65,536 patterns: exact, NaN stays NaN."""
    value = np.arange(65536, dtype=np.uint16).view(dtype).reshape(1, 256, 256)
    query = np.ones((1, 256, 1), dtype)
    with np.errstate(invalid="ignore"):  # signalling NaNs are among the patterns
        got = selfattn.attention(query, query, value, window=0).astype(np.float64)
        right = value.astype(np.float64)
    same = (got == right) | (np.isnan(got) & np.isnan(right))
    if dtype is not np.float16:  # a subnormal bfloat16 is a subnormal float32, which may be 0;
        # so may be its product with the weight before the division, which is above 1/2
        same |= (got == 0) & (np.abs(right) < 2.0**-125)
    assert same.all()


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_results_are_rounded_to_nearest_even(unit, dtype):
    """Two keys of equal weight: their mean lies halfway between neighbours of the type. One query
    of (0) gives both keys the weight 1/2 exactly."""
    low = np.arange(0x3C00, 0x3C00 + 512, dtype=np.uint16).view(dtype)
    high = np.arange(0x3C01, 0x3C01 + 512, dtype=np.uint16).view(dtype)
    value = np.stack([low, high])[None]
    query, key = np.zeros((1, 1, 2), dtype), np.zeros((1, 2, 2), dtype)
    got = selfattn.attention(query, key, value)[0, 0]
    even = np.where(np.arange(512) % 2 == 0, low, high)
    assert np.array_equal(got, even)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("n_q", "n_k"), SHAPES)
@pytest.mark.parametrize("which", ["query", "key", "value", "all"])
def test_denormal_inputs(unit, rng, dtype, n_q, n_k, which):
    """Numbers below the smallest normal one may count as 0, and nothing else goes wrong."""
    arrays = dict(zip(("query", "key", "value"), qkv(rng, n_q, n_k, 8, dtype=dtype), strict=True))
    factor = dtype(1e-39) if dtype == np.float32 else dtype(1e-310)
    for name in arrays if which == "all" else (which,):
        arrays[name] = arrays[name] * factor
        arrays[name][..., 0] = 1
    hold(**arrays)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("n_q", "n_k"), SHAPES)
def test_rows_of_minus_infinity(unit, rng, dtype, n_q, n_k):
    """A row whose visible scores are all -inf sees no key: 0, weights 0, lse -inf or the sink."""
    query, key, value = qkv(rng, n_q, n_k, 8, heads=2, dtype=dtype)
    query = np.abs(query) + dtype(0.1)
    key[1] = -np.inf
    for options in ({}, {"sinks": [0.5, -1.25]}, {"sinks": [-np.inf, -np.inf]}):
        out, weights, lse = hold(query, key, value, **options)
        assert not out[1].any()
        assert not weights[1].any()
        assert (lse[1] == options.get("sinks", [0, -np.inf])[1]).all()
    out, weights, lse = hold(query, key[:1], value[:1], bias=np.full((1, n_k), -np.inf))
    assert not out.any()
    assert not weights.any()
    assert (lse == -np.inf).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("sink", [-200.0, -3.0, 0.0, 3.0, 60.0, 200.0])
def test_sinks_far_above_and_below_the_scores(unit, rng, dtype, sink):
    for n_q, n_k in SHAPES:
        query, key, value = qkv(rng, n_q, n_k, 8, dtype=dtype)
        hold(query, key, value, sinks=[sink])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("softcap", [0.01, 1.0, 50.0, 1e6, 1e30])
def test_softcap_from_saturated_to_linear(unit, rng, dtype, softcap):
    for n_q, n_k in SHAPES:
        query, key, value = qkv(rng, n_q, n_k, 8, dtype=dtype, kind="large")
        hold(query, key, value, softcap=softcap)


@pytest.mark.parametrize("dtype", FLOATS)
def test_infinite_scores_are_capped(unit, rng, dtype):
    """softcap * tanh(+-inf / softcap) = +-softcap: an infinite key is an ordinary one."""
    query, key, value = qkv(rng, 20, 100, 4, dtype=dtype)
    query = np.abs(query)
    capped = key.copy()
    key[:, 10], key[:, 20] = np.inf, -np.inf
    capped[:, 10], capped[:, 20] = 1e6, -1e6
    got = selfattn.attention(query, key, value, softcap=5.0)
    oracle.check_close("out", got, *_with_bound(query, capped, value, softcap=5.0))


def _with_bound(query, key, value, **options):
    """The oracle's output; for huge scores under a softcap kappa is the cap's size, not theirs."""
    expected = oracle.attention(query, key, value, **options)
    return expected.out, 64 * oracle.unit_roundoff(value.dtype) * np.abs(value).max()


@pytest.mark.parametrize("dtype", FLOATS)
def test_additive_terms_of_all_sizes(unit, rng, dtype):
    """bias, ALiBi and a float mask of thousands, which cancel in part."""
    for n_q, n_k in SHAPES:
        query, key, value = qkv(rng, n_q, n_k, 8, dtype=dtype)
        bias = (1000 * rng.standard_normal((n_q, n_k))).astype(dtype)
        hold(query, key, value, bias=bias, mask=-bias)
        hold(query, key, value, bias=bias, alibi_slopes=[-2.5], causal="lower_right")
        lowest = np.full((n_q, n_k), np.finfo(dtype).min, dtype)
        out = selfattn.attention(query, key, value, mask=lowest)
        assert np.isfinite(out).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", DTYPES)
def test_large_terms_in_part_of_a_tile(unit, rng, dtype, kind):
    """Terms of thousands that cancel where a row sees keys, in rows that begin and end anywhere."""
    n_q, n_k = 40, 600
    query, key, value = qkv(rng, n_q, n_k, 8, dtype=dtype)
    bias = (1000 * rng.standard_normal((n_q, n_k))).astype(np.float32).astype(kind)
    seen = rng.random((n_q, n_k)) < 0.5
    seen[::3] = False
    mask = np.where(seen, -bias.astype(dtype), -np.inf).astype(dtype)
    for offset in (300, 400):
        hold(query, key, value, bias=bias, mask=mask, window=(60, 90), query_offset=offset)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("offset", [300, -40, 2**23 - 300, 2**23 + 300, -(2**24) - 7, 2**40 + 1])
def test_alibi_at_all_distances(unit, rng, dtype, offset):
    """Also where they have more digits than the type."""
    query, key, value = qkv(rng, 20, 600, 8, heads=2, dtype=dtype)
    slopes = np.array([3.0, -1.0]) / max(abs(offset), 300)
    hold(query, key, value, alibi_slopes=slopes, query_offset=offset)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("slope", [1e-320, 1e-42, 1e10, 1e35, 1e300])
def test_alibi_with_slopes_of_all_sizes(unit, rng, dtype, slope):
    """Also those that the type cannot hold: then a query sees itself alone."""
    query, key, value = qkv(rng, 20, 200, 8, dtype=dtype)
    _, weights, _ = hold(query, key, value, alibi_slopes=[slope], query_offset=90)
    assert (slope > 1) == np.array_equal(weights[0].round(6), np.eye(20, 200, 90))
