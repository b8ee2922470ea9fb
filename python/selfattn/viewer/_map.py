"""One attention map as the viewer sees it, whatever it came from, and how it is stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._overview import block_size, coarsen_max
from ._codes import log_codes

__all__ = [
    "THUMBNAIL", "Grid", "Layer", "Map", "facts_of", "grid_of", "index_type", "thumbnail_of",
]  # fmt: skip

Array = NDArray[Any]

THUMBNAIL = 64


@dataclass
class Grid:
    """One value per block of a map, as `log_codes`.

    Attributes
    ----------
    codes : ndarray
        ``(rows, columns)`` of blocks.
    span : tuple of int
        Queries and keys of one block; the last of an axis may have fewer.
    scale : float
        The largest value.
    """

    codes: NDArray[np.uint8]
    span: tuple[int, int]
    scale: float


@dataclass
class Map:
    """One head, encoded.

    Attributes
    ----------
    kind : str
        "bytes" and "floats": every cell is stored; "top": the largest of each row.
    scale : float
        The largest weight.
    thumbnail : Grid
        The largest weights of at most THUMBNAIL x THUMBNAIL equal blocks.
    facts : dict
        One number per name for the whole map: means over the queries, head scores.
    rows : dict
        Named arrays of what is known about each query and key.
    cells : ndarray or None
        ``(n_q, n_k)``, uint8 or float32, where all are stored.
    overview : dict
        Else by "max" and "mean" the grids there are.
    overview_from : str
        "" without overview; "stream": of all cells; "top": of the kept cells only.
    """

    kind: str
    scale: float
    thumbnail: Grid
    facts: dict[str, float]
    rows: dict[str, Array]
    cells: Array | None = None
    overview: dict[str, Grid] = field(default_factory=dict)
    overview_from: str = ""


@dataclass
class Layer:
    """Some heads under one name."""

    name: str
    head_names: list[str]
    maps: list[Map]


def grid_of(values: Array, span: tuple[int, int]) -> Grid:
    """Values of blocks of the given size, encoded."""
    scale = float(values.max(initial=0.0))
    return Grid(log_codes(values, scale), span, scale)


def thumbnail_of(largest: Array, span: tuple[int, int]) -> Grid:
    """A map's thumbnail, made of the largest values of blocks of the given size."""
    rows, columns = (block_size(n, THUMBNAIL) for n in largest.shape)
    return grid_of(coarsen_max(largest, THUMBNAIL), (span[0] * rows, span[1] * columns))


def facts_of(rows: dict[str, Array]) -> dict[str, float]:
    """The mean over the queries of each statistic that has one value per query."""
    names = ("entropy", "distance", "max")
    return {name: float(rows[name].mean()) for name in names if name in rows}


def index_type(n: int) -> type[np.unsignedinteger[Any]]:
    """The narrowest type for key indices; its largest value is kept free for "no key"."""
    return np.uint16 if n < 0xFFFF else np.uint32
