"""Numbers in a byte: two ways, each with the precision that the page states.

`quantise_rows`   cells of a map, linear in the row's maximum m:
                      0           exactly 0
                      1           0 < weight <= 1.5 m / 255
                      c = 2..255  weight = c m / 255, give or take m / 510

`log_codes`       overviews, logarithmic below a map's largest value s, CODES_PER_OCTAVE to a factor
                  of two. Maxima of codes are codes of maxima, and a colour is one look-up:
                      0           exactly 0
                      1           0 < value <= s 2^(-253.5 / CODES_PER_OCTAVE)
                      c = 2..255  value = s 2^((c - 255) / CODES_PER_OCTAVE), give or take 3.6 %
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CODES_PER_OCTAVE", "log_codes", "quantise_rows"]

CODES_PER_OCTAVE = 10


def quantise_rows(weights: NDArray[Any], row_max: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The bytes of some rows.

    Parameters
    ----------
    weights : ndarray
        ``(rows, n_k)``, not negative.
    row_max : ndarray
        ``(rows,)``, their maxima as they will be stored.
    """
    scale = 255 / np.where(row_max > 0, row_max, 1).astype(np.float64)
    codes = np.clip(np.rint(weights * scale[:, None]), 1, 255)
    return np.where(weights > 0, codes, 0).astype(np.uint8)


def log_codes(values: NDArray[Any], scale: float) -> NDArray[np.uint8]:
    """The bytes of values between 0 and `scale`, shape kept."""
    positive = values > 0
    octaves = np.log2(np.where(positive, values, 1), dtype=np.float64) - np.log2(scale or 1.0)
    codes = np.clip(np.rint(255 + CODES_PER_OCTAVE * octaves), 1, 255)
    return np.where(positive, codes, 0).astype(np.uint8)
