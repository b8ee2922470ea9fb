"""Layer normalisation, one token at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def layer_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    eps: float = 1e-5,
) -> NDArray[Any]:
    """Compute what `selfattn.layer_norm` computes, in float64.

    Parameters
    ----------
    x : array_like
        ``(..., d)``.
    weight, bias : array_like, optional
        ``(d,)``.
    eps : float
        Added to the variance.

    Returns
    -------
    ndarray of float64
        The shape of `x`.

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> from selfattn import reference
    >>> reference.layer_norm([1.0, 3.0]).round(3)
    array([-1.,  1.])
    """
    x = np.asarray(x, np.float64)
    w = np.ones(x.shape[-1], np.float64) if weight is None else np.asarray(weight, np.float64)
    b = np.zeros(x.shape[-1], np.float64) if bias is None else np.asarray(bias, np.float64)
    out = np.empty_like(x)
    for at in np.ndindex(*x.shape[:-1]):
        d = len(x[at])
        mean = math.fsum(x[at]) / max(d, 1)
        variance = math.fsum((x[at] - mean) ** 2) / max(d, 1)
        out[at] = (x[at] - mean) / math.sqrt(variance + eps) * w + b
    return out
