"""A byte string becomes a call of a public function: atheris' target, and a replay.

    python fuzz_binding.py --random N SEED     N strings of random bytes
    python fuzz_binding.py FILE ...            each file once
    python fuzz_binding.py --fuzz ...          libFuzzer's own options follow; needs atheris

Arguments are what a user may slip in: arrays of every type, layout and alignment, views that
overlap, subclasses, lists, numbers beyond 64 bits, strings, None. A call may return or raise
TypeError, ValueError or MemoryError; results have the promised shapes, inputs and what lies around
out= stay as they were. Run by tests/checks/fuzz.
"""

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

import selfattn

DTYPES = ["f4", "f8", "f2", ml_dtypes.bfloat16, ">f4", "<i4", "u8", "?", "c8", "O", "U3", "M8[s]",
          "f16", [("a", "f4")]]  # fmt: skip
ALLOWED = (TypeError, ValueError, MemoryError)


class Bytes:
    """Choices from a byte string; zeros where it ends."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def below(self, n: int) -> int:
        byte = self.data[self.at] if self.at < len(self.data) else 0
        self.at += 1
        return byte % n

    def pick(self, options: Any) -> Any:
        return options[self.below(len(options))]

    def often(self, usual: Any, *others: Any) -> Any:
        """The usual one in 63 of 64 cases."""
        return usual if self.below(64) < 63 else self.pick(others)


class Subclass(np.ndarray):
    """Base in, base out."""


class Hostile:
    """Raises when it is asked for anything."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name) if name == "__index__" else AttributeError(name)


def new_array(b: Bytes, shape: tuple[int, ...], dtype: Any) -> Any:
    size = int(np.prod(shape))
    numbers = np.random.default_rng(b.below(256)).standard_normal(size)
    if b.below(8) == 0 and size:
        numbers[::3] = b.pick([np.nan, np.inf, -np.inf, 0.0, 1e38])
    with np.errstate(all="ignore"):
        try:
            x = numbers.astype(dtype).reshape(shape)
        except (TypeError, ValueError):
            x = np.zeros(shape, dtype)
    how = b.below(96)
    if how == 1 and x.ndim:
        x = x[::-1]
    elif how == 2:
        x = np.asfortranarray(x)
    elif how == 3 and x.ndim and x.shape[-1]:
        x = np.broadcast_to(x[..., :1], x.shape)
    elif how == 4 and x.dtype.kind in "fiu":
        raw = np.zeros(x.nbytes + 1, np.uint8)
        raw[1:] = np.frombuffer(x.tobytes(), np.uint8)
        x = raw[1:].view(x.dtype).reshape(x.shape)
    elif how == 5:
        return x.view(Subclass)
    elif how == 6:
        return x.tolist()
    elif how == 7:
        x.flags.writeable = False
    elif how == 8:
        return b.pick(
            [None, 3, "x", Hostile(), np.ma.masked_array(x), memoryview(b"abcd"), [[1], 2]]
        )
    return x


NUMBERS = {
    "query_offset": (0, 1, -3, 40, np.int8(2), np.array(2)),
    "key_lengths": (0, 1, np.uint8(1), 5),
    "window": (0, 3, (1, 2), (None, 3), [0, None], 2**70),
    "scale": (1.0, 0, -0.5, np.float32(1.5)),
    "softcap": (3.0, 30, np.float64(0.5)),
    "num_threads": (1, 2, 3, 2**70),
}
WRONG_NUMBERS = (-1, 2**63, -(2**70), np.nan, np.inf, True, "1", np.array([1, 2, 3]), 1j, Hostile(),
                 (1, 2, 3), (), [None], b"1", object())  # fmt: skip


