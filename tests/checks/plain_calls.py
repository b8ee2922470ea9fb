"""Calls of what is Python throughout, for calls.py: positions, layers being made, pictures, pages.

matplotlib and torch have memory of their own, which is not looked at here: stand-ins take what they
would be given.
"""

import contextlib
import io
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import threadpoolctl

import selfattn
from selfattn import plot, positional, reference

for _name in ("matplotlib", "matplotlib.pyplot", "torch"):
    sys.modules[_name] = ModuleType(_name)
sys.modules["matplotlib"].pyplot = sys.modules["matplotlib.pyplot"]  # type: ignore[attr-defined]
sys.modules["torch"].from_numpy = lambda array: array  # type: ignore[attr-defined]


class Canvas:
    """An Axes that keeps what it is told to draw."""

    def __init__(self) -> None:
        self.drawn: list[Any] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **keywords: self.drawn.append((name, args, keywords))


def _drawing(draw: Callable[..., Any], *args: Any) -> Callable[[], Any]:
    return lambda: tuple(draw(*args, ax=Canvas()).drawn)


_rng = np.random.default_rng(9)
X, B = _rng.standard_normal((2, 20, 16)), _rng.standard_normal(16)
HEADS = _rng.standard_normal((2, 5, 4))
WEIGHTS = selfattn.attention(HEADS, HEADS, HEADS, return_weights=True)[1]
TOKENS = ["a", "</script>", "\u00e9", "", "e"]
STATE = selfattn.MultiHeadAttention(16, 4, num_kv_heads=2, rng=0).state_dict()
KEPT = selfattn.attention_stats(HEADS, HEADS, top_k=2)
REFERENCE_LAYER = reference.MultiHeadAttention(16, 4, rng=0)
OPTIONS = {"causal": True, "window": (3, None), "return_weights": True, "return_lse": True}


class Generator(np.random.Generator):
    """Without NumPy 2.4's own `uniform`, which loses a reference to float64."""

    def uniform(self, low: float, high: float, size: Any) -> Any:
        return low + (high - low) * self.random(size)


def _make(*args: Any, **keywords: Any) -> Callable[[], Any]:
    return lambda: selfattn.MultiHeadAttention(*args, rng=Generator(np.random.PCG64(0)), **keywords)


def _from_torch() -> Any:
    return selfattn.MultiHeadAttention.from_torch(STATE, num_heads=4)


def _view(*args: Any, **keywords: Any) -> Callable[[], str]:
    return lambda: selfattn.view(*args, **keywords).to_html()


def _picture() -> Any:
    return selfattn.view(WEIGHTS, TOKENS)._repr_mimebundle_()


def _print_config() -> str:
    with contextlib.redirect_stdout(io.StringIO()) as text:
        selfattn.show_config()
    return text.getvalue()


def _limited() -> int:
    with selfattn.threads(1):
        return selfattn.get_num_threads()


PLAIN_CALLS: dict[str, Callable[[], Any]] = {
    "sinusoidal": lambda: positional.sinusoidal(7, 5),
    "rotary": lambda: positional.rotary(X, np.arange(20)),
    "rotary, interleaved": lambda: positional.rotary(X.astype(np.float16), interleaved=True),
    "alibi_slopes": lambda: positional.alibi_slopes(6),
    "layer_norm": lambda: selfattn.layer_norm(X, B, B),
    "estimate": lambda: selfattn.estimate((2, 9, 8), (2, 9, 8), peak=1e9, bandwidth=1e9),
    "a new layer": _make(16, 4),
    "a new layer, options": _make(16, 4, num_kv_heads=2, kdim=3, bias=False, dtype="f8"),
    "from_torch": _from_torch,
    "view": _view(WEIGHTS, TOKENS),
    "view, layers": _view(
        [WEIGHTS[:1, :2, :2]] * 2, layers=["a", "b"], heads=[7], exact=True, title="&"
    ),
    "view, statistics": _view(KEPT, TOKENS),
    "view, in a notebook": _picture,
    "heatmap": _drawing(plot.heatmap, WEIGHTS[0], TOKENS),
    "plot.heads": _drawing(plot.heads, WEIGHTS),
    "plot.entropy": _drawing(plot.entropy, WEIGHTS, TOKENS),
    "plot.entropy, statistics": _drawing(plot.entropy, KEPT),
    "plot.received": _drawing(plot.received, WEIGHTS[0]),
    "to_bertviz": lambda: tuple(selfattn.to_bertviz(WEIGHTS, TOKENS)["attention"]),
    "to_circuitsvis": lambda: selfattn.to_circuitsvis(WEIGHTS, TOKENS)["attention"],
    "show_config": _print_config,
    "limited to a thread": _limited,
    "register_threadpoolctl": selfattn.register_threadpoolctl,
    "reference, attention": lambda: reference.attention(HEADS, HEADS, HEADS, **OPTIONS),
    "reference, layer": lambda: REFERENCE_LAYER(X),
    "reference, stats": lambda: reference.attention_stats(HEADS, HEADS, top_k=2),
}  # fmt: skip

# What the interpreter itself does not survive (refusals.py) when one object, or no object from some
# place on, can be made.
FATAL = {
    "layer_norm", "view", "view, in a notebook", "show_config", "reference, layer",
    "reference, stats",
}  # fmt: skip
FATAL_FOR_EVER = {
    "rotary", "rotary, interleaved", "a new layer", "a new layer, options", "reference, attention",
}  # fmt: skip

PLAIN_ERRORS: dict[str, tuple[type[Exception], Callable[[], Any]]] = {
    "sinusoidal, type": (TypeError, lambda: positional.sinusoidal(7.5, 4)),
    "rotary, odd": (ValueError, lambda: positional.rotary(X[..., :3])),
    "alibi_slopes, none": (ValueError, lambda: positional.alibi_slopes(-1)),
    "layer_norm, weight": (ValueError, lambda: selfattn.layer_norm(X, B[:3])),
    "a new layer, heads": (ValueError, _make(16, 3)),
    "from_torch, no heads": (
        TypeError, lambda: selfattn.MultiHeadAttention.from_torch(STATE)
    ),
    "view, tokens": (ValueError, _view(WEIGHTS, TOKENS[1:])),
    "view, negative": (ValueError, _view(-WEIGHTS)),
    "heatmap, heads": (ValueError, _drawing(plot.heatmap, WEIGHTS)),
    "plot.entropy, tokens": (ValueError, _drawing(plot.entropy, WEIGHTS, TOKENS[1:])),
    "to_bertviz, tokens": (ValueError, lambda: selfattn.to_bertviz(WEIGHTS, TOKENS[1:])),
    "to_circuitsvis, shape": (
        ValueError, lambda: selfattn.to_circuitsvis(WEIGHTS[:, :3], TOKENS[:3])
    ),
    "show_config, mode": (ValueError, lambda: selfattn.show_config("text")),  # type: ignore[call-overload]
}  # fmt: skip

PLAIN_WATCHED = {"PLAIN_X": X, "HEADS": HEADS, "SHARES": WEIGHTS, "TOKENS": TOKENS, "KEPT": KEPT}

threadpoolctl.threadpool_info()  # loads what it needs before anything is counted
