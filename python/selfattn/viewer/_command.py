"""``python -m selfattn view FILE.npz``: a saved array as a page."""

from __future__ import annotations

import argparse
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from ._npz import view_file

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """Write the page and open it; return the exit status (1: the file cannot be shown)."""
    parser = _make_parser()
    options = parser.parse_args(arguments)
    output = options.output or options.file.with_suffix(".html")
    try:
        page = view_file(options.file, exact=options.exact)
        page.save(output)
    except (OSError, ValueError, TypeError) as error:
        print(f"python -m selfattn view: {error}", file=sys.stderr)
        return 1
    print(f"{page}: {output}")
    if options.output is None and not options.no_open:
        webbrowser.open(output.resolve().as_uri())
    return 0


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m selfattn view",
        description="Show attention weights or statistics from an .npz file in the browser.",
        epilog="The file: np.savez('a.npz', weights=weights, tokens=tokens), also with key_tokens, "
        "layers, heads, title; or the arrays of attention_stats under their names.",
    )
    add = parser.add_argument
    add("file", type=Path, metavar="FILE.npz")
    add("-o", "--output", type=Path, metavar="FILE.html",
        help="write there and open nothing (default: beside FILE.npz, then opened)")  # fmt: skip
    add("--no-open", action="store_true", help="do not open the browser")
    add("--exact", action="store_true", help="store every weight as float32")
    return parser
