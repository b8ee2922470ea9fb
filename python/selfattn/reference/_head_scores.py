"""Head scores from whole weights: each kind of keys is a matrix of True and False."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._head_scores import HeadScore
from ._problem import Array, Problem

__all__ = ["head_scores"]


def head_scores(
    problem: Problem, weights: Array, scores: Sequence[HeadScore]
) -> dict[str, NDArray[Any]]:
    """The mean weight of queries on their keys of a kind, over the queries that have any.

    Parameters
    ----------
    problem : Problem
        The call; its offsets and lengths count.
    weights : ndarray
        ``(batch..., Hq, Nq, Nk)``.
    scores : sequence of HeadScore
        Kinds of keys.

    Returns
    -------
    dict of str to ndarray
        ``(batch..., Hq)`` by name, in the type of the weights.
    """
    found = {score.name: np.zeros(weights.shape[:-2], weights.dtype) for score in scores}
    for score in scores:
        for entry, at in enumerate(np.ndindex(*problem.batch_shape)):
            pattern = _pattern(problem, score, at, entry)
            has_key = pattern.any(axis=-1)
            if has_key.any():
                on_keys = np.where(pattern, weights[at], 0).sum(axis=-1)
                found[score.name][at] = on_keys[:, has_key].mean(axis=-1)
    return found


def _pattern(problem: Problem, score: HeadScore, at: tuple[int, ...], entry: int) -> Array:
    """``(n_q, n_k)``: whether a key belongs to a query's."""
    n_q, n_k = problem.weights_shape[-2:]
    offset = 0 if problem.query_offset is None else int(problem.query_offset[at])
    length = n_k if problem.key_lengths is None else int(problem.key_lengths[at])
    p, j = np.arange(n_q)[:, np.newaxis] + offset, np.arange(n_k)
    tokens = None if score.tokens is None else score.tokens[entry]
    real = j < length
    pattern: Array = np.zeros((n_q, n_k), bool)
    match score.name:
        case "previous":
            pattern = j == p - 1
        case "first":
            pattern = j == 0
        case "diagonal":
            pattern = j == p
        case "window":
            pattern = (p + score.first <= j) & (j <= p + score.last)
        case "duplicate":
            pattern = _same(tokens, p) & (j < p)
        case "induction":  # the key behind an earlier one of the same token
            same = _same(tokens, p) & (j < p)
            pattern[:, 1:] = same[:, :-1]
    return np.broadcast_to(pattern & real, (n_q, n_k))


def _same(tokens: Array | None, p: Array) -> Array:
    """``(n_q, n_k)``: whether a key's token is that at the query's position."""
    assert tokens is not None
    n_k = len(tokens)
    mine = np.array([tokens[i] if 0 <= i < n_k else -1 for i in p[:, 0]], np.int64)
    return np.equal(mine[:, np.newaxis], tokens)
