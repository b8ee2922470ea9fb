"""Head scores: how much of a head's weight lies on keys of one kind, as interval or chain of keys.

What C adds up for each query is `set_weights`; `mean_scores` takes the mean over queries.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["HeadScore", "Positions", "check_head_scores", "key_sets", "mean_scores"]

Array = NDArray[Any]
Indices = NDArray[np.int64]

AT, NEAR, OF_TOKEN = range(3)  # sa_key_set_kind
_OPEN = 2**60
_PLAIN = {"previous": (NEAR, -1, -1), "first": (AT, 0, 0), "diagonal": (NEAR, 0, 0)}
_SHIFT = {"duplicate": 0, "induction": 1}
NAMES = (*_PLAIN, "window", *_SHIFT)


@dataclass(frozen=True)
class HeadScore:
    """Keys ``first ... last``, counted from key 0 or from the query, or keys of a token."""

    name: str
    kind: int
    first: int
    last: int
    tokens: Indices | None
    """Of `OF_TOKEN`: ``(batch, n_k)``, equal numbers for equal tokens."""


@dataclass(frozen=True)
class Positions:
    """Where queries stand among the keys, by batch entry."""

    of_query: Indices
    """``(batch, n_q)``"""
    n_keys: Indices
    """``(batch,)``, the keys that are no padding."""


def check_head_scores(wanted: Any, batch_shape: tuple[int, ...], n_k: int) -> list[HeadScore]:
    """The argument head_scores: names, or pairs of a name and what it needs.

    Raises
    ------
    TypeError
        If it is no sequence of those, or a width or tokens are of the wrong kind.
    ValueError
        If a name is unknown or comes twice, or lacks what it needs.
    """
    if isinstance(wanted, str) or not isinstance(wanted, Sequence):
        raise TypeError(
            f"head_scores is {wanted!r}: expected a sequence of names or pairs, such as "
            '("previous", ("window", 8), ("induction", tokens))'
        )
    scores: list[HeadScore] = []
    for item in wanted:
        name, argument = (item, None) if isinstance(item, str) else _pair(item)
        if name not in NAMES:
            raise ValueError(f"head_scores has {name!r}: expected some of {', '.join(NAMES)}")
        if any(name == other.name for other in scores):
            raise ValueError(f"head_scores has {name} twice: expected each name once")
        scores.append(_score(name, argument, batch_shape, n_k))
    return scores


def _pair(item: Any) -> tuple[str, Any]:
    if not isinstance(item, tuple) or len(item) != 2 or not isinstance(item[0], str):
        raise TypeError(f"head_scores has {item!r}: expected a name or a pair (name, argument)")
    return item


def _score(name: str, argument: Any, batch_shape: tuple[int, ...], n_k: int) -> HeadScore:
    if name in _PLAIN:
        if argument is not None:
            raise ValueError(f"head_scores has an argument for {name}, which needs none")
        kind, first, last = _PLAIN[name]
        return HeadScore(name, kind, first, last, None)
    if argument is None:
        needs = '("window", 8)' if name == "window" else f'("{name}", tokens)'
        raise ValueError(f"head_scores has {name} alone: expected a pair, {needs}")
    if name == "window":
        left, right = _window(argument)
        return HeadScore(name, NEAR, -left, right, None)
    shift = _SHIFT[name]
    return HeadScore(name, OF_TOKEN, shift, shift, _tokens(name, argument, batch_shape, n_k))


def _window(argument: Any) -> tuple[int, int]:
    sides = argument if isinstance(argument, tuple) else (argument, argument)
    if len(sides) != 2 or not all(
        side is None or (hasattr(type(side), "__index__") and not isinstance(side, bool))
        for side in sides
    ):
        raise TypeError(
            f"window of head_scores is {argument!r}: expected an int or (left, right), "
            "each an int or None"
        )
    left, right = (_OPEN if side is None else operator.index(side) for side in sides)
    if left < 0 or right < 0:
        raise ValueError(f"window of head_scores is {argument!r}: expected 0 or more keys a side")
    return min(left, _OPEN), min(right, _OPEN)


def _tokens(name: str, argument: Any, batch_shape: tuple[int, ...], n_k: int) -> Indices:
    tokens = np.asarray(argument)
    if tokens.dtype.kind not in "iuUST":
        raise TypeError(f"tokens of {name} are {tokens.dtype}: expected integers or strings")
    try:
        if tokens.shape[-1:] != (n_k,):
            raise ValueError
        tokens = np.broadcast_to(tokens, (*batch_shape, n_k))
    except ValueError:
        raise ValueError(
            f"tokens of {name} have shape {tokens.shape}: expected one token a key, ({n_k},), or "
            f"{(*batch_shape, n_k)}"
        ) from None
    numbers = np.unique(tokens, return_inverse=True)[1]
    return numbers.reshape(int(np.prod(batch_shape)), n_k).astype(np.int64)


def key_sets(scores: Sequence[HeadScore]) -> tuple[Indices, Indices | None]:
    """Sets ``(n, 3)`` and chains ``(sets of a token, 2, batch, n_k)``, as C reads them."""
    sets = np.array([(x.kind, x.first, x.last) for x in scores], np.int64).reshape(-1, 3)
    chains = [_chains(x.tokens) for x in scores if x.tokens is not None]
    return sets, np.stack(chains) if chains else None


def _chains(tokens: Indices) -> Indices:
    """``(2, batch, n_k)``: the first key of each key's token, and the next one or n_k."""
    n_k = tokens.shape[1]
    chains = np.full((2, *tokens.shape), n_k, np.int64)
    for row, (first, following) in zip(tokens, chains.swapaxes(0, 1), strict=True):
        _, starts, number = np.unique(row, return_index=True, return_inverse=True)
        first[:] = starts[number]
        order = np.argsort(row, kind="stable")
        same = row[order[1:]] == row[order[:-1]]
        following[order[:-1][same]] = order[1:][same]
    return chains


