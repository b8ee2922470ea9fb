"""Calls of the layer, of the statistics and of what stands beside them, for calls.py."""

from collections.abc import Callable
from typing import Any

import numpy as np

import selfattn

_rng = np.random.default_rng(8)


def _new(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return _rng.standard_normal(shape).astype(dtype)


X, OTHER = _new(2, 20, 16), _new(2, 30, 16)
LONG = _new(300, 64)
W = [_new(16, 16) for _ in range(4)]
WIDE = [_new(64, 64) for _ in range(4)]
B = _new(16)
LAYER_OUT = np.empty((2, 20, 16), np.float32)
LAYER = selfattn.MultiHeadAttention(16, 4, num_kv_heads=2, rng=0)
HALF_LAYER = selfattn.MultiHeadAttention(16, 2, bias=False, dtype=np.float16, rng=0)
STATE = LAYER.state_dict()

Q, K, V = _new(2, 4, 20, 16), _new(2, 2, 50, 16), _new(2, 2, 50, 8)
TOKENS = _rng.integers(0, 5, 50)
LONG_HEADS = _new(2, 300, 32)
ALL_STATS = ("entropy", "max", "received", "distance")


def _attend(*args: Any, **keywords: Any) -> Callable[[], Any]:
    return lambda: selfattn.self_attention(*args, **keywords)


def _layer(*args: Any, **keywords: Any) -> Callable[[], Any]:
    return lambda: LAYER(*args, **keywords)


def _stats(*args: Any, **keywords: Any) -> Callable[[], Any]:
    return lambda: selfattn.attention_stats(*args, **keywords)


def _interrupt(fraction: float) -> None:
    raise KeyError(fraction)


LAYER_CALLS: dict[str, Callable[[], Any]] = {
    "self_attention": _attend(X, *W, num_heads=4),
    "self_attention, biases": _attend(
        X, *W, b_q=B, b_k=B, b_v=B, b_o=B, num_heads=2, causal=True, return_weights=True,
        return_lse=True,
    ),
    "self_attention, half": _attend(
        X.astype(np.float16), *(w.astype(np.float16) for w in W), num_heads=2,
        return_weights="mean",
    ),
    "self_attention, out": _attend(X, *W, num_heads=2, out=LAYER_OUT),
    "self_attention, threads": _attend(LONG, *WIDE, num_heads=4, num_threads=3),
    "layer": _layer(X),
    "layer, options": _layer(X, OTHER, num_threads=2, return_weights=True, key_lengths=[30, 9]),
    "layer, half": lambda: HALF_LAYER(X, window=3),
    "layer, from torch": lambda: selfattn.MultiHeadAttention.from_torch(
        STATE, num_heads=4
    ).state_dict(),
    "stats": _stats(Q, K, V, stats=ALL_STATS, top_k=3),
    "stats, rows": _stats(Q, K, rows=[1, 7], received_rows=slice(3, 9)),
    "stats, columns": _stats(Q, K, column_weights=np.ones((20, 2)), stats=(), top_k=60),
    "stats, half": _stats(*(x.astype(np.float16) for x in (Q, K, V)), top_k=1),
    "stats, threads": _stats(LONG_HEADS, LONG_HEADS, causal=True, num_threads=3),
    "stats, progress": _stats(Q, K, V, progress=lambda fraction: None),
    "to_dense": lambda: selfattn.attention_stats(Q, K, top_k=2).to_dense(rows=[3]),
    "rollout": lambda: selfattn.rollout([(K[:, :, :9], K[:, :, :9])] * 2, causal=True),
}  # fmt: skip

# What NumPy computes in part, by functions that do not survive refused objects.
NUMPY_CALLS: dict[str, Callable[[], Any]] = {
    "stats, heads": _stats(
        K, K, causal=True, overview=8,
        head_scores=("previous", ("window", 3), ("induction", TOKENS)),
    ),
}  # fmt: skip

LAYER_ERRORS: dict[str, tuple[type[Exception], Callable[[], Any]]] = {
    "self_attention, width": (ValueError, _attend(X, W[0][:3], *W[1:])),
    "self_attention, heads": (ValueError, _attend(X, *W, num_heads=3)),
    "self_attention, type": (TypeError, _attend(X.astype(complex), *W)),
    "self_attention, out": (TypeError, _attend(X, *W, num_heads=2, out=LAYER_OUT.astype(">f4"))),
    "layer, width": (ValueError, _layer(X[..., :3])),
    "layer, mask": (TypeError, _layer(X, mask=np.ones((20, 20), np.int8))),
    "stats, name": (ValueError, _stats(Q, K, stats=("sharpness",))),
    "stats, shape": (ValueError, _stats(Q, K[..., :3])),
    "stats, rows": (ValueError, _stats(Q, K, rows=[20])),
    "stats, progress": (KeyError, _stats(LONG_HEADS, LONG_HEADS, progress=_interrupt)),
    "rollout, layers": (ValueError, lambda: selfattn.rollout([])),
}  # fmt: skip

LAYER_WATCHED = {
    "X": X, "W": W[0], "B": B, "LAYER_OUT": LAYER_OUT, "STATE": STATE, "LAYER": LAYER, "KEYS": K,
    "LONG_HEADS": LONG_HEADS, "int64": np.dtype(np.int64),
}  # fmt: skip
