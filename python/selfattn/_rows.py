"""Whole weights of some queries: `attention` on those queries, each at its own position."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._selfattn import attention

__all__ = ["weights_of_rows", "with_offset"]

Array = NDArray[Any]


def weights_of_rows(
    rows: NDArray[np.int64], query: Array, key: Array, mask: Any, options: dict[str, Any]
) -> Array:
    """Exact weights of chosen queries, in the type of lse.

    Parameters
    ----------
    rows : ndarray of int64
        Query numbers from 0 on, in any order.
    query, key : ndarray
        ``(..., Hq, Nq, D)`` and ``(..., Hkv, Nk, D)``, or both 2-D.
    mask : array_like or None
        As for `attention`.
    options : dict
        The keywords of `attention`.

    Returns
    -------
    ndarray
        ``(..., Hq, R, Nk)``.
    """
    n_q, n_k = query.shape[-2], key.shape[-2]
    options = with_offset(options, n_q, n_k)
    dtype = np.result_type(query, key)
    wide = np.float64 if dtype.kind in "biu" or dtype.itemsize > 4 else np.float32
    # float16 weights would be rounded: those of float32 operands are not
    query, key = query.astype(wide, copy=False), key.astype(wide, copy=False)
    batch = np.broadcast_shapes(query.shape[:-3], key.shape[:-3])
    weights = np.empty((*batch, *query.shape[-3:-2], len(rows), n_k), wide)
    for begin, end in _runs(rows):
        first, last = rows[begin], rows[end - 1] + 1
        shifted = {**options, "query_offset": np.asarray(options["query_offset"]) + first}
        shifted["bias"] = _slice_rows(options["bias"], first, last, n_q)
        part = attention(
            query[..., first:last, :], key, key[..., :0], _slice_rows(mask, first, last, n_q),
            **shifted, return_weights=True,
        )[1]  # fmt: skip
        weights[..., begin:end, :] = part
    return weights


def with_offset(options: dict[str, Any], n_q: int, n_k: int) -> dict[str, Any]:
    """The same call with the position of query 0 as a number or an array."""
    offset = options["query_offset"]
    if options["causal"] == "lower_right":
        lengths = options["key_lengths"]
        offset = np.asarray(n_k if lengths is None else lengths, np.int64) - n_q
    causal = options["causal"]
    return {
        **options,
        "causal": True if isinstance(causal, str) else causal,
        "query_offset": np.asarray(0 if offset is None else offset, np.int64),
    }


def _slice_rows(term: Any, first: int, last: int, n_q: int) -> Any:
    """Rows of a mask or bias; one row that serves all queries stays as it is."""
    if term is None:
        return None
    term = np.asanyarray(term)
    if term.ndim < 2 or (term.shape[-2] == 1 and n_q != 1):
        return term
    return term[..., first:last, :]


def _runs(rows: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Stretches of `rows` that count up by one."""
    if not len(rows):
        return []
    cuts = [0, *(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
    return list(pairwise(cuts))
