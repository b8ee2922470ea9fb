"""Layers and inputs whose results tests/data/make_layer.py took from PyTorch: made from a formula,
so that only results are stored."""

from dataclasses import dataclass

import numpy as np


def numbers(shape, seed, bound=1.0):
    """float64 numbers spread over [-bound / 2, bound / 2), the same on every machine: integer
    arithmetic modulo 2**32, then one division."""
    i = np.arange(np.prod(shape, dtype=int), dtype=np.uint64)
    mixed = (i * i * np.uint64(2654435761) + i * np.uint64(40503 + 2 * seed)) >> np.uint64(3)
    mixed = (mixed ^ (mixed >> np.uint64(11))) % np.uint64(2**32)
    return (bound * (mixed / 2**32 - 0.5)).reshape(shape)


@dataclass(frozen=True)
class LayerCase:
    """One layer and one call; n_k None: self-attention. mask: "", "bool", "padding" (per batch
    entry), "float" or "causal"."""

    name: str
    embed: int
    heads: int
    n_q: int
    n_k: int | None = None
    kdim: int | None = None
    vdim: int | None = None
    bias: bool = True
    batch: int = 2
    mask: str = ""

    @property
    def is_stacked(self):
        return self.kdim in (None, self.embed) and self.vdim in (None, self.embed)

    def state(self):
        """The parameters under PyTorch's names, of a size that gives scores around 1."""
        e, bound = self.embed, 4 * self.embed**-0.5
        state = {"out_proj.weight": numbers((e, e), 4, bound)}
        widths = (e, self.kdim or e, self.vdim or e)
        parts = [numbers((e, n), seed, bound) for seed, n in enumerate(widths)]
        if self.is_stacked:
            state["in_proj_weight"] = np.concatenate(parts)
        else:
            state |= dict(
                zip(("q_proj_weight", "k_proj_weight", "v_proj_weight"), parts, strict=True)
            )
        if self.bias:
            state["in_proj_bias"] = numbers(3 * e, 5)
            state["out_proj.bias"] = numbers(e, 6)
        return state

    def inputs(self):
        """query, or query, key and value."""
        query = numbers((self.batch, self.n_q, self.embed), 7, 4.0)
        if self.n_k is None:
            return (query,)
        return (
            query,
            numbers((self.batch, self.n_k, self.kdim or self.embed), 8, 4.0),
            numbers((self.batch, self.n_k, self.vdim or self.embed), 9, 4.0),
        )

    def array_mask(self):
        """selfattn's mask (True = may look), None for "causal" and ""."""
        n_k = self.n_k or self.n_q
        if self.mask == "bool":
            mask = numbers((self.n_q, n_k), 10) < 0.2
            mask[:, 0] = True
            return mask
        if self.mask == "padding":
            lengths = n_k - np.arange(self.batch)
            return (np.arange(n_k) < lengths[:, None])[:, None, None, :]
        if self.mask == "float":
            return numbers((self.batch, self.heads, self.n_q, n_k), 11, 3.0)
        return None


CASES = (
    LayerCase("d_model 512, 8 heads", 512, 8, 12),
    LayerCase("d_model 512, 8 heads, causal", 512, 8, 10, mask="causal"),
    LayerCase("one head", 12, 1, 5),
    LayerCase("no bias", 24, 4, 9, bias=False),
    LayerCase("cross-attention", 24, 3, 5, n_k=8),
    LayerCase("keys and values of other sizes", 24, 4, 6, n_k=7, kdim=10, vdim=17),
    LayerCase("bool mask", 16, 2, 7, mask="bool"),
    LayerCase("padding", 16, 2, 7, batch=3, mask="padding"),
    LayerCase("float mask", 16, 4, 6, mask="float"),
    LayerCase("many tokens", 16, 2, 70, batch=1),
)

# An article's three tokens with three features, and what it calls W_q, W_k and W_v.
ARTICLE_X = np.array([[1, 0, 1], [0, 1, 0], [1, 1, 1]])
ARTICLE_W = tuple(numbers((3, 3), 20 + seed, 2.0) for seed in range(3))