def attention_arguments(b: Bytes) -> tuple[list[Any], dict[str, Any]]:
    dtype = b.pick(["f4", "f8", "f2", "f4"])
    batch = b.pick([(), (1,), (2,), (2, 1)])
    heads, kv_heads = b.often(b.pick([(2, 2), (4, 2), (1, 1)]), (3, 2), (2, 0), (0, 1))
    n_q, n_k, d, d_v = (b.pick([1, 2, 5, 9, 17, 40, 0, 70]) for _ in range(4))
    n_k = b.pick([n_k, n_q, n_q, n_q])
    shapes = [(*batch, heads, n_q, d), (*batch, kv_heads, n_k, d), (*batch, kv_heads, n_k, d_v)]
    if b.below(4) == 0:
        shapes = [s[-2:] for s in shapes]
        batch, heads = (), 1
    arrays = [new_array(b, b.often(s, s[:-1], s[1:]), b.often(dtype, *DTYPES)) for s in shapes]
    scores = (*shapes[0][:-1], n_k)
    options: dict[str, Any] = {}
    for name in ("mask", "bias"):
        if b.below(3) == 0:
            shape = tuple(b.often(n, 1, n + 1) for n in scores)[b.below(len(scores) + 1) :]
            kinds = ["?", "f4", "f8", "f2"] if name == "mask" else ["f4", "f8", "f2"]
            options[name] = new_array(b, shape, b.often(b.pick(kinds), *DTYPES))
    for name in NUMBERS:
        if b.below(6) == 0:
            options[name] = b.often(b.pick(NUMBERS[name]), *WRONG_NUMBERS)
    for name in ("alibi_slopes", "sinks"):
        if b.below(5) == 0:
            shape = b.often((heads,), (heads + 1,), ())
            options[name] = new_array(b, shape, b.often("f4", *DTYPES))
    named = b.pick([False, False, False, "upper_left", "lower_right"])
    options["causal"] = b.often(named, True, "left", 1)
    options["return_weights"] = b.often(b.pick([False, True, "mean"]), "none")
    options["return_lse"] = b.often(b.pick([False, True]), 0)
    if b.below(12) == 0:
        options["out"] = new_out(b, arrays, (*shapes[0][:-1], d_v), scores, dtype)
    return arrays, options


def new_out(b: Bytes, arrays: list[Any], shape: Any, scores: Any, dtype: Any) -> Any:
    out, weights = new_array(b, b.often(shape, scores), dtype), new_array(b, scores, dtype)
    results = [out] + ([weights] if b.below(2) else [])
    overlapping = arrays[b.below(3)]
    return b.often(out if len(results) == 1 else tuple(results), (None, weights), (out, out),
                   overlapping, (overlapping, weights), [out], (out, weights, None))  # fmt: skip


def call_attention(b: Bytes) -> bool:
    arrays, options = attention_arguments(b)
    before = [x.tobytes() if isinstance(x, np.ndarray) else None for x in arrays]
    try:
        got = selfattn.attention(*arrays, **options)
    except ALLOWED:
        return False
    results = got if isinstance(got, tuple) else (got,)
    wanted = 1 + (options["return_weights"] is not False) + bool(options["return_lse"])
    assert len(results) == wanted
    assert "out" in options or all(type(x) is np.ndarray for x in results)
    if "out" not in options:
        assert before == [x.tobytes() if isinstance(x, np.ndarray) else None for x in arrays]
    return True


def call_torchs(b: Bytes) -> bool:
    arrays, options = attention_arguments(b)
    try:
        selfattn.scaled_dot_product_attention(
            *arrays, options.get("mask"), b.often(0.0, 0.5, None), b.often(False, True, "x"),
            scale=options.get("scale"), enable_gqa=b.often(True, False),
        )  # fmt: skip
    except ALLOWED:
        return False
    return True


def layer_options(b: Bytes, heads: Any, n: int) -> dict[str, Any]:
    options: dict[str, Any] = {"causal": b.often(False, True, "left")}
    if b.below(4) == 0:
        shape = b.often((n, n), (n, 1), (heads, n, n) if isinstance(heads, int) else ())
        options["mask"] = new_array(b, shape, b.often("?", *DTYPES))
    for name in NUMBERS:
        if b.below(10) == 0:
            options[name] = b.often(b.pick(NUMBERS[name]), *WRONG_NUMBERS)
    options["return_weights"] = b.often(b.pick([False, True, "mean"]), "none")
    options["return_lse"] = b.often(b.pick([False, True]), 0)
    return options


def call_layer(b: Bytes) -> bool:
    n, width = b.pick([0, 1, 5, 33]), b.pick([4, 8, 12, 0])
    heads = b.often(b.pick([1, 2, 4]), 3, 0, -1, "2")
    shapes = [(2, n, width)] + [(width, b.often(width, width + 4)) for _ in range(4)]
    dtype = b.pick(["f4", "f8", "f2"])
    x, *weights = (new_array(b, s, b.often(dtype, *DTYPES)) for s in shapes)
    added = {
        name: new_array(b, b.often((width,), (width + 1,)), b.often(dtype, *DTYPES))
        for name in ("b_q", "b_k", "b_v", "b_o")
        if b.below(3) == 0
    }
    try:
        selfattn.self_attention(
            x, *weights[: b.often(4, 3)], num_heads=heads, **added, **layer_options(b, heads, n)
        )
    except ALLOWED:
        return False
    return True


