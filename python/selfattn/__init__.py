"""Self-attention over NumPy arrays, computed in C, with exact weights.

>>> import numpy as np
>>> import selfattn
>>> rng = np.random.default_rng(0)
>>> q, k, v = rng.standard_normal((3, 8, 100, 64), dtype=np.float32)  # heads, tokens, features
>>> out, weights = selfattn.attention(q, k, v, causal=True, return_weights=True)
>>> out.shape, weights.shape
((8, 100, 64), (8, 100, 100))

`attention` is the main function, `scaled_dot_product_attention` the same under PyTorch's
signature. `self_attention` and `MultiHeadAttention` are the layer, projections included;
`attention_stats` gives exact statistics of the weights at any length. `positional` and `layer_norm`
are what a Transformer needs beside it, and `estimate` tells what a
call costs. `reference` has all of them in plain NumPy. `view` shows weights as an offline page,
`plot` draws them with matplotlib, `to_bertviz` and `to_circuitsvis` hand them on. `units`,
`show_config` and the thread functions are about the installation; so are ``python -m selfattn
info`` and ``python -m selfattn bench``. ``python -m selfattn demo`` shows what attention does.
"""

from . import plot, positional, reference
from ._bridges import to_bertviz, to_circuitsvis
from ._config import show_config
from ._estimate import estimate
from ._layer import self_attention
from ._multi_head import MultiHeadAttention
from ._norm import layer_norm
from ._rollout import rollout
from ._sdpa import scaled_dot_product_attention
from ._selfattn import __version__, attention, get_num_threads, set_num_threads, units
from ._stats import attention_stats
from ._stats_result import AttentionStats
from ._threads import on_import as _on_import
from ._threads import register_threadpoolctl, threads
from .viewer import view

__all__ = [
    "AttentionStats",
    "MultiHeadAttention",
    "__version__",
    "attention",
    "attention_stats",
    "estimate",
    "get_num_threads",
    "layer_norm",
    "plot",
    "positional",
    "reference",
    "register_threadpoolctl",
    "rollout",
    "scaled_dot_product_attention",
    "self_attention",
    "set_num_threads",
    "show_config",
    "threads",
    "to_bertviz",
    "to_circuitsvis",
    "units",
    "view",
]

_on_import()
