"""The caller's floating-point environment: without influence, and left as it was."""

import ctypes
import ctypes.util
import gc
import os
import platform
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import selfattn
from arrays import qkv, same_bits
from programs import PATIENCE, compile_program

X86 = platform.machine().lower() in ("x86_64", "amd64", "i686")
# fenv.h: nearest, downward, upward, toward zero; all exception flags.
ROUNDINGS = (0, 0x400, 0x800, 0xC00) if X86 else (0, 0x800000, 0x400000, 0xC00000)
ALL_FLAGS = 0x3D if X86 else 0x1F
LIBM = ctypes.CDLL(ctypes.util.find_library("m"))


@pytest.fixture
def rounding():
    """Sets the rounding mode; the test ends with the usual one."""
    yield LIBM.fesetround
    LIBM.fesetround(0)


SHAPES = [(1, 40), (5, 7), (130, 300)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize(("n_q", "n_k"), SHAPES)
@pytest.mark.parametrize("threads", [1, 2])
def test_rounding_mode(unit, rng, rounding, dtype, n_q, n_k, threads):
    """The same bits under every rounding mode, which is still set afterwards."""
    arrays = qkv(rng, n_q, n_k, 3, 7, heads=4, dtype=dtype)
    options = {"softcap": 3.0, "return_weights": True, "return_lse": True, "num_threads": threads,
               "sinks": [0.1, 0.2, 0.3, 0.4], "alibi_slopes": [0.1, 0.7, 0.3, 0.4],
               "causal": "lower_right"}  # fmt: skip
    expected = selfattn.attention(*arrays, **options)
    for mode in ROUNDINGS:
        rounding(mode)
        got = selfattn.attention(*arrays, **options)
        assert LIBM.fegetround() == mode
        rounding(0)
        for a, b in zip(got, expected, strict=True):
            assert same_bits(a, b), mode


@pytest.fixture
def no_collection():
    """hypothesis times the garbage collector, with arithmetic of its own, wherever it strikes."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize(("n_q", "n_k"), SHAPES)
def test_exception_flags(unit, rng, n_q, n_k, no_collection):
    """Overflow, underflow, invalid, inexact and denormal operands: no sticky flag is raised or
    lost, also when the call ends in an error."""
    query, key, value = qkv(rng, n_q, n_k, 8)
    query[:, 0], key[:, 1], value[:, 0], value[:, 2, 0] = 1e30, 1e30, 1e-40, np.nan
    for flags in (0, 0x10 & ALL_FLAGS):
        LIBM.feclearexcept(ALL_FLAGS)
        LIBM.feraiseexcept(flags)
        before = LIBM.fetestexcept(ALL_FLAGS)
        selfattn.attention(query, key, value, scale=1e3, bias=value[..., :1].swapaxes(1, 2))
        assert LIBM.fetestexcept(ALL_FLAGS) == before
    LIBM.feclearexcept(ALL_FLAGS)
    with pytest.raises(ValueError, match="value"):
        selfattn.attention(query, key, value[:, 1:])
    assert LIBM.fetestexcept(ALL_FLAGS) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_no_warnings(unit, rng, dtype):
    """np.errstate has no influence and no warning is given."""
    with np.errstate(all="ignore"):
        query, key, value = qkv(rng, 30, 40, 8, dtype=dtype)
        query[:, 0], key[:, 1], value[:, 2] = np.inf, np.inf, np.nan
        query[:, 3], key[:, 4], value[:, 5] = 6e4, 6e4, 6e4
        query[:, 6] = 1e-7
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        selfattn.attention(query, key, value, return_weights=True, return_lse=True)
        selfattn.attention(query.astype(np.float64), key, value, bias=np.full((30, 40), -np.inf))


class Register:
    """x86's MXCSR, which glibc's fenv_t holds as its last word."""

    def read(self):
        environment = (ctypes.c_uint32 * 8)()
        LIBM.fegetenv(environment)
        return environment[7]

    def write(self, word):
        environment = (ctypes.c_uint32 * 8)()
        LIBM.fegetenv(environment)
        environment[7] = word
        LIBM.fesetenv(environment)


@pytest.fixture
def register():
    if not X86 or platform.libc_ver()[0] != "glibc":
        pytest.skip("MXCSR is a register of x86, read here through glibc")
    mxcsr = Register()
    before = mxcsr.read()
    yield mxcsr
    mxcsr.write(before)


# The usual one; subnormals flushed; downward, inexact raised; upward, all flags raised; invalid
# operations, divisions by zero and overflows trap.
WORDS = [0x1F80, 0x9FC0, 0x3FA0, 0x5FBF, 0x1900]


@pytest.mark.parametrize("word", WORDS, ids=hex)
@pytest.mark.parametrize("threads", [1, 3])
def test_register_bit_for_bit(unit, rng, no_collection, register, word, threads):
    """All of MXCSR is after a call what it was, errors included, and has no influence on it."""
    arrays = qkv(rng, 300, 300, 16, heads=3)
    for x in arrays:
        x[:, 0], x[:, 1, 0], x[:, 2], x[:, 3, 1] = np.inf, np.nan, 1e30, 1e-40
    usual = register.read()
    options = {"return_weights": True, "return_lse": True, "num_threads": threads}
    expected = selfattn.attention(*arrays, **options)
    register.write(word)
    got = selfattn.attention(*arrays, **options)
    after = register.read()
    try:
        selfattn.attention(*arrays, num_threads=0)
    except ValueError:
        after_error = register.read()
    register.write(usual)
    assert (hex(after), hex(after_error)) == (hex(word), hex(word))
    assert all(map(same_bits, got, expected))


@pytest.mark.parametrize("word", WORDS[:4], ids=hex)
def test_register_in_a_callback(rng, register, word):
    """What the caller's functions compute during a call is computed their way: only flags may
    differ, which Python's own arithmetic raises."""
    x, control = rng.standard_normal((2, 3000, 64), dtype=np.float32), ~0x3F
    found = []
    register.write(word)
    selfattn.attention_stats(x, x, x, progress=lambda _: found.append(register.read()))
    found.append(register.read())
    register.write(0x1F80)
    assert {hex(w & control) for w in found} == {hex(word & control)}
    assert len(found) > 1


def converted(rng):
    """Arguments that NumPy converts, and in doing so rounds, reads subnormals and overflows."""
    whole = rng.integers(2**60, 2**62, (3, 2, 40, 8))
    small = rng.standard_normal((3, 2, 40, 8))
    small[..., 0] = 1e-40
    yield tuple(whole), {"scale": 2.0**-124}
    yield tuple(small.astype(">f4")), {}
    yield (small[0], small[1].astype(np.float32), small[2].astype(np.float32)), {}
    yield tuple(small), {"sinks": [2**60 + 1, 1], "alibi_slopes": np.array([1 / 3, 1], ">f8")}


@pytest.mark.parametrize("word", WORDS, ids=hex)
def test_register_where_numpy_converts(rng, no_collection, register, word):
    for arrays, options in converted(rng):
        expected = selfattn.attention(*arrays, **options)
        register.write(word)
        got = selfattn.attention(*arrays, **options)
        after = register.read()
        register.write(0x1F80)
        assert hex(after) == hex(word)
        assert same_bits(got, expected)


EVERY_CALL = """
from references import kinds
from test_floating_point import Register

register, functions, changed = Register(), kinds(False), []
for name, function in functions.items():
    for word in (0x1F80, 0x9FC0, 0x3FA0):
        register.write(word)
        function()
        after = register.read()
        register.write(0x1F80)
        if (after ^ word) & ~0x3F:
            changed.append((name, hex(word), hex(after)))
print(len(functions), changed)
"""


@pytest.mark.usefixtures("register")
def test_register_after_every_call():
    """Each kind of call of tests/checks, errors included, leaves rounding, traps and flushing as
    they were; flags are also NumPy's to raise where Python computes."""
    here = Path(__file__).parent
    run = subprocess.run([sys.executable, "-c", EVERY_CALL], capture_output=True, text=True,
                         env=os.environ | {"PYTHONPATH": os.pathsep.join(
                             [str(here), str(here / "checks"), os.environ.get("PYTHONPATH", "")])},
                         timeout=120 * PATIENCE)  # fmt: skip
    assert run.returncode == 0, run.stderr
    number, changed = run.stdout.split(maxsplit=1)
    assert int(number) > 100
    assert changed.strip() == "[]"


@pytest.mark.usefixtures("register")
@pytest.mark.parametrize("word", WORDS, ids=hex)
def test_register_on_the_threads_of_the_pool(tmp_path, word):
    """Each of two is born under the caller's word, computes under the kernels', and ends as it
    began; so does the caller. 0x9FC0 in all three items."""
    program = compile_program(tmp_path, "control_word", "pool", "arena", "results", "cpu")
    run = subprocess.run(
        [program, hex(word)], capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout.split() == ["2", "3", "1"]


FLUSHED = """
import ctypes, sys
import numpy as np
import selfattn

rng = np.random.default_rng(0)
arrays = [rng.standard_normal((4, 400, 16)) for _ in range(3)]
if sys.argv[1] == "rounding":
    # The pool's threads are born under the caller's rounding mode.
    ctypes.CDLL(ctypes.util.find_library("m")).fesetround({upward})
out = selfattn.attention(*arrays, num_threads=int(sys.argv[2]))
sys.stdout.buffer.write(out.tobytes())
"""


def test_threads_started_under_another_rounding_mode():
    script = FLUSHED.format(upward=ROUNDINGS[2]).replace("ctypes,", "ctypes, ctypes.util,")
    outputs = {
        subprocess.run([sys.executable, "-c", script, mode, threads], capture_output=True,
                       check=True, timeout=60).stdout
        for mode in ("plain", "rounding") for threads in ("1", "4")
    }  # fmt: skip
    assert len(outputs) == 1
    assert len(outputs.pop()) == 4 * 400 * 16 * 8


def test_import_leaves_denormals_alone():
    """No flag of the build sets flush-to-zero for the process."""
    assert 5e-324 * 1.0 != 0
    x = np.full((2, 3, 4), 1e-310)
    selfattn.attention(x, x, x)
    assert 5e-324 / 1.0 != 0
    assert np.float32(1e-40) * np.float32(1) != 0
