"""PyTorch's scaled_dot_product_attention, on NumPy arrays."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._selfattn import attention

__all__ = ["scaled_dot_product_attention"]


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
    """Compute softmax(query @ key.T * scale + attn_mask) @ value, as PyTorch's function does.

    The signature, defaults and meanings are those of
    ``torch.nn.functional.scaled_dot_product_attention``; `selfattn.attention` does the work and
    offers more (weights, lse, windows, KV-cache alignment).

    Parameters
    ----------
    query : array_like
        ``(..., Hq, L, E)``, or ``(L, E)``.
    key : array_like
        ``(..., H, S, E)``, or ``(S, E)``.
    value : array_like
        ``(..., H, S, Ev)``, or ``(S, Ev)``.
    attn_mask : array_like, optional
        Broadcasts to ``(..., Hq, L, S)``. bool: True = takes part. float: added to the scores.
    dropout_p : float
        Must be 0. A NumPy function has no training mode; dropout is never silently ignored.
    is_causal : bool
        Query i sees key j if ``j <= i``, also when L and S differ (aligned at the upper left).
    scale : float, optional
        Factor of the scores, ``1 / sqrt(E)`` if not given.
    enable_gqa : bool
        Let query head h read key head ``h // (Hq // H)``; Hq must be a multiple of H.

    Returns
    -------
    ndarray
        ``(..., Hq, L, Ev)``, in the common type of query, key and value. A row whose keys are all
        masked is 0.

    Raises
    ------
    TypeError
        As `selfattn.attention`.
    ValueError
        As `selfattn.attention`; if `dropout_p` is not 0; if `attn_mask` and `is_causal` are both
        given; if head counts differ without `enable_gqa` and none of them is 1.

    Examples
    --------
    >>> import numpy as np
    >>> import selfattn
    >>> x = np.eye(2)
    >>> selfattn.scaled_dot_product_attention(x, x, x, is_causal=True).round(2)
    array([[1.  , 0.  ],
           [0.33, 0.67]])
    """
    if dropout_p != 0:
        raise ValueError(
            f"dropout_p is {dropout_p}, which is not supported: pass 0 and drop weights yourself"
        )
    if attn_mask is not None and is_causal:
        raise ValueError(
            "attn_mask and is_causal=True cannot be given together: "
            'use selfattn.attention(..., mask, causal="upper_left")'
        )
    if not enable_gqa:
        query, key, value = _broadcast_heads(query, key, value)
    try:
        return attention(
            query, key, value, attn_mask, causal="upper_left" if is_causal else False, scale=scale
        )
    except (TypeError, ValueError) as error:
        if str(error).startswith("mask "):  # the argument has another name here
            error.args = (re.sub(r"^mask|\bmask(?=[.[])", "attn_mask", str(error)),)
        raise


def _broadcast_heads(
    query: ArrayLike, key: ArrayLike, value: ArrayLike
) -> tuple[ArrayLike, ArrayLike, ArrayLike]:
    """Without grouped-query attention the head axis is a batch axis like the others."""
    arrays = [np.asanyarray(x) for x in (query, key, value)]
    if min(x.ndim for x in arrays) < 3:
        return query, key, value
    heads = [x.shape[-3] for x in arrays]
    if heads[0] == heads[1] == heads[2]:
        return query, key, value
    try:
        (common,) = np.broadcast_shapes(*((n,) for n in heads))
    except ValueError:
        raise ValueError(
            f"query has {heads[0]} heads, key {heads[1]} and value {heads[2]}: "
            "expected equal numbers or 1, or enable_gqa=True"
        ) from None
    # subok: a masked array stays one, so that attention refuses it.
    q, k, v = (
        np.broadcast_to(x, (*x.shape[:-3], common, *x.shape[-2:]), subok=True) for x in arrays
    )
    return q, k, v
