"""selfattn.view: what the page holds equals what was given, within the stated precision."""

import numpy as np
import pytest

import selfattn
from attention_maps import HOSTILE, Page, Statistics, overview_by_loops, softmax_maps
from selfattn._overview import block_size, overview_of, used_blocks
from selfattn.viewer._codes import CODES_PER_OCTAVE, log_codes, quantise_rows


def page(*args, **options):
    return Page(selfattn.view(*args, **options).to_html())


def decoded(codes, scale):
    return np.where(codes == 0, 0, scale * 2.0 ** ((codes.astype(float) - 255) / CODES_PER_OCTAVE))


# -- storage


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("causal", [False, True])
def test_bytes_are_within_their_precision(rng, dtype, causal):
    weights = softmax_maps(rng, 3, 37, 37, causal=causal).astype(dtype)
    found = page(weights)
    for h in range(3):
        header, cells, rows = found.head(0, h)
        assert header["kind"] == "bytes"
        codes = cells["cells"].astype(float)
        unit = rows["max"][:, None].astype(float) / 255
        exact = weights[h].astype(float)
        assert np.array_equal(codes == 0, exact == 0)
        rounded = codes >= 2
        assert np.all(
            np.abs(codes * unit - exact)[rounded] <= (0.500001 * unit * np.ones(37))[rounded]
        )
        assert np.all(exact[codes == 1] <= (1.500001 * unit * np.ones(37))[codes == 1])
        assert np.array_equal(rows["max"], exact.max(1).astype(np.float32))


def test_the_top_of_each_row_is_exact_and_in_order(rng):
    weights = softmax_maps(rng, 2, 20, 50)
    weights[0, 3, :] = 0.02  # of equals the lowest index comes first
    _, _, rows = page(weights).head(0, 0)
    order = np.argsort(-weights[0], axis=1, kind="stable")[:, :8]
    distinct = np.arange(20) != 3
    assert np.array_equal(rows["top_indices"][distinct], order[distinct])
    assert np.all(np.diff(rows["top_indices"][3].astype(int)) > 0)
    taken = np.take_along_axis(weights[0], rows["top_indices"].astype(int), axis=1)
    assert np.array_equal(rows["top_weights"], taken.astype(np.float32))


def test_exact_stores_float32(rng):
    weights = softmax_maps(rng, 2, 11, 13)
    header, cells, rows = page(weights, exact=True).head(0, 1)
    assert header["kind"] == "floats"
    assert np.array_equal(cells["cells"], weights[1].astype(np.float32))
    assert "top_weights" not in rows


def test_statistics_of_rows_and_columns(rng):
    weights = softmax_maps(rng, 2, 40, 40, causal=True)
    header, _, rows = page(weights).head(0, 1)
    expected = Statistics.of(weights[1])
    for name in ("entropy", "max", "distance", "received"):
        assert np.allclose(rows[name], getattr(expected, name), rtol=3e-7, atol=1e-7), name
    assert header["facts"]["entropy"] == pytest.approx(expected.entropy.mean(), rel=1e-6)
    assert header["facts"]["distance"] == pytest.approx(expected.distance.mean(), rel=1e-6)


def test_query_offset_places_the_queries(rng):
    weights = softmax_maps(rng, 1, 3, 10)
    keys = [str(j) for j in range(10)]
    _, _, rows = page(weights, keys[-3:], keys).head()
    assert "distance" not in rows
    _, _, rows = page(weights, keys[-3:], keys, query_offset=7).head()
    expected = (weights[0] * np.abs(np.arange(3)[:, None] + 7 - np.arange(10))).sum(1)
    assert np.allclose(rows["distance"], expected, rtol=1e-6)


def test_rows_that_see_nothing_stay_empty():
    weights = np.zeros((1, 4, 4))
    weights[0, 2, 1] = 1.0
    header, cells, rows = page(weights).head()
    assert np.array_equal(cells["cells"], np.where(weights[0] > 0, 255, 0))
    assert rows["entropy"].tolist() == [0, 0, 0, 0]
    assert header["scale"] == 1.0
    header, cells, _ = page(np.zeros((1, 4, 4))).head()
    assert not cells["cells"].any()
    assert header["scale"] == 0.0


