"""The named problems of the benchmark and the sets they form.

A case is data only: sizes, element type, options. What they cost is counted in `_bench_problem`.
Names start with the regime they stand for, so that ``--only 'decode-*'`` picks a whole regime.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

__all__ = ["CASES", "SETS", "Case", "Gemm", "Layer"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One call of attention.

    `heads` query heads read `kv_heads` key heads. `mask` is one of ``"bool"`` (one key in ten
    hidden at random), ``"true"`` (all visible) and ``"float"``. `layout` ``"bnhd"`` keeps the
    heads inside the tokens, so that rows are strided. `twin` names the case whose time this one's
    is divided by in the table.
    """

    name: str
    batch: int
    heads: int
    kv_heads: int
    n_q: int
    n_k: int
    d: int
    dtype: str = "float32"
    weights: bool = False
    causal: str = ""
    window: tuple[int, int] | None = None
    key_length: int | None = None
    mask: str = ""
    alibi: bool = False
    softcap: float | None = None
    layout: str = "bhnd"
    twin: str = ""

    @property
    def group(self) -> int:
        """Query heads that share one key head."""
        return self.heads // self.kv_heads

    @property
    def shape(self) -> str:
        """Sizes as ``batch x heads x tokens x d``; ``32/8`` heads are 32 on 8 key heads."""
        heads = f"{self.heads}" if self.group == 1 else f"{self.heads}/{self.kv_heads}"
        tokens = f"{self.n_q}" if self.n_q == self.n_k else f"{self.n_q}:{self.n_k}"
        return f"{self.batch}x{heads}x{tokens}x{self.d}"


