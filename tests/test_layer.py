"""`self_attention` and `MultiHeadAttention`: PyTorch's numbers, the formula in float64, the bytes
they promise, and the arrays they hold."""

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import selfattn
from arrays import DTYPES, LAYOUTS, in_layout, same_bits, tensor
from layer_cases import ARTICLE_W, ARTICLE_X, CASES
from selfattn import reference

EXAMPLES = settings.default.max_examples
with np.load(Path(__file__).parent / "data" / "layer.npz") as file:
    GOLDEN = dict(file)
STATES = json.loads(str(GOLDEN.pop("states")))
# Largest difference from float64 results of numbers around 1, scores around 1 to 10.
TOLERANCE = {"float64": 1e-13, "float32": 3e-5, "float16": 2e-2, "bfloat16": 1.5e-1}
PACKAGES = pytest.mark.parametrize("package", [selfattn, reference], ids=["C", "reference"])


def close(got, right, dtype):
    name = np.dtype(dtype).name
    assert got.shape == right.shape
    assert got.dtype == dtype
    got = got.astype(np.float64)
    finite = np.isfinite(right)
    assert np.array_equal(got[~finite], right[~finite])
    scale = max(1.0, float(np.abs(right[finite]).max(initial=0)))
    assert np.abs(got[finite] - right[finite]).max(initial=0) <= TOLERANCE[name] * scale


@PACKAGES
class TestTorch:
    """Numbers that tests/data/make_layer.py took from torch.nn.MultiheadAttention."""

    @pytest.mark.parametrize("dtype", DTYPES, ids=lambda t: np.dtype(t).name)
    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
    def test_results(self, unit, package, case, dtype):
        state = {name: x.astype(dtype) for name, x in case.state().items()}
        layer = package.MultiHeadAttention.from_torch(state, num_heads=case.heads)
        assert layer.dtype == dtype
        inputs = [x.astype(dtype) for x in case.inputs()]
        options = {"mask": case.array_mask(), "causal": case.mask == "causal"}
        out, weights = layer(*inputs, **options, return_weights=True)
        close(out, GOLDEN[f"{case.name}/out"], dtype)
        close(weights, GOLDEN[f"{case.name}/weights"], dtype)
        _, mean = layer(*inputs, **options, return_weights="mean")
        close(mean, GOLDEN[f"{case.name}/weights"].mean(axis=1), dtype)

    def test_article(self, unit, package):
        """Three tokens of integers, no scale."""
        out, weights = package.self_attention(ARTICLE_X, *ARTICLE_W, scale=1.0, return_weights=True)
        close(out, GOLDEN["article/out"], np.float64)
        close(weights, GOLDEN["article/weights"][None], np.float64)

    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
    def test_state_dict(self, package, case):
        """PyTorch's names and shapes, and the same numbers there and back."""
        state = case.state()
        layer = package.MultiHeadAttention.from_torch(state, num_heads=case.heads)
        back = layer.state_dict()
        assert {name: list(x.shape) for name, x in back.items()} == STATES[case.name]
        for name, x in back.items():
            assert same_bits(x, state[name])
            assert not np.shares_memory(x, layer.state_dict()[name])


