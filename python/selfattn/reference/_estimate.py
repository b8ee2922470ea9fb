"""What a call costs, with the visible pairs counted one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .._estimate import Estimate
from .._estimate import estimate as _estimate
from ._check import check_attention
from ._scores import visible


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
    """Compute what `selfattn.estimate` computes: pairs and FLOPs counted in a dense mask.

    Parameters
    ----------
    query, key, value : tuple of int
        Shapes of the arrays.
    dtype : dtype-like
        Their type.
    causal, window, query_offset, key_lengths : optional
        As for `selfattn.reference.attention`.
    return_weights, return_lse, num_threads, peak, bandwidth : optional
        As for `selfattn.estimate`.

    Returns
    -------
    Estimate
        Of which bytes, memory and time, to which a dense mask adds nothing, are
        `selfattn.estimate`'s.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If its shape or value does not fit.

    Examples
    --------
    >>> from selfattn import reference
    >>> reference.estimate((4, 8), causal=True, peak=1e9, bandwidth=1e9).pairs
    10
    """
    found = _estimate(
        query, key, value, dtype=dtype, causal=causal, window=window, query_offset=query_offset,
        key_lengths=key_lengths, return_weights=return_weights, return_lse=return_lse,
        num_threads=num_threads, peak=peak, bandwidth=bandwidth,
    )  # fmt: skip
    shapes = (query, key or query, value or key or query)
    q, k, v = (np.broadcast_to(np.float32(0), tuple(shape)) for shape in shapes)
    problem = check_attention(
        q, k, v, None, bias=None, causal=causal, window=window, query_offset=query_offset,
        scale=None, softcap=None, alibi_slopes=None, sinks=None, key_lengths=key_lengths,
    )  # fmt: skip
    pairs = sum(int(visible(problem, at).sum()) for at in np.ndindex(*problem.query.shape[:-2]))
    return replace(found, pairs=pairs, flops=2 * (q.shape[-1] + v.shape[-1]) * pairs)
