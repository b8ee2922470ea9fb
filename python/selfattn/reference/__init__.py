"""Plain NumPy twins of the C functions, written to be read.

They define what the C core computes, take the same arguments and raise the same kinds of errors.
They are slow and hold whole score matrices of one head at a time; nothing else is different:

>>> import numpy as np
>>> import selfattn
>>> x = np.random.default_rng(0).standard_normal((5, 8))
>>> np.allclose(selfattn.attention(x, x, x), selfattn.reference.attention(x, x, x))
True

Read `_attention` first (softmax and the sum over values), then `_scores` (where scores come from
and which keys a query sees), then `_check` and `_outputs` (the rules about arguments). `_layer`
puts projections around it, `positional` and `_norm` are the rest of a Transformer's arithmetic.
"""

from . import positional
from ._attention import attention
from ._estimate import estimate
from ._layer import MultiHeadAttention, self_attention
from ._norm import layer_norm
from ._rollout import rollout
from ._sdpa import scaled_dot_product_attention
from ._stats import attention_stats

__all__ = [
    "MultiHeadAttention",
    "attention",
    "attention_stats",
    "estimate",
    "layer_norm",
    "positional",
    "rollout",
    "scaled_dot_product_attention",
    "self_attention",
]
