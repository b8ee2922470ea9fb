"""Every error message: TypeError for the kind of a thing, ValueError for its shape or value; the
text names the argument, what it got, what was expected, and the way out where there is one.

A row is the arguments that differ from a sound call, the exception and what its text must hold.
C and `selfattn.reference` are held to the same table.
"""

import numpy as np
import pytest

import selfattn
from selfattn import reference

F4 = np.float32


def zeros(*shape, dtype=F4):
    return np.zeros(shape, dtype)


def sound():
    """A call without an error: 2 batch entries, 8 query heads, 4 key heads, 5 queries, 7 keys."""
    return {"query": zeros(2, 8, 5, 6), "key": zeros(2, 4, 7, 6), "value": zeros(2, 4, 7, 3)}


def readonly(x):
    x.flags.writeable = False
    return x


OUT, WEIGHTS = (2, 8, 5, 3), (2, 8, 5, 7)
BOTH = {"return_weights": True}
TWICE = zeros(2 * 8 * 5 * 8)

SHAPES = [
    ({"query": zeros(6)}, ["query", "(6,)"]),
    ({"query": F4(1.0)}, ["query", "()"]),
    ({"key": zeros(7, 6)}, ["key", "(7, 6)"]),
    ({"value": zeros(7, 3)}, ["value", "(7, 3)"]),
    ({"key": zeros(2, 3, 7, 6), "value": zeros(2, 3, 7, 3)},
     ["key has 3 heads and query 8", "query heads must be a multiple of key heads"]),
    ({"key": zeros(2, 0, 7, 6), "value": zeros(2, 0, 7, 3)},
     ["key has 0 heads and query 8", "multiple"]),
    ({"value": zeros(2, 2, 7, 3)}, ["key", "4", "value", "2", "heads"]),
    ({"key": zeros(2, 4, 7, 5)}, ["query", "6", "key", "5"]),
    ({"value": zeros(2, 4, 8, 3)}, ["key", "7", "value", "8"]),
    ({"query": zeros(3, 8, 5, 6)}, ["key", "broadcast"]),
    ({"mask": zeros(5, 8, dtype=bool)}, ["mask", "(5, 8)", "(2, 8, 5, 7)"]),
    ({"mask": zeros(3, 2, 8, 5, 7, dtype=bool)}, ["mask", "(3, 2, 8, 5, 7)", "(2, 8, 5, 7)"]),
    ({"mask": zeros(2, 7, dtype=bool)}, ["mask", "(2, 7)", "mask[:, None, None, :]"]),
    ({"mask": zeros(2, 7)}, ["mask", "(2, 7)", "mask[:, None, None, :]"]),
    ({"bias": zeros(5, 6)}, ["bias", "(5, 6)", "(2, 8, 5, 7)"]),
    ({"query_offset": 0, "alibi_slopes": zeros(4)}, ["alibi_slopes", "(4,)", "8", "head"]),
    ({"query_offset": 0, "alibi_slopes": 0.5}, ["alibi_slopes", "()", "8"]),
    ({"sinks": zeros(8, 1)}, ["sinks", "(8, 1)", "8"]),
    ({"key_lengths": [1, 2, 3]}, ["key_lengths", "(3,)", "(2,)"]),
    ({"key_lengths": [[1], [2]]}, ["key_lengths", "(2, 1)", "(2,)"]),
    ({"query_offset": [1, 2, 3]}, ["query_offset", "(3,)", "(2,)"]),
    ({"out": zeros(2, 8, 5, 4)}, ["out", "(2, 8, 5, 4)", "(2, 8, 5, 3)"]),
    ({"out": zeros(1, 2, 8, 5, 3)}, ["out", "(1, 2, 8, 5, 3)", "(2, 8, 5, 3)"]),
    (BOTH | {"out": (None, zeros(2, 5, 7))}, ["out", "weights", "(2, 5, 7)", "(2, 8, 5, 7)"]),
    ({"return_lse": True, "out": (None, zeros(2, 8, 7))}, ["out", "lse", "(2, 8, 7)"]),
]  # fmt: skip

