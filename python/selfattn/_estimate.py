"""What a call of attention costs, counted before it is made."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ._arrays import as_integer, as_number, compute_dtype, float_dtype
from ._heads import stand_in
from ._selfattn import _check_attention, _config, _probe_fma_peak

__all__ = ["Estimate", "estimate"]

_SHARE_OF_PEAK = 0.7  # of the multiply-add peak, as long rows reach on AVX2 with head size 64
_CALL_SECONDS = 1e-6
_PROBE_SECONDS, _PROBE_TRIES = 0.005, 3
_READ_BYTES = 64 << 20
_rates: dict[tuple[Any, ...], float] = {}


@dataclass(frozen=True)
class Estimate:
    """What one call of `attention` costs.

    Attributes
    ----------
    pairs : int
        Pairs of a query and a key that it sees, over all heads and the batch.
    flops : int
        ``2 (d + d_v)`` for each pair: the two products, a multiplication and an addition a term.
        The pair's exponential is not counted.
    bytes_read, bytes_written : int
        The arrays, each number once. Keys beyond `key_lengths` are not read.
    memory : int
        Bytes that this call takes: its results, and the scratch memory of its threads.
    dense_memory : int
        Bytes of a call that holds all scores at once: its results, and one n x n matrix for each
        head (that of the weights itself, where these are returned per head in the type that is
        computed in).
    threads : int
        Threads that the call would use.
    seconds : float
        Predicted time, see `estimate`.
    """

    pairs: int
    flops: int
    bytes_read: int
    bytes_written: int
    memory: int
    dense_memory: int
    threads: int
    seconds: float


def estimate(
    query: Sequence[int],
    key: Sequence[int] | None = None,
    value: Sequence[int] | None = None,
    *,
    dtype: DTypeLike = np.float32,
    causal: bool | Literal["upper_left", "lower_right"] = False,
    window: int | tuple[int | None, int | None] | None = None,
    query_offset: ArrayLike | None = None,
    key_lengths: ArrayLike | None = None,
    return_weights: bool | Literal["mean"] = False,
    return_lse: bool = False,
    num_threads: int | None = None,
    peak: float | None = None,
    bandwidth: float | None = None,
) -> Estimate:
    """Count what `attention` costs for arrays of these shapes, without making them.

    Parameters
    ----------
    query : tuple of int
        Shape of the queries, ``(..., Hq, Nq, D)`` or ``(Nq, D)``.
    key : tuple of int, optional
        ``(..., Hkv, Nk, D)``, by default as `query`.
    value : tuple of int, optional
        ``(..., Hkv, Nk, Dv)``, by default as `key`.
    dtype : dtype-like
        float16, bfloat16, float32 or float64.
    causal, window, query_offset, key_lengths : optional
        As for `attention`: what they hide is not counted. A mask is not known here: keys that it
        hides count, its own bytes do not.
    return_weights, return_lse, num_threads : optional
        As for `attention`.
    peak : float, optional
        Multiply-add peak of one thread in FLOP/s. By default measured, once a process: some
        hundredths of a second of multiply-adds in registers.
    bandwidth : float, optional
        Bytes per second that one thread reads from memory. By default measured, once a process:
        the time to add up an array of 64 MiB.

    Returns
    -------
    Estimate
        FLOPs, bytes, memory and time; see its attributes.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If its shape or value does not fit, as for `attention`.
    MemoryError
        If no machine has the memory for the results.

    Notes
    -----
    The time is ``1 us + max(flops / (0.7 peak), bytes_read / bandwidth) / threads +
    bytes_written / bandwidth``: 0.7 is the share of the peak that long rows reach with AVX2 and
    d = 64. Expect a factor of two where heads are small or rows short; examples/cost_curve has
    predictions beside measurements.

    Examples
    --------
    >>> import selfattn
    >>> cost = selfattn.estimate((1, 8, 65536, 64), peak=90e9, bandwidth=20e9, num_threads=1)
    >>> cost.flops == 4 * 64 * 8 * 65536**2
    True
    >>> cost.dense_memory // 2**30, cost.memory < 2**28  # 128 GiB for all scores; without: MiB
    (128, True)
    """
    q_shape = _shape("query", query)
    k_shape = q_shape if key is None else _shape("key", key)
    v_shape = k_shape if value is None else _shape("value", value)
    element = float_dtype("dtype", dtype)
    compute = compute_dtype(element)
    rates = {"peak": peak, "bandwidth": bandwidth}
    for name, rate in rates.items():
        if rate is not None and not 0 < as_number(name, rate) < np.inf:
            raise ValueError(f"{name} must be positive and finite, not {rate}")
    scratch, threads = _check_attention(
        stand_in(q_shape, element),
        stand_in(k_shape, element),
        stand_in(v_shape, element),
        causal=causal,
        window=window,
        query_offset=query_offset,
        key_lengths=key_lengths,
        return_weights=return_weights,
        return_lse=return_lse,
        num_threads=num_threads,
    )
    sizes = _Sizes(q_shape, k_shape, v_shape)
    pairs = sizes.heads * sizes.count_visible(causal, window, query_offset, key_lengths)
    written = sizes.result_bytes(element, compute, return_weights, return_lse)
    read = sizes.input_bytes(element, key_lengths)
    keeps_weights = return_weights and return_weights != "mean" and element == compute
    scores = 0 if keeps_weights else sizes.rows * sizes.n_k * compute.itemsize
    flops = 2 * (sizes.d + sizes.d_v) * pairs
    return Estimate(
        pairs=pairs,
        flops=flops,
        bytes_read=read,
        bytes_written=written,
        memory=written + scratch,
        dense_memory=written + scores,
        threads=threads,
        seconds=_predict(flops, read, written, threads, compute, peak, bandwidth),
    )


def _shape(name: str, shape: Any) -> tuple[int, ...]:
    if isinstance(shape, (str, bytes)) or not isinstance(shape, Sequence):
        raise TypeError(f"{name} must be a shape, a tuple of int, not {type(shape).__name__}")
    return tuple(as_integer(name, n, 0) for n in shape)


class _Sizes:
    """Numbers of everything, from shapes that attention's own checks have passed."""

    def __init__(self, q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...]) -> None:
        self._shapes = q, k, v
        self.batch = np.broadcast_shapes(q[:-3], k[:-3], v[:-3])
        self.n_batch = _product(self.batch)
        self.heads = q[-3] if len(q) > 2 else 1
        self.n_q, self.d = q[-2:]
        self.n_k, self.d_v = v[-2:]
        self.rows = self.n_batch * self.heads * self.n_q

    def count_visible(self, causal: Any, window: Any, query_offset: Any, key_lengths: Any) -> int:
        """Keys seen by the queries of one head, over the batch."""
        lengths = np.asarray(self.n_k if key_lengths is None else key_lengths)
        offset = np.asarray(0 if query_offset is None else query_offset)
        if causal == "lower_right":
            offset = lengths - self.n_q
        # object: an offset may be any int64, and a window may be wider than that
        lengths, offset = (x[..., np.newaxis].astype(object) for x in (lengths, offset))
        if not causal and window is None:
            per_row = np.broadcast_to(lengths, (*self.batch, 1))
            return self.n_q * int(per_row.sum())
        left, right = window if isinstance(window, (tuple, list)) else (window, window)
        right = 0 if causal else right
        total = 0
        for length, shift in np.broadcast(
            np.broadcast_to(lengths, (*self.batch, 1)), np.broadcast_to(offset, (*self.batch, 1))
        ):
            total += _count_band(self.n_q, int(length), int(shift), left, right)
        return total

    def input_bytes(self, element: np.dtype[Any], key_lengths: Any) -> int:
        q, k, v = (_product(shape) * element.itemsize for shape in self._shapes)
        if key_lengths is None or not self.n_k:
            return q + k + v
        lengths = np.broadcast_to(np.asarray(key_lengths), self.batch)
        return q + (k + v) * int(lengths.sum()) // max(1, self.n_k * self.n_batch)

    def result_bytes(
        self, element: np.dtype[Any], compute: np.dtype[Any], weights: Any, lse: bool
    ) -> int:
        total = self.rows * self.d_v * element.itemsize
        if weights:
            rows = self.n_batch * self.n_q if isinstance(weights, str) else self.rows
            total += rows * self.n_k * element.itemsize
        return total + (self.rows * compute.itemsize if lse else 0)


