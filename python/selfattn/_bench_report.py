"""The benchmark's results as a table for the terminal or Markdown, and as JSON."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ._bench_cases import CASES, Case, Gemm, Layer
from ._bench_libraries import LIBRARIES, TITLES
from ._bench_race import Entry, Result
from ._config import show_config

__all__ = ["Run", "as_json", "as_text", "format_seconds"]

_JSON_FORMAT = 1
_NOISY = 0.1  # median turn above the best one, as a fraction
_MEMORY_CASE_BYTES = 1 << 20  # smaller problems stay in the caches


@dataclass
class Run:
    """All there is to say about one run with one number of threads.

    Attributes
    ----------
    fma_peak : dict
        FLOP/s by compute type, all threads together.
    read_bandwidth : float
        Bytes per second, all threads together.
    """

    threads: int
    unit: str
    cpus: list[int]
    versions: dict[str, str]
    missing: dict[str, str]
    fma_peak: dict[str, float] = field(default_factory=dict)
    read_bandwidth: float = 0.0
    results: list[Result] = field(default_factory=list)

    def best(self, case: str, library: str, reused: bool = False) -> float:
        """Seconds of a library's best contender in a case; inf if it has none."""
        for result in self.results:
            if result.case == case:
                return _best(result, library, reused)
        return math.inf


def _cpu_name() -> str:
    return str(show_config(mode="dicts")["python"]["CPU"])


def _best(result: Result, library: str, reused: bool = False) -> float:
    return min(
        (
            entry.best
            for entry in result.entries
            if entry.library == library and entry.reused == reused and entry.status == "ok"
        ),
        default=math.inf,
    )


def as_json(runs: Sequence[Run], command: Sequence[str]) -> dict[str, Any]:
    """Everything measured, seconds and counts as they are; see benchmarks/README.md."""
    return {
        "format": _JSON_FORMAT,
        "command": list(command),
        "machine": {
            "cpu": _cpu_name(),
            "platform": platform.platform(),
            "python": platform.python_version(),
        },
        "runs": [
            {
                **{
                    key: getattr(run, key)
                    for key in (
                        "threads",
                        "unit",
                        "cpus",
                        "versions",
                        "missing",
                        "fma_peak",
                        "read_bandwidth",
                    )
                },
                "results": [_json_result(result) for result in run.results],
            }
            for run in runs
        ],
    }


def _json_result(result: Result) -> dict[str, Any]:
    entries = [
        asdict(entry) | ({"best": entry.best, "spread": entry.spread} if entry.turns else {})
        for entry in result.entries
    ]
    return {
        "case": asdict(CASES[result.case]),
        "flops": result.flops,
        "bytes": result.bytes,
        "entries": entries,
    }


def as_text(run: Run, single: Run | None = None, markdown: bool = False) -> str:
    """The run as a table with what must be known to read it.

    Parameters
    ----------
    single : Run, optional
        The same cases with one thread; gives the column of the speed-up.
    markdown : bool
        A table with pipes instead of aligned columns.
    """
    rows = [cells for result in run.results for cells in _rows(run, result, single)]
    header = list(dict.fromkeys(name for cells in rows for name in cells))
    order = [name for name in _columns() if name in header]
    table = [order, *([cells.get(name, "") for name in order] for cells in rows)]
    lines = [*_head(run), "", *(_pipes(table) if markdown else _aligned(table)), "", *_notes(run)]
    return "\n".join(lines).rstrip() + "\n"


def _columns() -> list[str]:
    peers = [TITLES[library] for library in LIBRARIES[1:]]
    return [
        "case",
        "shape",
        "time",
        "GFLOP/s",
        "of FMA",
        "of read",
        "vs 1 thread",
        "vs case",
        *peers,
        "reused",
        "best reused",
    ]


def _rows(run: Run, result: Result, single: Run | None) -> Iterator[dict[str, str]]:
    case = CASES[result.case]
    if not isinstance(case, Gemm):
        yield _attention_row(run, result, case, single)
        return
    for entry in result.entries:
        if entry.turns:
            rate = result.flops / entry.best
            yield {
                "case": f"{case.name} {TITLES[entry.library]}",
                "shape": case.shape,
                "time": format_seconds(entry.best),
                "GFLOP/s": f"{rate / 1e9:.1f}",
                "of FMA": _percent(rate / run.fma_peak["float32"]),
            }


