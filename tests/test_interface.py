"""What the package exports, under which signatures; PyTorch's function; the configuration."""

import inspect
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

import oracle
import selfattn
from arrays import qkv, same_bits
from selfattn import _selfattn, reference

ROOT = Path(__file__).resolve().parent.parent
ATTENTION = (
    "(query, key, value, mask=None, *, bias=None, causal=False, window=None, query_offset=None, "
    "scale=None, softcap=None, alibi_slopes=None, sinks=None, key_lengths=None, "
    "return_weights=False, return_lse=False, out=None, num_threads=None)"
)
LAYER = (
    "(x, w_q, w_k, w_v, w_o=None, *, b_q=None, b_k=None, b_v=None, b_o=None, num_heads=1, "
    f"num_kv_heads=None, mask=None, {ATTENTION.partition('*, ')[2]}"
)
HOLDS = (
    "(embed_dim, num_heads, *, num_kv_heads=None, kdim=None, vdim=None, bias=True, "
    f"dtype={np.float32!r}, rng=None)"
)
TORCH = (
    "(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, *, scale=None, "
    "enable_gqa=False)"
)


def plain_signature(function):
    """The signature as text, without annotations."""
    signature = inspect.signature(function)
    parameters = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=parameters, return_annotation=signature.empty))


def test_exports():
    assert set(selfattn.__all__) == {
        "AttentionStats", "MultiHeadAttention", "__version__", "attention", "attention_stats",
        "estimate", "get_num_threads",
        "layer_norm", "plot", "positional", "reference", "register_threadpoolctl", "rollout",
        "scaled_dot_product_attention", "self_attention", "set_num_threads", "show_config",
        "threads", "to_bertviz", "to_circuitsvis", "units", "view",
    }  # fmt: skip
    assert all(hasattr(selfattn, name) for name in selfattn.__all__)
    assert selfattn.attention is _selfattn.attention
    assert inspect.isbuiltin(selfattn.attention)
    assert set(reference.__all__) == {
        "MultiHeadAttention", "attention", "attention_stats", "estimate", "layer_norm",
        "positional", "rollout", "scaled_dot_product_attention", "self_attention",
    }  # fmt: skip


@pytest.mark.parametrize("package", [selfattn, reference])
def test_signatures(package):
    assert plain_signature(package.attention) == ATTENTION
    assert plain_signature(package.scaled_dot_product_attention) == TORCH
    assert plain_signature(package.self_attention) == LAYER
    assert plain_signature(package.MultiHeadAttention) == HOLDS
    assert plain_signature(package.layer_norm) == "(x, weight=None, bias=None, *, eps=1e-05)"
    positional = package.positional
    assert plain_signature(positional.sinusoidal) == "(n, d)"
    rotary = "(x, positions=None, *, base=10000.0, interleaved=False)"
    assert plain_signature(positional.rotary) == rotary
    assert plain_signature(positional.alibi_slopes) == "(num_heads)"
    call = ATTENTION.replace("key, value", "key=None, value=None").replace("(", "(self, ")
    assert plain_signature(package.MultiHeadAttention.__call__) == call


def test_keywords_are_optional_and_none_is_absent(rng):
    """Passing every default, by name or by place, is the same call."""
    query, key, value = qkv(rng, 6, 6, 4)
    defaults = {
        name: p.default
        for name, p in inspect.signature(selfattn.attention).parameters.items()
        if p.default is not p.empty
    }
    expected = selfattn.attention(query, key, value)
    assert same_bits(selfattn.attention(query, key, value, **defaults), expected)
    assert same_bits(selfattn.attention(query, key, value, None), expected)
    assert same_bits(selfattn.attention(value=value, key=key, query=query), expected)


def test_version_is_in_one_place():
    header = (ROOT / "csrc" / "include" / "selfattn.h").read_text()
    version = re.search(r'#define SA_VERSION "(\d+\.\d+\.\d+)"', header)[1]
    assert selfattn.__version__ == _selfattn.__version__ == version
    assert version not in (ROOT / "pyproject.toml").read_text()


def test_results_come_in_order(rng):
    query, key, value = qkv(rng, 5, 6, 4, 3, heads=2, batch=(2,))
    shapes = {"out": (2, 2, 5, 3), "weights": (2, 2, 5, 6), "mean": (2, 5, 6), "lse": (2, 2, 5)}
    for weights, names in ((False, ()), (True, ("weights",)), ("mean", ("mean",))):
        for lse in (False, True):
            got = selfattn.attention(query, key, value, return_weights=weights, return_lse=lse)
            wanted = ["out", *names, *(["lse"] if lse else [])]
            if len(wanted) == 1:
                assert type(got) is np.ndarray
                assert got.shape == shapes["out"]
            else:
                assert type(got) is tuple
                assert [x.shape for x in got] == [shapes[name] for name in wanted]


def test_new_results_are_contiguous_and_owned(unit, rng):
    arrays = qkv(rng, 40, 50, 8, heads=2)
    for x in selfattn.attention(*arrays, return_weights=True, return_lse=True):
        assert x.flags.c_contiguous
        assert x.flags.owndata
        assert x.flags.writeable
        assert x.flags.aligned


