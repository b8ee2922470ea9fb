"""What an overview is: a map of n_q x n_k cells in at most side x side equal blocks.

    h = ceil(n_q / side)    w = ceil(n_k / side)           cells of a block
    max[a, b]  = max  of weights[a h : (a + 1) h, b w : (b + 1) w]
    mean[a, b] = mean of the same cells

The last block of an axis may hold fewer than h (or w) cells; its mean is over those it has. Blocks
past the end of the map hold no cell and are 0: there are used_blocks(n_q, side) rows of blocks and
used_blocks(n_k, side) columns of them that mean something.

`AttentionStats.overview` is this pyramid's base, made while the weights stream by: an object with
the attributes `max` and `mean`, each ``(..., Hq, side, side)``, in the float type of lse. Coarser
levels come from it (`coarsen_max`); here it is made from weights that are all there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Overview", "block_size", "coarsen_max", "overview_of", "used_blocks"]

Array = NDArray[Any]


class Overview:
    """A max and a mean pyramid's base.

    Parameters
    ----------
    max, mean : ndarray
        ``(..., side, side)``, or only the used blocks of it.
    """

    def __init__(self, max: Array, mean: Array) -> None:
        self.max = max
        self.mean = mean


def block_size(n: int, side: int) -> int:
    """Cells of one block along an axis of `n` cells: ceil(n / side), at least 1."""
    return max(1, -(-n // side))


def used_blocks(n: int, side: int) -> int:
    """Blocks along an axis of `n` cells that hold any."""
    return -(-n // block_size(n, side))


def overview_of(weights: Array, side: int) -> Overview:
    """The overview of one map, used blocks only.

    Parameters
    ----------
    weights : ndarray
        ``(n_q, n_k)``, any float type, at least one cell.
    side : int
        The largest number of blocks along an axis.

    Returns
    -------
    Overview
        Arrays ``(used_blocks(n_q, side), used_blocks(n_k, side))`` of float64.
    """
    wide = np.asarray(weights, np.float64)
    total, cells = wide, np.ones_like(wide)
    for axis, n in enumerate(weights.shape):
        starts = _starts(n, side)
        total = np.add.reduceat(total, starts, axis=axis)
        cells = np.add.reduceat(cells, starts, axis=axis)
    return Overview(coarsen_max(wide, side), total / cells)


def coarsen_max(values: Array, side: int, axes: tuple[int, ...] = (0, 1)) -> Array:
    """The largest value of each block, for at most `side` equal blocks along the given axes."""
    for axis in axes:
        values = np.maximum.reduceat(values, _starts(values.shape[axis], side), axis=axis)
    return values


def _starts(n: int, side: int) -> NDArray[np.intp]:
    return np.arange(0, n, block_size(n, side))
