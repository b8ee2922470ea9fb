"""Cases from PyTorch on the CPU, float64: scaled_dot_product_attention and what lies below it,
flex_attention in eager mode, and nn.MultiheadAttention with identity projections."""

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.attention.bias import causal_lower_right
from torch.nn.attention.flex_attention import AuxRequest, create_block_mask, flex_attention

SOURCE = f"PyTorch {torch.__version__.split('+')[0]}"


def qkv(seed, n_q, n_k, d, d_v=None, heads=2, kv_heads=None, batch=1):
    rng = np.random.default_rng(seed)
    kv_heads = heads if kv_heads is None else kv_heads
    return {
        "query": rng.standard_normal((batch, heads, n_q, d)),
        "key": rng.standard_normal((batch, kv_heads, n_k, d)),
        "value": rng.standard_normal((batch, kv_heads, n_k, d if d_v is None else d_v)),
    }


def tensors(arrays):
    return [torch.from_numpy(arrays[name]) for name in ("query", "key", "value")]


def sdpa(arrays, mask=None, **keywords):
    if isinstance(mask, np.ndarray):
        mask = torch.from_numpy(mask)
    return {"out": F.scaled_dot_product_attention(*tensors(arrays), mask, **keywords).numpy()}


def cases():
    yield from _plain()
    yield from _causal()
    yield from _masks()
    yield from _with_weights_and_lse()
    yield from _flex()


def _plain():
    x = qkv(1, 5, 7, 4, 3)
    yield "torch: cross-attention, d_v != d", x, sdpa(x)
    x = qkv(2, 6, 6, 8, batch=3)
    yield "torch: batch of three", x, sdpa(x)
    x = qkv(3, 4, 5, 4)
    yield "torch: scale", x | {"scale": 0.7}, sdpa(x, scale=0.7)
    yield "torch: negative scale", x | {"scale": -0.3}, sdpa(x, scale=-0.3)
    x = qkv(4, 70, 150, 16, heads=1)
    yield "torch: several tiles", x, sdpa(x)
    x = qkv(5, 2, 1100, 4, heads=1)
    yield "torch: more than a thousand keys", x, sdpa(x)
    x = qkv(6, 5, 6, 4, heads=6, kv_heads=2)
    yield "torch: grouped heads 6 on 2", x, sdpa(x, enable_gqa=True)
    x = qkv(7, 3, 9, 4, heads=5, kv_heads=1)
    yield "torch: five heads on one", x, sdpa(x, enable_gqa=True)


def _causal():
    x = qkv(11, 6, 6, 4)
    yield "torch: is_causal", x | {"causal": True}, sdpa(x, is_causal=True)
    x = qkv(12, 4, 7, 4)
    yield "torch: is_causal, more keys", x | {"causal": "upper_left"}, sdpa(x, is_causal=True)
    lower = causal_lower_right(4, 7)
    yield "torch: causal_lower_right, more keys", x | {"causal": "lower_right"}, sdpa(x, lower)
    x = qkv(13, 7, 4, 4)
    yield "torch: is_causal, more queries", x | {"causal": "upper_left"}, sdpa(x, is_causal=True)
    x = qkv(14, 5, 5, 4, heads=4, kv_heads=2)
    expected = sdpa(x, is_causal=True, enable_gqa=True)
    yield "torch: is_causal, grouped heads", x | {"causal": True}, expected
    x = qkv(15, 100, 130, 8, heads=1)
    expected = sdpa(x, is_causal=True)
    yield "torch: is_causal over several tiles", x | {"causal": "upper_left"}, expected


def _masks():
    rng = np.random.default_rng(20)
    x = qkv(21, 5, 7, 4, batch=2)
    mask = rng.random((5, 7)) < 0.6
    mask[2] = False
    mask[0, 0] = True
    yield "torch: bool mask with a hidden row", x | {"mask": mask}, sdpa(x, mask)
    mask = rng.random((2, 1, 1, 7)) < 0.6
    yield "torch: bool mask of keys", x | {"mask": mask}, sdpa(x, mask)
    mask = rng.standard_normal((2, 2, 5, 7))
    yield "torch: float mask", x | {"mask": mask}, sdpa(x, mask)
    mask = mask.copy()
    mask[..., 3, :] = -np.inf
    mask[..., 4] = -np.inf
    yield "torch: float mask with -inf and a hidden row", x | {"mask": mask}, sdpa(x, mask)
    bias = rng.standard_normal((1, 2, 5, 7))
    yield "torch: bias", x | {"bias": bias}, sdpa(x, bias)
    both = rng.random((2, 1, 5, 7)) < 0.7
    added = np.where(both, bias, -np.inf)
    yield "torch: bool mask and bias", x | {"bias": bias, "mask": both}, sdpa(x, added)


