"""Multi-head attention as a layer that holds its arrays."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ._arrays import Array, as_integer, float_dtype, take_arrays
from ._head_parameters import HeadParameters
from ._heads import Call, check_tokens, count_heads, project, split_heads
from ._selfattn import _attend_layer

__all__ = ["MultiHeadAttention"]


class MultiHeadAttention(HeadParameters):
    """Multi-head attention with its projections, for self- and cross-attention.

    ::

        q = query @ w_q + b_q,  k = key @ w_k + b_k,  v = value @ w_v + b_v
        out = concat(attention(q_h, k_h, v_h) for each head h) @ w_o + b_o

    Parameters
    ----------
    embed_dim : int
        Features of queries and of the output, a multiple of `num_heads`.
    num_heads : int
        Query heads, of ``embed_dim // num_heads`` features each.
    num_kv_heads : int, optional
        Key heads, by default `num_heads`; query head h reads key head
        ``h // (num_heads // num_kv_heads)``.
    kdim, vdim : int, optional
        Features of keys and values, by default `embed_dim`.
    bias : bool
        Whether something is added to each projection.
    dtype : dtype-like
        float16, bfloat16, float32 or float64.
    rng : int, numpy.random.Generator or None
        Where the initial weights come from, as for `numpy.random.default_rng`: uniform with the
        bounds of PyTorch's layer (Glorot and Bengio's for the input projections); biases are 0.

    Attributes
    ----------
    w_q, w_k, w_v, w_o : ndarray
        Weight matrices ``(features in, features out)``. ``layer.w_q = w`` copies w into the
        layer's array, which keeps its type.
    b_q, b_k, b_v, b_o : ndarray or None
        What is added, None without `bias`.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If heads do not divide.

    See Also
    --------
    self_attention : the same as a function of all arrays.

    Notes
    -----
    Vaswani et al., "Attention Is All You Need" (arXiv:1706.03762), section 3.2.2. The head counts
    of grouped-query attention: Ainslie et al. (arXiv:2305.13245). Weights are kept as PyTorch lays
    them out, rows of features in, which is also what the C core reads fastest.

    **mask True = may look**, as in `selfattn.attention` and in PyTorch's
    `scaled_dot_product_attention`, and the opposite of `torch.nn.MultiheadAttention`, whose bool
    masks say what is *blocked*: pass ``mask=~attn_mask`` and, for padding,
    ``mask=~key_padding_mask[:, None, None, :]``.

    Examples
    --------
    >>> import numpy as np
    >>> import selfattn
    >>> layer = selfattn.MultiHeadAttention(64, 8, rng=0)
    >>> x = np.random.default_rng(1).standard_normal((2, 10, 64), dtype=np.float32)
    >>> layer(x, causal=True).shape
    (2, 10, 64)
    >>> out, weights = layer(x, return_weights=True)
    >>> weights.shape
    (2, 8, 10, 10)

    What another layer would call ``key_padding_mask`` says which keys are padding; here the mask
    says which may be seen:

    >>> padding = np.zeros((2, 10), bool)
    >>> padding[1, 7:] = True  # the second sequence has 7 tokens
    >>> masked = layer(x, mask=~padding[:, None, None, :])
    >>> np.array_equal(masked, layer(x, key_lengths=[10, 7]))
    True
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        num_kv_heads: int | None = None,
        kdim: int | None = None,
        vdim: int | None = None,
        bias: bool = True,
        dtype: DTypeLike = np.float32,
        rng: int | np.random.Generator | None = None,
    ) -> None:
        heads, kv_heads = count_heads(num_heads, num_kv_heads)
        embed_dim = as_integer("embed_dim", embed_dim, 0)
        if not isinstance(bias, (bool, np.bool_)):
            raise TypeError(f"bias must be True or False, not {type(bias).__name__}")
        self._allocate(
            embed_dim,
            heads,
            kv_heads,
            embed_dim if kdim is None else as_integer("kdim", kdim, 0),
            embed_dim if vdim is None else as_integer("vdim", vdim, 0),
            bool(bias),
            float_dtype("dtype", dtype),
        )
        self._draw(_generator(rng))

    def __call__(
        self,
        query: ArrayLike,
        key: ArrayLike | None = None,
        value: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        *,
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
        """Let the tokens of `query` look at those of `key`.

        Parameters
        ----------
        query : array_like
            ``(..., Nq, embed_dim)``, the batch first.
        key : array_like, optional
            ``(..., Nk, kdim)``; `query` if not given: self-attention.
        value : array_like, optional
            ``(..., Nk, vdim)``; `key` if not given.
        mask : array_like, optional
            Broadcasts to ``(..., num_heads, Nq, Nk)``. bool: **True = may look**. float: added.
        bias, causal, window, query_offset, scale, softcap, alibi_slopes, sinks, key_lengths
            As for `selfattn.attention`; lengths and offsets broadcast to the batch shape.
        return_weights : bool or "mean"
            Return the weights too, ``(..., num_heads, Nq, Nk)``, also with one head, or "mean",
            ``(..., Nq, Nk)``.
        return_lse : bool
            Return the logarithm of each softmax's denominator too, ``(..., num_heads, Nq)``.
        out : ndarray or tuple of (ndarray or None), optional
            Where to put the results.
        num_threads : int, optional
            How many threads this call may use.

        Returns
        -------
        ndarray or tuple of ndarray
            ``(..., Nq, embed_dim)`` in the common type of the inputs and the layer, or a tuple of
            it, the weights and the lse, as far as asked for.

        Raises
        ------
        TypeError
            If an argument is of the wrong kind.
        ValueError
            If its shape or value does not fit.
        """
        if key is value is mask is bias is window is query_offset is scale is softcap is None and (
            alibi_slopes is sinks is key_lengths is out is None
            and return_weights is return_lse is False
            and isinstance(causal, bool)
        ):
            found = self._attend_at_once(query, causal, num_threads)
            if found is not None:
                return found
        options = {
            "bias": bias, "causal": causal, "window": window, "query_offset": query_offset,
            "scale": scale, "softcap": softcap, "alibi_slopes": alibi_slopes, "sinks": sinks,
            "key_lengths": key_lengths, "return_weights": return_weights, "return_lse": return_lse,
            "num_threads": num_threads,
        }  # fmt: skip
        key = query if key is None else key
        value = key if value is None else value
        inputs, dtype = self._take_inputs(query, key, value)
        return self._forward(inputs, dtype, mask, options, out)

    def _attend_at_once(self, query: ArrayLike, causal: bool, num_threads: Any) -> Array | None:
        """Self-attention without options, the steps of `_forward` in one call; None if the types
        need a conversion."""
        stacked = self._in_weight
        if (
            stacked is None
            or type(query) is not np.ndarray
            or query.dtype != self.dtype
            or self.dtype.itemsize < 4
        ):
            return None
        check_tokens("query", query, self.embed_dim)
        return _attend_layer(
            query, stacked.T, self._in_bias, self._out_weight.T, self._out_bias,
            self.num_heads, self.num_kv_heads, causal, num_threads,
        )  # fmt: skip

    def _forward(
        self,
        inputs: tuple[Array, Array, Array],
        dtype: np.dtype[Any],
        mask: Any,
        options: dict[str, Any],
        out: Any,
    ) -> Any:
        """The arithmetic, after the inputs' own shapes were checked."""
        q_in, k_in, v_in = inputs
        d, kv_heads = self.head_dim, self.num_kv_heads
        call = Call(
            dtype,
            (*q_in.shape[:-2], self.num_heads, q_in.shape[-2], d),
            (*k_in.shape[:-2], kv_heads, k_in.shape[-2], d),
            (*v_in.shape[:-2], kv_heads, v_in.shape[-2], d),
            self.embed_dim,
            mask,
            options,
            out,
        )
        q, k, v = self._project_inputs(*inputs, call.compute, options["num_threads"])
        return call.attend(q, k, v, self._out_weight.T, self._out_bias)

    def _take_inputs(
        self, query: ArrayLike, key: ArrayLike, value: ArrayLike
    ) -> tuple[tuple[Array, Array, Array], np.dtype[Any]]:
        """The inputs as arrays, an argument given twice as the same one, and the results' type."""
        given = {"query": query}
        if key is not query:
            given["key"] = key
        if value is not key:
            given["value"] = value
        arrays, dtype = take_arrays(given, dtype=self.dtype)
        q = arrays["query"]
        k = arrays.get("key", q)
        v = arrays.get("value", k)
        check_tokens("query", q, self.embed_dim)
        if k is not q or self.kdim != self.embed_dim:
            check_tokens("key", k, self.kdim)
        if v is not k or self.vdim != self.kdim:
            check_tokens("value", v, self.vdim)
        if k.shape[-2] != v.shape[-2]:
            raise ValueError(
                f"value has {v.shape[-2]} tokens and key {k.shape[-2]}: expected one for each"
            )
        return (q, k, v), dtype

    def _project_inputs(
        self, q_in: Array, k_in: Array, v_in: Array, dtype: np.dtype[Any], threads: Any
    ) -> tuple[Array, Array, Array]:
        """Queries, keys and values, split into heads; those of one input come from one product."""
        stacked, bias = self._in_weight, self._in_bias
        heads, kv_heads, q_end = self.num_heads, self.num_kv_heads, self._ends[0]
        if stacked is not None and k_in is q_in and v_in is k_in:
            y = split_heads(project(q_in, stacked.T, bias, dtype, threads), heads + 2 * kv_heads)
            keys_end = heads + kv_heads
            return y[..., :heads, :, :], y[..., heads:keys_end, :, :], y[..., keys_end:, :, :]
        q = split_heads(project(q_in, self.w_q, self.b_q, dtype, threads), heads)
        if stacked is not None and v_in is k_in:
            below = None if bias is None else bias[q_end:]
            y = project(k_in, stacked[q_end:].T, below, dtype, threads)
            y = split_heads(y, 2 * kv_heads)
            return q, y[..., :kv_heads, :, :], y[..., kv_heads:, :, :]
        k = project(k_in, self.w_k, self.b_k, dtype, threads)
        v = project(v_in, self.w_v, self.b_v, dtype, threads)
        return q, split_heads(k, kv_heads), split_heads(v, kv_heads)


def _generator(rng: Any) -> np.random.Generator:
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise type(error)(f"rng is {rng!r}: expected a seed or a Generator ({error})") from error
