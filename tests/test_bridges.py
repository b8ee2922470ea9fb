"""Arrays of other libraries in, the forms of other viewers out, and text for a terminal."""

import sys
import types

import ml_dtypes
import numpy as np
import pytest

import selfattn
from attention_maps import Page, softmax_maps
from selfattn._demo import FEATURES, weights_of_all
from selfattn._foreign import foreign_array
from selfattn._terminal import heat_map


class Tensor:
    """What speaks DLPack and is no ndarray; `place` 1 is the CPU."""

    def __init__(self, array, place=1, **attributes):
        self.array, self.place = array, place
        self.ndim, self.shape = array.ndim, array.shape
        self.__dict__ |= attributes

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.place, 0


class BfloatTensor(Tensor):
    """As torch: DLPack refuses the type, ``float()`` widens it."""

    dtype = "torch.bfloat16"

    def __dlpack__(self, **options):
        raise BufferError("bfloat16")

    def float(self):
        return Tensor(self.array)


def fake_torch(monkeypatch):
    module = types.ModuleType("torch")
    module.from_numpy = lambda array: ("tensor", array)
    monkeypatch.setitem(sys.modules, "torch", module)


# -- in


def test_arrays_are_taken_without_a_copy(rng):
    array = rng.standard_normal((3, 4))
    assert foreign_array("x", array) is array
    assert np.shares_memory(foreign_array("x", Tensor(array)), array)
    assert foreign_array("x", [[1, 2]]).tolist() == [[1, 2]]
    assert foreign_array("x", BfloatTensor(array)) is not array


def test_tensors_elsewhere_are_refused_by_name():
    with pytest.raises(TypeError, match=r"weights is on device cuda:0.*\.cpu\(\)"):
        foreign_array("weights", Tensor(np.ones(2), place=2, device="cuda:0"))
    with pytest.raises(TypeError, match=r"pass weights\.detach\(\)"):
        foreign_array("weights", Tensor(np.ones(2), requires_grad=True))


def test_view_and_plots_take_tensors(rng):
    weights = np.float32(softmax_maps(rng, 2, 5, 5))
    expected = Page(selfattn.view(weights, list("abcde")).to_html()).blocks
    for form in (Tensor(weights), [Tensor(weights[None])], BfloatTensor(weights)):
        assert Page(selfattn.view(form, list("abcde")).to_html()).blocks == expected
    ax = selfattn.plot.heatmap(Tensor(weights[0]))
    assert np.array_equal(ax.images[0].get_array(), weights[0])


def test_view_takes_bfloat16(rng):
    weights = softmax_maps(rng, 1, 6, 6).astype(ml_dtypes.bfloat16)
    _, _, rows = Page(selfattn.view(weights).to_html()).head()
    assert np.array_equal(rows["max"], weights[0].max(1).astype(np.float32))


# -- out


def test_to_bertviz(rng, monkeypatch):
    fake_torch(monkeypatch)
    weights = np.float32(softmax_maps(rng, 3, 2, 4, 4))
    found = selfattn.to_bertviz(weights, list("abcd"))
    assert set(found) == {"attention", "tokens"}
    assert found["tokens"] == list("abcd")
    for (kind, tensor), layer in zip(found["attention"], weights, strict=True):
        assert kind == "tensor"
        assert tensor.shape == (1, 2, 4, 4)
        assert np.shares_memory(tensor, layer)
    one = selfattn.to_bertviz(weights[0].astype(np.float64), list("abcd"))["attention"]
    assert [tensor.dtype for _, tensor in one] == [np.float32]
    read_only = weights[0].copy()
    read_only.flags.writeable = False
    assert selfattn.to_bertviz(read_only, list("abcd"))["attention"][0][1].flags.writeable
    listed = selfattn.to_bertviz([weights[0][None], weights[1]], list("abcd"))["attention"]
    assert [tensor.shape for _, tensor in listed] == [(1, 2, 4, 4)] * 2


def test_to_bertviz_cross_attention(rng, monkeypatch):
    fake_torch(monkeypatch)
    found = selfattn.to_bertviz(softmax_maps(rng, 2, 3, 5), list("abc"), list("vwxyz"))
    assert set(found) == {"cross_attention", "decoder_tokens", "encoder_tokens"}
    assert found["decoder_tokens"] == list("abc")
    assert found["encoder_tokens"] == list("vwxyz")


def test_to_bertviz_without_torch_names_the_extra(rng, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"pip install 'selfattn\[torch\]'"):
        selfattn.to_bertviz(softmax_maps(rng, 2, 3, 3), list("abc"))


def test_to_circuitsvis_and_back(rng):
    weights = softmax_maps(rng, 1, 2, 4, 4)
    found = selfattn.to_circuitsvis(weights, list("abcd"))
    assert set(found) == {"attention", "tokens"}
    assert found["attention"].dtype == np.float32
    assert np.array_equal(found["attention"], np.float32(weights[0]))
    page = Page(selfattn.view(**found).to_html())
    assert page.header["tokens"] == list("abcd")


@pytest.mark.parametrize(
    ("function", "weights", "tokens", "words"),
    [
        (selfattn.to_circuitsvis, np.ones((2, 1, 3, 3)), "abc", ["2 layers", "weights[0]"]),
        (selfattn.to_circuitsvis, np.ones((1, 3, 4)), "abc", ["square", "selfattn.view"]),
        (selfattn.to_circuitsvis, np.ones((1, 3, 3)), "ab", ["tokens has 2", "3 queries"]),
        (selfattn.to_circuitsvis, np.ones((3, 3)), "abc", ["(3, 3)", "(heads, n_q, n_k)"]),
        (selfattn.to_bertviz, np.ones((1, 3, 4)), "abc", ["tokens has 3", "4 keys"]),
    ],
)
def test_errors(function, weights, tokens, words):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        function(weights, list(tokens))
    for word in words:
        assert word in str(caught.value)


# -- the terminal


def test_heat_map_of_text():
    weights = np.array([[1.0, 0.0], [0.25, 0.75]])
    plain = heat_map(weights, ["one", "\nx"])
    assert plain[1] == " 0 one  @@   "
    assert plain[2].startswith(" 1 \u23cex ")
    assert all(len(line) == len(plain[1]) for line in plain[1:])
    assert plain[0].split() == ["0", "1"]
    blocks = heat_map(weights, ["a", "b"], blocks=True)
    assert "\u2588\u2588" in blocks[1]
    colours = heat_map(weights, ["a", "b"], colours=True)
    assert colours[1].count("\x1b[48;5;") == 2
    assert colours[1].endswith("\x1b[0m")
    assert heat_map(np.zeros((1, 1)), ["a"])[1] == " 0 a    "


def test_the_demos_map_tells_its_story():
    words = list(FEATURES)
    weights = weights_of_all()
    assert np.allclose(weights.sum(1), 1)
    assert words[weights[words.index("it")].argmax()] == "animal"
    assert words[weights[words.index("too")].argmax()] == "tired"