def test_tiny_and_huge_weights_keep_their_promise():
    weights = np.array([[1e-300, 1e-44, 3e38], [0.0, 1e-40, 0.0]])
    rows = np.float32(weights.max(1))
    codes = quantise_rows(weights, rows)
    assert np.array_equal(codes == 0, weights == 0)
    assert codes[0, 2] == 255
    assert codes[1, 1] == 255


def test_log_codes_are_within_their_precision(rng):
    values = 10.0 ** rng.uniform(-12, 0, 5000)
    codes = log_codes(values, values.max())
    good = codes >= 2
    ratio = decoded(codes, values.max())[good] / values[good]
    assert np.all(np.abs(np.log2(ratio)) <= 0.5 / CODES_PER_OCTAVE + 1e-9)
    assert np.all(values[codes == 1] <= values.max() * 2 ** (-253.5 / CODES_PER_OCTAVE))
    assert np.any(codes == 1)
    assert log_codes(np.zeros(3), 0.0).tolist() == [0, 0, 0]


# -- overviews


@pytest.mark.parametrize(("n_q", "n_k", "side"), [(8, 8, 4), (10, 7, 4), (5, 23, 8), (3, 3, 8)])
def test_overview_is_what_its_definition_says(rng, n_q, n_k, side):
    weights = softmax_maps(rng, n_q, n_k)
    expected = overview_by_loops(weights, side)
    found = overview_of(weights, side)
    used = np.s_[: used_blocks(n_q, side), : used_blocks(n_k, side)]
    assert np.array_equal(found.max, expected.max[used])
    assert np.allclose(found.mean, expected.mean[used], rtol=1e-12)
    assert not expected.max[used[0].stop :].any()
    assert block_size(n_q, side) * used_blocks(n_q, side) >= n_q


@pytest.mark.parametrize("n", [5, 64, 65, 200])
def test_thumbnails_are_largest_weights(rng, n):
    weights = softmax_maps(rng, 2, n, n)
    found = page(weights)
    codes = found.arrays(found.header["thumbnails"])["1"]
    grid = found.head(0, 1)[0]["thumbnail"]
    assert grid["span"] == [block_size(n, 64)] * 2
    expected = overview_of(weights[1], 64).max
    assert codes.shape == expected.shape
    assert np.allclose(decoded(codes, grid["scale"]), expected, rtol=0.036)


# -- statistics


@pytest.mark.parametrize("shape", [(30, 30), (2, 30, 30), (1, 2, 30, 30)])
def test_statistics_are_stored_as_they_are(rng, shape):
    weights = softmax_maps(rng, *shape, causal=True)
    stats = Statistics.of(weights, top_k=5, side=8)
    found = page(stats, [f"t{i}" for i in range(30)])
    flat = weights.reshape(-1, 30, 30)
    for h, one in enumerate(flat):
        header, cells, rows = found.head(0, h)
        expected = Statistics.of(one, top_k=5, side=8)
        assert header["kind"] == "top"
        assert header["facts"]["previous"] == 0.25
        indices = np.where(expected.top_indices < 0, 0xFFFF, expected.top_indices)
        assert np.array_equal(rows["top_indices"], indices)
        assert np.array_equal(rows["top_weights"], expected.top_weights.astype(np.float32))
        for name in ("entropy", "max", "distance", "received", "top_rest"):
            value = np.maximum(getattr(expected, name), 0)
            assert np.array_equal(rows[name], value.astype(np.float32)), name
        for name in ("max", "mean"):
            scale = header["overview"][name]["scale"]
            value = getattr(expected.overview, name)[: used_blocks(30, 8), : used_blocks(30, 8)]
            assert np.allclose(decoded(cells[name], scale), value, rtol=0.036, atol=scale * 3e-8)
        assert header["overview"]["max"]["span"] == [4, 4]


