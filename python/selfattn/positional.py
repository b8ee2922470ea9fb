"""Where a token stands: sines that are added, rotations of queries and keys, slopes of ALiBi."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arrays import as_integer, as_number, compute_dtype, take_arrays

__all__ = ["alibi_slopes", "rotary", "sinusoidal"]

Array = NDArray[Any]


def sinusoidal(n: int, d: int) -> NDArray[np.float64]:
    """Sines and cosines of rising wavelength, to be added to the embeddings of n tokens.

    ::

        out[p, 2 i] = sin(p / 10000^(2 i / d)),  out[p, 2 i + 1] = cos(p / 10000^(2 i / d))

    Parameters
    ----------
    n : int
        Tokens.
    d : int
        Features; if odd, the last one is a sine.

    Returns
    -------
    ndarray of float64
        ``(n, d)``. Add ``sinusoidal(n, d).astype(x.dtype)`` to keep a narrower type.

    Raises
    ------
    TypeError
        If an argument is not an int.
    ValueError
        If one is negative.

    Notes
    -----
    Vaswani et al., "Attention Is All You Need" (arXiv:1706.03762), section 3.5.

    Examples
    --------
    >>> from selfattn import positional
    >>> positional.sinusoidal(3, 4).round(4)
    array([[ 0.    ,  1.    ,  0.    ,  1.    ],
           [ 0.8415,  0.5403,  0.01  ,  1.    ],
           [ 0.9093, -0.4161,  0.02  ,  0.9998]])
    """
    n, d = as_integer("n", n, 0), as_integer("d", d, 0)
    angles = np.arange(n)[:, np.newaxis] / 10000.0 ** (np.arange(0, d, 2) / max(d, 1))
    out = np.empty((n, d), np.float64)
    out[:, 0::2] = np.sin(angles)
    out[:, 1::2] = np.cos(angles[:, : d // 2])
    return out


def rotary(
    x: ArrayLike,
    positions: ArrayLike | None = None,
    *,
    base: float = 10000.0,
    interleaved: bool = False,
) -> Array:
    """Rotate pairs of features by angles that grow with a token's position (RoPE).

    ::

        (a, b) -> (a cos t - b sin t, a sin t + b cos t),   t = position / base^(2 i / d)

    Queries and keys rotated so have scores that depend on the distance of their positions only.

    Parameters
    ----------
    x : array_like
        ``(..., n, d)``, d even: queries or keys, split into heads.
    positions : array_like, optional
        Real numbers that broadcast to ``(..., n)``; 0, 1, ... n - 1 if not given. For a step of
        decoding: how many tokens came before.
    base : float
        Sets the longest wavelength.
    interleaved : bool
        Which features are a pair: ``i`` and ``i + d / 2`` (LLaMA, GPT-NeoX), or ``2 i`` and
        ``2 i + 1`` (the paper, GPT-J).

    Returns
    -------
    ndarray
        Shape and type of `x` (integers: float64).

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If d is odd, `positions` do not broadcast, or `base` is not positive and finite.

    Notes
    -----
    Su et al., "RoFormer" (arXiv:2104.09864). Angles are float64, however long the sequence.

    Examples
    --------
    >>> import numpy as np
    >>> from selfattn import positional
    >>> q, k = np.random.default_rng(0).standard_normal((2, 1, 8))
    >>> near = positional.rotary(q, [2]) @ positional.rotary(k, [5]).T
    >>> far = positional.rotary(q, [102]) @ positional.rotary(k, [105]).T
    >>> np.allclose(near, far)
    True
    """
    arrays, dtype = take_arrays({"x": x})
    x = arrays["x"]
    if x.ndim < 2 or x.shape[-1] % 2:
        raise ValueError(f"x has shape {x.shape}: expected (..., tokens, an even number)")
    base = as_number("base", base)
    if not 0 < base < np.inf:
        raise ValueError(f"base must be positive and finite, not {base}")
    if not isinstance(interleaved, (bool, np.bool_)):
        raise TypeError(f"interleaved must be True or False, not {type(interleaved).__name__}")
    half, compute = x.shape[-1] // 2, compute_dtype(dtype)
    angles = _positions(positions, x.shape[:-1])[..., np.newaxis] * base ** (
        -np.arange(half) / max(half, 1)
    )
    cos, sin = np.cos(angles).astype(compute), np.sin(angles).astype(compute)
    pairs = (np.s_[..., 0::2], np.s_[..., 1::2]) if interleaved else (
        np.s_[..., :half], np.s_[..., half:]
    )  # fmt: skip
    a, b = (x[pair].astype(compute) for pair in pairs)
    out = np.empty(x.shape, dtype)
    with np.errstate(all="ignore"):
        out[pairs[0]] = a * cos - b * sin
        out[pairs[1]] = a * sin + b * cos
    return out


def _positions(positions: ArrayLike | None, shape: tuple[int, ...]) -> Array:
    """float64, broadcastable to `shape`, which ends with the tokens."""
    if positions is None:
        return np.arange(shape[-1], dtype=np.float64)
    p = np.asarray(positions)
    if p.dtype.kind not in "iuf":
        raise TypeError(f"positions is {p.dtype}: expected real numbers")
    try:
        fits = np.broadcast_shapes(p.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"positions has shape {p.shape}, which does not broadcast to {shape}")
    return p.astype(np.float64)


def alibi_slopes(num_heads: int) -> NDArray[np.float64]:
    """The slopes of ALiBi for `selfattn.attention`'s argument of that name.

    Parameters
    ----------
    num_heads : int
        Query heads, at least 1.

    Returns
    -------
    ndarray of float64
        ``(num_heads,)``: ``2**(-8 (h + 1) / num_heads)`` for a power of two. For other numbers
        those of the power of two below, then every other one of those of the power of two above.

    Raises
    ------
    TypeError
        If `num_heads` is not an int.
    ValueError
        If it is less than 1.

    Notes
    -----
    Press, Smith and Lewis, "Train Short, Test Long" (arXiv:2108.12409), section 3, and for other
    numbers their code.

    Examples
    --------
    >>> from selfattn import positional
    >>> positional.alibi_slopes(4)
    array([0.25      , 0.0625    , 0.015625  , 0.00390625])
    >>> positional.alibi_slopes(6)
    array([0.25      , 0.0625    , 0.015625  , 0.00390625, 0.5       , 0.125     ])
    """
    num_heads = as_integer("num_heads", num_heads, 1)
    power = 1 << (num_heads.bit_length() - 1)
    below = 2.0 ** (-8.0 * np.arange(1, power + 1) / power)
    above = 2.0 ** (-8.0 * np.arange(1, 2 * power, 2) / (2 * power))
    slopes: NDArray[np.float64] = np.concatenate([below, above[: num_heads - power]])
    return slopes
