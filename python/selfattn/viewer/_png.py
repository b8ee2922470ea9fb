"""A PNG file of bytes and a palette, for places that show no HTML. Format: PNG, third edition."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

__all__ = ["png_of"]

_PALETTE = 3


def png_of(pixels: NDArray[np.uint8], palette: NDArray[np.uint8]) -> bytes:
    """Write an image.

    Parameters
    ----------
    pixels : ndarray
        ``(height, width)`` uint8, numbers of colours.
    palette : ndarray
        ``(256, 3)`` uint8, red, green and blue of each.
    """
    height, width = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, _PALETTE, 0, 0, 0)
    lines = np.zeros((height, width + 1), np.uint8)  # each opens with its filter: none
    lines[:, 1:] = pixels
    chunks = [
        (b"IHDR", header),
        (b"PLTE", palette.tobytes()),
        (b"IDAT", zlib.compress(lines.tobytes(), 9)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
