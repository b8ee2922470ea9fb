"""What stands exactly at a limit of a rule: allowed on one side, refused on the other."""

import numpy as np
import pytest

import selfattn
from arrays import same_bits, tensor

F = np.float32


def zeros(*shape, dtype=F):
    return np.zeros(shape, dtype)


def test_no_heads(unit):
    """0 key heads serve 0 query heads, and not one."""
    none = zeros(2, 0, 7, 6)
    assert selfattn.attention(zeros(2, 0, 5, 6), none, none).shape == (2, 0, 5, 6)
    assert selfattn.attention(zeros(2, 0, 5, 6), zeros(2, 3, 7, 6), zeros(2, 3, 7, 6)).size == 0
    for heads in (1, 2):
        with pytest.raises(ValueError, match="key has 0 heads"):
            selfattn.attention(zeros(2, heads, 5, 6), none, none)


def test_batch_axes_that_come_later(unit, rng):
    """key and value add axes in front of query's: each size finds its place."""
    query = tensor(rng, (2, 3, 4, 1, 2, 5))
    key, value = tensor(rng, (2, 5, 1, 1, 1, 1, 3, 5)), tensor(rng, (2, 1, 1, 1, 4, 1, 3, 5))
    out = selfattn.attention(query, key, value)
    assert out.shape == (2, 5, 2, 3, 4, 1, 2, 5)
    full = [np.ascontiguousarray(np.broadcast_to(x, (*out.shape[:-2], *x.shape[-2:])))
            for x in (query, key, value)]  # fmt: skip
    assert same_bits(out, selfattn.attention(*full))


def test_axes_up_to_numpys_most(unit, rng):
    x = tensor(rng, (*[1] * 60, 2, 3, 4))
    assert selfattn.attention(x, x, x).shape == x.shape
    flat = x.reshape(2, 3, 4)
    assert same_bits(selfattn.attention(x, x, x).reshape(2, 3, 4), selfattn.attention(*[flat] * 3))


@pytest.mark.parametrize("shape", [
    (), (1,), (7,), (1, 1), (5, 7), (1, 7), (5, 1), (4, 5, 7), (1, 5, 7), (4, 1, 1), (3, 4, 5, 7),
    (1, 4, 5, 7), (3, 1, 1, 7), (1, 1, 1, 1), (2, 3, 4, 5, 7), (2, 1, 1, 1, 1), (1, 3, 1, 5, 1),
])  # fmt: skip
def test_every_axis_of_a_mask_may_be_one(unit, rng, shape):
    query, key = tensor(rng, (2, 3, 4, 5, 6)), tensor(rng, (2, 3, 2, 7, 6))
    value = zeros(2, 3, 2, 7, 6)
    mask = rng.random(shape) < 0.6
    _, p = selfattn.attention(query, key, value, mask, return_weights=True)
    full = np.ascontiguousarray(np.broadcast_to(mask, p.shape))
    assert same_bits(p, selfattn.attention(query, key, value, full, return_weights=True)[1])
    for axis in range(len(shape)):
        wrong = [*shape]
        wrong[axis] = 9
        with pytest.raises(ValueError, match="mask has shape"):
            selfattn.attention(query, key, value, np.ones(wrong, bool))
    with pytest.raises(ValueError, match="mask has shape"):
        selfattn.attention(query, key, value, np.ones((1, 1, 1, 1, 1, 1), bool))


def test_the_hint_about_a_mask_of_keys():
    """Only a (batch, n_k) mask of a call with one batch axis is told how to become 4-D."""
    q, k = zeros(3, 4, 5, 6), zeros(3, 4, 7, 6)
    for shape, hint in (((3, 7), True), ((2, 7), False), ((3, 6), False), ((3, 4, 7), False)):
        with pytest.raises(ValueError, match="mask has shape") as caught:
            selfattn.attention(q, k, k, np.ones(shape, bool))
        assert ("[:, None, None, :]" in str(caught.value)) == hint
    with pytest.raises(ValueError, match="mask has shape") as caught:
        selfattn.attention(q[0], k[0], k[0], np.ones((4, 6), bool))
    assert "[:, None, None, :]" not in str(caught.value)


