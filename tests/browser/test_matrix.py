"""The matrix view: from the whole map to a single cell, and the numbers on the way."""

import re

import numpy as np
import pytest

import selfattn
from attention_maps import Overview, Statistics, softmax_maps
from conftest import assert_shown, interval

FAR = -30_000
"""Of the wheel: further in than there is anything to see."""


def cell(page):
    """(query, key, what is shown) of the cell under the mouse."""
    text = page.text("#panel-cell span").replace(",", "")
    query, key = map(int, re.fullmatch(r"query (\d+) \u2192 key (\d+)", text).groups())
    return query, key, page.text("#panel-cell strong")


def block(page):
    """(rows, columns, strongest, mean or None) of the block under the mouse."""
    text = page.text("#panel-cell span").replace(",", "")
    numbers = re.fullmatch(r"strongest of queries (\d+)(?:\u2013(\d+))? keys (\d+)(?:\u2013(\d+))?",
                           text).groups()  # fmt: skip
    a, b, c, d = (None if n is None else int(n) for n in numbers)
    shown = page.run("return [...document.querySelectorAll('#panel-cell strong')]"
                     ".map((one) => one.textContent)")  # fmt: skip
    rows, columns = slice(a, (a if b is None else b) + 1), slice(c, (c if d is None else d) + 1)
    return rows, columns, *shown, *[None] * (2 - len(shown))


def numbers_in_cells(page):
    number = re.compile(r"\.\d+|[1-9]\.\d(e-\d+)?|[1-9]e-\d+")
    return [call[:3] for call in page.drawn("text") if number.fullmatch(call[2])]


@pytest.fixture
def dense(rng):
    weights = softmax_maps(rng, 2, 48, 48, causal=True)
    return weights, selfattn.view(weights, [f"word{i}" for i in range(48)])


def test_every_cell_under_the_mouse_has_its_number(page, dense, rng):
    weights, view = dense
    page.open(view).press("2")
    seen = set()
    for x, y in rng.uniform((90, 90), (600, 600), (25, 2)):
        page.point(x, y)
        if page.text("#panel-cell") == "":
            continue
        query, key, shown = cell(page)
        assert_shown(shown, weights[0, query, key])
        assert page.text("#panel-heading") == f"word{query}"
        seen.add("exact" if interval(shown)[0] == interval(shown)[1] else "rounded")
        if key > query:
            assert shown == "0"
            assert "exactly 0" in page.text("#panel-cell")
    assert seen == {"exact", "rounded"}


def test_zoom_reaches_the_cell_and_its_number_stands_in_it(page, dense):
    weights, view = dense
    page.open(view).press("2").point(330, 420)
    target = cell(page)[:2]
    assert not numbers_in_cells(page)
    page.wheel(330, 420, FAR).point(330, 420)
    assert cell(page)[:2] == target, "the cell under the mouse stays there"
    (x, y, shown) = min(
        numbers_in_cells(page), key=lambda one: abs(one[0] - 330) + abs(one[1] - 420)
    )
    assert max(abs(x - 330), abs(y - 420)) <= 33
    assert float(shown) == pytest.approx(weights[0][target], rel=0.1 if len(shown) > 3 else 0.55)
    page.press("0")
    page.label("word0", 0)
    page.label("word47", 0)


def colours(page, points):
    """[r, g, b] of points of the matrix, as they are on the screen."""
    found = page.run(
        """
        const shown = document.querySelector("#matrix canvas");
        const copy = new OffscreenCanvas(shown.width, shown.height);
        const context = copy.getContext("2d", { willReadFrequently: true });
        context.drawImage(shown, 0, 0);
        return arguments[0].map(([x, y]) => [...context.getImageData(x, y, 1, 1).data].slice(0, 3));
        """,
        [[round(float(x)), round(float(y))] for x, y in points],
    )
    return np.array(found)


def darkness(page, points):
    return 255 * 3 - colours(page, points).sum(axis=1)


def test_darker_is_more(page, dense):
    """In the light theme; what is exactly 0 has a colour that no weight has."""
    weights = dense[0]
    tokens = [f"word{i}" for i in range(48)]
    page.open(selfattn.view(weights, tokens, exact=True)).press("2")
    rows = [page.label(token, 0)[1] for token in tokens[::3]]
    columns = [page.label(token, 1)[0] for token in tokens[::3]]
    points = np.array([(x, y) for y in rows for x in columns])
    values = weights[0, ::3, ::3].ravel()
    assert len(np.unique(colours(page, points[values == 0]), axis=0)) == 1
    seen = values > 0
    order = np.argsort(values[seen])
    found, sizes = darkness(page, points[seen])[order], values[seen][order]
    clear = np.diff(np.log(sizes)) > 0.15
    assert np.all(np.diff(found)[clear] >= 0)
    assert len(set(found)) > 25


