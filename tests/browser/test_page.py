"""The page as such: themes, what screen readers get, how numbers are written."""

import numpy as np
import pytest

import selfattn
from attention_maps import softmax_maps
from conftest import interval
from selfattn.viewer._codes import CODES_PER_OCTAVE, log_codes


@pytest.fixture
def plain(page, rng):
    return page.open(selfattn.view(softmax_maps(rng, 3, 8, 8), list("abcdefgh")))


def background(page):
    return page.run("return getComputedStyle(document.body).backgroundColor")


def contrast(page, selector):
    """Of a text on what is behind it (WCAG 2)."""
    return page.run(
        """
        const element = document.querySelector(arguments[0]);
        const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
        const light = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) =>
            c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
          .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
        let behind = element;
        while (numbers(getComputedStyle(behind).backgroundColor)[3] === 0) {
          behind = behind.parentElement;
        }
        const both = [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor]
          .map((colour) => light(numbers(colour))).sort((a, b) => b - a);
        return (both[0] + 0.05) / (both[1] + 0.05);
        """,
        selector,
    )


def test_dark_where_the_system_is_dark(plain):
    light, picture = background(plain), plain.pixels()
    plain.set_media(scheme="dark")
    plain.settle()
    assert background(plain) != light
    assert plain.pixels() != picture
    plain.press("t")
    assert background(plain) == light
    plain.press("t")
    assert background(plain) != light


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible(page, rng, scheme):
    page.set_media(scheme=scheme)
    page.open(selfattn.view(softmax_maps(rng, 2, 3, 8, 8), list("abcdefgh"), layers=[0, 1]))
    page.press("ARROW_DOWN")
    for selector in ("h1", "#summary", '[role="tab"][aria-selected="false"]', "#panel-about",
                     "#panel-table th", "#panel-table td:nth-child(2)", ".controls label",
                     ".quiet", '.chip[aria-pressed="false"]', "#panel-facts dt"):  # fmt: skip
        assert contrast(page, selector) >= 4.5, selector
    assert contrast(page, '.chip[aria-pressed="true"]') >= 3, "bold and large enough"


def test_everything_has_a_name(plain):
    """Buttons, fields and regions have names for screen readers; canvases hide or stand inside."""
    for key in "123":
        plain.press(key)
        nameless = plain.run(
            """
            const named = (e) => e.getAttribute("aria-label") || e.textContent.trim()
              || e.getAttribute("aria-labelledby") || e.closest("label") || e.title;
            return [...document.querySelectorAll("button, input, select, [role], aside, dialog")]
              .filter((e) => !e.hidden && !named(e)).map((e) => e.outerHTML);
            """
        )
        assert nameless == []
    tabs = plain.run(
        "return [...document.querySelectorAll('[role=tab]')]"
        ".map((tab) => [tab.getAttribute('aria-selected'), tab.tabIndex])"
    )
    assert tabs == [["false", -1], ["false", -1], ["true", 0]]


def test_tabs_by_arrow_keys(plain):
    plain.run("document.querySelector('[role=tab][data-view=tokens]').focus()")
    plain.press("ARROW_RIGHT")
    assert plain.run("return document.body.dataset.view") == "matrix"
    assert plain.run("return document.activeElement.dataset.view") == "matrix"


def test_the_table_is_a_table(plain):
    plain.press("ARROW_DOWN")
    assert plain.text("#panel-table caption") == "Looks at"
    headings = plain.run(
        "return [...document.querySelectorAll('#panel-table th')]"
        ".map((heading) => [heading.scope, heading.textContent])"
    )
    assert headings == [["col", "token"], ["col", "key"], ["col", "weight"]]
    assert plain.text("#live").startswith("query a, ")


def test_keys_are_explained_and_typing_is_no_command(plain):
    plain.press("?")
    assert plain.run("return document.getElementById('help').open")
    plain.press("2", "ESCAPE")
    assert not plain.run("return document.getElementById('help').open")
    assert plain.run("return document.body.dataset.view") == "tokens"
    plain.press("/", "2", "t")
    assert plain.run("return document.getElementById('search').value") == "2t"
    assert plain.run("return document.body.dataset.view") == "tokens"


def test_exact_numbers_read_back_as_their_float32(plain, rng):
    values = np.float32(10.0 ** rng.uniform(-30, 1, 400))
    values = np.r_[values, np.float32([0.1, 1, 0.5, 1e-4, 9.999999e-5, 1 / 3, 16777216, 1e-45])]
    texts = plain.run(
        "return arguments[0].map((v) => Reading.text(Reading.exact(Math.fround(v))))",
        [float(v) for v in values],
    )
    assert np.array_equal(np.float32([float(text) for text in texts]), values)
    assert all(len(text) <= 15 for text in texts)


