"""The token view: lines and numbers follow the mouse, the keyboard, the search."""

import numpy as np

import selfattn
from attention_maps import Statistics, softmax_maps
from conftest import assert_shown

WORDS = ["the", "animal", "did", "not", "cross", "street", "because", "it", "was", "too", "tired"]


def word_view(rng, heads=3, **options):
    weights = softmax_maps(rng, heads, len(WORDS), len(WORDS))
    return weights, selfattn.view(weights, WORDS, **options)


def assert_table(page, weights, side="query"):
    """The panel's rows are the largest weights, largest first, each with its precision."""
    rows = page.table()
    assert len(rows) == min(12, len(weights))
    order = np.argsort(-weights, kind="stable")
    assert [int(row[1].replace(",", "")) for row in rows[:8]] == order[:8].tolist()
    for row in rows:
        assert_shown(row[-1], weights[int(row[1].replace(",", ""))])


def test_hovering_a_query_shows_what_it_looks_at(page, rng):
    weights, view = word_view(rng)
    page.open(view)
    before, lines_before = page.pixels(), page.drawn("curve")
    page.point(*page.label("it", column=0))
    lines = page.drawn("curve")
    assert page.pixels() != before
    assert lines != lines_before
    assert len({y for _, y, *_ in lines}) == 1, "all lines leave the one token"
    assert {round(y, 1) for *_, y, _ in lines} <= {
        round(page.label(word, column=1)[1], 1) for word in WORDS
    }
    strongest = max(lines, key=lambda line: line[-1]["alpha"])
    assert round(strongest[3]) == round(page.label(WORDS[weights[0, 7].argmax()], column=1)[1])
    assert page.text("#panel-heading") == "it"
    assert page.text("#panel-table caption") == "Looks at"
    assert_table(page, weights[0, 7])
    page.point(*page.label("animal", column=0))
    assert page.drawn("curve") != lines
    assert_table(page, weights[0, 1])


def test_hovering_a_key_shows_who_looks_at_it(page, rng):
    weights, view = word_view(rng)
    page.open(view).point(*page.label("street", column=1))
    assert page.text("#panel-table caption") == "Looked at by"
    rows = page.table()
    column = weights[0, :, 5]
    for token, query, shown in rows:
        assert token == WORDS[int(query)]
        assert_shown(shown, column[int(query)])
    assert int(rows[0][1]) == column.argmax()
    ends = {round(line[3], 1) for line in page.drawn("curve")}
    assert ends == {round(page.label("street", column=1)[1], 1)}


def test_exact_weights_are_all_float32(page, rng):
    weights, view = word_view(rng, exact=True)
    page.open(view).point(*page.label("too", column=0))
    rows = page.table()
    assert len(rows) == len(WORDS)
    for _, key, shown in rows:
        assert np.float32(shown) == np.float32(weights[0, 9, int(key)])


def test_several_heads_at_once(page, rng):
    weights, view = word_view(rng)
    page.open(view).click("#several").click("#heads :nth-child(3)")
    page.point(*page.label("was", column=0))
    colours = {line[-1]["stroke"] for line in page.drawn("curve")}
    assert len(colours) == 2
    for token, key, head, shown in page.table():
        assert head in ("0", "2")
        assert token == WORDS[int(key)]
        assert_shown(shown, weights[int(head), 8, int(key)])
        assert weights[int(head), 8, int(key)] == weights[[0, 2], 8, int(key)].max()
    assert page.text("#panel-about") == "query 8 \u00b7 layer 0, 2 heads"
    assert "entropy, head 2" in page.text("#panel-facts")
    page.press("a")
    assert len({line[-1]["stroke"] for line in page.drawn("curve")}) == 3
    page.press("a")
    assert page.run("return document.querySelectorAll('.chip[aria-pressed=true]').length") == 1


def test_a_click_holds_a_token_and_lets_go(page, rng):
    page.open(word_view(rng)[1]).point(*page.label("cross", column=0), click=True)
    page.point(400, 5)
    assert page.text("#panel-heading") == "cross"
    page.point(*page.label("cross", column=0), click=True).point(400, 5)
    assert page.text("#panel-heading") == "layer 0, head 0"


