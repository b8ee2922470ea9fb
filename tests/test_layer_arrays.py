"""The arrays that `MultiHeadAttention` holds: assigned, copied, pickled."""

import copy
import pickle

import numpy as np
import pytest

import selfattn
from arrays import same_bits, tensor

SIZES = {
    "stacked": {},
    "grouped heads": {"num_kv_heads": 2},
    "separate": {"kdim": 8, "vdim": 5},
    "no bias": {"bias": False},
}
COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda layer: pickle.loads(pickle.dumps(layer)),
}
NAMES = [f"{kind}_{which}" for kind in "wb" for which in "qkvo"]


def make(options):
    return selfattn.MultiHeadAttention(8, 4, **options, dtype=np.float64, rng=0)


@pytest.mark.parametrize("options", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_copies_are_layers(rng, options, copied):
    """A copy gives the same bytes, and what is written into its arrays changes its results."""
    layer = make(options)
    query = tensor(rng, (5, 8), np.float64)
    rest = (query, tensor(rng, (5, 5), np.float64)) if "vdim" in options else ()
    before = layer(query, *rest)
    again = copied(layer)
    assert repr(again) == repr(layer)
    assert same_bits(again(query, *rest), before)
    for name in NAMES:
        place = getattr(again, name)
        if place is None or name == "b_k":  # the same for all keys: no influence
            continue
        last = again(query, *rest)
        place += np.linspace(-0.1, 0.2, place.size).reshape(place.shape)
        assert not np.array_equal(again(query, *rest), last), name
    assert same_bits(layer(query, *rest), before) == (copied is not copy.copy)


def test_a_pickle_holds_each_number_once():
    layer = selfattn.MultiHeadAttention(64, 4)
    numbers = sum(x.size for x in layer.state_dict().values())
    assert len(pickle.dumps(layer)) < 4 * numbers + 2000


@pytest.mark.parametrize("options", SIZES.values(), ids=SIZES)
def test_assignment(rng, options):
    """An assigned array is copied into the layer's, in the layer's type."""
    layer = make(options)
    for name in NAMES:
        place = getattr(layer, name)
        if place is None:
            continue
        array = tensor(rng, place.shape)
        setattr(layer, name, array)
        assert np.array_equal(getattr(layer, name), array)
        assert np.shares_memory(getattr(layer, name), place)
        assert place.dtype == np.float64
    parts = layer.state_dict()
    if "in_proj_weight" in parts:
        stacked = np.concatenate([layer.w_q, layer.w_k, layer.w_v], axis=1).T
        assert np.array_equal(parts["in_proj_weight"], stacked)
    before = layer.w_q.copy()
    layer.w_q += 1
    assert np.array_equal(layer.w_q, before + 1)


@pytest.mark.parametrize(("name", "array", "error", "texts"), [
    ("w_q", np.zeros((8, 7)), ValueError, ["w_q", "(8, 7)", "(8, 8)"]),
    ("w_k", 1.0, ValueError, ["w_k", "()", "(8, 4)"]),
    ("b_v", np.zeros(8), ValueError, ["b_v", "(8,)", "(4,)"]),
    ("b_o", None, TypeError, ["b_o", "None"]),
    ("w_o", np.zeros((8, 8), complex), TypeError, ["w_o is complex128"]),
])  # fmt: skip
def test_errors(name, array, error, texts):
    layer = make({"num_kv_heads": 2})
    before = layer.state_dict()
    with pytest.raises(error) as caught:
        setattr(layer, name, array)
    assert [part for part in texts if part not in str(caught.value)] == [], str(caught.value)
    assert all(same_bits(x, before[n]) for n, x in layer.state_dict().items())


def test_no_bias_to_assign_to():
    layer = make({"bias": False})
    with pytest.raises(ValueError, match="b_q is set on a layer without biases"):
        layer.b_q = np.zeros(8)