@pytest.mark.parametrize(("lengths", "allowed"), [
    (0, True), (7, True), (-1, False), (8, False), ([0, 7, 3], True), ([0, 8, 0], False),
    ([0, 0, -1], False), ([5], True), ([[5, 5, 5]], True), ([[5], [5]], False), ([1, 2], False),
    ([[[1]]], False), (np.ones((2, 3), int), True), (np.ones((2, 1), int), True),
])  # fmt: skip
@pytest.mark.parametrize("name", ["key_lengths", "query_offset"])
def test_integers_of_the_batch(unit, name, lengths, allowed):
    batch = (2, 3) if np.ndim(lengths) > 1 and np.shape(lengths)[0] == 2 else (1, 3)
    batch = (
        (3, 2) if np.shape(lengths) == (2, 1) and isinstance(lengths, list) else batch
    )  # not along the axis of 3
    q, k = zeros(*batch, 4, 5, 6), zeros(*batch, 4, 7, 6)
    if name == "query_offset" and not isinstance(lengths, np.ndarray):
        allowed = np.shape(lengths) in ((), (1,), (3,), (1, 3))
    call = dict({name: lengths}, **({"causal": True} if name == "query_offset" else {}))
    if allowed:
        assert selfattn.attention(q, k, k, **call).shape == q.shape
    else:
        with pytest.raises(ValueError, match=name):
            selfattn.attention(q, k, k, **call)


def test_windows_and_where_the_queries_stand(unit):
    q, k, square = zeros(4, 5, 6), zeros(4, 7, 6), zeros(4, 5, 6)
    slopes = zeros(4)
    for options in ({"window": 0}, {"window": (0, 0)}, {"window": (None, None)},
                    {"alibi_slopes": slopes}, {"causal": True}):  # fmt: skip
        selfattn.attention(square, square, square, **options)
        selfattn.attention(q, k, k, **options | {"query_offset": 2})
        with pytest.raises(ValueError, match="where the queries stand"):
            selfattn.attention(q, k, k, **options)
        if options.get("causal") is None:
            for causal in ("upper_left", "lower_right"):
                selfattn.attention(q, k, k, **options, causal=causal)
    for window in (-1, (-1, 0), (0, -1), (0, -2), (None, -1)):
        with pytest.raises(ValueError, match="window must not be negative"):
            selfattn.attention(square, square, square, window=window)


def test_numbers_past_the_end_are_not_looked_at(unit):
    lengths, heads = np.array([5, 5, 5, -1]), np.array([0.0, 0.0, np.nan])
    for batch, n_heads in ((3, 2), (0, 2), (3, 0)):
        x = zeros(batch, n_heads, 5, 6)
        none = np.broadcast_to(heads[2:], n_heads) if n_heads == 0 else heads[:n_heads]
        length = np.broadcast_to(lengths[3:], batch) if batch == 0 else lengths[:batch]
        for options in ({"key_lengths": length}, {"sinks": none}, {"alibi_slopes": none}):
            assert selfattn.attention(x, x, x, **options).shape == x.shape


def test_numbers_of_each_head(unit):
    x = zeros(4, 5, 6)
    for name in ("sinks", "alibi_slopes"):
        for bad in (
            zeros(3),
            zeros(5),
            zeros(1),
            zeros(4, 1),
            [0, 0, 0, np.nan],
            [np.inf, 0, 0, 0],
        ):
            with pytest.raises(ValueError, match=name):
                selfattn.attention(x, x, x, **{name: bad})
        selfattn.attention(x, x, x, **{name: np.arange(4.0)[::-1]})
    selfattn.attention(x, x, x, sinks=[-np.inf, 0, 1, -np.inf])
    with pytest.raises(ValueError, match="alibi_slopes"):
        selfattn.attention(x, x, x, alibi_slopes=[0, 0, 0, -np.inf])


@pytest.mark.parametrize("bad", [0.0, -1.0, np.inf, np.nan])
def test_wrong_softcaps(bad):
    x = zeros(4, 5, 6)
    with pytest.raises(ValueError, match="softcap"):
        selfattn.attention(x, x, x, softcap=bad)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softcaps_of_any_size(unit, rng, dtype):
    """From those that leave nothing of a score, many of them 0 in the compute type,
    to those that change none."""
    x = tensor(rng, (3, 40, 8), dtype)
    plain, mean = selfattn.attention(x, x, x), x.mean(axis=1, keepdims=True)
    eps = 100 * np.finfo(dtype).eps
    for softcap in (1e-307, 1e-300, 1e-100, 1e-45, 1e-38, 1e-30):
        assert np.abs(selfattn.attention(x, x, x, softcap=softcap) - mean).max() < eps
        assert (selfattn.attention(0 * x, x, x, softcap=softcap, scale=1e30) - mean).max() < eps
    for softcap in (1e30, 3e38, 1e39, 1e300, 1.7e308):
        assert np.abs(selfattn.attention(x, x, x, softcap=softcap) - plain).max() < eps


