"""Attention in NumPy, one head at a time.

    out[i] = sum_j p[i, j] * value[j],   p[i] = softmax(scores[i])   over the keys that i sees

Legend: n_q queries, n_k keys, d and d_v head sizes; S scores, P weights, as in "Attention Is All
You Need" (arXiv:1706.03762).
"""

from __future__ import annotations

from itertools import compress
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from ._check import check_attention, check_num_threads, check_returns
from ._outputs import check_outputs
from ._problem import Array, Problem
from ._scores import kv_head, scores, visible


def attention(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    bias: ArrayLike | None = None,
    causal: bool | Literal["upper_left", "lower_right"] = False,
    window: int | tuple[int | None, int | None] | None = None,
    query_offset: ArrayLike | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    alibi_slopes: ArrayLike | None = None,
    sinks: ArrayLike | None = None,
    key_lengths: ArrayLike | None = None,
    return_weights: bool | Literal["mean"] = False,
    return_lse: bool = False,
    out: Array | tuple[Array | None, ...] | None = None,
    num_threads: int | None = None,
) -> Any:
    """Compute what `selfattn.attention` computes, in plain NumPy.

    Parameters
    ----------
    query, key, value : array_like
        ``(..., Hq, Nq, D)``, ``(..., Hkv, Nk, D)`` and ``(..., Hkv, Nk, Dv)``, or all 2-D. The
        leading axes broadcast; query head h reads key head ``h // (Hq // Hkv)``.
    mask : array_like, optional
        bool (True = may look) or float (added; -inf hides), broadcasts to ``(..., Hq, Nq, Nk)``.
    bias : array_like, optional
        float, broadcasts as `mask` does, added to the scores before ALiBi and a float mask.
    causal : {False, True, "upper_left", "lower_right"}
        Hide the keys after a query's position. "lower_right": the queries are the last ones.
    window : int or (int or None, int or None), optional
        How many keys before and after its position a query sees; None = open.
    query_offset : int or array_like of int, optional
        Position of query 0 among the keys, broadcasts to the batch shape.
    scale : float, optional
        Factor of the scores, ``1 / sqrt(D)`` if not given.
    softcap : float, optional
        Scores become ``softcap * tanh(scores / softcap)``.
    alibi_slopes : array_like, optional
        ``(Hq,)``, adds ``-slope * abs(p - j)`` to the score of key j at position p.
    sinks : array_like, optional
        ``(Hq,)``, one more logit per head that joins the softmax and has no value.
    key_lengths : int or array_like of int, optional
        Keys from there on are padding; broadcasts to the batch shape.
    return_weights : bool or "mean"
        Return the weights too, per head or averaged over the heads.
    return_lse : bool
        Return the natural logarithm of each softmax's denominator too.
    out : ndarray or tuple of (ndarray or None), optional
        Where to write the results, in the order in which they are returned.
    num_threads : int, optional
        Checked and ignored.

    Returns
    -------
    ndarray or tuple of ndarray
        `out` ``(..., Hq, Nq, Dv)``, or a tuple of it, the weights ``(..., Hq, Nq, Nk)`` and the
        lse ``(..., Hq, Nq)``, as far as asked for.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If its shape or value does not fit.

    Notes
    -----
    The arithmetic runs in the type of the arguments (float16 and bfloat16 in float32); hand in
    float64 arrays to get an oracle. A row that sees no key gives 0, weights 0 and lse -inf.

    Examples
    --------
    >>> import numpy as np
    >>> from selfattn import reference
    >>> x = np.eye(3)
    >>> out, weights = reference.attention(x, x, x, causal=True, return_weights=True)
    >>> weights.round(2)
    array([[1.  , 0.  , 0.  ],
           [0.36, 0.64, 0.  ],
           [0.26, 0.26, 0.47]])
    """
    problem = check_attention(
        query,
        key,
        value,
        mask,
        bias=bias,
        causal=causal,
        window=window,
        query_offset=query_offset,
        scale=scale,
        softcap=softcap,
        alibi_slopes=alibi_slopes,
        sinks=sinks,
        key_lengths=key_lengths,
    )
    check_returns(problem, return_weights, return_lse)
    check_num_threads(num_threads)
    targets = check_outputs(problem, out, return_weights, return_lse)

    with np.errstate(all="ignore"):
        results = _all_heads(problem, return_weights)
        # The results lie in arrays of their own, so `out` may overlap the inputs.
        wanted = (True, bool(return_weights), bool(return_lse))
        for target, result in zip(targets, compress(results, wanted), strict=True):
            target[...] = result.reshape(target.shape)
    return targets[0] if len(targets) == 1 else tuple(targets)


def _all_heads(problem: Problem, return_weights: bool | str) -> tuple[Array, Array, Array]:
    """Output, weights (per head or their mean; empty if not wanted) and lse of every head."""
    compute = problem.compute
    n_heads = problem.query.shape[-3]
    out = np.empty((*problem.query.shape[:-1], problem.value.shape[-1]), compute)
    lse = np.empty(problem.query.shape[:-1], compute)
    weights = np.zeros(0, compute)
    if return_weights == "mean":
        weights = np.zeros((*problem.batch_shape, *problem.weights_shape[-2:]), compute)
    elif return_weights:
        weights = np.empty(problem.weights_shape, compute)

    for at in np.ndindex(*problem.query.shape[:-2]):  # batch axes, then the head
        out[at], p, lse[at] = _one_head(problem, at)
        if return_weights == "mean":
            weights[at[:-1]] += p / n_heads
        elif return_weights:
            weights[at] = p
    return out, weights, lse


def _one_head(problem: Problem, at: tuple[int, ...]) -> tuple[Array, Array, Array]:
    """Output [n_q, d_v], weights [n_q, n_k] and log-sum-exp [n_q] of one query head."""
    seen = visible(problem, at)
    s = np.where(seen, scores(problem, at), -np.inf)
    seen &= s.max(axis=1, initial=-np.inf, keepdims=True) != -np.inf
    sink = -np.inf if problem.sinks is None else problem.sinks[at[-1]]

    p, lse = _softmax(s, problem.compute.type(sink))
    p = np.where(seen, p, 0)
    v = problem.value[kv_head(problem, at)].astype(problem.compute)
    return _sum_of_values(p, seen, v), p, lse


def _softmax(s: Array, sink: Any) -> tuple[Array, Array]:
    """Weights and log-sum-exp of each row of scores [n_q, n_k] and one sink logit.

    The largest score is subtracted first, so that exp cannot overflow. A row of nothing but -inf
    has weights 0 and log-sum-exp -inf.
    """
    m = s.max(axis=1, initial=sink, keepdims=True)
    m = np.where(m == -np.inf, 0, m)
    p = np.exp(s - m)
    total = p.sum(axis=1, keepdims=True) + np.exp(sink - m)
    p /= np.where(total == 0, 1, total)
    return p, (m + np.log(total))[:, 0]


def _sum_of_values(p: Array, seen: Array, v: Array) -> Array:
    """[n_q, d_v] p @ v, to which a hidden key adds nothing, not even 0 * NaN."""
    if np.isfinite(v).all():
        return p @ v
    rows = [row[keys] @ v[keys] for row, keys in zip(p, seen, strict=True)]
    return np.array(rows, v.dtype).reshape(len(p), v.shape[1])
