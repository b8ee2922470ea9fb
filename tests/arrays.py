"""Arrays to test with: random tensors, memory layouts, poisoned surroundings, equality of bytes."""

import ml_dtypes
import numpy as np

DTYPES = (np.float32, np.float64, np.float16, ml_dtypes.bfloat16)


def tensor(rng, shape, dtype=np.float32, kind="normal"):
    """Numbers of one kind: normal, positive (all of one sign: rounding errors do not cancel),
    small (scores near 0), large (scores in the hundreds), equal, or sparse (many exact zeros)."""
    if kind == "normal":
        x = rng.standard_normal(shape)
    elif kind == "positive":
        x = rng.random(shape)
    elif kind == "small":
        x = 1e-3 * rng.standard_normal(shape)
    elif kind == "large":
        x = 8 * rng.standard_normal(shape)
    elif kind == "equal":
        x = np.full(shape, rng.standard_normal())
    else:
        x = rng.standard_normal(shape) * (rng.random(shape) < 0.2)
    return x.astype(dtype)


KINDS = ("normal", "positive", "small", "large", "equal", "sparse")


def qkv(
    rng, n_q, n_k, d, d_v=None, *, heads=1, kv_heads=None, batch=(), dtype=np.float32, kind="normal"
):
    """query, key and value of a plain problem."""
    kv_heads = heads if kv_heads is None else kv_heads
    return (
        tensor(rng, (*batch, heads, n_q, d), dtype, kind),
        tensor(rng, (*batch, kv_heads, n_k, d), dtype, kind),
        tensor(rng, (*batch, kv_heads, n_k, d if d_v is None else d_v), dtype, kind),
    )


def in_layout(x, layout):
    """An array equal to x that lies differently in memory; gaps hold NaN (True in a mask)."""
    if layout == "contiguous":
        return np.ascontiguousarray(x)
    if layout == "fortran":
        return np.asfortranarray(x)
    if layout == "heads_inside":  # (..., n, heads, d) in memory
        if x.ndim < 3:
            return in_layout(x, "fortran")
        return np.ascontiguousarray(np.swapaxes(x, -2, -3)).swapaxes(-2, -3)
    if layout == "reversed":
        backwards = tuple(slice(None, None, -1) for _ in x.shape)
        return np.ascontiguousarray(x[backwards])[backwards]
    if layout == "spread":
        wide = np.full([2 * n + 1 for n in x.shape], poison(x.dtype), x.dtype)
        view = wide[tuple(slice(1, 2 * n + 1, 2) for n in x.shape)]
        view[...] = x
        return view
    if layout == "unaligned":
        raw = np.full(x.nbytes + 1, 0xFF, np.uint8)
        view = raw[1:].view(x.dtype).reshape(x.shape)
        view[...] = x
        return view
    assert layout == "byte_swapped"
    return x.astype(x.dtype.newbyteorder("S"))


LAYOUTS = ("contiguous", "fortran", "heads_inside", "reversed", "spread", "unaligned",
           "byte_swapped")  # fmt: skip


def poison(dtype):
    """The value that gaps and surroundings are filled with: it would show in any result."""
    return np.dtype(dtype).type(True if np.dtype(dtype) == np.bool_ else np.nan)


def poisoned(shape, dtype, margin=3):
    """A view of this shape in the middle of a NaN-filled array, and that array."""
    around = np.full([n + 2 * margin for n in shape], np.nan, dtype)
    return around[tuple(slice(margin, margin + n) for n in shape)], around


def same_bits(a, b):
    """Whether two arrays hold the same bytes in the same order (NaNs and zeros included)."""
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def equal_bool_mask(n_q, n_k, *, causal=False, offset=0, left=None, right=None, length=None):
    """The bool mask [n_q, n_k] that hides what these options hide."""
    p, j = np.arange(n_q)[:, None] + offset, np.arange(n_k)
    mask = np.ones((n_q, n_k), bool)
    if causal:
        mask &= j <= p
    if left is not None:
        mask &= j >= p - left
    if right is not None:
        mask &= j <= p + right
    if length is not None:
        mask &= j < length
    return mask