def _product(numbers: Sequence[int]) -> int:
    total = 1
    for n in numbers:
        total *= n
    return total


def _count_band(n_q: int, n_k: int, shift: int, left: int | None, right: int | None) -> int:
    """Pairs with i + shift - left <= j <= i + shift + right, 0 <= i < n_q, 0 <= j < n_k."""
    i = np.arange(n_q, dtype=np.int64) + max(-(1 << 61), min(1 << 61, shift))
    begin: NDArray[np.int64] = np.zeros(n_q, np.int64)
    end = np.full(n_q, n_k, np.int64)
    if right is not None:
        end = np.clip(i + min(int(right), 1 << 61) + 1, 0, n_k)
    if left is not None:
        begin = np.clip(i - min(int(left), 1 << 61), 0, n_k)
    return int(np.maximum(end - begin, 0).sum())


def _predict(
    flops: int,
    read: int,
    written: int,
    threads: int,
    compute: np.dtype[Any],
    peak: float | None,
    bandwidth: float | None,
) -> float:
    peak = _once(_measured_peak, _config()["unit_in_use"], compute.name) if peak is None else peak
    bandwidth = _once(_measured_bandwidth) if bandwidth is None else bandwidth
    busy = max(flops / (_SHARE_OF_PEAK * peak), read / bandwidth) / threads
    return _CALL_SECONDS + busy + written / bandwidth


def _once(measure: Callable[..., float], *what: str) -> float:
    """What the first measurement to end gave; threads may begin one at the same time."""
    rate = _rates.get((measure, *what))
    return _rates.setdefault((measure, *what), measure(*what)) if rate is None else rate


def _measured_peak(unit: str, dtype: str) -> float:
    """FLOP/s of multiply-adds in registers, the best of some tries."""
    element, repeats, best = np.dtype(dtype), 1000, 0.0
    tries = 0
    while tries < _PROBE_TRIES:
        begin = time.perf_counter()
        flops = _probe_fma_peak(unit, element, repeats)
        seconds = time.perf_counter() - begin
        if seconds < _PROBE_SECONDS:
            repeats *= 2
            continue
        best = max(best, flops / seconds)
        tries += 1
    return best


def _measured_bandwidth() -> float:
    """Bytes per second of reading an array beyond the caches, the best of some tries."""
    numbers = np.ones(_READ_BYTES // 8)
    best = 0.0
    for _ in range(_PROBE_TRIES):
        begin = time.perf_counter()
        numbers.sum()
        best = max(best, _READ_BYTES / (time.perf_counter() - begin))
    return best
