"""Decode token by token with a preallocated cache, and check every step.

    python examples/decode.py

Four sequences with prompts of different lengths share one cache. A step appends one key and value
to each sequence and lets its query look at all keys so far. The result must be what full causal
attention over the whole sequence gives for that token.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

import selfattn

Array = NDArray[Any]

HEADS, KV_HEADS, FEATURES = 8, 2, 64
PROMPT_LENGTHS = np.array([5, 12, 8, 3])
STEPS = 100


class Cache:
    """Keys and values of a batch, allocated once: (batch, heads, capacity, features)."""

    def __init__(self, batch: int, capacity: int) -> None:
        shape = (batch, KV_HEADS, capacity, FEATURES)
        # NaN shows that keys beyond the lengths are never read; np.empty would do.
        self.keys = np.full(shape, np.nan, np.float32)
        self.values = np.full(shape, np.nan, np.float32)
        self.lengths = np.zeros(batch, np.int64)

    def fill(self, keys: Array, values: Array, lengths: Array) -> None:
        """Take the prompts, (batch, heads, tokens, features), padded behind `lengths`."""
        self.keys[:, :, : keys.shape[2]] = keys
        self.values[:, :, : values.shape[2]] = values
        self.lengths = lengths.copy()

    def append(self, keys: Array, values: Array) -> None:
        """Take one more token of each sequence, (batch, heads, features)."""
        entries = np.arange(len(self.lengths))
        self.keys[entries, :, self.lengths] = keys
        self.values[entries, :, self.lengths] = values
        self.lengths += 1

    def attend(self, query: Array) -> Array:
        """Let the queries of the last tokens, (batch, heads, tokens, features), look."""
        return selfattn.attention(
            query, self.keys, self.values, causal="lower_right", key_lengths=self.lengths
        )


def main() -> None:
    rng = np.random.default_rng(0)
    batch, total = len(PROMPT_LENGTHS), int(PROMPT_LENGTHS.max()) + STEPS
    # Stands in for a model: the query, key and value of every token are known beforehand.
    q = rng.standard_normal((batch, HEADS, total, FEATURES), dtype=np.float32)
    k, v = rng.standard_normal((2, batch, KV_HEADS, total, FEATURES), dtype=np.float32)
    expected = selfattn.attention(q, k, v, causal=True)

    cache = Cache(batch, capacity=total)
    longest = int(PROMPT_LENGTHS.max())
    cache.fill(k[:, :, :longest], v[:, :, :longest], PROMPT_LENGTHS)

    entries, difference, seconds = np.arange(batch), 0.0, 0.0
    for _ in range(STEPS):
        now = cache.lengths.copy()
        cache.append(k[entries, :, now], v[entries, :, now])
        start = time.perf_counter()
        out = cache.attend(q[entries, :, now][:, :, np.newaxis])
        seconds += time.perf_counter() - start
        difference = max(difference, np.abs(out[:, :, 0] - expected[entries, :, now]).max())

    print(f"{batch} sequences, prompts of {PROMPT_LENGTHS.tolist()} tokens, {STEPS} steps")
    print(f"they end at {cache.lengths.tolist()} tokens, in a cache of {total}")
    print(f"a step of {HEADS} heads on {KV_HEADS} key heads took {seconds / STEPS * 1e6:.0f} us")
    print(f"largest difference from full causal attention: {difference:.1e}")
    if not difference < 1e-5:
        raise SystemExit("the decoded tokens differ from full attention")


if __name__ == "__main__":
    main()
