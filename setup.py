"""Build of the C extension; everything else about the package stands in pyproject.toml.

The kernels are one algorithm, compiled once per instruction set and number type ("unit"). Each unit
gets flags of its own, which setuptools has no notion of, so units are compiled here and handed to
the linker as objects. All other files get the baseline flags, and a choice at run time takes a unit
that the CPU can run. A compiler that cannot make a unit loses that unit and no more.

Environment: SELFATTN_BUILD_ISA=scalar,avx2 builds those units only. SELFATTN_EMULATE=avx512 makes
the AVX-512 unit from AVX2 instructions, slow and only for tests on CPUs without the real ones.
SELFATTN_BUILD=asan,ubsan makes a build for checks (docs/testing.md); the names are those of
TEST_BUILDS. CC, CFLAGS and LDFLAGS work as usual; the flags below come after them.
"""

from __future__ import annotations

import gzip
import logging
import os
import platform
import re
import shlex
import shutil
import sys
import sysconfig
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.sdist import sdist
from setuptools.errors import CCompilerError, CompileError, ExecError, LinkError

ROOT = Path(__file__).resolve().parent
CORE = sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob("csrc/core/*.c"))
BINDING = sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob("csrc/binding/*.c"))
KERNELS = sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob("csrc/kernels/**/*.[ch]"))
HEADERS = sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob("csrc/**/*.[hd]*"))

# No -ffast-math (NaN, infinity and rounding are part of the contract), no contraction but where a
# fused multiply-add is written, no link-time optimisation over units: it may move code of one
# instruction set into functions of another. Python's own flags hold -fwrapv, which costs the
# register tile 0.6 % and blinds UndefinedBehaviorSanitizer to overflow.
COMMON_FLAGS = [
    "-std=c11", "-O3", "-fvisibility=hidden", "-fno-fast-math", "-fno-unsafe-math-optimizations",
    "-fno-finite-math-only", "-ffp-contract=off", "-fno-lto", "-fno-wrapv",
]  # fmt: skip
UNIT_FLAGS = {
    "scalar": [],
    "avx2": ["-mavx2", "-mfma", "-mf16c"],
    "avx512": [
        "-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma", "-mf16c",
        "-mprefer-vector-width=512",
    ],
}  # fmt: skip
# A library linked with -ffast-math or -Ofast flushes subnormals to zero in the whole process.
LINK_FLAGS = ["-O3", "-fno-fast-math", "-fno-unsafe-math-optimizations"]
# tests/emulation/immintrin.h stands before the compiler's own header.
EMULATED_FLAGS = {"avx512": [*UNIT_FLAGS["avx2"], f"-I{ROOT}/tests/emulation", "-Wno-psabi"]}
# Those that the compiler and linker at hand know are used; tests/checks/hardening looks at the
# built file for what they do. (OpenSSF, "Compiler Options Hardening Guide for C and C++".)
OPTIONAL_FLAGS = [
    "-Wall", "-Wextra", f"-ffile-prefix-map={ROOT}=.",
    f"-ffile-prefix-map={numpy.get_include()}=numpy",  # in a folder of pip's for each build
]  # fmt: skip
OPTIONAL_LINK_FLAGS = ["-fno-lto", "-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack"]
HARDENING_FLAGS = ["-fstack-protector-strong", "-fstack-clash-protection", "-fcf-protection=full"]
FORTIFY_FLAGS = [["-U_FORTIFY_SOURCE", f"-D_FORTIFY_SOURCE={level}"] for level in (3, 2)]

# Builds that look at themselves while they run. Any of them also gets the module's test functions
# from tests/native, which refuse memory and threads and commit bugs on purpose.
TEST_BUILDS = {
    "asan": ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address"],
    "ubsan": ["-O1", "-g", "-fsanitize=undefined", "-fno-sanitize-recover=undefined"],
    "tsan": ["-O1", "-g", "-fsanitize=thread"],
    "coverage": ["-O0", "-g", "--coverage", "-fprofile-update=atomic"],
    "debug": ["-O0", "-g3"],
    "fault": ["-g"],
}
TEST_SOURCES = [f"tests/native/{name}.c" for name in ("planted", "refusals", "test_methods")]

