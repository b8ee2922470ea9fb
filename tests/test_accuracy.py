"""Every result within the interface's bound of the wide oracle: any call, all tails, all sizes."""

import numpy as np
import pytest
from hypothesis import given, settings

import oracle
import selfattn
from arrays import DTYPES, KINDS, in_layout, qkv, tensor
from problems import problems
from selfattn import reference

FLOATS = (np.float32, np.float64)
HEAD_SIZES = (48, 63, 64, 65, 79, 80, 81, 95, 96, 97, 112, 127, 128, 129, 192, 255, 256, 257, 260)
EXAMPLES = settings.default.max_examples


@settings(max_examples=-(-EXAMPLES // len(selfattn.units())))
@given(problem=problems())
def test_any_call(unit, problem):
    got = problem.run(selfattn.attention)
    first = got[0] if isinstance(got, tuple) else got
    assert first.dtype == np.result_type(problem.query, problem.key, problem.value)
    expected = oracle.attention(problem.query, problem.key, problem.value, **problem.options)
    oracle.check(got, expected, returned=problem.returned)


@settings(max_examples=EXAMPLES // 4)
@given(problem=problems(dtypes=[t for t in DTYPES if t != np.float64]))
def test_any_call_of_the_reference(problem):
    """The readable definition, run in float64, within the bound of the smaller type asked for."""
    expected = oracle.attention(problem.query, problem.key, problem.value, **problem.options)
    arrays = (problem.query, problem.key, problem.value)
    problem.query, problem.key, problem.value = (x.astype(np.float64) for x in arrays)
    oracle.check(problem.run(reference.attention), expected, returned=problem.returned)


def test_all_tails(unit, rng):
    """Nq and Nk 1 ... 130, every pair. A row's expected values do not depend on Nq."""
    query, keys, values = qkv(rng, 130, 130, 5, 3)
    for n_k in range(1, 131):
        key, value = keys[:, :n_k], values[:, :n_k]
        right = oracle.attention(query, key, value)
        for n_q in range(1, 131):
            got = selfattn.attention(query[:, :n_q], key, value, num_threads=1)
            error = np.abs(got - right.out[:, :n_q]) - right.out_bound[:, :n_q]
            assert (error <= 0).all(), (n_q, n_k)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda t: np.dtype(t).name)
def test_all_tails_with_everything_returned(unit, rng, dtype):
    """Each tail of Nq and of Nk with weights and lse, causal (Nq = Nk) and decode (Nq = 1)."""
    query, key, value = qkv(rng, 130, 130, 33, 7, heads=2, kv_heads=1, dtype=dtype)
    for n in range(1, 131):
        for n_q, n_k, causal in ((n, 70, False), (7, n, False), (n, n, True), (1, n, False)):
            arrays = query[:, :n_q], key[:, :n_k], value[:, :n_k]
            got = selfattn.attention(*arrays, causal=causal, return_weights=True, return_lse=True)
            expected = oracle.attention(*arrays, causal=causal)
            oracle.check(got, expected, returned=("out", "weights", "lse"))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n_q", [1, 5, 100])
def test_all_head_sizes(unit, rng, dtype, n_q):
    """Every d up to 40, those around multiples of a vector or a tile, and large ones; d_v equal
    and different."""
    for d in (*range(41), *HEAD_SIZES):
        for d_v in (d, 1 + (37 * d) % 131):
            query, key, value = qkv(rng, n_q, 70, d, d_v, dtype=dtype)
            got = selfattn.attention(query, key, value, return_lse=True)
            oracle.check(got, oracle.attention(query, key, value), returned=("out", "lse"))


@pytest.mark.parametrize("group", range(1, 17))
def test_grouped_heads(unit, rng, group):
    """Query head h reads key head h // group, for prefill, a few queries and decode."""
    for n_q in (1, 2, 9, 40):
        query, key, value = qkv(rng, n_q, 90, 16, 8, heads=3 * group, kv_heads=3)
        got = selfattn.attention(query, key, value, causal="lower_right", return_weights=True)
        expected = oracle.attention(query, key, value, causal="lower_right")
        oracle.check(got, expected, returned=("out", "weights"))


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize("n_k", [63, 64, 65, 1023, 1024, 1025, 2048, 3000, 5000])
def test_decode_and_chunk_borders(unit, rng, dtype, n_k):
    """1 ... 16 queries against many keys: several chunks, whose partial results are merged."""
    for n_q in (1, 2, 3, 4, 7, 8, 16):
        query, key, value = qkv(rng, n_q, n_k, 24, 17, heads=4, kv_heads=2, dtype=dtype)
        options = {"causal": "lower_right", "softcap": 20.0}
        got = selfattn.attention(query, key, value, **options, return_weights=True, return_lse=True)
        expected = oracle.attention(query, key, value, **options)
        oracle.check(got, expected, returned=("out", "weights", "lse"))


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize(("d", "d_v"), [(128, 128), (256, 272), (129, 64), (160, 16)])
def test_rows_read_where_they_lie(unit, rng, dtype, d, d_v):
    """Up to 16 rows of whole vectors and of others against many keys, narrow and wide values."""
    for n_q, n_k in ((1, 300), (2, 1100), (5, 300), (9, 1030), (13, 1024), (16, 1100)):
        query, key, value = qkv(rng, n_q, n_k, d, d_v, dtype=dtype)
        got = selfattn.attention(query, key, value, return_weights=True, return_lse=True)
        expected = oracle.attention(query, key, value)
        oracle.check(got, expected, returned=("out", "weights", "lse"))


@pytest.mark.parametrize("options", [
    {}, {"causal": True}, {"causal": True, "window": (1500, 0)}, {"window": (10, 1030)},
    {"key_lengths": 2047}, {"alibi_slopes": [0.01, 0.1]}, {"sinks": [3.0, -np.inf]},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("dtype", FLOATS)
def test_long_rows(unit, rng, dtype, options):
    """Blocks of queries over three chunks of keys."""
    query, key, value = qkv(rng, 2100, 2100, 8, heads=2, kv_heads=1, dtype=dtype)
    query = query[:, 1950:]
    options = options | {"query_offset": 1950}
    got = selfattn.attention(query, key, value, **options, return_weights=True, return_lse=True)
    expected = oracle.attention(query, key, value, **options)
    oracle.check(got, expected, returned=("out", "weights", "lse"))
    mean = selfattn.attention(query, key, value, **options, return_weights="mean")
    oracle.check(mean, expected, returned=("out", "mean"))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n_q", "d"), [(1, 256), (130, 64), (70, 256)])
def test_kinds_of_numbers(unit, rng, dtype, kind, n_q, d):
    """Sums of one sign, scores near zero and in the hundreds, equal keys, exact zeros."""
    query, key, value = qkv(rng, n_q, 1100, d, 32, dtype=dtype, kind=kind)
    got = selfattn.attention(query, key, value, return_weights=True, return_lse=True)
    expected = oracle.attention(query, key, value)
    oracle.check(got, expected, returned=("out", "weights", "lse"))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n_q", [1, 64])
def test_flat_scores_over_long_positive_values(unit, rng, dtype, n_q):
    """The mean of thousands of numbers of one sign: kappa is about 0, so the sum itself must be
    exact to 8 u however many terms it has."""
    query, key, value = qkv(rng, n_q, 20_000, 2, 8, dtype=dtype, kind="small")
    value = np.abs(value) + np.asarray(1, dtype)
    got = selfattn.attention(query, key, value, return_lse=True)
    oracle.check(got, oracle.attention(query, key, value), returned=("out", "lse"))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n_q", [1, 4, 16, 64])
@pytest.mark.parametrize("n_k", [110, 448, 470, 480, 500, 512, 1100])
def test_mean_of_equal_values(unit, rng, dtype, n_q, n_k):
    """A column of one number, whose sum rounds the same way at every step: among thousands of such
    numbers are those that round worst. Each row has its own bias, and so its own p."""
    numbers = 1 + rng.random(4096).astype(dtype)
    value = np.broadcast_to(numbers, (n_k, 4096)).copy()
    key = rng.standard_normal((n_k, 2)).astype(dtype)
    for bias in (None, np.broadcast_to(-3 * rng.random((n_q, 1)), (n_q, n_k)).astype(dtype)):
        got = selfattn.attention(np.zeros((n_q, 2), dtype), key, value, bias=bias)
        error = np.abs(got.astype(np.longdouble) - numbers) / numbers
        assert error.max() <= 8 * np.finfo(dtype).eps / 2


@pytest.mark.parametrize(("dtype", "exponent"), [
    *((np.float32, e) for e in (-120, -110, -70, 70, 100)),
    *((np.float64, e) for e in (-1000, -996, -600, 600, 800)),
])  # fmt: skip
@pytest.mark.parametrize("n_q", [2, 40])
def test_terms_beside_a_tiny_or_huge_scale(unit, rng, dtype, exponent, n_q):
    """What a product with the scale loses is far from the scale itself."""
    scale = 2.0**exponent
    query, key = ((rng.standard_normal((n, 4)) / np.sqrt(scale)).astype(dtype) for n in (n_q, 200))
    value = rng.standard_normal((200, 3)).astype(dtype)
    for level in (0, 1000):
        bias = (level + rng.standard_normal((n_q, 200))).astype(dtype)
        call = {"bias": bias, "scale": scale, "return_weights": True}
        got = selfattn.attention(query, key, value, **call)
        oracle.check(got, oracle.attention(query, key, value, bias=bias, scale=scale),
                     returned=("out", "weights"))  # fmt: skip


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("n_q", "n_k"), [(1, 1100), (4, 500), (16, 1100), (3000, 500)])
def test_weights_of_equal_keys(unit, rng, dtype, n_q, n_k):
    """Equal terms of a denominator round the same way at every step: among thousands of queries are
    those that round worst. A weight is exact to 8 u however many terms there are."""
    query = 0.1 * rng.standard_normal((3000 // n_q, n_q, 1)).astype(dtype)
    key = np.broadcast_to(dtype(1), (3000 // n_q, n_k, 1))
    value = np.ones((n_k, 1), dtype)[None]
    out, p = selfattn.attention(query, key, np.broadcast_to(value, key.shape), return_weights=True)
    bound = (8 + 4 * np.abs(query)) * oracle.unit_roundoff(dtype)
    assert (np.abs(p.astype(np.longdouble) * n_k - 1) <= bound).all()
    assert (np.abs(out.astype(np.longdouble) - 1) <= bound).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n_q", [1, 4, 4096])
@pytest.mark.parametrize("d", [16, 64, 80, 128, 1024])
def test_scores_of_equal_products(unit, rng, dtype, n_q, d):
    """Products of one number with another, d times, are a sum that rounds the same way at every
    step. With one key lse is that sum; its bound is then 5 u kappa and 2 u."""
    numbers = (1 + rng.random((4096, 1))).astype(dtype)
    query = np.broadcast_to(numbers, (4096, d)).reshape(4096 // n_q, n_q, d)
    key = np.full((1, 1, d), 1 + rng.random(), dtype)
    _, lse = selfattn.attention(query, key, key, scale=8 / d, return_lse=True)
    expected = 8 * (numbers.astype(np.longdouble) * key[0, 0, 0]).reshape(lse.shape)
    bound = (2 + 5 * expected) * oracle.unit_roundoff(dtype)
    assert (np.abs(lse.astype(np.longdouble) - expected) <= bound).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("d", [3, 4, 8, 16])
@pytest.mark.parametrize("masked", [False, True])
def test_weights_of_scores_far_apart(unit, rng, dtype, d, masked):
    """With kappa in the dozens the rounding of two scores and of what multiplies their difference
    is all that there is: 4 u kappa of a weight."""
    for _ in range(20):
        mask = rng.standard_normal((100, 700)).astype(dtype) if masked else None
        query = (10 ** (0.5 + 0.9 * rng.random()) * rng.standard_normal((1, 100, d))).astype(dtype)
        key = rng.standard_normal((1, 700, d)).astype(dtype)
        scale = 0.3 + 0.7 * rng.random()
        got = selfattn.attention(
            query, key, key, mask, scale=scale, return_weights=True, return_lse=True
        )
        expected = oracle.attention(query, key, key, mask, scale=scale)
        oracle.check(got, expected, returned=("out", "weights", "lse"))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("term", ["none", "mask", "bias", "slopes"])
def test_the_scale_is_not_rounded(unit, rng, dtype, term):
    """Sums of whole numbers are exact, and scale log2(e), rounded, would alone cost a weight up to
    2 u kappa: an eighth of u kappa is allowed. Without a fused multiply-add the product rounds."""
    query = rng.integers(-8, 9, (1, 100, 4)).astype(dtype)
    key = rng.integers(-8, 9, (1, 300, 4)).astype(dtype)
    scales = 0.30 + 0.0004 * np.arange(400)
    product = scales / np.log(np.longdouble(2))
    lost = np.abs(product.astype(dtype) - product) / product
    options = {
        "none": {},
        "mask": {"mask": rng.standard_normal((100, 300)).astype(dtype)},
        "bias": {"bias": rng.standard_normal((100, 300)).astype(dtype)},
        "slopes": {"alibi_slopes": np.array([0.25]), "query_offset": 100},
    }[term]
    for scale in scales[np.argsort(lost)[-3:]]:
        _, weights = selfattn.attention(
            query, key, key, scale=scale, return_weights=True, **options
        )
        expected = oracle.attention(query, key, key, scale=scale, **options)
        u, tiny = oracle.unit_roundoff(dtype), oracle.smallest_normal(dtype)
        kappa = scale * (np.abs(query) @ np.abs(key).swapaxes(1, 2)).max(axis=-1, keepdims=True)
        bound = (8 + kappa * (2 if unit == "scalar" else 1 / 8)) * u * expected.weights + tiny
        assert (np.abs(weights - expected.weights) <= bound).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", ["normal", "positive", "large"])
@pytest.mark.parametrize("shape", [(256, 256, 64), (96, 1500, 33), (1, 1100, 128)])
def test_rms_at_most_twice_numpys(unit, rng, dtype, kind, shape):
    """Arrays of at least 4,096 outputs: the rms error is at most twice that of plain NumPy.

    Large scores leave a row one or two weights, few rows those whose weights are near each other:
    over 32 rows the ratio is beyond 2 in one draw of ten by chance, of equally exact sums as well;
    over 512 in none of 20,000. So the squares of several draws are averaged."""
    n_q, n_k, d = shape
    heads = max(2, 4096 // (n_q * d))
    squares = []
    for _ in range(-(-512 // (heads * n_q)) if kind == "large" else 1):
        query, key, value = qkv(rng, n_q, n_k, d, heads=heads, dtype=dtype, kind=kind)
        right = oracle.attention(query, key, value)
        assert right.out.size >= 4096
        squares.append([
            [oracle.rms_error(result, exact) ** 2
             for result, exact in zip(results, (right.out, right.weights), strict=True)]
            for results in (
                selfattn.attention(query, key, value, return_weights=True),
                reference.attention(query, key, value, return_weights=True),
            )
        ])  # fmt: skip
    ours, of_numpy = np.sqrt(np.mean(squares, axis=0))
    assert (ours <= 2 * of_numpy).all()


@pytest.mark.parametrize("sizes", [
    {"batch": (0,)}, {"heads": 0, "kv_heads": 0}, {"heads": 0, "kv_heads": 2}, {"n_q": 0},
    {"n_k": 0}, {"d": 0}, {"d_v": 0}, {"n_q": 0, "n_k": 0, "d": 0, "d_v": 0}, {"n_k": 0, "n_q": 1},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda t: np.dtype(t).name)
def test_sizes_of_zero(unit, rng, dtype, sizes):
    sizes = {"n_q": 4, "n_k": 6, "d": 5, "d_v": 3, "heads": 2, "batch": (2,)} | sizes
    query, key, value = qkv(rng, dtype=dtype, **sizes)
    for options in ({}, {"causal": "lower_right"}, {"sinks": np.ones(sizes["heads"])}):
        got = selfattn.attention(query, key, value, **options, return_weights=True, return_lse=True)
        expected = oracle.attention(query, key, value, **options)
        oracle.check(got, expected, returned=("out", "weights", "lse"))


def test_two_dimensional_problem_equals_one_head(unit, rng):
    query, key, value = (x[0] for x in qkv(rng, 6, 9, 4, 5))
    flat = selfattn.attention(query, key, value, return_weights=True, return_lse=True)
    heads = selfattn.attention(
        query[None], key[None], value[None], return_weights=True, return_lse=True
    )
    mean = selfattn.attention(query, key, value, return_weights="mean")[1]
    for a, b in zip(flat, heads, strict=True):
        assert np.array_equal(a, b[0])
    assert np.array_equal(mean, flat[1])


def test_batch_axes_broadcast(unit, rng):
    query = tensor(rng, (3, 1, 2, 5, 4))
    key = tensor(rng, (4, 1, 6, 4))
    value = in_layout(tensor(rng, (1, 6, 3)), "reversed")
    lengths = np.array([[6], [2], [0]])
    got = selfattn.attention(query, key, value, key_lengths=lengths, return_lse=True)
    assert got[0].shape == (3, 4, 2, 5, 3)
    expected = oracle.attention(query, key, value, key_lengths=lengths)
    oracle.check(got, expected, returned=("out", "lse"))


@pytest.mark.parametrize("offset", [-30, 30])
@pytest.mark.parametrize("window", [(2, 1), (2, None), (None, 1)])
def test_windows_that_leave_the_keys(unit, rng, offset, window):
    """Rows before the first key and behind the last, which see nothing, beside others."""
    query, key, value = qkv(rng, 40, 40, 8)
    options = {"window": window, "query_offset": offset}
    got = selfattn.attention(query, key, value, **options, return_weights=True)
    oracle.check(got, oracle.attention(query, key, value, **options), returned=("out", "weights"))
