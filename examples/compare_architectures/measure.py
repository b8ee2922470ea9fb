"""Make measured.json: seconds of each layer, 64 and 512 wide, with one and two threads.

    pip install '.[compare]'
    python examples/compare_architectures/measure.py            (a minute; two free cores)

Wall-clock time, the best of several calls; the layers take turns. If measured.json is there
already, shorter times replace longer ones: run it again on a busy machine.
"""

import itertools
import json
import math
import time
from pathlib import Path

import models
import numpy as np
import onnxruntime

import selfattn

TOKENS = {64: [2**i for i in range(4, 15)], 512: [2**i for i in range(4, 13)]}  # of each width
THREADS = (1, 2)
ROUNDS, SECONDS = 3, 0.1  # per layer, length and number of threads


def measure(calls, x):
    """{name: best seconds of calls[name](x)}, each layer alone for a while: the threads of ONNX
    Runtime go on spinning after a call."""
    best = dict.fromkeys(calls, math.inf)
    for name in list(calls) * ROUNDS:
        time.sleep(0.01)
        end = time.perf_counter() + SECONDS
        while (begin := time.perf_counter()) < end:
            calls[name](x)
            best[name] = min(best[name], time.perf_counter() - begin)
    return best


def measure_all():
    rng, points = np.random.default_rng(0), []
    for width, threads in itertools.product(TOKENS, THREADS):
        calls = {
            name: make(width=width, num_threads=threads) for name, make in models.LAYERS.items()
        }
        for n in TOKENS[width]:
            x = rng.standard_normal((n, width), dtype=np.float32)
            for name, seconds in measure(calls, x).items():
                key = {"layer": name, "width": width, "threads": threads, "n": n}
                points.append(key | {"seconds": seconds})
    return points


def main():
    points = measure_all()
    cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("model name\t: ")[1]
    machine = (
        f"{cpu.splitlines()[0]}, unit {selfattn.units()[0]}, "
        f"ONNX Runtime {onnxruntime.__version__}, two cores"
    )
    path = Path(__file__).with_name("measured.json")
    stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if stored.get("machine") == machine:
        for new, old in zip(points, stored["points"], strict=True):
            new["seconds"] = min(new["seconds"], old["seconds"])
    text = json.dumps({"machine": machine, "points": points}, indent=1)
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
