"""Make layer.npz: what PyTorch's nn.MultiheadAttention returns for the cases of layer_cases.py.

    python -m venv other && other/bin/pip install torch==2.13.0 numpy
    other/bin/python tests/data/make_layer.py

All in float64. Under "<case>/out" and "<case>/weights" (per head) stand the results; "states" is
JSON: the names and shapes of each state_dict.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from layer_cases import ARTICLE_W, ARTICLE_X, CASES  # noqa: E402


def run(case):
    layer = torch.nn.MultiheadAttention(
        case.embed, case.heads, bias=case.bias, kdim=case.kdim, vdim=case.vdim, batch_first=True,
        dtype=torch.float64,
    ).eval()  # fmt: skip
    layer.load_state_dict({name: torch.from_numpy(x) for name, x in case.state().items()})
    inputs = [torch.from_numpy(x) for x in case.inputs()]
    query, key, value = inputs if len(inputs) == 3 else inputs * 3
    masks = {}
    mask = case.array_mask()
    if case.mask == "causal":  # PyTorch's bool masks say what is blocked
        mask = np.tril(np.ones((case.n_q, case.n_q), bool))
    if case.mask in ("bool", "causal"):
        masks["attn_mask"] = torch.from_numpy(~mask)
    elif case.mask == "padding":
        masks["key_padding_mask"] = torch.from_numpy(~mask[:, 0, 0])
    elif case.mask == "float":
        masks["attn_mask"] = torch.from_numpy(mask.reshape(-1, *mask.shape[2:]))
    with torch.no_grad():
        out, weights = layer(query, key, value, **masks, average_attn_weights=False)
    shapes = {name: list(x.shape) for name, x in layer.state_dict().items()}
    return {"out": out.numpy(), "weights": weights.numpy()}, shapes


def article():
    """Scores without a scale, as its snippet has them."""
    x = torch.from_numpy(ARTICLE_X).double()
    q, k, v = (x @ torch.from_numpy(w) for w in ARTICLE_W)
    weights = torch.softmax(q @ k.mT, dim=-1)
    return {"out": (weights @ v).numpy(), "weights": weights.numpy()}


def main():
    arrays = {f"article/{name}": x for name, x in article().items()}
    states = {}
    for case in CASES:
        results, states[case.name] = run(case)
        arrays |= {f"{case.name}/{name}": x for name, x in results.items()}
    arrays["states"] = np.array(json.dumps(states))
    arrays["source"] = np.array(f"PyTorch {torch.__version__.split('+')[0]}")
    np.savez_compressed(HERE / "layer.npz", **arrays)
    print(f"{len(CASES) + 1} cases, {(HERE / 'layer.npz').stat().st_size} bytes")


if __name__ == "__main__":
    main()
