"""The memory of large results: kept for the next one, lent to the system meanwhile, never shared.

Results here are large and cheap: one key, whose value every query returns.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import tracemalloc

import numpy as np
import pytest

import selfattn
from arrays import qkv, same_bits
from programs import PATIENCE

try:
    from numpy._core.multiarray import get_handler_name
except ImportError:  # NumPy 2.0 has both, later ones may move it
    from numpy.core.multiarray import get_handler_name

LARGE = 32 * 2**20


def result(n_bytes=LARGE, fill=1.0):
    """[n_bytes / 4096, 1024] float32, each number `fill`"""
    n = n_bytes // 4096
    query, key = np.zeros((n, 1), np.float32), np.zeros((1, 1), np.float32)
    return selfattn.attention(query, key, np.full((1, 1024), fill, np.float32))


def address(array):
    return array.__array_interface__["data"][0]


def run(code):
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                           timeout=60 * PATIENCE, cwd=os.path.dirname(__file__))  # fmt: skip
    assert child.returncode == 0, child.stderr
    return child.stdout.split()


def test_which_results():
    """From 32 MiB on, weights among them; NumPy's own arrays stay with NumPy's handler."""
    numpys = get_handler_name(np.empty(LARGE, np.uint8))
    assert get_handler_name(result()) == "selfattn"
    assert get_handler_name(result(LARGE - 4096)) == numpys
    q, k, v = qkv(np.random.default_rng(0), 2900, 2900, 1)
    out, weights, lse = selfattn.attention(q, k, v, return_weights=True, return_lse=True)
    assert [get_handler_name(x) for x in (out, weights, lse)] == [numpys, "selfattn", numpys]
    assert get_handler_name(np.empty(LARGE, np.uint8)) == numpys
    assert get_handler_name() == numpys


def test_arrays_are_as_numpys_own():
    x = result()
    assert x.flags.owndata
    assert x.flags.writeable
    assert x.flags.aligned
    assert x.base is None
    assert sys.getsizeof(x) > LARGE
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        y = result()
        assert 0 <= tracemalloc.get_traced_memory()[0] - before - LARGE < 2**16
        del y
        assert tracemalloc.get_traced_memory()[0] - before < 2**16
    finally:
        tracemalloc.stop()


def test_kept_for_the_next():
    x = result(fill=np.nan)
    place = address(x)
    del x
    y = result(LARGE, fill=2)
    assert address(y) == place
    assert (y == 2).all()


def test_a_smaller_one_may_take_half_and_no_less():
    """In a process that keeps nothing yet, where the choice is known."""
    code = """
from test_results import LARGE, address, result
for n_bytes in (4 * LARGE, 2 * LARGE, LARGE):
    x = result(n_bytes)
    print(address(x))
    del x
y, z = result(4 * LARGE), result(LARGE)
print(address(y), address(z))
"""
    whole, half, _, again, other = run(code)
    assert half == whole
    assert again == whole
    assert other != whole


def test_no_two_arrays_share():
    arrays = [result(LARGE + 4096 * i, fill=i) for i in range(4)]
    for i in (2, 0):
        arrays[i] = result(LARGE + 4096 * i, fill=10 + i)
        arrays[i] = result(LARGE + 4096 * i, fill=20 + i)
    assert [(x.min(), x.max()) for x in arrays] == [(20, 20), (1, 1), (22, 22), (3, 3)]


def test_weights_in_used_memory(rng):
    """Whatever it held, every weight is written."""
    q, k, v = qkv(rng, 1500, 1500, 4, heads=4)
    options = {"causal": True, "window": (700, None), "return_weights": True}
    out = tuple(np.full(s, np.nan, np.float32) for s in ((4, 1500, 4), (4, 1500, 1500)))
    expected = selfattn.attention(q, k, v, out=out, **options)
    old = np.array(expected[1])
    for _ in range(3):
        got = selfattn.attention(q, k, v, **options)[1]
        assert same_bits(got, old)
        got[:] = np.nan
        del got


def test_pages_that_the_system_took():
    """What MADV_FREE allows it to do at any time, done by hand: the memory reads as zeros."""
    x = result(fill=5)
    place = ctypes.c_void_p(address(x))
    del x
    libc = ctypes.CDLL(None, use_errno=True)
    dont_need = 4
    assert libc.madvise(place, ctypes.c_size_t(LARGE), dont_need) == 0
    y = result(fill=6)
    assert address(y) == place.value
    assert (y == 6).all()


@pytest.mark.parametrize("n_bytes", [LARGE, 2 * LARGE, 1000, 0])
def test_resize(n_bytes):
    x = result(LARGE + 8192, fill=3)
    x.resize(n_bytes // 4)
    assert x.nbytes == n_bytes
    assert (x[: LARGE // 4 + 2048] == 3).all()
    assert (x[LARGE // 4 + 2048 :] == 0).all()


def test_kept_up_to_a_gibibyte():
    """Six results of 400 MB freed: two stay, and none that alone is more."""
    code = f"""
