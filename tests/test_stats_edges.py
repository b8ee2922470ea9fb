"""attention_stats where something is missing, zero or large."""

import numpy as np
import pytest

import selfattn
from arrays import qkv
from selfattn import reference


def test_overview_alone(rng):
    q, k, _ = qkv(rng, 9, 9, 4)
    found = selfattn.attention_stats(q, k, stats=(), overview=9)
    assert found.entropy is None
    assert found.received is None
    np.testing.assert_allclose(found.overview.max, found.to_dense(rows=slice(None)), rtol=1e-6)


@pytest.mark.parametrize(("n_q", "n_k"), [(1, 521), (70, 9001), (1000, 3)])
def test_mean_of_a_large_block_of_equal_weights(unit, n_q, n_k):
    """How many weights a block has costs no accuracy: 521 in one chain were off by 117 u."""
    query, key = np.zeros((1, n_q, 1)), np.zeros((1, n_k, 1))
    found = selfattn.attention_stats(query, key, stats=(), overview=1).overview.mean
    assert np.abs(found * n_k - 1).max() < 32 * 2.0**-53


def test_no_heads():
    x = np.ones((0, 3, 4), np.float32)
    found = selfattn.attention_stats(x, x, x, top_k=2)
    assert found.output.shape == (0, 3, 4)
    assert found.received.shape == (0, 3)