# What must compile for a unit to be built; __x86_64__ is asked for here and not of the machine,
# for the compiler may build for another one.
PROBES = {
    "avx2": """
        #include <immintrin.h>
        #ifndef __x86_64__
        #error "not x86-64"
        #endif
        __m256 probe(__m256 a, __m256i b, __m128i h)
        {
            b = _mm256_add_epi32(b, b);
            return _mm256_fmadd_ps(a, _mm256_castsi256_ps(b), _mm256_cvtph_ps(h));
        }
    """,
    "avx512": """
        #include <immintrin.h>
        #ifndef __x86_64__
        #error "not x86-64"
        #endif
        __m512 probe(__m512 a, __m512i b, __m128i h, __mmask64 m)
        {
            b = _mm512_add_epi32(_mm512_mask_mov_epi8(b, m, b), _mm512_set1_epi32(_mm_cvtsi128_si32(
                _mm_mask_mov_epi32(h, 1, h))));
            return _mm512_and_ps(_mm512_fmadd_ps(a, a, a), _mm512_castsi512_ps(b));
        }
    """,
}

NO_COMPILER = """selfattn is built from C sources, and no working C compiler was found ({reason}).
Install one and try again:
    Debian, Ubuntu    apt install gcc libc6-dev python3-dev
    Fedora, RHEL      dnf install gcc python3-devel
    macOS             xcode-select --install
or name the one to use in the variable CC."""
NO_PYTHON_HEADERS = """selfattn is built from C sources, and Python's headers are not installed \
({reason} is not there).
Install them and try again:
    Debian, Ubuntu    apt install python3-dev
    Fedora, RHEL      dnf install python3-devel"""
NO_WINDOWS = "selfattn does not build on Windows yet; it works under WSL, the Linux inside Windows."


def read_version() -> str:
    header = (ROOT / "csrc/include/selfattn.h").read_text(encoding="ascii")
    match = re.search(r'^#define SA_VERSION "([^"]+)"$', header, re.MULTILINE)
    assert match, "csrc/include/selfattn.h defines SA_VERSION"
    return match[1]


def wanted_isas() -> list[str]:
    """The instruction sets to try, in rising order; scalar is always there."""
    text = os.environ.get("SELFATTN_BUILD_ISA", ",".join(UNIT_FLAGS))
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in UNIT_FLAGS]
    if unknown:
        raise SystemExit(
            f"SELFATTN_BUILD_ISA names {', '.join(unknown)}: expected some of "
            f"{', '.join(UNIT_FLAGS)}, separated by commas"
        )
    return [name for name in UNIT_FLAGS if name == "scalar" or name in names]


def emulated_isa() -> str | None:
    """The instruction set whose unit is to be made of another's instructions, if any."""
    name = os.environ.get("SELFATTN_EMULATE") or None
    if name is not None and name not in EMULATED_FLAGS:
        raise SystemExit(f"SELFATTN_EMULATE is {name}: expected {', '.join(EMULATED_FLAGS)}")
    return name


def test_builds() -> list[str]:
    names = [name.strip() for name in os.environ.get("SELFATTN_BUILD", "").split(",")]
    names = [name for name in names if name]
    unknown = [name for name in names if name not in TEST_BUILDS]
    if unknown:
        raise SystemExit(
            f"SELFATTN_BUILD names {', '.join(unknown)}: expected some of "
            f"{', '.join(TEST_BUILDS)}, separated by commas"
        )
    return names


def unit_flags(isa: str) -> list[str]:
    return EMULATED_FLAGS[isa] if isa == emulated_isa() else UNIT_FLAGS[isa]