VALUES = [
    ({"scale": np.inf}, ["scale", "inf", "finite"]),
    ({"scale": -np.inf}, ["scale", "inf", "finite"]),
    ({"scale": np.nan}, ["scale", "nan", "finite"]),
    ({"scale": 10**400}, ["scale", "finite"]),
    ({"softcap": 0.0}, ["softcap", "0", "None"]),
    ({"softcap": -1.5}, ["softcap", "-1.5", "None"]),
    ({"softcap": np.inf}, ["softcap", "inf", "finite"]),
    ({"softcap": np.nan}, ["softcap", "nan"]),
    ({"causal": "left"}, ["causal", "left", "upper_left", "lower_right"]),
    ({"causal": True}, ["5", "7", "query_offset", "upper_left", "lower_right"]),
    ({"window": 3}, ["window", "5", "7", "query_offset", "upper_left", "lower_right"]),
    ({"alibi_slopes": np.ones(8)},
     ["alibi_slopes", "5", "7", "query_offset", "upper_left", "lower_right"]),
    ({"causal": "lower_right", "query_offset": 2}, ["query_offset", "lower_right"]),
    ({"window": -1, "query_offset": 0}, ["window", "-1", "None"]),
    ({"window": (3, -2), "query_offset": 0}, ["window", "-2", "None"]),
    ({"window": (1, 2, 3), "query_offset": 0}, ["window", "3", "(left, right)"]),
    ({"window": (1,), "query_offset": 0}, ["window", "1", "(left, right)"]),
    ({"key_lengths": 8}, ["key_lengths", "8", "7"]),
    ({"key_lengths": -1}, ["key_lengths", "-1", "0"]),
    ({"key_lengths": [3, 8]}, ["key_lengths", "8", "7"]),
    ({"key_lengths": 2**70}, ["key_lengths"]),
    ({"query_offset": 2**70}, ["query_offset"]),
    ({"alibi_slopes": [np.inf] + [0.0] * 7, "query_offset": 0}, ["alibi_slopes", "finite"]),
    ({"alibi_slopes": [np.nan] + [0.0] * 7, "query_offset": 0}, ["alibi_slopes", "finite"]),
    ({"sinks": [np.inf] + [0.0] * 7}, ["sinks", "-inf"]),
    ({"sinks": [np.nan] + [0.0] * 7}, ["sinks", "-inf"]),
    ({"return_weights": "all"}, ["return_weights", "all", "mean"]),
    ({"query": zeros(2, 0, 5, 6), "return_weights": "mean"}, ["return_weights", "mean", "head"]),
    ({"num_threads": 0}, ["num_threads", "0", "1"]),
    ({"num_threads": -3}, ["num_threads", "-3", "1"]),
    ({"out": readonly(zeros(*OUT))}, ["out", "read-only"]),
    ({"out": np.lib.stride_tricks.as_strided(TWICE, OUT, (160, 20, 4, 0))},
     ["out", "overlaps itself"]),
    ({"out": np.lib.stride_tricks.as_strided(TWICE, OUT, (160, 20, 4, 4))},
     ["out", "overlaps itself"]),
    ({"out": (zeros(*OUT), None)}, ["out", "2", "1"]),
    (BOTH | {"out": (zeros(*OUT),)}, ["out", "1", "2", "None"]),
    (BOTH | {"out": (TWICE[:240].reshape(OUT), TWICE[:560].reshape(WEIGHTS))},
     ["out", "share memory"]),
]  # fmt: skip

KINDS = [
    ({"mask": zeros(5, 7, dtype=np.int64)}, ["mask", "int64", "mask.astype(bool)"]),
    ({"mask": zeros(5, 7, dtype=np.uint8)}, ["mask", "uint8", "mask.astype(bool)"]),
    ({"mask": zeros(5, 7, dtype=complex)}, ["mask", "complex128"]),
    ({"mask": zeros(5, 7, dtype=np.longdouble)}, ["mask", "astype"]),
    ({"mask": "causal"}, ["mask", "<U6"]),
    ({"bias": zeros(5, 7, dtype=bool)}, ["bias", "bool"]),
    ({"bias": zeros(5, 7, dtype=np.int32)}, ["bias", "int32", "astype"]),
    ({"bias": zeros(5, 7, dtype=object)}, ["bias", "object", "astype"]),
    ({"query_offset": 0, "alibi_slopes": zeros(8, dtype=complex)}, ["alibi_slopes", "complex128"]),
    ({"sinks": np.array(["a"] * 8)}, ["sinks", "<U1"]),
    ({"key_lengths": 3.0}, ["key_lengths", "float"]),
    ({"key_lengths": [3.0, 4.0]}, ["key_lengths", "float64"]),
    ({"key_lengths": [True, False]}, ["key_lengths", "bool"]),
    ({"query_offset": 1.5}, ["query_offset", "float"]),
    ({"query_offset": "0"}, ["query_offset"]),
    ({"causal": 1}, ["causal", "int", "upper_left", "lower_right"]),
    ({"causal": None}, ["causal", "NoneType", "upper_left", "lower_right"]),
    ({"window": 2.5, "query_offset": 0}, ["window", "float"]),
    ({"window": (1, 2.5), "query_offset": 0}, ["window", "float"]),
    ({"window": True, "query_offset": 0}, ["window", "bool"]),
    ({"window": "3", "query_offset": 0}, ["window", "str"]),
    ({"scale": "big"}, ["scale", "str", "real number"]),
    ({"scale": 1j}, ["scale", "complex", "real number"]),
    ({"scale": True}, ["scale", "bool", "real number"]),
    ({"scale": [1.0]}, ["scale", "list", "real number"]),
    ({"softcap": "x"}, ["softcap", "str", "real number"]),
    ({"return_weights": 1}, ["return_weights", "mean"]),
    ({"return_weights": None}, ["return_weights", "mean"]),
    ({"return_lse": "yes"}, ["return_lse", "True or False"]),
    ({"num_threads": 1.0}, ["num_threads", "float"]),
    ({"num_threads": True}, ["num_threads", "bool"]),
    ({"out": [zeros(*OUT)]}, ["out", "list", "ndarray"]),
    ({"out": np.ma.zeros(OUT, F4)}, ["out", "MaskedArray", "ndarray"]),
    ({"out": zeros(*OUT, dtype=np.float64)}, ["out", "float64", "float32"]),
    ({"out": zeros(*OUT, dtype=">f4")}, ["out", ">f4", "float32"]),
    (BOTH | {"out": (None, zeros(*WEIGHTS, dtype=np.float16))},
     ["out", "weights", "float16", "float32"]),
    ({"return_lse": True, "out": (None, zeros(2, 8, 5, dtype=np.float64))},
     ["out", "lse", "float64", "float32"]),
]  # fmt: skip

