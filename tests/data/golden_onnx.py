"""Cases from the reference implementation of ONNX's Attention operator, version 25, float64.

Its attributes are float32, so softcap and the root of scale are numbers that float32 holds.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

SOURCE = f"ONNX {onnx.__version__}, reference of Attention-25"
DOUBLE, WEIGHTS = 11, 3  # softmax_precision, qk_matmul_output_mode
INPUTS = ("Q", "K", "V", "attn_mask", "past_key", "past_value", "nonpad_kv_seqlen")


def attention(**inputs_and_attributes):
    """{"out", "weights"} of one Attention node."""
    inputs = {k: v for k, v in inputs_and_attributes.items() if k in INPUTS}
    attributes = {k: v for k, v in inputs_and_attributes.items() if k not in INPUTS}
    names = [name if name in inputs else "" for name in INPUTS]
    while not names[-1]:
        names.pop()
    node = helper.make_node(
        "Attention", names, ["Y", "", "", "P"], softmax_precision=DOUBLE,
        qk_matmul_output_mode=WEIGHTS, **attributes,
    )  # fmt: skip
    if "past_key" in inputs:
        node.output[1], node.output[2] = "present_key", "present_value"
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
        for name, x in inputs.items()
    ]
    results = [helper.make_tensor_value_info(n, TensorProto.DOUBLE, None) for n in ("Y", "P")]
    graph = helper.make_graph([node], "attention", infos, results)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)])
    out, weights = ReferenceEvaluator(model).run(["Y", "P"], inputs)
    return {"out": out, "weights": weights}


def qkv(seed, n_q, n_k, d=4, d_v=3, heads=2, kv_heads=2, batch=2):
    rng = np.random.default_rng(seed)
    return (
        rng.standard_normal((batch, heads, n_q, d)),
        rng.standard_normal((batch, kv_heads, n_k, d)),
        rng.standard_normal((batch, kv_heads, n_k, d_v)),
    )


def cases():
    def named(name, q, k, v, options, **of_node):
        inputs = {"query": q, "key": k, "value": v} | options
        return f"onnx: {name}", inputs, attention(Q=q, K=k, V=v, **of_node)

    rng = np.random.default_rng(50)
    q, k, v = qkv(51, 5, 7)
    yield named("plain", q, k, v, {})
    yield named("softcap", q, k, v, {"softcap": 0.75}, softcap=0.75)
    yield named("scale", q, k, v, {"scale": 2.25}, scale=2.25)
    mask = rng.random((2, 1, 5, 7)) < 0.6
    mask[0, 0, 1] = False
    yield named("bool mask with a hidden row", q, k, v, {"mask": mask}, attn_mask=mask)
    yield named("bool mask and causal", q, k, v, {"mask": mask, "causal": "upper_left"},
                attn_mask=mask, is_causal=1)  # fmt: skip
    added = rng.standard_normal((5, 7))
    yield named("float mask, causal, softcap", q, k, v,
                {"mask": added, "causal": "upper_left", "softcap": 1.125},
                attn_mask=added, is_causal=1, softcap=1.125)  # fmt: skip
    lengths = np.array([6, 3])
    yield named("key lengths", q, k, v, {"key_lengths": lengths}, nonpad_kv_seqlen=lengths)
    yield named("key lengths and causal", q, k, v,
                {"key_lengths": lengths, "causal": "lower_right"},
                nonpad_kv_seqlen=lengths, is_causal=1)  # fmt: skip
    yield named("key lengths, causal, window of 3, float mask", q, k, v,
                {"key_lengths": lengths, "causal": "lower_right", "window": [2, None],
                 "mask": added},
                nonpad_kv_seqlen=lengths, is_causal=1, left_window_size=2,
                attn_mask=added)  # fmt: skip
    yield named("window (1, 2)", q, k, v, {"window": [1, 2], "query_offset": 0},
                left_window_size=1, right_window_size=2)  # fmt: skip
    yield named("window to the right only", q, k, v, {"window": [None, 0], "query_offset": 0},
                right_window_size=0)  # fmt: skip
    # A cache of four keys before three new ones: the first query stands at position 4.
    yield named_with_past(q[:, :, :3], k, v)
    q, k, v = qkv(52, 4, 6, heads=6, kv_heads=2)
    yield named("grouped heads", q, k, v, {"causal": "upper_left"}, is_causal=1)
    q, k, v = qkv(53, 40, 90, heads=1, kv_heads=1, batch=1)
    yield named("several tiles, window and softcap", q, k, v,
                {"window": [30, 20], "query_offset": 0, "softcap": 2.0},
                left_window_size=30, right_window_size=20, softcap=2.0)  # fmt: skip


def named_with_past(q, k, v):
    past = {"past_key": k[:, :, :4], "past_value": v[:, :, :4]}
    inputs = {"query": q, "key": k, "value": v, "causal": True, "query_offset": 4}
    return "onnx: cache of four keys", inputs, attention(
        Q=q, K=k[:, :, 4:], V=v[:, :, 4:], is_causal=1, **past
    )  # fmt: skip
