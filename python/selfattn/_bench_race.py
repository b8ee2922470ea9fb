"""Letting libraries take turns: starting workers, going round the contenders, collecting times.

One thread: all libraries share one worker process, pinned to one CPU. More threads: a worker for
each library, so that an idle pool of one does not spin against another's, all pinned to the same
CPUs. In both, contenders are timed in turns A B C A B C ..., so that a slow spell of the machine
hits all of them, and the best stretch of each counts.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ._bench_cases import CASES, Gemm

__all__ = ["Effort", "Entry", "Result", "Worker", "race"]

_PACKAGE_PARENT = Path(__file__).absolute().parents[1]
_FOREIGN = (
    "OPENBLAS_",
    "GOTO_",
    "MKL_",
    "OMP_",
    "GOMP_",
    "KMP_",
    "VECLIB_",
    "NPY_",
    "ATEN_",
    "DNNL_",
    "ONEDNN_",
    "ORT_",
    "SELFATTN_",
)
_THREAD_VARIABLES = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_PROGRAM = """\
import os
if {cpus}: os.sched_setaffinity(0, {cpus})
from selfattn._bench_worker import serve
serve()
"""
_SETTLE_SECONDS = 0.02  # for idle pools of the last turn to stop spinning

# How far a result may lie from selfattn's, in units of its largest value.
TOLERANCE = {"float32": 2e-5, "float64": 1e-12, "float16": 5e-3, "bfloat16": 4e-2}


@dataclass(frozen=True)
class Effort:
    """How long to measure: `rounds` turns of `turn` seconds; those who need longer than `slow`
    for one call get `slow_rounds`, with 0 only the call whose result is checked; `seconds` is for
    all cases together."""

    rounds: int
    turn: float
    slow: float = 1.0
    slow_rounds: int = 3
    seconds: float = math.inf


@dataclass
class Entry:
    """What one contender did in one case."""

    library: str
    label: str = ""
    statement: str = ""
    reused: bool = False
    status: str = "ok"  # or "wrong" or "refused"; note says why
    note: str = ""
    turns: list[float] = field(default_factory=list)  # best seconds per call of each turn
    stretches: int = 0

    @property
    def best(self) -> float:
        """Seconds of the best call; inf if there is none."""
        return min(self.turns, default=math.inf)

    @property
    def spread(self) -> float:
        """How far the median turn lies above the best one, as a fraction of it."""
        return sorted(self.turns)[len(self.turns) // 2] / self.best - 1 if self.turns else math.nan


@dataclass
class Result:
    """One case with all entries."""

    case: str
    threads: int
    flops: float
    bytes: float
    entries: list[Entry]

    @property
    def all_disagree(self) -> bool:
        """Whether no contender agrees with selfattn: then it is most likely selfattn that errs."""
        peers = [
            one.status
            for one in self.entries
            if one.library != "selfattn" and one.status != "refused"
        ]
        return bool(peers) and all(status == "wrong" for status in peers)


class Worker:
    """A process of `_bench_worker` and the pipe to it.

    Parameters
    ----------
    libraries : sequence of str
        Names of `LIBRARIES` to load there.
    threads : int
        Threads each of them may use.
    cpus : sequence of int
        CPUs the process is pinned to; empty: not pinned.
    unit : str, optional
        The unit selfattn is made to use.
    package : Path, optional
        Directory that holds the selfattn to import, this one by default.
    """

    def __init__(
        self,
        libraries: Sequence[str],
        threads: int,
        cpus: Sequence[int],
        unit: str | None = None,
        package: Path = _PACKAGE_PARENT,
    ) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM.format(cpus=set(cpus) or None)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=_clean_environment(threads, package),
        )
        self.hello = self.ask("start", libraries=list(libraries), threads=threads, unit=unit)

    def send(self, do: str, **arguments: Any) -> None:
        """Send a request without waiting."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None

    def receive(self) -> Any:
        """Wait for the reply."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._died()
        return json.loads(line)

    def ask(self, do: str, **arguments: Any) -> Any:
        """Send a request and wait for the reply."""
        self.send(do, **arguments)
        return self.receive()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
        self._log.close()

    def _died(self) -> RuntimeError:
        code = self._process.wait()
        self._log.seek(0)
        tail = self._log.read().decode(errors="replace").strip()[-2000:]
        return RuntimeError(f"a benchmark process ended with status {code}:\n{tail}")


def _clean_environment(threads: int, package: Path) -> dict[str, str]:
    """Without what would steer a library behind the benchmark's back."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(_FOREIGN)}
    environment |= dict.fromkeys(_THREAD_VARIABLES, str(threads))
    path = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = os.pathsep.join([str(package), *([path] if path else [])])
    environment["PYTHONSAFEPATH"] = "1"
    return environment