def test_keys_choose_cells_and_zoom(page, dense):
    weights, view = dense
    page.open(view).press("2").press("ARROW_DOWN", *["ARROW_DOWN"] * 9, *["ARROW_RIGHT"] * 4)
    query, key, shown = cell(page)
    assert (query, key) == (9, 4)
    assert_shown(shown, weights[0, 9, 4])
    assert "word9" in page.text("#live")
    page.press(*["+"] * 12)
    assert page.drawn("image"), "a small map stands in the corner"
    page.label("word9")
    page.press("]")
    assert_shown(cell(page)[2], weights[1, 9, 4])
    page.press("r")
    assert page.text("#panel-table caption") == "Looked at by"


def test_keys_zoom_into_the_middle(page, rng):
    """Of a map that is narrower than its frame: what stood in its middle stays in view."""
    page.open(selfattn.view(softmax_maps(rng, 1, 400, 400))).press("2", *["+"] * 12)
    seen = [int(call[2]) for call in page.drawn("text") if call[2].isdigit()]
    middle = np.unique(seen).mean()
    assert abs(middle - 200) < 5, seen


def test_dragging_moves_the_map(page, rng):
    page.open(selfattn.view(softmax_maps(rng, 1, 300, 300)))
    page.wheel(300, 300, -2000).point(300, 300)
    before = cell(page)
    page.run("""
        const canvas = document.querySelector("#matrix canvas");
        const box = canvas.getBoundingClientRect();
        canvas.setPointerCapture = () => {};
        for (const [type, x] of [["down", 300], ["move", 250], ["move", 200], ["up", 200]]) {
          canvas.dispatchEvent(new PointerEvent(`pointer${type}`,
            { clientX: box.left + x, clientY: box.top + 300, pointerId: 7, bubbles: true }));
        }
    """)
    page.point(301, 300)
    after = cell(page)
    assert after[0] == before[0]
    assert after[1] > before[1]


def test_a_pixel_of_a_large_map_is_the_strongest_of_its_block(page, rng):
    weights = softmax_maps(rng, 1, 1500, 1500, causal=True, sharpness=3)
    page.open(selfattn.view(weights))
    assert page.text('[role="tab"][aria-selected="true"]') == "Matrix"
    for x, y in rng.uniform((100, 300), (400, 600), (6, 2)):
        rows, columns, strongest, mean = block(page.point(x, y))
        inside = weights[0, rows, columns]
        assert inside.size > 1
        unit = weights[0, rows].max() / 255
        assert interval(strongest)[1] <= 1.1 * (inside.max() + 1.5 * unit)
        assert_shown(strongest, inside.max())
        low, high = interval(mean)
        assert low <= inside.mean() <= high
    whole = page.pixels()
    page.choose("#grid", "mean")
    assert page.pixels() != whole
    page.wheel(200, 500, FAR).point(200, 500)
    query, key, shown = cell(page)
    assert_shown(shown, weights[0, query, key])


def test_statistics_show_bounds_outside_the_top(page, rng):
    weights = softmax_maps(rng, 1, 600, 600, causal=True, sharpness=3)[0]
    stats = Statistics.of(weights, top_k=6, side=64)
    page.open(selfattn.view(stats))
    assert block(page.point(150, 500))[2]
    kinds = set()
    page.wheel(150, 500, -2600)
    for x, y in rng.uniform((80, 80), (700, 600), (25, 2)):
        page.point(x, y)
        query, key, shown = cell(page)
        low, high = interval(shown)
        assert low <= np.float32(weights[query, key]) <= high
        if key in stats.top_indices[query]:
            kinds.add("kept")
            assert np.float32(shown) == np.float32(weights[query, key])
        elif shown != "0":
            kinds.add("bound")
            smallest = stats.top_weights[query].min()
            assert smallest <= high <= smallest * 1.11
            assert "\u2264" in shown
    assert "bound" in kinds


def test_what_is_not_kept_is_pale_and_what_is_hidden_empty(page, rng):
    weights = softmax_maps(rng, 1, 600, 600, causal=True, sharpness=3)[0]
    stats = Statistics.of(weights, top_k=6, side=64)
    page.open(selfattn.view(stats)).wheel(330, 322, -700)
    kinds = {"kept": [], "bound": [], "zero": []}
    for x, y in rng.uniform((80, 80), (700, 600), (60, 2)):
        page.point(x, y)
        query, key, shown = cell(page)
        kept = key in stats.top_indices[query]
        kinds["kept" if kept else "zero" if shown == "0" else "bound"].append((x, y))
    page.point(5, 5)
    assert all(kinds.values())
    zero, bound, kept = (darkness(page, kinds[kind]) for kind in ("zero", "bound", "kept"))
    assert len(set(zero)) == 1
    assert np.median(bound) < np.median(kept)
    assert zero[0] not in set(kept)


