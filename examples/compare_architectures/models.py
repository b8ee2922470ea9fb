"""An LSTM, a stack of convolutions and self-attention of one width, forward only.

LSTM and convolutions are ONNX models that ONNX Runtime runs; their parameters are drawn as PyTorch
draws those of its layers. All take and return (n, width) float32.
"""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import selfattn

HEADS = {64: 4, 512: 8}  # of each width
WIDTH = 64
KERNEL = 3  # taps of a convolution
PLAIN = (1,) * 8  # convolutions one after another, and how far apart the taps of each are
DILATED = tuple(2**i for i in range(8))


def run_onnx(nodes, parameters, width, num_threads):
    """The function that a graph from x (1, n, width) to y (1, n, width) computes."""
    value, shape = helper.make_tensor_value_info, [1, None, width]
    graph = helper.make_graph(
        nodes,
        "model",
        [value("x", TensorProto.FLOAT, shape)],
        [value("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(array, name) for name, array in parameters.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda x: session.run(["y"], {"x": x[np.newaxis]})[0][0]


def uniform(rng, width, *shape):
    """Between -1/sqrt(width) and 1/sqrt(width)."""
    bound = width**-0.5
    return rng.uniform(-bound, bound, shape).astype(np.float32)


def lstm(seed=0, forget_bias=0.0, width=WIDTH, num_threads=1):
    """One LSTM layer; with a `forget_bias` above 0 it forgets more slowly."""
    rng = np.random.default_rng(seed)
    parameters = {
        "w": uniform(rng, width, 1, 4 * width, width),
        "r": uniform(rng, width, 1, 4 * width, width),
        "b": uniform(rng, width, 1, 8 * width),
        "axis": np.array([1]),
    }
    parameters["b"][:, 2 * width : 3 * width] += forget_bias  # gates: input, output, forget, cell
    nodes = [
        helper.make_node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["steps", "w", "r", "b"], ["all"], hidden_size=width),
        helper.make_node("Squeeze", ["all", "axis"], ["states"]),
        helper.make_node("Transpose", ["states"], ["y"], perm=[1, 0, 2]),
    ]
    return run_onnx(nodes, parameters, width, num_threads)


def cnn(seed=0, dilations=PLAIN, relu=True, width=WIDTH, num_threads=1):
    """Convolutions of KERNEL taps that keep the length, each followed by max(., 0)."""
    rng = np.random.default_rng(seed)
    parameters, last = {}, "channels"
    nodes = [helper.make_node("Transpose", ["x"], [last], perm=[0, 2, 1])]
    for i, apart in enumerate(dilations):
        # Kaiming's bound for KERNEL * width inputs, so that signals keep their size.
        gain = np.float32((6 / KERNEL) ** 0.5)
        parameters[f"w{i}"] = gain * uniform(rng, width, width, width, KERNEL)
        nodes.append(
            helper.make_node(
                "Conv", [last, f"w{i}"], [f"conv{i}"],
                dilations=[apart], pads=[apart * (KERNEL // 2)] * 2,
            )
        )  # fmt: skip
        last = f"conv{i}"
        if relu:
            nodes.append(helper.make_node("Relu", [last], [f"relu{i}"]))
            last = f"relu{i}"
    nodes.append(helper.make_node("Transpose", [last], ["y"], perm=[0, 2, 1]))
    return run_onnx(nodes, parameters, width, num_threads)


def attention(seed=0, width=WIDTH, num_threads=1):
    """Multi-head self-attention with its projections."""
    layer = selfattn.MultiHeadAttention(width, HEADS[width], rng=seed)
    return lambda x, **options: layer(x, num_threads=num_threads, **options)


def lookup(num_threads=1):
    """A head as training may make it: tokens look for those with the same first half of features,
    their name, and read the second half, their content."""
    half = WIDTH // 2
    name, content = np.eye(WIDTH, dtype=np.float32), np.eye(WIDTH, dtype=np.float32)
    name[half:], content[:half] = 0, 0
    return lambda x, **options: selfattn.self_attention(
        x, 2 * name, 2 * name, content, num_threads=num_threads, **options
    )


LAYERS = {"LSTM": lstm, "CNN": cnn, "self-attention": attention}  # those that are timed
