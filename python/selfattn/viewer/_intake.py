"""What `view` may be given, checked and taken apart into layers of single maps.

Weights: an array ``(n_q, n_k)``, ``(H, n_q, n_k)`` or ``(L, H, n_q, n_k)``, or a list of layers,
each an array ``(H, n_q, n_k)`` or ``(1, H, n_q, n_k)`` (what BertViz takes and transformers return)
or statistics. All that can be known without reading every weight is checked here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._foreign import foreign_array
from ._statistics import (
    ARRAYS,
    HeadStatistics,
    is_statistics,
    number_of_keys,
    take_statistics,
)

__all__ = ["Source", "SourceLayer", "take_names", "take_source"]

Array = NDArray[Any]


@dataclass
class SourceLayer:
    """One layer: per head the weights ``(n_q, n_k)`` or its statistics, and its scores."""

    heads: list[Array | HeadStatistics]
    scores: list[dict[str, float]]
    n_k: int | None


@dataclass
class Source:
    """All layers; `n_k` is None where statistics leave the number of keys open."""

    layers: list[SourceLayer]
    n_q: int
    n_k: int | None


def take_source(attention: object, layers_named: bool) -> Source:
    """Take the maps out of anything `view` accepts.

    Parameters
    ----------
    attention : object
        Weights or statistics, see `view`.
    layers_named : bool
        Whether the caller named the layers, so that a leading axis cannot be a batch.
    """
    layers: list[SourceLayer] = []
    for entry in _entries(attention):
        if is_statistics(entry):
            arrays, scores = take_statistics(entry)
            n_k = number_of_keys(entry, arrays)
            layers += _split_statistics(arrays, scores, n_k, layers_named)
        else:
            name = "attention" if entry is attention else f"attention[{len(layers)}]"
            layers += _split_weights(foreign_array(name, entry), name, layers_named)
    n_q, n_k = _common_sizes(layers)
    return Source(layers, n_q, n_k)


def take_names(names: object, expected: int | None, argument: str, of: str) -> list[str]:
    """A list of texts: tokens, or names of layers or heads, of which numbers are allowed too."""
    if isinstance(names, str | bytes) or not isinstance(names, Iterable):
        raise TypeError(f"{argument} is {names!r:.60}: expected a sequence, one entry per {of}")
    kinds = (str,) if of == "token" else (str, int, np.integer)
    hint = ", as tokenizer.convert_ids_to_tokens gives them" if of == "token" else " or int"
    texts = []
    for place, name in enumerate(names):
        if not isinstance(name, kinds):
            kind = type(name).__name__
            raise TypeError(f"{argument}[{place}] is of type {kind}: expected str{hint}")
        texts.append(str(name))
    if expected is not None and len(texts) != expected:
        raise ValueError(f"{argument} has {len(texts)} entries: expected {expected}, one per {of}")
    return texts


def _entries(attention: object) -> Sequence[object]:
    """The layers of a list of layers; anything else is the one entry."""
    if isinstance(attention, list | tuple) and attention:
        if all(is_statistics(one) or getattr(one, "ndim", 0) >= 3 for one in attention):
            return attention
        if any(is_statistics(one) for one in attention):
            raise TypeError("attention mixes statistics with things that are no layers of weights")
    return [attention]


def _split_weights(array: Array, name: str, layers_named: bool) -> list[SourceLayer]:
    if array.dtype.kind not in "fiub" and array.dtype.name != "bfloat16":
        raise TypeError(f"{name} has type {array.dtype}: expected weights of a float type")
    if array.ndim not in (2, 3, 4):
        raise ValueError(
            f"{name} has shape {array.shape}: expected (n_q, n_k), (heads, n_q, n_k) or "
            "(layers, heads, n_q, n_k)"
        )
    if not array.size:
        raise ValueError(f"{name} has shape {array.shape}: there is nothing to see")
    array = array[(np.newaxis,) * (4 - array.ndim)]
    if array.shape[0] > 1 and not layers_named:
        raise ValueError(_batch_or_layers(name, array.shape))
    return [SourceLayer(list(heads), [{} for _ in heads], array.shape[-1]) for heads in array]


def _split_statistics(
    arrays: HeadStatistics, scores: dict[str, Array], n_k: int | None, layers_named: bool
) -> list[SourceLayer]:
    name = next(iter(arrays))
    leading = arrays[name].shape[: arrays[name].ndim - len(ARRAYS[name])]
    if len(leading) > 2 and all(size == 1 for size in leading[:-2]):
        leading = leading[-2:]
    if len(leading) > 2:
        raise ValueError(
            f"{name} has leading axes {leading}: expected (heads,) or (layers, heads); "
            "give the statistics of one sequence"
        )
    n_layers, n_heads = (1, 1, *leading)[-2:]
    if not n_layers * n_heads:
        raise ValueError(f"{name} has shape {arrays[name].shape}: there is nothing to see")
    if n_layers > 1 and not layers_named:
        raise ValueError(_batch_or_layers(name, arrays[name].shape))
    flat = {
        key: array.reshape(n_layers, n_heads, *array.shape[array.ndim - len(ARRAYS[key]) :])
        for key, array in arrays.items()
    }
    grid = {key: array.reshape(n_layers, n_heads) for key, array in scores.items()}
    return [
        SourceLayer(
            [{key: array[i, h] for key, array in flat.items()} for h in range(n_heads)],
            [{key: float(array[i, h]) for key, array in grid.items()} for h in range(n_heads)],
            n_k,
        )
        for i in range(n_layers)
    ]


def _batch_or_layers(name: str, shape: tuple[int, ...]) -> str:
    return (
        f"{name} has shape {shape}: its first axis could be a batch or layers; give one entry of "
        f"the batch, {name}[i], or name the layers, layers=range({shape[0]})"
    )


def _common_sizes(layers: Sequence[SourceLayer]) -> tuple[int, int | None]:
    """Queries and keys, the same in all maps."""
    n_q, n_k = _queries(layers[0]), None
    for layer in layers:
        rows, columns = _queries(layer), layer.n_k
        if rows != n_q or (None not in (n_k, columns) and columns != n_k):
            raise ValueError(
                f"one map has {rows} queries and {columns} keys, another {n_q} and {n_k}: "
                "maps of different sizes need views of their own"
            )
        n_k = n_k if columns is None else columns
    return n_q, n_k


def _queries(layer: SourceLayer) -> int:
    """How many queries the maps of a layer have."""
    head = layer.heads[0]
    if isinstance(head, np.ndarray):
        return int(head.shape[0])
    return next(int(array.shape[0]) for name, array in head.items() if "q" in ARRAYS[name])
