"""How many threads: the functions, the context manager, the environment, threadpoolctl."""

import ctypes
import os
import re
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import threadpoolctl

import selfattn
from arrays import qkv, same_bits
from programs import compile_program
from selfattn import _selfattn


@pytest.fixture(autouse=True)
def restore():
    before = selfattn.get_num_threads()
    yield
    selfattn.set_num_threads(before)


def python(code, **environment):
    """Standard output of a new interpreter; a variable given as None is taken away."""
    env = {**os.environ, **{k: v for k, v in environment.items() if v is not None}}
    for name in ("SELFATTN_NUM_THREADS", "OMP_NUM_THREADS", "SELFATTN_MAX_ISA"):
        if environment.get(name) is None:
            env.pop(name, None)
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True,
                         timeout=60)  # fmt: skip
    return run


def threads_in(**environment):
    run = python("import selfattn; print(selfattn.get_num_threads())", **environment)
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    return int(run.stdout)


def test_set_and_get():
    for n in (1, 3, 64):
        selfattn.set_num_threads(n)
        assert selfattn.get_num_threads() == n


@pytest.mark.parametrize(("bad", "error"), [
    (0, ValueError), (-1, ValueError), (1.5, TypeError), ("2", TypeError), (None, TypeError),
    (True, TypeError),
])  # fmt: skip
def test_wrong_numbers(bad, error):
    before = selfattn.get_num_threads()
    with pytest.raises(error):
        selfattn.set_num_threads(bad)
    with pytest.raises(error), selfattn.threads(bad):
        pass
    assert selfattn.get_num_threads() == before


def test_context_manager_restores():
    before = selfattn.get_num_threads()
    with selfattn.threads(before + 2):
        assert selfattn.get_num_threads() == before + 2
        with selfattn.threads(1):
            assert selfattn.get_num_threads() == 1
        assert selfattn.get_num_threads() == before + 2
    assert selfattn.get_num_threads() == before
    with pytest.raises(KeyError), selfattn.threads(7):
        raise KeyError
    assert selfattn.get_num_threads() == before


def test_num_threads_is_of_one_call(unit, rng):
    arrays = qkv(rng, 300, 300, 16, heads=4)
    expected = selfattn.attention(*arrays, num_threads=1)
    before = selfattn.get_num_threads()
    for n in (1, 2, 5, 200, 2**40):
        assert same_bits(selfattn.attention(*arrays, num_threads=n), expected)
    assert selfattn.get_num_threads() == before


def test_environment_and_its_order():
    assert threads_in(SELFATTN_NUM_THREADS="3") == 3
    assert threads_in(OMP_NUM_THREADS="5") == 5
    assert threads_in(OMP_NUM_THREADS="4,2,1") == 4
    assert threads_in(SELFATTN_NUM_THREADS="3", OMP_NUM_THREADS="5") == 3
    code = "import selfattn; selfattn.set_num_threads(7); print(selfattn.get_num_threads())"
    assert python(code, SELFATTN_NUM_THREADS="3").stdout.split() == ["7"]


def test_variables_that_are_empty_or_large():
    assert threads_in(SELFATTN_NUM_THREADS="", OMP_NUM_THREADS="5") == 5
    assert threads_in(SELFATTN_NUM_THREADS="5000") == 1024
    code = "import selfattn; print(selfattn.get_num_threads())"
    run = python(code, SELFATTN_NUM_THREADS="99999999999", OMP_NUM_THREADS="none")
    assert int(run.stdout) == threads_in()
    assert "SELFATTN_NUM_THREADS" in run.stderr
    run = python(code, OMP_NUM_THREADS="4x")
    assert int(run.stdout) == threads_in()
    assert "OMP_NUM_THREADS='4x'" in run.stderr


def test_a_c_program_cannot_ask_for_no_threads():
    library = ctypes.CDLL(_selfattn.__file__)
    selfattn.set_num_threads(3)
    for number, expected in ((0, 3), (-1, 3), (2, 2)):
        library.selfattn_set_num_threads(number)
        assert selfattn.get_num_threads() == expected


def test_more_threads_than_usual(rng):
    """70 at once: the list of their scratch memory no longer fits the stack."""
    arrays = qkv(rng, 300, 300, 32, heads=90)
    assert same_bits(selfattn.attention(*arrays, num_threads=70),
                     selfattn.attention(*arrays, num_threads=1))  # fmt: skip


