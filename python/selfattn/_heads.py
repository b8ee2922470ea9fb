"""What `self_attention` and `MultiHeadAttention` share: project, split into heads, attend, join.

    q = x W_q + b_q, k = ..., v = ...;  out = concat_h(attention(q_h, k_h, v_h)) W_o + b_o

All products and sums run in C. Between the steps everything is in the compute type (float32 for
the 16-bit types), and only results are rounded to the type of the arguments.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._arrays import Array, as_integer, compute_dtype, take_out
from ._selfattn import _check_attention, _linear, attention

_ZERO = np.zeros(1)


def count_heads(num_heads: Any, num_kv_heads: Any) -> tuple[int, int]:
    """Numbers of query heads and of key heads, the same if not given."""
    heads = as_integer("num_heads", num_heads, 1)
    kv_heads = heads if num_kv_heads is None else as_integer("num_kv_heads", num_kv_heads, 1)
    if heads % kv_heads:
        raise ValueError(
            f"num_kv_heads is {kv_heads} and num_heads {heads}: query heads must be a multiple of "
            "key heads"
        )
    return heads, kv_heads


def check_tokens(name: str, x: Array, width: int | None = None) -> None:
    """(..., tokens, features), with as many features as said."""
    expected = "features" if width is None else width
    if x.ndim < 2 or (width is not None and x.shape[-1] != width):
        raise ValueError(f"{name} has shape {x.shape}: expected (..., tokens, {expected})")


def split_heads(x: Array, heads: int) -> Array:
    """(..., n, heads * d) as a view (..., heads, n, d)."""
    *before, width = x.shape
    return x.reshape(*before, heads, width // heads).swapaxes(-2, -3)


def project(
    x: Array, weight: Array, bias: Array | None, dtype: np.dtype[Any], num_threads: Any
) -> Array:
    """X @ weight + bias in `dtype`, by the C core."""
    y = np.empty((*x.shape[:-1], weight.shape[1]), dtype)
    return _linear(x, weight, bias, y, num_threads)


class Call:
    """One call of the layer; everything is checked before anything is computed.

    Parameters
    ----------
    dtype : dtype
        Of the results.
    q_shape, k_shape, v_shape : tuple of int
        Of the projected inputs split into heads, ``(..., heads, n, d)``.
    d_out : int
        Length of the result's last axis.
    mask, options
        Of attention: `options` are its keywords but `out`.
    out : ndarray, tuple or None
        What the caller gave.
    """

    def __init__(
        self,
        dtype: np.dtype[Any],
        q_shape: tuple[int, ...],
        k_shape: tuple[int, ...],
        v_shape: tuple[int, ...],
        d_out: int,
        mask: Any,
        options: dict[str, Any],
        out: Any,
    ) -> None:
        self.dtype, self.compute = dtype, compute_dtype(dtype)
        self._mask, self._options = mask, options
        q = stand_in(q_shape, self.compute)
        k = q if k_shape == q_shape else stand_in(k_shape, self.compute)
        v = k if v_shape == k_shape else stand_in(v_shape, self.compute)
        _check_attention(q, k, v, mask, **options)
        batch = q_shape[:-3]
        if not (k_shape[:-3] == batch == v_shape[:-3]):
            batch = np.broadcast_shapes(batch, k_shape[:-3], v_shape[:-3])
        self._joined_shape = (*batch, q_shape[-2], q_shape[-3] * v_shape[-1])
        self._targets: dict[str, Array | None] = {}
        if out is not None:
            wanted = {"out": ((*batch, q_shape[-2], d_out), dtype)}
            which = options["return_weights"]
            if which:
                heads = () if isinstance(which, str) else q_shape[-3:-2]
                wanted["weights"] = ((*batch, *heads, q_shape[-2], k_shape[-2]), dtype)
            if options["return_lse"]:
                wanted["lse"] = ((*batch, *q_shape[-3:-1]), self.compute)
            self._targets = take_out(out, wanted)

    def attend(self, q: Array, k: Array, v: Array, w_o: Array | None, b_o: Array | None) -> Any:
        """Attention of projected and split q, k and v, joined and projected once more."""
        given, *others = self._targets.values() or (None,)
        if w_o is None and given is not None and given.dtype == self.compute:
            joined = given
        else:
            joined = np.empty(self._joined_shape, self.compute)
        out: Any = split_heads(joined, q.shape[-3])
        if others:
            out = (out, *(self._direct(place, w_o, b_o) for place in others))
        found = attention(q, k, v, self._mask, **self._options, out=out)
        first = self._finish(joined, w_o, b_o, given)
        if not isinstance(found, tuple):
            return first
        results = [first]
        for i, x in enumerate(found[1:]):
            is_weights = i == 0 and self._options["return_weights"]
            dtype = self.dtype if is_weights else self.compute
            results.append(_deliver(x, others[i] if others else None, dtype))
        return tuple(results)

    def _direct(self, place: Array | None, *read_later: Array | None) -> Array | None:
        """The caller's array for a further result if attention may write it at once."""
        fits = place is not None and place.dtype == self.compute and not _meets(place, *read_later)
        return place if fits else None

    def _finish(
        self, joined: Array, w_o: Array | None, b_o: Array | None, given: Array | None
    ) -> Array:
        """The output projection, into the caller's array where that can be written at once."""
        if w_o is not None:
            threads = self._options["num_threads"]
            if given is not None and given.flags.behaved and not _meets(given, w_o, b_o):
                return _linear(joined, w_o, b_o, given, threads)
            joined = project(joined, w_o, b_o, self.dtype, threads)
        return _deliver(joined, given, self.dtype)


def stand_in(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array of that shape which takes no memory."""
    return np.ndarray(shape, dtype, _ZERO, 0, (0,) * len(shape))


def _meets(place: Array, *others: Array | None) -> bool:
    return any(x is not None and np.may_share_memory(place, x) for x in others)


def _deliver(x: Array, place: Array | None, dtype: np.dtype[Any]) -> Array:
    """`x` in `dtype`, in the caller's array if there is one."""
    if x is place or (place is None and x.dtype == dtype):
        return x
    if place is None:
        place = np.empty(x.shape, dtype)
    with np.errstate(all="ignore"):
        place[...] = x
    return place
