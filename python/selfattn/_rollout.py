"""Attention rollout: how much of each input token reaches a position, through all layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._stats import attention_stats
from ._stats_result import row_numbers

__all__ = ["rollout"]


def rollout(
    layers: Sequence[tuple[ArrayLike, ArrayLike]],
    rows: ArrayLike | slice = -1,
    *,
    residual: float = 0.5,
    num_threads: int | None = None,
    **options: Any,
) -> NDArray[Any]:
    """Compute attention rollout [1]_ for some positions, without a product of n x n matrices.

    With P the weights of a layer averaged over its heads, R = residual I + (1 - residual) P says
    where a position of its output comes from, and the product of all layers' R where it comes from
    in the input. Its rows are carried from the last layer back to the first: each layer costs one
    product of transposed weights and columns, which `attention_stats` streams.

    Parameters
    ----------
    layers : sequence of (query, key)
        From the first layer to the last, each ``(..., Hq, N, D)`` and ``(..., Hkv, N, D)``, or
        2-D; queries and keys are of the same N tokens.
    rows : int, array_like of int or slice
        The positions of the last layer's output to explain, by default the last one.
    residual : float
        The part that passes a layer by, from 0 to 1.
    num_threads : int, optional
        How many threads this call may use.
    **options
        Masking keywords of `attention`, for all layers: mask, bias, causal, window and so on.

    Returns
    -------
    ndarray
        ``(..., R, N)``: the share that each input token has in each of R positions, in the type of
        lse. Without sinks, and where every query sees a key, a row adds up to 1.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If there are no layers, their sizes differ, or `residual` is not in 0 ... 1.

    References
    ----------
    .. [1] S. Abnar, W. Zuidema, "Quantifying Attention Flow in Transformers", 2020,
       arXiv:2005.00928.

    Examples
    --------
    Two layers in which all tokens look at all tokens alike:

    >>> import numpy as np
    >>> import selfattn
    >>> x = np.zeros((4, 2))
    >>> selfattn.rollout([(x, x), (x, x)])
    array([[0.1875, 0.1875, 0.1875, 0.4375]])
    """
    if not layers:
        raise ValueError("layers is empty: expected a (query, key) for each layer")
    if not 0 <= residual <= 1:
        raise ValueError(f"residual is {residual}: expected 0 ... 1")
    shapes = [np.shape(x) for pair in layers for x in pair]
    for shape in shapes:
        if len(shape) < 2:
            raise ValueError(f"layers has an array of shape {shape}: expected (..., tokens, d)")
    sizes = {shape[-2] for shape in shapes}
    if len(sizes) != 1:
        raise ValueError(f"layers have {sorted(sizes)} tokens: expected one number for all")
    (n,) = sizes
    numbers = row_numbers(rows, n)
    shares = (np.arange(n)[:, np.newaxis] == numbers).astype(np.float64)
    for query, key in reversed(layers):
        heads = shares if np.ndim(query) == 2 else shares[..., np.newaxis, :, :]
        found = attention_stats(
            query, key, stats=(), column_weights=heads, num_threads=num_threads, **options
        )
        passed = found.weighted
        assert passed is not None
        mean = passed if np.ndim(query) == 2 else passed.mean(axis=-3)
        shares = residual * shares + (1 - residual) * mean
    shares_of_rows: NDArray[Any] = np.swapaxes(shares, -1, -2).astype(found.lse.dtype)
    return shares_of_rows
