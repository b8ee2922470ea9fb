"""What the runner knows of a library: a few calls that solve a problem, as text to be timed.

Each library is one module with one class; `load_library` imports it only when it takes part.
A library may enter several contenders for one problem, the ways in which a good user of it would
write it; the best one counts.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import NDArray

from . import _selfattn
from ._bench_cases import Case, Gemm
from ._bench_problem import Problem, Unsupported

if TYPE_CHECKING:
    from ._bench_layer import LayerProblem

__all__ = ["LIBRARIES", "TITLES", "Contender", "Library", "Selfattn", "load_library"]

_CLASSES = {
    "selfattn": "_bench_libraries.Selfattn",
    "numpy": "_bench_numpy.Numpy",
    "torch": "_bench_torch.Torch",
    "onnxruntime": "_bench_onnx.OnnxRuntime",
}
LIBRARIES = tuple(_CLASSES)
TITLES = {"selfattn": "selfattn", "numpy": "NumPy", "torch": "PyTorch", "onnxruntime": "ONNX RT"}

Arrays = tuple[NDArray[Any], ...]


@dataclass(frozen=True)
class Contender:
    """One way to solve a problem.

    Attributes
    ----------
    label : str
        What of the library is called.
    statement : str
        The Python expression that is timed; evaluated in `names`.
    read : callable
        Turns the expression's value into ``(out,)`` or ``(out, weights)``, axes as selfattn's.
    outputs : tuple of ndarray
        Arrays made before that results go to; empty: each call makes its own.
    """

    label: str
    statement: str
    names: dict[str, Any]
    read: Callable[[Any], Arrays]
    outputs: Arrays = ()


class Library(Protocol):
    """What a library's class offers; it is made once a process, before any problem."""

    def __init__(self, threads: int) -> None: ...

    def version(self) -> str:
        """The version and what it computes with."""

    def attend(self, problem: Problem) -> list[Contender]:
        """Ways to solve it; Unsupported if there is none."""

    def apply_layer(self, problem: LayerProblem) -> list[Contender]:
        """Ways to compute the layer; Unsupported if there is none."""

    def multiply(self, case: Gemm) -> list[Contender]:
        """Ways to multiply two matrices; Unsupported if there is none."""


def load_library(name: str, threads: int) -> Library:
    """Import a library and set its number of threads.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    module, _, class_name = _CLASSES[name].partition(".")
    library: Library = getattr(importlib.import_module(f"{__package__}.{module}"), class_name)(
        threads
    )
    return library


class Selfattn:
    """selfattn itself."""

    def __init__(self, threads: int) -> None:
        _selfattn.set_num_threads(threads)

    def version(self) -> str:
        """The version of the package."""
        return str(_selfattn.__version__)

    def attend(self, problem: Problem) -> list[Contender]:
        """`attention`, and for weights also with ``out=``."""
        case = problem.case
        names = {
            "attention": _selfattn.attention,
            "q": problem.query,
            "k": problem.key,
            "v": problem.value,
            "mask": problem.mask,
            "slopes": problem.slopes,
        }
        keywords = "".join(f", {text}" for text in _keywords(case))
        statement = f"attention(q, k, v{keywords})"
        if not case.weights:
            return [Contender("attention", statement, names, lambda out: (out,))]
        names["o"], names["w"] = problem.results
        reused = f"attention(q, k, v{keywords}, out=(o, w))"
        return [
            Contender("attention", statement, names, tuple),
            Contender("attention, out=", reused, names, tuple, problem.results),
        ]

    def apply_layer(self, problem: LayerProblem) -> list[Contender]:
        """`MultiHeadAttention`."""
        from ._bench_layer import selfattn_layer

        return selfattn_layer(problem)

    def multiply(self, case: Gemm) -> list[Contender]:
        """selfattn has no matrix product of its own to offer."""
        raise Unsupported("no matrix product")


def _keywords(case: Case) -> list[str]:
    """The keywords of a case's call."""
    keywords = []
    if case.mask:
        keywords.append("mask=mask")
    if case.causal:
        keywords.append(f"causal={case.causal!r}")
    if case.window is not None:
        keywords.append(f"window={case.window}")
    if case.key_length is not None:
        keywords.append(f"key_lengths={case.key_length}")
    if case.alibi:
        keywords.append("alibi_slopes=slopes")
    if case.softcap is not None:
        keywords.append(f"softcap={case.softcap}")
    if case.weights:
        keywords.append("return_weights=True")
    return keywords
