"""``python -m selfattn bench``: selfattn beside NumPy, PyTorch and ONNX Runtime.

The command line, and the run as a whole: limits of the machine, one race a case, the limits again,
the table. benchmarks/README.md says how to read it.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from . import _selfattn
from ._bench_cases import CASES, SETS
from ._bench_libraries import LIBRARIES
from ._bench_race import Effort, Worker, race
from ._bench_report import Run, as_json, as_text

__all__ = ["allowed_cpus", "choose_cases", "main", "pinned_cpus"]

_EFFORT = {
    "quick": Effort(rounds=7, turn=0.01, slow=0.2, slow_rounds=2, seconds=15.0),
    "main": Effort(rounds=9, turn=0.04),
    "full": Effort(rounds=9, turn=0.04),
    "growth": Effort(rounds=5, turn=0.02, slow=2.0, slow_rounds=0),
    "layer": Effort(rounds=9, turn=0.04),
}
_BAR = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line after the program's name; ``sys.argv[1:]`` by default.

    Returns
    -------
    int
        Exit status: 0; 1 if in some case selfattn agreed with no peer that ran; 130 if interrupted.
    """
    parser = _make_parser()
    options = parser.parse_args(arguments)
    if options.list:
        print(_listing())
        return 0
    names = choose_cases(options.set, options.only)
    if not names:
        parser.error(f"no case matches {' '.join(options.only)}; --list shows them")
    if max(options.threads) > len(allowed_cpus()):
        parser.error(
            f"{max(options.threads)} threads need as many CPUs; this process may use "
            f"{len(allowed_cpus())}"
        )
    runs: list[Run] = []
    try:
        for threads in options.threads:
            run = _run(names, threads, options)
            single = next((other for other in runs if other.threads == 1), None)
            print(as_text(run, single, options.markdown), flush=True)
            runs.append(run)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    if options.json is not None:
        document = as_json(runs, sys.argv if arguments is None else ["bench", *arguments])
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 1 if any(result.all_disagree for run in runs for result in run.results) else 0


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m selfattn bench",
        description="Time selfattn side by side with the other libraries found.",
        epilog="Install the peers with: pip install 'selfattn[bench]'",
    )
    add = parser.add_argument
    add("--set", choices=SETS, default="quick", help="which cases (default: %(default)s)")
    add(
        "--only",
        metavar="NAME",
        action="append",
        default=[],
        help="only this case, of any set; wildcards allowed; may be repeated",
    )
    add(
        "--threads",
        type=_thread_counts,
        default=[1],
        metavar="N[,N]",
        help="threads of every library; 1,2 runs both (default: 1)",
    )
    add("--unit", choices=_selfattn.units(), help="the instruction set selfattn is made to use")
    add(
        "--peers",
        type=_peer_names,
        default=list(LIBRARIES[1:]),
        metavar="NAME[,NAME]",
        help=f"some of {','.join(LIBRARIES[1:])}, or none (default: all that are installed)",
    )
    add("--json", type=Path, metavar="FILE", help="write all measurements there")
    add("--markdown", action="store_true", help="print the table as Markdown")
    add("--list", action="store_true", help="list the cases with their sets and stop")
    return parser


def _thread_counts(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.isdecimal() and int(part) for part in parts):
        raise argparse.ArgumentTypeError(f"expected numbers of threads, as 1 or 1,2, got {text!r}")
    return [int(part) for part in parts]


def _peer_names(text: str) -> list[str]:
    names = [] if text == "none" else text.split(",")
    for name in names:
        if name not in LIBRARIES[1:]:
            raise argparse.ArgumentTypeError(
                f"unknown peer {name!r}; known are {', '.join(LIBRARIES[1:])}, none"
            )
    return names


def _listing() -> str:
    lines = []
    for name, case in CASES.items():
        sets = ", ".join(key for key, members in SETS.items() if name in members)
        kind = "" if case.dtype == "float32" else case.dtype
        lines.append(f"{name:20} {case.shape:20} {kind:10} {sets}")
    return "\n".join(lines)


def choose_cases(set_name: str, patterns: Sequence[str]) -> list[str]:
    """The cases of a set, or those of all sets that match a pattern."""
    if not patterns:
        return list(SETS[set_name])
    return [name for name in CASES if any(fnmatch.fnmatchcase(name, one) for one in patterns)]


def allowed_cpus() -> list[int]:
    """The CPUs this process may use; numbers without meaning where they cannot be told."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def pinned_cpus(threads: int) -> list[int]:
    """The CPUs to pin to: the last ones, as the first serves interrupts. Empty: cannot pin."""
    return allowed_cpus()[-threads:] if hasattr(os, "sched_setaffinity") else []


def _run(names: Sequence[str], threads: int, options: argparse.Namespace) -> Run:
    """Measure all cases with one number of threads."""
    effort = _EFFORT[options.set]
    unit = options.unit or _selfattn._config()["unit_in_use"]
    cpus = pinned_cpus(threads)
    progress = _Progress(len(names))
    libraries = ["selfattn", *options.peers]
    groups = [libraries] if threads == 1 else [[name] for name in libraries]
    run = Run(threads, unit, cpus, {}, {})
    with ExitStack() as stack:
        progress.tell("loading the libraries")
        workers = [
            stack.enter_context(closing(Worker(group, threads, cpus, unit))) for group in groups
        ]
        probes = [
            stack.enter_context(closing(Worker([], 1, cpu)))
            for cpu in ([[cpu] for cpu in cpus] or [[]] * threads)
        ]
        for worker in workers:
            run.versions |= worker.hello["versions"]
            run.missing |= worker.hello["missing"]
        begin = time.perf_counter()
        _measure_read(run, probes)
        for place, name in enumerate(names):
            progress.begin(name)
            _measure_peak(run, probes, CASES[name].dtype)
            left = effort.seconds - (time.perf_counter() - begin)
            share = left / (len(names) - place)
            run.results.append(race(name, workers, threads, effort, share, progress.tell))
        _measure_read(run, probes)
    progress.end()
    return run


def _measure_peak(run: Run, probes: Sequence[Worker], dtype: str) -> None:
    """The FMA peak of the pinned CPUs at once, in a case's compute type; the run's best counts."""
    compute = "float64" if dtype == "float64" else "float32"
    total = _ask_together(probes, "fma_peak", unit=run.unit, dtype=compute)
    run.fma_peak[compute] = max(run.fma_peak.get(compute, 0.0), total)


def _measure_read(run: Run, probes: Sequence[Worker]) -> None:
    """The read bandwidth of the pinned CPUs at once; the run's best counts."""
    run.read_bandwidth = max(run.read_bandwidth, _ask_together(probes, "read_bandwidth"))


def _ask_together(probes: Sequence[Worker], do: str, **arguments: str) -> float:
    """The sum of answers of processes that measure at the same time."""
    for probe in probes:
        probe.send(do, **arguments)
    return math.fsum([probe.receive() for probe in probes])


class _Progress:
    """One line on stderr: rewritten on a terminal, else a line for each case."""

    def __init__(self, total: int) -> None:
        self._total, self._done, self._case = total, 0, ""
        self._live = sys.stderr.isatty()

    def begin(self, case: str) -> None:
        self._case = case
        self._done += 1
        if not self._live:
            print(f"[{self._done}/{self._total}] {case}", file=sys.stderr, flush=True)

    def tell(self, what: str) -> None:
        if self._live:
            full = _BAR * max(self._done - 1, 0) // self._total
            bar = "#" * full + "-" * (_BAR - full)
            print(f"\r\x1b[K{bar} {self._case}: {what}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