@dataclass(frozen=True)
class Gemm:
    """A yardstick: the product of two n x n matrices by the best library of each peer."""

    name: str
    n: int
    dtype: str = "float32"

    @property
    def shape(self) -> str:
        """The size as ``n x n x n``."""
        return f"{self.n}x{self.n}x{self.n}"


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One call of the layer, projections included, on one sequence.

    `weights` is ``""``, ``"mean"`` (averaged over heads, as PyTorch's layer does by default) or
    ``"heads"``.
    """

    name: str
    embed: int
    heads: int
    n: int
    weights: str = ""
    dtype: str = "float32"
    twin: str = ""

    @property
    def shape(self) -> str:
        """Sizes as ``tokens x features, heads``."""
        return f"{self.n}x{self.embed}, {self.heads} heads"


def _case(name: str, batch: int, heads: int, n: int, d: int, **options: Any) -> Case:
    """A square problem; options replace sizes where it is not."""
    sizes = {"batch": batch, "heads": heads, "kv_heads": heads, "n_q": n, "n_k": n, "d": d}
    return Case(name=name, **(sizes | options))


_masked = functools.partial(_case, batch=1, heads=8, n=2048, d=64)
_cache = functools.partial(_case, batch=1, heads=32, kv_heads=8, n=4096, d=128, n_q=1)


def _layers() -> tuple[Layer, ...]:
    """Heads of 64 features; with and without weights."""
    return tuple(
        Layer(
            name=f"layer-{embed}-{n}" + (f"-{weights}" if weights else ""),
            embed=embed,
            heads=embed // 64,
            n=n,
            weights=weights,
            twin=f"layer-{embed}-{n}" if weights else "",
        )
        for embed in (64, 256, 512, 1024)
        for n in (10, 128, 512, 2048)
        for weights in ("", "mean", "heads")
    )


def _growth() -> tuple[Case, ...]:
    """One size grows, the others stay."""
    return (
        *(_case(f"growth-n-{n}", 1, 1, n, 64) for n in (2**power for power in range(6, 17))),
        *(_case(f"growth-d-{d}", 1, 1, 4096, d) for d in (16, 32, 64, 128, 256)),
        *(_case(f"growth-heads-{heads}", 1, heads, 1024, 64) for heads in (1, 2, 4, 8, 16, 32)),
    )


_ALL: tuple[Case | Gemm, ...] = (
    Gemm("sgemm-2048", 2048),
    # Tiny: all overhead.
    _case("tiny-3x3", 1, 1, 3, 3),
    _case("tiny-3x3-weights", 1, 1, 3, 3, weights=True),
    _case("tiny-10x64", 1, 1, 10, 64),
    _case("tiny-16x64", 1, 8, 16, 64),
    _case("tiny-batch", 32, 4, 16, 16),
    # Short: a sentence, an image of patches.
    _case("short-128-d32", 1, 12, 128, 32),
    _case("short-128", 1, 12, 128, 64),
    _case("short-128-batch", 8, 12, 128, 64),
    _case("short-197", 1, 12, 197, 64),
    _case("short-512", 1, 12, 512, 64),
    _case("short-512-causal", 1, 12, 512, 64, causal="upper_left", twin="short-512"),
    # Long: all arithmetic.
    _case("long-1024", 1, 8, 1024, 64),
    _case("long-4096", 1, 8, 4096, 64),
    _case("long-4096-d128", 1, 8, 4096, 128),
    _case("long-16384", 1, 1, 16384, 64),
    _case("causal-4096", 1, 8, 4096, 64, causal="upper_left", twin="long-4096"),
    _case("causal-2048-d128", 1, 8, 2048, 128, causal="upper_left"),
    _case("causal-2048-gqa", 1, 32, 2048, 128, causal="upper_left", kv_heads=8),
    # Decode: the newest tokens on a cache of keys; all reading.
    _case("decode-512", 1, 8, 512, 64, n_q=1),
    _cache("decode-4096"),
    _cache("decode-32768", n_k=32768),
    _cache("decode-131072", heads=1, kv_heads=1, n_k=131072),
    _cache("decode-4096-bf16", dtype="bfloat16", twin="decode-4096"),
    _cache("decode-32768-bf16", n_k=32768, dtype="bfloat16", twin="decode-32768"),
    *(
        _cache(f"decode-4096-q{n_q}", n_q=n_q, causal="lower_right", twin="decode-4096")
        for n_q in (2, 4, 8, 16)
    ),
    # Weights returned: all writing.
    _case("weights-128", 1, 12, 128, 64, weights=True, twin="short-128"),
    _case("weights-1024", 1, 8, 1024, 64, weights=True, twin="long-1024"),
    _case("weights-4096", 1, 8, 4096, 64, weights=True, twin="long-4096"),
    _case("weights-16384", 1, 1, 16384, 64, weights=True, twin="long-16384"),
    # Other element types.
    _case("float64-1024", 1, 8, 1024, 64, dtype="float64", twin="long-1024"),
    _masked("float16-2048", dtype="float16", twin="mask-none"),
    _masked("bfloat16-2048", dtype="bfloat16", twin="mask-none"),
    # What hides keys or changes scores.
    _masked("mask-none"),
    _masked("mask-bool", mask="bool", twin="mask-none"),
    _masked("mask-true", mask="true", twin="mask-none"),
    _masked("mask-float", mask="float", twin="mask-none"),
    _masked("mask-window", window=(255, 0), twin="mask-none"),
    _masked("mask-lengths", key_length=1500, twin="mask-none"),
    _masked("mask-alibi", alibi=True, twin="mask-none"),
    _masked("mask-softcap", softcap=30.0, twin="mask-none"),
    _case("window-16384", 1, 1, 16384, 64, window=(255, 0), twin="long-16384"),
    # Heads inside the tokens: rows 2 KB and 8 KB apart.
    _case("strided-2048", 1, 8, 2048, 64, layout="bnhd", twin="mask-none"),
    _case("long-2048-d128", 1, 16, 2048, 128),
    _case("strided-2048-d128", 1, 16, 2048, 128, layout="bnhd", twin="long-2048-d128"),
)

_GROWTH = _growth()
_LAYERS = _layers()

CASES: dict[str, Case | Gemm | Layer] = {case.name: case for case in (*_ALL, *_GROWTH, *_LAYERS)}

_QUICK = """
    sgemm-2048 tiny-3x3 tiny-10x64 short-128 short-512-causal long-1024 decode-4096 weights-1024
"""
_MAIN = """
    sgemm-2048 tiny-3x3 tiny-3x3-weights tiny-10x64 tiny-16x64 short-128 short-512 short-512-causal
    long-1024 long-4096 causal-4096 long-4096-d128 decode-512 decode-4096 weights-128 weights-1024
    weights-4096 float64-1024 mask-none mask-bool float16-2048
"""

SETS: dict[str, tuple[str, ...]] = {
    "quick": tuple(_QUICK.split()),
    "main": tuple(_MAIN.split()),
    "full": tuple(case.name for case in _ALL),
    "growth": tuple(case.name for case in _GROWTH),
    "layer": tuple(case.name for case in _LAYERS),
}
