"""A process that times contenders when told to: one JSON request a line in, one reply out.

Each library's settings must stand before it is imported, and thread pools of different libraries
fight in one process; so libraries live in workers, and the parent (`_bench_race`) says whose turn
it is. Requests are ``{"do": name, ...}`` and name a method of `_Worker`.
"""

from __future__ import annotations

import json
import os
import sys
import time
import timeit
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from . import _selfattn
from ._bench_cases import CASES, Case, Gemm, Layer
from ._bench_layer import LayerProblem
from ._bench_libraries import Contender, Library, load_library
from ._bench_problem import Problem, Unsupported

__all__ = ["serve"]

_SAMPLE_SECONDS = 2e-4  # shortest timed stretch: 1000 times the clock's resolution and more
_PEAK_SECONDS, _PEAK_TRIES = 0.01, 5
_READ_BYTES = 128 << 20  # each of two arrays; beyond the caches of most machines
_FINGERPRINT = 2048


def serve() -> None:
    """Answer requests until the input ends. Whatever libraries print goes to stderr."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    worker = _Worker()
    for line in sys.stdin:
        request = json.loads(line)
        _reply(replies, getattr(worker, request.pop("do"))(**request))


def _reply(replies: IO[str], content: Any) -> None:
    replies.write(json.dumps(content) + "\n")
    replies.flush()


class _Worker:
    def __init__(self) -> None:
        self._libraries: dict[str, Library] = {}
        self._contenders: list[_Timed] = []

    def start(self, libraries: list[str], threads: int, unit: str | None) -> dict[str, Any]:
        """Load libraries; tell the version of each, or why it is missing."""
        if unit is not None:
            _selfattn._use_unit(unit)
        versions, missing = {}, {}
        for name in libraries:
            try:
                self._libraries[name] = load_library(name, threads)
                versions[name] = self._libraries[name].version()
            except ImportError as error:
                missing[name] = str(error)
        in_use = _selfattn._config()["unit_in_use"]
        return {"versions": versions, "missing": missing, "unit": in_use}

    def prepare(self, case: str) -> dict[str, Any]:
        """Make a case's arrays and run every contender once."""
        self._contenders = []
        described = CASES[case]
        try:
            problem = _make_problem(described)
        except Unsupported as reason:
            return {"refused": dict.fromkeys(self._libraries, str(reason)), "contenders": []}
        found: list[dict[str, Any]] = []
        refused: dict[str, str] = {}
        for name, library in self._libraries.items():
            try:
                timed = [_Timed(contender) for contender in _enter(library, problem)]
                found += [{"library": name, **one.describe()} for one in timed]
                self._contenders += timed
            except Unsupported as reason:
                refused[name] = str(reason)
            except Exception as error:  # a peer's failure is a result to report
                refused[name] = f"failed: {error}"
        reply: dict[str, Any] = {"refused": refused, "contenders": found}
        if not isinstance(problem, Gemm):
            reply |= {"flops": problem.flops, "bytes": problem.bytes_moved}
        return reply

    def turn(self, index: int, seconds: float) -> list[float]:
        """Time one contender for a while; seconds per call of each stretch."""
        return self._contenders[index].turn(seconds)

    def release(self) -> None:
        """Drop the arrays of the case."""
        self._contenders = []

    def fma_peak(self, unit: str, dtype: str) -> float:
        """FLOP/s of independent multiply-adds in registers."""
        probe, element = _selfattn._probe_fma_peak, np.dtype(dtype)
        repeats, seconds = 1000, 0.0
        while seconds < _PEAK_SECONDS:
            repeats *= 2
            begin = time.perf_counter()
            probe(unit, element, repeats)
            seconds = time.perf_counter() - begin
        best = 0.0
        for _ in range(_PEAK_TRIES):
            begin = time.perf_counter()
            flops = probe(unit, element, repeats)
            best = max(best, flops / (time.perf_counter() - begin))
        return best

    def read_bandwidth(self) -> float:
        """Bytes per second of a dot product over two arrays larger than the caches."""
        a, b = (np.ones(_READ_BYTES // 4, np.float32) for _ in "ab")
        best = min(
            timeit.repeat(
                "dot(a, b)", globals={"dot": np.dot, "a": a, "b": b}, number=1, repeat=_PEAK_TRIES
            )
        )
        return 2 * _READ_BYTES / best


def _make_problem(case: Case | Gemm | Layer) -> Problem | Gemm | LayerProblem:
    if isinstance(case, Case):
        return Problem(case)
    return LayerProblem(case) if isinstance(case, Layer) else case


def _enter(library: Library, problem: Problem | Gemm | LayerProblem) -> list[Contender]:
    if isinstance(problem, Problem):
        return library.attend(problem)
    if isinstance(problem, LayerProblem):
        return library.apply_layer(problem)
    return library.multiply(problem)


class _Timed:
    """A contender with its timer."""

    def __init__(self, contender: Contender) -> None:
        self._contender = contender
        self._timer = timeit.Timer(contender.statement, globals=contender.names)
        self._number = 1

    def describe(self) -> dict[str, Any]:
        """Run once, and tell what came out."""
        one = self._contender
        for array in one.outputs:
            array.fill(np.nan)  # what an earlier contender left must not pass for a result
        begin = time.perf_counter()
        # The statement is this package's own text.
        value = eval(one.statement, dict(one.names))
        first = time.perf_counter() - begin
        arrays = one.read(value)
        return {
            "first": first,
            "label": one.label,
            "statement": one.statement,
            "reused": bool(one.outputs),
            "fingerprint": [_fingerprint(array) for array in arrays],
        }

    def turn(self, seconds: float) -> list[float]:
        """At least one stretch of calls; as many as fit."""
        begin = time.perf_counter()
        samples = [self._stretch()]
        while time.perf_counter() - begin < seconds:
            samples.append(self._stretch())
        return samples

    def _stretch(self) -> float:
        """Seconds per call, over as many calls as the clock needs: a power of two."""
        while (total := self._timer.timeit(self._number)) < _SAMPLE_SECONDS:
            self._number *= 2
        return total / self._number


def _fingerprint(array: NDArray[Any]) -> dict[str, Any]:
    """Values spread over an array and its norm: enough to tell a wrong result from rounding."""
    flat = np.ascontiguousarray(array).reshape(-1)
    places = np.linspace(0, flat.size - 1, min(_FINGERPRINT, flat.size)).astype(np.int64)
    square = 0.0
    for begin in range(0, flat.size, 1 << 20):
        block = flat[begin : begin + (1 << 20)].astype(np.float64)
        square += float(block @ block)
    return {
        "shape": list(array.shape),
        "values": flat[places].astype(np.float64).tolist(),
        "norm": square**0.5,
    }
