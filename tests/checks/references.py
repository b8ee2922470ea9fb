"""References and heap: what a call takes it gives back. Run by tests/checks/leaks.

    python3.11-dbg references.py objects     objects and references over 1,000 calls of each kind
    python3.11-dbg references.py total       the same by Python's count of all references
    python references.py heap 100000         resident memory over that many calls of each kind
    ... --plant                              a leak on purpose, which must be noticed

A debug build of Python counts all references there are (sys.gettotalrefcount), but only those of
code that was compiled for it: "total" wants a NumPy that was. With NumPy's wheel the blocks of
memory that objects live in are counted, and the references of each array and type of the calls.
"""

import contextlib
import gc
import resource
import sys
from collections.abc import Callable
from typing import Any

from calls import CALLS, ERRORS, WATCHED
from layer_calls import NUMPY_CALLS

N_CALLS, MOVES_ALLOWED = 1000, 10
HEAP_ALLOWED = 2**20  # of 100,000 calls; one lost object a call would be 5 MB and more
SLOW = ("threads", "decode", "mean", "too large", "view", "reference", "config")  # fewer calls

Measure = Callable[[], list[tuple[str, int]]]

_lost: list[Any] = []


def quietly(kind: type[Exception], function: Callable[[], Any]) -> Callable[[], Any]:
    """The call without its error."""

    def run() -> None:
        with contextlib.suppress(kind):
            function()

    return run


def leaking() -> None:
    _lost.append(object())


def kinds(planted: bool) -> dict[str, Callable[[], Any]]:
    if planted:
        return {"planted leak": leaking}
    wrong = {f"error: {name}": quietly(*rule) for name, rule in ERRORS.items()}
    return CALLS | NUMPY_CALLS | wrong


def repeat(function: Callable[[], Any], times: int) -> None:
    for _ in range(times):
        function()


def objects_now() -> list[tuple[str, int]]:
    blocks = sys.getallocatedblocks()
    return [("blocks of memory", blocks), *((k, sys.getrefcount(x)) for k, x in WATCHED.items())]


def references_now() -> list[tuple[str, int]]:
    return [("references", sys.gettotalrefcount())]


def is_slow(name: str) -> bool:
    return any(word in name for word in SLOW)


def moves(function: Callable[[], Any], measure: Measure, times: int) -> list[str]:
    """What a round of calls moved by more than is allowed."""
    gc.collect()
    before = measure()
    before = measure()  # as in the second count, an earlier list is there
    repeat(function, times)
    gc.collect()
    return [
        f"{after - n:+d} {what}"
        for (what, n), (_, after) in zip(before, measure(), strict=True)
        if after - n > MOVES_ALLOWED
    ]


def count_moves(functions: dict[str, Callable[[], Any]], measure: Measure) -> int:
    """Prints and returns how many kinds of call moved a count in each of up to eleven rounds:
    what grows now and then (a cache) or ever less (a free list) is no leak."""
    failed = 0
    for name, function in functions.items():
        repeat(function, 20)
        times = N_CALLS // 5 if is_slow(name) else N_CALLS
        found = moves(function, measure, times)
        for _ in range(10):
            found = found and moves(function, measure, times)
        if found:
            print(f"{name}: {', '.join(found)} after {times} calls")
            failed += 1
    return failed


MEASURES: dict[str, Measure] = {"objects": objects_now, "total": references_now}


def resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * resource.getpagesize()


def count_growth(functions: dict[str, Callable[[], Any]], times: int) -> int:
    """Prints and returns how many kinds of call let the process grow."""
    failed = 0
    for name, function in functions.items():
        n = times // 50 if is_slow(name) else times
        repeat(function, n // 10)
        gc.collect()
        before = resident_bytes()
        repeat(function, n)
        gc.collect()
        grown = resident_bytes() - before
        if grown > HEAP_ALLOWED:
            print(f"{name}: {grown} bytes more after {n} calls")
            failed += 1
    return failed


def main() -> int:
    planted = "--plant" in sys.argv
    functions = kinds(planted)
    if sys.argv[1] == "heap":
        failed = count_growth(functions, int(sys.argv[2]))
    else:
        failed = count_moves(functions, MEASURES[sys.argv[1]])
    print(f"{len(functions) - failed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    raise SystemExit(main())
