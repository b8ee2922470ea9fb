"""Self-attention with its projections in NumPy: three products, heads, attention, one product.

    Q = X W_Q + b_Q,  K = X W_K + b_K,  V = X W_V + b_V
    out = concat(attention(Q_h, K_h, V_h) for each head h) W_O + b_O

Section 3.2 of "Attention Is All You Need" (arXiv:1706.03762).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arrays import compute_dtype, take_arrays, take_out
from .._heads import count_heads
from .._layer import check_weights
from .._multi_head import MultiHeadAttention as _Parameters
from ._attention import attention

Array = NDArray[Any]


def self_attention(
    x: ArrayLike,
    w_q: ArrayLike,
    w_k: ArrayLike,
    w_v: ArrayLike,
    w_o: ArrayLike | None = None,
    *,
    b_q: ArrayLike | None = None,
    b_k: ArrayLike | None = None,
    b_v: ArrayLike | None = None,
    b_o: ArrayLike | None = None,
    num_heads: int = 1,
    num_kv_heads: int | None = None,
    mask: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    causal: bool | Literal["upper_left", "lower_right"] = False,
    window: int | tuple[int | None, int | None] | None = None,
    query_offset: ArrayLike | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    alibi_slopes: ArrayLike | None = None,
    sinks: ArrayLike | None = None,
    key_lengths: ArrayLike | None = None,
    return_weights: bool | Literal["mean"] = False,
    return_lse: bool = False,
    out: Array | tuple[Array | None, ...] | None = None,
    num_threads: int | None = None,
) -> Any:
    """Compute what `selfattn.self_attention` computes, in plain NumPy.

    Parameters
    ----------
    x : array_like
        ``(..., N, d_model)``.
    w_q, w_k, w_v : array_like
        ``(d_model, num_heads * d)``, ``(d_model, num_kv_heads * d)`` and
        ``(d_model, num_kv_heads * d_v)``.
    w_o : array_like, optional
        ``(num_heads * d_v, d_out)``.
    b_q, b_k, b_v, b_o : array_like, optional
        What is added to each product.
    num_heads, num_kv_heads : int
        Heads that the last axis is split into.
    mask, bias, causal, window, query_offset, scale, softcap, alibi_slopes, sinks, key_lengths : \
optional
        As for `selfattn.reference.attention`.
    return_weights, return_lse : optional
        What else to return.
    out : ndarray or tuple of (ndarray or None), optional
        Where to write the results.
    num_threads : int, optional
        Checked and ignored.

    Returns
    -------
    ndarray or tuple of ndarray
        ``(..., N, d_out)``, then weights ``(..., num_heads, N, N)`` and lse.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If its shape or value does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from selfattn import reference
    >>> x = np.eye(2)
    >>> reference.self_attention(x, x, x, x, causal=True).round(2)
    array([[1.  , 0.  ],
           [0.33, 0.67]])
    """
    heads, kv_heads = count_heads(num_heads, num_kv_heads)
    arrays, dtype = take_arrays(
        {"x": x, "w_q": w_q, "w_k": w_k, "w_v": w_v},
        {"w_o": w_o, "b_q": b_q, "b_k": b_k, "b_v": b_v, "b_o": b_o},
    )
    check_weights(arrays, heads, kv_heads)
    wide = {name: array.astype(compute_dtype(dtype)) for name, array in arrays.items()}
    with np.errstate(all="ignore"):
        q = _split(_product(wide, "x", "q"), heads)
        k = _split(_product(wide, "x", "k"), kv_heads)
        v = _split(_product(wide, "x", "v"), kv_heads)
        results = attention(
            q, k, v, mask, bias=bias, causal=causal, window=window, query_offset=query_offset,
            scale=scale, softcap=softcap, alibi_slopes=alibi_slopes, sinks=sinks,
            key_lengths=key_lengths, return_weights=return_weights, return_lse=return_lse,
            num_threads=num_threads,
        )  # fmt: skip
        results = list(results) if isinstance(results, tuple) else [results]
        wide["joined"] = _join(results[0])
        results[0] = _product(wide, "joined", "o") if "w_o" in wide else wide["joined"]
        return _deliver(results, dtype, bool(return_weights), bool(return_lse), out)


def _product(arrays: dict[str, Array], x: str, which: str) -> Array:
    """X W + b."""
    y: Array = arrays[x] @ arrays[f"w_{which}"] + arrays.get(f"b_{which}", 0)
    return y


def _split(x: Array, heads: int) -> Array:
    """(..., n, heads * d) -> (..., heads, n, d)"""
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads).swapaxes(-2, -3)


def _join(x: Array) -> Array:
    """(..., heads, n, d) -> (..., n, heads * d)"""
    *batch, heads, n, d = x.shape
    return x.swapaxes(-2, -3).reshape(*batch, n, heads * d)


def _deliver(
    results: list[Array], dtype: np.dtype[Any], has_weights: bool, has_lse: bool, out: Any
) -> Any:
    """The results in their types, in the caller's arrays where given."""
    names = ["out", *["weights"] * has_weights, *["lse"] * has_lse]
    wanted = {
        name: (x.shape, x.dtype if name == "lse" else dtype)
        for name, x in zip(names, results, strict=True)
    }
    targets = take_out(out, wanted)
    for i, (name, (shape, result_dtype)) in enumerate(wanted.items()):
        target = targets[name]
        if target is None:
            target = np.empty(shape, result_dtype)
        target[...] = results[i]
        results[i] = target
    return results[0] if len(results) == 1 else tuple(results)


class MultiHeadAttention(_Parameters):
    """`selfattn.MultiHeadAttention` with its arithmetic in plain NumPy.

    The arrays it holds, and how they are made, read and written, are the same.

    Parameters
    ----------
    embed_dim, num_heads, num_kv_heads, kdim, vdim, bias, dtype, rng : optional but the first two
        As for `selfattn.MultiHeadAttention`.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If heads do not divide.

    Examples
    --------
    >>> import numpy as np
    >>> import selfattn
    >>> fast = selfattn.MultiHeadAttention(16, 4, rng=0)
    >>> plain = selfattn.reference.MultiHeadAttention(16, 4, rng=0)
    >>> x = np.random.default_rng(1).standard_normal((5, 16))
    >>> np.allclose(fast(x), plain(x))
    True
    """

    def _attend_at_once(self, query: ArrayLike, causal: bool, num_threads: Any) -> None:
        """There is one way here."""

    def _forward(
        self,
        inputs: tuple[Array, Array, Array],
        dtype: np.dtype[Any],
        mask: Any,
        options: dict[str, Any],
        out: Any,
    ) -> Any:
        compute = compute_dtype(dtype)
        names = ("query", "key", "value")
        wide = {name: x.astype(compute) for name, x in zip(names, inputs, strict=True)}
        for which in "qkvo":
            wide[f"w_{which}"] = getattr(self, f"w_{which}").astype(compute)
            if self.b_o is not None:
                wide[f"b_{which}"] = getattr(self, f"b_{which}").astype(compute)
        with np.errstate(all="ignore"):
            q = _split(_product(wide, "query", "q"), self.num_heads)
            k = _split(_product(wide, "key", "k"), self.num_kv_heads)
            v = _split(_product(wide, "value", "v"), self.num_kv_heads)
            results = attention(q, k, v, mask, **options)
            results = list(results) if isinstance(results, tuple) else [results]
            wide["joined"] = _join(results[0])
            results[0] = _product(wide, "joined", "o")
            has_weights, has_lse = bool(options["return_weights"]), bool(options["return_lse"])
            return _deliver(results, dtype, has_weights, has_lse, out)
