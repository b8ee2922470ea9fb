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
# # RNN, CNN, self-attention, by number
#
# Articles on self-attention compare it with recurrent and convolutional networks in a table of four
# rows: how the computation runs, whether distant tokens reach each other, whether it can be
# interpreted, how fast it is. Here each row is measured: an LSTM layer, eight 1-D convolutions of
# three taps and a multi-head self-attention layer of one width, on the same input, forward only,
# with parameters as drawn and not trained. LSTM and convolutions run in ONNX Runtime
# ([models.py](models.py); `pip install '.[compare]'`).

# %%
"""An LSTM, convolutions and self-attention of one width: time, reach and what can be seen."""

import functools
import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

here = Path(__file__).parent if "__file__" in globals() else Path.cwd()
sys.path.insert(0, str(here))
plt.style.use(here.parent / "tools" / "pictures.mplstyle")

import models  # noqa: E402

rng = np.random.default_rng(0)
x = rng.standard_normal((100, models.WIDTH), dtype=np.float32)
layers = {name: make() for name, make in models.LAYERS.items()}
for name, layer in layers.items():
    y = layer(x)
    print(f"{name:15} {x.shape} -> {y.shape} {y.dtype}")
    assert y.shape == x.shape

# %% [markdown]
# ## Computation pattern and speed
#
# A recurrent layer needs the state of one token before it can begin with the next; convolutions and
# attention can work on all tokens at once. [measure.py](measure.py) timed the layers, 64 and 512
# wide, with one and with two threads, on two cores.

# %%
measured = json.loads((here / "measured.json").read_text(encoding="utf-8"))
times = {(p["layer"], p["width"], p["threads"], p["n"]): p["seconds"] for p in measured["points"]}
print(measured["machine"])
for width in models.HEADS:
    print(f"\n{width} wide, one thread, ms                            two threads: times as fast")
    print("tokens" + "".join(f"{name:>15}" for name in layers) * 2)
    for n in (n for name, w, threads, n in times if (name, w, threads) == ("LSTM", width, 1)):
        one = [times[name, width, 1, n] for name in layers]
        gain = [times[name, width, 1, n] / times[name, width, 2, n] for name in layers]
        row = "".join(f"{t * 1e3:15.3g}" for t in one) + "".join(f"{g:15.2f}" for g in gain)
        print(f"{n:6}{row}")

# %% [markdown]
# Three things to read from it:
#
# - *Growth.* LSTM and convolutions take time in proportion to the tokens; the products of all pairs
#   in self-attention grow with their square.
# - *So which is faster depends on length and width.* In floating-point operations an LSTM costs
#   16 n d², attention 8 n d² for its projections and 4 n² d for the pairs: it is the cheaper one
#   while n < 2 d. The step-by-step LSTM also makes poor use of a core.
# - *Threads.* The second thread helps attention and convolutions at any width. A narrow LSTM gains
#   nothing; a wide one does, inside of each step, whose product with 512 x 2048 numbers can be
#   shared.


# %%
def exponent(name):
    """e in time ~ n^e, over the longest inputs at width 64."""
    longest = [4096, 8192, 16384]
    seconds = [times[name, 64, 1, n] for n in longest]
    return float(np.polyfit(np.log(longest), np.log(seconds), 1)[0])


print("time ~ n^e from 4,096 tokens on:", {name: round(exponent(name), 1) for name in layers})
assert times["LSTM", 64, 1, 4096] / times["LSTM", 64, 2, 4096] < 1.2
assert times["LSTM", 512, 1, 4096] / times["LSTM", 512, 2, 4096] > 1.5
assert exponent("LSTM") < 1.2
assert exponent("CNN") < 1.2
assert exponent("self-attention") > 1.8
for width, longest in ((64, 128), (512, 2048)):
    lengths = sorted({n for _, w, _, n in times if w == width})
    ahead = [n for n in lengths if all(
        times["self-attention", width, 1, n] < times[name, width, 1, n] for name in ("LSTM", "CNN")
    )]  # fmt: skip
    print(f"{width} wide, self-attention takes the least time up to {ahead[-1]:,} tokens")
    assert ahead == lengths[: len(ahead)]
    assert ahead[-1] == longest

# %% [markdown]
# ## Long-range dependency
#
# Token 1 is replaced by another one: by how much does the output at the last token change, in parts
# of its size? Changes below 1e-6 are float32's rounding. Four more layers of the same kinds show
# what the parameters decide:
#
# - the LSTM with 1 and with 3 added to the bias of its forget gate, so that it forgets more slowly;
# - the convolutions with gaps of 1, 2, 4 … tokens between their taps (dilated);
# - an attention head that looks for tokens with the same first half of features, as trained heads
#   do; the last token has that half in common with token 1.

