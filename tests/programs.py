"""C programs of tests/native that need a few files of the core only; how long to wait for one."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Limits of time are multiplied by it: more than 1 for builds that are slow on purpose.
PATIENCE = int(os.environ.get("SELFATTN_TEST_PATIENCE") or 1)


def compile_program(folder, name, *core):
    """The program tests/native/NAME.c with csrc/core/CORE.c, in that folder. tests/checks/coverage
    gives flags of its own."""
    sources = [ROOT / f"tests/native/{name}.c", *(ROOT / f"csrc/core/{c}.c" for c in core)]
    compiler = os.environ.get("CC", "cc").split()
    flags = ["-std=c11", "-O1", "-ffp-contract=off", *os.environ.get("TEST_CFLAGS", "").split()]
    subprocess.run([*compiler, *flags, *sources, "-lm", "-lpthread", "-o", folder / name],
                   check=True)  # fmt: skip
    return folder / name
