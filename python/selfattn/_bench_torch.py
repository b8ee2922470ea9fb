"""PyTorch as a peer: `scaled_dot_product_attention`, and the plain products where it cannot serve.

Weights are what no fused call of it returns, and soft-capping what none computes; there the user
writes the two products and the softmax. `torch.nn.MultiheadAttention` with ``need_weights=True``
does the same inside, beside its projections, so it is not a contender of its own.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._bench_cases import Gemm
from ._bench_layer import LayerProblem, torch_layer
from ._bench_libraries import Contender
from ._bench_problem import Problem

__all__ = ["Torch"]

# torch is typed Any throughout: the type check must pass where it is not installed.


def _from_numpy(torch: Any, array: NDArray[Any]) -> Any:
    """The same memory as a tensor; bfloat16 has to pass as integers."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _to_numpy(tensor: Any) -> NDArray[Any]:
    """The values; half types become float32."""
    tensor = tensor.float() if tensor.element_size() == 2 else tensor
    array: NDArray[Any] = tensor.numpy()
    return array


class Torch:
    """PyTorch on the CPU, without autograd."""

    def __init__(self, threads: int) -> None:
        self._torch: Any = importlib.import_module("torch")
        self._torch.set_num_threads(threads)
        self._torch.set_num_interop_threads(1)
        self._inference = self._torch.inference_mode()
        self._inference.__enter__()  # for the life of the process: saves work on every call

    def version(self) -> str:
        """The version and the instruction set it chose."""
        capability = self._torch.backends.cpu.get_cpu_capability()
        return f"{self._torch.__version__} ({capability})"

    def attend(self, problem: Problem) -> list[Contender]:
        """The fused call where there is one."""
        names = self._names(problem)
        if problem.case.weights:
            return self._with_weights(problem, names)
        if problem.case.softcap is not None:
            return self._softcapped(problem, names)
        keywords = ", is_causal=True" if problem.case.causal == "upper_left" else ""
        if not keywords and (mask := problem.additive_mask(problem.dtype)) is not None:
            names["mask"] = _from_numpy(self._torch, mask)
            keywords = ", attn_mask=mask"
        grouped = ", enable_gqa=True" if problem.case.group > 1 else ""
        statement = f"sdpa(q, k, v{keywords}{grouped})"
        found = [Contender("sdpa", statement, names, lambda out: (_to_numpy(out),))]
        if grouped and not keywords:
            shape = problem.query.shape
            found.append(
                Contender(
                    "sdpa, group as rows",
                    "sdpa(folded, k, v)",
                    names,
                    lambda out: (_to_numpy(out).reshape(shape),),
                )
            )
        return found

    def _names(self, problem: Problem) -> dict[str, Any]:
        arrays = {"q": problem.query, "k": problem.peer_key, "v": problem.peer_value}
        if problem.case.group > 1:
            arrays["folded"] = problem.folded_query
        names: dict[str, Any] = {n: _from_numpy(self._torch, a) for n, a in arrays.items()}
        names["sdpa"] = self._torch.nn.functional.scaled_dot_product_attention
        names["torch"] = self._torch
        names["scale"] = problem.scale
        names["cap"] = problem.case.softcap
        return names

    def _with_weights(self, problem: Problem, names: dict[str, Any]) -> list[Contender]:
        problem.require_dense(problem.dtype.itemsize)
        torch = self._torch

        def attend(q: Any, k: Any, v: Any, scale: float) -> tuple[Any, Any]:
            weights = torch.softmax((q * scale) @ k.mT, dim=-1)
            return weights @ v, weights

        def attend_into(q: Any, k: Any, v: Any, scale: float, s: Any, o: Any, w: Any) -> Any:
            torch.matmul(q * scale, k.mT, out=s)
            torch.softmax(s, dim=-1, out=w)
            torch.matmul(w, v, out=o)
            return o, w

        names["attend"], names["attend_into"] = attend, attend_into
        names["o"], names["w"] = (torch.from_numpy(array) for array in problem.results)
        names["s"] = torch.empty_like(names["w"])

        def read(result: Any) -> tuple[NDArray[Any], ...]:
            return tuple(_to_numpy(tensor) for tensor in result)

        return [
            Contender("softmax(q @ k.T) @ v", "attend(q, k, v, scale)", names, read),
            Contender(
                "softmax, out=",
                "attend_into(q, k, v, scale, s, o, w)",
                names,
                read,
                problem.results,
            ),
        ]

    def _softcapped(self, problem: Problem, names: dict[str, Any]) -> list[Contender]:
        problem.require_dense(problem.dtype.itemsize)
        torch = self._torch

        def attend(q: Any, k: Any, v: Any, scale: float, cap: float) -> Any:
            scores = (q * (scale / cap)) @ k.mT
            return torch.softmax(scores.tanh_().mul_(cap), dim=-1) @ v

        names["attend"] = attend
        return [
            Contender(
                "softmax(cap * tanh(...)) @ v",
                "attend(q, k, v, scale, cap)",
                names,
                lambda out: (_to_numpy(out),),
            )
        ]

    def apply_layer(self, problem: LayerProblem) -> list[Contender]:
        """Its layer."""
        return torch_layer(problem)

    def multiply(self, case: Gemm) -> list[Contender]:
        """`torch.mm` into a given tensor."""
        rng = np.random.default_rng(0)
        a, b = (rng.standard_normal((case.n, case.n), dtype=np.float32) for _ in "ab")
        names = {
            "torch": self._torch,
            "a": self._torch.from_numpy(a),
            "b": self._torch.from_numpy(b),
        }
        names["c"] = self._torch.empty_like(names["a"])
        return [
            Contender("torch.mm", "torch.mm(a, b, out=c)", names, lambda out: (_to_numpy(out),))
        ]
