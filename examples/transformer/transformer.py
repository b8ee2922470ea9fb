# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A Transformer small enough to read
#
# The encoder and the decoder of "Attention Is All You Need" in NumPy on top of `selfattn`:
# [encoder.py](encoder.py) and [decoder.py](decoder.py), under 150 lines each. Here they are
# given the parameters of PyTorch's `TransformerEncoder` and `TransformerDecoder` and must return
# PyTorch's numbers, which are stored in `torch_layers.npz` (PyTorch itself is not needed;
# [make_torch_layers.py](make_torch_layers.py) made the file).

# %%
"""The Transformer of encoder.py and decoder.py beside PyTorch's numbers."""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

here = Path(__file__).parent if "__file__" in globals() else Path.cwd()
sys.path.insert(0, str(here))
plt.style.use(here.parent / "tools" / "pictures.mplstyle")

from decoder import Decoder, generate  # noqa: E402
from encoder import Encoder, embed, part  # noqa: E402

with np.load(here / "torch_layers.npz") as file:
    numbers = dict(file)
x, memory = numbers["x"], numbers["memory"]
lengths = np.array([8, 5])  # the second sequence of the memory ends in three tokens of padding
print(f"targets {x.shape}, source {memory.shape} (batch, tokens, features)")

# %% [markdown]
# ## The encoder
#
# Two layers, four heads. A layer is self-attention and a feed-forward network, each around a
# residual connection; post-norm normalises after the sum, pre-norm before the bracket.
# `key_lengths` hides the padding.

# %%
for norm in ("post", "pre"):
    name = f"encoder, {norm}-norm"
    encoder = Encoder.from_torch(part(numbers, f"{name}/state/"), 4, pre_norm=norm == "pre")
    out = encoder(memory, key_lengths=lengths)
    seen = np.arange(8) < lengths[:, None]  # what becomes of padding itself does not matter
    difference = np.abs(out - numbers[f"{name}/out"])[seen].max()
    print(f"{name:20} largest difference from PyTorch {difference:.1e}")
    assert difference < 1e-12

# %% [markdown]
# ## The decoder
#
# Each layer first looks at the targets so far (`causal=True`), then at the memory.

# %%
for norm in ("post", "pre"):
    name = f"decoder, {norm}-norm"
    decoder = Decoder.from_torch(part(numbers, f"{name}/state/"), 4, pre_norm=norm == "pre")
    difference = np.abs(decoder(x, memory, lengths) - numbers[f"{name}/out"]).max()
    print(f"{name:20} largest difference from PyTorch {difference:.1e}")
    assert difference < 1e-12

# %% [markdown]
# Causal means that no token can depend on a later one: with the last token replaced by NaN, the
# attention of all others keeps every bit.

# %%
spoiled = x.copy()
spoiled[:, -1] = np.nan
layer = decoder.layers[0]
same = np.array_equal(
    layer.attention(spoiled, causal=True)[:, :-1], layer.attention(x, causal=True)[:, :-1]
)
print("the past keeps its bits:", same)
assert same

# %% [markdown]
# ## From tokens to tokens
#
# With an embedding table in front and a readout behind, the pair writes: here with random
# parameters, so what it writes means nothing. Every token is the likeliest one after those before
# it, which a single pass over the whole sequence confirms.

# %%
rng = np.random.default_rng(0)
table, readout = rng.standard_normal((30, 16)), rng.standard_normal((16, 30))
source = rng.integers(30, size=8)
memory_of_source = encoder(embed(source, table))
written = generate(decoder, memory_of_source, table, readout, start=0, n=10)
print("source ", source.tolist())
print("written", written)

again = decoder(embed(np.array([0, *written[:-1]]), table), memory_of_source) @ readout
assert again.argmax(axis=-1).tolist() == written

# %% [markdown]
# ## Where they look
#
# The weights of the first head: the encoder's tokens see each other, the decoder's see their past
# (the upper right is 0) and all of the memory.

# %%
past, cross = layer.weights(x[0], memory[0])
maps = {
    "encoder": encoder.layers[0].weights(memory[0])[0],
    "decoder, past": past[0],
    "decoder, memory": cross[0],
}
figure, axes = plt.subplots(1, 3, figsize=(8, 2.8), layout="constrained")
for axis, (title, weights) in zip(axes, maps.items(), strict=True):
    axis.imshow(weights, vmin=0, cmap="viridis")
    axis.set(title=title, xlabel="looked at", ylabel="token")
figure.savefig(here / "weights.svg", metadata={"Date": None})