def call_held_layer(b: Bytes) -> bool:
    heads, width = b.pick([(2, 2), (4, 2), (1, 1)]), b.pick([4, 8, 12, 16])
    dtype = b.pick(["f4", "f8", "f2"])
    try:
        layer = selfattn.MultiHeadAttention(
            b.often(width, -1, "8"), heads[0], num_kv_heads=b.often(heads[1], 3, 0),
            bias=b.often(True, False, None), dtype=b.often(dtype, *DTYPES), rng=0,
        )  # fmt: skip
        n = b.pick([0, 1, 5, 33])
        inputs = [
            new_array(b, (*b.pick([(), (2,)]), n, width), b.often(dtype, *DTYPES))
            for _ in range(b.often(1, 2, 3))
        ]
        layer(*inputs, **(layer_options(b, heads[0], n) if b.below(2) else {}))
    except ALLOWED:
        return False
    return True


def call_stats(b: Bytes) -> bool:
    arrays, options = attention_arguments(b)
    for name in ("return_weights", "return_lse", "out"):
        options.pop(name, None)
    n_q = arrays[0].shape[-2] if isinstance(arrays[0], np.ndarray) and arrays[0].ndim > 1 else 1
    names = [name for name in ("entropy", "max", "received", "distance") if b.below(2)]
    options["stats"] = b.often(names, ["sharpness"], "max", 3)
    options["top_k"] = b.often(b.pick([0, 1, 3, 100]), *WRONG_NUMBERS)
    options["overview"] = b.often(b.pick([0, 0, 1, 7]), *WRONG_NUMBERS)
    if b.below(4) == 0:
        options["rows"] = b.often(b.pick([[0], slice(1, 3), []]), [n_q], -(2**70), "x", [0.5])
    if b.below(4) == 0:
        shape = b.often((n_q,), (n_q, 2), (n_q, 20), (n_q + 1,), ())
        options["column_weights"] = new_array(b, shape, b.often("f4", *DTYPES))
    if b.below(4) == 0:
        tokens = new_array(b, b.often((n_q,), (n_q + 1,)), b.often("<i4", *DTYPES))
        scores = ["previous", "first", "diagonal", ("window", 3), ("induction", tokens)]
        options["head_scores"] = b.often([b.pick(scores)], scores, ["none"], [("window", -1)], 5)
    try:
        selfattn.attention_stats(*arrays[: b.often(3, 2)], **options)
    except ALLOWED:
        return False
    return True


def call_beside(b: Bytes) -> bool:
    n, d = b.pick([0, 1, 5, 33]), b.pick([0, 2, 8, 7])
    x = new_array(b, b.often((2, n, d), (d,), ()), b.often(b.pick(["f4", "f8", "f2"]), *DTYPES))
    weight = new_array(b, b.often((d,), (d + 1,)), b.often("f4", *DTYPES))
    numbers = b.often(10.0, *WRONG_NUMBERS)
    calls: list[Callable[[], Any]] = [
        lambda: selfattn.layer_norm(x, b.often(weight, None), eps=numbers),
        lambda: selfattn.positional.rotary(x, b.often(None, weight), base=numbers),
        lambda: selfattn.positional.sinusoidal(b.often(n, *WRONG_NUMBERS[:3]), d),
        lambda: selfattn.positional.alibi_slopes(b.often(n, *WRONG_NUMBERS[:3])),
        lambda: selfattn.rollout([(x, x)] * b.below(3), rows=b.often(-1, 7, slice(None))),
    ]
    try:
        b.pick(calls)()
    except ALLOWED:
        return False
    return True


CALLS: list[Callable[[Bytes], bool]] = [
    call_attention, call_attention, call_attention, call_torchs, call_layer, call_held_layer,
    call_stats, call_stats, call_beside,
]  # fmt: skip
counts = {"inputs": 0, "computed": 0}


def run_one(data: bytes) -> None:
    b = Bytes(data)
    counts["inputs"] += 1
    counts["computed"] += b.pick(CALLS)(b)


def report() -> int:
    print(f"inputs: {counts['inputs']}, of which {counts['computed']} computed")
    print(f"{counts['inputs']} passed, 0 failed")
    return 0


def main() -> int:
    if sys.argv[1] == "--fuzz":
        import atexit

        import atheris  # type: ignore[import-not-found]

        atexit.register(report)
        atheris.Setup([sys.argv[0], *sys.argv[2:]], run_one)
        atheris.Fuzz()
    elif sys.argv[1] == "--random":
        generator = random.Random(int(sys.argv[3]))
        for _ in range(int(sys.argv[2])):
            run_one(generator.randbytes(generator.randrange(200)))
    else:
        for name in sys.argv[1:]:
            run_one(Path(name).read_bytes())
    return report()


if __name__ == "__main__":
    raise SystemExit(main())
