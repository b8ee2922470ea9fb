"""How many threads a call may use: a context manager, and threadpoolctl's view of it."""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from ._selfattn import _config, get_num_threads, set_num_threads

__all__ = ["register_threadpoolctl", "threads"]

_VARIABLES = ("SELFATTN_NUM_THREADS", "OMP_NUM_THREADS")

_registered = False


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Limit every call inside a ``with`` block to `n` threads.

    The limit holds for the whole process, other Python threads included, as threadpoolctl's does;
    for one call alone there is ``attention(..., num_threads=n)``. On leaving the block the number
    from before it is set again.

    Parameters
    ----------
    n : int
        At least 1.

    Raises
    ------
    TypeError
        If `n` is not an int.
    ValueError
        If `n` is less than 1.

    Examples
    --------
    >>> import selfattn
    >>> before = selfattn.get_num_threads()
    >>> with selfattn.threads(1):
    ...     selfattn.get_num_threads()
    1
    >>> selfattn.get_num_threads() == before
    True
    """
    before = get_num_threads()
    set_num_threads(n)
    try:
        yield
    finally:
        set_num_threads(before)


def register_threadpoolctl() -> None:
    """Let threadpoolctl list and limit selfattn's threads, under the user API "selfattn".

    Needed only if threadpoolctl is imported after selfattn: the other way round it is done on
    import. Calling it again does nothing.

    Raises
    ------
    ImportError
        If threadpoolctl 3.2 or newer is not installed.

    Examples
    --------
    >>> import selfattn, threadpoolctl
    >>> selfattn.register_threadpoolctl()
    >>> with threadpoolctl.threadpool_limits(1, user_api="selfattn"):
    ...     selfattn.get_num_threads()
    1
    """
    way_out = "threadpoolctl 3.2 or newer is needed: pip install 'selfattn[threads]'"
    try:
        threadpoolctl = importlib.import_module("threadpoolctl")
    except ImportError as error:
        raise ImportError(way_out) from error
    if not hasattr(threadpoolctl, "register"):
        raise ImportError(way_out)
    _register(threadpoolctl)


def on_import() -> None:
    """Do what importing selfattn does about threads, which is little.

    threadpoolctl is told of selfattn only if it is loaded already: importing it would take longer
    than importing selfattn.
    """
    _warn_of_ignored_variable()
    threadpoolctl = sys.modules.get("threadpoolctl")
    if threadpoolctl is not None and hasattr(threadpoolctl, "register"):
        _register(threadpoolctl)


def _warn_of_ignored_variable() -> None:
    """Warn if an environment variable should say how many threads to use and does not."""
    if not any(os.environ.get(name) for name in _VARIABLES):
        return
    ignored = _config()["bad_threads_variable"]
    if ignored is not None:
        warnings.warn(
            f"{ignored}={os.environ[ignored]!r} is ignored by selfattn: expected a number of "
            f"threads, at least 1",
            RuntimeWarning,
            stacklevel=4,
        )


def _register(threadpoolctl: ModuleType) -> None:
    global _registered
    if _registered:  # threadpoolctl would list a second controller beside the first
        return

    base: Any = threadpoolctl.LibController

    class SelfattnController(base):  # type: ignore[misc]  # threadpoolctl has no types
        """How threadpoolctl finds the loaded extension module and talks to it."""

        user_api = "selfattn"
        internal_api = "selfattn"
        filename_prefixes = ("_selfattn",)
        check_symbols = (
            "selfattn_get_num_threads",
            "selfattn_set_num_threads",
            "selfattn_get_version",
        )

        def get_num_threads(self) -> int:
            return int(self.dynlib.selfattn_get_num_threads())

        def set_num_threads(self, num_threads: int) -> None:
            self.dynlib.selfattn_set_num_threads(num_threads)

        def get_version(self) -> str:
            get_version = self.dynlib.selfattn_get_version
            get_version.restype = ctypes.c_char_p
            version: bytes = get_version()
            return version.decode()

    threadpoolctl.register(SelfattnController)
    _registered = True
