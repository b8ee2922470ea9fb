"""A heat map of text: for terminals with colours, with block characters, or with neither."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._labels import visible

__all__ = ["heat_map"]

_LETTERS = " .:-=+*#%@"
_BLOCKS = " \u2591\u2592\u2593\u2588"
# Of the 256 colours that terminals know, steps from black over blue and green to a pale yellow.
_COLOURS = (233, 17, 18, 24, 31, 37, 72, 113, 191, 230)


def heat_map(
    weights: NDArray[Any], tokens: Sequence[str], *, blocks: bool = False, colours: bool = False
) -> list[str]:
    """The lines of a heat map: queries down with their tokens, keys across by number.

    Parameters
    ----------
    weights : ndarray
        ``(n, n)``; the shade is the weight's share of the largest.
    tokens : sequence of str
        One per query and key.
    blocks, colours : bool
        What the terminal can show; plain ASCII letters if neither.
    """
    shares = weights / max(float(weights.max(initial=0.0)), np.finfo(float).tiny)
    width = max(len(visible(token)) for token in tokens)
    margin = " " * (width + 4)
    lines = [margin + "".join(f"{j:>3}" for j in range(len(tokens)))]
    for i, (token, row) in enumerate(zip(tokens, shares, strict=True)):
        cells = "".join(_cell(share, blocks, colours) for share in row)
        lines.append(f"{i:>2} {visible(token):<{width}} {cells}")
    return lines


def _cell(share: float, blocks: bool, colours: bool) -> str:
    if colours:
        colour = _COLOURS[round(share * (len(_COLOURS) - 1))]
        return f"\033[48;5;{colour}m   \033[0m"
    ramp = _BLOCKS if blocks else _LETTERS
    return " " + 2 * ramp[round(share * (len(ramp) - 1))]
