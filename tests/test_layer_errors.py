"""Every error message of the layer; see test_errors.py. What attention itself refuses is a row or
two here: the layer hands its keywords on."""

import numpy as np
import pytest

import selfattn
from selfattn import reference

F4 = np.float32


def zeros(*shape, dtype=F4):
    return np.zeros(shape, dtype)


def sound():
    """2 sequences of 5 tokens, 4 heads of 3 on 2 key heads, values of 2."""
    return {
        "x": zeros(2, 5, 6), "w_q": zeros(6, 12), "w_k": zeros(6, 6), "w_v": zeros(6, 4),
        "w_o": zeros(8, 7), "b_q": zeros(12), "b_k": zeros(6), "b_v": zeros(4), "b_o": zeros(7),
        "num_heads": 4, "num_kv_heads": 2,
    }  # fmt: skip


def readonly(x):
    x.flags.writeable = False
    return x


OUT, WEIGHTS, LSE = (2, 5, 7), (2, 4, 5, 5), (2, 4, 5)
ALL = {"return_weights": True, "return_lse": True}
TWICE = zeros(2 * 5 * 7 + 200)

FUNCTION = [
    ({"x": zeros(6)}, ValueError, ["x", "(6,)", "tokens"]),
    ({"x": zeros(2, 5, 5)}, ValueError, ["w_q", "(6, 12)", "5", "last axis of x"]),
    ({"w_q": zeros(12)}, ValueError, ["w_q", "(12,)", "(6, columns)"]),
    ({"w_k": zeros(5, 6)}, ValueError, ["w_k", "(5, 6)", "(6, columns)"]),
    ({"w_v": zeros(2, 6, 4)}, ValueError, ["w_v", "(2, 6, 4)"]),
    ({"w_q": zeros(6, 10)}, ValueError, ["w_q", "10 columns", "num_heads", "4"]),
    ({"w_k": zeros(6, 5)}, ValueError, ["w_k", "5 columns", "num_kv_heads", "2"]),
    ({"w_v": zeros(6, 5)}, ValueError, ["w_v", "5 columns", "num_kv_heads", "2"]),
    ({"w_k": zeros(6, 8)}, ValueError, ["w_k", "8", "w_q", "12", "same number for each head"]),
    ({"w_o": zeros(4, 7)}, ValueError, ["w_o", "(4, 7)", "(8, columns)", "num_heads * d_v"]),
    ({"w_o": None}, ValueError, ["b_o", "w_o"]),
    ({"b_q": zeros(6)}, ValueError, ["b_q", "(6,)", "(12,)", "w_q"]),
    ({"b_k": zeros(1, 6)}, ValueError, ["b_k", "(1, 6)", "(6,)"]),
    ({"b_v": F4(0)}, ValueError, ["b_v", "()", "(4,)"]),
    ({"b_o": zeros(8)}, ValueError, ["b_o", "(8,)", "(7,)", "w_o"]),
    ({"num_heads": 0}, ValueError, ["num_heads", "at least 1", "0"]),
    ({"num_heads": 2.0}, TypeError, ["num_heads", "int", "float"]),
    ({"num_heads": True}, TypeError, ["num_heads", "int", "bool"]),
    ({"num_kv_heads": 3}, ValueError, ["num_kv_heads is 3", "num_heads 4", "multiple"]),
    ({"num_kv_heads": -1}, ValueError, ["num_kv_heads", "at least 1", "-1"]),
    ({"x": zeros(2, 5, 6, dtype=complex)}, TypeError, ["x is complex128", "astype"]),
    ({"w_v": zeros(6, 4, dtype=np.longdouble)}, TypeError, ["w_v", "astype"]),
    ({"w_o": np.full((8, 7), "a")}, TypeError, ["w_o", "<U1", "astype"]),
    ({"b_k": zeros(6, dtype=object)}, TypeError, ["b_k", "object", "astype"]),
    ({"x": np.ma.zeros((2, 5, 6))}, TypeError, ["x", "MaskedArray", "mask="]),
    ({"w_q": np.ma.zeros((6, 12))}, TypeError, ["w_q", "MaskedArray"]),
    ({"x": None}, TypeError, ["x"]),
    ({"x": [[1.0, 2.0], [3.0]]}, ValueError, ["x"]),
    ({"mask": zeros(4, 5, dtype=bool)}, ValueError, ["mask", "(4, 5)", "(2, 4, 5, 5)"]),
    ({"mask": zeros(5, 5, dtype=int)}, TypeError, ["mask", "int64", "astype(bool)"]),
    ({"causal": "left"}, ValueError, ["causal", "left", "lower_right"]),
    ({"key_lengths": 6}, ValueError, ["key_lengths", "6", "5"]),
    ({"sinks": zeros(2)}, ValueError, ["sinks", "(2,)", "4"]),
    ({"return_weights": 1}, TypeError, ["return_weights", "mean"]),
    ({"num_threads": 0}, ValueError, ["num_threads", "0", "1"]),
    ({"out": zeros(2, 5, 8)}, ValueError, ["out", "(2, 5, 8)", "(2, 5, 7)"]),
    ({"out": zeros(2, 5, 7, dtype=np.float64)}, TypeError, ["out", "float64", "float32"]),
    ({"out": zeros(2, 5, 7, dtype=">f4")}, TypeError, ["out", ">f4", "float32"]),
    ({"out": [zeros(*OUT)]}, TypeError, ["out", "list", "ndarray"]),
    ({"out": np.ma.zeros(OUT, F4)}, TypeError, ["out", "MaskedArray", "ndarray"]),
    ({"out": (zeros(*OUT), None)}, ValueError, ["out", "2 entries", "1 results"]),
    (ALL | {"out": (None, zeros(*WEIGHTS))}, ValueError, ["out", "2", "3", "weights", "lse"]),
    (ALL | {"out": (None, zeros(*LSE), None)}, ValueError, ["weights", "(2, 4, 5, 5)"]),
    (ALL | {"out": (None, None, zeros(2, 5, 4))}, ValueError, ["lse", "(2, 5, 4)", "(2, 4, 5)"]),
    ({"return_weights": "mean", "out": (None, zeros(*WEIGHTS))}, ValueError,
     ["weights", "(2, 4, 5, 5)", "(2, 5, 5)"]),
    ({"out": readonly(zeros(*OUT))}, ValueError, ["out", "read-only"]),
    ({"out": np.lib.stride_tricks.as_strided(TWICE, OUT, (28, 28, 4))}, ValueError,
     ["out", "overlaps itself"]),
    (ALL | {"out": (TWICE[:70].reshape(OUT), TWICE[69:269].reshape(WEIGHTS), None)}, ValueError,
     ["out", "share memory"]),
]  # fmt: skip


