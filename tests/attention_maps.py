"""Maps for the tests of viewer and plots: weights, statistics made from them, pages taken apart."""

import base64
import json
import re
import zlib
from dataclasses import dataclass, field, fields

import numpy as np

TYPES = {"u1": np.uint8, "u2": np.uint16, "u4": np.uint32, "f4": np.float32}

HOSTILE = [
    "</script><script>document.title='taken'</script>", "<img src=x onerror=alert(1)>",
    "\"'`&amp;&lt;", "<!--", "]]>", "${document.title='taken'}", "\\u003c",
    "\u05e9\u05dc\u05d5\u05dd", "\u0645\u0631\u062d\u0628\u0627", "\u202egnp.exe\u202c",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467", "\U0001f3f3\ufe0f\u200d\U0001f308",
    "x" * 10_000, "", " ", "\n", "\t\r", "\x00\x1b[31m", "\ud800", "\udfff\ud800", "\ufffe",
    "\u2028\u2029", "a\u0301\u0323" * 30, "\u200b\ufeff", "constructor", "__proto__",
]  # fmt: skip


def softmax_maps(rng, *shape, causal=False, sharpness=2.0):
    """Weights of random scores, (..., n_q, n_k); causal: aligned at the lower right."""
    scores = sharpness * rng.standard_normal(shape)
    if causal:
        n_q, n_k = shape[-2:]
        scores[..., ~np.tri(n_q, n_k, n_k - n_q, dtype=bool)] = -np.inf
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


@dataclass
class Overview:
    max: np.ndarray
    mean: np.ndarray


@dataclass
class Statistics:
    """A stand-in with AttentionStats' attributes, computed from weights the long way."""

    entropy: np.ndarray | None = None
    max: np.ndarray | None = None
    argmax: np.ndarray | None = None
    distance: np.ndarray | None = None
    top_indices: np.ndarray | None = None
    top_weights: np.ndarray | None = None
    top_rest: np.ndarray | None = None
    received: np.ndarray | None = None
    lse: np.ndarray | None = None
    output: np.ndarray | None = None
    head_scores: dict[str, np.ndarray] = field(default_factory=dict)
    overview: Overview | None = None
    n_k: int | None = None

    @classmethod
    def of(cls, weights, top_k=4, side=0):
        n_q, n_k = weights.shape[-2:]
        order = np.argsort(-weights, axis=-1, kind="stable")[..., :top_k]
        top = np.take_along_axis(weights, order, axis=-1)
        logs = np.log(np.where(weights > 0, weights, 1))
        return cls(
            entropy=-(weights * logs).sum(-1),
            max=weights.max(-1),
            argmax=weights.argmax(-1),
            distance=(weights * np.abs(np.arange(n_q)[:, None] - np.arange(n_k))).sum(-1),
            top_indices=np.where(top > 0, order, -1),
            top_weights=top,
            top_rest=weights.sum(-1) - top.sum(-1),
            received=weights.sum(-2),
            head_scores={"previous": np.full(weights.shape[:-2], 0.25)},
            overview=overview_by_loops(weights, side) if side else None,
        )

    def arrays(self):
        """The names and arrays of a file for ``python -m selfattn view``."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in ("lse", "output", "head_scores", "overview", "n_k"):
            found.pop(name)
        found |= {f"head_score_{name}": value for name, value in self.head_scores.items()}
        if self.overview is not None:
            found |= {"overview_max": self.overview.max, "overview_mean": self.overview.mean}
        return {name: value for name, value in found.items() if value is not None}


def overview_by_loops(weights, side):
    """The definition of `selfattn.viewer._overview`, cell by cell, blocks past the end 0."""
    n_q, n_k = weights.shape[-2:]
    high, wide = -(-n_q // side), -(-n_k // side)
    largest = np.zeros((*weights.shape[:-2], side, side))
    mean = np.zeros_like(largest)
    for a in range(side):
        for b in range(side):
            block = weights[..., a * high : (a + 1) * high, b * wide : (b + 1) * wide]
            if block.shape[-1] and block.shape[-2]:
                largest[..., a, b] = block.max(axis=(-2, -1))
                mean[..., a, b] = block.mean(axis=(-2, -1))
    return Overview(largest, mean)


class Page:
    """A page taken apart again, in Python: its header, and the arrays of its blocks."""

    def __init__(self, html):
        self.html = html
        found = re.findall(r'<script type="text/plain" id="(\w+)">([A-Za-z0-9+/=]*)</script>', html)
        self.blocks = {name: zlib.decompress(base64.b64decode(text)) for name, text in found}
        self.header = json.loads(self.blocks["header"])

    def arrays(self, block):
        found = {}
        raw = self.blocks[block["id"]]
        assert len(raw) == block["bytes"]
        for name, (kind, shape, offset, planes) in block["arrays"].items():
            dtype = np.dtype(TYPES[kind])
            assert offset % 4 == 0
            data = np.frombuffer(raw, np.uint8, int(np.prod(shape)) * dtype.itemsize, offset)
            if planes:
                data = np.ascontiguousarray(data.reshape(dtype.itemsize, -1).T)
            found[name] = data.view(dtype).reshape(shape)
        return found

    def head(self, layer=0, head=0):
        """(header of the map, its cells, its rows)."""
        one = self.header["layers"][layer]["heads"][head]
        return one, self.arrays(one["cells"]), self.arrays(one["rows"])
