"""Mutation testing: a small change of the C sources, and the tests must notice.

    python mutate.py [--files csrc/core/check.c ...] [--sample N] [--seed S]

Each mutant changes one operator, constant or condition of check.c, plan.c or of what decides which
keys a row sees and where rows and tiles end, is compiled into a scalar-only build, and runs the
tests until one fails (killed) or none does (survived).
survivors.txt lists the survivors that change nothing a caller can see, each with its reason. Fewer
than 95 % killed of the others is a failure. Each has its own process, forked from one
that has pytest and NumPy loaded.
"""

import argparse
import contextlib
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import hypothesis  # noqa: F401  here, so that no child has to load it
import ml_dtypes  # noqa: F401
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
FORK = multiprocessing.get_context("fork")
UNIT = "csrc/kernels/units/unit_scalar_f32.c"
TILES = "csrc/kernels/tiles"
ANY_CALL = "tests/test_accuracy.py::test_any_call"
STATS = "tests/test_stats.py::test_any_call"
# Of a header's units only the float32 one is mutated.
MASKS = [
    "tests/test_layouts.py::test_masks_that_hide_the_ends",
    "tests/test_layouts.py::test_a_mask_for_each_head",
    "tests/test_accuracy.py::test_windows_that_leave_the_keys",
    "tests/test_golden.py",
    "tests/test_never_read.py",
    ANY_CALL,
    "tests/test_nonfinite.py",
    "-k",
    "not float64",
]
# What notices most comes first.
TESTS = {
    "csrc/core/check.c": ["tests/test_errors.py", "tests/test_limits.py", "tests/test_out.py",
                          "tests/test_interface.py", "tests/test_types.py", ANY_CALL,
                          "tests/test_stats.py::test_reference_agrees"],
    "csrc/core/plan.c": ["tests/test_plan.py", "tests/test_golden.py", ANY_CALL],
    f"{TILES}/visible.h": MASKS,
    f"{TILES}/groups.h": MASKS,
    f"{TILES}/scores.h": ["tests/test_layouts.py::test_layouts_of_mask_and_bias",
                          "tests/test_adversarial.py::test_additive_terms_of_all_sizes",
                          "tests/test_adversarial.py::test_large_terms_in_part_of_a_tile",
                          "tests/test_adversarial.py::test_softcap_from_saturated_to_linear",
                          *MASKS],
    f"{TILES}/stats_rows.h": ["tests/test_stats_edges.py",
                              "tests/test_stats.py::test_bits_of_the_weights", STATS,
                              "tests/test_stats.py", "-k", "not float64 and not memory"],
}  # fmt: skip
FILES = list(TESTS)
# Of these files, only what has to do with masks, tails and hidden keys.
FUNCTIONS = {
    f"{TILES}/visible.h": ["clamp", "add_saturated", "query_of", "head_of", "widen",
                           "find_visible_keys", "find_visible_rows", "term_row", "is_hidden",
                           "count_hidden", "mask_sight", "mask_bytes", "spread_nan"],
    f"{TILES}/scores.h": ["hide", "logits_row", "add_term", "add_given_row", "ADD_GIVEN",
                          "add_mask", "cap_row", "scale_row", "add_terms"],
    f"{TILES}/stats_rows.h": ["keep_logits", "sum_logits", "sum_far_logits", "sum_distances",
                              "insert_top", "sees_key", "offer_top", "take_largest",
                              "take_row_stats"],
}  # fmt: skip
NEEDED = 0.95
CPU_SECONDS = 120  # a mutant that takes longer runs in a circle

# (pattern, replacement): each match is a mutant of its own.
RULES = [
    (r" < ", " <= "), (r" <= ", " < "), (r" > ", " >= "), (r" >= ", " > "),
    (r" == ", " != "), (r" != ", " == "), (r" && ", " || "), (r" \|\| ", " && "),
    (r" \+ ", " - "), (r" - (?=\w)", " + "), (r" \* (?=\w)", " + "),
    (r"\bif \((?=.*\) \{)", "if (!("), (r"\btrue\b", "false"), (r"\bfalse\b", "true"),
    (r"(?<=[ (])1(?=[;, )])", "2"), (r"(?<=[ (])0(?=[;, )])", "1"),
]  # fmt: skip


def code_only(line: str) -> str:
    """The line with comments and strings blanked, so that no rule matches in them."""
    blank = lambda m: " " * len(m[0])  # noqa: E731
    return re.sub(r'/\*.*?\*/|/\*.*|"(?:\\.|[^"\\])*"', blank, line)


def mutants(path: str) -> list[tuple[int, str]]:
    """(line number, new line) of every mutant."""
    found = []
    in_comment, function = False, ""
    for number, line in enumerate((ROOT / path).read_text(encoding="ascii").splitlines()):
        if opening := re.match(r"\w[^=]*?(\w+)\(", line):
            function = opening[1]
        started = in_comment or line.lstrip().startswith(("/*", "#", "enum"))
        in_comment = (in_comment or "/*" in line) and "*/" not in line.split("/*")[-1]
        if started or function not in FUNCTIONS.get(path, (function,)):
            continue
        code = code_only(line)
        for pattern, new in RULES:
            for match in re.finditer(pattern, code):
                changed = line[: match.start()] + new + line[match.end() :]
                if new == "if (!(":
                    end = changed.rindex(") {")
                    changed = changed[:end] + ")" + changed[end:]
                found.append((number, changed))
    return found