def mean_scores(
    scores: Sequence[HeadScore],
    set_weights: Array,
    chains: Indices | None,
    positions: Positions,
    batch_shape: tuple[int, ...],
) -> dict[str, Array]:
    """Means over the queries that have a key of the set; 0 if none has.

    Parameters
    ----------
    scores : sequence of HeadScore
        What was asked for.
    set_weights : ndarray
        ``(*batch_shape, Hq, n_q, n)`` or ``(n_q, n)``: each query's weight on the keys of each set.
    chains : ndarray or None
        As `key_sets` gives them.
    positions : Positions
        Of the queries.
    batch_shape : tuple of int
        The batch axes.

    Returns
    -------
    dict of str to ndarray
        ``(*batch_shape, Hq)`` or ``()`` by name, in the type of `set_weights`.
    """
    means = {}
    heads = (1,) * (set_weights.ndim - 2 - len(batch_shape))
    number_of_chain = 0
    for at, score in enumerate(scores):
        first_same = None
        if score.kind == OF_TOKEN and chains is not None:
            first_same = chains[number_of_chain, 0]
            number_of_chain += 1
        has_key = _has_key(score, first_same, positions)
        counted = has_key.reshape(*batch_shape, *heads, has_key.shape[-1])
        sums = np.where(counted, set_weights[..., at], 0).sum(axis=-1, dtype=np.float64)
        counts = np.maximum(counted.sum(axis=-1), 1)
        means[score.name] = np.asarray(sums / counts).astype(set_weights.dtype)
    return means


def _has_key(score: HeadScore, first_same: Indices | None, positions: Positions) -> Array:
    """``(batch, n_q)``: whether a query's set has any key that is no padding."""
    p, n_keys = positions.of_query, positions.n_keys[:, np.newaxis]
    if score.kind == AT:
        return np.broadcast_to(score.first < n_keys, p.shape)
    if first_same is None:
        return (p + score.last >= 0) & (p + score.first < n_keys) & (n_keys > 0)
    n_k = first_same.shape[1]
    if not n_k:
        return np.zeros(p.shape, bool)
    first = np.take_along_axis(first_same, np.clip(p, 0, n_k - 1), axis=1)
    has_key: Array = (p >= 0) & (p < n_k) & (first < p) & (first + score.first < n_keys)
    return has_key
