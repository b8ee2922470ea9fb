"""One HTML file out of the web folder and a document: no request to anywhere, scripts by hash.

The scripts are plain files that share one scope, so they are joined in the order below. A content
security policy allows these scripts and styles, by their SHA-256, and nothing else: no network, no
other script, whatever the tokens hold. The payload's letters are those of base64.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from string import Template

from ._payload import Block

__all__ = ["SCRIPTS", "STYLES", "page_of"]

STYLES = ("theme.css", "layout.css", "parts.css")
SCRIPTS = (
    "theme.js", "payload.js", "text.js", "reading.js", "colour.js", "painter.js", "stage.js",
    "grid.js", "head.js", "heads.js", "scale.js", "thumbnails.js", "app.js", "tokens_view.js",
    "camera.js", "raster.js", "axes.js", "matrix_pointer.js", "matrix_view.js", "model_view.js",
    "panel.js", "search.js", "exporter.js", "controls.js", "keyboard.js", "main.js",
)  # fmt: skip

_FIRST = 2
"""Blocks before the scripts: the header and the thumbnails, enough to draw."""


def page_of(blocks: list[Block]) -> Iterator[str]:
    """The page, in pieces.

    Parameters
    ----------
    blocks : list of Block
        As `blocks_of` gives them, header and thumbnails first.
    """
    script, style, template = _assets()
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    rest = "\0"
    first = "".join(map(_element, blocks[:_FIRST]))
    page = template.substitute(policy=policy, style=style, script=script, first=first, rest=rest)
    before, after = page.split(rest)
    yield before
    yield from map(_element, blocks[_FIRST:])
    yield after


@cache
def _assets() -> tuple[str, str, Template]:
    """The script, the style sheet and the page's frame."""
    folder = Path(__file__).parent / "web"

    def read(name: str) -> str:
        return (folder / name).read_text(encoding="utf-8")

    script = '"use strict";\n' + "\n".join(map(read, SCRIPTS))
    return script, "\n".join(map(read, STYLES)), Template(read("page.html"))


def _element(block: Block) -> str:
    """An inert script: browsers keep its text and do not run or parse it."""
    return f'<script type="text/plain" id="{block.id}">{block.text}</script>\n'


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
