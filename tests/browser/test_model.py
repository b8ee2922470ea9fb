"""The model view: all layers and heads, their order, and the way from there to one map."""

import numpy as np
import pytest

import selfattn
from attention_maps import Statistics, softmax_maps


@pytest.fixture
def model(rng):
    """Two layers of three heads, from diffuse to sharp in a mixed order."""
    sharpness = np.array([[1, 5, 3], [0.1, 2, 8]])
    weights = np.stack([
        np.stack([softmax_maps(rng, 24, 24, sharpness=s) for s in row]) for row in sharpness
    ])  # fmt: skip
    tokens = [f"t{i}" for i in range(24)]
    return weights, selfattn.view(weights, tokens, layers=["low", "high"])


def names_of(page):
    return page.run(
        "return [...document.querySelectorAll('#model button')]"
        ".map((button) => [Number(button.dataset.layer), Number(button.dataset.head)])"
    )


def test_a_row_per_layer(page, model):
    page.open(model[1]).press("3")
    assert names_of(page) == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    headings = page.run("return [...document.querySelectorAll('h3')].map((h) => h.textContent)")
    assert headings == ["low", "high"]
    pictures = page.run(
        "return [...document.querySelectorAll('#model canvas')].map((c) => c.toDataURL())"
    )
    assert len(set(pictures)) == 6


def test_sorted_by_a_statistic(page, model):
    weights, view = model
    page.open(view).press("3")
    logs = np.log(np.where(weights > 0, weights, 1))
    facts = {
        "entropy": -(weights * logs).sum(-1).mean(-1),
        "distance": (weights * np.abs(np.subtract.outer(range(24), range(24)))).sum(-1).mean(-1),
        "max": weights.max(-1).mean(-1),
    }
    for name, values in facts.items():
        page.choose("#sort", name)
        order = np.argsort(values.ravel())
        assert names_of(page) == [list(divmod(int(i), 3)) for i in order]
        shown = page.run(
            "return [...document.querySelectorAll('#model .value')].map((v) => v.textContent)"
        )
        for text, value in zip(shown, values.ravel()[order], strict=True):
            assert float(text.split()[0]) == pytest.approx(value, rel=1e-3)


def test_sorted_by_head_scores(page, rng):
    stats = Statistics.of(softmax_maps(rng, 3, 10, 10), side=4)
    stats.head_scores = {"induction": np.array([0.9, 0.1, 0.5])}
    page.open(selfattn.view(stats)).press("3").choose("#sort", "induction")
    assert [head for _, head in names_of(page)] == [1, 2, 0]


def test_head_scores_may_have_any_name(page, rng):
    stats = Statistics.of(softmax_maps(rng, 2, 10, 10), side=4)
    names = ["constructor", "__proto__", "<b>bold</b>", "toString"]
    stats.head_scores = {name: np.array([0.5 + i, 0.25]) for i, name in enumerate(names)}
    page.open(selfattn.view(stats))
    for i, name in enumerate(names):
        assert f"{name}{0.5 + i:g}" in page.text("#panel-facts")
    page.press("3")
    for name in names:
        page.choose("#sort", name)
        assert [head for _, head in names_of(page)] == [1, 0]


def test_a_click_opens_the_map(page, model):
    page.open(model[1]).press("3").click("#model button:nth-child(3)")
    assert page.text('[role="tab"][aria-selected="true"]') == "Tokens"
    assert page.text("#panel-heading") == "low, head 2"


def test_arrow_keys_go_from_map_to_map(page, model):
    page.open(model[1]).press("3")
    page.run("document.querySelector('#model button').focus()")
    page.press("ARROW_RIGHT", "ARROW_RIGHT", "ARROW_RIGHT")
    current = page.run("return document.activeElement.getAttribute('aria-label')")
    assert current.startswith("high, head 0, entropy ")
    page.press("ENTER")
    assert page.text("#panel-heading") == "high, head 0"


def test_many_heads_fit_a_narrow_page(page, rng):
    page.resize(480, 700)
    page.open(selfattn.view(softmax_maps(rng, 30, 9, 5, 5), layers=range(30))).press("3")
    assert len(names_of(page)) == 270
    assert page.run("return document.documentElement.scrollWidth") <= 480
    assert page.run(
        "const frame = document.querySelector('#model').getBoundingClientRect();"
        "return [...document.querySelectorAll('#model button')].every((button) =>"
        " button.getBoundingClientRect().right <= frame.right)"
    )
