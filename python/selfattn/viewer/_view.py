"""The function `view` and what it returns."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._document import Document, make_document
from ._page import page_of
from ._payload import blocks_of
from ._png import png_of
from ._statistics import Statistics

__all__ = ["View", "view"]

_PAPER, _INK = (246, 245, 241), (29, 43, 92)
_MOST_IN_NOTEBOOK = 16 * 2**20
_PICTURES = 12
"""Thumbnails of the small image, the first maps."""


def view(
    attention: ArrayLike | Statistics | Sequence[ArrayLike | Statistics],
    tokens: Sequence[str] | None = None,
    key_tokens: Sequence[str] | None = None,
    *,
    layers: Sequence[str | int] | None = None,
    heads: Sequence[str | int] | None = None,
    query_offset: int | None = None,
    title: str | None = None,
    exact: bool = False,
    height: int = 640,
) -> View:
    """Show attention as a page that works offline: tokens, matrix, all layers and heads.

    The result shows itself in a notebook, and `View.save` writes it as one HTML file.

    Parameters
    ----------
    attention : array_like, statistics or a sequence of either
        Weights ``(n_q, n_k)``, ``(heads, n_q, n_k)`` or, with `layers`,
        ``(layers, heads, n_q, n_k)``; what ``attention_stats`` returns; or a list with one of them
        per layer, also ``(1, heads, n_q, n_k)``, as transformers and BertViz have it. Tensors of
        torch and others on the CPU are read through DLPack.
    tokens : sequence of str, optional
        One per query. Without it, positions are shown.
    key_tokens : sequence of str, optional
        One per key, if the keys are not the queries: cross-attention, or decoding with a cache.
    layers, heads : sequence of str or int, optional
        Their names, 0, 1, 2 ... if not given. `heads` names the heads of every layer.
    query_offset : int, optional
        Query i stands at position i + query_offset among the keys, for the mean distance. 0 if
        queries and keys are the same tokens; without a value there is else no distance.
    title : str, optional
        The page's title.
    exact : bool
        Store every weight as float32, of any number of weights. By default a weight takes 8 bits
        of its row's maximum, and the 8 largest of each row stay float32; the page shows with each
        number how precise it is.
    height : int
        Height of the view in a notebook, in CSS pixels.

    Returns
    -------
    View
        With ``save(path)`` and ``to_html()``.

    Raises
    ------
    TypeError
        If weights are no numbers or tokens no strings, or an array is not in the CPU's memory.
    ValueError
        If shapes, tokens and names do not fit one another; if a weight is negative, NaN or
        infinite; if there are more than 2**28 weights and `exact` is false.

    Examples
    --------
    >>> import numpy as np
    >>> import selfattn
    >>> tokens = "The animal was too tired".split()
    >>> q, k, v = np.random.default_rng(0).standard_normal((3, 4, 5, 16))
    >>> _, weights = selfattn.attention(q, k, v, return_weights=True)
    >>> selfattn.view(weights, tokens)
    View of 1 layer x 4 heads, 5 queries x 5 keys
    >>> selfattn.view(weights, tokens).save("attention.html")  # doctest: +SKIP
    """
    if not isinstance(height, int | np.integer) or height < 100:
        raise ValueError(f"height is {height!r}: expected a whole number of pixels, at least 100")
    document = make_document(
        attention, tokens, key_tokens, layers, heads, query_offset, title, exact
    )
    return View(document, int(height))


class View:
    """Attention as a page: shows itself in a notebook, saves itself as one HTML file.

    `selfattn.view` makes it.
    """

    def __init__(self, document: Document, height: int) -> None:
        self._document = document
        self._height = height
        self._pieces: list[str] | None = None

    def __repr__(self) -> str:
        layers = self._document.layers
        counts = {len(layer.maps) for layer in layers}
        heads = _plural(counts.pop(), "head") if len(counts) == 1 else "some heads"
        return (
            f"View of {_plural(len(layers), 'layer')} x {heads}, "
            f"{self._document.n_q} queries x {self._document.n_k} keys"
        )

    def to_html(self) -> str:
        """The page as text: one HTML document that needs no other file."""
        return "".join(self._page())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page as an HTML file, which any browser opens without a network.

        Parameters
        ----------
        path : path-like
            The file; one that is there is replaced.
        """
        pieces = self._page()
        with Path(path).open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(pieces)

    def _page(self) -> list[str]:
        if self._pieces is None:
            self._pieces = list(page_of(blocks_of(self._document)))
        return self._pieces

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
        """For notebooks: text, a small image, and the page in a frame that can reach nothing."""
        pixels = self._picture()
        high, wide = pixels.shape
        data = {
            "text/plain": repr(self),
            "image/png": base64.b64encode(png_of(pixels, _palette())).decode("ascii"),
            "text/html": self._frame(),
        }
        return data, {"image/png": {"width": wide, "height": high}}

    def _frame(self) -> str:
        size = sum(map(len, self._page()))
        if size > _MOST_IN_NOTEBOOK:
            return (
                f"<p>{html.escape(repr(self))}: {size / 2**20:.0f} MiB, too much for a notebook. "
                "<code>view.save('attention.html')</code> writes it as a file.</p>"
            )
        return (
            f'<iframe srcdoc="{html.escape(self.to_html())}" sandbox="allow-scripts '
            f'allow-downloads" title="{html.escape(repr(self))}" width="100%" '
            f'height="{self._height}" style="border:0" loading="lazy"></iframe>'
        )

    def _picture(self) -> NDArray[np.uint8]:
        """The first thumbnails side by side, each pixel twice as wide and high."""
        thumbnails = [one.thumbnail.codes for one in self._document.maps()[:_PICTURES]]
        high = max(codes.shape[0] for codes in thumbnails)
        gap = np.zeros((high, 2), np.uint8)
        parts: list[NDArray[np.uint8]] = []
        for codes in thumbnails:
            parts += [np.pad(codes, ((0, high - codes.shape[0]), (0, 0))), gap]
        zoom = max(1, 128 // high)
        return np.concatenate(parts[:-1], axis=1).repeat(zoom, axis=0).repeat(zoom, axis=1)


def _palette() -> NDArray[np.uint8]:
    """From paper to ink along the codes, which are logarithms: seven octaves make the range."""
    share = np.clip((np.arange(256) - 185) / 70, 0, 1)[:, np.newaxis]
    return np.rint(np.array(_PAPER) * (1 - share) + np.array(_INK) * share).astype(np.uint8)


def _plural(n: int, noun: str) -> str:
    return f"{n} {noun}" + ("" if n == 1 else "s")
