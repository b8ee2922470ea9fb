"""ONNX Runtime as a peer: three graphs that compute attention, fed with NumPy arrays.

*Attention* is ONNX's own operator (opset 23): every option, all scores in memory. *MHA* is the
runtime's MultiHeadAttention, tiled where nothing is masked; it wants the heads inside the tokens
and gets its arrays so, made before the timing. *MatMul* is the graph written out, for weights and
for the types the operators lack.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._bench_cases import Case, Gemm
from ._bench_layer import LayerProblem
from ._bench_libraries import Contender
from ._bench_problem import Problem, Unsupported

__all__ = ["OnnxRuntime"]

_OPSET, _IR_VERSION = 23, 10  # the first with Attention and the format that came with it

_Graph = tuple[list[Any], list[str]]


class OnnxRuntime:
    """ONNX Runtime's CPU provider."""

    def __init__(self, threads: int) -> None:
        self._runtime: Any = importlib.import_module("onnxruntime")
        self._onnx: Any = importlib.import_module("onnx")
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._options = options

    def version(self) -> str:
        """The version."""
        return str(self._runtime.__version__)

    def attend(self, problem: Problem) -> list[Contender]:
        """Every graph that serves the problem."""
        case = problem.case
        if case.dtype == "bfloat16":
            raise Unsupported("no bfloat16 on the CPU")
        graphs = [self._operator, self._written_out, self._multi_head]
        found: list[Contender] = []
        for graph in graphs:
            found.extend(graph(problem))
        if not found:
            problem.require_dense(problem.dtype.itemsize)
        return found

    def apply_layer(self, problem: LayerProblem) -> list[Contender]:
        """It has no layer with projections."""
        raise Unsupported("no layer")

    def multiply(self, case: Gemm) -> list[Contender]:
        """Left out: the two yardsticks are OpenBLAS' and MKL's products."""
        raise Unsupported("not a yardstick")

    def _operator(self, problem: Problem) -> list[Contender]:
        case = problem.case
        if not _fits(problem):
            return []
        feed = _feed(problem, problem.query)
        options: dict[str, Any] = {}
        if case.causal == "upper_left":
            options["is_causal"] = 1
        elif (mask := problem.additive_mask(problem.dtype)) is not None:
            feed["mask"] = mask
        if case.softcap is not None:
            options["softcap"] = case.softcap
        results = ["out"]
        if case.weights:
            options["qk_matmul_output_mode"] = 3  # after the softmax
            results += ["", "", "weights"]
        node = self._onnx.helper.make_node("Attention", list(feed), results, **options)
        found = self._contenders("Attention", ([node], results), feed, problem, _as_is)
        if case.group > 1 and not options and len(feed) == 3:
            shape = problem.query.shape
            folded = _feed(problem, problem.folded_query)
            found += self._contenders(
                "Attention, group as rows",
                ([node], results),
                folded,
                problem,
                lambda result: (result[0].reshape(shape),),
            )
        return found

    def _written_out(self, problem: Problem) -> list[Contender]:
        case = problem.case
        plain = case.group == 1 and case.softcap is None
        if not (case.weights or case.dtype == "float64") or not plain or not _fits(problem):
            return []
        helper = self._onnx.helper
        feed = _feed(problem, problem.query)
        feed["scale"] = np.array(problem.scale, problem.dtype)
        nodes = [
            helper.make_node("Mul", ["q", "scale"], ["scaled"]),
            helper.make_node("Transpose", ["k"], ["turned"], perm=[0, 1, 3, 2]),
            helper.make_node("MatMul", ["scaled", "turned"], ["scores"]),
            helper.make_node("Softmax", ["seen"], ["weights"], axis=-1),
            helper.make_node("MatMul", ["weights", "v"], ["out"]),
        ]
        if (mask := problem.additive_mask(problem.dtype)) is not None:
            feed["mask"] = mask
            nodes.insert(3, helper.make_node("Add", ["scores", "mask"], ["seen"]))
        else:
            nodes[2].output[0] = "seen"
        results = ["out", "weights"] if case.weights else ["out"]
        return self._contenders("MatMul, Softmax, MatMul", (nodes, results), feed, problem, _as_is)

    def _multi_head(self, problem: Problem) -> list[Contender]:
        case = problem.case
        plain = case == Case(
            name=case.name,
            batch=case.batch,
            heads=case.heads,
            kv_heads=case.heads,
            n_q=case.n_q,
            n_k=case.n_k,
            d=case.d,
            key_length=case.key_length,
            layout=case.layout,
            twin=case.twin,
        )
        if not plain:
            return []
        feed = {name: _heads_inside(array) for name, array in _feed(problem, problem.query).items()}
        node = self._onnx.helper.make_node(
            "MultiHeadAttention", list(feed), ["out"], domain="com.microsoft", num_heads=case.heads
        )
        batch, heads, n_q, d = problem.query.shape

        def read(result: list[NDArray[Any]]) -> tuple[NDArray[Any], ...]:
            return (result[0].reshape(batch, n_q, heads, d).swapaxes(1, 2),)

        return self._contenders("MultiHeadAttention", ([node], ["out"]), feed, problem, read)

    def _contenders(
        self,
        label: str,
        graph: _Graph,
        feed: dict[str, NDArray[Any]],
        problem: Problem,
        read: Callable[[list[NDArray[Any]]], tuple[NDArray[Any], ...]],
    ) -> list[Contender]:
        """The graph run on arrays; for weights also with inputs and outputs bound before."""
        session = self._session(graph, feed)
        names: dict[str, Any] = {"session": session, "feed": feed}
        found = [Contender(label, "session.run(None, feed)", names, read)]
        if not problem.case.weights:
            return found
        binding = session.io_binding()
        for name, array in feed.items():
            binding.bind_cpu_input(name, array)
        for info, array in zip(session.get_outputs(), problem.results, strict=True):
            binding.bind_output(info.name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        bound = {"session": session, "binding": binding, "inputs": feed}
        found.append(
            Contender(
                f"{label}, bound",
                "session.run_with_iobinding(binding)",
                bound,
                lambda _: problem.results,
                problem.results,
            )
        )
        return found

    def _session(self, graph: _Graph, feed: dict[str, NDArray[Any]]) -> Any:
        helper = self._onnx.helper
        nodes, results = graph
        element = helper.np_dtype_to_tensor_dtype(feed["q"].dtype)
        inputs = [
            helper.make_tensor_value_info(name, element, array.shape)
            for name, array in feed.items()
        ]
        outputs = [helper.make_tensor_value_info(name, element, None) for name in results if name]
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(
            helper.make_graph(nodes, "attention", inputs, outputs),
            opset_imports=opsets,
            ir_version=_IR_VERSION,
        )
        return self._runtime.InferenceSession(
            model.SerializeToString(), self._options, providers=["CPUExecutionProvider"]
        )


def _fits(problem: Problem) -> bool:
    """Whether all scores may be held at once."""
    try:
        problem.require_dense(problem.dtype.itemsize)
    except Unsupported:
        return False
    return True


def _feed(problem: Problem, query: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Contiguous inputs: the runtime would copy others at every call."""
    arrays = {"q": query, "k": problem.peer_key, "v": problem.peer_value}
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _heads_inside(array: NDArray[Any]) -> NDArray[Any]:
    """``(batch, heads, tokens, d)`` to ``(batch, tokens, heads * d)``."""
    batch, heads, tokens, d = array.shape
    return np.ascontiguousarray(array.swapaxes(1, 2)).reshape(batch, tokens, heads * d)


def _as_is(result: list[NDArray[Any]]) -> tuple[NDArray[Any], ...]:
    return tuple(result)
