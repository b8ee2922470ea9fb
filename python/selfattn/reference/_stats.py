"""Statistics of attention's weights, from the weights themselves."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from .._head_scores import check_head_scores
from .._overview import Overview
from .._stats_result import AttentionStats, check_names, query_window, row_numbers
from ._attention import _one_head
from ._check import _integer, as_array, check_attention, check_num_threads
from ._head_scores import head_scores as mean_scores
from ._overview import overview_of
from ._problem import Array, Problem
from ._scores import visible

FIELDS = (
    "output", "lse", "top_weights", "top_indices", "top_rest", "entropy", "max", "argmax",
    "distance", "received", "weighted", "rows", "head_scores", "overview",
)  # fmt: skip


def attention_stats(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike | None = None,
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
    top_k: int = 0,
    stats: Sequence[str] = ("entropy", "max", "received", "distance"),
    rows: ArrayLike | slice | None = None,
    received_rows: slice | None = None,
    column_weights: ArrayLike | None = None,
    head_scores: Sequence[str | tuple[str, Any]] = (),
    overview: int = 0,
    progress: Any = False,
    num_threads: int | None = None,
) -> AttentionStats:
    """Compute what `selfattn.attention_stats` computes, in plain NumPy.

    Parameters
    ----------
    query, key, value, mask, bias, causal, window, query_offset, scale, softcap : optional
        As for `attention`; without a value there is no output.
    alibi_slopes, sinks, key_lengths : optional
        As for `attention`.
    top_k : int
        How many of the largest weights of each query to keep.
    stats : sequence of str
        Some of "entropy", "max", "received" and "distance".
    rows : array_like of int or slice, optional
        Queries whose weights are returned whole.
    received_rows : slice, optional
        The queries that count for `received`.
    column_weights : array_like, optional
        ``(Nq,)`` or ``(..., Nq, C)``, multiplied with the transposed weights.
    head_scores : sequence of str or (str, argument)
        Kinds of keys.
    overview : int
        The side of the overview; 0: none.
    progress, num_threads : optional
        Ignored.

    Returns
    -------
    AttentionStats
        Arrays by name.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If its shape or value does not fit.

    Notes
    -----
    All weights are there at once.

    Examples
    --------
    >>> import numpy as np
    >>> from selfattn import reference
    >>> found = reference.attention_stats(np.zeros((3, 2)), np.zeros((3, 2)), causal=True)
    >>> np.exp(found.entropy).round(2)
    array([1., 2., 3.])
    """
    names = check_names(stats)
    values = as_array("key", key)[..., :0] if value is None else value
    problem = check_attention(
        query, key, values, mask, bias=bias, causal=causal, window=window,
        query_offset=query_offset, scale=scale, softcap=softcap, alibi_slopes=alibi_slopes,
        sinks=sinks, key_lengths=key_lengths,
    )  # fmt: skip
    check_num_threads(num_threads)
    n_q, n_k = problem.weights_shape[-2:]
    begin, end = query_window(received_rows, n_q, names)
    for name, count in (("top_k", top_k), ("overview", overview)):
        if not 0 <= _integer(name, count) <= sys.maxsize:
            raise ValueError(f"{name} is {count}: expected 0 ... {sys.maxsize}")
    numbers = None if rows is None else row_numbers(rows, n_q)
    scores = check_head_scores(head_scores, problem.batch_shape, n_k)
    with np.errstate(all="ignore"):
        output, weights, lse, seen = _all_weights(problem)
        shares, seen = _shares(problem, weights, seen)
        found: dict[str, Any] = _of_rows(problem, weights, shares, names)
        found |= _largest(weights, shares, seen, top_k) if top_k else {}
    if "received" in names:
        found["received"] = weights[..., begin:end, :].sum(axis=-2)
    if column_weights is not None:
        columns = np.asarray(column_weights).astype(problem.compute)
        found["weighted"] = np.swapaxes(weights, -1, -2) @ columns
    found["output"] = None if value is None else output.astype(problem.dtype)
    found["lse"] = lse
    found["rows"] = None if numbers is None else weights[..., numbers, :]
    found |= mean_scores(problem, weights, scores)
    if overview:
        found["overview_max"], found["overview_mean"] = overview_of(weights, overview)
    if problem.is_2d:
        found = {name: None if x is None else x[0] for name, x in found.items()}
        weights = weights[0]
    return _result(found, weights, [score.name for score in scores])


def _result(found: dict[str, Any], weights: Array, score_names: list[str]) -> AttentionStats:
    if "overview_max" in found:
        found["overview"] = Overview(found["overview_max"], found["overview_mean"])
    found["head_scores"] = {name: found[name] for name in score_names} or None
    arrays: dict[str, Any] = {name: found.get(name) for name in FIELDS}

    def recompute(chosen: Any) -> Array:
        return weights[..., chosen, :]

    return AttentionStats(**arrays, recompute=recompute, n_k=weights.shape[-1])


def _all_weights(problem: Problem) -> tuple[Array, Array, Array, Array]:
    """Output, weights, lse, and which keys a row sees that sees any score above -inf."""
    heads = problem.query.shape[:-1]
    output = np.empty((*heads, problem.value.shape[-1]), problem.compute)
    weights = np.empty(problem.weights_shape, problem.compute)
    lse = np.empty(heads, problem.compute)
    seen = np.empty(problem.weights_shape, bool)
    for at in np.ndindex(*heads[:-1]):
        output[at], weights[at], lse[at] = _one_head(problem, at)
        seen[at] = visible(problem, at) & (weights[at].sum(axis=-1, keepdims=True) > 0)
    return output, weights, lse, seen


def _shares(problem: Problem, weights: Array, seen: Array) -> tuple[Array, Array]:
    """The weights without sinks, and the keys that are seen by them."""
    if problem.sinks is None:
        return weights, seen
    _, shares, _, seen = _all_weights(replace(problem, sinks=None))
    return shares, seen


def _of_rows(
    problem: Problem, weights: Array, shares: Array, names: frozenset[str]
) -> dict[str, Array]:
    """Entropy, largest weight and mean distance of each query.

    `shares` are the weights without sinks: beside a large sink weights differ less than scores do,
    down to where all are 0, and yet one key has the largest score.
    """
    found = {}
    blind = shares.sum(axis=-1) == 0
    if "entropy" in names:
        # w ln w -> 0 as w -> 0; NaN stays
        found["entropy"] = -np.where(weights == 0, 0, weights * np.log(weights)).sum(axis=-1)
    if "max" in names:
        found["max"] = weights.max(axis=-1, initial=0)
        empty = not weights.shape[-1]
        first = np.zeros(blind.shape, np.int64) if empty else shares.argmax(axis=-1)
        found["argmax"] = np.where(blind | np.isnan(found["max"]), -1, first)
    if "distance" in names:
        n_q, n_k = weights.shape[-2:]
        zero = np.zeros(problem.batch_shape, np.int64)
        offset = zero if problem.query_offset is None else problem.query_offset
        positions = np.arange(n_q) + offset[..., np.newaxis, np.newaxis]
        away = np.abs(positions[..., np.newaxis] - np.arange(n_k))
        found["distance"] = (weights * away).sum(axis=-1).astype(weights.dtype)
    return found


def _largest(weights: Array, shares: Array, seen: Array, top_k: int) -> dict[str, Array]:
    """The top_k largest weights of keys that are seen, the lowest index first among equal ones.

    Which keys are kept is what `shares` say, so that large sinks change only the weights.
    """
    chosen = np.argsort(-np.where(seen, shares, -1), axis=-1, kind="stable")[..., :top_k]
    lost = np.isnan(weights.sum(axis=-1, keepdims=True))
    kept = np.take_along_axis(np.where(seen, weights, -1), chosen, axis=-1)
    place = np.lexsort((chosen, -kept), axis=-1)
    order = np.take_along_axis(chosen, place, axis=-1)
    kept = np.take_along_axis(kept, place, axis=-1)
    order = np.where((kept < 0) | lost, -1, order)
    kept = np.where(lost, np.nan, np.maximum(kept, 0))
    free = [(0, 0)] * (order.ndim - 1) + [(0, top_k - order.shape[-1])]
    kept = np.pad(kept, free)
    rest = np.maximum(weights.sum(axis=-1) - kept.sum(axis=-1), 0)
    return {
        "top_weights": np.where(lost, np.nan, kept).astype(weights.dtype),
        "top_indices": np.pad(order, free, constant_values=-1).astype(np.int64),
        "top_rest": rest.astype(weights.dtype),
    }