def _with_weights_and_lse():
    x = qkv(31, 6, 6, 4, 3)
    out, weights = torch.ops.aten._scaled_dot_product_attention_math(*tensors(x), is_causal=True)
    yield "torch: weights of the math kernel, causal", x | {"causal": True}, {
        "out": out.numpy(), "weights": weights.numpy()
    }  # fmt: skip
    x = qkv(32, 6, 9, 4)
    bias = np.random.default_rng(33).standard_normal((1, 1, 6, 9))
    out, weights = torch.ops.aten._scaled_dot_product_attention_math(
        *tensors(x), torch.from_numpy(bias)
    )
    yield "torch: weights of the math kernel, bias", x | {"bias": bias}, {
        "out": out.numpy(), "weights": weights.numpy()
    }  # fmt: skip
    for causal in (False, True):
        x = qkv(34, 8, 8, 4)
        out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            *tensors(x), 0.0, causal
        )
        name = f"torch: lse of the flash kernel, causal {causal}"
        yield name, x | {"causal": causal}, {"out": out.numpy(), "lse": lse.numpy()}
    x = qkv(35, 5, 7, 4, heads=3)
    yield "torch: nn.MultiheadAttention's averaged weights", x, _multihead(x)


def _multihead(x):
    """The layer with identity projections: heads concatenated in, concatenated out."""
    heads, d = 3, 4
    layer = torch.nn.MultiheadAttention(heads * d, heads, bias=False, batch_first=True)
    layer = layer.to(torch.float64)
    with torch.no_grad():
        layer.in_proj_weight.copy_(torch.eye(heads * d).repeat(3, 1))
        layer.out_proj.weight.copy_(torch.eye(heads * d))
        joined = [t.transpose(1, 2).flatten(2) for t in tensors(x)]
        out, mean = layer(*joined, need_weights=True, average_attn_weights=True)
    return {"out": out.unflatten(2, (heads, d)).transpose(1, 2).numpy(), "mean": mean.numpy()}


def flex(arrays, score_mod=None, mask_mod=None):
    query, key, value = tensors(arrays)
    block_mask = None
    if mask_mod is not None:
        n_q, n_k = query.shape[-2], key.shape[-2]
        block_mask = create_block_mask(mask_mod, None, None, n_q, n_k, device="cpu")
    out, aux = flex_attention(query, key, value, score_mod=score_mod, block_mask=block_mask,
                              enable_gqa=query.shape[1] != key.shape[1],
                              return_aux=AuxRequest(lse=True))  # fmt: skip
    return {"out": out.numpy(), "lse": aux.lse.numpy()}


def _flex():
    x = qkv(41, 6, 8, 4)
    yield "torch: flex, lse", x, flex(x)
    yield (
        "torch: flex, softcap",
        x | {"softcap": 1.5},
        flex(x, lambda s, b, h, i, j: 1.5 * torch.tanh(s / 1.5)),
    )
    slopes = np.array([0.5, 0.125])
    by_head = torch.from_numpy(slopes)
    yield (
        "torch: flex, ALiBi at offset 2",
        x | {"alibi_slopes": slopes, "query_offset": 2},
        flex(x, lambda s, b, h, i, j: s - by_head[h] * (i + 2 - j).abs()),
    )
    yield (
        "torch: flex, window (2, 1) at offset 1",
        x | {"window": [2, 1], "query_offset": 1},
        flex(x, mask_mod=lambda b, h, i, j: (j >= i + 1 - 2) & (j <= i + 1 + 1)),
    )
    x = qkv(42, 7, 7, 4, heads=4, kv_heads=2)
    yield "torch: flex, causal window, softcap, grouped heads", x | {
        "causal": True, "window": [3, None], "softcap": 2.0
    }, flex(
        x, lambda s, b, h, i, j: 2 * torch.tanh(s / 2),
        lambda b, h, i, j: (j <= i) & (j >= i - 3),
    )  # fmt: skip