@pytest.mark.parametrize("bad", ["0", "-2", "many", "3.5", "2x"])
def test_a_bad_variable_is_ignored_with_one_warning(bad):
    """Neither fatal nor silent: one RuntimeWarning on import, and a line of show_config()."""
    default = threads_in()
    code = "import selfattn; selfattn.show_config(); print(selfattn.get_num_threads())"
    run = python(code, SELFATTN_NUM_THREADS=bad)
    assert run.returncode == 0
    assert int(run.stdout.splitlines()[-1]) == default
    assert re.search("ignored.*SELFATTN_NUM_THREADS", run.stdout)
    assert run.stderr.count("RuntimeWarning") == 1
    assert f"SELFATTN_NUM_THREADS='{bad}'" in run.stderr
    run = python(code, SELFATTN_NUM_THREADS=bad, OMP_NUM_THREADS="5")
    assert int(run.stdout.splitlines()[-1]) == 5


def test_show_config_tells_where_the_number_comes_from():
    code = "import selfattn; selfattn.show_config()"
    assert "SELFATTN_NUM_THREADS" in python(code, SELFATTN_NUM_THREADS="3").stdout
    assert "OMP_NUM_THREADS" in python(code, OMP_NUM_THREADS="3").stdout


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no CPU affinity on this system")
def test_affinity_limits_the_default():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "import selfattn; print(selfattn.get_num_threads())"
    )
    assert python(code).stdout.split() == ["1"]


def test_threadpoolctl():
    selfattn.register_threadpoolctl()
    selfattn.register_threadpoolctl()
    (info,) = [x for x in threadpoolctl.threadpool_info() if x["user_api"] == "selfattn"]
    assert info["internal_api"] == "selfattn"
    assert info["version"] == selfattn.__version__
    assert info["num_threads"] == selfattn.get_num_threads()
    assert os.path.basename(info["filepath"]).startswith("_selfattn")
    selfattn.set_num_threads(4)
    with threadpoolctl.threadpool_limits(2):
        assert selfattn.get_num_threads() == 2
    assert selfattn.get_num_threads() == 4
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        assert selfattn.get_num_threads() == 4


def test_threadpoolctl_is_registered_if_already_imported_and_never_imported():
    code = "import sys, selfattn; print('threadpoolctl' in sys.modules)"
    assert python(code).stdout.split() == ["False"]
    code = (
        "import threadpoolctl, selfattn;"
        "print([x['user_api'] for x in threadpoolctl.threadpool_info()].count('selfattn'))"
    )
    assert python(code).stdout.split() == ["1"]


def test_calls_from_many_python_threads(unit, rng):
    """Eight Python threads at once: no deadlock, and everybody gets the right bytes."""
    problems = [qkv(rng, n, 300 + n, 16, heads=2) for n in range(90, 98)]
    expected = [selfattn.attention(*p, causal="lower_right") for p in problems]
    wrong = []

    def work(i):
        for _ in range(10):
            got = selfattn.attention(*problems[i], causal="lower_right", num_threads=1 + i % 4)
            if not same_bits(got, expected[i]):
                wrong.append(i)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert not wrong
    assert not any(worker.is_alive() for worker in workers)


def test_the_gil_is_released(unit, rng):
    """Another Python thread goes on while a call of some length computes."""
    n = 3000 if unit == "scalar" else 8000
    query, key, value = qkv(rng, n, n, 64)
    steps, done = [], threading.Event()

    def count():
        while not done.wait(0.001):
            steps.append(time.monotonic())

    counter = threading.Thread(target=count)
    counter.start()
    begin = time.monotonic()
    selfattn.attention(query, key, value, num_threads=1)
    end = time.monotonic()
    done.set()
    counter.join()
    during = [t for t in steps if begin < t < end]
    assert len(during) > 10, f"{len(during)} steps in {end - begin:.2f} s"


def test_small_calls_start_no_threads():
    code = """
import os, numpy as np, selfattn
x = np.ones((2, 8, 16), np.float32)
before = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0
selfattn.attention(x, x, x, num_threads=4)
after = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0
print(after - before)
"""
    assert python(code).stdout.split() == ["0"]


def test_who_said_stop_is_not_asked_again(tmp_path):
    """What raised is still to come out of the call; a handler must not run beside it."""
    program = compile_program(tmp_path, "poll_once", "pool", "arena", "results", "cpu", "seam")
    run = subprocess.run([program], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.split() == ["1", "1"]


def test_a_callback_that_calls_attention(rng):
    """A call inside a call, on two threads each: both end, with the bits of calls by themselves."""
    x = rng.standard_normal((4, 4000, 64), dtype=np.float32)
    small = qkv(rng, 300, 300, 16, heads=4)
    expected, right = selfattn.attention(*small), []

    def inner(fraction):
        right.append(same_bits(selfattn.attention(*small, num_threads=2), expected))

    outer = selfattn.attention_stats(x, x, x, progress=inner, num_threads=2)
    assert all(right)
    assert len(right) >= 1
    assert same_bits(outer.output, selfattn.attention(x, x, x, num_threads=1))