def formula(x, w, b, heads, kv_heads, mask=None):
    """out and weights of self-attention in float64."""
    wide = [a.astype(np.float64) for a in w]
    q, k, v = (x.astype(np.float64) @ a + c for a, c in zip(wide[:3], b[:3], strict=True))
    split = lambda y, n: np.moveaxis(y.reshape(*y.shape[:-1], n, -1), -2, -3)  # noqa: E731
    q, k, v = split(q, heads), split(k, kv_heads), split(v, kv_heads)
    k, v = (np.repeat(a, heads // kv_heads, axis=-3) for a in (k, v))
    scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1])
    scores = scores if mask is None else np.where(mask, scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    joined = np.moveaxis(weights @ v, -3, -2)
    return joined.reshape(*joined.shape[:-2], -1) @ wide[3] + b[3], weights


def make(rng, d_model, heads, kv_heads, d, d_v, d_out, dtype=np.float32):
    """Weights and biases."""
    shapes = [(d_model, heads * d), (d_model, kv_heads * d), (d_model, kv_heads * d_v),
              (heads * d_v, d_out)]  # fmt: skip
    w = [(tensor(rng, s, np.float64) / max(1, s[0]) ** 0.5).astype(dtype) for s in shapes]
    return w, [tensor(rng, s[1], dtype) for s in shapes]


def named(w, b=None):
    found = dict(zip(("w_q", "w_k", "w_v", "w_o"), w, strict=True))
    if b is not None:
        found |= dict(zip(("b_q", "b_k", "b_v", "b_o"), b, strict=True))
    return found


@settings(max_examples=EXAMPLES // 10)
@given(
    st.integers(0, 2**32 - 1), st.sampled_from([(1, 1), (4, 4), (6, 2), (5, 1)]),
    st.integers(1, 70), st.integers(1, 40), st.integers(1, 20), st.integers(1, 20),
    st.sampled_from([(), (1,), (3,), (2, 2)]), st.sampled_from(DTYPES), st.booleans(),
)  # fmt: skip
def test_against_the_formula(unit, seed, heads, n, d_model, d, d_v, batch, dtype, causal):
    rng = np.random.default_rng(seed)
    x = tensor(rng, (*batch, n, d_model), dtype)
    w, b = make(rng, d_model, *heads, d, d_v, 7, dtype)
    mask = np.tri(n, dtype=bool) if causal else None
    right, right_weights = formula(x, w, b, *heads, mask)
    for function in (selfattn.self_attention, reference.self_attention):
        out, weights, lse = function(
            x, **named(w, b), num_heads=heads[0], num_kv_heads=heads[1], causal=causal,
            return_weights=True, return_lse=True,
        )  # fmt: skip
        close(out, right, dtype)
        close(weights, right_weights, dtype)
        assert lse.shape == weights.shape[:-1]
        assert lse.dtype == (np.float64 if dtype == np.float64 else np.float32)


OPTIONS = {
    "mask": {"mask": np.arange(9) % 3 > 0},
    "float mask": {"mask": np.linspace(-1, 1, 81).reshape(9, 9)},
    "bias": {"bias": np.linspace(-2, 1, 4 * 81).reshape(4, 9, 9)},
    "causal, window": {"causal": True, "window": (3, None)},
    "offset": {"causal": True, "query_offset": [2, -1]},
    "scale, softcap": {"scale": 0.7, "softcap": 1.5},
    "alibi": {"alibi_slopes": [0.5, 0.25, 0.1, 0.0]},
    "sinks": {"sinks": [0.1, -np.inf, 2.0, 0.0]},
    "lengths": {"key_lengths": [5, 9]},
}


@PACKAGES
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_options_are_attentions(unit, rng, package, options):
    """Every keyword does to the layer what it does to attention of the same projections."""
    layer = package.MultiHeadAttention(24, 4, num_kv_heads=2, dtype=np.float64, rng=1)
    x = tensor(rng, (2, 9, 24), np.float64)
    split = lambda y, n: y.reshape(2, 9, n, 6).swapaxes(1, 2)  # noqa: E731
    q, k, v = split(x @ layer.w_q, 4), split(x @ layer.w_k, 2), split(x @ layer.w_v, 2)
    inner = selfattn.attention(q, k, v, **options, return_weights=True, return_lse=True)
    results = layer(x, **options, return_weights=True, return_lse=True)
    close(results[0], inner[0].swapaxes(1, 2).reshape(2, 9, 24) @ layer.w_o, np.float64)
    close(results[1], inner[1], np.float64)
    close(results[2], inner[2], np.float64)
    arrays = dict(zip(("w_q", "w_k", "w_v", "w_o"),
                      (layer.w_q, layer.w_k, layer.w_v, layer.w_o), strict=True))  # fmt: skip
    same = package.self_attention(x, **arrays, num_heads=4, num_kv_heads=2, **options)
    close(same, results[0], np.float64)


def test_layer_and_function_give_the_same_bytes(unit, rng):
    layer = selfattn.MultiHeadAttention(40, 4, rng=2)
    layer.b_q[...], layer.b_o[...] = tensor(rng, 40), tensor(rng, 40)
    x = tensor(rng, (3, 50, 40))
    w = named((layer.w_q, layer.w_k, layer.w_v, layer.w_o),
              (layer.b_q, layer.b_k, layer.b_v, layer.b_o))  # fmt: skip
    first = layer(x, causal=True, return_weights=True)
    for got in (
        selfattn.self_attention(x, **w, num_heads=4, causal=True, return_weights=True),
        layer(x, x, causal=True, return_weights=True),
        layer(x, x, x.copy(), causal=True, return_weights=True),
        layer(x, x.copy(), x.copy(), causal=True, return_weights=True),
    ):
        assert all(same_bits(a, b) for a, b in zip(got, first, strict=True))


def test_determinism(unit, rng):
    """Threads, batch neighbours, layouts and what is returned change no byte of a row."""
    w, b = make(rng, 40, 6, 2, 16, 12, 30)
    x = tensor(rng, (4, 70, 40))
    options = {"num_heads": 6, "num_kv_heads": 2, "causal": True} | named(w, b)
    first = selfattn.self_attention(x, **options, num_threads=1)
    for threads in (2, 3):
        assert same_bits(selfattn.self_attention(x, **options, num_threads=threads), first)
    for i in range(4):
        assert same_bits(selfattn.self_attention(x[i], **options), first[i])
    others = np.full_like(x, np.nan)
    others[2] = x[2]
    assert same_bits(selfattn.self_attention(others, **options)[2], first[2])
    for which in (True, "mean"):
        assert same_bits(selfattn.self_attention(x, **options, return_weights=which)[0], first)
    for layout in LAYOUTS:
        moved = {name: in_layout(a, layout) if name[1:2] == "_" else a
                 for name, a in options.items()}  # fmt: skip
        assert same_bits(selfattn.self_attention(in_layout(x, layout), **moved), first), layout


@PACKAGES
@pytest.mark.parametrize("dtypes", [
    ("f4", "f8"), ("f2", "f4"), ("i4", "f4"), ("i8", "i8"), ("?", "f2"), ("f8", "f4"),
    (ml_dtypes.bfloat16, "f4"), (ml_dtypes.bfloat16, ml_dtypes.bfloat16), (">f4", ">f4"),
], ids=str)  # fmt: skip
def test_promotion(unit, rng, package, dtypes):
    x = (3 * tensor(rng, (5, 6))).astype(dtypes[0])
    w = [(3 * tensor(rng, (6, 4))).astype(dtypes[1]) for _ in range(3)]
    expected = np.result_type(x, *w)
    expected = np.dtype(np.float64) if expected.kind in "biu" else expected.newbyteorder("=")
    out, weights = package.self_attention(x, *w, return_weights=True)
    assert out.dtype == weights.dtype == expected
    wide = package.self_attention(x.astype(float), *(a.astype(float) for a in w))
    close(out, wide, expected)


@PACKAGES
def test_sizes(unit, package):
    """Empty batches and sequences, one token, one feature; weights always have a head axis."""
    for shape in ((0, 4), (1, 4), (3, 0, 4), (0, 5, 4), (2, 0, 2, 4), (3, 0)):
        x = np.ones(shape, np.float32)
        w = np.ones((shape[-1], 6), np.float32)
        out, weights, lse = package.self_attention(
            x, w, w, w, num_heads=2, return_weights=True, return_lse=True
        )
        assert out.shape == (*shape[:-1], 6)
        assert weights.shape == (*shape[:-2], 2, shape[-2], shape[-2])
        assert lse.shape == (*shape[:-2], 2, shape[-2])
        assert package.self_attention(x, w, w, w, return_weights=True)[1].ndim == len(shape) + 1
        assert package.self_attention(x, w, w, w, np.ones((6, 0))).shape == (*shape[:-1], 0)
    layer = package.MultiHeadAttention(0, 2)
    assert layer(np.ones((3, 0))).shape == (3, 0)


@PACKAGES
def test_cross_attention_broadcasts(unit, rng, package):
    """Axes before the tokens broadcast between query, key and value, as in attention."""
    layer = package.MultiHeadAttention(12, 3, kdim=5, vdim=7, dtype=np.float64, rng=3)
    query, key, value = (tensor(rng, s, np.float64) for s in ((4, 1, 6, 12), (2, 8, 5), (8, 7)))
    out, weights = layer(query, key, value, return_weights=True)
    assert out.shape == (4, 2, 6, 12)
    assert weights.shape == (4, 2, 3, 6, 8)
    for i in range(4):
        for j in range(2):
            close(out[i, j], layer(query[i, 0], key[j], value), np.float64)


@PACKAGES
class TestOut:
    @pytest.mark.parametrize("dtype", DTYPES, ids=lambda t: np.dtype(t).name)
    @pytest.mark.parametrize("projected", [True, False])
    def test_any_strides(self, unit, rng, package, dtype, projected):
        w, _ = make(rng, 10, 2, 2, 4, 3, 8, dtype)
        x = tensor(rng, (2, 7, 10), dtype)
        options = {"num_heads": 2, "return_weights": True, "return_lse": True}
        w = w if projected else w[:3]
        first = package.self_attention(x, *w, **options)
        for layout in ("contiguous", "fortran", "reversed", "spread", "unaligned"):
            out = tuple(in_layout(np.empty_like(a), layout) for a in first)
            got = package.self_attention(x, *w, **options, out=out)
            assert all(a is b for a, b in zip(got, out, strict=True))
            assert all(same_bits(a.copy(), b) for a, b in zip(got, first, strict=True)), layout
        only = np.empty_like(first[1])
        got = package.self_attention(x, *w, **options, out=(None, only, None))
        assert got[1] is only
        assert same_bits(got[0], first[0])
        target = np.empty_like(first[0])
        assert package.self_attention(x, *w, num_heads=2, out=target) is target
        assert same_bits(target, first[0])

    def test_over_an_input(self, unit, rng, package):
        """An entry that overlaps an input is filled as if it did not."""
        for name in ("x", "w_q", "w_o", "b_o", "mask"):
            for entry in range(3):
                given = {"x": tensor(rng, (8, 8)), "mask": tensor(rng, (8, 8)),
                         "b_o": tensor(rng, 8)}  # fmt: skip
                given |= {f"w_{which}": tensor(rng, (8, 8)) for which in "qkvo"}
                wide = np.zeros((8, 8, 8), np.float32)  # what outlives the overlap
                wide[0], given["b_o"] = given[name], given["b_o"].copy()
                options = {"return_weights": True, "return_lse": True}
                first = package.self_attention(**given, **options)
                given[name] = wide[0] if name != "b_o" else wide[0, 0]
                out = [None] * 3
                out[entry] = (wide[0], wide[:1], wide[:1, :, 0])[entry]
                got = package.self_attention(**given, **options, out=tuple(out))
                assert all(same_bits(a.copy(), b) for a, b in zip(got, first, strict=True)), (
                    name, entry)  # fmt: skip


def test_drawn_weights():
    """Reproducible, within PyTorch's bounds, biases 0."""
    for more in ({}, {"num_kv_heads": 2}, {"kdim": 20, "vdim": 30}):
        a, b = (selfattn.MultiHeadAttention(64, 4, rng=5, **more).state_dict() for _ in "ab")
        assert all(same_bits(a[name], b[name]) for name in a)
        assert not a["in_proj_bias"].any()
        assert not a["out_proj.bias"].any()
        bound = 64**-0.5
        assert 0.9 * bound < np.abs(a["out_proj.weight"]).max() <= bound
    w = selfattn.MultiHeadAttention(64, 4, rng=np.random.default_rng(1)).state_dict()
    bound = (6 / (64 + 3 * 64)) ** 0.5
    assert 0.9 * bound < np.abs(w["in_proj_weight"]).max() <= bound
    assert selfattn.MultiHeadAttention(8, 2, bias=False).b_q is None
    assert repr(selfattn.MultiHeadAttention(8, 4, num_kv_heads=2, kdim=3, bias=False)) == (
        "MultiHeadAttention(8, 4, num_kv_heads=2, kdim=3, bias=False, dtype=float32)"
    )


def test_what_is_held_is_used(rng):
    """Weights are views: written into, they change the result."""
    layer = selfattn.MultiHeadAttention(8, 2, num_kv_heads=1, dtype=np.float64, rng=0)
    x = tensor(rng, (5, 8), np.float64)
    before = layer(x)
    for which in "qkvo":
        w, b = getattr(layer, f"w_{which}"), getattr(layer, f"b_{which}")
        w += 0.1
        assert not np.array_equal(layer(x), before)
        before = layer(x)
        b += np.arange(len(b))
        assert which == "k" or not np.array_equal(layer(x), before)
        before = layer(x)
    assert layer.w_k.shape == layer.w_v.shape == (8, 4)


def test_module_without_torch(rng):
    """from_torch needs no more of a tensor than detach, cpu, dtype, float and numpy."""

    class Tensor:
        def __init__(self, array, dtype="torch.float32"):
            self.array, self.dtype = array, dtype

        def detach(self):
            return self

        cpu = detach

        def float(self):
            return Tensor(self.array.astype(np.float32))

        def numpy(self):
            if self.dtype == "torch.bfloat16":
                raise TypeError("Got unsupported ScalarType BFloat16")
            return self.array

    class Module:
        num_heads, add_zero_attn, in_proj_weight = 2, False, None

        def state_dict(self):
            return self.state

    module, layer = Module(), selfattn.MultiHeadAttention(8, 2, rng=0)
    for dtype in ("torch.float32", "torch.bfloat16"):
        module.state = {name: Tensor(x, dtype) for name, x in layer.state_dict().items()}
        again = selfattn.MultiHeadAttention.from_torch(module, num_heads=2)
        assert again.num_heads == selfattn.MultiHeadAttention.from_torch(module).num_heads == 2
        assert all(same_bits(x, again.state_dict()[n]) for n, x in layer.state_dict().items())
    module.state["bias_k"] = None
    selfattn.MultiHeadAttention.from_torch(module)
    with pytest.raises(ValueError, match="num_heads is 4 and the module has 2"):
        selfattn.MultiHeadAttention.from_torch(module, num_heads=4)
    module.add_zero_attn = True
    with pytest.raises(ValueError, match="add_zero_attn"):
        selfattn.MultiHeadAttention.from_torch(module)
