"""An overview of whole weights, block by block."""

from __future__ import annotations

import numpy as np

from ._problem import Array

__all__ = ["overview_of"]


def overview_of(weights: Array, side: int) -> tuple[Array, Array]:
    """The largest and the mean weight of blocks of ceil(Nq / side) x ceil(Nk / side) weights.

    Parameters
    ----------
    weights : ndarray
        ``(..., Nq, Nk)``.
    side : int
        Blocks along an axis, 1 or more.

    Returns
    -------
    tuple of ndarray
        Maxima and means, each ``(..., side, side)``; 0 where there is no weight.
    """
    n_q, n_k = weights.shape[-2:]
    high, wide = max(1, -(-n_q // side)), max(1, -(-n_k // side))
    most = np.zeros((*weights.shape[:-2], side, side), weights.dtype)
    mean = np.zeros_like(most)
    for a in range(-(-n_q // high)):
        for b in range(-(-n_k // wide)):
            block = weights[..., a * high : (a + 1) * high, b * wide : (b + 1) * wide]
            most[..., a, b] = block.max(axis=(-2, -1))
            mean[..., a, b] = block.mean(axis=(-2, -1))
    return most, mean
