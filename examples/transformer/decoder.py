"""A causal Transformer decoder with cross-attention in NumPy on selfattn, small enough to read.

    post-norm   y = norm(y + attention(y, y, y; causal))
                y = norm(y + attention(y, memory, memory))
                y = norm(y + feed_forward(y))
    pre-norm    the same with norm(y) inside each bracket and none outside

`memory` is what an encoder made of the source. Parameters have the names that
torch.nn.TransformerDecoderLayer gives them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from encoder import FeedForward, Norm, embed, part
from numpy.typing import NDArray

import selfattn

Array = NDArray[Any]


@dataclass
class DecoderLayer:
    """Causal self-attention, attention to the memory, and a feed-forward network."""

    attention: selfattn.MultiHeadAttention
    cross_attention: selfattn.MultiHeadAttention
    feed_forward: FeedForward
    norm_1: Norm
    norm_2: Norm
    norm_3: Norm
    pre_norm: bool = False

    @classmethod
    def from_torch(
        cls, state: Mapping[str, Array], num_heads: int, pre_norm: bool = False
    ) -> DecoderLayer:
        """From the state_dict of a torch.nn.TransformerDecoderLayer (norm_first is pre_norm)."""
        read = selfattn.MultiHeadAttention.from_torch
        return cls(
            read(part(state, "self_attn."), num_heads=num_heads),
            read(part(state, "multihead_attn."), num_heads=num_heads),
            FeedForward.from_torch(state),
            *(Norm(**part(state, f"norm{i}.")) for i in (1, 2, 3)),
            pre_norm=pre_norm,
        )

    def __call__(self, y: Array, memory: Array, memory_lengths: Array | None = None) -> Array:
        """y (..., n, d_model) looks at its own past and at memory (..., m, d_model), of which the
        first memory_lengths tokens are no padding."""

        def past(y: Array) -> Array:
            return np.asarray(self.attention(y, causal=True))

        def source(y: Array) -> Array:
            return np.asarray(self.cross_attention(y, memory, key_lengths=memory_lengths))

        if self.pre_norm:
            y = y + past(self.norm_1(y))
            y = y + source(self.norm_2(y))
            return y + self.feed_forward(self.norm_3(y))
        y = self.norm_1(y + past(y))
        y = self.norm_2(y + source(y))
        return self.norm_3(y + self.feed_forward(y))

    def weights(self, y: Array, memory: Array) -> tuple[Array, Array]:
        """Where y looks: at its past (..., heads, n, n) and at the memory (..., heads, n, m)."""
        seen = self.norm_1(y) if self.pre_norm else y
        out, past = self.attention(seen, causal=True, return_weights=True)
        seen = self.norm_2(y + out) if self.pre_norm else self.norm_1(y + out)
        _, source = self.cross_attention(seen, memory, return_weights=True)
        return past, source


@dataclass
class Decoder:
    """Layers one after another; a pre-norm stack ends with one more normalisation."""

    layers: list[DecoderLayer]
    norm: Norm | None = None

    @classmethod
    def from_torch(
        cls, state: Mapping[str, Array], num_heads: int, pre_norm: bool = False
    ) -> Decoder:
        """From the state_dict of a torch.nn.TransformerDecoder."""
        count = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("layers."))
        return cls(
            [
                DecoderLayer.from_torch(part(state, f"layers.{i}."), num_heads, pre_norm)
                for i in range(count)
            ],
            Norm(**part(state, "norm.")) if "norm.weight" in state else None,
        )

    def __call__(self, y: Array, memory: Array, memory_lengths: Array | None = None) -> Array:
        """Embedded targets (..., n, d_model), positions already added."""
        for layer in self.layers:
            y = layer(y, memory, memory_lengths)
        return y if self.norm is None else self.norm(y)


def generate(
    decoder: Decoder, memory: Array, table: Array, readout: Array, start: int, n: int
) -> list[int]:
    """n tokens, each the likeliest after those before it.

    table (m, d_model) embeds a token; readout (d_model, m) gives a token's score, in the paper the
    transposed table (section 3.4). Every step computes the whole prefix again, which is the
    shortest way to write it; examples/decode shows the cache that spares that.
    """
    tokens = [start]
    for _ in range(n):
        y = decoder(embed(np.array(tokens), table), memory)
        tokens.append(int(np.argmax(y[-1] @ readout)))
    return tokens[1:]
