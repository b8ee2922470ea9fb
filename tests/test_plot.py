"""selfattn.plot: what is drawn equals what was given; where it is drawn; what is missing."""

import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

import selfattn
from attention_maps import HOSTILE, Statistics, softmax_maps
from selfattn import plot

mpl.use("Agg")

FUNCTIONS = {
    "heatmap": lambda w, **o: plot.heatmap(w[0], **o),
    "heads": plot.heads,
    "entropy": plot.entropy,
    "received": plot.received,
}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def weights(rng):
    return softmax_maps(rng, 3, 6, 6, causal=True)


def texts(labels):
    return [label.get_text() for label in labels]


def test_heatmap(weights):
    tokens = list("abcdef")
    ax = plot.heatmap(weights[1], tokens)
    assert np.array_equal(ax.images[0].get_array(), weights[1])
    assert texts(ax.get_xticklabels()) == texts(ax.get_yticklabels()) == tokens
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("key", "query")
    ax = plot.heatmap(weights[:1, :2], list("ab"), list("uvwxyz"), cmap="magma", vmax=2.0)
    assert texts(ax.get_xticklabels()) == list("uvwxyz")
    assert ax.images[0].get_cmap().name == "magma"
    assert ax.images[0].get_clim() == (0.0, 2.0)


def test_heads_are_all_there_in_rows_of_layers(rng):
    weights = softmax_maps(rng, 2, 5, 4, 4)
    ax = plot.heads(weights, [f"h{i}" for i in range(5)])
    assert [np.array_equal(image.get_array(), w) for image, w in
            zip(ax.images, weights.reshape(-1, 4, 4), strict=True)] == [True] * 10  # fmt: skip
    tops = [image.get_extent()[3] for image in ax.images]
    assert len(set(tops[:5])) == len(set(tops[5:])) == 1
    assert tops[0] < tops[5]
    assert texts(ax.texts)[:5] == [f"h{i}" for i in range(5)]
    for image in ax.images:
        left, right, bottom, top = image.get_extent()
        assert ax.get_xlim()[0] <= left < right <= ax.get_xlim()[1]
        assert ax.get_ylim()[1] <= top < bottom <= ax.get_ylim()[0]


@pytest.mark.parametrize("heads", [1, 3])
def test_entropy_and_received(rng, heads):
    weights = softmax_maps(rng, heads, 7, 7)
    stats = Statistics.of(weights)
    expected = {"entropy": stats.entropy, "received": stats.received}
    for name, values in expected.items():
        for source in (weights, stats, Statistics.of(weights[None])):
            ax = getattr(plot, name)(source, list("abcdefg"))
            drawn = ax.lines[0].get_ydata()[None] if heads == 1 else ax.images[0].get_array()
            assert np.allclose(drawn, values, rtol=1e-12)
            assert texts(ax.get_xticklabels()) == list("abcdefg")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_axes_come_in_and_go_out(weights, name):
    figure, axes = plt.subplots(1, 2)
    assert FUNCTIONS[name](weights, ax=axes[1]) is axes[1]
    assert not axes[0].images
    assert not axes[0].lines
    new = FUNCTIONS[name](weights)
    assert isinstance(new, mpl.axes.Axes)
    assert new.figure is not figure
    new.figure.canvas.draw()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_nothing_is_shown(weights, name, monkeypatch):
    monkeypatch.setattr(plt, "show", None)
    FUNCTIONS[name](weights)


def test_tokens_are_not_markup(rng):
    """Dollar signs would be mathematics, line breaks a second line."""
    tokens = ["$\\frac{$", "a\nb", "", " ", "x" * 500, "\x00"]
    ax = plot.heatmap(softmax_maps(rng, 6, 6), tokens)
    ax.figure.canvas.draw()
    shown = texts(ax.get_xticklabels())
    assert shown[:4] == ["$\\frac{$", "a\u23ceb", "\u2205", "\u2423"]
    assert len(shown[4]) == 24
    assert shown[5] == "\ufffd"
    assert all(len(plot.visible(token)) <= 24 and plot.visible(token) for token in HOSTILE)


def test_many_tokens_have_no_labels(rng):
    ax = plot.heatmap(softmax_maps(rng, 100, 100), [f"t{i}" for i in range(100)])
    assert not any(text.startswith("t") for text in texts(ax.get_xticklabels()))


@pytest.mark.parametrize(
    ("name", "given", "options", "words"),
    [
        ("heatmap", np.ones((3, 2, 2)), {}, ["3 maps", "weights[0]", "plot.heads"]),
        ("heatmap", np.ones(3), {}, ["(3,)", "(n_q, n_k)"]),
        ("heatmap", np.ones((2, 2)), {"tokens": ["a"]}, ["tokens has 1", "expected 2"]),
        ("heatmap", np.ones((2, 3)), {"key_tokens": ["a"]}, ["key_tokens has 1", "expected 3"]),
        ("heads", np.ones((2, 3, 3)), {"names": ["a"]}, ["names has 1", "expected 2"]),
        ("entropy", np.ones((2, 2, 3, 3)), {}, ["(2, 2, 3, 3)", "one layer"]),
        ("entropy", Statistics(received=np.ones(3)), {}, ["no entropy", 'stats=("entropy",)']),
        ("received", Statistics(received=np.ones((2, 1, 3))), {}, ["(2, 1, 3)", "one sequence"]),
    ],
)
def test_errors(name, given, options, words):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        getattr(plot, name)(given, **options)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_without_matplotlib_the_extra_is_named(weights, name, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'selfattn\[plot\]'"):
        FUNCTIONS[name](weights)


def test_matplotlib_is_not_imported_with_selfattn():
    import subprocess

    code = "import sys, selfattn; print({'matplotlib', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "set()", done.stderr


def test_plot_is_public():
    assert selfattn.plot is plot
    assert set(plot.__all__) == set(FUNCTIONS)