def test_shown_intervals_hold_the_true_ones(plain, rng):
    values = 10.0 ** rng.uniform(-12, 0.3, 600)
    errors = values * 10.0 ** rng.uniform(-3, -0.2, 600)
    pairs = [[float(v), float(e)] for v, e in zip(values, errors, strict=True)]
    texts = plain.run("return arguments[0].map(([v, e]) => Reading.text(Reading.rounded(v, e)))",
                      pairs)  # fmt: skip
    bounds = plain.run("return arguments[0].map(([v]) => Reading.text(Reading.bound(v)))", pairs)
    for (value, error), text, bound in zip(pairs, texts, bounds, strict=True):
        low, high = interval(text)
        slack = 1e-9 * value
        assert low <= value - error + slack, text
        assert value + error - slack <= high, text
        assert high - low <= 2 * error * 1.3 + 0.11 * value * ("e" in text)
        assert value <= interval(bound)[1] * (1 + 1e-9), bound
        assert interval(bound)[1] <= 1.11 * value, bound


@pytest.mark.parametrize(("rows", "columns", "span"), [(13, 9, (1, 1)), (8, 8, (3, 5))])
def test_coarser_grids_hold_largest_and_mean(plain, rng, rows, columns, span):
    """Blocks at the edges have fewer cells, and count for fewer in a mean."""
    values = np.where(
        rng.random((rows, columns)) < 0.3, 0, 10.0 ** rng.uniform(-6, 0, (rows, columns))
    )
    codes = log_codes(values, 1.0)
    cells = (rows * span[0] - span[0] // 2, columns * span[1] - span[1] // 2)
    shown = np.where(codes == 0, 0, 2.0 ** ((codes.astype(float) - 255) / CODES_PER_OCTAVE))
    whole = shown.repeat(span[0], axis=0).repeat(span[1], axis=1)[: cells[0], : cells[1]]
    for name, of in (("largest", np.max), ("mean", np.mean)):
        for down, across in ((1, 1), (2, 2), (0, 2), (3, 0), (5, 5)):
            found = plain.run(
                """
                const [codes, rows, columns, span, cells, down, across, pool] = arguments;
                const base = new Grid(Uint8Array.from(codes), rows, columns, span, 1, cells);
                const level = new Pyramid(base, Grid[pool]).level(down, across);
                return [Array.from(level.codes), level.rows, level.columns, level.span];
                """,
                codes.ravel().tolist(), rows, columns, span, cells, down, across, name,
            )  # fmt: skip
            high, wide = found[3]
            assert (high, wide) == (span[0] * 2**down, span[1] * 2**across)
            expected = [
                [of(whole[i : i + high, j : j + wide]) for j in range(0, cells[1], wide)]
                for i in range(0, cells[0], high)
            ]
            level = np.reshape(found[0], found[1:3])
            back = np.where(level == 0, 0, 2.0 ** ((level.astype(float) - 255) / CODES_PER_OCTAVE))
            assert np.allclose(back, expected, rtol=1e-9 if name == "largest" else 0.25)
            if down + across <= 2:
                assert np.allclose(back, expected, rtol=0.075)


def test_numbers_in_cells_have_no_more_digits_than_are_known(plain, rng):
    values = 10.0 ** rng.uniform(-8, 0, 300)
    shares = 10.0 ** rng.uniform(-4, -0.5, 300)
    pairs = [[float(v), float(v * share)] for v, share in zip(values, shares, strict=True)]
    texts = plain.run(
        "return arguments[0].map(([v, e]) => Reading.brief(Reading.rounded(v, e)))", pairs
    )
    for text, value, share in zip(texts, values, shares, strict=True):
        mantissa = text.split("e")[0].replace(".", "").lstrip("0")
        assert len(mantissa) == (1 if share > 0.05 else 2), text
        assert float(text) == pytest.approx(value, rel=0.5 if share > 0.05 else 0.05)
        assert len(text) <= 7


def test_codes_are_read_as_they_were_written(plain, rng):
    values = np.r_[0, 10.0 ** rng.uniform(-11, 0, 500), 1]
    codes = log_codes(values, 1.0)
    found = plain.run(
        "return arguments[0].map((c) => Codes.reading(c, 1)).map((r) => [r.value - r.error,"
        " r.kind === 'bound' ? r.value : r.value + r.error])",
        codes.tolist(),
    )
    for value, (low, high) in zip(values, found, strict=True):
        assert low <= value * (1 + 1e-12)
        assert value <= high * (1 + 1e-12)
