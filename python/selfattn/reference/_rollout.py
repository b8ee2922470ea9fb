"""Attention rollout by products of whole matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._stats_result import row_numbers
from ._attention import attention
from ._problem import Array


def rollout(
    layers: Sequence[tuple[ArrayLike, ArrayLike]],
    rows: ArrayLike | slice = -1,
    *,
    residual: float = 0.5,
    num_threads: int | None = None,
    **options: Any,
) -> Array:
    """Compute what `selfattn.rollout` computes, in plain NumPy.

    Parameters
    ----------
    layers : sequence of (query, key)
        From the first layer to the last.
    rows : int, array_like of int or slice
        Positions of the last layer's output.
    residual : float
        The part that passes a layer by.
    num_threads : int, optional
        Checked and ignored.
    **options
        Masking keywords of `attention`.

    Returns
    -------
    ndarray
        ``(..., R, N)``.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If its value does not fit.

    Notes
    -----
    All matrices of weights are there.

    Examples
    --------
    >>> import numpy as np
    >>> from selfattn import reference
    >>> x = np.zeros((4, 2))
    >>> reference.rollout([(x, x)], residual=0)
    array([[0.25, 0.25, 0.25, 0.25]])
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
    shares: Array = np.eye(n)
    for query, key in layers:
        weights = attention(
            query, key, np.asarray(key)[..., :0], num_threads=num_threads, **options,
            return_weights=True,
        )[1]  # fmt: skip
        mean = weights if weights.ndim == 2 else weights.mean(axis=-3)
        shares = (residual * np.eye(n) + (1 - residual) * mean) @ shares
    return shares[..., row_numbers(rows, n), :].astype(weights.dtype)
