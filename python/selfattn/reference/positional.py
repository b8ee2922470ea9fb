"""`selfattn.positional`, one number at a time."""

from __future__ import annotations

import cmath
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["alibi_slopes", "rotary", "sinusoidal"]


def sinusoidal(n: int, d: int) -> NDArray[np.float64]:
    """Compute what `selfattn.positional.sinusoidal` computes.

    Parameters
    ----------
    n, d : int
        Tokens and features.

    Returns
    -------
    ndarray of float64
        ``(n, d)``.

    Examples
    --------
    >>> from selfattn import reference
    >>> reference.positional.sinusoidal(2, 2).round(4)
    array([[0.    , 1.    ],
           [0.8415, 0.5403]])
    """
    out = np.empty((n, d), np.float64)
    for p, c in np.ndindex(n, d):
        angle = p / 10000 ** (2 * (c // 2) / d)
        out[p, c] = math.cos(angle) if c % 2 else math.sin(angle)
    return out


def rotary(
    x: ArrayLike,
    positions: ArrayLike | None = None,
    *,
    base: float = 10000.0,
    interleaved: bool = False,
) -> NDArray[Any]:
    """Compute what `selfattn.positional.rotary` computes: a pair is a complex number to be turned.

    Parameters
    ----------
    x : array_like
        ``(..., n, d)``, d even.
    positions : array_like, optional
        Broadcast to ``(..., n)``; 0, 1, ... if not given.
    base : float
        Sets the longest wavelength.
    interleaved : bool
        Pairs ``2 i`` and ``2 i + 1`` instead of ``i`` and ``i + d / 2``.

    Returns
    -------
    ndarray
        The shape and type of `x`.

    Examples
    --------
    >>> from selfattn import reference
    >>> reference.positional.rotary([[1.0, 0.0], [1.0, 0.0]]).round(4)
    array([[1.    , 0.    ],
           [0.5403, 0.8415]])
    """
    x = np.asarray(x)
    half = x.shape[-1] // 2
    where = np.arange(x.shape[-2]) if positions is None else np.asarray(positions)
    where = np.broadcast_to(where, x.shape[:-1])
    out = np.empty(x.shape, x.dtype if x.dtype.kind not in "biu" else np.float64)
    for *token, i in np.ndindex(*x.shape[:-1], half):
        at = tuple(token)
        first, second = (2 * i, 2 * i + 1) if interleaved else (i, i + half)
        turned = complex(x[(*at, first)], x[(*at, second)]) * cmath.exp(
            1j * float(where[at]) / base ** (i / half)
        )
        out[(*at, first)], out[(*at, second)] = turned.real, turned.imag
    return out


def alibi_slopes(num_heads: int) -> NDArray[np.float64]:
    """Compute what `selfattn.positional.alibi_slopes` computes.

    Parameters
    ----------
    num_heads : int
        Query heads.

    Returns
    -------
    ndarray of float64
        ``(num_heads,)``.

    Examples
    --------
    >>> from selfattn import reference
    >>> reference.positional.alibi_slopes(2)
    array([0.0625    , 0.00390625])
    """
    if math.log2(num_heads).is_integer():
        ratio = 2 ** (-8 / num_heads)
        return np.array([ratio ** (h + 1) for h in range(num_heads)])
    power = 2 ** math.floor(math.log2(num_heads))
    rest = alibi_slopes(2 * power)[::2][: num_heads - power]
    return np.concatenate([alibi_slopes(power), rest])
