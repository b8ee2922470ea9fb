"""PyTorch's scaled_dot_product_attention in NumPy: broadcast everything, then attention."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._attention import attention
from ._check import as_array


def scaled_dot_product_attention(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    attn_mask: ArrayLike | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> NDArray[Any]:
    """Compute what `selfattn.scaled_dot_product_attention` computes, in plain NumPy.

    Parameters
    ----------
    query, key, value : array_like
        ``(..., Hq, L, E)``, ``(..., H, S, E)`` and ``(..., H, S, Ev)``, or all 2-D.
    attn_mask : array_like, optional
        bool (True = takes part) or float (added).
    dropout_p : float
        Must be 0.
    is_causal : bool
        Key j is seen by query i if ``j <= i``.
    scale : float, optional
        Factor of the scores, ``1 / sqrt(E)`` if not given.
    enable_gqa : bool
        Let several query heads share one key head.

    Returns
    -------
    ndarray
        ``(..., Hq, L, Ev)``.

    Raises
    ------
    TypeError, ValueError
        As `attention`, and ValueError if `dropout_p` is not 0, if `attn_mask` comes with
        `is_causal`, or if head counts differ without `enable_gqa` and none of them is 1.

    Examples
    --------
    >>> import numpy as np
    >>> from selfattn import reference
    >>> x = np.eye(2)
    >>> reference.scaled_dot_product_attention(x, x, x, is_causal=True).round(2)
    array([[1.  , 0.  ],
           [0.33, 0.67]])
    """
    if dropout_p != 0:
        raise ValueError(f"dropout_p is {dropout_p}: only 0 is supported")
    if attn_mask is not None and is_causal:
        raise ValueError("attn_mask and is_causal=True cannot be given together")
    q, k, v = as_array("query", query), as_array("key", key), as_array("value", value)
    if min(q.ndim, k.ndim, v.ndim) >= 3 and not enable_gqa:
        heads = _common_heads(q.shape[-3], k.shape[-3], v.shape[-3])
        q, k, v = (np.broadcast_to(x, (*x.shape[:-3], heads, *x.shape[-2:])) for x in (q, k, v))
    result: NDArray[Any] = attention(
        q, k, v, attn_mask, causal="upper_left" if is_causal else False, scale=scale
    )
    return result


def _common_heads(*numbers: int) -> int:
    others = {n for n in numbers if n != 1}
    if len(others) > 1:
        raise ValueError(
            "query has {} heads, key {} and value {}: "
            "expected equal numbers or 1, or enable_gqa=True".format(*numbers)
        )
    return others.pop() if others else 1
