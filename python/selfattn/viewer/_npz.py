"""Views from .npz files, of which nothing is trusted: no pickles, and every name is known."""

from __future__ import annotations

import os
import zipfile
import zlib
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._statistics import ARRAYS
from ._view import View, view

__all__ = ["view_file"]

_NAMES = ("tokens", "key_tokens", "layers", "heads")
_SCORE = "head_score_"


def view_file(path: str | os.PathLike[str], *, exact: bool = False) -> View:
    """Make a view of an .npz file.

    Parameters
    ----------
    path : path-like
        A file by ``np.savez`` with either ``weights``, as `view` takes them, or statistics under
        the names of `AttentionStats` (``top_indices``, ``top_weights``, ``entropy``, ``max``,
        ``argmax``, ``distance``, ``top_rest``, ``received``), ``overview_max``, ``overview_mean``
        and ``head_score_<name>``. Besides, if wanted: ``tokens``, ``key_tokens``, ``layers``,
        ``heads``, ``title``, ``query_offset``.
    exact : bool
        As in `view`.

    Returns
    -------
    View

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError, TypeError
        If it is no .npz file, holds pickled objects or unknown names, or `view` refuses it.
    """
    arrays = _load(path)
    statistics = {name: arrays.pop(name) for name in ARRAYS if name in arrays}
    scores = {
        name.removeprefix(_SCORE): arrays.pop(name)
        for name in list(arrays)
        if name.startswith(_SCORE)
    }
    weights = arrays.pop("weights", None)
    if (weights is None) == (not statistics):
        raise ValueError(
            f"{os.fspath(path)} has "
            + ("neither weights nor statistics" if weights is None else "weights and statistics")
            + f": expected weights, or some of {', '.join(ARRAYS)}"
        )
    options = {name: _texts(arrays.pop(name), name) for name in _NAMES if name in arrays}
    title = arrays.pop("title", None)
    offset = arrays.pop("query_offset", None)
    if arrays:
        raise ValueError(
            f"{os.fspath(path)} has arrays that mean nothing here: {', '.join(sorted(arrays))}"
        )
    return view(
        weights if weights is not None else _statistics(statistics, scores),
        title=None if title is None else str(_single(title, "title")),
        query_offset=None if offset is None else int(_single(offset, "query_offset")),
        exact=exact,
        **options,
    )


def _load(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("it holds one array and no names: save it with np.savez")
            return {name: file[name] for name in file.files}
    except (ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{os.fspath(path)} cannot be read as an .npz file: {error}") from None


def _statistics(arrays: dict[str, NDArray[Any]], scores: dict[str, NDArray[Any]]) -> Any:
    """The arrays as attributes, as `AttentionStats` has them."""
    overview = SimpleNamespace(
        max=arrays.pop("overview_max", None), mean=arrays.pop("overview_mean", None)
    )
    missing = {name: None for name in ARRAYS if not name.startswith("overview_")}
    return SimpleNamespace(**(missing | arrays), overview=overview, head_scores=scores or None)


def _texts(array: NDArray[Any], name: str) -> Any:
    if array.ndim != 1 or array.dtype.kind not in "Uiu":
        raise TypeError(
            f"{name} has type {array.dtype} and shape {array.shape}: expected a list of texts"
        )
    return array.tolist()


def _single(array: NDArray[Any], name: str) -> Any:
    if array.size != 1:
        raise ValueError(f"{name} has shape {array.shape}: expected one value")
    return array.item()
