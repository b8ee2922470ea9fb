"""Memory and threads refused at every place, once and for ever, in a build made for it.

The N-th request fails, N = 0, 1, ... until a call needs no more than that. Each time: MemoryError,
or a result with the bits of an undisturbed call (fewer threads, no chunks), nothing leaked, and the
next call right. Three ways to fail: the core's own requests (csrc/core/seam.c), Python's objects,
and the data of NumPy's arrays. Run by tests/checks/faults.
"""

import _testcapi
import gc
import subprocess
import sys

import numpy as np
import pytest
from calls import CALLS, ERRORS, WATCHED, as_bytes
from layer_calls import LAYER_CALLS, LAYER_ERRORS, NUMPY_CALLS
from plain_calls import FATAL, FATAL_FOR_EVER, PLAIN_CALLS, PLAIN_ERRORS

import selfattn
from selfattn import _selfattn

MOST = 4000  # requests of one call; the largest, a page of two layers, has 2,800
OF_PYTHON = LAYER_CALLS | LAYER_ERRORS | PLAIN_CALLS | PLAIN_ERRORS
# Where CPython or NumPy finds no memory it now and then says so in other words.
IN_OTHER_WORDS = (MemoryError, SystemError, RuntimeError)


class Injector:
    """Requests that are refused between start and stop."""

    def __init__(self, start, stop):
        self.start, self.stop = start, stop


INJECTORS = {
    "core": Injector(_selfattn._refuse, lambda: _selfattn._refuse(-1, False)),
    "data": Injector(_selfattn._refuse_data, lambda: _selfattn._refuse_data(-1, False)),
    "objects": Injector(
        lambda first, all_after: _testcapi.set_nomemory(first, 0 if all_after else first + 1),
        _testcapi.remove_mem_hooks,
    ),
}


class Quiet:
    """errstate that makes nothing: NumPy 2.4's own dereferences NULL where memory fails."""

    def __init__(self, **keywords):
        pass

    def __enter__(self):
        pass

    def __exit__(self, *exception):
        pass


@pytest.fixture(autouse=True)
def no_errstate(request, monkeypatch):
    if "injector" in request.fixturenames and request.getfixturevalue("injector") == "objects":
        monkeypatch.setattr(np, "errstate", Quiet)


def attempt(injector, first, all_after, function):
    """What the call returned or raised. No object is made here while memory is refused."""
    result = error = None
    start, stop = injector.start, injector.stop
    try:
        start(first, all_after)
        try:
            result = function()
        finally:
            stop()
    except Exception as raised:
        error = raised.with_traceback(None)
        error.__context__ = None  # its frames hold arguments
    return result, error


def references(name, injector):
    """Counts that a call must leave as they were. CPython before 3.13 itself loses the arguments of
    a Python function with cells (those that a comprehension uses) for which it has no memory."""
    if name in OF_PYTHON and injector == "objects" and sys.version_info < (3, 13):
        return {}
    return {key: sys.getrefcount(x) for key, x in WATCHED.items()}


def is_survived(name, injector, all_after):
    """Whether the interpreter itself comes through: CPython 3.11 never leaves a `with` of a long
    function if there is no memory for the number of the instruction that failed, and some
    functions of NumPy 2.4 dereference NULL."""
    fatal = FATAL | NUMPY_CALLS.keys()
    if all_after:
        fatal |= FATAL_FOR_EVER | LAYER_CALLS.keys()
    return injector != "objects" or name not in fatal


CASES = [
    pytest.param(name, injector, all_after, id=f"{name}-{injector}-{how}")
    for name in [*CALLS, *NUMPY_CALLS]
    for injector in INJECTORS
    for all_after, how in ((False, "once"), (True, "for ever"))
    if is_survived(name, injector, all_after)
]


