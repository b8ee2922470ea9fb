"""Self-attention of a sequence with itself: projections, heads and all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from numpy.typing import ArrayLike

from ._arrays import Array, take_arrays
from ._heads import Call, check_tokens, count_heads, project, split_heads

__all__ = ["self_attention"]


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
    """Self-attention of a sequence: the layer as articles write it, projections included.

    ::

        Q = x @ w_q + b_q,  K = x @ w_k + b_k,  V = x @ w_v + b_v
        out = concat(softmax(Q_h K_h^T / sqrt(d)) V_h for each head h) @ w_o + b_o

    Parameters
    ----------
    x : array_like
        ``(..., N, d_model)``: N tokens; the axes before them are the batch.
    w_q : array_like
        ``(d_model, num_heads * d)``. Head h has the columns ``h * d`` to ``(h + 1) * d``.
    w_k : array_like
        ``(d_model, num_kv_heads * d)``.
    w_v : array_like
        ``(d_model, num_kv_heads * d_v)``.
    w_o : array_like, optional
        ``(num_heads * d_v, d_out)``. Without it the heads' outputs are concatenated as they are.
    b_q, b_k, b_v, b_o : array_like, optional
        What is added to each projection, as long as its last axis.
    num_heads : int
        Query heads.
    num_kv_heads : int, optional
        Key heads, by default `num_heads`; query head h reads key head
        ``h // (num_heads // num_kv_heads)``.
    mask, bias : array_like, optional
        Broadcast to ``(..., num_heads, N, N)``. In a bool mask True = may look. These and the
        following are `selfattn.attention`'s.
    causal : {False, True, "upper_left", "lower_right"}
        Let no token see those behind it.
    window : int or (int or None, int or None), optional
        How many tokens before and after it a token sees.
    query_offset : int or array_like of int, optional
        Position of the first query among the keys.
    scale : float, optional
        Factor of the dot products, ``1 / sqrt(d)`` if not given.
    softcap : float, optional
        A score s becomes ``softcap * tanh(s / softcap)``.
    alibi_slopes, sinks : array_like, optional
        ``(num_heads,)``.
    key_lengths : int or array_like of int, optional
        Tokens from there on are padding and never looked at; broadcasts to the batch shape.
    return_weights : bool or "mean"
        Return the weights too, per head or averaged over the heads.
    return_lse : bool
        Return the logarithm of each softmax's denominator too.
    out : ndarray or tuple of (ndarray or None), optional
        Where to put the results: an array for the first, or a tuple with an entry for each.
    num_threads : int, optional
        How many threads this call may use.

    Returns
    -------
    out : ndarray
        ``(..., N, d_out)``, or ``(..., N, num_heads * d_v)`` without `w_o`, in the common type of
        `x`, the weight matrices and what is added to them (integers: float64).
    weights : ndarray
        If asked for: ``(..., num_heads, N, N)``, also with one head, or ``(..., N, N)`` for
        "mean".
    lse : ndarray
        If asked for: ``(..., num_heads, N)``.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If its shape or value does not fit.
    MemoryError
        If there is no memory for the results.

    See Also
    --------
    MultiHeadAttention : the same with arrays that it holds, and for cross-attention.

    Notes
    -----
    Vaswani et al., "Attention Is All You Need" (arXiv:1706.03762), section 3.2. float16 and
    bfloat16 are computed in float32; only the results are rounded. A projection differs from the
    exact one by at most ``32 u (|x| @ |w| + |b|)``, u the unit of rounding, however long the sums.

    Examples
    --------
    >>> import numpy as np
    >>> import selfattn
    >>> x = np.array([[1.0, 0, 1], [0, 1, 0], [1, 1, 1]])  # three tokens
    >>> w_q, w_k, w_v = np.random.default_rng(0).standard_normal((3, 3, 3))
    >>> out, weights = selfattn.self_attention(x, w_q, w_k, w_v, return_weights=True)
    >>> out.shape, weights.shape
    ((3, 3), (1, 3, 3))
    >>> np.allclose(weights.sum(axis=-1), 1)
    True
    """
    heads, kv_heads = count_heads(num_heads, num_kv_heads)
    arrays, dtype = take_arrays(
        {"x": x, "w_q": w_q, "w_k": w_k, "w_v": w_v},
        {"w_o": w_o, "b_q": b_q, "b_k": b_k, "b_v": b_v, "b_o": b_o},
    )
    tokens, get = arrays["x"], arrays.get
    d, d_v, d_out = check_weights(arrays, heads, kv_heads)
    options = {
        "bias": bias, "causal": causal, "window": window, "query_offset": query_offset,
        "scale": scale, "softcap": softcap, "alibi_slopes": alibi_slopes, "sinks": sinks,
        "key_lengths": key_lengths, "return_weights": return_weights, "return_lse": return_lse,
        "num_threads": num_threads,
    }  # fmt: skip
    batch, n_tokens = tokens.shape[:-2], tokens.shape[-2]
    call = Call(
        dtype,
        (*batch, heads, n_tokens, d),
        (*batch, kv_heads, n_tokens, d),
        (*batch, kv_heads, n_tokens, d_v),
        d_out,
        mask,
        options,
        out,
    )
    q, k, v = (
        split_heads(project(tokens, arrays[f"w_{c}"], get(f"b_{c}"), call.compute, num_threads), n)
        for c, n in (("q", heads), ("k", kv_heads), ("v", kv_heads))
    )
    return call.attend(q, k, v, get("w_o"), get("b_o"))


def check_weights(arrays: Mapping[str, Array], heads: int, kv_heads: int) -> tuple[int, int, int]:
    """Check all shapes; return features of a key, of a value and of the output."""
    check_tokens("x", arrays["x"])
    d_model = arrays["x"].shape[-1]
    widths = {
        name: _check_weight(name, arrays[name], d_model, "the last axis of x", count_name, count)
        for name, count_name, count in (
            ("w_q", "num_heads", heads),
            ("w_k", "num_kv_heads", kv_heads),
            ("w_v", "num_kv_heads", kv_heads),
        )
    }
    d, d_v = widths["w_q"] // heads, widths["w_v"] // kv_heads
    if d != widths["w_k"] // kv_heads:
        raise ValueError(
            f"w_k has {widths['w_k']} columns for {kv_heads} heads and w_q {widths['w_q']} for "
            f"{heads}: expected the same number for each head"
        )
    if "w_o" in arrays:
        widths["w_o"] = _check_weight("w_o", arrays["w_o"], heads * d_v, "num_heads * d_v", "", 1)
    elif "b_o" in arrays:
        raise ValueError("b_o is given without w_o: expected both, or add b_o to the result")
    for name, width in widths.items():
        b_name = f"b_{name[-1]}"
        if b_name in arrays and arrays[b_name].shape != (width,):
            raise ValueError(
                f"{b_name} has shape {arrays[b_name].shape}: expected ({width},), one number for "
                f"each column of {name}"
            )
    return d, d_v, widths.get("w_o", heads * d_v)


def _check_weight(name: str, w: Array, n_in: int, what: str, count_name: str, count: int) -> int:
    """Its columns, which must be a multiple of count."""
    if w.ndim != 2 or w.shape[0] != n_in:
        raise ValueError(
            f"{name} has shape {w.shape}: expected ({n_in}, columns), {n_in} being {what}"
        )
    if w.shape[1] % count:
        raise ValueError(
            f"{name} has {w.shape[1]} columns: expected a multiple of {count_name}, {count}"
        )
    return int(w.shape[1])