# %%
more = {
    "LSTM, forget + 1": models.lstm(forget_bias=1.0),
    "LSTM, forget + 3": models.lstm(forget_bias=3.0),
    "CNN, dilated": models.cnn(dilations=models.DILATED),
    "attention, looking up": models.lookup(),
}
distances = [2**i for i in range(4, 13)]
influence = {name: [] for name in layers | more}
for n in distances:
    x = rng.standard_normal((n, models.WIDTH), dtype=np.float32)
    x[-1, : models.WIDTH // 2] = x[0, : models.WIDTH // 2]
    other = x.copy()
    other[0] = rng.standard_normal(models.WIDTH)
    for name, layer in (layers | more).items():
        last = layer(x)[-1]
        change = np.linalg.norm(layer(other)[-1] - last) / np.linalg.norm(last)
        influence[name].append(change)
print("tokens               " + "".join(f"{n:>8}" for n in distances))
for name, changes in influence.items():
    shown = ["0" if c == 0 else "< 1e-6" if c < 1e-6 else f"{c:.1g}" for c in changes]
    print(f"{name:21}" + "".join(f"{text:>8}" for text in shown))

assert not any(influence["CNN"])
assert max(influence["LSTM"][1:]) < 1e-6
assert min(influence["self-attention"]) > 1e-3
assert min(influence["attention, looking up"]) > 0.3

# %% [markdown]
# ### How many convolutions it takes
#
# A NaN in token 1 marks everything that depends on it: without activations no layer can lose it.
# Layers are added until the mark arrives at token n. Eight features are enough to see it.


# %%
@functools.cache
def convolution(apart):
    return models.cnn(dilations=(apart,), relu=False, width=8)


def layers_needed(n, dilated):
    """The number of convolutions after which token n depends on token 1."""
    marked = np.zeros((n, 8), np.float32)
    marked[0] = np.nan
    count = 0
    while not np.isnan(marked[-1]).any():
        marked = convolution(2**count if dilated else 1)(marked)
        count += 1
    return count


print("tokens    plain    dilated    self-attention")
for n in (16, 64, 256, 1024, 4096):
    plain, dilated = layers_needed(n, False), layers_needed(n, True)
    print(f"{n:6} {plain:8} {dilated:10} {1:17}")
    assert plain == n - 1
    assert dilated == np.ceil(np.log2(n))

# %% [markdown]
# ## Interpretability
#
# Self-attention computes, for each output, how much of each token is in it, and hands that out. An
# LSTM and convolutions compute nothing of the kind.

# %%
x = rng.standard_normal((6, models.WIDTH), dtype=np.float32)
_, weights = models.attention()(x, return_weights=True)
print("weights", weights.shape, "each row sums to 1:", np.allclose(weights.sum(axis=-1), 1))
assert np.allclose(weights.sum(axis=-1), 1)

# %%
figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained", width_ratios=(3, 3, 4))
for axis, width in zip(axes, models.HEADS, strict=False):
    for name, colour in zip(layers, ("C1", "C2", "C0"), strict=True):
        for threads, style in ((1, "o-"), (2, "o:")):
            own = {
                n: t
                for (layer, w, k, n), t in times.items()
                if (layer, w, k) == (name, width, threads)
            }
            label = name if threads == 1 else None
            axis.loglog(own.keys(), own.values(), style, ms=3, color=colour, label=label)
    axis.set(title=f"time, {width} wide", xlabel="tokens", ylabel="seconds")
axes[0].legend()
axes[1].plot([], [], "-", color="#808080", label="one thread")
axes[1].plot([], [], ":", color="#808080", label="two")
axes[1].legend(handles=axes[1].lines[-2:])
right = axes[2]
styles = ("C1-", "C2-", "C0-", "C1--", "C1:", "C2--", "C0--")
for (name, changes), style in zip(influence.items(), styles, strict=True):
    right.loglog(distances, np.maximum(changes, 1e-7), style, label=name)
right.axhspan(1e-7, 1e-6, color="#808080", alpha=0.2, lw=0)
right.text(4096, 3e-7, "nothing, or rounding", ha="right")
right.set(title="influence of token 1 on token n", xlabel="n", ylabel="relative change")
right.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
figure.savefig(here / "compared.svg", metadata={"Date": None})