def long_statistics(n, k=4, side=128):
    """Statistics of a map far too large to hold: each query looks at itself, at the first and at
    two places before it."""
    i = np.arange(n)
    indices = np.stack([i, np.zeros(n, int), i // 2, i // 3], axis=1)
    weights = np.array([0.4, 0.3, 0.1, 0.05]) * np.ones((n, 1))
    for row in range(6):  # the first rows see fewer keys than are kept
        keys, first = np.unique(indices[row], return_index=True)
        indices[row] = np.r_[keys[np.argsort(first)], [-1] * (k - keys.size)]
        weights[row, keys.size :] = 0
    high = -(-n // side)
    largest = np.zeros((side, side))
    kept = indices >= 0
    row = np.nonzero(kept)[0]
    np.maximum.at(largest, (row // high, indices[kept] // high), weights[kept])
    seen = np.tri(side, dtype=bool) & (np.arange(side) * high < n)[:, None]
    largest = np.where(seen, np.maximum(largest, 1e-4), 0)
    return Statistics(
        entropy=np.full(n, 1.5), max=weights[:, 0], top_indices=indices, top_weights=weights,
        top_rest=1 - weights.sum(1), received=np.ones(n), overview=Overview(largest, largest / 50),
    )  # fmt: skip


def test_a_hundred_thousand_tokens_down_to_the_cell(page):
    n = 100_000
    stats = long_statistics(n)
    tokens = [f"t{i}" for i in range(n)]
    page.open(selfattn.view(stats, tokens))
    rows, columns, strongest, _ = block(page.point(300, 500))
    assert rows.stop - rows.start >= 100
    blocks = tuple(slice(one.start // 782, -(-one.stop // 782)) for one in (rows, columns))
    low, high = interval(strongest)
    assert low <= stats.overview.max[blocks].max() <= high
    page.press("/", *"t77777", "ENTER")
    assert page.text("#panel-heading") == "t77777"
    assert [row[1:] for row in page.table()] == [
        ["77,777", "0.4"], ["0", "0.3"], ["38,888", "0.1"], ["25,925", "0.05"],
    ]  # fmt: skip
    page.run("document.activeElement.blur()")
    page.press(*["+"] * 16, "ARROW_RIGHT")
    page.press("END")
    assert cell(page) == (77_777, n - 1, "0")
    page.find("#search").clear()
    page.find("#search").send_keys("t77777")
    page.run("document.activeElement.blur()")
    page.press("HOME")
    assert cell(page) == (77_777, 0, "0.3")
    page.press("ARROW_RIGHT")
    assert cell(page)[2].startswith("\u2264 0.05")
    page.press("1")
    page.label("t77777")


def test_statistics_of_a_call(page, rng):
    """From attention_stats with an overview: what nobody sees has one colour at every zoom, also
    where a pixel stands for cells of two rows of blocks."""
    n = 3000
    q, k = rng.standard_normal((2, 2, n, 16))
    found = selfattn.attention_stats(3 * q, k, causal=True, top_k=4, overview=100)
    page.open(selfattn.view(found)).press("2")
    for steps in range(4):
        points = []
        for x, y in rng.uniform((80, 80), (700, 600), (20, 2)):
            page.point(x, y)
            place = page.run("return document.querySelector('#panel-cell span')?.textContent ?? ''")
            numbers = [int(one) for one in re.findall(r"\d+", place.replace(",", ""))]
            if numbers and numbers[-1] > max(numbers[: len(numbers) // 2]) + 120:
                points.append((x, y))
        page.point(5, 5)
        assert len(points) > 2
        assert len(np.unique(colours(page, points), axis=0)) == 1, f"after {steps} steps"
        page.press("+")


def test_a_long_low_map_is_stretched(page, rng):
    weights = softmax_maps(rng, 1, 4, 900)
    page.open(selfattn.view(weights, list("abcd"), [f"k{i}" for i in range(900)]))
    ys = [page.label(letter)[1] for letter in "abcd"]
    assert np.allclose(np.diff(ys), 24, atol=0.5)
    page.point(300, ys[2])
    rows, columns, strongest, _ = block(page)
    assert (rows.start, rows.stop) == (2, 3)
    assert_shown(strongest, weights[0, rows, columns].max())


def test_shades_change_the_picture_and_the_legend(page, dense):
    page.open(dense[1]).press("2")
    pictures = {}
    for shade in ("root", "linear", "log"):
        page.choose("#shade", shade)
        pictures[shade] = page.pixels()
    assert len(set(pictures.values())) == 3


def test_the_page_follows_its_size(page, dense):
    page.open(dense[1]).press("2")
    before = page.find("#matrix canvas").size
    page.resize(520, 600)
    page.wait(f"document.querySelector('#matrix canvas').width < {before['width']}")
    page.settle()
    page.label("40")
    assert page.run("return document.documentElement.scrollWidth") <= 520