def test_only_the_keyboard(page, rng):
    """From the first Tab on: to the view, through tokens, along the strongest line, other heads."""
    weights, view = word_view(rng)
    page.open(view)
    for _ in range(40):
        page.press("TAB")
        if page.run("return document.activeElement.id") == "tokens-scroller":
            break
    assert page.run("return document.activeElement.id") == "tokens-scroller"
    page.press("ARROW_DOWN", "ARROW_DOWN", "ARROW_DOWN")
    assert page.text("#panel-heading") == "did"
    assert "query did" in page.text("#live")
    assert_table(page, weights[0, 2])
    page.press("]")
    assert_table(page, weights[1, 2])
    page.press("END")
    assert page.text("#panel-heading") == "tired"
    page.press("ARROW_RIGHT")
    assert page.text("#panel-heading") == WORDS[weights[1, 10].argmax()]
    assert page.text("#panel-table caption") == "Looked at by"
    page.press("r")
    assert page.text("#panel-table caption") == "Looks at"
    page.press("ESCAPE")
    assert page.text("#panel-heading") == "layer 0, head 1"


def test_a_link_in_the_table_goes_to_its_token(page, rng):
    weights, view = word_view(rng)
    page.open(view).point(*page.label("it", column=0), click=True).point(400, 5)
    page.click("#panel-table tbody tr button")
    assert page.text("#panel-heading") == WORDS[weights[0, 7].argmax()]
    assert page.text("#panel-table caption") == "Looked at by"


def test_layers_change_the_weights(page, rng):
    weights = softmax_maps(rng, 2, 3, 6, 6)
    view = selfattn.view(weights, list("abcdef"), layers=["first", "last"])
    page.open(view).press("ARROW_DOWN")
    assert_table(page, weights[0, 0, 0])
    page.choose("#layer", 1)
    assert "last" in page.text("#panel-about")
    assert_table(page, weights[1, 0, 0])
    page.press("{", "]")
    assert_table(page, weights[0, 1, 0])


def test_search(page, rng):
    tokens = [f"w{i}" if i % 7 else f"Needle{i}" for i in range(200)]
    page.open(selfattn.view(softmax_maps(rng, 1, 200, 200), tokens))
    page.press("/", *"needle")
    assert page.text("#matches") == "29"
    page.press("ENTER")
    assert page.text("#panel-heading") == "Needle0"
    page.press("ENTER", "ENTER")
    assert page.text("#panel-heading") == "Needle14"
    assert page.text("#matches") == "3 of 29"
    page.label("Needle14")
    for _ in range(10):
        page.press("ENTER")
    page.label("Needle84")  # it has scrolled there
    page.click("#previous")
    assert page.text("#panel-heading") == "Needle77"
    page.find("#search").send_keys("zzz")
    page.settle()
    assert page.text("#matches") == "none"
    page.press("ESCAPE")
    assert page.text("#matches") == ""


def test_statistics_show_what_is_kept(page, rng):
    weights = softmax_maps(rng, 2, 30, 30, causal=True)
    page.open(selfattn.view(Statistics.of(weights, top_k=5), [f"t{i}" for i in range(30)]))
    page.point(*page.label("t20", column=0))
    rows = page.table()
    order = np.argsort(-weights[0, 20])[:5]
    assert [int(row[1]) for row in rows] == order.tolist()
    for row in rows:
        assert np.float32(row[-1]) == np.float32(weights[0, 20, int(row[1])])
    assert "weight outside the kept" in page.text("#panel-facts")
    page.point(*page.label("t3", column=1))
    kept = np.argsort(-weights[0], axis=1, kind="stable")[:, :5]
    expected = [i for i in range(3, 30) if 3 in kept[i]]
    assert sorted(int(row[1]) for row in page.table())[:12] == sorted(
        sorted(expected, key=lambda i: -weights[0, i, 3])[:12]
    )


def test_queries_and_keys_of_different_number(page, rng):
    """Cross-attention and decoding steps: two lists of tokens, each side with its own."""
    weights = softmax_maps(rng, 2, 3, 90)
    keys = [f"{j / 50:.2f}s" for j in range(90)]
    page.open(selfattn.view(weights, ["ask", "not", "what"], keys))
    page.point(*page.label("not"), click=True).point(400, 5)
    assert_table(page, weights[0, 1])
    assert page.table()[0][0] == keys[weights[0, 1].argmax()]
    best = page.table()[0][0]
    page.click("#panel-table tbody tr button")
    page.label(best)
    assert len(page.table()) == 3
    page.press("/", *"1.5", "ENTER")
    assert page.text("#panel-heading") == "1.50s"