@pytest.mark.parametrize("function", [
    selfattn.scaled_dot_product_attention, reference.scaled_dot_product_attention,
], ids=["C", "reference"])  # fmt: skip
class TestPyTorchsFunction:
    def test_calls(self, function, rng):
        query, key, value = qkv(rng, 5, 7, 4, 3, heads=4, kv_heads=2, batch=(2,))
        mask = rng.random((5, 7)) < 0.7
        for options, ours in (
            ({}, {}),
            ({"attn_mask": mask}, {"mask": mask}),
            ({"is_causal": True}, {"causal": "upper_left"}),
            ({"scale": 0.3}, {"scale": 0.3}),
        ):
            got = function(query, key, value, **options, enable_gqa=True)
            oracle.check(got, oracle.attention(query, key, value, **ours))
        got = function(query, key, value, mask, 0.0, False, scale=1, enable_gqa=True)
        oracle.check(got, oracle.attention(query, key, value, mask, scale=1.0))

    def test_heads_broadcast_like_batch_axes_without_gqa(self, function, rng):
        """One query head over three key heads, as any axis before the last two."""
        query, key, value = qkv(rng, 5, 7, 4, heads=1, kv_heads=3)
        got = function(query, key, value)
        oracle.check(got, oracle.attention(np.repeat(query, 3, 0), key, value))
        got = function(key, query, query)
        expected = oracle.attention(key, np.repeat(query, 3, 0), np.repeat(query, 3, 0))
        oracle.check(got, expected)

    def test_two_dimensions_and_integers(self, function):
        x = np.array([[1, 0], [0, 1], [2, 2]])
        oracle.check(function(x, x, x, is_causal=True), oracle.attention(x, x, x, causal=True))

    @pytest.mark.parametrize(("bad", "texts"), [
        ({"dropout_p": 0.1}, ["dropout_p", "0.1"]),
        ({"attn_mask": np.ones((5, 7), bool), "is_causal": True}, ["attn_mask", "is_causal"]),
        ({"enable_gqa": False}, ["4", "heads", "2", "enable_gqa"]),
    ])  # fmt: skip
    def test_errors(self, function, rng, bad, texts):
        query, key, value = qkv(rng, 5, 7, 4, heads=4, kv_heads=2)
        with pytest.raises(ValueError, match=".*".join(texts)):
            function(query, key, value, **({"enable_gqa": True} | bad))


@pytest.mark.parametrize(("mask", "kind", "text"), [
    (np.ones((5, 7), int), TypeError, "attn_mask is int64: use attn_mask.astype(bool) (True"),
    (np.ones((2, 7), bool), ValueError, "pass attn_mask[:, None, None, :]"),
])  # fmt: skip
def test_pytorchs_function_calls_its_mask_by_its_name(rng, mask, kind, text):
    query, key, value = qkv(rng, 5, 7, 4, heads=3, batch=(2,))
    with pytest.raises(kind, match=re.escape(text)):
        selfattn.scaled_dot_product_attention(query, key, value, mask)
    with pytest.raises(ValueError, match=r"^value has 5 rows"):
        selfattn.scaled_dot_product_attention(query, key, query)


def test_units():
    known = ("avx512", "avx2", "scalar")
    units = selfattn.units()
    assert type(units) is tuple
    assert set(units) <= set(known)
    assert list(units) == [name for name in known if name in units]
    assert units[-1] == "scalar"
    assert set(units) <= set(_selfattn._built_units())
    with pytest.raises(ValueError, match="scalar"):
        _selfattn._use_unit("neon")


def test_units_follow_the_cpu():
    """On Linux, where the kernel lists what CPU and system can do."""
    try:
        flags = re.search(r"(?m)^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text())[1].split()
    except (OSError, TypeError):
        return
    built = _selfattn._built_units()
    assert ("avx2" in selfattn.units()) == ({"avx2", "fma", "f16c"} <= set(flags)
                                            and "avx2" in built)  # fmt: skip
    needed = {"avx512f", "avx512bw", "avx512dq", "avx512vl"}
    if not needed & set(flags):
        assert "avx512" not in selfattn.units()


def test_show_config(capsys):
    assert selfattn.show_config() is None
    text = capsys.readouterr().out
    for part in (selfattn.__version__, np.__version__, *selfattn.units()):
        assert part in text
    config = selfattn.show_config(mode="dicts")
    assert config["units"]["in use"] == _selfattn._config()["unit_in_use"]
    assert config["threads"]["number"] == selfattn.get_num_threads()
    with pytest.raises(ValueError, match="mode"):
        selfattn.show_config(mode="json")


def test_a_copy_by_pickle_knows_its_rows(rng):
    query, key, value = qkv(rng, 30, 30, 8, heads=2)
    stats = selfattn.attention_stats(query, key, value, causal=True, top_k=2, overview=4)
    again = pickle.loads(pickle.dumps(stats))
    assert same_bits(again.output, stats.output)
    assert same_bits(again.overview.max, stats.overview.max)
    assert same_bits(again.to_dense(), stats.to_dense())
    assert same_bits(again.to_dense(rows=[3, 29]), stats.to_dense(rows=[3, 29]))


def test_a_stats_result_shows_what_it_has(rng):
    query, key, value = qkv(rng, 30, 40, 8, heads=2)
    assert repr(selfattn.attention_stats(query, key, stats=())) == (
        "AttentionStats of (2, 30) queries x 40 keys: lse"
    )
    lines = repr(selfattn.attention_stats(query, key, value, top_k=2, rows=[1])).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("AttentionStats of (2, 30) queries x 40 keys: output, lse, top_w")
    assert lines[1].endswith("distance, received, rows")
