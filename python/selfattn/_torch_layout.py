"""Parameters of `torch.nn.MultiheadAttention`, from the module or its state_dict, without torch.

in_proj_weight stacks W_q, W_k and W_v, each (features out, features in); where these read other
numbers of features they are q_proj_weight, k_proj_weight and v_proj_weight instead. in_proj_bias
stacks the three biases in both cases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._arrays import Array, as_array, as_integer, take_arrays

_SEPARATE = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
_KNOWN = ("in_proj_weight", *_SEPARATE, "in_proj_bias", "out_proj.weight", "out_proj.bias")
_NO_COUNTERPART = ("bias_k", "bias_v")


@dataclass(frozen=True)
class Parameters:
    """Arrays under PyTorch's names, and the sizes they imply."""

    arrays: dict[str, Array]
    sizes: dict[str, Any]  # the arguments of MultiHeadAttention._allocate


def read_parameters(source: Any, num_heads: int | None) -> Parameters:
    """Check everything; arrays of one type, with in_proj_weight or with the three separate ones as
    MultiHeadAttention keeps them."""
    named, heads = _open(source, num_heads)
    arrays, dtype = take_arrays({name: _to_numpy(name, x) for name, x in named.items()})
    out_weight = _matrix(arrays, "out_proj.weight", None)
    embed_dim = out_weight.shape[0]
    if out_weight.shape[1] != embed_dim or embed_dim % heads:
        raise ValueError(
            f"out_proj.weight has shape {out_weight.shape}: expected a square, with a side that "
            f"num_heads, {heads}, divides"
        )
    if "in_proj_weight" in arrays:
        stacked = _matrix(arrays, "in_proj_weight", embed_dim)
        if stacked.shape[0] != 3 * embed_dim:
            raise ValueError(
                f"in_proj_weight has shape {stacked.shape}: expected {(3 * embed_dim, embed_dim)}"
            )
        kv_heads, kdim, vdim = heads, embed_dim, embed_dim
    else:
        kv_heads = _count_kv_heads(arrays, embed_dim, heads)
        kdim, vdim = (arrays[name].shape[1] for name in _SEPARATE[1:])
    width = embed_dim + 2 * kv_heads * (embed_dim // heads)
    for name, length in (("in_proj_bias", width), ("out_proj.bias", embed_dim)):
        if name in arrays and arrays[name].shape != (length,):
            raise ValueError(f"{name} has shape {arrays[name].shape}: expected {(length,)}")
    sizes = {
        "embed_dim": embed_dim,
        "heads": heads,
        "kv_heads": kv_heads,
        "kdim": kdim,
        "vdim": vdim,
        "bias": "in_proj_bias" in arrays,
        "dtype": dtype,
    }
    return Parameters(_as_kept(arrays, kv_heads == heads and kdim == vdim == embed_dim), sizes)


def _open(source: Any, num_heads: int | None) -> tuple[Mapping[str, Any], int]:
    """The parameters by name, without absent ones, and the number of heads."""
    if isinstance(source, Mapping):
        if num_heads is None:
            raise TypeError("num_heads is required beside a state_dict, which does not hold it")
        named = dict(source)
    elif hasattr(source, "state_dict") and hasattr(source, "in_proj_weight"):
        named = dict(source.state_dict())
        if getattr(source, "add_zero_attn", False):
            raise ValueError(
                "the module has add_zero_attn=True, which has no counterpart: append a zero key "
                "and value yourself"
            )
        if num_heads not in (None, source.num_heads):
            raise ValueError(
                f"num_heads is {num_heads} and the module has {source.num_heads}: leave it out"
            )
        num_heads = source.num_heads
    else:
        raise TypeError(
            "module_or_state_dict must be a torch.nn.MultiheadAttention or its state_dict, not "
            f"{type(source).__name__}"
        )
    heads = as_integer("num_heads", num_heads, 1)
    named = {name: x for name, x in named.items() if x is not None}
    for name in _NO_COUNTERPART:
        if name in named:
            raise ValueError(f"{name} (add_bias_kv=True) has no counterpart: append it to the keys")
    unknown = sorted(set(named) - set(_KNOWN))
    if unknown:
        raise ValueError(
            f"{unknown[0]} is no parameter of torch.nn.MultiheadAttention: expected "
            f"{', '.join(_KNOWN)}; cut off a common prefix"
        )
    weights = [name for name in _SEPARATE if name in named]
    if len(weights) != (0 if "in_proj_weight" in named else 3):
        raise ValueError(
            f"found {', '.join(sorted(named)) or 'nothing'}: expected in_proj_weight, or all of "
            f"{', '.join(_SEPARATE)}"
        )
    if ("in_proj_bias" in named) != ("out_proj.bias" in named):
        raise ValueError("in_proj_bias and out_proj.bias belong together: expected both or none")
    return named, heads


def _to_numpy(name: str, x: Any) -> Array:
    """A tensor without its gradient; NumPy has no bfloat16, whose numbers float32 holds exactly."""
    if hasattr(x, "detach"):
        x = x.detach().cpu()
        x = (x.float() if str(x.dtype) == "torch.bfloat16" else x).numpy()
    return as_array(name, x)


def _matrix(arrays: Mapping[str, Array], name: str, n_in: int | None) -> Array:
    if name not in arrays:
        raise ValueError(f"{name} is missing")
    x = arrays[name]
    if x.ndim != 2 or (n_in is not None and x.shape[1] != n_in):
        expected = "features in" if n_in is None else n_in
        raise ValueError(f"{name} has shape {x.shape}: expected (features out, {expected})")
    return x


def _count_kv_heads(arrays: Mapping[str, Array], embed_dim: int, heads: int) -> int:
    """Key heads, from the rows of the separate matrices."""
    q, k, v = (_matrix(arrays, name, None) for name in _SEPARATE)
    if q.shape != (embed_dim, embed_dim):
        raise ValueError(f"q_proj_weight has shape {q.shape}: expected {(embed_dim, embed_dim)}")
    d = embed_dim // heads
    kv_heads = k.shape[0] // d if d else heads
    if kv_heads == 0 or kv_heads * d != k.shape[0] or heads % kv_heads:
        raise ValueError(
            f"k_proj_weight has {k.shape[0]} rows: expected {d} for each key head, whose number "
            f"divides num_heads, {heads}"
        )
    if v.shape[0] != k.shape[0]:
        raise ValueError(f"v_proj_weight has {v.shape[0]} rows and k_proj_weight {k.shape[0]}")
    return kv_heads


def _as_kept(arrays: dict[str, Array], stacked: bool) -> dict[str, Array]:
    """Separate matrices of one width are kept as one."""
    if stacked and "in_proj_weight" not in arrays:
        arrays["in_proj_weight"] = np.concatenate([arrays[name] for name in _SEPARATE])
    return arrays
