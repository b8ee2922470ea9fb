"""Every rule about the arguments of attention, in the order in which they stand.

TypeError for the kind of a thing, ValueError for its shape or value. A sentence names the
argument, what it got, what was expected and the way out.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._problem import Array, Problem

_ALIGNMENTS = ("upper_left", "lower_right")


def check_attention(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    mask: ArrayLike | None,
    *,
    bias: ArrayLike | None,
    causal: Any,
    window: Any,
    query_offset: ArrayLike | None,
    scale: Any,
    softcap: Any,
    alibi_slopes: ArrayLike | None,
    sinks: ArrayLike | None,
    key_lengths: ArrayLike | None,
) -> Problem:
    """Check all arguments but those about the results; return the problem they describe."""
    q, k, v = (as_array(*item) for item in (("query", query), ("key", key), ("value", value)))
    dtype = _result_type(q, k, v)
    q, k, v = _with_heads(q, k, v)
    batch_shape = q.shape[:-3]
    n_heads, n_q, d = q.shape[-3:]
    n_k = k.shape[-2]
    weights_shape = (*batch_shape, n_heads, n_q, n_k)
    is_2d = np.ndim(query) == 2

    mask = _score_term("mask", mask, weights_shape, is_2d, allow_bool=True)
    bias = _score_term("bias", bias, weights_shape, is_2d, allow_bool=False)
    causal = _causal(causal)
    sides = _window(window)
    offset = _integers("query_offset", query_offset, batch_shape)
    if causal == "lower_right" and offset is not None:
        raise ValueError('query_offset cannot stand beside causal="lower_right", which sets it')
    needs_positions = causal == "yes" or window is not None or alibi_slopes is not None
    if n_q != n_k and needs_positions and offset is None and causal not in _ALIGNMENTS:
        raise ValueError(
            f"{n_q} queries and {n_k} keys: causal=True, window and alibi_slopes need "
            'causal="upper_left", causal="lower_right" or query_offset to know where query 0 stands'
        )
    lengths = _key_lengths(key_lengths, batch_shape, n_k)
    if causal == "lower_right":
        offset = (np.broadcast_to(n_k, batch_shape) if lengths is None else lengths) - n_q

    return Problem(
        query=q,
        key=k,
        value=v,
        dtype=dtype,
        compute=dtype if dtype.itemsize > 2 else np.dtype(np.float32),
        is_2d=is_2d,
        mask=mask,
        bias=bias,
        causal=causal != "no",
        window=sides,
        query_offset=offset,
        key_lengths=lengths,
        scale=1 / math.sqrt(max(d, 1)) if scale is None else _finite("scale", scale),
        softcap=None if softcap is None else _positive("softcap", softcap),
        alibi_slopes=_per_head("alibi_slopes", alibi_slopes, n_heads, allow_minus_inf=False),
        sinks=_per_head("sinks", sinks, n_heads, allow_minus_inf=True),
    )


def check_returns(problem: Problem, return_weights: Any, return_lse: Any) -> None:
    if isinstance(return_weights, str):
        if return_weights != "mean":
            raise ValueError(
                f'return_weights must be True, False or "mean", not {return_weights!r}'
            )
        if problem.query.shape[-3] == 0:
            raise ValueError('return_weights="mean" needs at least one head')
    elif not isinstance(return_weights, (bool, np.bool_)):
        raise TypeError(f'return_weights must be True, False or "mean", not {return_weights!r}')
    if not isinstance(return_lse, (bool, np.bool_)):
        raise TypeError(f"return_lse must be True or False, not {return_lse!r}")


def check_num_threads(num_threads: Any) -> None:
    if num_threads is not None and _integer("num_threads", num_threads) < 1:
        raise ValueError(f"num_threads must be at least 1, not {num_threads}")


def as_array(name: str, value: Any) -> Array:
    """`value` as a plain ndarray; a masked array is refused, for its mask would be lost."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} is a MaskedArray: pass {name}.data, and its mask as mask=")
    return np.asarray(value)


def is_float(dtype: np.dtype[Any]) -> bool:
    """float16, bfloat16 (of ml_dtypes, which need not be installed), float32 or float64."""
    return dtype.name in ("float16", "bfloat16", "float32", "float64")


def _result_type(q: Array, k: Array, v: Array) -> np.dtype[Any]:
    """The type of the results: NumPy's promotion of query, key and value."""
    names = f"query is {q.dtype}, key {k.dtype} and value {v.dtype}"
    try:
        dtype = np.result_type(q.dtype, k.dtype, v.dtype)
    except TypeError:
        raise TypeError(f"{names}, which have no common type: convert with astype") from None
    if dtype.kind in "biu":
        return np.dtype(np.float64)
    if not is_float(dtype):
        raise TypeError(f"{names}: expected real floats of at most 64 bits, convert with astype")
    return dtype.newbyteorder("=")


def _with_heads(q: Array, k: Array, v: Array) -> tuple[Array, Array, Array]:
    """Check the shapes, add a head axis to 2-D arrays and broadcast the batch axes."""
    shapes = f"query has shape {q.shape}, key {k.shape} and value {v.shape}"
    if not (q.ndim == k.ndim == v.ndim == 2 or min(q.ndim, k.ndim, v.ndim) >= 3):
        raise ValueError(f"{shapes}: expected all 2-D, or all (..., heads, tokens, features)")
    if q.shape[-1] != k.shape[-1]:
        raise ValueError(f"{shapes}: query and key must have equal last axes")
    if k.shape[-2] != v.shape[-2]:
        raise ValueError(f"{shapes}: key and value must have the same number of tokens")
    if q.ndim == 2:
        return q[np.newaxis], k[np.newaxis], v[np.newaxis]

    n_heads, n_kv_heads = q.shape[-3], k.shape[-3]
    if n_kv_heads != v.shape[-3]:
        raise ValueError(f"key has {n_kv_heads} heads and value {v.shape[-3]}: expected equal")
    if n_heads and (n_kv_heads == 0 or n_heads % n_kv_heads):
        raise ValueError(
            f"key has {n_kv_heads} heads and query {n_heads}: "
            "query heads must be a multiple of key heads"
        )
    try:
        batch_shape = np.broadcast_shapes(q.shape[:-3], k.shape[:-3], v.shape[:-3])
    except ValueError:
        raise ValueError(f"{shapes}: the axes before heads do not broadcast") from None
    q, k, v = (np.broadcast_to(x, batch_shape + x.shape[-3:]) for x in (q, k, v))
    return q, k, v


