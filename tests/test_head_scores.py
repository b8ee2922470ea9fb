"""Head scores and overviews: sums over kinds of keys and over blocks, against whole weights."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracle
import selfattn
from arrays import DTYPES, qkv, same_bits
from problems import problems
from selfattn import reference

PLAIN = ("previous", "first", "diagonal")


def all_scores(tokens, window=3):
    return (*PLAIN, ("window", window), ("duplicate", tokens), ("induction", tokens))


@settings(max_examples=60)
@given(problem=problems(), seed=st.integers(0, 2**32 - 1), side=st.integers(1, 40))
def test_any_call(unit, problem, seed, side):
    """Every option, type, layout and size, on every unit: what the weights of the twin say, up to
    the bound of a weight and the rounding of sums."""
    options = dict(problem.options)
    mask = options.pop("mask", None)
    rng = np.random.default_rng(seed)
    n_k = problem.key.shape[-2]
    batch = np.broadcast_shapes(
        *(x.shape[:-3] for x in (problem.query, problem.key, problem.value))
    )
    tokens = rng.integers(0, 1 + n_k // 4, (*batch, n_k))
    wanted = {"head_scores": all_scores(tokens, (2, None)), "overview": side}
    arrays = (problem.query, problem.key, problem.value, mask)
    found = selfattn.attention_stats(*arrays, **options, **wanted)
    wide = [None if x is None else x.astype(np.float64) for x in arrays[:3]]
    right = reference.attention_stats(*wide, mask, **options, **wanted)
    expected = oracle.attention(*arrays, **options)
    u = oracle.unit_roundoff(problem.query.dtype)
    # in float64 the twin rounds as much as what is tested, and logits with their bias as one number
    logits = np.max(np.abs(expected.lse), initial=0, where=np.isfinite(expected.lse))
    slack = expected.weights_bound * (2 + logits / 4 if u < 1e-10 else 1)
    one_row = float(np.max(np.sum(slack, axis=-1, dtype=np.float64), initial=0))
    for name, score in right.head_scores.items():
        assert found.head_scores[name].dtype == found.lse.dtype
        bound = one_row + 32 * u * np.abs(score) + 1e-30
        assert (np.abs(found.head_scores[name] - score) <= bound).all(), name
    most = float(np.max(slack, initial=0))
    assert (np.abs(found.overview.max - right.overview.max) <= most + 1e-30).all()
    bound = most + 64 * u * right.overview.mean + 1e-30
    assert (np.abs(found.overview.mean - right.overview.mean) <= bound).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("heads", [2, 4])
def test_twin_agrees(rng, dtype, heads):
    """Offsets and lengths by batch entry, grouped heads, tokens by batch entry."""
    q, k, v = qkv(rng, 30, 50, 8, heads=heads, kv_heads=2, batch=(3,), dtype=dtype)
    tokens = rng.integers(0, 6, (3, 50))
    for options in (
        {"query_offset": [-5, 0, 41], "key_lengths": [50, 7, 0]},
        {"causal": "lower_right", "key_lengths": [50, 44, 31]},
        {"window": (4, 9), "query_offset": 20},
    ):
        wanted = {"head_scores": all_scores(tokens), "overview": 7}
        found = selfattn.attention_stats(q, k, v, **options, **wanted)
        right = reference.attention_stats(q, k, v, **options, **wanted)
        assert list(found.head_scores) == list(right.head_scores)
        for name, score in right.head_scores.items():
            assert (found.head_scores[name].shape, score.shape) == ((3, heads), (3, heads))
            np.testing.assert_allclose(found.head_scores[name], score, rtol=2e-5, atol=1e-7)
        for name in ("max", "mean"):
            a, b = getattr(found.overview, name), getattr(right.overview, name)
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-7, err_msg=name)


def test_heads_that_do_one_thing(unit):
    """Scores and keys made so that each row looks at one key alone: its score is 1."""
    n = 700
    text = np.random.default_rng(0).integers(0, 300, n)
    eye = np.eye(n)
    last, after = np.full(n, -1), np.full(n, -1)
    for i in range(n):
        same = np.flatnonzero(text[:i] == text[i])
        if same.size:
            last[i], after[i] = same[-1], same[-1] + 1
    looks_at = {
        "previous": np.maximum(np.arange(n) - 1, 0), "first": np.zeros(n, int),
        "diagonal": np.arange(n), "duplicate": last, "induction": after,
    }  # fmt: skip
    words = np.array([f"word {i}" for i in text])
    for name, keys in looks_at.items():
        query = 1e3 * np.where(keys[:, None] >= 0, eye[keys], 0)
        found = selfattn.attention_stats(query, eye, stats=(), causal=True, scale=1.0,
                                         head_scores=(*PLAIN, ("window", 0), ("duplicate", words),
                                                      ("induction", words)))  # fmt: skip
        score = found.head_scores
        assert score[name] == pytest.approx(1, abs=1e-12)
        assert score["window"] == score["diagonal"]
        others = [score[other] for other in looks_at if other != name]
        assert max(others) < 0.6


@pytest.mark.parametrize("heads", [1, 3])
def test_threads_change_no_bit(unit, rng, heads):
    q, k, v = qkv(rng, 900, 900, 8, heads=heads, kv_heads=1)
    tokens = rng.integers(0, 9, 900)
    one, *others = (
        selfattn.attention_stats(q, k, v, causal=True, head_scores=all_scores(tokens), overview=50,
                                 num_threads=n)
        for n in (1, 2, 5)
    )  # fmt: skip
    for other in others:
        assert same_bits(one.overview.max, other.overview.max)
        assert same_bits(one.overview.mean, other.overview.mean)
        for name, score in one.head_scores.items():
            assert same_bits(score, other.head_scores[name])


def test_overview_holds_the_weights(unit, rng):
    """Blocks of one weight are the weights; the largest of larger ones are their largest."""
    q, k, v = qkv(rng, 70, 1300, 16, heads=4, kv_heads=2)
    weights = selfattn.attention(q, k, v, causal="lower_right", return_weights=True)[1]
    whole = selfattn.attention_stats(q, k, causal="lower_right", overview=1300).overview
    assert same_bits(whole.max[:, :70], weights)
    assert same_bits(whole.mean[:, :70], weights)
    assert (whole.max[:, 70:] == 0).all()
    blocks = selfattn.attention_stats(q, k, causal="lower_right", overview=13).overview
    padded = np.zeros((4, 78, 1300), np.float32)
    padded[:, :70] = weights
    assert same_bits(blocks.max[:, :12], padded.reshape(4, 13, 6, 13, 100).max((2, 4))[:, :12])


def test_nan_and_empty(rng):
    """A NaN reaches the scores of its head and the blocks of its rows; no rows or keys, zeros."""
    q, k, _ = qkv(rng, 60, 60, 8, heads=2)
    q[0, 50] = np.nan
    found = selfattn.attention_stats(q, k, head_scores=PLAIN, overview=6)
    assert np.isnan(found.head_scores["first"]).tolist() == [True, False]
    lost = np.isnan(found.overview.max)
    assert same_bits(lost, np.isnan(found.overview.mean))
    assert lost[0, 5].all()
    assert not lost[0, :5].any()
    assert not lost[1].any()
    for n_q, n_k in ((0, 3), (3, 0), (0, 0)):
        x, y = np.ones((2, n_q, 4)), np.ones((2, n_k, 4))
        found = selfattn.attention_stats(x, y, head_scores=all_scores(np.zeros(n_k, int)),
                                         overview=2, query_offset=0)  # fmt: skip
        right = reference.attention_stats(x, y, head_scores=all_scores(np.zeros(n_k, int)),
                                          overview=2, query_offset=0)  # fmt: skip
        assert found.overview.max.shape == right.overview.max.shape == (2, 2, 2)
        for name, score in found.head_scores.items():
            assert same_bits(score, right.head_scores[name])


X = np.ones((2, 5, 4), np.float32)
WRONG = {
    "text": ({"head_scores": "first"}, TypeError, "sequence of names or pairs"),
    "item": ({"head_scores": [3]}, TypeError, "a name or a pair"),
    "name": ({"head_scores": ["last"]}, ValueError, "head_scores has 'last': expected some of"),
    "twice": ({"head_scores": ["first", "first"]}, ValueError, "first twice"),
    "more": ({"head_scores": [("first", 3)]}, ValueError, "needs none"),
    "less": ({"head_scores": ["window"]}, ValueError, r'expected a pair, \("window", 8\)'),
    "tokens-none": ({"head_scores": ["induction"]}, ValueError, r'\("induction", tokens\)'),
    "window-kind": ({"head_scores": [("window", 1.5)]}, TypeError, "expected an int"),
    "window-size": ({"head_scores": [("window", -1)]}, ValueError, "0 or more"),
    "tokens-kind": ({"head_scores": [("duplicate", [0.5] * 5)]}, TypeError, "float64"),
    "tokens-size": ({"head_scores": [("duplicate", [1, 2])]}, ValueError, "one token a key"),
    "overview-kind": ({"overview": 2.5}, TypeError, "overview must be an int"),
    "overview-size": ({"overview": -1}, ValueError, "overview"),
}  # fmt: skip


@pytest.mark.parametrize("package", [selfattn, reference])
@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(package, case):
    options, error, text = WRONG[case]
    with pytest.raises(error, match=text):
        package.attention_stats(X, X, X, **options)
