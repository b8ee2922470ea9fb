"""A document as text that is safe inside HTML: base64 of zlib of JSON, and of arrays.

The header is one JSON object; arrays stand in blocks, which it describes:

    {"format": 1, "title": str, "queries": n_q, "keys": n_k, "tokens": [str] or null,
     "keyTokens": [str] or null, "sameTokens": bool,
     "thumbnails": BLOCK with the arrays "0", "1" ...: the log codes of all maps, layer by layer,
     "layers": [{"name": str, "heads": [HEAD ...]} ...]}
    HEAD = {"name": str, "kind": "bytes" | "floats" | "top", "scale": number, "facts": {...},
            "thumbnail": GRID, "overview": {"max": GRID, "mean": GRID}, "overviewFrom": str,
            "cells": BLOCK with the array "cells", or with the log codes "max" and "mean",
            "rows": BLOCK with what is known about each query and key}
    GRID = {"span": [queries, keys] of one block, "scale": number}
    BLOCK = {"id": "b7", "bytes": n, "arrays": {name: [type, shape, offset, planes]}}

Types are u1, u2, u4, f4, little-endian. An array with planes = 1 has all first bytes of its numbers
first, then all second bytes ...: like bytes side by side pack better. Offsets are multiples of 4.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._document import Document
from ._map import Grid, Map

__all__ = ["FORMAT", "Block", "blocks_of"]

FORMAT = 1
HEADER = "header"

Array = NDArray[Any]


@dataclass
class Block:
    """A piece of the payload: what HTML holds under its id."""

    id: str
    text: str


def blocks_of(document: Document) -> list[Block]:
    """The header, the thumbnails, then the arrays of one map after another."""
    writer = _Writer()
    maps = document.maps()
    thumbnails = writer.add({str(i): one.thumbnail.codes for i, one in enumerate(maps)})
    layers = [
        {
            "name": layer.name,
            "heads": [
                _head(name, one, writer)
                for name, one in zip(layer.head_names, layer.maps, strict=True)
            ],
        }
        for layer in document.layers
    ]
    header = {
        "format": FORMAT,
        "title": document.title,
        "queries": document.n_q,
        "keys": document.n_k,
        "tokens": document.tokens,
        "keyTokens": document.key_tokens,
        "sameTokens": document.same_tokens,
        "thumbnails": thumbnails,
        "layers": layers,
    }
    text = json.dumps(header, allow_nan=False, separators=(",", ":"))
    packed = _packed(text.encode("ascii"), zlib.Z_DEFAULT_STRATEGY)
    return [Block(HEADER, packed), *writer.blocks]


def _head(name: str, one: Map, writer: _Writer) -> dict[str, object]:
    grids = {key: grid.codes for key, grid in one.overview.items()}
    return {
        "name": name,
        "kind": one.kind,
        "scale": one.scale,
        "facts": one.facts,
        "thumbnail": _grid(one.thumbnail),
        "overview": {key: _grid(grid) for key, grid in one.overview.items()},
        "overviewFrom": one.overview_from,
        "cells": writer.add(grids if one.cells is None else {"cells": one.cells}),
        "rows": writer.add(one.rows),
    }


def _grid(grid: Grid) -> dict[str, object]:
    return {"span": grid.span, "scale": grid.scale}


class _Writer:
    """Collects blocks and numbers them."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []

    def add(self, arrays: dict[str, Array]) -> dict[str, object]:
        """Store some arrays as one block; return its description."""
        described: dict[str, object] = {}
        parts: list[bytes] = []
        size = 0
        for name, array in arrays.items():
            planes = array.dtype.itemsize > 1
            kind = f"{array.dtype.kind}{array.dtype.itemsize}"
            described[name] = [kind, list(array.shape), size, int(planes)]
            for part in _bytes_of(array, planes):
                parts.append(part)
                size += len(part)
            parts.append(b"\0" * (-size % 4))
            size += -size % 4
        block = Block(f"b{len(self.blocks)}", _packed(b"".join(parts)))
        self.blocks.append(block)
        return {"id": block.id, "bytes": size, "arrays": described}


def _bytes_of(array: Array, planes: bool) -> Iterator[bytes]:
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    if not planes:
        yield little.tobytes()
        return
    table = little.reshape(-1).view(np.uint8).reshape(-1, array.dtype.itemsize)
    for place in range(array.dtype.itemsize):
        yield table[:, place].tobytes()


def _packed(data: bytes, strategy: int = zlib.Z_RLE) -> str:
    """Compress to base64. Weights pack by Huffman codes and runs alone as well as by a search for
    repeats, and several times faster.
    """
    packer = zlib.compressobj(6, zlib.DEFLATED, zlib.MAX_WBITS, 9, strategy)
    return base64.b64encode(packer.compress(data) + packer.flush()).decode("ascii")