class BuildUnits(build_ext):
    """build_ext that compiles each unit with its own flags and probes the compiler first."""

    def build_extension(self, ext: Extension) -> None:
        self.check_toolchain()
        test_flags = [flag for name in test_builds() for flag in TEST_BUILDS[name]]
        flags = [
            *COMMON_FLAGS,
            *(f for f in OPTIONAL_FLAGS if self.compiles("int x;", ["-Werror", f])),
            *(test_flags or self.hardening_flags()),
        ]
        isas = [isa for isa in wanted_isas() if self.can_build(isa, flags)]
        self.announce(f"selfattn: building units {', '.join(isas)}", level=logging.INFO)
        ext.define_macros = [
            *((f"SA_HAVE_{isa.upper()}", "1") for isa in isas if isa != "scalar"),
            *((f"SA_EMULATED_{isa.upper()}", "1") for isa in isas if isa == emulated_isa()),
            *([("SA_TEST_BUILD", "1")] if test_builds() else []),
            ("SA_BUILD_NUMPY", f'"{numpy.__version__}"'),
            ("SA_BUILD_FLAGS", f'"{shlex.join(COMMON_FLAGS)}"'),
        ]
        ext.extra_compile_args = flags
        ext.extra_link_args = [
            *LINK_FLAGS,
            *(f for f in OPTIONAL_LINK_FLAGS if self.compiles("int x;", [], link=[f])),
            *test_flags,
        ]
        ext.extra_objects = self.compile_units(isas, flags)
        self.force = True  # what was built before may be for other units or flags
        super().build_extension(ext)

    def hardening_flags(self) -> list[str]:
        found = [f for f in HARDENING_FLAGS if self.compiles("int x;", ["-Werror", f])]
        header = "#include <string.h>\nint x;"
        for fortify in FORTIFY_FLAGS:
            if self.compiles(header, ["-O3", "-Werror", *fortify]):
                return [*found, *fortify]
        return found

    def compile_units(self, isas: list[str], flags: list[str]) -> list[str]:
        """Compile the units, as many at a time as there are CPUs, and return the objects."""
        jobs = [
            (f"csrc/kernels/units/unit_{isa}_{dtype}.c", [*flags, *unit_flags(isa)])
            for isa in reversed(isas)
            for dtype in ("f32", "f64")
        ]

        def compile_one(job: tuple[str, list[str]]) -> list[str]:
            source, flags = job
            return self.compiler.compile(
                [source], output_dir=self.build_temp, extra_postargs=flags, depends=KERNELS,
                debug=self.debug,
            )  # fmt: skip

        for source, _ in jobs:
            self.mkpath(os.path.join(self.build_temp, os.path.dirname(source)))
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            return [name for names in pool.map(compile_one, jobs) for name in names]

    def can_build(self, isa: str, flags: list[str]) -> bool:
        probe = PROBES["avx2" if isa == emulated_isa() else isa] if isa != "scalar" else "int x;"
        if self.compiles(probe, [*flags, *unit_flags(isa)]):
            return True
        self.announce(
            f"selfattn: this compiler and target cannot make unit {isa}", level=logging.WARNING
        )
        return False

    def check_toolchain(self) -> None:
        header = Path(sysconfig.get_path("include"), "Python.h")
        if not header.exists():
            raise SystemExit(NO_PYTHON_HEADERS.format(reason=header))
        command = self.compiler.compiler_so[0]
        if shutil.which(command) is None:
            raise SystemExit(NO_COMPILER.format(reason=f"{command} is not there"))
        if not self.compiles("#include <math.h>\n#include <pthread.h>\nint x;", [], link=[]):
            raise SystemExit(NO_COMPILER.format(reason=f"{command} fails on a one-line program"))

    def compiles(self, source: str, flags: list[str], link: list[str] | None = None) -> bool:
        """Whether a source compiles with these flags and, if link is given, links."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "probe.c")
            path.write_text(source, encoding="ascii")
            try:
                with Silence(Path(folder, "log")):
                    objects = self.compiler.compile(
                        [str(path)], output_dir=folder, extra_postargs=flags
                    )
                    if link is not None:
                        self.compiler.link_shared_object(
                            objects, str(Path(folder, "probe.so")), extra_postargs=link
                        )
            except (CCompilerError, CompileError, ExecError, LinkError):
                return False
        return True


class Silence:
    """Keep what the compiler says of a probe out of the build's output."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def __enter__(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self.saved = os.dup(1), os.dup(2)
        target = os.open(self.log, os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(target, 1)
        os.dup2(target, 2)
        os.close(target)

    def __exit__(self, *exception: object) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, saved in zip((1, 2), self.saved, strict=True):
            os.dup2(saved, number)
            os.close(saved)


class ArchiveSources(sdist):
    """sdist whose archive is the same, byte for byte, whenever and by whomever it is made."""

    def make_archive(
        self, base_name: str, format: str, root_dir: object = None, base_dir: str | None = None,
        owner: str | None = None, group: str | None = None,
    ) -> str:  # fmt: skip
        if format != "gztar" or base_dir is None:
            raise SystemExit(f"sdist makes gztar archives only, not {format}")
        seconds = int(os.environ.get("SOURCE_DATE_EPOCH", "315532800"))  # 1980: zip has no less

        def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mtime = seconds
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            return member

        name = f"{base_name}.tar.gz"
        with (
            open(name, "wb") as file,
            gzip.GzipFile("", "wb", 9, file, mtime=seconds) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            archive.add(base_dir, filter=plain)  # in the order of names
        return name


if sys.platform == "win32":
    raise SystemExit(NO_WINDOWS)
if sys.platform == "darwin":
    # A universal Python would compile each file for both architectures, with one set of flags.
    os.environ.setdefault("ARCHFLAGS", f"-arch {platform.machine()}")

setup(
    version=read_version(),
    ext_modules=[
        Extension(
            "selfattn._selfattn",
            sources=[*CORE, *BINDING, *(TEST_SOURCES if test_builds() else [])],
            depends=[*HEADERS, *KERNELS],
            include_dirs=[numpy.get_include()],
            libraries=["m", "pthread"],
        )
    ],
    cmdclass={"build_ext": BuildUnits, "sdist": ArchiveSources},
)
