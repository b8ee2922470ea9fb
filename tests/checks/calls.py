"""The calls that checks of failing memory, leaks and references make: one line a call.

A new public function gets lines here, in layer_calls.py or in plain_calls.py, and every check in
this folder then covers it: `CALLS` end well, `ERRORS` raise.
"""

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
from layer_calls import LAYER_CALLS, LAYER_ERRORS, LAYER_WATCHED
from plain_calls import PLAIN_CALLS, PLAIN_ERRORS, PLAIN_WATCHED

import selfattn
from selfattn import _selfattn

_rng = np.random.default_rng(7)


def _new(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return _rng.standard_normal(shape).astype(dtype)


Q, K, V = _new(2, 4, 40, 16), _new(2, 2, 70, 16), _new(2, 2, 70, 24)
# Long enough for threads, the second so few rows that chunks of keys are shared out.
LONG = [_new(2, 300, 32) for _ in range(3)]
DECODE = _new(4, 1, 32), _new(4, 5000, 32), _new(4, 5000, 32)
# A result of 32 MiB, whose memory the core keeps.
MANY = _new(2**13, 1), _new(1, 1), _new(1, 2**10)
MASK = _rng.random((40, 70)) < 0.8
BIAS = _new(4, 40, 70, dtype=np.float64)
OUT, WEIGHTS = np.empty((2, 4, 40, 24), np.float32), np.empty((2, 4, 40, 70), np.float32)
HALF = [x.astype(np.float16) for x in (Q, K, V)]
BRAIN = [x.astype(ml_dtypes.bfloat16) for x in (Q, K, V)]
SWAPPED = [x.astype(">f4") for x in (Q, K, V)]
WHOLE = [(10 * x).astype(np.int32) for x in (Q, K, V)]
SUBCLASS = [x.view(type("Array", (np.ndarray,), {})) for x in (Q, K, V)]


class Tensor:
    """Speaks DLPack and nothing else."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, **keywords: Any) -> Any:
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()


def _attention(*args: Any, **keywords: Any) -> Callable[[], Any]:
    return lambda: selfattn.attention(*args, **keywords)


CALLS: dict[str, Callable[[], Any]] = {
    "plain": _attention(Q, K, V),
    "weights and lse": _attention(Q, K, V, return_weights=True, return_lse=True),
    "mean": _attention(Q, K, V, return_weights="mean"),
    "mask, bias": _attention(Q, K, V, MASK, bias=BIAS, softcap=20.0, scale=0.5),
    "window": _attention(Q, K, V, window=(9, None), causal="lower_right"),
    "numbers": _attention(
        Q, K, V, alibi_slopes=[0.1] * 4, sinks=np.zeros(4), key_lengths=[60, 70],
        query_offset=np.array([3, 4]),
    ),
    "threads": _attention(*LONG, num_threads=3),
    "threads, weights": _attention(*LONG, num_threads=3, return_weights=True),
    "threads, mean": _attention(*LONG, num_threads=3, return_weights="mean"),
    "many threads": _attention(*LONG, num_threads=80),
    "large result": _attention(*MANY),
    "decode": _attention(*DECODE, num_threads=3, return_lse=True),
    "out": _attention(Q, K, V, out=OUT, num_threads=2),
    "out and weights": _attention(Q, K, V, return_weights=True, out=(OUT, WEIGHTS)),
    "out that is an input": _attention(Q, K, K, out=Q.copy()),
    "half": _attention(*HALF, return_weights=True),
    "bfloat16": _attention(*BRAIN, return_lse=True),
    "byte-swapped": _attention(*SWAPPED),
    "integers": _attention(*WHOLE),
    "promotion": _attention(Q, K.astype(np.float64), V),
    "lists": _attention([[1.0, 2.0]], [[3.0, 4.0]], [[5], [6]][:1]),
    "subclass": _attention(*SUBCLASS),
    "dlpack": _attention(Tensor(Q), K, V),
    "empty": _attention(Q[:, :, :0], K, V),
    "torch's function": lambda: selfattn.scaled_dot_product_attention(
        Q, K, V, MASK, enable_gqa=True
    ),
    "units": selfattn.units,
    "get_num_threads": selfattn.get_num_threads,
    "set_num_threads": lambda: selfattn.set_num_threads(2),
    "config": _selfattn._config,
    **LAYER_CALLS,
    **PLAIN_CALLS,
}  # fmt: skip

_MASKED = np.ma.masked_array(Q, Q > 1)
ERRORS: dict[str, tuple[type[Exception], Callable[[], Any]]] = {
    "missing": (TypeError, _attention(Q, K)),
    "unknown keyword": (TypeError, _attention(Q, K, V, is_causal=True)),
    "shape": (ValueError, _attention(Q, K[..., :3], V)),
    "heads": (ValueError, _attention(Q[:, :3], K, V)),
    "masked array": (TypeError, _attention(_MASKED, K, V)),
    "object": (TypeError, _attention(Q.astype(object), K, V)),
    "ragged list": (ValueError, _attention([[1.0], [2.0, 3.0]], K, V)),
    "mask of integers": (TypeError, _attention(Q, K, V, MASK.astype(np.int8))),
    "bias of bool": (TypeError, _attention(Q, K, V, bias=MASK)),
    "causal": (ValueError, _attention(Q, K, V, causal="left")),
    "window": (ValueError, _attention(Q, K, V, window=(1, 2, 3), query_offset=0)),
    "scale": (TypeError, _attention(Q, K, V, scale="big")),
    "sinks": (ValueError, _attention(Q, K, V, sinks=[np.inf] * 4)),
    "key_lengths": (ValueError, _attention(Q, K, V, key_lengths=[60, 71])),
    "key_lengths, type": (TypeError, _attention(Q, K, V, key_lengths=[1.5, 2.0])),
    "out, shape": (ValueError, _attention(Q, K, V, out=OUT[..., :3])),
    "out, type": (TypeError, _attention(Q, K, V, out=OUT.astype(">f4"))),
    "out, entries": (ValueError, _attention(Q, K, V, out=(OUT, OUT))),
    "out, shared": (ValueError, _attention(Q, K, K, return_weights=True, out=(
        np.lib.stride_tricks.as_strided(WEIGHTS, (2, 4, 40, 16), (0, 0, 4, 4)), None))),
    "num_threads": (ValueError, _attention(Q, K, V, num_threads=0)),
    "too large": (MemoryError, _attention(
        np.broadcast_to(np.float32(0), (4, 2**40, 16)), K[0], V[0], return_weights=True)),
    "set_num_threads": (ValueError, lambda: selfattn.set_num_threads(0)),
    "threads": (TypeError, lambda: selfattn.threads("two").__enter__()),
    "estimate, shape": (TypeError, lambda: selfattn.estimate("shape")),
    **LAYER_ERRORS,
    **PLAIN_ERRORS,
}  # fmt: skip

# What the checks watch the reference counts of.
WATCHED = {
    "Q": Q, "K": K, "V": V, "MASK": MASK, "BIAS": BIAS, "OUT": OUT, "WEIGHTS": WEIGHTS,
    "LONG": LONG[0], "HALF": HALF[0], "BRAIN": BRAIN[0], "SWAPPED": SWAPPED[0],
    "WHOLE": WHOLE[0], "SUBCLASS": SUBCLASS[0], "float32": Q.dtype,
    "float64": BIAS.dtype, "float16": HALF[0].dtype, **LAYER_WATCHED, **PLAIN_WATCHED,
}  # fmt: skip


def as_bytes(result: Any) -> Any:
    """Something to compare: the bytes of all arrays of a result."""
    if isinstance(result, tuple | list):
        return tuple(as_bytes(x) for x in result)
    if isinstance(result, dict):
        return tuple(as_bytes(x) for x in result.values() if not callable(x))
    if type(result).__module__.startswith("selfattn."):
        return as_bytes(vars(result))
    return result.tobytes() if isinstance(result, np.ndarray) else result
