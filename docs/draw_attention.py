"""Draw docs/attention.svg: what "it" looks at, with attention's own weights.

    python docs/draw_attention.py

An arc's width is its weight. The colours are readable on light and dark pages; the text follows
the page where the viewer tells the picture which of the two it is.
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

from selfattn._demo import SCALE, SENTENCE, weights_of_it

WIDTH, HEIGHT = 760, 262
BASELINE = 184  # of the words
CHARACTER = 10.2  # advance of 17 px monospace letters
GAP = 11.0
ARC_WIDTH = 26.0  # of a weight of 1
QUERY = "it"

STYLE = """
    text { font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
    .word { font-size: 17px; fill: #6e7781; }
    .query { fill: #2f81f7; font-weight: bold; }
    .percent { font-size: 13px; fill: #6e7781; }
    .caption { font-size: 13px; fill: #6e7781; }
    .arc { fill: none; stroke: #2f81f7; }
    @media (prefers-color-scheme: dark) {
      .word, .percent, .caption { fill: #9ea7b3; }
      .query { fill: #58a6ff; }
    }
"""


def main() -> None:
    target = Path(__file__).with_name("attention.svg")
    target.write_text(picture(), encoding="utf-8")
    print(f"wrote {target}")


def picture() -> str:
    weights = weights_of_it()
    words = SENTENCE.split()
    centres = _centres(words)
    start = centres[words.index(QUERY)]

    parts: list[str] = []
    for word, x in zip(words, centres, strict=True):
        weight = weights.get(word)
        if weight is not None:
            parts.append(_arc(start, x, weight))
        kind = "word query" if word == QUERY else "word"
        parts.append(_text(x, BASELINE, kind, word))
        parts.append(_text(x, BASELINE + 24, "percent", "" if weight is None else f"{weight:.0%}"))
    caption = f'What "{QUERY}" looks at: softmax of {SCALE:g} x similarity'
    parts.append(_text(WIDTH / 2, HEIGHT - 10, "caption", caption))
    body = "\n  ".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{escape(_spoken(weights))}">\n'
        f"  <style>{STYLE}  </style>\n  {body}\n</svg>\n"
    )


def _centres(words: list[str]) -> list[float]:
    """Where the middle of each word stands, the whole sentence centred."""
    widths = [len(word) * CHARACTER for word in words]
    x = (WIDTH - sum(widths) - GAP * (len(words) - 1)) / 2
    centres = []
    for width in widths:
        centres.append(x + width / 2)
        x += width + GAP
    return centres


def _arc(start: float, end: float, weight: float) -> str:
    top = BASELINE - 22
    if start == end:  # a loop above the word
        path = f"M {start - 15:.1f} {top} c -14 -54, 44 -54, 30 0"
    else:
        lift = 30 + 0.36 * abs(end - start)
        middle = f"{start:.1f} {top - lift:.1f}, {end:.1f} {top - lift:.1f}"
        path = f"M {start:.1f} {top} C {middle}, {end:.1f} {top}"
    opacity = 0.5 + 0.3 * weight
    return (
        f'<path class="arc" d="{path}" stroke-width="{ARC_WIDTH * weight:.2f}" '
        f'stroke-opacity="{opacity:.2f}"/>'
    )


def _text(x: float, y: float, kind: str, words: str) -> str:
    return f'<text x="{x:.1f}" y="{y}" text-anchor="middle" class="{kind}">{escape(words)}</text>'


def _spoken(weights: dict[str, float]) -> str:
    first, second = list(weights.items())[:2]
    return (
        f"{QUERY} looks at {first[0]} with weight {first[1]:.0%}, at {second[0]} itself with "
        f"{second[1]:.0%}, and a little at every other word"
    )


if __name__ == "__main__":
    main()
