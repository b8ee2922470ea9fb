"""``python -m selfattn demo``: what attention does, in a second and without a download."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from ._minilm import MiniLM
from ._selfattn import __version__, attention, get_num_threads, units
from ._terminal import heat_map

__all__ = ["SCALE", "SENTENCE", "SIMILARITIES", "main", "weights_of_all", "weights_of_it"]

Array = NDArray[Any]

SENTENCE = "The animal didn't cross the street because it was too tired"

# How similar "it" is to each word, as an introductory article gives it. Its list has one "the".
SIMILARITIES = {
    "The": 0.02,
    "animal": 0.85,
    "didn't": 0.05,
    "cross": 0.08,
    "street": 0.12,
    "because": 0.15,
    "it": 0.50,
    "was": 0.06,
    "too": 0.04,
    "tired": 0.13,
}
SCALE = 4.0

# For a map of all words: what each word is, and what it looks for. Chosen by hand, to be looked at;
# in a model both are learnt. A thing, a living one, something done, a state, a word between.
FEATURES = {
    "The": ("", "thing"), "animal": ("thing living", "done"), "didn't": ("between", "done"),
    "cross": ("done", "thing living"), "the": ("", "thing"), "street": ("thing", "done"),
    "because": ("between", "state done"), "it": ("", "thing living"), "was": ("between", "state"),
    "too": ("between", "state"), "tired": ("state", "living"),
}  # fmt: skip
KINDS = ("thing", "living", "done", "state", "between")

_BAR_WIDTH = 40
_SNIPPET_TOLERANCE = 1e-12
_SECONDS_OF_TIMING = 0.4
_WORDS_OF_MODEL = 6


def main(stream: TextIO | None = None) -> None:
    """Print the parts of the demo to `stream` (standard output if not given)."""
    stream = sys.stdout if stream is None else stream
    print(f"selfattn {__version__} ({units()[0]}, {get_num_threads()} threads)", file=stream)
    for part in (_sentence(stream), _map(stream), _snippet(), _timing(), _model(stream)):
        print(f"\n{part}", file=stream)


def weights_of_it() -> dict[str, float]:
    """Attention's weights for "it", largest first: one query, whose scores are the similarities.

    The query is the number 1 and the keys are the similarities, so q . k is each similarity.
    """
    keys = np.array(list(SIMILARITIES.values()))[:, np.newaxis]
    _, weights = attention([[1.0]], keys, keys, scale=SCALE, return_weights=True)
    by_word = zip(SIMILARITIES, weights[0].tolist(), strict=True)
    return dict(sorted(by_word, key=lambda item: -item[1]))


def _sentence(stream: TextIO) -> str:
    weights = weights_of_it()
    lines = [
        f'(a) What does "it" look at in "{SENTENCE}"?',
        f"    softmax({SCALE:g} * similarity), by selfattn.attention(..., scale={SCALE:g}):",
        "",
        "    word      similarity  weight",
    ]
    for word, weight in weights.items():
        bar = _bar(weight / max(weights.values()), stream)
        lines.append(f"    {word:8}  {SIMILARITIES[word]:10.2f}  {weight:6.1%}  {bar}")
    lines += [
        "",
        "    The similarities are an introductory article's. Its list leaves out the second",
        '    "the", and so does this one. The percentages it prints (1, 45, 3, 4, 6, 8, 26, 3, 2,',
        "    7) add up to 105 and are close to similarity / sum of similarities, not a softmax.",
    ]
    return "\n".join(lines)


def weights_of_all() -> Array:
    """Attention's weights between all words of the sentence, by the features chosen for them.

    ALiBi makes words that stand near one another a little more interesting.
    """
    is_a, looks_for = (
        np.array([[kind in pair[part].split() for kind in KINDS] for pair in FEATURES.values()])
        for part in (0, 1)
    )
    _, weights = attention(
        looks_for, is_a, is_a, scale=2.5, alibi_slopes=[0.15], return_weights=True
    )
    result: Array = weights
    return result


def _map(stream: TextIO) -> str:
    blocks = _can_draw_blocks(stream)
    weights = weights_of_all()
    lines = [
        "(b) What does every word look at? Queries down, keys across; features chosen by hand.",
        "",
        *heat_map(weights, list(FEATURES), blocks=blocks, colours=blocks and _can_colour()),
        "",
        f"    The fuller (brighter) a cell, the larger the weight, up to {weights.max():.0%}.",
        "    selfattn.view(weights, tokens).save('attention.html') shows such maps in a browser.",
    ]
    return "\n".join(lines)


def _snippet() -> str:
    """Compare the usual unscaled NumPy snippet with the same call in C; they must agree."""
    seed = 0
    rng = np.random.default_rng(seed)
    x = np.array([[1, 0, 1], [0, 1, 0], [1, 1, 1]])
    w_q, w_k, w_v = rng.random((3, 3, 3))
    q, k, v = x @ w_q, x @ w_k, x @ w_v

    scores = np.exp(q @ k.T)
    by_hand = scores / scores.sum(axis=1, keepdims=True) @ v
    in_c = attention(q, k, v, scale=1.0)

    difference = np.abs(by_hand - in_c).max()
    if not difference <= _SNIPPET_TOLERANCE:
        raise RuntimeError(
            f"the NumPy snippet and selfattn.attention differ by {difference:.1e}, more than "
            f"{_SNIPPET_TOLERANCE:.0e}: please report this with the output of "
            "`python -m selfattn info`"
        )
    code = "scores / scores.sum(axis=1, keepdims=True) @ v"
    lines = [
        f"(c) A NumPy snippet and the same in C (random numbers of seed {seed})",
        "    x = np.array([[1, 0, 1], [0, 1, 0], [1, 1, 1]])",
        f"    w_q, w_k, w_v = np.random.default_rng({seed}).random((3, 3, 3))",
        "    q, k, v = x @ w_q, x @ w_k, x @ w_v",
        "",
        "    scores = np.exp(q @ k.T)",
        f"    {code}   selfattn.attention(q, k, v, scale=1.0)",
    ]
    for left, right in zip(by_hand, in_c, strict=True):
        lines.append(f"    {_numbers(left):{len(code)}}   {_numbers(right)}")
    lines += ["", f"    largest difference: {difference:.1e}"]
    return "\n".join(lines)


def _timing() -> str:
    n, d = 1000, 64
    rng = np.random.default_rng(0)
    q, k, v = rng.standard_normal((3, n, d), dtype=np.float32)
    numpy_seconds, our_seconds = _best_seconds(
        lambda: _in_numpy(q, k, v), lambda: attention(q, k, v)
    )
    return "\n".join(
        [
            f"(d) {n:,} tokens of {d} numbers: {n * n:,} dot products, softmax, weighted sum",
            f"    NumPy     {numpy_seconds * 1e3:7.2f} ms",
            f"    selfattn  {our_seconds * 1e3:7.2f} ms   {numpy_seconds / our_seconds:.1f} x",
            "    float32, the best of several runs, each library with its own choice of threads",
        ]
    )


def _model(stream: TextIO) -> str:
    """Where "it" looks in a real model, in the head of all 72 that looks at "animal" most."""
    title = f'(e) "{SENTENCE}." in a real model, MiniLM'
    try:
        run = MiniLM.load().run(f"{SENTENCE}.")
    except ImportError as error:
        return f"{title}\n    {error}"
    it, animal = run.tokens.index("it"), run.tokens.index("animal")
    by_head = run.weights[:, :, it, animal]
    layer, head = np.unravel_index(by_head.argmax(), by_head.shape)
    weights = run.weights[layer, head, it]
    lines = [
        title,
        f'    Of its {by_head.size} heads, number {head + 1} of layer {layer + 1} lets "it" look '
        'at "animal" most:',
        "",
    ]
    for i in np.argsort(-weights)[:_WORDS_OF_MODEL]:
        bar = _bar(float(weights[i] / weights.max()), stream)
        lines.append(f"    {run.tokens[i]:8}  {weights[i]:6.1%}  {bar}")
    lines += ["", f'    Over all heads the mean for "animal" is {by_head.mean():.1%}.']
    return "\n".join(lines)


def _in_numpy(q: Array, k: Array, v: Array) -> Array:
    """Attention as NumPy does it best: float32 throughout, in place."""
    p: Array = q @ k.T
    p *= np.float32(1 / np.sqrt(q.shape[1]))
    p -= p.max(axis=1, keepdims=True)
    np.exp(p, out=p)
    p /= p.sum(axis=1, keepdims=True)
    out: Array = p @ v
    return out


def _best_seconds(*calls: Callable[[], object]) -> list[float]:
    """Shortest time of each call; they take turns, so that a busy moment hits all of them."""
    best = [math.inf] * len(calls)
    end = time.perf_counter() + _SECONDS_OF_TIMING
    while time.perf_counter() < end:
        for i, call in enumerate(calls):
            start = time.perf_counter()
            call()
            best[i] = min(best[i], time.perf_counter() - start)
    return best


def _numbers(row: Array) -> str:
    return "  ".join(f"{number:.6f}" for number in row)


def _bar(fraction: float, stream: TextIO) -> str:
    """A horizontal bar, in eighths of a character where the terminal can draw them."""
    eighths = round(fraction * _BAR_WIDTH * 8)
    if not _can_draw_blocks(stream):
        return "#" * max(1, round(eighths / 8))
    full, rest = divmod(max(1, eighths), 8)
    bar = "\u2588" * full + " \u258f\u258e\u258d\u258c\u258b\u258a\u2589"[rest].strip()
    return f"\033[36m{bar}\033[0m" if _can_colour() else bar


def _can_draw_blocks(stream: TextIO) -> bool:
    if not stream.isatty():
        return False
    try:
        "\u2588\u258f".encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _can_colour() -> bool:
    """https://no-color.org: any value but an empty one turns colours off."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"
