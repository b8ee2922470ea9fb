"""Make measured.json: time and memory of attention from 64 to 65,536 tokens, with one thread.

    taskset -c 0 python examples/cost_curve/measure.py          (a few minutes; Linux)

Every point has a process of its own. Memory is how far its peak (VmHWM) rises in the first call;
time is the thread's CPU time, the best of several calls, so that other programs do not count. If
measured.json is there already, shorter times replace longer ones: run it again on a busy machine.
"""

import json
import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import selfattn

METHODS = ("selfattn", "selfattn, weights", "NumPy, n x n")
TOKENS = [2**i for i in range(6, 17)]
WIDTHS = [16, 32, 64, 128, 256]
DENSE_LIMIT = 2 << 30  # bytes
SECONDS = 0.5  # of repeated calls


def estimate(method, n, d, **rates):
    weights = method == "selfattn, weights"
    return selfattn.estimate((n, d), return_weights=weights, num_threads=1, **rates)


def dense(q, k, v):
    """The textbook's way in NumPy, in place."""
    p = q @ k.T
    p *= np.float32(1 / math.sqrt(q.shape[1]))
    p -= p.max(axis=1, keepdims=True)
    np.exp(p, out=p)
    p /= p.sum(axis=1, keepdims=True)
    return p @ v


def is_measured(method, n):
    return method == "selfattn" or 4 * n * n <= DENSE_LIMIT


def peak_memory():
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def measure(method, n, d):
    """One point, in this process: a dict for measured.json."""
    rng = np.random.default_rng(0)
    q, k, v = rng.standard_normal((3, n, d), dtype=np.float32)
    call = {
        "selfattn": lambda: selfattn.attention(q, k, v, num_threads=1),
        "selfattn, weights": lambda: selfattn.attention(
            q, k, v, return_weights=True, num_threads=1
        ),
        "NumPy, n x n": lambda: dense(q, k, v),
    }[method]
    cost = estimate(method, n, d)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts here
    before = peak_memory()
    first = call()
    memory = peak_memory() - before
    del first
    best, total = math.inf, 0.0
    while total < SECONDS:
        repeats = 1 if n > 1024 else 20
        begin = time.thread_time()
        for _ in range(repeats):
            call()
        seconds = time.thread_time() - begin
        best, total = min(best, seconds / repeats), total + seconds
    return {
        "method": method, "n": n, "d": d, "seconds": best, "memory": memory,
        "predicted_seconds": cost.seconds,
    }  # fmt: skip


def in_own_process(method, n, d):
    command = [sys.executable, __file__, method, str(n), str(d)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def machine():
    cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("model name\t: ")[1]
    return f"{cpu.splitlines()[0]}, unit {selfattn.units()[0]}, NumPy {np.__version__}, one thread"


def keep_best(new, old):
    """The points of `new`, with the times of `old` where these are shorter."""
    stored = {(p["method"], p["n"], p["d"]): p for p in old}
    for p in new:
        other = stored.get((p["method"], p["n"], p["d"]), p)
        for name in ("seconds", "predicted_seconds"):
            p[name] = min(p[name], other[name])
    return new


def main():
    points = [(m, n, 64) for m in METHODS for n in TOKENS if is_measured(m, n)]
    points += [("selfattn", 4096, d) for d in WIDTHS if d != 64]
    rows = [in_own_process(*point) for point in points]
    path = Path(__file__).with_name("measured.json")
    stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if stored.get("machine") == machine():
        rows = keep_best(rows, stored["points"])
    text = json.dumps({"machine": machine(), "points": rows}, indent=1)
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:]:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
    else:
        main()
