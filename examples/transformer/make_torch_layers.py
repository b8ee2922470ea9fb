"""Make torch_layers.npz: PyTorch's Transformer stacks with random parameters and their results.

    python -m venv other && other/bin/pip install torch==2.13.0 numpy
    other/bin/python examples/transformer/make_torch_layers.py

For each of encoder and decoder, post- and pre-norm: two layers of d_model 16 with 4 heads, float64,
under "<stack>/state/<parameter>", and their results under "<stack>/out"; the inputs are "x" and
"memory", a batch of two of which the second has memory for 5 of 8 tokens.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

D_MODEL, HEADS, HIDDEN, LAYERS = 16, 4, 32, 2
OPTIONS = {"dropout": 0.0, "batch_first": True, "dtype": torch.float64}


def stack(kind, norm_first):
    layer_class = {"encoder": nn.TransformerEncoderLayer, "decoder": nn.TransformerDecoderLayer}
    stack_class = {"encoder": nn.TransformerEncoder, "decoder": nn.TransformerDecoder}
    layer = layer_class[kind](D_MODEL, HEADS, HIDDEN, norm_first=norm_first, **OPTIONS)
    norm = nn.LayerNorm(D_MODEL, dtype=torch.float64) if norm_first else None
    more = {"enable_nested_tensor": False} if kind == "encoder" else {}
    return stack_class[kind](layer, LAYERS, norm, **more)


def main():
    torch.manual_seed(0)
    x, memory = torch.randn(2, 7, D_MODEL), torch.randn(2, 8, D_MODEL)
    x, memory = x.double(), memory.double()
    padding = torch.arange(8) >= torch.tensor([8, 5])[:, None]  # True: hidden
    arrays = {"x": x, "memory": memory}
    for kind in ("encoder", "decoder"):
        for norm_first in (False, True):
            name = f"{kind}, {'pre' if norm_first else 'post'}-norm"
            model = stack(kind, norm_first)
            with torch.no_grad():
                for p in model.parameters():  # biases and norms are 0 and 1 as they are made
                    p += 0.2 * torch.randn(p.shape)
                if kind == "encoder":
                    out = model(memory, src_key_padding_mask=padding)
                else:
                    causal = nn.Transformer.generate_square_subsequent_mask(7, dtype=torch.float64)
                    out = model(x, memory, tgt_mask=causal, memory_key_padding_mask=padding)
            arrays[f"{name}/out"] = out
            arrays |= {f"{name}/state/{key}": p for key, p in model.state_dict().items()}
    path = Path(__file__).with_name("torch_layers.npz")
    np.savez_compressed(path, **{name: a.detach().numpy() for name, a in arrays.items()})
    print(f"{len(arrays)} arrays, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
