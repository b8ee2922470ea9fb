"""The heap over many calls of all kinds in turn, errors included: flat. Run by tests/long/heap.

    python heap.py 100000 [--plant]     --plant: one kind more that loses an object a call

Every tenth of the calls, three figures: resident memory, bytes that malloc has given out, blocks of
memory in which Python's objects live. The first tenths fill caches and free lists.
"""

import ctypes
import gc
import sys
from collections.abc import Callable
from typing import Any

from references import kinds, resident_bytes

SETTLED = 5  # tenths
ALLOWED = {"bytes resident": 2**20, "bytes in use": 2**17, "blocks of objects": 200}


class Mallinfo(ctypes.Structure):
    """struct mallinfo2 of the GNU C library."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks",
                     "uordblks", "fordblks", "keepcost")
    ]  # fmt: skip


_mallinfo = ctypes.CDLL(None).mallinfo2
_mallinfo.restype = Mallinfo


def figures() -> dict[str, int]:
    gc.collect()
    info = _mallinfo()
    in_use = info.uordblks + info.hblkhd
    return dict(zip(ALLOWED, (resident_bytes(), in_use, sys.getallocatedblocks()), strict=True))


def in_turn(functions: list[Callable[[], Any]], times: int, begin: int) -> None:
    for i in range(begin, begin + times):
        functions[i % len(functions)]()


def main() -> int:
    times = int(sys.argv[1])
    functions = kinds(False) | (kinds(True) if "--plant" in sys.argv else {})
    settled: dict[str, int] = {}
    for tenth in range(1, 11):
        in_turn(list(functions.values()), times // 10, (tenth - 1) * (times // 10))
        found = figures()
        settled = found if tenth <= SETTLED else settled
        print(tenth * (times // 10), "calls:", ", ".join(f"{n} {k}" for k, n in found.items()))
    grown = {name: found[name] - settled[name] for name in ALLOWED}
    print(f"{len(functions)} kinds of call, after the first {SETTLED} tenths:",
          ", ".join(f"{n:+d} {k}" for k, n in grown.items()))  # fmt: skip
    return any(grown[name] > most for name, most in ALLOWED.items())


if __name__ == "__main__":
    raise SystemExit(main())