def held(error, texts, call):
    with pytest.raises(error) as caught:
        call()
    text = str(caught.value)
    assert type(caught.value) is error
    assert [part for part in texts if part not in text] == [], text
    assert not text.endswith("."), text
    assert "\n" not in text, text


@pytest.mark.parametrize("package", [selfattn, reference], ids=["C", "reference"])
@pytest.mark.parametrize(
    ("bad", "error", "texts"),
    FUNCTION,
    ids=[f"{i}-{next(reversed(b))}" for i, (b, _, _) in enumerate(FUNCTION)],
)
def test_function(package, bad, error, texts):
    held(error, texts, lambda: package.self_attention(**sound() | bad))


def test_sound_call_is_sound():
    assert selfattn.self_attention(**sound()).shape == OUT


def test_nothing_is_written_before_all_checks():
    out = np.full(OUT, 3, F4)
    for bad in ({"mask": zeros(4, 5, dtype=bool)}, {"scale": np.nan}, {"w_o": zeros(4, 7)}):
        with pytest.raises(ValueError, match=r"mask|scale|w_o"):
            selfattn.self_attention(**sound() | bad, out=out)
    assert (out == 3).all()


MAKE = [
    ((7, 2), {}, ValueError, ["embed_dim is 7", "num_heads, 2"]),
    ((8, 0), {}, ValueError, ["num_heads", "at least 1"]),
    ((8.0, 2), {}, TypeError, ["embed_dim", "float"]),
    ((-8, 2), {}, ValueError, ["embed_dim", "-8"]),
    ((8, 4), {"num_kv_heads": 3}, ValueError, ["num_kv_heads", "3", "4"]),
    ((8, 4), {"kdim": "8"}, TypeError, ["kdim", "str"]),
    ((8, 4), {"vdim": -1}, ValueError, ["vdim", "-1"]),
    ((8, 4), {"bias": 1}, TypeError, ["bias", "int"]),
    ((8, 4), {"dtype": int}, TypeError, ["dtype", "int64", "float32"]),
    ((8, 4), {"dtype": "floaty"}, TypeError, ["dtype", "floaty"]),
    ((8, 4), {"rng": "x"}, TypeError, ["rng", "'x'", "Generator"]),
    ((8, 4), {"rng": -1}, ValueError, ["rng", "-1", "Generator"]),
]


@pytest.mark.parametrize(("args", "keywords", "error", "texts"), MAKE)
def test_make(args, keywords, error, texts):
    held(error, texts, lambda: selfattn.MultiHeadAttention(*args, **keywords))


