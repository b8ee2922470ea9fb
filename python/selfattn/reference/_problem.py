"""What one call of attention asks for, after all checks: the input of the arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Problem:
    """Arrays with a head axis and a common batch shape (views, never copies), and options.

    `mask` and `bias` are broadcast to the shape of the weights, `query_offset` and `key_lengths`
    to the batch shape.
    """

    query: Array  # [batch..., n_heads, n_q, d]
    key: Array  # [batch..., n_kv_heads, n_k, d]
    value: Array  # [batch..., n_kv_heads, n_k, d_v]
    dtype: np.dtype[Any]  # of the results
    compute: np.dtype[Any]  # of the arithmetic: float32 or float64
    is_2d: bool  # the caller's arrays have no head axis
    mask: Array | None = None  # [batch..., n_heads, n_q, n_k] bool or float
    bias: Array | None = None  # [batch..., n_heads, n_q, n_k] float
    causal: bool = False
    window: tuple[int | None, int | None] = (None, None)
    query_offset: Array | None = None  # [batch...] int64
    key_lengths: Array | None = None  # [batch...] int64
    scale: float = 1.0
    softcap: float | None = None
    alibi_slopes: Array | None = None  # [n_heads]
    sinks: Array | None = None  # [n_heads]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.query.shape[:-3]

    @property
    def weights_shape(self) -> tuple[int, ...]:
        return (*self.query.shape[:-1], self.key.shape[-2])

    @property
    def kv_group(self) -> int:
        """How many query heads share one key head."""
        n_heads: int = self.query.shape[-3]
        n_kv_heads: int = self.key.shape[-3]
        return n_heads // max(n_kv_heads, 1)