def _score_term(
    name: str, value: Any, shape: tuple[int, ...], is_2d: bool, *, allow_bool: bool
) -> Array | None:
    """A mask or bias as a view of the shape of the weights."""
    if value is None:
        return None
    x = as_array(name, value)
    if x.dtype.kind in "iu" and allow_bool:
        raise TypeError(
            f"{name} is {x.dtype}: use {name}.astype(bool) (True = may look) or a float to add"
        )
    if not (is_float(x.dtype) or (allow_bool and x.dtype == bool)):
        kinds = "bool or float" if allow_bool else "float"
        raise TypeError(f"{name} is {x.dtype}: expected {kinds}, convert with astype")
    target = shape[1:] if is_2d else shape
    try:
        return np.broadcast_to(np.broadcast_to(x, target), shape)
    except ValueError:
        hint = ""
        if len(shape) == 4 and x.shape == (shape[0], shape[-1]):
            hint = f"; for one row of keys per batch entry use {name}[:, None, None, :]"
        raise ValueError(
            f"{name} has shape {x.shape}, which does not broadcast to {target}{hint}"
        ) from None


def _causal(causal: Any) -> str:
    """One of "no", "yes" (where query 0 stands is said elsewhere) and the named alignments."""
    if isinstance(causal, (bool, np.bool_)):
        return "yes" if causal else "no"
    expected = 'causal must be False, True, "upper_left" or "lower_right"'
    if not isinstance(causal, str):
        raise TypeError(f"{expected}, not {type(causal).__name__}")
    if causal not in _ALIGNMENTS:
        raise ValueError(f"{expected}, not {causal!r}")
    return causal


def _window(window: Any) -> tuple[int | None, int | None]:
    """Keys to the left and right of a query's position that it sees; None = open."""
    if window is None:
        return None, None
    sides = window if isinstance(window, (tuple, list)) else (window, window)
    if len(sides) != 2:
        raise ValueError(f"window must be an int or (left, right), not {len(sides)} numbers")
    left, right = (None if side is None else _integer("window", side) for side in sides)
    if min(left or 0, right or 0) < 0:
        raise ValueError(f"window must not be negative, not {window!r}; None is an open side")
    return left, right


def _key_lengths(value: Any, batch_shape: tuple[int, ...], n_k: int) -> Array | None:
    lengths = _integers("key_lengths", value, batch_shape)
    if lengths is not None and not ((lengths >= 0) & (lengths <= n_k)).all():
        raise ValueError(f"key_lengths is {lengths}: expected 0 ... {n_k}, the number of keys")
    return lengths


def _integers(name: str, value: Any, batch_shape: tuple[int, ...]) -> Array | None:
    """Integers, one per batch entry, as int64."""
    if value is None:
        return None
    x = as_array(name, value)
    too_big_for_uint64 = isinstance(value, int) and x.dtype == object
    if too_big_for_uint64 or (x.dtype == np.uint64 and (x >> 63).any()):
        raise ValueError(f"{name} does not fit into 64 bits")
    if x.dtype.kind not in "iu":
        raise TypeError(f"{name} is {x.dtype}: expected integers, convert with astype")
    try:
        return np.broadcast_to(x.astype(np.int64), batch_shape)
    except ValueError:
        raise ValueError(
            f"{name} has shape {x.shape}, which does not broadcast to the batch shape {batch_shape}"
        ) from None


def _per_head(name: str, value: Any, n_heads: int, *, allow_minus_inf: bool) -> Array | None:
    """One number for each query head."""
    if value is None:
        return None
    x = as_array(name, value)
    if not (is_float(x.dtype) or x.dtype.kind in "iu"):
        raise TypeError(f"{name} is {x.dtype}: expected floats, convert with astype")
    if x.shape != (n_heads,):
        raise ValueError(f"{name} has shape {x.shape}: expected ({n_heads},), one per query head")
    x = x.astype(np.float64)
    if not (np.isfinite(x) | (allow_minus_inf & (x == -np.inf))).all():
        raise ValueError(f"{name} must be finite{' or -inf' if allow_minus_inf else ''}")
    return x


def _integer(name: str, value: Any) -> int:
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be an int, not bool")
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an int, not {type(value).__name__}") from None


def _finite(name: str, value: Any) -> float:
    kind = f"{name} must be a real number, not {type(value).__name__}"
    if isinstance(value, (bool, np.bool_)) or np.ndim(value) or np.iscomplexobj(value):
        raise TypeError(kind)
    try:
        finite = math.isfinite(value)
    except TypeError:
        raise TypeError(kind) from None
    except OverflowError:
        finite = False
    if not finite:
        raise ValueError(f"{name} must be finite, not {value}")
    return float(value)


def _positive(name: str, value: Any) -> float:
    number = _finite(name, value)
    if number <= 0:
        raise ValueError(f"{name} must be positive, not {value}; None turns it off")
    return number
