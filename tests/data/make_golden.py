"""Make golden.npz: attention results that come from elsewhere, not from this project's code.

    python -m venv other && other/bin/pip install torch==2.13.0 onnx==1.23.2 numpy
    other/bin/python tests/data/make_golden.py

Three sources, a file each: PyTorch's CPU kernels, the reference implementation of ONNX's Attention
operator, and cases worked by hand in fractions and logarithms. A case is a name, where it is from,
the arguments of `selfattn.attention` and the float64 results. golden.npz holds the arrays under
"case/argument" and the rest as JSON under "cases".
"""

import json
from pathlib import Path

import golden_hand
import golden_onnx
import golden_torch
import numpy as np

HERE = Path(__file__).resolve().parent


def main():
    arrays, cases = {}, []
    for module in (golden_hand, golden_torch, golden_onnx):
        for name, inputs, expected in module.cases():
            plain = {}
            for argument, value in inputs.items():
                if isinstance(value, np.ndarray):
                    arrays[f"{name}/{argument}"] = value
                else:
                    plain[argument] = value
            for result, value in expected.items():
                arrays[f"{name}/expected {result}"] = np.asarray(value, np.float64)
            cases.append({
                "name": name, "source": module.SOURCE, "options": plain,
                "arrays": [a for a, v in inputs.items() if isinstance(v, np.ndarray)],
                "expected": list(expected),
            })  # fmt: skip
    assert len({case["name"] for case in cases}) == len(cases)
    arrays["cases"] = np.array(json.dumps(cases, indent=1))
    np.savez_compressed(HERE / "golden.npz", **arrays)
    print(f"{len(cases)} cases, {(HERE / 'golden.npz').stat().st_size} bytes")


if __name__ == "__main__":
    main()