def _attention_row(
    run: Run, result: Result, case: Case | Layer, single: Run | None
) -> dict[str, str]:
    ours = _best(result, "selfattn")
    cells = {"case": case.name, "shape": case.shape}
    for library in LIBRARIES[1:]:
        entries = [entry for entry in result.entries if entry.library == library]
        if entries:
            cells[TITLES[library]] = _ratio_cell(_best(result, library), ours, entries)
    if ours == math.inf:
        return cells
    peak = run.fma_peak["float64" if case.dtype == "float64" else "float32"]
    rate = result.flops / ours
    cells |= {
        "time": format_seconds(ours),
        "GFLOP/s": f"{rate / 1e9:.1f}",
        "of FMA": _percent(rate / peak),
    }
    reading = result.bytes / run.read_bandwidth
    if result.bytes > _MEMORY_CASE_BYTES and reading > result.flops / peak:
        cells["of read"] = _percent(reading / ours)
    if single is not None and (alone := single.best(case.name, "selfattn")) < math.inf:
        cells["vs 1 thread"] = f"{alone / ours:.2f}x"
    if (twin := run.best(case.twin, "selfattn")) < math.inf:
        cells["vs case"] = f"{ours / twin:.2f} {case.twin}"
    reused = _best(result, "selfattn", reused=True)
    if reused < math.inf:
        cells["reused"] = format_seconds(reused)
        rivals = [_best(result, library, reused=True) for library in LIBRARIES[1:]]
        if min(rivals) < math.inf:
            cells["best reused"] = _ratio(min(rivals) / reused)
    return cells


def _ratio_cell(theirs: float, ours: float, entries: Sequence[Entry]) -> str:
    if theirs < math.inf:
        return _ratio(theirs / ours) if ours < math.inf else format_seconds(theirs)
    return "WRONG" if any(entry.status == "wrong" for entry in entries) else "-"


def _head(run: Run) -> list[str]:
    threads = "one thread" if run.threads == 1 else f"{run.threads} threads"
    pinned = f" on CPU {', '.join(map(str, run.cpus))}" if run.cpus else ", not pinned"
    peaks = ", ".join(f"{dtype} {peak / 1e9:.1f}" for dtype, peak in run.fma_peak.items())
    versions = ", ".join(f"{TITLES[name]} {version}" for name, version in run.versions.items())
    read = f"read bandwidth {run.read_bandwidth / 1e9:.1f} GB/s"
    return [
        f"{_cpu_name()}, {threads}{pinned}, selfattn's unit {run.unit}",
        versions,
        f"FMA peak in this run: {peaks} GFLOP/s; {read}",
        "time: selfattn's; a peer's column: its time over selfattn's (above 1: selfattn is faster)",
    ]


def _notes(run: Run) -> list[str]:
    lines = [f"{TITLES[name]} did not take part: {why}" for name, why in run.missing.items()]
    slower, noisy = [], []
    for result in run.results:
        ours = _best(result, "selfattn")
        for library in LIBRARIES[1:]:
            if (theirs := _best(result, library)) < ours < math.inf:
                slower.append(f"{result.case} ({TITLES[library]} {_ratio(theirs / ours)})")
        if any(one.library == "selfattn" and one.spread > _NOISY for one in result.entries):
            noisy.append(result.case)
        for entry in result.entries:
            if entry.status == "wrong":
                lines.append(
                    f"WRONG {result.case}: {TITLES[entry.library]} {entry.label} {entry.note}"
                )
            if entry.status == "refused" and not isinstance(CASES[result.case], Gemm):
                lines.append(f"- {result.case}: {TITLES[entry.library]}: {entry.note}")
    if noisy:
        lines.append(f"Noisy, half of the turns over {_NOISY:.0%} slower: {', '.join(noisy)}")
    if slower:
        lines.append(f"Slower than a peer: {', '.join(slower)}")
    return lines


def _aligned(table: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = [
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _pipes(table: Sequence[Sequence[str]]) -> Iterator[str]:
    for place, row in enumerate(table):
        yield f"| {' | '.join(row)} |"
        if place == 0:
            yield "|" + "|".join(["---", "---", *["---:"] * (len(row) - 2)]) + "|"


def format_seconds(value: float) -> str:
    """Three digits and a unit."""
    scaled, unit = value * 1e6, "us"
    if scaled >= 999.5:
        scaled, unit = value * 1e3, "ms"
    if scaled >= 999.5:
        scaled, unit = value, "s"
    digits = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
    return f"{scaled:.{digits}f} {unit}"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.0f} %"


def _ratio(value: float) -> str:
    return f"{value:.2f}x" if value < 10 else f"{value:.1f}x" if value < 100 else f"{value:.0f}x"