def run_tests(tree: Path, package: Path, tests: list[str], log: Path) -> None:
    """In a forked child, which has the libraries loaded already: pytest until the first failure."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.setsid()  # what a test starts ends with it
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    os.chdir(tree)
    os.environ |= {"PYTHONPATH": str(package), "SELFATTN_TEST_SEED": "20261122"}
    sys.path.insert(0, str(package))
    sys.dont_write_bytecode = False
    quiet = ["-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    status = pytest.main(["-x", *quiet, *tests])
    os._exit(status)


class Build:
    """A scalar-only build whose objects are made anew one by one."""

    def __init__(self, folder: Path) -> None:
        self.tree, self.objects = folder / "tree", folder / "objects"
        shutil.copytree(ROOT, self.tree, ignore=shutil.ignore_patterns(".git", "__pycache__"))
        self.objects.mkdir()
        shutil.copytree(ROOT / "python/selfattn", folder / "package/selfattn")
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        self.module = folder / f"package/selfattn/_selfattn{suffix}"
        self.path, self.log = folder / "package", folder / "log"
        for source in self.sources():
            assert self.compile(source), source

    def sources(self) -> list[Path]:
        units = [self.tree / f"csrc/kernels/units/unit_scalar_{t}.c" for t in ("f32", "f64")]
        folders = ("csrc/core", "csrc/binding")
        return [source for f in folders for source in sorted(self.tree.glob(f"{f}/*.c"))] + units

    def compile(self, source: Path, level: str = "-O1") -> bool:
        includes = [f"-I{np.get_include()}", f"-I{sysconfig.get_path('include')}"]
        command = ["gcc", "-std=c11", level, "-fPIC", "-ffp-contract=off", "-w", *includes, "-c",
                   str(source), "-o", str(self.objects / (source.stem + ".o"))]  # fmt: skip
        return subprocess.run(command, capture_output=True).returncode == 0

    def link(self) -> bool:
        self.module.unlink(missing_ok=True)
        objects = [str(p) for p in sorted(self.objects.glob("*.o"))]
        command = ["gcc", "-shared", *objects, "-lm", "-lpthread", "-o", str(self.module)]
        return subprocess.run(command, capture_output=True).returncode == 0

    def affected(self, path: str) -> Path:
        """The source to compile again: of a header's units the float32 one stands for both."""
        return self.tree / (path if path.endswith(".c") else UNIT)

    def apply(self, path: str, text: str) -> bool:
        (self.tree / path).write_text(text, encoding="ascii")
        return self.compile(self.affected(path), "-O0") and self.link()

    def passes(self, path: str) -> bool:
        child = FORK.Process(target=run_tests, args=(self.tree, self.path, TESTS[path], self.log))
        child.start()
        child.join(10 * CPU_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.join()
        return child.exitcode == 0


def read_survivors() -> set[tuple[str, str]]:
    """(file, mutated line) of the mutants that are known to change nothing."""
    rules = set()
    text = (Path(__file__).parent / "survivors.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        if ": " in line and not line.startswith("#"):
            path, mutated = line.split(": ", 1)
            rules.add((path, mutated.strip()))
    return rules


def judge(
    build: Build, path: str, text: str, number: int, changed: str, known: set[tuple[str, str]]
) -> str:
    """What becomes of the mutant whose line number is `changed`."""
    if (path, changed.strip()) in known:
        return "equivalent"
    lines = text.splitlines()
    if not build.apply(path, "\n".join([*lines[:number], changed, *lines[number + 1 :], ""])):
        return "invalid"
    return "survived" if build.passes(path) else "killed"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", nargs="*", default=FILES)
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    jobs = [(path, *mutant) for path in options.files for mutant in mutants(path)]
    if options.sample:
        jobs = random.Random(options.seed).sample(jobs, min(options.sample, len(jobs)))
    known, counts = read_survivors(), {"killed": 0, "survived": 0, "equivalent": 0, "invalid": 0}
    with tempfile.TemporaryDirectory() as folder:
        build = Build(Path(folder))
        for path in options.files:
            text = (ROOT / path).read_text(encoding="ascii")
            assert build.apply(path, text)
            assert build.passes(path), f"{path}: fails without a mutant\n{build.log.read_text()}"
            for number, changed in (job[1:] for job in jobs if job[0] == path):
                result = judge(build, path, text, number, changed, known)
                counts[result] += 1
                if result == "survived":
                    print(f"{path}:{number + 1}: {changed.strip()}", flush=True)
            build.apply(path, text)
    total = counts["killed"] + counts["survived"]
    print(f"{counts}; {counts['killed'] / max(total, 1):.1%} killed")
    print(f"{counts['killed']} passed, {counts['survived']} failed")
    return counts["killed"] < NEEDED * total


if __name__ == "__main__":
    raise SystemExit(main())