def test_results_beyond_all_addresses():
    """Each result that is asked for is named; none is begun."""

    def view(*shape):
        return np.broadcast_to(F(0), shape)

    q, k = view(2**40, 8, 5, 6), view(1, 8, 7, 6)
    with pytest.raises(MemoryError, match=r"^out would need more memory"):
        selfattn.attention(q, k, view(1, 8, 7, 2**20))
    with pytest.raises(MemoryError, match=r"^out would need more memory"):
        selfattn.attention(q, k, view(1, 8, 7, 2**20), return_lse=True, return_weights="mean")
    q, k = view(2**20, 8, 5, 6), view(1, 8, 2**45, 6)
    for kind, more in ((True, 1), ("mean", 2**6)):
        many = view(2**20 * more, 8, 5, 6)
        with pytest.raises(MemoryError, match=r"^weights would need more memory"):
            selfattn.attention(many, k, view(1, 8, 2**45, 0), return_weights=kind)
        with pytest.raises(MemoryError, match=r"^weights would need more memory"):
            selfattn.attention(many, k, view(1, 8, 2**45, 1), return_weights=kind, return_lse=True)
    with pytest.raises(MemoryError, match=r"^lse would need more memory"):
        selfattn.attention(
            view(2**50, 8, 2**7, 0), view(1, 8, 7, 0), view(1, 8, 7, 0), return_lse=True
        )
    empty = selfattn.attention(view(0, 8, 2**45, 6), view(0, 8, 7, 6), view(0, 8, 7, 2**12))
    assert empty.shape == (0, 8, 2**45, 2**12)
    limit = 2**63 // 65536
    one = zeros(1, 1, 1)
    for arrays in ((view(1, 1, limit), view(1, 1, limit), one),
                   (one, one, view(1, 1, limit)), (view(1, limit, 1), one, one),
                   (one, view(1, limit, 1), view(1, limit, 1))):  # fmt: skip
        with pytest.raises(MemoryError, match="too long for memory"):
            selfattn.attention(*arrays)


def test_what_is_not_asked_for_may_have_any_size():
    """Neither that nor an empty result counts as memory: what is wrong is the mask."""

    def view(*shape):
        return np.broadcast_to(F(0), shape)

    most, one = 2**63 // 65536 - 1, zeros(1, 1, 1)
    many, keys, none = view(2**20, 8, 5, 6), view(1, 8, 2**45, 6), view(1, 8, 2**45, 0)
    few = view(1, 8, 7, 1)
    for arrays, options in (
        ((view(1, 1, most), view(1, 1, most), one), {}),
        ((one, one, view(1, 1, most)), {}),
        ((view(1, most, 1), one, one), {}),
        ((one, view(1, most, 1), view(1, most, 1)), {}),
        ((many, keys, none), {"return_lse": True}),
        ((view(2**50, 8, 2**7, 1), few, view(1, 8, 7, 0)), {}),
        ((view(2**40, 8, 2**17, 1), few, view(1, 8, 7, 0)), {}),
        ((view(2**40, 1, 8, 2**10, 1), view(1, 2**20, 8, 7, 1), view(1, 1, 8, 7, 0)), {}),
    ):
        with pytest.raises(ValueError, match="mask has shape"):
            selfattn.attention(*arrays, np.ones((9, 9), bool), **options)


def test_means_over_more_heads_than_memory_can_name():
    """A mean has no axis of heads, and none of a value without features: only this bounds them."""
    for n_heads in (2**59, 2**60, 2**61):
        heads = np.broadcast_to(np.float16(0), (n_heads, 1, 1))
        with pytest.raises(MemoryError, match=r"^query would need more memory"):
            selfattn.attention(heads, heads, heads[..., :0], return_weights="mean")
        no_rows = selfattn.attention(heads[:, :0], heads, heads, return_weights="mean")
        assert no_rows[1].shape == (0, 1)
    for shape in ((2**40, 2**20, 1, 1), (2**60, 1, 1, 1)):
        batch = np.broadcast_to(np.float16(0), shape)
        with pytest.raises(MemoryError, match=r"^query would need more memory"):
            selfattn.attention(batch, batch, batch[..., :0], return_weights="mean")


