"""Hypothesis strategies: calls of attention with every option, in every combination."""

from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st

from arrays import DTYPES, KINDS, LAYOUTS, in_layout, tensor

TAILS = (63, 64, 65, 95, 96, 97, 127, 128, 129, 130)
SIZES = st.one_of(st.integers(0, 9), st.integers(1, 40), st.sampled_from(TAILS))
HEAD_SIZES = st.one_of(st.integers(0, 20), st.sampled_from((31, 33, 64, 80, 96, 128, 256, 260)))
# Long enough for a second chunk of keys.
LONG = st.one_of(st.integers(1000, 1100), st.integers(2040, 2200))
NAMED_CAUSAL = ("upper_left", "lower_right")


@dataclass
class Problem:
    """One call: its arrays and options, and what it returns."""

    query: np.ndarray
    key: np.ndarray
    value: np.ndarray
    options: dict = field(default_factory=dict)
    return_weights: object = False
    return_lse: bool = False

    @property
    def returned(self):
        weights = {False: (), True: ("weights",), "mean": ("mean",)}[self.return_weights]
        return ("out", *weights, *(("lse",) if self.return_lse else ()))

    def run(self, function, **more):
        return function(
            self.query, self.key, self.value, **self.options, **more,
            return_weights=self.return_weights, return_lse=self.return_lse,
        )  # fmt: skip


@st.composite
def problems(draw, dtypes=DTYPES):
    """Any legal call that a dense float64 oracle can follow in some milliseconds."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="seed"))
    dtype = draw(st.sampled_from(dtypes))
    n_q, n_k, d = draw(SIZES, label="n_q"), draw(SIZES, label="n_k"), draw(HEAD_SIZES, label="d")
    d_v = draw(st.one_of(st.just(d), HEAD_SIZES), label="d_v")
    kv_heads, group = draw(st.sampled_from(((1, 1), (1, 2), (2, 1), (2, 3), (1, 5), (1, 16))))
    batch = draw(st.sampled_from(((), (), (1,), (2,), (2, 3), (0,))))
    if draw(st.integers(0, 9), label="long") == 0:
        n_q, n_k, batch, group = min(n_q, 20), draw(LONG, label="long n_k"), (), min(group, 2)
        d, d_v = min(d, 33), min(d_v, 33)
    if np.prod(batch) * group * kv_heads * n_q * n_k * (d + d_v + 20) > 5e6:
        batch, kv_heads, group = (), 1, min(group, 2)
    shapes = [(*_part(draw, batch), h, n, width) for h, n, width in
              ((kv_heads * group, n_q, d), (kv_heads, n_k, d), (kv_heads, n_k, d_v))]  # fmt: skip
    two_d = kv_heads * group == 1 and batch == () and draw(st.booleans(), label="2-D")
    if two_d:
        shapes = [shape[1:] for shape in shapes]
    batch = () if two_d else np.broadcast_shapes(*(shape[:-3] for shape in shapes))
    kind = draw(st.sampled_from(KINDS))
    swappable = np.dtype(dtype).kind == "f"
    arrays = [
        in_layout(tensor(rng, shape, dtype, kind), draw(_layouts(swappable), label="layout"))
        for shape in shapes
    ]
    options = draw(_options(rng, batch, shapes[0][:-2], n_q, n_k))
    return Problem(*arrays, options, *draw(_returns(shapes[0][:-2])))


def _part(draw, batch):
    """Batch axes that broadcast to at most these: some 1, some absent."""
    axes = tuple(1 if draw(st.integers(0, 3)) == 0 else n for n in batch)
    return axes if draw(st.integers(0, 3)) else axes[1:]


def _layouts(swappable=True):
    return st.one_of(
        st.just("contiguous"),
        st.sampled_from([x for x in LAYOUTS if swappable or x != "byte_swapped"]),
    )


def _returns(heads):
    weights = (False, True, "mean") if 0 not in heads[-1:] else (False, True)
    return st.tuples(st.sampled_from(weights), st.booleans())


@st.composite
def _options(draw, rng, batch, heads, n_q, n_k):
    """Each option absent most of the time, so that pairs and triples are common and 0 and all
    occur."""
    options = {}
    shape = (*(batch if heads else ()), *heads[-1:], n_q, n_k)

    def wanted(name, often=3):
        return draw(st.integers(0, often), label=name) == 0

    if wanted("mask", 2):
        options["mask"] = draw(_score_terms(rng, shape, hides=True))
    if wanted("bias"):
        options["bias"] = draw(_score_terms(rng, shape, hides=False))
    if wanted("key_lengths"):
        options["key_lengths"] = draw(_integers(rng, batch, 0, n_k))
    if wanted("softcap"):
        options["softcap"] = draw(st.sampled_from((0.5, 3.0, 30.0)))
    if wanted("scale"):
        options["scale"] = draw(st.sampled_from((1.0, 0.25, -0.5, 0.0)))
    if wanted("sinks"):
        options["sinks"] = _per_head(rng, heads, draw(st.booleans()))
    alibi, causal, window = wanted("alibi"), wanted("causal", 2), wanted("window")
    if alibi:
        options["alibi_slopes"] = _per_head(rng, heads, False) / 8
    if window:
        side = st.one_of(st.none(), st.integers(0, 6), st.integers(0, 200))
        options["window"] = draw(st.one_of(st.integers(0, 90), st.tuples(side, side)))
    if causal:
        options["causal"] = draw(st.sampled_from((True, *NAMED_CAUSAL)))
    if options.get("causal") == "lower_right":
        return options
    needs_offset = n_q != n_k and (alibi or window or causal) and options.get("causal") not in (
        NAMED_CAUSAL
    )  # fmt: skip
    if needs_offset or wanted("query_offset", 4):
        options["query_offset"] = draw(_integers(rng, batch, -n_q - 2, n_k + 2))
    return options


@st.composite
def _score_terms(draw, rng, shape, hides):
    """A mask or a bias that broadcasts to shape: any axis 1, leading axes absent."""
    axes = tuple(1 if draw(st.integers(0, 2)) == 0 else n for n in shape)
    axes = axes[draw(st.integers(0, len(axes))) :]
    kind = draw(st.sampled_from(("bool", *DTYPES))) if hides else draw(st.sampled_from(DTYPES))
    hidden = np.asarray(rng.random(axes)) < draw(st.sampled_from((0.0, 0.1, 0.5, 0.95)))
    if kind == "bool":
        x = ~hidden
    else:
        x = np.asarray(rng.standard_normal(axes)).astype(kind)
        if hides:
            x = np.where(hidden, np.array(-np.inf, kind), x)
    layout = draw(_layouts(x.dtype.kind in "bf"))
    if layout == "byte_swapped" and kind == "bool":
        layout = "spread"
    return in_layout(x, layout) if x.ndim else x


@st.composite
def _integers(draw, rng, batch, low, high):
    """One int, or integers of the batch shape or of a part of it."""
    if draw(st.booleans()):
        return draw(st.integers(low, high))
    axes = tuple(1 if draw(st.booleans()) else n for n in batch)
    return rng.integers(low, high + 1, axes[draw(st.integers(0, len(axes))) :])


def _per_head(rng, heads, with_none):
    n_heads = heads[-1] if heads else 1
    x = rng.standard_normal(n_heads)
    if with_none and n_heads:
        x[rng.integers(n_heads)] = -np.inf
    return x
