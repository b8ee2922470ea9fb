"""What `attention_stats` returns: statistics of weights that were never all there at once."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._overview import Overview

__all__ = ["NAMES", "AttentionStats", "check_names", "query_window", "row_numbers"]

Array = NDArray[Any]

NAMES = ("entropy", "max", "received", "distance")
"""What the argument `stats` may name."""


@dataclass(frozen=True, eq=False, repr=False)
class AttentionStats:
    """Statistics of attention's weights; None where something was not asked for.

    Made by `attention_stats`. Numbers are float64 if the output is, else float32; indices int64.
    A row that sees no key has zeros and index -1, one that a NaN reaches has NaN and index -1.

    Parameters
    ----------
    output : ndarray or None
        ``(..., Hq, Nq, Dv)``, what `attention` returns, bit for bit; None without `value`.
    lse : ndarray
        ``(..., Hq, Nq)``, the logarithm of the softmax's denominator.
    top_weights, top_indices : ndarray or None
        ``(..., Hq, Nq, top_k)``, largest first, among equal ones the lowest index. Slots beyond
        the visible keys have weight 0 and index -1.
    top_rest : ndarray or None
        ``(..., Hq, Nq)``, the sum of the weights that are not in `top_weights`.
    entropy : ndarray or None
        ``(..., Hq, Nq)``, -sum w ln w over the keys, in nats.
    max, argmax : ndarray or None
        ``(..., Hq, Nq)``, the largest weight and the first key that has it.
    distance : ndarray or None
        ``(..., Hq, Nq)``, sum w abs(p - j), p the query's position among the keys.
    received : ndarray or None
        ``(..., Hq, Nk)``, the sum of the weights over the queries, or over a window of them.
    weighted : ndarray or None
        ``(..., Hq, Nk)`` or ``(..., Hq, Nk, C)``, the transposed weights times `column_weights`.
    head_scores : dict of str to ndarray, or None
        ``(..., Hq)`` by name, the mean weight on keys of a kind.
    overview : Overview or None
        Arrays ``max`` and ``mean``, each ``(..., Hq, side, side)``: of blocks of weights.
    rows : ndarray or None
        ``(..., Hq, R, Nk)``, the weights of the queries that were asked for.
    recompute : callable
        Weights of an array of query numbers, from the arrays of the call.
    n_k : int
        How many keys there are.

    Raises
    ------
    TypeError
        If it is made with other arguments.

    Examples
    --------
    >>> import numpy as np
    >>> import selfattn
    >>> x = np.eye(3)
    >>> stats = selfattn.attention_stats(x, x, causal=True, top_k=1)
    >>> stats
    AttentionStats of (3,) queries x 3 keys: lse, top_weights, top_indices, top_rest, entropy, max,
        argmax, distance, received
    >>> stats.top_indices[:, 0]
    array([0, 1, 2])
    >>> stats.to_dense().round(2)
    array([[1.  , 0.  , 0.  ],
           [0.  , 0.64, 0.  ],
           [0.  , 0.  , 0.47]])
    >>> stats.to_dense(rows=[2]).round(2)
    array([[0.26, 0.26, 0.47]])
    """

    output: Array | None
    lse: Array
    top_weights: Array | None
    top_indices: Array | None
    top_rest: Array | None
    entropy: Array | None
    max: Array | None
    argmax: Array | None
    distance: Array | None
    received: Array | None
    weighted: Array | None
    head_scores: dict[str, Array] | None
    overview: Overview | None
    rows: Array | None
    recompute: Callable[[NDArray[np.int64]], Array]
    n_k: int

    def __repr__(self) -> str:
        """Which numbers there are, not the numbers."""
        there = [f.name for f in fields(self) if getattr(self, f.name) is not None][:-2]
        text = f"AttentionStats of {self.lse.shape} queries x {self.n_k} keys: {', '.join(there)}"
        return textwrap.fill(text, 96, subsequent_indent="    ", break_long_words=False)

    def to_dense(self, rows: ArrayLike | slice | None = None) -> Array:
        """Weights as a matrix: the kept ones in zeros, or all of some rows.

        Parameters
        ----------
        rows : array_like of int or slice, optional
            Queries whose weights are computed again, from the arrays that the call was given; they
            must not have changed since. None: place `top_weights` in zeros, for all queries.

        Returns
        -------
        ndarray
            ``(..., Hq, Nq, Nk)``, or ``(..., Hq, R, Nk)`` for R rows.

        Raises
        ------
        TypeError
            If `rows` holds something else than integers.
        ValueError
            If there are no kept weights and no rows, or a row that does not exist.
        """
        if rows is not None:
            return self.recompute(row_numbers(rows, self.lse.shape[-1]))
        if self.top_weights is None or self.top_indices is None:
            raise ValueError("there are no kept weights: call attention_stats with top_k, or rows=")
        # One column more takes what belongs nowhere.
        dense = np.zeros((*self.lse.shape, self.n_k + 1), self.top_weights.dtype)
        np.put_along_axis(dense, self.top_indices % (self.n_k + 1), self.top_weights, axis=-1)
        return dense[..., : self.n_k]


def check_names(stats: Any) -> frozenset[str]:
    """The argument `stats` as a set."""
    if isinstance(stats, str):
        raise TypeError(f'stats is "{stats}": expected a sequence of names, ("{stats}",)')
    try:
        names = frozenset(stats)
    except TypeError:
        kind = type(stats).__name__
        raise TypeError(f"stats must be a sequence of names, not {kind}; () is none") from None
    unknown = sorted(str(name) for name in names - set(NAMES))
    if unknown:
        raise ValueError(f"stats has {', '.join(unknown)}: expected some of {', '.join(NAMES)}")
    return names


def query_window(received_rows: Any, n_q: int, names: frozenset[str]) -> tuple[int, int]:
    """First and end of the queries that count for `received`, one of the names if it is given."""
    if received_rows is None:
        return 0, n_q
    if "received" not in names:
        raise ValueError('received_rows is given without "received" in stats')
    if not isinstance(received_rows, slice):
        kind = type(received_rows).__name__
        raise TypeError(f"received_rows must be a slice, not {kind}: slice(begin, end)")
    begin, end, step = received_rows.indices(n_q)
    if step != 1:
        raise ValueError(f"received_rows has step {step}: expected a slice without one")
    return begin, max(begin, end)


def row_numbers(rows: Any, n_q: int) -> NDArray[np.int64]:
    """Query numbers, negative ones counted from the end."""
    if isinstance(rows, slice):
        return np.arange(n_q)[rows]
    numbers = np.atleast_1d(np.asarray(rows))
    if numbers.size == 0:
        numbers = numbers.astype(np.int64)
    if numbers.dtype.kind not in "iu":
        raise TypeError(f"rows is {numbers.dtype}: expected integers or a slice")
    if numbers.ndim != 1:
        raise ValueError(f"rows has shape {numbers.shape}: expected one axis")
    wrong = numbers[(numbers < -n_q) | (numbers >= n_q)]
    if wrong.size:
        raise ValueError(f"rows has {wrong[0]}: expected {-n_q} ... {n_q - 1}, there are {n_q}")
    return numbers.astype(np.int64) % max(n_q, 1)