def test_repeated_axes_may_be_of_any_length():
    """What is stored once is looked at once, and an empty result takes no time."""

    def view(*shape):
        return np.broadcast_to(F(0), shape)

    batch, heads = view(2**40, 1, 0, 6), view(1, 2**40, 0, 6)
    for options in ({"key_lengths": 0}, {"key_lengths": np.broadcast_to(0, 2**40)}):
        assert selfattn.attention(batch, batch, batch, **options).shape == batch.shape
    for name in ("sinks", "alibi_slopes"):
        numbers = {name: view(2**40)}
        assert selfattn.attention(heads, heads, heads, **numbers).shape == heads.shape
        with pytest.raises(ValueError, match=f"{name} has nan for head 0"):
            selfattn.attention(heads, heads, heads, **{name: np.broadcast_to(np.nan, 2**40)})
    with pytest.raises(ValueError, match="key_lengths has 1: expected 0 to 0"):
        selfattn.attention(batch, batch, batch, key_lengths=np.broadcast_to(1, 2**40))
    rows, none = view(2**40, 1, 5, 6), view(1, 1, 7, 0)
    assert selfattn.attention(rows, view(1, 1, 7, 6), none).shape == (2**40, 1, 5, 0)
    no_keys = [view(1, 1, 0, 6), view(1, 1, 0, 0)]
    for kind in (True, "mean"):
        _, weights = selfattn.attention(rows, *no_keys, return_weights=kind)
        assert weights.size == 0
    few = view(3, 1, 5, 6)
    assert (selfattn.attention(few, *no_keys, return_lse=True)[1] == -np.inf).all()
    assert selfattn.attention(few, view(1, 1, 7, 6), none, return_weights=True)[1].all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("begin", [0, 900, 1990])
def test_received_from_a_few_of_many_rows(unit, rng, begin, dtype):
    """Rows that do not count are left out by blocks; the sums are those of the whole weights."""
    query, key = tensor(rng, (2, 2000, 8), dtype), tensor(rng, (2, 300, 8), dtype)
    chosen = slice(begin, begin + 10)
    stats = selfattn.attention_stats(query, key, stats=("received",), received_rows=chosen)
    _, p = selfattn.attention(query, key, key, return_weights=True)
    assert np.abs(stats.received - p[:, chosen].sum(axis=1)).max() < 100 * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_soft_caps_of_far_scores(unit, rng, dtype):
    """Scores of millions below a cap of tens of millions: the largest takes all."""
    query, key = tensor(rng, (40, 8), dtype), tensor(rng, (60, 8), dtype)
    value = np.eye(60, dtype=dtype)
    for softcap in (3e7, 1e7, 4e6):
        out = selfattn.attention(query, key, value, scale=1e6, softcap=softcap)
        best = (query.astype(float) @ key.T.astype(float)).argmax(axis=1)
        assert np.array_equal(out.argmax(axis=1), best)
        assert np.abs(out.max(axis=1) - 1).max() < 1e-3


def test_offsets_beyond_all_keys(unit, rng):
    """As far as 64 bits reach: everything is seen, or nothing."""
    x = tensor(rng, (2, 5, 4))
    far = 2**63 - 1
    assert same_bits(selfattn.attention(x, x, x, causal=True, query_offset=far),
                     selfattn.attention(x, x, x))  # fmt: skip
    for options in ({"causal": True, "query_offset": -far}, {"window": 3, "query_offset": far},
                    {"window": 3, "query_offset": -far - 1}):  # fmt: skip
        assert not selfattn.attention(x, x, x, **options).any()


def test_windows_wider_than_all_keys(unit, rng):
    """A side of any width is an open one, wherever the queries stand."""
    x = tensor(rng, (2, 5, 4))
    plain, causal = selfattn.attention(x, x, x), selfattn.attention(x, x, x, causal=True)
    for wide in (2**62, 2**63 - 2, 2**63 - 1, 2**63, 2**70):
        assert same_bits(selfattn.attention(x, x, x, window=wide), plain)
        assert same_bits(selfattn.attention(x, x, x, window=(wide, 0)), causal)
        for offset in (-9, 9, 2**61 - 1, 1 - 2**61):
            options = {"window": wide, "query_offset": offset}
            assert same_bits(selfattn.attention(x, x, x, **options), plain)
    for offset in (2**62, -(2**62)):
        assert not selfattn.attention(x, x, x, window=2**61, query_offset=offset).any()
    for module in (selfattn, selfattn.reference):  # the window begins at key 2
        out = module.attention(x, x, x, window=2**62 - 2, query_offset=2**62)
        begun = module.attention(x, x, x, window=0, query_offset=2)
        assert same_bits(out[:, 2], begun[:, 2])
        assert not out[:, 3:].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sign", [1, -1])
