"""The layer with its projections as a benchmark: its arrays, its cost, and who computes it how."""

from __future__ import annotations

import functools
import importlib
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from ._bench_cases import Layer
from ._bench_libraries import Contender
from ._multi_head import MultiHeadAttention

__all__ = ["LayerProblem", "numpy_layer", "selfattn_layer", "torch_layer"]

_Array = NDArray[Any]
_WEIGHTS = {"": "False", "mean": "'mean'", "heads": "True"}


class LayerProblem:
    """One layer and one sequence, made from the case's name: equal in every process.

    Attributes
    ----------
    layer : MultiHeadAttention
        With biases that are not 0.
    x : ndarray
        ``(1, n, embed)``, standard normal.
    """

    def __init__(self, case: Layer) -> None:
        self.case = case
        rng = np.random.default_rng(crc32(case.name.encode()))
        self.layer = MultiHeadAttention(case.embed, case.heads, rng=rng)
        for b in (self.layer.b_q, self.layer.b_k, self.layer.b_v, self.layer.b_o):
            assert b is not None
            b[...] = 0.1 * rng.standard_normal(b.shape)
        self.x = rng.standard_normal((1, case.n, case.embed), dtype=np.float32)

    @property
    def flops(self) -> float:
        """Four projections and the two products of attention."""
        n, e = self.case.n, self.case.embed
        return 8.0 * n * e**2 + 4.0 * n**2 * e

    @property
    def bytes_moved(self) -> int:
        """Input and output, the weight matrices, and the returned weights."""
        case = self.case
        returned = {"": 0, "mean": 1, "heads": case.heads}[case.weights]
        return 4 * (2 * case.n * case.embed + 4 * case.embed**2 + returned * case.n**2)


def selfattn_layer(problem: LayerProblem) -> list[Contender]:
    """`MultiHeadAttention`."""
    weights = problem.case.weights
    call = f"layer(x, return_weights={_WEIGHTS[weights]})" if weights else "layer(x)"
    names = {"layer": problem.layer, "x": problem.x}
    return [Contender("MultiHeadAttention", call, names, tuple if weights else _alone)]


def _alone(out: Any) -> tuple[_Array, ...]:
    return (out,)


def numpy_layer(problem: LayerProblem) -> list[Contender]:
    """One product for queries, keys and values, attention, one product."""
    layer, case = problem.layer, problem.case
    state = layer.state_dict()
    names = {
        "apply": functools.partial(_apply_in_numpy, heads=case.heads, weights=case.weights),
        "x": problem.x,
        "w_in": np.ascontiguousarray(state["in_proj_weight"].T),
        "b_in": state["in_proj_bias"],
        "w_o": np.ascontiguousarray(state["out_proj.weight"].T),
        "b_o": state["out_proj.bias"],
    }
    read = tuple if case.weights else _alone
    return [Contender("matmul", "apply(x, w_in, b_in, w_o, b_o)", names, read)]


def _apply_in_numpy(
    x: _Array, w_in: _Array, b_in: _Array, w_o: _Array, b_o: _Array, *, heads: int, weights: str
) -> Any:
    batch, n, embed = x.shape
    y = np.matmul(x, w_in)
    y += b_in
    q, k, v = np.moveaxis(y.reshape(batch, n, 3, heads, embed // heads), (2, 3), (0, 2))
    p = np.matmul(q * np.float32((embed // heads) ** -0.5), k.swapaxes(-1, -2))
    p -= p.max(axis=-1, keepdims=True)
    np.exp(p, out=p)
    total = p.sum(axis=-1, keepdims=True)
    if weights:
        p /= total
    joined = np.matmul(p, v)
    if not weights:
        joined /= total
    out = np.matmul(joined.swapaxes(1, 2).reshape(batch, n, embed), w_o)
    out += b_o
    if not weights:
        return out
    return out, p.mean(axis=1) if weights == "mean" else p


def torch_layer(problem: LayerProblem) -> list[Contender]:
    """`torch.nn.MultiheadAttention`, in both of its ways: evaluated, which takes its fast path, and
    as while training (nothing is dropped), which takes the other."""
    torch: Any = importlib.import_module("torch")
    case = problem.case
    state = {name: torch.from_numpy(a) for name, a in problem.layer.state_dict().items()}
    modules = []
    for trains in (False, True):
        module = torch.nn.MultiheadAttention(case.embed, case.heads, batch_first=True)
        module.load_state_dict(state)
        modules.append(module.train(trains))
    keywords = "need_weights=False"
    if case.weights:
        keywords = f"need_weights=True, average_attn_weights={case.weights == 'mean'}"

    def read(result: Any) -> tuple[_Array, ...]:
        return tuple(x.numpy() for x in result if x is not None)

    return [
        Contender(
            label,
            f"layer(x, x, x, {keywords})",
            {"layer": module, "x": torch.from_numpy(problem.x)},
            read,
        )
        for label, module in zip(("eval()", "train()"), modules, strict=True)
    ]
