"""A map of which all weights are there: every cell stored, in a byte or in four."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._overview import block_size, coarsen_max
from ._codes import quantise_rows
from ._map import THUMBNAIL, Map, facts_of, index_type, thumbnail_of

__all__ = ["TOP", "encode_dense"]

Array = NDArray[Any]

TOP = 8
_CELLS_AT_ONCE = 1 << 20


def encode_dense(weights: Array, where: str, query_offset: int | None, exact: bool) -> Map:
    """Store one map of weights.

    Parameters
    ----------
    weights : ndarray
        ``(n_q, n_k)``, any float type, at least one cell.
    where : str
        What an error calls the map.
    query_offset : int or None
        Query i stands at position i + query_offset among the keys; None: at none, and there is no
        distance.
    exact : bool
        Store float32 instead of bytes of each row's maximum.

    Raises
    ------
    ValueError
        If a weight is negative, NaN or beyond float32.
    """
    n_q, n_k = weights.shape
    rows = _empty_rows(n_q, n_k, query_offset is not None, exact)
    cells = np.zeros((n_q, n_k), np.float32 if exact else np.uint8)
    received = np.zeros(n_k, np.float64)
    strips = []
    step = max(1, _CELLS_AT_ONCE // n_k)
    for begin in range(0, n_q, step):
        part = slice(begin, min(begin + step, n_q))
        block = _checked(weights[part], where, begin)
        received += block.sum(axis=0)
        rows["max"][part] = block.max(axis=1)
        rows["entropy"][part] = _entropy(block)
        if query_offset is not None:
            positions = np.arange(part.start, part.stop)[:, None] + query_offset
            rows["distance"][part] = (block * np.abs(positions - np.arange(n_k))).sum(axis=1)
        if exact:
            cells[part] = block
        else:
            cells[part] = quantise_rows(block, rows["max"][part])
            rows["top_indices"][part], rows["top_weights"][part] = _top(block)
        strips.append(coarsen_max(block, THUMBNAIL, axes=(1,)))
    rows["received"] = received.astype(np.float32)
    thumbnail = thumbnail_of(np.concatenate(strips), (1, block_size(n_k, THUMBNAIL)))
    kind, scale = "floats" if exact else "bytes", float(rows["max"].max())
    return Map(kind, scale, thumbnail, facts_of(rows), rows, cells)


def _empty_rows(n_q: int, n_k: int, placed: bool, exact: bool) -> dict[str, Array]:
    names = ["max", "entropy", *(["distance"] if placed else [])]
    rows: dict[str, Array] = {name: np.zeros(n_q, np.float32) for name in names}
    if not exact:
        rows["top_indices"] = np.zeros((n_q, min(TOP, n_k)), index_type(n_k))
        rows["top_weights"] = np.zeros((n_q, min(TOP, n_k)), np.float32)
    return rows


def _checked(rows: Array, where: str, begin: int) -> NDArray[np.float64]:
    """Some rows in float64, once all of them are known to be weights."""
    block = rows.astype(np.float64)
    good = (block >= 0) & (block <= np.finfo(np.float32).max)
    if not good.all():
        i, j = (axis[0] for axis in np.nonzero(~good))
        raise ValueError(
            f"{where} is {block[i, j]} for query {begin + i}, key {j}: expected attention weights, "
            "at least 0 and finite (scores go through a softmax first)"
        )
    return block


def _entropy(block: NDArray[np.float64]) -> NDArray[np.float64]:
    """-sum p ln p of each row, in nats; 0 ln 0 = 0."""
    logs = np.log(np.where(block > 0, block, 1))
    result: NDArray[np.float64] = -np.einsum("ij,ij->i", block, logs)
    return result


def _top(block: NDArray[np.float64]) -> tuple[Array, Array]:
    """Indices and weights of each row's largest cells, largest first; of equals the lowest."""
    n_k = block.shape[1]
    kept = min(TOP, n_k)
    indices = np.sort(np.argpartition(block, n_k - kept, axis=1)[:, n_k - kept :], axis=1)
    weights = np.take_along_axis(block, indices, axis=1)
    order = np.argsort(-weights, axis=1, kind="stable")
    return np.take_along_axis(indices, order, axis=1), np.take_along_axis(weights, order, axis=1)
