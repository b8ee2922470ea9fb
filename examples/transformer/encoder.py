"""A Transformer encoder in NumPy on selfattn, small enough to read.

    post-norm   x = norm(x + attention(x));          x = norm(x + feed_forward(x))
    pre-norm    x = x + attention(norm(x));          x = x + feed_forward(norm(x))

The first is the paper's ("Attention Is All You Need", section 3.1), the second what most models do
since, as it trains without a warm-up (Xiong et al., arXiv:2002.04745). Parameters have the names
that torch.nn.TransformerEncoderLayer gives them, so a trained layer's state_dict can be loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import selfattn

Array = NDArray[Any]


def part(state: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    """The entries of a state_dict under a prefix, without it."""
    return {name[len(prefix) :]: x for name, x in state.items() if name.startswith(prefix)}


@dataclass
class Norm:
    """Layer normalisation with its scale and shift, each (d_model,)."""

    weight: Array
    bias: Array

    def __call__(self, x: Array) -> Array:
        return selfattn.layer_norm(x, self.weight, self.bias)


@dataclass
class FeedForward:
    """relu(x W1 + b1) W2 + b2, for each token by itself."""

    w_1: Array  # (d_model, d_hidden)
    b_1: Array
    w_2: Array  # (d_hidden, d_model)
    b_2: Array

    @classmethod
    def from_torch(cls, state: Mapping[str, Array]) -> FeedForward:
        return cls(
            state["linear1.weight"].T,
            state["linear1.bias"],
            state["linear2.weight"].T,
            state["linear2.bias"],
        )

    def __call__(self, x: Array) -> Array:
        return np.maximum(x @ self.w_1 + self.b_1, 0) @ self.w_2 + self.b_2


@dataclass
class EncoderLayer:
    """Self-attention and a feed-forward network, each around a residual connection."""

    attention: selfattn.MultiHeadAttention
    feed_forward: FeedForward
    norm_1: Norm
    norm_2: Norm
    pre_norm: bool = False

    @classmethod
    def from_torch(
        cls, state: Mapping[str, Array], num_heads: int, pre_norm: bool = False
    ) -> EncoderLayer:
        """From the state_dict of a torch.nn.TransformerEncoderLayer (norm_first is pre_norm)."""
        return cls(
            selfattn.MultiHeadAttention.from_torch(part(state, "self_attn."), num_heads=num_heads),
            FeedForward.from_torch(state),
            Norm(**part(state, "norm1.")),
            Norm(**part(state, "norm2.")),
            pre_norm,
        )

    def __call__(self, x: Array, **masking: Any) -> Array:
        """x (..., n, d_model); `masking` is what hides tokens: mask, key_lengths, window ..."""
        if self.pre_norm:
            x = x + self.attention(self.norm_1(x), **masking)
            return x + self.feed_forward(self.norm_2(x))
        x = self.norm_1(x + self.attention(x, **masking))
        return self.norm_2(x + self.feed_forward(x))

    def weights(self, x: Array, **masking: Any) -> Array:
        """How much each token looks at each other one, (..., heads, n, n)."""
        seen = self.norm_1(x) if self.pre_norm else x
        _, weights = self.attention(seen, **masking, return_weights=True)
        return np.asarray(weights)


@dataclass
class Encoder:
    """Layers one after another; a pre-norm stack ends with one more normalisation."""

    layers: list[EncoderLayer]
    norm: Norm | None = None

    @classmethod
    def from_torch(
        cls, state: Mapping[str, Array], num_heads: int, pre_norm: bool = False
    ) -> Encoder:
        """From the state_dict of a torch.nn.TransformerEncoder."""
        count = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("layers."))
        return cls(
            [
                EncoderLayer.from_torch(part(state, f"layers.{i}."), num_heads, pre_norm)
                for i in range(count)
            ],
            Norm(**part(state, "norm.")) if "norm.weight" in state else None,
        )

    def __call__(self, x: Array, **masking: Any) -> Array:
        """Embedded tokens (..., n, d_model), positions already added."""
        for layer in self.layers:
            x = layer(x, **masking)
        return x if self.norm is None else self.norm(x)


def embed(tokens: Array, table: Array) -> Array:
    """Rows of the embedding table times sqrt(d_model), plus the positions' sines (section 3.4)."""
    n, d_model = tokens.shape[-1], table.shape[-1]
    x = table[tokens] * np.sqrt(d_model)
    return np.asarray(x + selfattn.positional.sinusoidal(n, d_model), table.dtype)