def test_statistics_without_an_overview_make_one_of_the_kept_cells(rng):
    stats = Statistics.of(softmax_maps(rng, 2, 40, 40), top_k=3)
    header, cells, _ = page(stats).head(0, 1)
    assert header["overviewFrom"] == "top"
    dense = np.zeros((40, 40))
    np.put_along_axis(dense, stats.top_indices[1], stats.top_weights[1], axis=1)
    found = decoded(cells["max"], header["overview"]["max"]["scale"])
    assert np.allclose(found, dense, rtol=0.036)
    assert "mean" not in cells


def test_statistics_with_the_least_there_can_be(rng):
    weights = softmax_maps(rng, 2, 9, 9)
    full = Statistics.of(weights)
    only_max = Statistics(max=full.max, argmax=full.argmax, received=full.received)
    _, _, rows = page(only_max).head(0, 0)
    assert np.array_equal(rows["top_indices"][:, 0], weights[0].argmax(1))
    only_entropy = Statistics(entropy=full.entropy)
    _, cells, rows = page(only_entropy, ["a"] * 9).head(0, 0)
    assert rows["top_indices"].shape == (9, 0)
    assert not cells["max"].any()


def test_statistics_may_tell_the_number_of_keys():
    found = page(Statistics(entropy=np.ones(3), n_k=7))
    assert (found.header["queries"], found.header["keys"]) == (3, 7)
    with pytest.raises(ValueError, match="n_k is 7, but received has 5 keys"):
        selfattn.view(Statistics(entropy=np.ones(3), received=np.ones(5), n_k=7))


def test_many_keys_take_wider_indices(rng):
    n = 70_000
    indices = np.full((1, 2, 3), -1)
    indices[0, :, 0] = n - 1
    stats = Statistics(
        top_indices=indices, top_weights=np.where(indices < 0, 0.0, 1.0), received=np.ones((1, n))
    )
    _, _, rows = page(stats).head()
    assert rows["top_indices"].dtype == np.uint32
    assert rows["top_indices"].tolist() == [[n - 1, 0xFFFFFFFF, 0xFFFFFFFF]] * 2


def test_layers_may_mix_weights_and_statistics(rng):
    weights = softmax_maps(rng, 2, 12, 12)
    found = page([weights, Statistics.of(weights, side=4)], layers=["dense", "kept"])
    kinds = [layer["heads"][0]["kind"] for layer in found.header["layers"]]
    assert kinds == ["bytes", "top"]
    assert [layer["name"] for layer in found.header["layers"]] == ["dense", "kept"]


# -- forms of input


def test_forms_of_weights(rng):
    weights = softmax_maps(rng, 3, 2, 6, 6)
    whole = page(weights, layers=range(3))
    assert [layer["name"] for layer in whole.header["layers"]] == ["0", "1", "2"]
    for form in (list(weights), tuple(weights), [w[None] for w in weights]):
        assert page(form).blocks == whole.blocks
    assert page(weights[0, 0]).header["layers"][0]["heads"][0]["name"] == "0"
    assert page(weights[0].tolist()).blocks == page(weights[0]).blocks
    assert page(attention=weights[:1], tokens=list("abcdef")).header["tokens"] == list("abcdef")


def test_names_and_tokens_come_back_as_they_were(rng):
    n = len(HOSTILE)
    weights = softmax_maps(rng, 2, n, n)
    found = page(weights, HOSTILE, title=HOSTILE[0], layers=[HOSTILE[1]], heads=HOSTILE[2:4])
    assert found.header["tokens"] == HOSTILE
    assert found.header["title"] == HOSTILE[0]
    assert found.header["layers"][0]["name"] == HOSTILE[1]
    assert [head["name"] for head in found.header["layers"][0]["heads"]] == HOSTILE[2:4]


def test_rectangular_maps_have_tokens_of_their_own(rng):
    found = page(softmax_maps(rng, 2, 3, 5), list("abc"), list("vwxyz"))
    assert (found.header["queries"], found.header["keys"]) == (3, 5)
    assert found.header["keyTokens"] == list("vwxyz")
    assert found.header["sameTokens"] is False
    square = page(softmax_maps(rng, 2, 3, 3), list("abc"), list("xyz"))
    assert square.header["sameTokens"] is False


