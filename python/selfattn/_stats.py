"""Statistics of attention's weights at any length: the matrix of weights is never there."""

from __future__ import annotations

import operator
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from ._head_scores import Positions, check_head_scores, key_sets, mean_scores
from ._overview import Overview
from ._progress import Report, reporting
from ._rows import weights_of_rows, with_offset
from ._selfattn import _attention_stats, _check_attention
from ._stats_result import Array, AttentionStats, check_names, query_window, row_numbers

__all__ = ["attention_stats"]


FIELDS = (
    "output", "lse", "top_weights", "top_indices", "top_rest", "entropy", "max", "argmax",
    "distance", "received", "weighted", "head_scores", "overview",
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
    head_scores: Sequence[str | tuple[str, Any]] = (),
    overview: int = 0,
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
        a second pass, as `column_weights` and `overview` do.
    rows : array_like of int or slice, optional
        Queries whose weights are returned whole. A negative number counts from the end.
    received_rows : slice, optional
        The queries that count for `received`, by default all.
    column_weights : array_like, optional
        ``(Nq,)``, or ``(..., Nq, C)`` where the axes in front broadcast to the batch axes and
        heads: the transposed weights are multiplied with it, as by ``@``. Read in the type of lse.
    head_scores : sequence of str or (str, argument)
        For each head, the mean weight of its queries on keys of a kind: "previous" (the key before
        the query's position), "first" (key 0), "diagonal" (its own position), ("window", 8) (up to
        8 keys away on either side; or (left, right)), ("duplicate", tokens) (the same token earlier
        on), ("induction", tokens) (what came after the same token earlier on [2]_). Tokens are
        integers or strings, ``(Nk,)`` or ``(..., Nk)`` with the batch axes. A query that has no
        such key does not count.
    overview : int
        The side of a map of the largest and the mean weight of blocks of
        ceil(Nq / overview) x ceil(Nk / overview) weights, which `view` shows; 0: none.
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
    .. [2] C. Olsson et al., "In-context Learning and Induction Heads", 2022, arXiv:2209.11895.

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
    begin, end = query_window(received_rows, n_q, names)
    columns, is_vector = _columns(column_weights, query, key, value)
    numbers = None if rows is None else row_numbers(rows, n_q)
    top_k, overview = _count("top_k", top_k), _count("overview", overview)
    batch_shape = np.broadcast_shapes(query.shape[:-3], key.shape[:-3], value.shape[:-3])
    scores = check_head_scores(head_scores, batch_shape, key.shape[-2])

    recompute = partial(weights_of_rows, query=query, key=key, mask=mask, options=options)

    wanted = _wanted(names, top_k > 0, columns is not None, overview > 0, bool(scores))
    sets, chains = key_sets(scores)
    with reporting(progress, "attention") as report:
        request = (wanted, top_k, begin, end, columns, overview, sets, chains, report)
        found: dict[str, Any] = _attention_stats(request, query, key, value, mask, **options)
    found["output"] = found["output"] if has_value else None
    found["weighted"] = found["weighted"][..., 0] if is_vector else found.get("weighted")
    if overview:
        found["overview"] = Overview(found["overview_max"], found["overview_mean"])
    if scores:
        positions = _positions(options, batch_shape, n_q, key.shape[-2])
        weights = found["set_weights"]
        found["head_scores"] = mean_scores(scores, weights, chains, positions, batch_shape)
    arrays: dict[str, Any] = {name: found.get(name) for name in FIELDS}
    chosen_rows = None if numbers is None else recompute(numbers)
    return AttentionStats(**arrays, rows=chosen_rows, recompute=recompute, n_k=key.shape[-2])


def _wanted(
    names: frozenset[str], top: bool, weighted: bool, overview: bool, sets: bool
) -> frozenset[str]:
    """The arrays that C makes."""
    return names.union(
        ("argmax",) if "max" in names else (),
        ("top_weights", "top_indices", "top_rest") if top else (),
        ("weighted",) if weighted else (),
        ("overview_max", "overview_mean") if overview else (),
        ("set_weights",) if sets else (),
    )


def _count(name: str, count: Any) -> int:
    """An argument that is an integer and not negative."""
    if isinstance(count, bool) or not hasattr(type(count), "__index__"):
        raise TypeError(f"{name} must be an int, not {type(count).__name__}")
    number = operator.index(count)
    if not 0 <= number <= sys.maxsize:
        raise ValueError(f"{name} is {number}: expected 0 ... {sys.maxsize}")
    return number


def _positions(
    options: dict[str, Any], batch_shape: tuple[int, ...], n_q: int, n_k: int
) -> Positions:
    """Where queries stand among the keys, and how many keys there are, by batch entry."""
    offset = with_offset(options, n_q, n_k)["query_offset"]
    lengths = options["key_lengths"]
    of_entry = [
        np.broadcast_to(np.asarray(x, np.int64), batch_shape).reshape(-1)
        for x in (offset, n_k if lengths is None else lengths)
    ]
    return Positions(np.arange(n_q) + of_entry[0][:, np.newaxis], of_entry[1])


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
