"""How far a long call has come: a bar, or the caller's own function."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Report", "reporting"]

Report = Callable[[float], object]
"""Called with the fraction of the work that is done, from 0 to 1."""


@contextmanager
def reporting(progress: Any, label: str) -> Iterator[Report | None]:
    """What to call while the work goes on: nothing, tqdm's bar or a line on stderr, or `progress`.

    Raises
    ------
    TypeError
        If `progress` is neither a bool nor callable.
    """
    if progress is False:
        yield None
    elif progress is True:
        with _bar(label) as report:
            yield report
            report(1.0)
    elif callable(progress):
        yield progress
        progress(1.0)
    else:
        kind = type(progress).__name__
        raise TypeError(f"progress must be True, False or a function of the fraction, not {kind}")


@contextmanager
def _bar(label: str) -> Iterator[Report]:
    try:
        from tqdm.auto import tqdm
    except ImportError:
        yield lambda done: print(f"\r{label} {done:4.0%}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        return
    form = "{l_bar}{bar}| {elapsed}<{remaining}"
    with tqdm(total=1.0, desc=label, bar_format=form) as bar:
        yield lambda done: bar.update(done - bar.n)
