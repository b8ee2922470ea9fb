"""Which lines and branches of the C sources the tests reached, and the gate on it.

    python covered.py OBJECTS SOURCES     OBJECTS: folder of .o, .gcno and .gcda; SOURCES: the tree

Lines and branches of `csrc/binding` and `csrc/core`, and lines of `csrc/kernels` in each unit, are
to be reached in full but for those that never.txt names, each with its reason. Run by
tests/checks/coverage.
"""

import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

NEVER = Path(__file__).parent / "never.txt"
WITH_BRANCHES = ("csrc/binding/", "csrc/core/")


@dataclass
class Line:
    count: int = 0
    branches: dict[int, int] = field(default_factory=dict)
    function: str = ""


Coverage = dict[str, dict[int, Line]]


def read_gcov(objects: Path, sources: Path) -> dict[str, Coverage]:
    """{unit or "": {file: {line: Line}}}; a header of kernels counts for each unit by itself."""
    found: dict[str, Coverage] = defaultdict(lambda: defaultdict(lambda: defaultdict(Line)))
    for data in sorted(objects.rglob("*.gcda")):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["gcov", "--json-format", "--branch-probabilities", str(data)],
                           cwd=folder, check=True, capture_output=True)  # fmt: skip
            for path in Path(folder).glob("*.gcov.json.gz"):
                add_report(found, json.loads(gzip.decompress(path.read_bytes())), data, sources)
    return found


def add_report(found: dict[str, Coverage], report: dict, data: Path, sources: Path) -> None:
    for entry in report["files"]:
        path = os.path.normpath(entry["file"]).removeprefix(str(sources) + "/")
        if not path.startswith("csrc/"):
            continue
        unit = data.stem.removeprefix("unit_") if path.startswith("csrc/kernels/") else ""
        for line in entry["lines"]:
            total = found[unit][path][line["line_number"]]
            total.count += line["count"]
            total.function = line.get("function_name", "")
            for i, branch in enumerate(line["branches"]):
                total.branches[i] = total.branches.get(i, 0) + branch["count"]


class Rule(NamedTuple):
    """What no test can reach: lines that hold the text, or all lines of a function "name()"."""

    path: str
    unit: str
    text: str
    is_needed: bool

    def fits(self, path: str, unit: str, function: str, text: str) -> bool:
        if path != self.path or self.unit not in unit:
            return False
        return self.text == f"{function}()" or self.text in text


def read_never() -> list[Rule]:
    """From lines "file: text" or, for units with that word in their name, "file [f64]: text". One
    that begins with ~ may be reached all the same."""
    rules = []
    for line in NEVER.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            maybe, path, unit, text = re.fullmatch(
                r"(~?)(\S+?)(?: \[(\w+)\])?: (.+)", line
            ).groups()
            rules.append(Rule(path, unit or "", text.strip(), not maybe))
    return rules


class Gate:
    """Counts what was reached, and keeps what was not and is not excused."""

    def __init__(self, sources: Path) -> None:
        self.sources = sources
        self.rules = read_never()
        self.used: set[Rule] = set()
        self.missed: list[str] = []

    def excused(self, unit: str, path: str, line: Line, text: str) -> bool:
        hits = [rule for rule in self.rules if rule.fits(path, unit, line.function, text)]
        self.used.update(hits)
        return bool(hits)

    def check(self, unit: str, path: str, lines: dict[int, Line]) -> tuple[int, int, int, int]:
        """(lines reached, lines, branches taken, branches)"""
        text = ["", *(self.sources / path).read_text(encoding="ascii").splitlines()]
        counts = [0, 0, 0, 0]
        for number, line in sorted(lines.items()):
            branches = line.branches if path.startswith(WITH_BRANCHES) else {}
            taken = sum(1 for count in branches.values() if count)
            counts[0] += line.count > 0
            counts[1] += 1
            counts[2] += taken
            counts[3] += len(branches)
            reached = line.count > 0 and taken == len(branches)
            if not reached and not self.excused(unit, path, line, text[number]):
                what = "never run" if line.count == 0 else f"{taken} of {len(branches)} branches"
                where = f"{path}:{number}" + (f" ({unit})" if unit else "")
                self.missed.append(f"{where}: {what}: {text[number].strip()}")
        return counts[0], counts[1], counts[2], counts[3]


def main() -> int:
    objects, sources = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    gate = Gate(sources)
    for unit, files in sorted(read_gcov(objects, sources).items()):
        sums = [sum(c) for c in zip(*(gate.check(unit, *f) for f in sorted(files.items())),
                                    strict=True)]  # fmt: skip
        name = f"unit {unit}" if unit else "binding and core"
        print(f"{name}: {sums[0]} of {sums[1]} lines, {sums[2]} of {sums[3]} branches")
    stale = [f"never.txt, not needed: {rule}" for rule in gate.rules
             if rule.is_needed and rule not in gate.used]  # fmt: skip
    for problem in gate.missed + stale:
        print(problem)
    print(f"{len(gate.rules)} documented never-branches")
    failed = len(gate.missed) + len(stale)
    print(f"{1 if not failed else 0} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    raise SystemExit(main())
