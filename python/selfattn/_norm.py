"""Layer normalisation, the other ingredient of a Transformer block."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arrays import as_number, compute_dtype, take_arrays

__all__ = ["layer_norm"]


def layer_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    eps: float = 1e-5,
) -> NDArray[Any]:
    """Bring the features of each token to mean 0 and variance 1, then scale and shift them.

    ::

        out = (x - mean) / sqrt(variance + eps) * weight + bias     over the last axis

    Parameters
    ----------
    x : array_like
        ``(..., d)``.
    weight, bias : array_like, optional
        ``(d,)``, 1 and 0 if not given.
    eps : float
        Added to the variance, so that equal features give 0.

    Returns
    -------
    ndarray
        The shape of `x`, in the common type of the arguments (integers: float64; float16 and
        bfloat16 are computed in float32).

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If `x` has no axis, `weight` or `bias` is not as long as its last one, or `eps` is negative
        or not finite.

    Notes
    -----
    Ba, Kiros and Hinton, "Layer Normalization" (arXiv:1607.06450). The variance is the mean of the
    squares, without Bessel's correction.

    Examples
    --------
    >>> import selfattn
    >>> selfattn.layer_norm([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]]).round(3)
    array([[-1.225,  0.   ,  1.225],
           [ 0.   ,  0.   ,  0.   ]])
    """
    arrays, dtype = take_arrays({"x": x}, {"weight": weight, "bias": bias})
    x = arrays.pop("x")
    if x.ndim == 0:
        raise ValueError("x has shape (): expected (..., features)")
    for name, array in arrays.items():
        if array.shape != x.shape[-1:]:
            raise ValueError(f"{name} has shape {array.shape}: expected {x.shape[-1:]}")
    eps = as_number("eps", eps)
    if not 0 <= eps < np.inf:
        raise ValueError(f"eps must be finite and not negative, not {eps}")
    compute = compute_dtype(dtype)
    if x.shape[-1] == 0:
        return np.empty(x.shape, dtype)
    with np.errstate(all="ignore"):
        out = x.astype(compute)
        out -= out.mean(axis=-1, keepdims=True)
        variance = np.square(out).mean(axis=-1, keepdims=True)
        out /= np.sqrt(variance + compute.type(eps))
        if "weight" in arrays:
            out *= arrays["weight"].astype(compute)
        if "bias" in arrays:
            out += arrays["bias"].astype(compute)
        return out.astype(dtype, copy=False)