def race(
    case: str,
    workers: Sequence[Worker],
    threads: int,
    effort: Effort,
    seconds: float,
    progress: Callable[[str], None],
) -> Result:
    """Measure one case in all workers.

    Parameters
    ----------
    seconds : float
        After this long no further round begins, the second one excepted.
    progress : callable
        Told what is being done.
    """
    begin = time.perf_counter()
    progress("preparing")
    places: list[tuple[Worker, int, Entry]] = []
    prints: list[Any] = []
    result = Result(case, threads, 0.0, 0.0, [])
    for worker in workers:
        reply = worker.ask("prepare", case=case)
        result.flops = reply.get("flops", result.flops)
        result.bytes = reply.get("bytes", result.bytes)
        result.entries += [
            Entry(name, status="refused", note=note) for name, note in reply["refused"].items()
        ]
        for index, told in enumerate(reply["contenders"]):
            prints.append(told.pop("fingerprint"))
            first = told.pop("first")
            entry = Entry(**told)
            if effort.slow_rounds == 0 and first > effort.slow:
                entry.turns, entry.stretches = [first], 1
            places.append((worker, index, entry))
    described = CASES[case]
    if isinstance(described, Gemm):
        result.flops = 2.0 * described.n**3
    result.entries += [entry for _, _, entry in places]
    _judge([entry for _, _, entry in places], prints, TOLERANCE[described.dtype])
    _go_round(
        [place for place in places if place[2].status == "ok"],
        effort,
        begin + seconds,
        progress,
        _SETTLE_SECONDS if len(workers) > 1 else 0.0,
    )
    for worker in workers:
        worker.ask("release")
    return result


def _go_round(
    places: Sequence[tuple[Worker, int, Entry]],
    effort: Effort,
    deadline: float,
    progress: Callable[[str], None],
    settle: float,
) -> None:
    for turn in range(effort.rounds):
        if turn >= 2 and time.perf_counter() > deadline:
            return
        for worker, index, entry in places:
            if entry.turns and turn >= effort.slow_rounds and entry.best > effort.slow:
                continue
            progress(f"round {turn + 1}/{effort.rounds}, {entry.library}")
            time.sleep(settle)
            samples = worker.ask("turn", index=index, seconds=effort.turn)
            entry.turns.append(min(samples))
            entry.stretches += len(samples)


def _judge(entries: Sequence[Entry], prints: Sequence[Any], tolerance: float) -> None:
    """Mark what differs from the first contender, which is selfattn where it takes part."""
    for entry, print_ in zip(entries, prints, strict=True):
        errors = [_distance(*pair) for pair in zip(prints[0], print_, strict=True)]
        error = next((error for error in errors if not error <= tolerance), None)  # nan: wrong
        if error is not None:
            entry.status = "wrong"
            entry.note = f"differs from {entries[0].library} by {error:.1e} of the largest value"


def _distance(ours: dict[str, Any], theirs: dict[str, Any]) -> float:
    """Largest difference over the largest value; nan if either is not finite."""
    if ours["shape"] != theirs["shape"]:
        return math.inf
    if not math.isfinite(theirs["norm"]) or not math.isfinite(ours["norm"]):
        return math.nan
    pairs = list(zip(ours["values"], theirs["values"], strict=True))
    largest = max((abs(a) for a, _ in pairs), default=0.0) or 1.0
    error: float = max((abs(a - b) for a, b in pairs), default=0.0) / largest
    norms: float = abs(ours["norm"] - theirs["norm"]) / (ours["norm"] or 1.0)
    return max(error, norms)
