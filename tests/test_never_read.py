"""What must not be read lies on pages that cannot be: padding, tiles that no row sees, and what
stands before and behind a mask.

A process of its own, as a byte that is read after all ends it; it says which call that was.
"""

import ctypes
import mmap
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import selfattn
from arrays import DTYPES
from selfattn import _selfattn

PAGE = mmap.PAGESIZE
FEATURES = 16
ROWS = (1, 3, 20, 130)
LENGTHS = ((40, 0), (40, 24), (1100, 24), (1100, 511), (1100, 512), (1100, 513), (1100, 1099))
# Tiles of keys are not wider than this.
TILE = 1024


class Holes:
    """Copies of arrays of which some bytes cannot be read."""

    def __init__(self):
        self.protect = ctypes.CDLL(None).mprotect
        self.protect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
        self.rooms = []

    def copy(self, array, begin, end):
        """Bytes [begin, end) and what shares a page with the first of them can be read, no more."""
        end_of_page = -(-end // PAGE) * PAGE
        room = mmap.mmap(-1, end_of_page + array.nbytes - end + 2 * PAGE)
        self.rooms.append(room)
        bytes_of = np.frombuffer(room, np.uint8)
        start = PAGE + end_of_page - end
        flat = bytes_of[start : start + array.nbytes]
        flat[:] = array.reshape(-1).view(np.uint8)
        self.close(bytes_of, 0, (start + begin) // PAGE * PAGE)
        self.close(bytes_of, start + end, -(-len(room) // PAGE) * PAGE)
        return flat.view(array.dtype).reshape(array.shape)

    def close(self, bytes_of, begin, end):
        assert self.protect(bytes_of.ctypes.data + begin, end - begin, 0) == 0

    def flush(self, array, at_begin):
        """All can be read, and nothing before it, or nothing behind it."""
        size = -(-array.nbytes // PAGE) * PAGE if at_begin else array.nbytes
        padded = np.zeros(size, np.uint8)
        padded[: array.nbytes] = array.reshape(-1).view(np.uint8)
        return self.copy(padded, 0, size)[: array.nbytes].view(array.dtype).reshape(array.shape)


def arrays_of(rng, n_q, n_k, dtype):
    return [rng.standard_normal((1, n, FEATURES)).astype(dtype) for n in (n_q, n_k, n_k)]


def hold_padding(rng, holes, n_q, dtype):
    for n_k, length in LENGTHS:
        query, key, value = arrays_of(rng, n_q, n_k, dtype)
        seen = length * FEATURES * key.itemsize
        cut = [holes.copy(x, 0, seen) for x in (key, value)]
        for causal in (False, "lower_right"):
            options = {"key_lengths": length, "causal": causal, "return_weights": True}
            expected = selfattn.attention(query, key, value, **options)
            print(n_k, options, flush=True)
            for a, b in zip(selfattn.attention(query, *cut, **options), expected, strict=True):
                assert np.array_equal(a, b)


def hold_tiles(rng, holes, n_q, dtype):
    """Keys that rows see lie a tile and more away from those that cannot be read."""
    n_k, first = 6 * TILE, 3 * TILE - 40
    query, key, value = arrays_of(rng, n_q, n_k, dtype)
    row = FEATURES * key.itemsize
    cut = [holes.copy(x, TILE * row, 5 * TILE * row) for x in (key, value)]
    for names in ((), ("return_weights",)):
        options = {"window": (50, 60), "query_offset": first} | dict.fromkeys(names, True)
        expected = selfattn.attention(query, key, value, **options)
        print(n_k, options, flush=True)
        got = selfattn.attention(query, *cut, **options)
        assert all(map(np.array_equal, got, expected))


def hold_masks(rng, holes, n_q, dtype):
    """Of every type, flush with what cannot be read, behind intervals: all as a bool mask."""
    n_k = 600
    query, key, value = arrays_of(rng, n_q, n_k, dtype)
    seen = rng.random((n_q, n_k)) < 0.7
    for options in ({}, {"window": (40, 9), "query_offset": n_k - n_q},
                    {"causal": True, "query_offset": n_k // 2}):  # fmt: skip
        expected = selfattn.attention(query, key, value, seen, **options)
        for kind in (bool, *DTYPES):
            mask = seen if kind is bool else np.where(seen, 0, -np.inf).astype(kind)
            for at_begin in (False, True):
                print(mask.dtype, options, at_begin, flush=True)
                cut = holes.flush(mask, at_begin)
                got = selfattn.attention(query, key, value, cut, **options)
                np.testing.assert_allclose(
                    got, expected, 4e-3 if dtype is np.float16 else 1e-5, 1e-5
                )


HOLDS = {"padding": hold_padding, "tiles": hold_tiles, "masks": hold_masks}


def run(what):
    command = [sys.executable, Path(__file__), what]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_hole_ends_who_reads_it():
    done = run("a hole")
    assert done.returncode != 0
    assert done.stdout == "reads it: "


@pytest.mark.parametrize("what", HOLDS)
def test_never_read(what):
    done = run(what)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


def main(what):
    rng, holes = np.random.default_rng(1), Holes()
    if what == "a hole":
        x = holes.copy(np.ones(9), 0, 40)
        print("reads it:", end=" ", flush=True)
        print(x[5])
        return
    for unit in selfattn.units():
        _selfattn._use_unit(unit)
        for dtype in (np.float32, np.float64, np.float16):
            for n_q in ROWS:
                print(what, unit, np.dtype(dtype), n_q, end=" ", flush=True)
                HOLDS[what](rng, holes, n_q, dtype)


if __name__ == "__main__":
    main(*sys.argv[1:])