def test_more_rows_than_memory_is_kept_for():
    query, key = np.zeros((1, 600_000, 1), np.float32), np.zeros((1, 1, 1), np.float32)
    assert selfattn.attention_stats(query, key, stats=("received",)).received == 600_000


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_of_zero(unit, dtype):
    """A key that is seen is kept, also with weight 0; a hidden one is not."""
    n = 20
    key = np.where(np.arange(n) == 3, 0, -1e4)[:, None].astype(dtype)
    mask = np.arange(n) % 2 == 1
    found = selfattn.attention_stats(np.ones((n, 1), dtype), key, mask=mask, scale=1.0, top_k=n)
    expected = [3, *(j for j in range(1, n, 2) if j != 3), *[-1] * (n // 2)]
    assert (found.top_indices == expected).all()
    assert (found.top_weights == (np.arange(n) == 0)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("stats", [selfattn.attention_stats, reference.attention_stats])
def test_keys_beside_a_large_sink(unit, dtype, stats):
    """Where the sink leaves a weight 0, the keys of the largest scores are kept all the same."""
    key = np.array([[-900], [-80], [-850], [0], [-60], [0]], dtype)
    mask = np.array([[1, 1, 1, 1, 1, 0], [0, 1, 0, 0, 1, 1], [1, 0, 1, 0, 0, 0], [0] * 6], bool)
    query = np.ones((1, 4, 1), dtype)
    all_zero = stats(query, key[None], mask=mask, scale=1.0, sinks=[1e4], top_k=3)
    assert (all_zero.top_indices == [[1, 3, 4], [1, 4, 5], [0, 2, -1], [-1, -1, -1]]).all()
    assert (all_zero.argmax == [3, 5, 2, -1]).all()
    for name in ("top_weights", "top_rest", "max", "entropy", "distance"):
        assert not getattr(all_zero, name).any()

    some = stats(query, key[None], mask=mask, scale=1.0, sinks=[60.0], top_k=3)
    behind = [1, 4] if dtype == np.float32 else [4, 1]  # e^-120 and e^-140
    assert (some.top_indices == [[3, *behind], [5, *behind], [0, 2, -1], [-1, -1, -1]]).all()
    assert (some.argmax == all_zero.argmax).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_window_over_many_blocks(unit, rng, dtype):
    """Most blocks of rows see nothing of most tiles of keys."""
    q, k, _ = qkv(rng, 2500, 2500, 4, dtype=dtype)
    columns = rng.standard_normal((2500, 1))
    found = selfattn.attention_stats(q, k, window=(40, 3), column_weights=columns,
                                     head_scores=[("window", 20)])  # fmt: skip
    weights = selfattn.attention(q, k, k, window=(40, 3), return_weights=True)[1].astype(float)
    np.testing.assert_allclose(found.received, weights.sum(-2), rtol=1e-5)
    np.testing.assert_allclose(found.weighted[0], weights[0].T @ columns, rtol=1e-4, atol=1e-5)
    inside = np.tril(np.triu(weights[0], -20), 20).sum() / 2500
    np.testing.assert_allclose(found.head_scores["window"], inside, rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("top_k", [1, 6])
def test_fewer_keys_than_are_kept(unit, dtype, top_k):
    """Equal weights: the first keys in sight, anywhere; none of rows that see nothing."""
    n = 1300
    x, row = np.zeros((n, 4), dtype), np.arange(n)
    sees = row % 7 != 0
    found = selfattn.attention_stats(x, x, mask=sees[:, None], window=(2, 1), top_k=top_k)
    first, last = np.maximum(row - 2, 0), np.minimum(row + 1, n - 1)
    keys = first[:, None] + np.arange(top_k)
    keys = np.where(sees[:, None] & (keys <= last[:, None]), keys, -1)
    weight = np.where(sees, 1 / (last - first + 1), 0)
    assert (found.top_indices == keys).all()
    np.testing.assert_allclose(found.top_weights, np.where(keys < 0, 0, weight[:, None]), rtol=1e-6)
    assert (found.argmax == keys[:, 0]).all()
    np.testing.assert_allclose(found.max, weight, rtol=1e-6)
    np.testing.assert_allclose(
        found.entropy, np.where(sees, np.log(last - first + 1), 0), rtol=1e-6
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_last_of_equal_weights_gives_way(unit, dtype):
    """A larger weight that comes late takes the place of the highest index."""
    key = np.zeros((700, 1), dtype)
    key[[20, 600], 0] = 1, 2
    found = selfattn.attention_stats(np.ones((8, 1), dtype), key, query_offset=0, top_k=4)
    assert (found.top_indices == [600, 20, 0, 1]).all()


@pytest.mark.parametrize("top_k", [1, 3])
def test_kept_weights_alone(unit, rng, top_k):
    q, k, _ = qkv(rng, 9, 40, 4)
    found = selfattn.attention_stats(q, k, stats=(), top_k=top_k)
    full = selfattn.attention_stats(q, k, top_k=top_k)
    assert found.max is None
    assert (found.top_indices == full.top_indices).all()
    assert (found.top_weights == full.top_weights).all()
    assert (found.top_indices[..., 0] == full.argmax).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_entropy_of_scores_far_from_zero(unit, dtype):
    """Equal ones: that of as many keys."""
    key = np.full((30, 1), 2.0**40, dtype)
    found = selfattn.attention_stats(np.ones((3, 1), dtype), key, query_offset=0, scale=1.0)
    np.testing.assert_allclose(found.entropy, np.log(30), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_entropy_of_scores_far_from_zero_that_differ(unit, dtype):
    """By whole numbers in units of log2, beside keys that are hidden."""
    key = (2.0**22 - np.arange(30)[:, None]).astype(dtype)
    query = np.ones((30, 1), dtype)
    found = selfattn.attention_stats(query, key, causal=True, scale=np.log(2))
    weights = np.tril(0.5 ** np.arange(30) * np.ones((30, 1)))
    weights /= weights.sum(-1, keepdims=True)
    expected = -(weights * np.log(np.where(weights > 0, weights, 1))).sum(-1)
    np.testing.assert_allclose(found.entropy, expected, rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_entropy_of_scores_far_from_zero_with_fractions(unit, rng, dtype):
    """What a bias adds to them fits into no number of their size."""
    key = (2.0**22 - rng.integers(0, 4, (600, 1))).astype(dtype)
    bias = rng.uniform(0, 3, (30, 600)).astype(dtype)
    options = {"causal": "lower_right", "scale": np.log(2)}
    found = selfattn.attention_stats(np.ones((30, 1), dtype), key, bias=bias, **options)
    double = key.astype(float), bias.astype(float)
    exact = reference.attention_stats(np.ones((30, 1)), double[0], bias=double[1], **options)
    np.testing.assert_allclose(found.entropy, exact.entropy, rtol=1e-6)


@pytest.mark.parametrize(("dtype", "score"), [(np.float32, 2.0**33), (np.float64, 2.0**62)])
def test_entropy_where_a_bias_is_absorbed(unit, rng, dtype, score):
    """Scores that differ by less than their rounding count as equal, in weights and entropy."""
    bias = rng.uniform(0, 3, (5, 600)).astype(dtype)
    key = np.full((600, 1), score, dtype)
    found = selfattn.attention_stats(np.ones((5, 1), dtype), key, bias=bias, query_offset=0,
                                     scale=np.log(2))  # fmt: skip
    np.testing.assert_allclose(found.entropy, np.log(600), rtol=1e-6)


class Guarded:
    """Looks like an integer to nobody, and does not like to be asked."""

    def __getattr__(self, name):
        raise RuntimeError(name)


@pytest.mark.parametrize("options", [
    {"top_k": Guarded()}, {"overview": Guarded()}, {"head_scores": [("window", (Guarded(), 1))]},
])  # fmt: skip
def test_counts_that_are_no_integers(options):
    """Looked up on the type, as Python does: the object's own answers would be its exceptions."""
    x = np.ones((4, 2), np.float32)
    with pytest.raises(TypeError, match=r"must be an int|expected an int"):
        selfattn.attention_stats(x, x, **options)
