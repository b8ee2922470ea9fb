"""A case with its arrays, and what it must cost: FLOPs and bytes, counted exactly.

    FLOPs = 2 (d + d_v) per visible (query, key) pair;  bytes = every array touched once

The hidden pairs of causal, window, lengths and masks are not counted, so a kernel that computes
them shows as a slower one.
"""

from __future__ import annotations

import functools
import math
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ._bench_cases import Case

__all__ = ["DENSE_LIMIT", "Problem", "Unsupported", "find_dtype"]

# Peers that hold all scores are not run beyond this many bytes of scores.
DENSE_LIMIT = 2 << 30
_HIDDEN_SHARE = 0.1


class Unsupported(Exception):
    """A library cannot serve a case; the text says why."""


def find_dtype(name: str) -> np.dtype[Any]:
    """The NumPy type of a name; bfloat16 comes from ml_dtypes.

    Raises
    ------
    Unsupported
        If ml_dtypes is not installed.
    """
    if name != "bfloat16":
        return np.dtype(name)
    try:
        import ml_dtypes
    except ImportError:
        raise Unsupported("bfloat16 arrays need ml_dtypes") from None
    dtype: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return dtype


class Problem:
    """The arrays of a case, made from its name: equal in every process.

    Attributes
    ----------
    query, key, value : ndarray
        ``(batch, heads, tokens, d)``, standard normal; of layout ``"bnhd"`` a transposed view.
    mask : ndarray or None
        ``(n_q, n_k)``, bool or float32.
    slopes : ndarray or None
        ``(heads,)``, ALiBi's ``2**(-8 (h + 1) / heads)``.
    """

    def __init__(self, case: Case) -> None:
        self.case = case
        self.dtype = find_dtype(case.dtype)
        self._rng = np.random.default_rng(crc32(case.name.encode()))
        self.query = self._tokens(case.heads, case.n_q)
        self.key = self._tokens(case.kv_heads, case.n_k)
        self.value = self._tokens(case.kv_heads, case.n_k)
        self.mask = self._make_mask()
        heads = np.arange(1, case.heads + 1)
        self.slopes = 2.0 ** (-8 * heads / case.heads) if case.alibi else None

    def _tokens(self, heads: int, tokens: int) -> NDArray[Any]:
        case = self.case
        shape = (case.batch, heads, tokens, case.d)
        if case.layout == "bnhd":
            shape = (case.batch, tokens, heads, case.d)
        draw = self._rng.standard_normal
        made: NDArray[Any] = (
            draw(shape) if self.dtype == np.float64 else draw(shape, dtype=np.float32)
        )
        array = made.astype(self.dtype, copy=False)
        return array.swapaxes(1, 2) if case.layout == "bnhd" else array

    def _make_mask(self) -> NDArray[Any] | None:
        shape = (self.case.n_q, self.case.n_k)
        if self.case.mask == "bool":
            return self._rng.random(shape, dtype=np.float32) >= _HIDDEN_SHARE
        if self.case.mask == "true":
            return np.ones(shape, bool)
        if self.case.mask == "float":
            return self._rng.standard_normal(shape, dtype=np.float32)
        return None

    @functools.cached_property
    def _positions(self) -> NDArray[np.int64]:
        """The place of each query among the keys, ``(n_q,)``."""
        last = self.case.causal == "lower_right"
        return np.arange(self.case.n_q) + (self.case.n_k - self.case.n_q if last else 0)

    @functools.cached_property
    def _bounds(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First visible key of each query and the one after the last, mask aside."""
        case, p = self.case, self._positions
        begin = np.zeros_like(p)
        end = np.full_like(p, case.n_k if case.key_length is None else case.key_length)
        if case.causal:
            end = np.minimum(end, p + 1)
        if case.window is not None:
            begin = np.maximum(begin, p - case.window[0])
            end = np.minimum(end, p + case.window[1] + 1)
        return begin, np.maximum(begin, end)

    def _visible(self) -> NDArray[np.bool_]:
        """Which keys each query sees, ``(n_q, n_k)``."""
        begin, end = (bound[:, None] for bound in self._bounds)
        columns = np.arange(self.case.n_k)
        visible: NDArray[np.bool_] = (columns >= begin) & (columns < end)
        if self.mask is not None and self.mask.dtype == bool:
            visible &= self.mask
        return visible

    @functools.cached_property
    def visible_pairs(self) -> int:
        """Pairs of a query and a key it sees, over all heads and batch entries."""
        if self.mask is not None and self.mask.dtype == bool:
            pairs = int(np.count_nonzero(self._visible()))
        else:
            begin, end = self._bounds
            pairs = int(np.sum(end - begin))
        return self.case.batch * self.case.heads * pairs

    @property
    def flops(self) -> float:
        """Two products of depth d and d_v, a multiplication and an addition each."""
        return 4.0 * self.case.d * self.visible_pairs

    @property
    def bytes_moved(self) -> int:
        """Inputs read once and outputs written once; keys beyond the length are not read."""
        case = self.case
        seen = 1.0 if case.key_length is None else case.key_length / case.n_k
        total = 2 * self.query.nbytes + int(seen * (self.key.nbytes + self.value.nbytes))
        total += 0 if self.mask is None else self.mask.nbytes
        scores = case.batch * case.heads * case.n_q * case.n_k
        return total + (scores * self.dtype.itemsize if case.weights else 0)

    @property
    def scale(self) -> float:
        """The default scale."""
        return 1 / math.sqrt(self.case.d)

    @functools.cached_property
    def results(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Arrays for output and weights, shared by all who reuse theirs: one writes at a time."""
        weights = (*self.query.shape[:3], self.case.n_k)
        return np.empty(self.query.shape, self.dtype), np.empty(weights, self.dtype)

    def require_dense(self, itemsize: int) -> None:
        """Raise Unsupported where all scores together exceed `DENSE_LIMIT`."""
        case = self.case
        size = case.batch * case.heads * case.n_q * case.n_k * itemsize
        if size > DENSE_LIMIT:
            raise Unsupported(f"its scores would take {size / 2**30:.1f} GiB")

    def additive_mask(self, dtype: DTypeLike) -> NDArray[Any] | None:
        """What a peer adds to its scores to get the same problem, made outside the timing.

        Returns
        -------
        ndarray or None
            ``(n_q, n_k)``, or ``(heads, n_q, n_k)`` with ALiBi: 0 or the term where a key is seen,
            -inf where it is hidden. None if nothing is hidden or added, or if lengths alone
            hide keys: peers get shorter keys instead.
        """
        case = self.case
        if not (case.causal or case.window or case.mask or case.alibi):
            return None
        term = np.zeros((case.n_q, case.n_k), dtype)
        if self.mask is not None and self.mask.dtype != bool:
            term += self.mask
        term[~self._visible()] = -np.inf
        if self.slopes is None:
            return term
        distance = np.abs(self._positions[:, None] - np.arange(case.n_k))
        tilted: NDArray[Any] = (term - self.slopes[:, None, None] * distance).astype(dtype)
        return tilted

    @property
    def peer_key(self) -> NDArray[Any]:
        """Keys without the padding."""
        return self.key[:, :, : self.case.key_length]

    @property
    def peer_value(self) -> NDArray[Any]:
        """Values without the padding."""
        return self.value[:, :, : self.case.key_length]

    @property
    def folded_query(self) -> NDArray[Any]:
        """Queries with the heads of a group as rows, ``(batch, kv_heads, group * n_q, d)``.

        A view of contiguous queries. Where a mask depends on the query it still applies after the
        rows are unfolded.
        """
        case = self.case
        return self.query.reshape(case.batch, case.kv_heads, case.group * case.n_q, case.d)
