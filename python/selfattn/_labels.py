"""Tokens as labels of one line."""

from __future__ import annotations

__all__ = ["visible"]

_MOST = 24
_NAMED = {"\n": "\u23ce", "\t": "\u21e5"}


def visible(token: str, most: int = _MOST) -> str:
    """A token as one line of at most `most` characters: blanks and what is not printable shown."""
    if not token.strip(" "):
        return "\u2423" * min(len(token), most) or "\u2205"
    text = "".join(_NAMED.get(c, c if c.isprintable() else "\ufffd") for c in token[: most + 1])
    return text if len(text) <= most else text[: most - 1] + "\u2026"
