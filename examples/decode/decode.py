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
# # Decoding with a preallocated cache
#
# A model that writes adds one token at a time. Its keys and values stay as they are, so they are
# kept, and a step computes one row of attention for each head. Here four sequences with prompts of
# different lengths share one cache, and each step must give what full causal attention over the
# whole sequence gives for that token.

# %%
"""Decode token by token with a preallocated cache, and check every step."""

import numpy as np

import selfattn

HEADS, KV_HEADS, FEATURES = 8, 2, 64
PROMPT_LENGTHS = np.array([5, 12, 8, 3])
STEPS = 100


class Cache:
    """Keys and values of a batch, allocated once: (batch, heads, capacity, features)."""

    def __init__(self, batch, capacity):
        shape = (batch, KV_HEADS, capacity, FEATURES)
        # NaN shows that keys beyond the lengths are never read; np.empty would do.
        self.keys = np.full(shape, np.nan, np.float32)
        self.values = np.full(shape, np.nan, np.float32)
        self.lengths = np.zeros(batch, np.int64)

    def fill(self, keys, values, lengths):
        """Take the prompts, (batch, heads, tokens, features), padded behind `lengths`."""
        self.keys[:, :, : keys.shape[2]] = keys
        self.values[:, :, : values.shape[2]] = values
        self.lengths = lengths.copy()

    def append(self, keys, values):
        """Take one more token of each sequence, (batch, heads, features)."""
        entries = np.arange(len(self.lengths))
        self.keys[entries, :, self.lengths] = keys
        self.values[entries, :, self.lengths] = values
        self.lengths += 1

    def attend(self, query):
        """Let the queries of the last tokens, (batch, heads, tokens, features), look."""
        return selfattn.attention(
            query, self.keys, self.values, causal="lower_right", key_lengths=self.lengths
        )


# %% [markdown]
# In place of a model, the query, key and value of every token are drawn beforehand. Full causal
# attention over them is what the steps are compared with.

# %%
rng = np.random.default_rng(0)
batch, longest = len(PROMPT_LENGTHS), int(PROMPT_LENGTHS.max())
total = longest + STEPS
q = rng.standard_normal((batch, HEADS, total, FEATURES), dtype=np.float32)
k, v = rng.standard_normal((2, batch, KV_HEADS, total, FEATURES), dtype=np.float32)
expected = selfattn.attention(q, k, v, causal=True)

# %%
cache = Cache(batch, capacity=total)
cache.fill(k[:, :, :longest], v[:, :, :longest], PROMPT_LENGTHS)
entries, difference = np.arange(batch), 0.0
for _ in range(STEPS):
    now = cache.lengths.copy()
    cache.append(k[entries, :, now], v[entries, :, now])
    out = cache.attend(q[entries, :, now][:, :, np.newaxis])
    difference = max(difference, np.abs(out[:, :, 0] - expected[entries, :, now]).max())

print(f"{batch} sequences, prompts of {PROMPT_LENGTHS.tolist()} tokens, {STEPS} steps")
print(f"they end at {cache.lengths.tolist()} tokens, in a cache of {total}")
print("they differ from full causal attention by less than 1e-5:", difference < 1e-5)
assert difference < 1e-5