def test_terms_of_any_size(unit, rng, dtype, sign):
    """A number added to all logits changes no weight, up to 2^31 (2^60) with all their digits and
    beyond as far as the type can tell them apart."""
    x = tensor(rng, (1, 40, 8), dtype)
    u = np.finfo(dtype).eps / 2
    _, plain, lse = selfattn.attention(x, x, x, return_weights=True, return_lse=True)
    exact = 1e9 if dtype == np.float32 else 1e14
    for size in (1e3, 1e7, 1e9, 3e9, 1e10, 1e11, 1e12, 1e14, 1e17, 1e20, 1e30, 1e38):
        for name in ("bias", "mask"):
            term = np.full((40, 40), sign * size, dtype)
            out, p, far = selfattn.attention(
                x, x, x, **{name: term}, return_weights=True, return_lse=True
            )
            assert np.abs(p.sum(axis=-1, dtype=float) - 1).max() < 20 * u
            assert (np.abs(out) <= np.abs(x).max()).all()
            if size <= exact:
                assert np.abs(p - plain).max() < 50 * u
            assert np.abs(far - (term[0, 0] + lse)).max() <= 4 * u * size
        stats = selfattn.attention_stats(x, x, bias=term, stats=("entropy",))
        expected = -(p * np.log(p, where=p > 0, out=np.zeros_like(p))).sum(axis=-1)
        assert np.abs(stats.entropy - expected).max() < 100 * u


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_entropy_is_that_of_the_weights_at_any_scale(unit, rng, dtype):
    x = tensor(rng, (2, 90, 8), dtype)
    u = np.finfo(dtype).eps / 2
    for scale in (1e3, 1e6, 1e8, 1e12, 1e25):
        for options in ({}, {"bias": tensor(rng, (90, 90), dtype)}):
            options["scale"] = scale
            _, p = selfattn.attention(x, x, x, return_weights=True, **options)
            stats = selfattn.attention_stats(x, x, stats=("entropy",), **options)
            expected = -(p * np.log(p, where=p > 0, out=np.zeros_like(p))).sum(axis=-1)
            assert np.abs(stats.entropy - expected).max() < 100 * u


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_alibi_ties_at_any_slope(unit, rng, dtype):
    """Two keys at the same distance share a row, however much the distance counts."""
    x = tensor(rng, (1, 41, 8), dtype)
    for slope in (-1e5, -1e9, -1e12, -1e20, -1e30):
        _, p = selfattn.attention(x, x, x, alibi_slopes=[slope], return_weights=True)
        assert np.abs(p.sum(axis=-1) - 1).max() < 1e-6
        assert abs(p[0, 20, 0] + p[0, 20, 40] - 1) < 1e-6


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sinks_of_any_size(unit, rng, dtype):
    """-1e30 is a common way to write "none", 1e30 leaves nothing to the keys."""
    x = tensor(rng, (2, 40, 8), dtype)
    plain = selfattn.attention(x, x, x, return_weights=True, return_lse=True)
    largest = float(np.finfo(dtype).max)
    for size in (1e4, 1e8, 1e9, 1e10, 1e11, 1e15, 1e19, 1e20, 1e25, 1e30, 2e38, largest, 1e300):
        none = selfattn.attention(x, x, x, sinks=[-size] * 2, return_weights=True, return_lse=True)
        assert all(same_bits(a, b) for a, b in zip(none, plain, strict=True))
        out, p, lse = selfattn.attention(
            x, x, x, sinks=[size] * 2, return_weights=True, return_lse=True
        )
        assert not out.any()
        assert not p.any()
        if size < 0.67 * largest:
            assert np.abs(lse - size).max() <= 2 * np.finfo(dtype).eps * size
        assert np.isfinite(lse).all()


def test_mean_of_the_one_head_of_two_dimensions(unit, rng):
    x = tensor(rng, (70, 4))
    _, mean = selfattn.attention(x, x, x, return_weights="mean")
    assert same_bits(mean, selfattn.attention(x, x, x, return_weights=True)[1])


def test_out_at_an_odd_address(unit, rng):
    x = tensor(rng, (2, 40, 8))
    odd = np.zeros(x.nbytes + 1, np.uint8)[1:].view(F).reshape(x.shape)
    assert selfattn.attention(x, x, x, out=odd) is odd
    assert same_bits(odd, selfattn.attention(x, x, x))
