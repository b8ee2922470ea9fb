"""Statistics of attention's weights at any length: the matrix of weights is never there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from ._progress import Report, reporting
from ._rows import weights_of_rows
from ._selfattn import _attention_stats, _check_attention
from ._stats_result import Array, AttentionStats, check_names, query_window, row_numbers

__all__ = ["attention_stats"]


FIELDS = (
    "output", "lse", "top_weights", "top_indices", "top_rest", "entropy", "max", "argmax",
    "distance", "received", "weighted",
)  # fmt: skip


def attention_stats(
    query: ArrayLike,
    key: ArrayLike,
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
    top_k: int = 0,
    stats: Sequence[str] = ("entropy", "max", "received", "distance"),
    rows: ArrayLike | slice | None = None,
    received_rows: slice | None = None,
    column_weights: ArrayLike | None = None,
    progress: bool | Report = False,
    num_threads: int | None = None,
) -> AttentionStats:
    """Compute exact statistics of attention's weights without the matrix of weights.

    One pass over the keys gives the output and what belongs to a query, a second one what belongs
    to a key. Nothing is sampled, and no array has Nq x Nk elements.

    Parameters
    ----------
    query, key : array_like
        ``(..., Hq, Nq, D)`` and ``(..., Hkv, Nk, D)``, or both 2-D, as for `attention`.
    value : array_like, optional
        ``(..., Hkv, Nk, Dv)``. Without it there is no output, and less to compute.
    mask, bias, causal, window, query_offset, scale, softcap : optional
        As for `attention`.
    alibi_slopes, sinks, key_lengths : optional
        As for `attention`.
    top_k : int
        How many of the largest weights of each query to keep.
    stats : sequence of str
        Some of "entropy", "max" (with argmax), "received" and "distance". Only "received" needs
        the second pass, as `column_weights` does.
    rows : array_like of int or slice, optional
        Queries whose weights are returned whole. A negative number counts from the end.
    received_rows : slice, optional
        The queries that count for `received`, by default all.
    column_weights : array_like, optional
        ``(Nq,)``, or ``(..., Nq, C)`` where the axes in front broadcast to the batch axes and
        heads: the transposed weights are multiplied with it, as by ``@``. Read in the type of lse.
    progress : bool or callable
        True: a bar, by tqdm if it is installed. A function gets the fraction that is done, about
        20 times a second.
    num_threads : int, optional
        How many threads this call may use.

    Returns
    -------
    AttentionStats
        Arrays by name.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If its shape or value does not fit.
    KeyboardInterrupt
        Ctrl-C stops a long call.

    Notes
    -----
    With p = 2**(t - m), m the running maximum of a row's logits t in units of log2, the sums of p,
    p (t - m) and p abs(pos - j) are kept beside the running softmax [1]_ and rescaled by exact
    powers of two when m grows; entropy = (ln l sum p - ln 2 sum p (t - m)) / l with l the softmax's
    denominator. `max`, `top_weights` and their order come from the very weights that `attention`
    returns. No bit depends on the number of threads.

    References
    ----------
    .. [1] M. Milakov, N. Gimelshein, "Online normalizer calculation for softmax", 2018,
       arXiv:1805.02867.

    Examples
    --------
    Which keys does each query look at, and how sharply?

    >>> import numpy as np
    >>> import selfattn
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((2, 1000, 16), dtype=np.float32)
    >>> found = selfattn.attention_stats(4 * x, x, causal=True, top_k=3)
    >>> found.top_indices.shape, found.entropy.shape, found.received.shape
    ((2, 1000, 3), (2, 1000), (2, 1000))
    >>> bool(np.isclose(found.received.sum(), 2 * 1000))
    True
    """
    names = check_names(stats)
    query, key, value, has_value = _operands(query, key, value)
    options: dict[str, Any] = {
        "bias": bias, "causal": causal, "window": window, "query_offset": query_offset,
        "scale": scale, "softcap": softcap, "alibi_slopes": alibi_slopes, "sinks": sinks,
        "key_lengths": key_lengths, "num_threads": num_threads,
    }  # fmt: skip
    _check_attention(query, key, value, mask, **options)
    n_q = query.shape[-2]
    if received_rows is not None and "received" not in names:
        raise ValueError('received_rows is given without "received" in stats')
    begin, end = query_window(received_rows, n_q)
    columns, is_vector = _columns(column_weights, query, key, value)
    numbers = None if rows is None else row_numbers(rows, n_q)
    top_k = check_top_k(top_k)

    def recompute(chosen: Any) -> Array:
        return weights_of_rows(chosen, query, key, mask, options)

    wanted = names | ({"argmax"} if "max" in names else set())
    wanted |= {"top_weights", "top_indices", "top_rest"} if top_k else set()
    wanted |= {"weighted"} if columns is not None else set()
    with reporting(progress, "attention") as report:
        request = (wanted, top_k, begin, end, columns, report)
        found = _attention_stats(request, query, key, value, mask, **options)
    if not has_value:
        del found["output"]
    if is_vector:
        found["weighted"] = found["weighted"][..., 0]
    arrays: dict[str, Any] = {name: found.get(name) for name in FIELDS}
    return AttentionStats(
        **arrays,
        rows=None if numbers is None else recompute(numbers),
        recompute=recompute,
        n_k=key.shape[-2],
    )


def check_top_k(top_k: Any) -> int:
    """The argument top_k, an integer that is not negative."""
    if isinstance(top_k, bool) or not hasattr(top_k, "__index__"):
        raise TypeError(f"top_k must be an int, not {type(top_k).__name__}")
    number = int(top_k.__index__())
    if number < 0:
        raise ValueError(f"top_k is {number}: expected 0 or more weights to keep")
    return number


def _operands(query: Any, key: Any, value: Any) -> tuple[Array, Array, Array, bool]:
    """Arrays of any class, so that `attention` can refuse what it does not take."""
    q, k = np.asanyarray(query), np.asanyarray(key)
    v = k[..., :0] if value is None and k.ndim else np.asanyarray(value)
    return q, k, v, value is not None


def _columns(
    column_weights: ArrayLike | None, query: Array, key: Array, value: Array
) -> tuple[Array | None, bool]:
    """``(batch..., Hq, Nq, C)`` in the type of lse, and whether it was a vector."""
    if column_weights is None:
        return None, False
    dtype = np.result_type(query, key, value)
    wide = dtype.kind in "biu" or dtype.itemsize > 4
    columns = np.asarray(column_weights)
    if columns.dtype.kind not in "biuf" and columns.dtype.name != "bfloat16":
        raise TypeError(f"column_weights is {columns.dtype}: expected real numbers")
    columns = columns.astype(np.float64 if wide else np.float32)
    is_vector = columns.ndim == 1
    if is_vector:
        columns = columns[:, np.newaxis]
    batch = np.broadcast_shapes(query.shape[:-3], key.shape[:-3], value.shape[:-3])
    rows = (*batch, *query.shape[-3:-1])
    try:
        return np.broadcast_to(columns, (*rows, columns.shape[-1])), is_vector
    except (ValueError, IndexError):
        raise ValueError(
            f"column_weights has shape {np.shape(column_weights)}: expected ({rows[-1]},) or one "
            f"whose axes but the last broadcast to {rows}, the batch axes, heads and queries"
        ) from None
