"""Statistics as `view` reads them: by the attribute names of `AttentionStats`, any may be None."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._foreign import foreign_array

__all__ = [
    "ARRAYS", "HeadStatistics", "Statistics", "is_statistics", "number_of_keys", "take_statistics",
]  # fmt: skip

Array = NDArray[Any]
HeadStatistics = dict[str, Array]

ARRAYS = {
    "entropy": "q", "max": "q", "argmax": "q", "distance": "q", "top_rest": "q",
    "top_indices": "qt", "top_weights": "qt", "received": "k",
    "overview_max": "ss", "overview_mean": "ss",
}  # fmt: skip
"""Name -> the axes behind the heads: queries, top-k slots, keys, the side twice."""

_INTEGERS = ("argmax", "top_indices")
_TOGETHER = (("top_indices", "top_weights"), ("overview_max", "overview_mean"))


class OverviewLike(Protocol):
    """An overview; `selfattn.viewer._overview` says what its arrays hold."""

    @property
    def max(self) -> ArrayLike: ...
    @property
    def mean(self) -> ArrayLike: ...


class Statistics(Protocol):
    """What `view` reads of `AttentionStats`; an attribute that is missing counts as None."""

    @property
    def entropy(self) -> ArrayLike | None: ...
    @property
    def max(self) -> ArrayLike | None: ...
    @property
    def argmax(self) -> ArrayLike | None: ...
    @property
    def distance(self) -> ArrayLike | None: ...
    @property
    def top_indices(self) -> ArrayLike | None: ...
    @property
    def top_weights(self) -> ArrayLike | None: ...
    @property
    def top_rest(self) -> ArrayLike | None: ...
    @property
    def received(self) -> ArrayLike | None: ...
    @property
    def head_scores(self) -> Mapping[str, ArrayLike] | None: ...
    @property
    def overview(self) -> OverviewLike | None: ...
    @property
    def n_k(self) -> int | None: ...


def is_statistics(thing: object) -> TypeGuard[Statistics]:
    """Whether a thing is statistics and not an array, going by its attributes."""
    return hasattr(thing, "top_weights") and hasattr(thing, "entropy")


def take_statistics(stats: Statistics) -> tuple[HeadStatistics, dict[str, Array]]:
    """The arrays of statistics and their head scores, leading axes as they are, checked.

    Raises
    ------
    TypeError
        If an array does not hold numbers, or indices that are not integers.
    ValueError
        If shapes do not fit one another, or numbers are not finite.
    """
    overview = getattr(stats, "overview", None)
    found: HeadStatistics = {}
    for name in ARRAYS:
        if name.startswith("overview_"):
            thing = getattr(overview, name.removeprefix("overview_"), None)
        else:
            thing = getattr(stats, name, None)
        if thing is not None:
            found[name] = _checked_numbers(foreign_array(name, thing), name)
    for pair in _TOGETHER:
        for one, other in (pair, pair[::-1]):
            if one in found and other not in found:
                raise ValueError(f"statistics have {one} but not {other}: they go together")
    if not any("q" in ARRAYS[name] for name in found):
        raise ValueError(
            "statistics have no value per query: expected one of entropy, max, distance, "
            "top_weights"
        )
    scores = {
        str(name): _checked_numbers(foreign_array("head_scores", value), f"head_scores[{name!r}]")
        for name, value in (getattr(stats, "head_scores", None) or {}).items()
    }
    _check_shapes(found, scores)
    return found, scores


def number_of_keys(stats: Statistics, found: HeadStatistics) -> int | None:
    """The keys that statistics are of, None where they leave it open."""
    told = getattr(stats, "n_k", None)
    counted = found["received"].shape[-1] if "received" in found else told
    if told is not None and told != counted:
        raise ValueError(f"n_k is {told!r}, but received has {counted} keys")
    return None if counted is None else int(counted)


def _checked_numbers(array: Array, name: str) -> Array:
    if name in _INTEGERS:
        if array.dtype.kind not in "iu":
            raise TypeError(f"{name} has type {array.dtype}: expected integers")
        return array
    try:
        values = array.astype(np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{name} has type {array.dtype}: expected real numbers") from None
    if not np.isfinite(values).all() or values.max(initial=0.0) > np.finfo(np.float32).max:
        raise ValueError(f"{name} holds NaN or infinity: expected finite numbers")
    if not name.startswith("head_scores") and values.min(initial=0.0) < -1e-3:
        raise ValueError(f"{name} holds {values.min()}: expected no negative numbers")
    return np.maximum(values, 0.0) if not name.startswith("head_scores") else values


def _check_shapes(found: HeadStatistics, scores: dict[str, Array]) -> None:
    """Every letter of ARRAYS has one size throughout, and so have the leading axes."""
    sizes: dict[str, tuple[int, str]] = {}
    leading: tuple[tuple[int, ...], str] | None = None
    for name, array in found.items():
        axes = ARRAYS[name]
        if array.ndim < len(axes):
            raise ValueError(f"{name} has shape {array.shape}: expected at least {len(axes)} axes")
        split = array.ndim - len(axes)
        for letter, size in zip(axes, array.shape[split:], strict=True):
            known, other = sizes.setdefault(letter, (size, name))
            if size != known:
                raise ValueError(f"{name} has shape {array.shape}, but {other} {known} of them")
        leading = _same_leading(array.shape[:split], name, leading)
    for name, array in scores.items():
        leading = _same_leading(array.shape, f"head_scores[{name!r}]", leading)


def _same_leading(
    shape: tuple[int, ...], name: str, known: tuple[tuple[int, ...], str] | None
) -> tuple[tuple[int, ...], str]:
    if known is None:
        return shape, name
    if shape != known[0]:
        raise ValueError(
            f"{name} has leading axes {shape} and {known[1]} {known[0]}: expected the same heads"
        )
    return known