import os, subprocess
from test_results import result
def size():
    return 1024 * int(subprocess.run(["ps", "-o", "vsz=", "-p", str(os.getpid())],
                                     capture_output=True, check=True).stdout)
result(2**20)
before = size()
large = [result({400 * 10**6}, i) for i in range(6)]
most = size()
del large
two = size()
alone = result({1100 * 10**6})
del alone
print(most - before, two - before, size() - before)
"""
    most, two, after = (int(x) / 1e6 for x in run(code))
    assert 2400 <= most < 2700
    assert 800 <= two < 1000
    assert after < 1000


LIMITED = """
import resource
import numpy as np
import selfattn
from test_results import result
result(2**20)
in_use = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
def limit(n_bytes):
    resource.setrlimit(resource.RLIMIT_AS, (-1 if n_bytes is None else in_use + n_bytes, -1))
"""


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no limit of a process's memory")
def test_kept_memory_makes_room():
    """Where the process may have no more, what is kept goes before a MemoryError: of a result, and
    of 39 MB of scratch."""
    code = """
def attempt(call):
    result(900 * 10**6)  # kept
    limit(920 * 10**6)
    try:
        print(call().max())
    except MemoryError as error:
        print(type(error).__name__)
    limit(None)
query, key = np.ones((64, 4), np.float32), np.ones((400_000, 4), np.float32)
out = np.empty((64, 4), np.float32), np.empty((64, 400_000), np.float32)
in_use += key.nbytes + out[1].nbytes
attempt(lambda: result(400 * 10**6, 7))
attempt(lambda: result(901 * 10**6, 8))
attempt(lambda: result(1000 * 10**6))
attempt(lambda: selfattn.attention(query, key, key, out=out, return_weights=True)[0])
"""
    assert run(LIMITED + code) == ["7.0", "8.0", "MemoryError", "1.0"]


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no limit of a process's memory")
def test_resize_without_memory():
    code = """
x = result(400 * 10**6, 3)
limit(500 * 10**6)
try:
    x.resize(200 * 10**6)
except MemoryError as error:
    print(type(error).__name__, x.shape[1], x.min())
"""
    assert run(LIMITED + code) == ["MemoryError", "1024", "3.0"]


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no limit of a process's memory")
def test_nothing_is_kept_of_a_ration():
    """A process that may have only so much memory has all of it for other arrays."""
    code = """
limit(600 * 10**6)
result(500 * 10**6)
print(np.ones(500 * 10**6, np.uint8).min())
"""
    assert run(LIMITED + code) == ["1"]


def test_a_forked_child_has_memory_of_its_own():
    x, y = result(fill=1), result(fill=2)
    del y
    child = os.fork()
    if child == 0:
        z = result(fill=3)
        x[:] = 4
        os._exit(0 if (z == 3).all() and (x == 4).all() else 1)
    assert os.waitpid(child, 0)[1] == 0
    z = result(fill=5)
    assert (x == 1).all()
    assert (z == 5).all()


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS lists no maps in a file")
def test_what_a_child_shares_is_not_kept():
    """The system cannot take pages that two processes have, so they go when the array goes; what
    the parent makes after the fork stays as before."""
    x = result(5 * LARGE)
    place = address(x)
    child = os.fork()
    if child == 0:
        signal.pause()
    try:
        del x
        with open("/proc/self/maps") as maps:
            starts = [tuple(int(n, 16) for n in line.split()[0].split("-")) for line in maps]
        assert not any(start <= place < end for start, end in starts)
        y = result(5 * LARGE)
        place = address(y)
        del y
        assert address(result(5 * LARGE)) == place
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_threads_that_make_and_drop_results():
    wrong = []

    def work(i):
        for turn in range(20):
            x = result(LARGE + 2**21 * (turn % 3), fill=i * 100 + turn)
            if x.min() != i * 100 + turn or x.max() != i * 100 + turn:
                wrong.append((i, turn))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_layer(rng):
    layer = selfattn.MultiHeadAttention(8, 2, rng=0)
    x = rng.standard_normal((2100, 8), dtype=np.float32)
    _, weights = layer(x, return_weights=True)
    place, expected = address(weights), weights.copy()
    assert get_handler_name(weights) == "selfattn"
    weights[:] = np.nan
    del weights
    _, again = layer(x, return_weights=True)
    assert address(again) == place
    assert same_bits(again, expected)


def test_resident_memory_is_flat():
    """A hundred results of 64 MB, one after the other: the most ever resident is that of two."""
    code = f"""
import resource, sys
from test_results import result
def most():
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
x = result({2 * LARGE})
before = most()
for i in range(100):
    x = result({2 * LARGE}, i)
print(most() - before)
"""
    assert int(run(code)[0]) < 2 * LARGE + 2**24