# a generator that Python cannot close for want of memory
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("name", "injector", "all_after"), CASES)
def test_every_request(name, injector, all_after):
    function, how = (CALLS | NUMPY_CALLS)[name], INJECTORS[injector]
    expected = as_bytes(function())
    # numpy.nditer, which broadcasts for the statistics, returns NULL without an exception
    kinds = IN_OTHER_WORDS if name in OF_PYTHON else MemoryError
    gc.disable()
    try:
        n_refused = n_quiet = 0
        for first in range(MOST):
            before = references(name, injector)
            result, error = attempt(how, first, all_after, function)
            refused = error is not None
            assert error is None or isinstance(error, kinds), f"request {first}: {error!r}"
            assert refused or as_bytes(result) == expected
            result = error = None
            assert references(name, injector) == before, f"request {first}"
            n_refused += refused
            if first % 10 == 0 or refused:
                assert as_bytes(function()) == expected
            n_quiet = 0 if refused else n_quiet + 1
            if n_quiet > (20 if name in PLAIN_CALLS else 0) and undisturbed(how, first, function):
                break
        else:
            pytest.fail(f"more than {MOST} requests")
    finally:
        gc.enable()
    assert _selfattn._count_blocks() == 0


def undisturbed(how, first, function):
    """Whether the call makes at most `first` requests, as far as the injector counts them."""
    if how is INJECTORS["objects"]:
        return True  # Python survives few refused requests silently, and never twenty
    how.start(-1, False)
    function()
    return how.start(-1, False) <= first


@pytest.mark.parametrize("injector", INJECTORS)
@pytest.mark.parametrize("name", ERRORS)
def test_every_request_of_a_call_that_fails(name, injector):
    """A wrong call ends with its error or with MemoryError, never with something else; but CPython
    turns even its own TypeErrors into a SystemError where the traceback's memory fails."""
    kind, function = ERRORS[name]
    how = INJECTORS[injector]
    kinds = (kind, *(IN_OTHER_WORDS if injector == "objects" else (MemoryError,)))
    for first in range(MOST):
        before = references(name, injector)
        _, error = attempt(how, first, False, function)
        assert isinstance(error, kinds), f"request {first}: {error!r}"
        own = isinstance(error, kind)
        error = None
        assert references(name, injector) == before, f"request {first}"
        if own:
            break
    assert _selfattn._count_blocks() == 0


def test_the_list_of_very_many_threads():
    """More scratch memories than fit the stack are listed in memory of their own."""
    x = np.ones((90, 300, 8), np.float32)
    expected = selfattn.attention(x, x, x, num_threads=1)
    for first in range(4):
        result, error = attempt(INJECTORS["core"], first, False,
                                lambda: selfattn.attention(x, x, x, num_threads=70))  # fmt: skip
        assert isinstance(error, MemoryError if first == 0 else (MemoryError, type(None)))
        assert error is not None or as_bytes(result) == as_bytes(expected)
    assert _selfattn._count_blocks() == 0


def test_a_lost_block_is_counted():
    """The core's memory that a call does not give back, which the tests above look for."""
    code = "from selfattn import _selfattn as s; s._plant('lost_block'); print(s._count_blocks())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["1"]


def test_there_was_something_to_refuse():
    """Each injector reaches the calls at all: a blind one would pass everything above."""
    core = INJECTORS["core"]
    assert isinstance(attempt(core, 0, True, CALLS["plain"])[1], MemoryError)
    assert isinstance(attempt(INJECTORS["data"], 0, True, CALLS["plain"])[1], MemoryError)
    assert isinstance(attempt(INJECTORS["objects"], 0, True, CALLS["plain"])[1], MemoryError)
    _selfattn._count_blocks()
    for first in range(8):  # some of these are threads: fewer of them, the same bits
        result, error = attempt(core, first, True, CALLS["many threads"])
        assert (error is None) == (first > 1) or isinstance(error, MemoryError)
        assert error is not None or as_bytes(result) == as_bytes(CALLS["threads"]())
