"""Plots of attention with matplotlib, each on one Axes, never shown by themselves.

matplotlib is imported when a plot is made: ``pip install 'selfattn[plot]'``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._foreign import foreign_array
from ._labels import visible
from .viewer._statistics import Statistics, is_statistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["entropy", "heads", "heatmap", "received"]

Array = NDArray[Any]

_MOST_LABELS = 64
_IMAGE: dict[str, Any] = {"cmap": "Blues", "interpolation": "nearest", "vmin": 0.0}
_GAP = 0.12
"""Between the maps of `heads`, in widths of a map."""


def heatmap(
    weights: ArrayLike,
    tokens: Sequence[str] | None = None,
    key_tokens: Sequence[str] | None = None,
    *,
    ax: Axes | None = None,
    **imshow: Any,
) -> Axes:
    """Draw one attention map: queries down, keys across.

    Parameters
    ----------
    weights : array_like
        ``(n_q, n_k)``; leading axes of length 1 are dropped.
    tokens : sequence of str, optional
        One per query; the labels if there are at most 64.
    key_tokens : sequence of str, optional
        One per key. `tokens`, if not given and the map is square.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure if not given.
    **imshow
        For ``Axes.imshow``: cmap, vmax, norm ...

    Returns
    -------
    matplotlib.axes.Axes
        Its image is ``ax.images[0]``, for ``ax.figure.colorbar``.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If there is more than one map, or a list of tokens has the wrong length.

    Examples
    --------
    >>> import numpy as np
    >>> import selfattn
    >>> x = np.eye(3)
    >>> _, weights = selfattn.attention(x, x, x, return_weights=True)
    >>> ax = selfattn.plot.heatmap(weights, ["one", "two", "three"])
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['one', 'two', 'three']
    """
    array = _maps(weights)
    if array.shape[0] * array.shape[1] != 1:
        raise ValueError(
            f"weights holds {array.shape[0] * array.shape[1]} maps: expected one, as weights[0], "
            "or use selfattn.plot.heads"
        )
    n_q, n_k = array.shape[2:]
    rows = _labels(tokens, n_q, "tokens")
    columns = _labels(key_tokens, n_k, "key_tokens")
    if key_tokens is None and n_q == n_k:
        columns = rows
    ax = _axes(ax)
    ax.imshow(array[0, 0], **(_IMAGE | imshow))
    if rows is not None and n_q <= _MOST_LABELS:
        ax.set_yticks(range(n_q), rows, **_text(n_q))
    if columns is not None and n_k <= _MOST_LABELS:
        ax.set_xticks(range(n_k), columns, rotation=90, **_text(n_k))
    ax.set_xlabel("key")
    ax.set_ylabel("query")
    return ax


def heads(
    weights: ArrayLike,
    names: Sequence[str] | None = None,
    *,
    ax: Axes | None = None,
    **imshow: Any,
) -> Axes:
    """Draw all heads as small maps: a row per layer, or one layer's heads in rows.

    Every map has a colour scale of its own, from 0 to its largest weight.

    Parameters
    ----------
    weights : array_like
        ``(heads, n_q, n_k)``, or ``(layers, heads, n_q, n_k)``.
    names : sequence of str, optional
        One per head, 0, 1, 2 ... if not given.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure if not given.
    **imshow
        For ``Axes.imshow``, as cmap.

    Returns
    -------
    matplotlib.axes.Axes
        With one image per map, layer by layer, in ``ax.images``.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If the shape is another one, or `names` has the wrong length.

    Examples
    --------
    >>> import numpy as np
    >>> import selfattn
    >>> len(selfattn.plot.heads(np.full((12, 5, 5), 0.2)).images)
    12
    """
    array = _maps(weights)
    n_layers, n_heads = array.shape[:2]
    titles = _labels(names, n_heads, "names") or [str(h) for h in range(n_heads)]
    columns = n_heads if n_layers > 1 else math.ceil(math.sqrt(n_heads))
    ax = _axes(ax)
    step = 1 + _GAP
    for place in range(n_layers * n_heads):
        row, column = divmod(place, columns)
        left, top = column * step, row * (step + _GAP)
        extent = (left, left + 1, top + 1, top)
        ax.imshow(array[divmod(place, n_heads)], **(_IMAGE | imshow), extent=extent)
        ax.text(left, top - 0.03, titles[place % n_heads], fontsize=8, parse_math=False)
    for layer in range(n_layers if n_layers > 1 else 0):
        middle = layer * (step + _GAP) + 0.5
        ax.text(-_GAP, middle, str(layer), fontsize=8, ha="right", va="center", weight="bold")
    rows = -(-n_layers * n_heads // columns)
    ax.set_xlim(-4 * _GAP if n_layers > 1 else -_GAP, columns * step)
    ax.set_ylim(rows * (step + _GAP), -2 * _GAP)
    ax.set_aspect("equal")
    ax.set_axis_off()
    return ax


def entropy(
    attention: ArrayLike | Statistics,
    tokens: Sequence[str] | None = None,
    *,
    ax: Axes | None = None,
    **options: Any,
) -> Axes:
    """Draw the entropy of each query's weights, in nats: low is focused, ln n_k is everywhere.

    Parameters
    ----------
    attention : array_like or statistics
        Weights ``(n_q, n_k)`` or ``(heads, n_q, n_k)``, or what ``attention_stats`` returns, of
        one sequence.
    tokens : sequence of str, optional
        One per query; the labels if there are at most 64.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure if not given.
    **options
        For ``Axes.plot`` (one head) or ``Axes.imshow`` (several: heads down, queries across).

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If there is more than one sequence, statistics lack the entropy, or `tokens` has the wrong
        length.

    Examples
    --------
    >>> import numpy as np
    >>> import selfattn
    >>> ax = selfattn.plot.entropy(np.full((4, 4), 0.25))
    >>> ax.lines[0].get_ydata().round(3).tolist()  # ln 4
    [1.386, 1.386, 1.386, 1.386]
    """

    def of(weights: Array) -> Array:
        logs = np.log(np.where(weights > 0, weights, 1))
        result: Array = -(weights * logs).sum(axis=-1)
        return result

    values = _per_token(attention, "entropy", of)
    return _profile(values, tokens, ax, "query", "entropy, nats", options)


def received(
    attention: ArrayLike | Statistics,
    tokens: Sequence[str] | None = None,
    *,
    ax: Axes | None = None,
    **options: Any,
) -> Axes:
    """Draw the weight that each key receives from all queries, the column sums.

    Parameters
    ----------
    attention : array_like or statistics
        Weights ``(n_q, n_k)`` or ``(heads, n_q, n_k)``, or what ``attention_stats`` returns, of
        one sequence.
    tokens : sequence of str, optional
        One per key; the labels if there are at most 64.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure if not given.
    **options
        For ``Axes.plot`` (one head) or ``Axes.imshow`` (several: heads down, keys across).

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If there is more than one sequence, statistics lack what is received, or `tokens` has the
        wrong length.

    Examples
    --------
    >>> import selfattn
    >>> ax = selfattn.plot.received([[1.0, 0.0], [0.25, 0.75]])
    >>> ax.lines[0].get_ydata().tolist()
    [1.25, 0.75]
    """
    values = _per_token(attention, "received", lambda weights: weights.sum(axis=-2))
    return _profile(values, tokens, ax, "key", "weight received", options)


def _maps(weights: ArrayLike) -> Array:
    """Weights as ``(layers, heads, n_q, n_k)`` of float64."""
    array = foreign_array("weights", weights)
    if array.ndim < 2 or array.ndim > 4 or not array.size:
        raise ValueError(
            f"weights has shape {array.shape}: expected (n_q, n_k), (heads, n_q, n_k) or "
            "(layers, heads, n_q, n_k), none of them 0"
        )
    return array.astype(np.float64)[(np.newaxis,) * (4 - array.ndim)]


def _per_token(attention: ArrayLike | Statistics, name: str, of: Any) -> Array:
    """A statistic as ``(heads, n)``: the one that is there, or computed from weights."""
    if is_statistics(attention):
        value = getattr(attention, name)
        if value is None:
            raise ValueError(f'statistics have no {name}: attention_stats(..., stats=("{name}",))')
        values = foreign_array(name, value).astype(np.float64)
        if values.size != math.prod(values.shape[-2:]):
            raise ValueError(f"{name} has shape {values.shape}: expected one sequence")
        return values.reshape(-1, values.shape[-1])
    array = _maps(cast(ArrayLike, attention))
    if array.shape[0] > 1:
        raise ValueError(f"weights has shape {array.shape}: expected one layer, as weights[0]")
    result: Array = of(array[0])
    return result


def _profile(
    values: Array, tokens: Sequence[str] | None, ax: Axes | None, axis: str, title: str,
    options: dict[str, Any],
) -> Axes:  # fmt: skip
    """One head as a line, several as an image."""
    n_heads, n = values.shape
    labels = _labels(tokens, n, "tokens")
    ax = _axes(ax)
    if n_heads == 1:
        ax.plot(values[0], **({"linewidth": 1.2} | options))
        ax.set_ylabel(title)
        ax.margins(x=0.01)
    else:
        ax.imshow(values, **(_IMAGE | {"aspect": "auto"} | options))
        ax.set_ylabel("head")
        ax.set_title(title)
    if labels is not None and n <= _MOST_LABELS:
        ax.set_xticks(range(n), labels, rotation=90, **_text(n))
    ax.set_xlabel(axis)
    return ax


def _labels(names: Sequence[str] | None, n: int, argument: str) -> list[str] | None:
    if names is None:
        return None
    if len(names) != n:
        raise ValueError(f"{argument} has {len(names)} entries: expected {n}")
    return [visible(str(name)) for name in names]


def _text(n: int) -> dict[str, Any]:
    """How `n` tokens beside an axis are written: as they are, small if there are many."""
    return {"parse_math": False, "fontsize": min(10.0, 230 / n)}


def _axes(ax: Axes | None) -> Axes:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("selfattn.plot needs matplotlib: pip install 'selfattn[plot]'") from error
    if ax is not None:
        return ax
    return plt.figure(layout="constrained").add_subplot()
