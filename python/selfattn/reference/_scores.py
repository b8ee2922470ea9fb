"""One head's scores, and which keys each of its queries sees.

    s = scale * (q . k)  ->  softcap * tanh(s / softcap)  ->  + bias  ->  + ALiBi  ->  + float mask

Sources: soft capping, Gemma 2 (arXiv:2408.00118); ALiBi (arXiv:2108.12409). Query i stands at
position p = i + query_offset among the keys.

`at` names a query head: an index into the batch axes, then the head.
"""

from __future__ import annotations

import numpy as np

from ._problem import Array, Problem


def scores(problem: Problem, at: tuple[int, ...]) -> Array:
    """[n_q, n_k] scores of all keys, hidden ones included."""
    compute = problem.compute
    q = problem.query[at].astype(compute)  # [n_q, d]
    k = problem.key[kv_head(problem, at)].astype(compute)  # [n_k, d]

    s: Array = problem.scale * (q @ k.T)
    if problem.softcap is not None:
        s = problem.softcap * np.tanh(s / problem.softcap)
    if problem.bias is not None:
        s += problem.bias[at].astype(compute)
    if problem.alibi_slopes is not None:
        slope = problem.alibi_slopes[at[-1]].astype(compute)
        s -= slope * np.abs(_distance(problem, at)).astype(compute)
    if problem.mask is not None and problem.mask.dtype != bool:
        s += problem.mask[at].astype(compute)
    return s


def visible(problem: Problem, at: tuple[int, ...]) -> Array:
    """[n_q, n_k] bool: does this query see this key?"""
    seen = np.ones(problem.weights_shape[-2:], bool)
    if problem.mask is not None:
        mask = problem.mask[at]
        seen &= mask if mask.dtype == bool else mask.astype(problem.compute) != -np.inf
    if problem.key_lengths is not None:
        seen &= np.arange(seen.shape[1]) < problem.key_lengths[at[:-1]]

    left, right = problem.window
    if problem.causal or left is not None or right is not None:
        ahead = _distance(problem, at)
        if problem.causal:
            seen &= ahead <= 0
        if left is not None:
            seen &= -ahead <= left
        if right is not None:
            seen &= ahead <= right
    return seen


def kv_head(problem: Problem, at: tuple[int, ...]) -> tuple[int, ...]:
    """Where the key head lies that a query head reads (grouped-query attention)."""
    return (*at[:-1], at[-1] // problem.kv_group)


def _distance(problem: Problem, at: tuple[int, ...]) -> Array:
    """[n_q, n_k] j - p: how far key j lies ahead of the query's position p."""
    n_q, n_k = problem.weights_shape[-2:]
    offset = 0 if problem.query_offset is None else int(problem.query_offset[at[:-1]])
    far = 2**62  # beyond any key, and its distance from one still fits into 64 bits
    positions = np.arange(n_q) + max(-far, min(far, offset))
    distance: Array = np.arange(n_k) - positions[:, np.newaxis]
    return distance
