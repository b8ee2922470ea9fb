"""The shape of the sources, checked by reading them: which file may know which, and how long."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CSRC = ROOT / "csrc"
C_FILES = sorted(p for p in CSRC.rglob("*") if p.suffix in (".c", ".h", ".def"))
PYTHON_FILES = sorted(
    [ROOT / "setup.py"]
    + [p for folder in ("python", "tests", "benchmarks", "examples")
       for p in (ROOT / folder).rglob("*.py")]
)  # fmt: skip
MAX_FILE, MAX_FUNCTION = 400, 60

C_PARAMS = pytest.mark.parametrize("path", C_FILES, ids=lambda p: str(p.relative_to(ROOT)))
PY_PARAMS = pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda p: str(p.relative_to(ROOT)))


def without_comments(text):
    """C text with comments and string contents blanked, lines kept."""
    blank = lambda m: re.sub(r"[^\n]", " ", m[0]) if m[0][0] == "/" else '""'  # noqa: E731
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.DOTALL)


def includes(path):
    """(quoted files that it includes, relative to csrc), (system headers)"""
    text = path.read_text(encoding="ascii")
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    quoted = re.findall(r'^\s*#\s*include\s*"([^"]+)"', text, re.MULTILINE)
    system = re.findall(r"^\s*#\s*include\s*<([^>]+)>", text, re.MULTILINE)
    found = []
    for name in quoted:
        candidates = [path.parent / name, CSRC / name]
        target = next((c.resolve() for c in candidates if c.exists()), None)
        assert target is not None, f"{path.name} includes {name}, which is not there"
        found.append(str(target.relative_to(CSRC)))
    return found, system


def layer(relative):
    """The layer of a file: its folder; kernels.h, which the core may see, is one of its own."""
    if relative in ("kernels/kernels.h", "core/units.def"):
        return relative
    parts = relative.split("/")
    return "/".join(parts[:2]) if parts[0] == "kernels" and len(parts) > 2 else parts[0]


ALLOWED = {
    "include": {"include"},
    "kernels/kernels.h": {"include"},
    "core": {"include", "core", "core/units.def", "kernels/kernels.h"},
    "core/units.def": set(),
    "kernels": {"kernels", "kernels/kernels.h", "kernels/simd", "kernels/tiles", "include"},
    "kernels/units": {"kernels", "kernels/simd", "kernels/tiles", "kernels/kernels.h"},
    "kernels/tiles": {"kernels", "kernels/simd", "kernels/tiles", "kernels/kernels.h"},
    "kernels/simd": {"kernels", "kernels/simd", "kernels/kernels.h"},
    "binding": {"binding", "include"},
}
# The probes show single parts of a unit to the tests, past the C interface.
LOOKS_DEEPER = {"binding/probe.c": {"core/dispatch.h", "kernels/kernels.h"}}


def test_there_are_sources():
    assert {layer(str(p.relative_to(CSRC))) for p in C_FILES} == set(ALLOWED)


@C_PARAMS
def test_includes_point_one_way(path):
    relative = str(path.relative_to(CSRC))
    mine = layer(relative)
    for included in set(includes(path)[0]) - LOOKS_DEEPER.get(relative, set()):
        assert layer(included) in ALLOWED[mine], f"{mine} may not include {included}"


@C_PARAMS
def test_who_sees_which_system_header(path):
    mine = layer(str(path.relative_to(CSRC)))
    for header in includes(path)[1]:
        if header == "Python.h" or header.startswith("numpy/"):
            assert mine == "binding", f"{header} outside the binding"
        if header.endswith("intrin.h"):
            assert mine == "kernels/simd", f"{header} outside simd/"
        if header in ("pthread.h", "threads.h", "unistd.h", "signal.h"):
            assert mine == "core", f"{header} outside the core"


@C_PARAMS
def test_forbidden_calls(path):
    """Kernels allocate nothing and know no threads; only two files read the environment; nothing
    below the binding prints or ends the process."""
    text = without_comments(path.read_text())
    mine = layer(str(path.relative_to(CSRC)))

    def calls(names):
        return re.findall(rf"\b(?:{names})\s*\(", text)

    if mine.startswith("kernels"):
        assert not calls("malloc|calloc|realloc|free|aligned_alloc|posix_memalign|alloca|mmap")
        assert not re.search(r"\bpthread_|\bomp_|#\s*pragma\s+omp|\bPy[A-Z_]", text)
    if path.name not in ("dispatch.c", "pool.c"):
        assert not calls("getenv|secure_getenv")
    if mine != "binding":
        assert not calls("printf|fprintf|puts|putchar|fputs|abort|exit|_exit|perror|assert")
    assert not re.search(r"#\s*if\s+0\b|\bTODO\b|\bFIXME\b|\bXXX\b", path.read_text())
    assert not re.search(r"-ffast-math|\bgoto\s+(?!done\b)\w", text)


@C_PARAMS
def test_c_file(path):
    """ASCII, at most 400 lines, functions of at most 60, an opening comment."""
    raw = path.read_bytes()
    assert raw.isascii()
    assert b"\t" not in raw
    assert raw.endswith(b"\n")
    assert b"\r" not in raw
    lines = raw.decode().splitlines()
    assert len(lines) <= MAX_FILE
    assert lines[0].startswith("/*"), "a file opens with what it computes"
    for name, length in c_functions(raw.decode()):
        assert length <= MAX_FUNCTION, f"{name} has {length} lines"


def c_functions(text):
    """(name, lines) of each function definition: a body that opens at the outermost level."""
    text = re.sub(r"(?m)^[ ]*#.*(?:\\\n.*)*", lambda m: "\n" * m[0].count("\n"),
                  without_comments(text))  # fmt: skip
    depth, start, found, head = 0, 0, [], 0
    for at, char in enumerate(text):
        if char == "{":
            if depth == 0:
                head = at
            depth += 1
        elif char == "}":
            depth -= 1
            if depth == 0:
                declarator = text[start:head].strip()
                if declarator.endswith(")"):
                    name = re.findall(r"(\w+)\s*\(", declarator)[0]
                    found.append((name, text.count("\n", text.index(declarator, start), at) + 1))
                start = at + 1
        elif char == ";" and depth == 0:
            start = at + 1
    assert depth == 0
    return found


def test_the_function_finder_finds():
    text = (
        "/* { */\n#define X(a) \\\n  { a }\nstruct s { int a; };\nstatic int f(int a)\n{\n"
        '  if (a) { return "}"[0]; }\n  return 0;\n}\nint t[] = {1, 2};\nvoid g(void) { }\n'
    )
    assert c_functions(text) == [("f", 5), ("g", 1)]


def test_file_names_are_unique_and_snake_case():
    names = [p.name for p in C_FILES]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9_]+\.(c|h|def)", name) for name in names)


def test_units_are_four_lines():
    """A unit picks a vocabulary and includes the algorithm; it holds no code of its own."""
    units = list((CSRC / "kernels" / "units").glob("*.c"))
    assert units
    for path in units:
        assert re.fullmatch(r"unit_[a-z0-9]+_f(32|64)\.c", path.name)
        lines = without_comments(path.read_text()).split("\n")
        assert all(not line.strip() or line.startswith("#") for line in lines), path.name


@PY_PARAMS
def test_python_file(path):
    """At most 400 lines, functions of at most 60 without their docstring, a module docstring."""
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MAX_FILE
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a file opens with what it is for"
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node) is not None:
                length -= node.body[0].end_lineno - node.body[0].lineno + 1
            assert length <= MAX_FUNCTION, f"{node.name} has {length} lines"
