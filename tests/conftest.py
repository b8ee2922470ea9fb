"""What all tests share: the seed, the hypothesis profiles and the instruction set under test.

Arrays come from a generator seeded per test, so a single test sees the same numbers as in a whole
run. Hypothesis draws anew each time, from the seed that is printed; SELFATTN_TEST_SEED=n repeats
a run.
"""

import os
import secrets
import signal
import threading
import zlib

import numpy as np
import pytest
import threadpoolctl
from hypothesis import HealthCheck, core, settings

import selfattn
from selfattn import _selfattn

# The oracle's products are small: BLAS threads would only wait for each other.
threadpoolctl.threadpool_limits(1, user_api="blas")

SEED = int(os.environ.get("SELFATTN_TEST_SEED") or secrets.randbits(32))
core.global_force_seed = SEED

for profile, examples in (("ci", 2000), ("default", 200)):
    settings.register_profile(
        profile,
        max_examples=examples,
        deadline=None,
        print_blob=True,
        # The unit fixture changes nothing between the examples of one test.
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_report_header():
    return [
        f"selfattn {selfattn.__version__}, units {', '.join(selfattn.units())}; "
        f"SELFATTN_TEST_SEED={SEED}, {settings.default.max_examples} hypothesis examples"
    ]


@pytest.fixture(params=selfattn.units())
def unit(request):
    """Runs the test on each instruction set that this CPU has, the scalar one included."""
    before = _selfattn._config()["unit_in_use"]
    _selfattn._use_unit(request.param)
    yield request.param
    _selfattn._use_unit(before)


class SameNumbers:
    """A random generator that gives every thread of a test the numbers that one alone would get."""

    def __init__(self, seed):
        self._seed, self._own = seed, threading.local()

    def __getattr__(self, name):
        if not hasattr(self._own, "generator"):
            self._own.generator = np.random.default_rng(self._seed)
        return getattr(self._own.generator, name)


@pytest.fixture
def rng(request):
    return SameNumbers(zlib.crc32(request.node.nodeid.encode()))


@pytest.fixture
def interruptible():
    """SIGINT raises KeyboardInterrupt; in a shell's background jobs it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