TABLE = [
    pytest.param(bad, error, texts, id=f"{error.__name__}-{i}-{next(reversed(bad))}")
    for error, rows in ((ValueError, SHAPES), (ValueError, VALUES), (TypeError, KINDS))
    for i, (bad, texts) in enumerate(rows)
]


@pytest.mark.parametrize("attention", [selfattn.attention, reference.attention],
                         ids=["C", "reference"])  # fmt: skip
@pytest.mark.parametrize(("bad", "error", "texts"), TABLE)
def test_message(attention, bad, error, texts):
    with pytest.raises(error) as caught:
        attention(**sound() | bad)
    assert type(caught.value) is error
    text = str(caught.value)
    assert [part for part in texts if part not in text] == [], text
    assert not text.endswith("."), text
    assert "\n" not in text, text


def test_sound_call_is_sound():
    selfattn.attention(**sound())


@pytest.mark.parametrize(("args", "keywords", "texts"), [
    ((), {}, ["missing 3 required positional arguments", "'query'", "'key'", "'value'"]),
    ((1, 2), {}, ["missing 1 required positional argument", "'value'"]),
    ((1, 2, 3, None, 5), {}, ["takes from 3 to 4 positional arguments but 5 were given"]),
    ((1, 2, 3), {"value": 4}, ["multiple values for argument 'value'"]),
    ((1, 2, 3), {"is_causal": True}, ["unexpected keyword argument 'is_causal'"]),
])  # fmt: skip
def test_wrong_calls_read_as_pythons(args, keywords, texts):
    with pytest.raises(TypeError) as caught:
        selfattn.attention(*args, **keywords)
    assert [part for part in ["attention()", *texts] if part not in str(caught.value)] == []


def test_shapes_in_two_dimensions():
    """Without batch and heads the hint about heads would mislead: shapes are given as they came."""
    x = zeros(5, 6)
    for bad in ({"mask": zeros(6, 5, dtype=bool)}, {"mask": zeros(1, 1, 5, 5, dtype=bool)}):
        with pytest.raises(ValueError, match=r"mask.*\(5, 5\)"):
            selfattn.attention(x, x, x, **bad)
    with pytest.raises(ValueError, match="key_lengths"):
        selfattn.attention(x, x, x, key_lengths=[5])


HUGE = 2**40


@pytest.mark.parametrize("bad", [
    {"query": np.broadcast_to(F4(0), (2, 8, HUGE, 6))},
    {"query": np.broadcast_to(F4(0), (2, 4 * HUGE, 5, 6))},
    {"query": np.broadcast_to(F4(0), (HUGE, 2, 8, 5, 6))},
    {"value": np.broadcast_to(F4(0), (2, 4, 7, HUGE))},
    {"key": np.broadcast_to(F4(0), (2, 4, 2**52, 6)),
     "value": np.broadcast_to(F4(0), (2, 4, 2**52, 3)), "return_weights": True},
    {"query": np.broadcast_to(F4(0), (2**30, 1, 8, 5, 6)),
     "key": np.broadcast_to(F4(0), (1, 2**30, 4, 7, 6)),
     "value": np.broadcast_to(F4(0), (1, 1, 4, 7, 3))},
    {"query": np.broadcast_to(F4(0), (2**31, 1, 1, 8, 5, 6)),
     "key": np.broadcast_to(F4(0), (1, 2**31, 1, 4, 7, 6)),
     "value": np.broadcast_to(F4(0), (1, 1, 2**31, 4, 7, 3))},
    {"mask": np.broadcast_to(True, (2, 8, HUGE, 7))},
    {"bias": np.broadcast_to(F4(0), (2, HUGE, 5, 7))},
    {"sinks": np.broadcast_to(F4(0), HUGE)},
    {"alibi_slopes": np.broadcast_to(F4(0), HUGE), "query_offset": 0},
    {"key_lengths": np.broadcast_to(1, (HUGE, 2))},
    {"query_offset": np.broadcast_to(1, (HUGE, 2))},
    {"out": np.broadcast_to(F4(0), (2, 8, HUGE, 3))},
], ids=lambda bad: "-".join(bad))  # fmt: skip
def test_sizes_that_fit_nowhere(bad):
    """Views of one number with astronomic shapes: refused at once, nothing of size allocated."""
    with pytest.raises((ValueError, MemoryError)):
        selfattn.attention(**sound() | bad)