@pytest.mark.parametrize(
    ("weights", "options", "error", "words"),
    [
        (np.full((2, 2), -0.5), {}, ValueError, ["layer 0, head 0", "-0.5", "at least 0"]),
        (np.full((2, 2), np.nan), {}, ValueError, ["nan", "query 0, key 0"]),
        (np.full((2, 2), 1e39), {}, ValueError, ["1e+39", "finite"]),
        (np.ones((2, 2), complex), {}, TypeError, ["complex128"]),
        (np.ones(3), {}, ValueError, ["(3,)", "(n_q, n_k)"]),
        (np.ones((2, 0)), {}, ValueError, ["(2, 0)", "nothing to see"]),
        (np.ones((3, 2, 2, 2)), {}, ValueError, ["batch or layers", "layers=range(3)"]),
        (np.ones((3, 2, 2, 2)), {"layers": "abc"}, TypeError, ["layers", "sequence"]),
        (np.ones((3, 2, 2, 2)), {"layers": [1, 2]}, ValueError, ["layers has 2", "expected 3"]),
        (np.ones((2, 2)), {"heads": ["a", "b"]}, ValueError, ["heads has 2", "expected 1"]),
        (np.ones((2, 2)), {"tokens": ["a"]}, ValueError, ["tokens has 1", "2 queries"]),
        (np.ones((2, 2)), {"tokens": ["a", 5]}, TypeError, ["tokens[1]", "int", "str"]),
        (np.ones((2, 2)), {"tokens": "ab"}, TypeError, ["tokens", "sequence"]),
        (np.ones((2, 4)), {"tokens": list("abcd")}, ValueError, ["tokens[-2:], key_tokens=tok"]),
        (np.ones((2, 4)), {"key_tokens": ["a"]}, ValueError, ["key_tokens has 1", "4 keys"]),
        (np.ones((2, 2)), {"query_offset": 0.5}, TypeError, ["query_offset is 0.5", "int"]),
        (np.ones((2, 2)), {"height": 5}, ValueError, ["height is 5", "at least 100"]),
        ([np.ones((1, 2, 2)), np.ones((1, 3, 3))], {}, ValueError, ["3 queries", "own"]),
        (Statistics(entropy=np.ones(3)), {}, ValueError, ["number of keys", "tokens"]),
        (Statistics(), {}, ValueError, ["no value per query"]),
        (Statistics(top_indices=np.zeros((3, 1), int)), {}, ValueError, ["not top_weights"]),
        (Statistics(entropy=np.ones((2, 3)), max=np.ones((1, 3))), {}, ValueError,
         ["max has leading axes (1,)", "entropy (2,)"]),
        (Statistics(entropy=np.ones(3), max=np.ones(4)), {}, ValueError, ["max has shape (4,)"]),
        (Statistics(entropy=np.array([1.0, np.inf])), {}, ValueError, ["entropy holds NaN or inf"]),
        (Statistics(max=-np.ones(2)), {}, ValueError, ["max holds -1.0", "no negative"]),
        (Statistics(max=np.ones(2), argmax=np.ones(2)), {}, TypeError, ["argmax", "integers"]),
        (Statistics(max=np.ones(2), argmax=np.array([0, 7]), received=np.ones(3)), {}, ValueError,
         ["argmax reaches from 0 to 7", "0 ... 2"]),
        (Statistics(max=np.array(["a"])), {}, TypeError, ["max has type <U1", "real numbers"]),
    ],
)  # fmt: skip
def test_errors(weights, options, error, words):
    with pytest.raises(error) as caught:
        selfattn.view(weights, **options)
    for word in words:
        assert word in str(caught.value)


def test_too_many_weights_are_refused_before_they_are_read():
    """A view of one number as 40,000 x 40,000 weights: to encode it would take seconds."""
    weights = np.broadcast_to(np.float32(1), (40_000, 40_000))
    with pytest.raises(ValueError, match="1,600,000,000 weights") as caught:
        selfattn.view(weights)
    assert "attention_stats" in str(caught.value)
    assert "exact=True" in str(caught.value)
    many = np.broadcast_to(np.float32(0), (2**28 + 1, 1))
    with pytest.raises(ValueError, match="the limit is 268,435,456"):
        selfattn.view(many)
