"""NumPy as a peer: attention as a good NumPy user writes it.

Everything in place and in one type, `np.matmul` for both products, the scale on Q and the
division on the output where these are smaller than the scores, the heads of a group folded into
the rows so that no key is copied.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._bench_cases import Gemm
from ._bench_layer import LayerProblem, numpy_layer
from ._bench_libraries import Contender
from ._bench_problem import Problem

__all__ = ["Numpy"]

_Array = NDArray[Any]


def exp_scores(
    q: _Array,
    k: _Array,
    scale: float,
    mask: _Array | None,
    cap: float | None,
    out: _Array | None = None,
) -> _Array:
    """``exp(score - row maximum)``, ``(batch, kv_heads, group * n_q, n_k)``."""
    scores: _Array = np.matmul(q * q.dtype.type(scale), k.swapaxes(-1, -2), out=out)
    if cap is not None:
        scores /= cap
        np.tanh(scores, out=scores)
        scores *= cap
    if mask is not None:
        by_query = scores.reshape(scores.shape[0], -1, *mask.shape[-2:])
        by_query += mask
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    return scores


def attend(
    q: _Array,
    k: _Array,
    v: _Array,
    scale: float,
    mask: _Array | None = None,
    cap: float | None = None,
) -> _Array:
    """The output alone: divided last."""
    p = exp_scores(q, k, scale, mask, cap)
    out: _Array = np.matmul(p, v)
    out /= p.sum(axis=-1, keepdims=True)
    return out


def attend_in_float32(q: _Array, k: _Array, v: _Array, scale: float) -> _Array:
    """Half types: NumPy's own arithmetic on them is far slower than converting."""
    f32 = np.float32
    return attend(q.astype(f32), k.astype(f32), v.astype(f32), scale).astype(q.dtype)


def attend_with_weights(
    q: _Array, k: _Array, v: _Array, scale: float, o: _Array | None = None, w: _Array | None = None
) -> tuple[_Array, _Array]:
    """Output and weights, optionally into given arrays."""
    weights = exp_scores(q, k, scale, None, None, out=w)
    weights /= weights.sum(axis=-1, keepdims=True)
    return np.matmul(weights, v, out=o), weights


class Numpy:
    """NumPy with the BLAS it was built with; the number of threads comes from the environment."""

    def __init__(self, threads: int) -> None:
        pass

    def version(self) -> str:
        """The version and its BLAS."""
        config: Any = np.show_config(mode="dicts")
        blas = config["Build Dependencies"]["blas"]
        return f"{np.__version__} ({blas['name']} {blas['version']})"

    def attend(self, problem: Problem) -> list[Contender]:
        """One way, and for weights a second one into given arrays."""
        case = problem.case
        half = problem.dtype.itemsize == 2
        problem.require_dense(4 if half else problem.dtype.itemsize)
        mask_type = np.float32 if half else problem.dtype
        names: dict[str, Any] = {
            "attend": attend_in_float32 if half else attend,
            "attend_with_weights": attend_with_weights,
            "q": problem.folded_query,
            "k": problem.peer_key,
            "v": problem.peer_value,
            "scale": problem.scale,
            "mask": problem.additive_mask(mask_type),
            "cap": case.softcap,
        }
        if not case.weights:
            call = "attend(q, k, v, scale" + (")" if half else ", mask, cap)")
            shape = problem.query.shape
            return [Contender("matmul", call, names, lambda out: (out.reshape(shape),))]
        names["o"], names["w"] = problem.results
        fresh = "attend_with_weights(q, k, v, scale)"
        reused = "attend_with_weights(q, k, v, scale, o, w)"
        return [
            Contender("matmul", fresh, names, tuple),
            Contender("matmul, out=", reused, names, tuple, problem.results),
        ]

    def apply_layer(self, problem: LayerProblem) -> list[Contender]:
        """Products and attention as above."""
        return numpy_layer(problem)

    def multiply(self, case: Gemm) -> list[Contender]:
        """`np.matmul` into a given array."""
        rng = np.random.default_rng(0)
        a, b = (rng.standard_normal((case.n, case.n), dtype=np.float32) for _ in "ab")
        names = {"np": np, "a": a, "b": b, "c": np.empty_like(a)}
        return [Contender("np.matmul", "np.matmul(a, b, out=c)", names, lambda out: (out,))]
