"""A map of which statistics are there: the largest cells of each row, sums, and an overview."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._overview import Overview, block_size, used_blocks
from ._map import Map, facts_of, grid_of, index_type, thumbnail_of

__all__ = ["encode_kept"]

Array = NDArray[Any]

_SIDE = 512
"""Blocks along an axis of an overview that has to be made from the kept cells."""


def encode_kept(stats: dict[str, Array], n_q: int, n_k: int, facts: dict[str, float]) -> Map:
    """Store the statistics of one map.

    Parameters
    ----------
    stats : dict
        By the names of `AttentionStats`, of one head, those that are there: "entropy", "max",
        "distance", "top_rest" ``(n_q,)``, "argmax" ``(n_q,)``, "received" ``(n_k,)``,
        "top_indices", "top_weights" ``(n_q, top_k)``, "overview_max", "overview_mean"
        ``(side, side)``. Their values have been checked.
    n_q, n_k : int
        Queries and keys.
    facts : dict
        Head scores by name.
    """
    vectors = ("entropy", "max", "distance", "received", "top_rest")
    rows: dict[str, Array] = {
        name: stats[name].astype(np.float32) for name in vectors if name in stats
    }
    indices, weights = _kept_cells(stats, n_q)
    absent = np.iinfo(index_type(n_k)).max
    rows["top_indices"] = np.where(indices < 0, absent, indices).astype(index_type(n_k))
    rows["top_weights"] = weights.astype(np.float32)
    overview, span, source = _overview(stats, indices, weights, n_q, n_k)
    grids = {"max": grid_of(overview.max, span)}
    if source == "stream":
        grids["mean"] = grid_of(overview.mean, span)
    scale = max(float(weights.max(initial=0.0)), grids["max"].scale)
    thumbnail = thumbnail_of(overview.max, span)
    return Map("top", scale, thumbnail, facts_of(rows) | facts, rows, None, grids, source)


def _kept_cells(stats: dict[str, Array], n_q: int) -> tuple[Array, Array]:
    """Indices and weights, each ``(n_q, top_k)``; without a top-k, the one largest if known."""
    if "top_indices" in stats and stats["top_indices"].shape[1]:
        return stats["top_indices"], stats["top_weights"]
    if "argmax" in stats and "max" in stats:
        return stats["argmax"][:, None], stats["max"][:, None]
    return np.zeros((n_q, 0), np.int64), np.zeros((n_q, 0), np.float64)


def _overview(
    stats: dict[str, Array], indices: Array, weights: Array, n_q: int, n_k: int
) -> tuple[Overview, tuple[int, int], str]:
    """The used blocks of the overview that is there, or one of the kept cells; a block's size."""
    given = "overview_max" in stats
    side = stats["overview_max"].shape[-1] if given else _SIDE
    span = (block_size(n_q, side), block_size(n_k, side))
    rows, columns = used_blocks(n_q, side), used_blocks(n_k, side)
    if given:
        part = np.s_[:rows, :columns]
        return Overview(stats["overview_max"][part], stats["overview_mean"][part]), span, "stream"
    largest = np.zeros((rows, columns), np.float64)
    row, slot = np.nonzero(indices >= 0)
    np.maximum.at(largest, (row // span[0], indices[row, slot] // span[1]), weights[row, slot])
    return Overview(largest, largest), span, "top"
