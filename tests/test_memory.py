"""Memory at 60,000 tokens: a few MiB whatever is masked, never an array of queries x keys.

A child process computes one case after another and reports how far the largest size it ever had
(ru_maxrss) grew each time. Masks and biases of full shape are views of a few bytes; the arrays a
case really needs are made before.
"""

import json
import subprocess
import sys

import pytest

from programs import PATIENCE

TOKENS = 60_000
ROWS = 3000  # x 60,000 keys: 720 MB of float32 scores, 180 MB of a bool mask
ALLOWED = 32 * 2**20

SCRIPT = """
import json, resource, sys
import numpy as np
import selfattn

TOKENS, ROWS = {tokens}, {rows}
rng = np.random.default_rng(0)
query, key, value = (rng.standard_normal((2, TOKENS, 8), dtype=np.float32) for _ in range(3))
few = query[:, -ROWS:]
zero, yes = np.float32(0), np.True_
key_row = rng.standard_normal((1, TOKENS), dtype=np.float32)
unit = 1 if sys.platform == "darwin" else 1024

CASES = {{
    "plain": (few, {{}}),
    "causal": (few, dict(causal="lower_right")),
    "causal, all rows": (query, dict(causal=True, window=(500, 0))),
    "window": (query, dict(window=300)),
    "window in the past": (query, dict(window=(300, None), query_offset=TOKENS - 2000)),
    "query_offset": (few, dict(causal=True, query_offset=TOKENS // 2)),
    "key_lengths": (few, dict(key_lengths=TOKENS - 1234)),
    "bool mask of keys": (few, dict(mask=key_row > -1)),
    "bool mask of full shape": (few, dict(mask=np.broadcast_to(yes, (2, ROWS, TOKENS)))),
    "bool mask, all hidden": (query, dict(mask=np.broadcast_to(~yes, (2, TOKENS, TOKENS)))),
    "float mask of keys": (few, dict(mask=key_row)),
    "float mask of full shape": (few, dict(mask=np.broadcast_to(zero, (2, ROWS, TOKENS)))),
    "float64 mask": (few, dict(mask=np.broadcast_to(np.float64(0), (2, ROWS, TOKENS)))),
    "byte-swapped mask": (few, dict(mask=key_row.astype(">f4"))),
    "bias of full shape": (few, dict(bias=np.broadcast_to(zero, (2, ROWS, TOKENS)))),
    "mask and bias": (few, dict(mask=key_row, bias=few[:1, :, :1])),
    "alibi": (few, dict(alibi_slopes=[0.1, 0.2], query_offset=TOKENS - ROWS)),
    "softcap and sinks": (few, dict(softcap=20.0, sinks=[0.0, 1.0])),
    "all": (few, dict(causal="lower_right", window=(50000, None), mask=key_row, softcap=20.0,
                      bias=np.broadcast_to(zero, (2, ROWS, TOKENS)), sinks=[0.0, 1.0],
                      alibi_slopes=[0.1, 0.2], key_lengths=TOKENS - 5)),
    "decode": (query[:, :1], dict(mask=key_row, causal="lower_right")),
    "lse": (few, dict(return_lse=True)),
}}
selfattn.attention(few[:, :64], key[:, :64], value[:, :64])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name, (q, options) in CASES.items():
    selfattn.attention(q, key, value, **options, num_threads=2)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps([name, (after - before) * unit]), flush=True)
    before = after
"""

MEAN_SCRIPT = """
import json, resource, sys
import numpy as np
import selfattn

query, key, value = (np.ones((32, 1200, 8), np.float32) for _ in range(3))
selfattn.attention(query[:, :64], key[:, :64], value[:, :64], return_weights="mean")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
selfattn.attention(query, key, value, return_weights="mean", num_threads=2)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps(["mean", (after - before) * (1 if sys.platform == "darwin" else 1024)]))
"""


def growth(script):
    """{case: bytes by which the process grew beyond all it ever had}"""
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=240 * PATIENCE
    )
    assert run.returncode == 0, run.stderr
    return dict(json.loads(line) for line in run.stdout.splitlines())


@pytest.fixture(scope="module")
def growths():
    return growth(SCRIPT.format(tokens=TOKENS, rows=ROWS))


@pytest.mark.parametrize("case", [
    "plain", "causal", "causal, all rows", "window", "window in the past", "query_offset",
    "key_lengths", "bool mask of keys", "bool mask of full shape", "bool mask, all hidden",
    "float mask of keys", "float mask of full shape", "float64 mask", "byte-swapped mask",
    "bias of full shape", "mask and bias", "alibi", "softcap and sinks", "all", "decode", "lse",
])  # fmt: skip
def test_memory_at_60000_tokens(growths, case):
    assert growths[case] < ALLOWED


def test_mean_weights_never_hold_all_heads():
    """32 heads of 1200 x 1200 weights are 184 MB, their mean is 6 MB."""
    assert growth(MEAN_SCRIPT)["mean"] < ALLOWED