CALL = [
    ((zeros(8),), {}, ValueError, ["query", "(8,)", "(..., tokens, 8)"]),
    ((zeros(3, 7),), {}, ValueError, ["query", "(3, 7)", "8"]),
    ((zeros(3, 8), zeros(4, 8)), {}, ValueError, ["key", "(4, 8)", "5"]),
    ((zeros(3, 8), zeros(4, 5), zeros(4, 5)), {}, ValueError, ["value", "(4, 5)", "6"]),
    ((zeros(3, 8), zeros(4, 5), zeros(3, 6)), {}, ValueError, ["value has 3", "key 4"]),
    ((zeros(3, 8),), {}, ValueError, ["key", "(3, 8)", "5"]),
    ((zeros(2, 3, 8), zeros(3, 4, 5), zeros(4, 6)), {}, ValueError, ["key", "broadcast"]),
    ((zeros(3, 8), zeros(4, 5), zeros(4, 6, dtype=complex)), {}, TypeError, ["value", "complex"]),
    ((zeros(3, 8), zeros(4, 5), zeros(4, 6)), {"causal": True}, ValueError, ["lower_right"]),
    ((zeros(3, 8), zeros(4, 5), zeros(4, 6)), {"out": zeros(4, 8)}, ValueError, ["out", "(3, 8)"]),
]


@pytest.mark.parametrize("package", [selfattn, reference], ids=["C", "reference"])
@pytest.mark.parametrize(("args", "keywords", "error", "texts"), CALL)
def test_call(package, args, keywords, error, texts):
    layer = package.MultiHeadAttention(8, 2, kdim=5, vdim=6)
    held(error, texts, lambda: layer(*args, **keywords))


def state(**changed):
    return selfattn.MultiHeadAttention(8, 2).state_dict() | changed


def separate(**changed):
    return selfattn.MultiHeadAttention(8, 4, num_kv_heads=2, kdim=5).state_dict() | changed


def without(name):
    return {other: x for other, x in state().items() if other != name}


READ = [
    (state(), None, TypeError, ["num_heads", "required"]),
    ([1, 2], 2, TypeError, ["state_dict", "list"]),
    (state(), 3, ValueError, ["out_proj.weight", "(8, 8)", "num_heads, 3"]),
    (state(bias_k=zeros(1, 1, 8)), 2, ValueError, ["bias_k", "add_bias_kv"]),
    (state(bias_v=zeros(1, 1, 8)), 2, ValueError, ["bias_v", "add_bias_kv"]),
    ({f"layer.{n}": x for n, x in state().items()}, 2, ValueError, ["layer.", "prefix"]),
    (without("out_proj.weight"), 2, ValueError, ["out_proj.weight", "missing"]),
    (without("in_proj_weight"), 2, ValueError, ["in_proj_weight", "q_proj_weight"]),
    (without("in_proj_bias"), 2, ValueError, ["in_proj_bias", "out_proj.bias", "both"]),
    (without("out_proj.bias"), 2, ValueError, ["in_proj_bias", "out_proj.bias", "both"]),
    (state(q_proj_weight=zeros(8, 8)), 2, ValueError, ["in_proj_weight", "q_proj_weight"]),
    (state(in_proj_weight=zeros(23, 8)), 2, ValueError, ["in_proj_weight", "(23, 8)", "(24, 8)"]),
    (state(in_proj_weight=zeros(24, 7)), 2, ValueError, ["in_proj_weight", "(24, 7)", "8"]),
    (state(in_proj_bias=zeros(8)), 2, ValueError, ["in_proj_bias", "(8,)", "(24,)"]),
    ({**state(), "out_proj.bias": zeros(7)}, 2, ValueError, ["out_proj.bias", "(7,)", "(8,)"]),
    ({**state(), "out_proj.weight": zeros(8, 7)}, 2, ValueError, ["out_proj.weight", "(8, 7)"]),
    ({**state(), "out_proj.weight": zeros(8)}, 2, ValueError, ["out_proj.weight", "(8,)"]),
    (state(in_proj_weight=zeros(24, 8, dtype=complex)), 2, TypeError, ["in_proj_weight", "astype"]),
    (separate(q_proj_weight=zeros(8, 7)), 4, ValueError, ["q_proj_weight", "(8, 7)", "(8, 8)"]),
    (separate(k_proj_weight=zeros(5, 5)), 4, ValueError, ["k_proj_weight", "5 rows"]),
    (separate(k_proj_weight=zeros(6, 5)), 4, ValueError, ["k_proj_weight", "6 rows", "divides"]),
    (separate(v_proj_weight=zeros(8, 8)), 4, ValueError, ["v_proj_weight", "8", "4"]),
]  # fmt: skip


@pytest.mark.parametrize(("source", "heads", "error", "texts"), READ)
def test_from_torch(source, heads, error, texts):
    held(error, texts, lambda: selfattn.MultiHeadAttention.from_torch(source, num_heads=heads))


def test_separate_matrices_of_one_width():
    """A dict with q, k and v apart is read as PyTorch's stacked one."""
    stacked = state()
    parts = np.split(stacked.pop("in_proj_weight"), 3)
    apart = {f"{name}_proj_weight": x for name, x in zip("qkv", parts, strict=True)}
    layer = selfattn.MultiHeadAttention.from_torch(stacked | apart, num_heads=2)
    assert "in_proj_weight" in layer.state_dict()
