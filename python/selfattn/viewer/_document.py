"""Everything a page shows, checked and encoded: what `view` builds and `View` writes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._dense import encode_dense
from ._intake import Source, SourceLayer, take_names, take_source
from ._kept import encode_kept
from ._map import Layer, Map

__all__ = ["Document", "make_document"]

_MOST_CELLS = 1 << 28
"""Cells that a page may hold in bytes. Beyond, files pass what browsers open."""


@dataclass
class Document:
    """One view: maps of one size, by layer, and the names of everything.

    `key_tokens` is None where the keys are the queries; a list of tokens is None where only
    positions are known.
    """

    title: str
    n_q: int
    n_k: int
    tokens: list[str] | None
    key_tokens: list[str] | None
    same_tokens: bool
    layers: list[Layer]

    def maps(self) -> list[Map]:
        """All maps, layer by layer."""
        return [one for layer in self.layers for one in layer.maps]


def make_document(
    attention: object,
    tokens: object,
    key_tokens: object,
    layers: object,
    heads: object,
    query_offset: object,
    title: object,
    exact: bool,
) -> Document:
    """Check the arguments of `view`, all before the first weight is encoded, and encode them."""
    source = take_source(attention, layers is not None)
    n_q = source.n_q
    query_names = None if tokens is None else take_names(tokens, None, "tokens", "token")
    key_names = None if key_tokens is None else take_names(key_tokens, None, "key_tokens", "token")
    n_k = _number_of_keys(source, query_names, key_names)
    _check_tokens(query_names, key_names, n_q, n_k)
    same = key_names is None and n_q == n_k
    query_offset = _offset(query_offset, same)
    names = _layer_names(layers, len(source.layers))
    head_names = _head_names(heads, source.layers)
    _check_indices(source, n_k)
    _check_size(source, n_k, exact)
    encoded = [
        Layer(name, labels, _encode(layer, name, labels, n_q, n_k, query_offset, exact))
        for name, labels, layer in zip(names, head_names, source.layers, strict=True)
    ]
    text = "Attention" if title is None else str(title)
    return Document(text, n_q, n_k, query_names, key_names, same, encoded)


def _encode(
    layer: SourceLayer, name: str, labels: list[str], n_q: int, n_k: int, query_offset: int | None,
    exact: bool,
) -> list[Map]:  # fmt: skip
    maps = []
    for label, head, scores in zip(labels, layer.heads, layer.scores, strict=True):
        if isinstance(head, np.ndarray):
            where = f"attention, layer {name:.40}, head {label:.40},"
            maps.append(encode_dense(head, where, query_offset, exact))
        else:
            maps.append(encode_kept(head, n_q, n_k, scores))
    return maps


def _offset(query_offset: object, same: bool) -> int | None:
    """Where query 0 stands among the keys: the argument, 0 if queries and keys are the same."""
    if query_offset is None:
        return 0 if same else None
    if not isinstance(query_offset, int | np.integer) or isinstance(query_offset, bool):
        raise TypeError(f"query_offset is {query_offset!r}: expected an int, as n_k - n_q")
    return int(query_offset)


def _number_of_keys(source: Source, tokens: list[str] | None, keys: list[str] | None) -> int:
    if source.n_k is not None:
        return source.n_k
    names = tokens if keys is None else keys
    if names is None:
        raise ValueError(
            "the number of keys is unknown: give tokens, or statistics with received "
            '(attention_stats(..., stats=("received", ...)))'
        )
    return len(names)


def _check_tokens(tokens: list[str] | None, keys: list[str] | None, n_q: int, n_k: int) -> None:
    if tokens is not None and len(tokens) != n_q:
        hint = ""
        if len(tokens) == n_k and keys is None:
            hint = (
                f"; if these are the keys and the last {n_q} of them the queries, pass "
                f"tokens[-{n_q}:], key_tokens=tokens"
            )
        raise ValueError(
            f"tokens has {len(tokens)} entries and there are {n_q} queries: expected one per "
            f"query{hint}"
        )
    if keys is not None and len(keys) != n_k:
        raise ValueError(
            f"key_tokens has {len(keys)} entries and there are {n_k} keys: expected one per key"
        )


def _layer_names(layers: object, count: int) -> list[str]:
    if layers is None:
        return [str(i) for i in range(count)]
    return take_names(layers, count, "layers", "layer")


def _head_names(heads: object, layers: list[SourceLayer]) -> list[list[str]]:
    if heads is None:
        return [[str(h) for h in range(len(layer.heads))] for layer in layers]
    given = list(heads) if not isinstance(heads, str) and hasattr(heads, "__iter__") else heads
    return [take_names(given, len(layer.heads), "heads", "head") for layer in layers]


def _check_indices(source: Source, n_k: int) -> None:
    """Indices point at keys, or are -1: none."""
    for layer in source.layers:
        for head in layer.heads:
            if isinstance(head, np.ndarray):
                continue
            for name in ("top_indices", "argmax"):
                indices = head.get(name)
                if indices is None or not indices.size:
                    continue
                if indices.min() < -1 or indices.max() >= n_k:
                    raise ValueError(
                        f"{name} reaches from {indices.min()} to {indices.max()}: expected key "
                        f"indices 0 ... {n_k - 1}, or -1 for none"
                    )


def _check_size(source: Source, n_k: int, exact: bool) -> None:
    dense = sum(isinstance(head, np.ndarray) for layer in source.layers for head in layer.heads)
    cells = dense * source.n_q * n_k
    if cells > _MOST_CELLS and not exact:
        raise ValueError(
            f"attention has {cells:,} weights, too many for one page (the limit is "
            f"{_MOST_CELLS:,}): give some of the layers or heads, or statistics, which need no "
            "n x n matrix: selfattn.attention_stats(..., top_k=16, overview=512). exact=True lifts "
            "the limit at four bytes a weight"
        )
