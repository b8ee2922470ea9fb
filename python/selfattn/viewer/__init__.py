"""Attention as one offline HTML page. `view` is the way in; the page's sources are in ``web/``."""

from ._view import View, view

__all__ = ["View", "view"]
