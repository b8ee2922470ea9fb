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
# # What attention costs
#
# Every token looks at every token: n² pairs, each with a product of d numbers for its score and
# another for its share of the sum. So the time is O(n² d), and nothing changes that as long as
# the weights are exact. The memory is another matter: n² weights only have to be kept if somebody
# wants to see them.
#
# Times and memory below were measured by [measure.py](measure.py) and lie in `measured.json`:
# one head of d = 64, float32, one thread, from 64 to 65,536 tokens. A method that holds the n x n
# matrix was measured up to 2 GiB; beyond, its line is arithmetic and dashed.

# %%
"""Time and memory of attention from 64 to 65,536 tokens, beside what `estimate` predicts."""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import selfattn

here = Path(__file__).parent if "__file__" in globals() else Path.cwd()
sys.path.insert(0, str(here))
plt.style.use(here.parent / "tools" / "pictures.mplstyle")

from measure import METHODS, TOKENS, estimate, in_own_process  # noqa: E402

MIB = 2**20
measured = json.loads((here / "measured.json").read_text(encoding="utf-8"))
points = {(p["method"], p["n"], p["d"]): p for p in measured["points"]}
print(measured["machine"])

# %% [markdown]
# ## Time
#
# `selfattn.estimate` counts the work before it is done. Its time is a prediction from two
# measured rates, multiply-adds in registers and reading memory.


# %%
def shown(seconds):
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


print("                            without weights        with weights           NumPy,")
print("tokens         pairs     predicted  measured   predicted  measured   n x n")
for n in TOKENS:
    cost = estimate("selfattn", n, 64, peak=1e11, bandwidth=1e10)
    assert cost.pairs == n * n
    assert cost.flops == 4 * n * n * 64
    row = f"{n:6} {cost.pairs:13,}  "
    for method in METHODS:
        point = points.get((method, n, 64))
        if method != "NumPy, n x n":
            row += f"{shown(point['predicted_seconds']) if point else '-':>12}"
            assert not point or 0.5 < point["seconds"] / point["predicted_seconds"] < 2
        row += f"{shown(point['seconds']) if point else '-':>10}"
    print(row)
fastest = max(4 * n * n * 64 / points["selfattn", n, 64]["seconds"] for n in TOKENS)
print(f"at most {fastest / 1e9:.1f} GFLOP/s; 4 n^2 d operations, the exponentials not counted")

# %% [markdown]
# Twice the tokens cost four times the time: the slope in a picture with logarithmic axes. The other
# factor is the head size d.

# %%
long = [n for n in TOKENS if n >= 2048]
seconds = [points["selfattn", n, 64]["seconds"] for n in long]
slope = np.polyfit(np.log(long), np.log(seconds), 1)[0]
print(f"time ~ n^{slope:.2f} from {long[0]:,} tokens on")
assert abs(slope - 2) < 0.15

widths = sorted(d for method, n, d in points if (method, n) == ("selfattn", 4096))
print("\n4,096 tokens")
for d in widths:
    seconds = points["selfattn", 4096, d]["seconds"]
    print(f"d = {d:3}   {seconds * 1e3:6.0f} ms, {seconds / d * 1e3:.2f} ms per feature")
    assert 0.75 < (seconds / d) / (points["selfattn", 4096, 64]["seconds"] / 64) < 1.25

# %% [markdown]
# The smallest heads pay more for a feature: a pair's exponential costs the same whatever d is.
#
# ## Memory
#
# The peak of the process above what it had before the call.

# %%
print("tokens  " + "".join(f"{method:>26}" for method in METHODS))
for n in TOKENS:
    row = f"{n:6}  "
    for method in METHODS:
        point = points.get((method, n, 64))
        cost = estimate(method, n, 64, peak=1e11, bandwidth=1e10)
        expected = cost.dense_memory if method == "NumPy, n x n" else cost.memory
        shown = f"{point['memory'] / MIB:.1f}" if point else "-"
        row += f"{shown:>13} ({expected / MIB:8.1f})"
        if point:  # pages and the interpreter's own: a few MiB
            assert abs(point["memory"] - expected) < 0.05 * expected + 4 * MIB
    print(row)
print("\nMiB measured (and predicted)")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
for method, colour in zip(METHODS, ("C0", "C2", "C1"), strict=True):
    here_measured = [n for n in TOKENS if (method, n, 64) in points]
    beyond = TOKENS[len(here_measured) - 1 :]
    own = [points[method, n, 64] for n in here_measured]
    costs = [estimate(method, n, 64, peak=1e11, bandwidth=1e10) for n in TOKENS]
    bytes_ = [c.dense_memory if method == "NumPy, n x n" else c.memory for c in costs]
    left.loglog(here_measured, [p["seconds"] for p in own], "o-", ms=3, color=colour, label=method)
    last = own[-1]["seconds"]
    left.loglog(beyond, [last * (n / beyond[0]) ** 2 for n in beyond], "--", color=colour)
    memory = [max(b / MIB, 0.01) for b in bytes_]
    right.loglog(here_measured, memory[: len(own)], color=colour, label=method)
    right.loglog(beyond, memory[len(own) - 1 :], "--", color=colour)
    right.loglog(
        here_measured, [max(p["memory"] / MIB, 0.01) for p in own], "o", ms=3, color=colour
    )
predicted = [points["selfattn", n, 64]["predicted_seconds"] for n in TOKENS]
left.loglog(TOKENS, predicted, ":", color="C3", label="selfattn, predicted")
right.axhline(2048, color="C3", lw=0.8, ls=":")
right.text(64, 2048 * 1.15, "2 GiB", color="C3")
left.set(title="time of a call", xlabel="tokens", ylabel="seconds")
right.set(title="memory: measured (dots), predicted (lines)", xlabel="tokens", ylabel="MiB")
left.legend()
right.legend(loc="lower right")
figure.savefig(here / "cost.svg", metadata={"Date": None})

# %% [markdown]
# At 65,536 tokens the n x n matrix takes 16 GiB for each head; without it the call needs its result
# of 16 MiB and a little scratch memory, which does not grow. Time is saved as well: what is not
# written need not be read again.
#
# ## Here and now
#
# The same measurement once more on this machine, for one length: without weights a few MiB, with
# weights the 256 MiB of the matrix.

# %%
if sys.platform == "linux":  # where a process can ask for its own peak
    n = 8192
    without, with_weights = (in_own_process(m, n, 64)["memory"] for m in METHODS[:2])
    print("without weights less than 32 MiB:", without < 32 * MIB)
    print("with weights at least the matrix:", with_weights >= 4 * n * n)
    assert without < 32 * MIB
    assert with_weights >= 4 * n * n

# %% [markdown]
# Where time matters more than looking at everything, look at less: `window=` makes it O(n w d).

# %%
whole, near = (
    selfattn.estimate((65536, 64), causal=True, window=w, peak=1e11, bandwidth=1e10, num_threads=1)
    for w in (None, (1023, 0))
)
print(f"pairs: causal {whole.pairs:,}, and at most 1,024 back {near.pairs:,}")
assert near.pairs < whole.pairs / 30
