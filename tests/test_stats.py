"""attention_stats against its reference in float64, and against attention's own weights, bit for
bit where the interface promises it."""

import inspect
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracle
import selfattn
from arrays import DTYPES, qkv, same_bits
from problems import problems
from programs import PATIENCE
from selfattn import reference

TOP = 5
ARRAYS = ("output", "lse", "top_weights", "top_indices", "top_rest", "entropy", "max", "argmax",
          "distance", "received", "weighted", "rows")  # fmt: skip


def wide(x):
    """float64, or what the oracle judges float64 with, as sums of weights are to be right."""
    return np.asarray(x, np.result_type(x, np.float64))


def close(name, got, right, bound):
    got, right, bound = np.broadcast_arrays(wide(got), right, bound)
    with np.errstate(invalid="ignore"):
        bad = ~((np.abs(got - right) <= bound) | (np.isnan(got) & np.isnan(right)))
    assert not bad.any(), f"{name}: {got[bad][0]} is not {right[bad][0]} +- {bound[bad][0]}"


def check_stats(found, problem, mask, columns):
    """Every statistic within what the bounds of single weights and of their sums allow."""
    options = {key: x for key, x in problem.options.items() if key != "mask"}
    expected = oracle.attention(problem.query, problem.key, problem.value, mask, **options)
    u, tiny = oracle.unit_roundoff(problem.query.dtype), oracle.smallest_normal(problem.query.dtype)
    w, slack = wide(expected.weights), wide(expected.weights_bound)
    n_q, n_k = w.shape[-2:]
    lost = np.broadcast_to(expected.spoiled_rows, w.shape[:-1])
    assert not lost.any()
    with np.errstate(all="ignore"):
        kappa = wide((expected.lse_bound / u - 2 - np.abs(expected.lse)) / 4)
        kappa = np.where(np.isfinite(kappa), kappa, 0)
        log = np.where(w > 0, np.log(np.where(w > 0, w, 1)), 0)
    sums = (16 if u < 1e-10 else 32) * u
    # entropy: each -ln w is off by at most that of lse and score, and each w by its bound
    lse = np.where(np.isfinite(expected.lse), np.abs(wide(expected.lse)), 0)
    size = 1 + np.abs(w * log).sum(-1)
    close("entropy", found.entropy, -(w * log).sum(-1),
          (slack * (1 + np.abs(log))).sum(-1) + (16 + 8 * kappa + lse) * u * size
          + n_k * tiny * 2000)  # fmt: skip
    close("max", found.max, w.max(-1, initial=0), slack.max(-1, initial=0))
    offset = np.asarray(problem.options.get("query_offset", 0))
    if problem.options.get("causal") == "lower_right":
        offset = np.asarray(problem.options.get("key_lengths", n_k)) - n_q
    position = np.arange(n_q)[:, None] + offset[..., None, None, None]
    away = np.abs(position - np.arange(n_k))
    away = away.reshape(away.shape[-2:]) if w.ndim == 2 else away
    distance = (w * away).sum(-1)
    close("distance", found.distance, distance, (slack * away).sum(-1) + sums * distance + tiny)
    close("received", found.received, w.sum(-2), slack.sum(-2) + sums * w.sum(-2))
    back, size = np.swapaxes(w, -1, -2), np.abs(wide(columns))
    bound = np.swapaxes(slack, -1, -2) @ size + 2 * sums * (back @ size) + tiny * (n_q + 1)
    close("weighted", found.weighted, back @ wide(columns), bound)
    check_top(found, expected, w, slack)


def check_top(found, expected, w, slack):
    """Kept weights are those of their keys, none that was left out is clearly larger, and as many
    are kept as are seen."""
    indices, kept = found.top_indices, wide(found.top_weights)
    n_k = w.shape[-1]
    seen = np.broadcast_to(expected.visible, w.shape) & (w.sum(-1, keepdims=True) > 0)
    assert same_bits((indices >= 0).sum(-1), np.minimum(seen.sum(-1), TOP))
    assert (kept[indices < 0] == 0).all()
    if not n_k:
        return
    at = np.maximum(indices, 0)
    right = np.where(indices >= 0, np.take_along_axis(w, at, -1), 0)
    bound = np.take_along_axis(slack, at, -1)
    close("top_weights", kept, right, bound)
    assert (np.diff(kept, axis=-1) <= 0).all()
    equal = (np.diff(kept, axis=-1) == 0) & (indices[..., 1:] >= 0)
    assert (np.diff(indices, axis=-1)[equal] > 0).all(), "equal weights: lowest index first"
    others = np.where(seen, w - slack, 0)
    np.put_along_axis(others, at, 0, -1)
    least = np.where(indices[..., -1] >= 0, kept[..., -1] + slack.max(-1), np.inf)
    assert (others.max(-1) <= least).all()
    close("top_rest", found.top_rest, w.sum(-1) - right.sum(-1),
          2 * slack.sum(-1) + 32 * 2.0**-24 * (found.lse.dtype == np.float32) + 1e-14)  # fmt: skip


@settings(max_examples=100)
@given(problem=problems(), seed=st.integers(0, 2**32 - 1))
def test_any_call(unit, problem, seed):
    """Every option, type, layout and size, on every unit."""
    options = dict(problem.options)
    mask = options.pop("mask", None)
    out, lse = selfattn.attention(
        problem.query, problem.key, problem.value, mask, **options, return_lse=True
    )
    columns = np.random.default_rng(seed).standard_normal((problem.query.shape[-2], 2))
    columns = columns.astype(lse.dtype)
    found = selfattn.attention_stats(
        problem.query, problem.key, problem.value, mask, **options, top_k=TOP,
        column_weights=columns,
    )  # fmt: skip
    assert same_bits(found.output, out)
    assert same_bits(found.lse, lse)
    check_stats(found, problem, mask, columns)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["normal", "large", "equal", "sparse"])
def test_bits_of_the_weights(unit, rng, dtype, kind):
    """max, argmax and the kept weights are attention's own, also over several chunks of keys."""
    q, k, v = qkv(rng, 40, 1300, 16, heads=4, kv_heads=2, dtype=dtype, kind=kind)
    options = {"causal": "lower_right", "sinks": np.array([-np.inf, 0.0, 3.0, 30.0])}
    weights = selfattn.attention(q, k, v, **options, return_weights=True)[1]
    found = selfattn.attention_stats(q, k, v, **options, top_k=9)
    assert same_bits(found.max, weights.max(-1))
    at_argmax = np.take_along_axis(weights, found.argmax[..., None], -1)[..., 0]
    assert same_bits(at_argmax, weights.max(-1))
    order = np.argsort(-weights, axis=-1, kind="stable")[..., :9]
    expected = np.take_along_axis(weights, order, -1)
    assert same_bits(found.top_weights, expected)
    assert same_bits(found.top_indices, np.where(expected > 0, order, found.top_indices))


@pytest.mark.parametrize("order", ["rising", "falling"])
def test_moving_maximum(unit, order):
    """Each tile raises the maximum, or none does: sums are rescaled without a loss."""
    n = 3000
    key = np.linspace(-300, 300, n)[:, None] * (1 if order == "rising" else -1)
    query = np.array([[1.0], [-1.0], [0.01]])
    found = selfattn.attention_stats(query, key, query_offset=7, scale=1.0, top_k=TOP)
    right = reference.attention_stats(query, key, query_offset=7, scale=1.0, top_k=TOP)
    for name in ("entropy", "distance", "max", "received", "top_weights", "top_rest"):
        np.testing.assert_allclose(getattr(found, name), getattr(right, name), rtol=1e-11,
                                   atol=1e-13, err_msg=name)  # fmt: skip
    assert same_bits(found.top_indices, right.top_indices)


@pytest.mark.parametrize("dtype", DTYPES)
def test_reference_agrees(rng, dtype):
    """The twin, array by array, with everything asked for."""
    q, k, v = qkv(rng, 30, 50, 8, heads=4, kv_heads=2, batch=(2,), dtype=dtype)
    mask = rng.random((2, 1, 30, 50)) < 0.7
    mask[0, 0, 3] = False
    wanted = {
        "causal": "lower_right", "top_k": 60, "rows": [3, -1, 4, 5], "received_rows": slice(5, -2),
        "column_weights": rng.standard_normal((2, 4, 30, 3)), "key_lengths": [50, 41],
    }  # fmt: skip
    found = selfattn.attention_stats(q, k, v, mask, **wanted)
    right = reference.attention_stats(q, k, v, mask, **wanted)
    for name in ARRAYS:
        a, b = getattr(found, name), getattr(right, name)
        assert (a.shape, a.dtype) == (b.shape, b.dtype), name
        ulp = 2e-2 if name == "output" and a.dtype.itemsize == 2 else 2e-5
        if name != "top_indices":
            np.testing.assert_allclose(wide(a), wide(b), rtol=ulp, atol=ulp, err_msg=name)
    assert (found.top_indices[0, :, 3] == -1).all()
    assert (found.argmax[0, :, 3] == -1).all()


def test_nothing_that_was_not_asked_for(rng):
    q, k, v = qkv(rng, 9, 9, 4)
    found = selfattn.attention_stats(q, k, stats=())
    assert [name for name in ARRAYS if getattr(found, name) is not None] == ["lse"]
    assert selfattn.attention_stats(q, k, v, stats=()).output.shape == v.shape


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_empty(shape):
    n_q, n_k = shape
    q, k = np.ones((2, n_q, 4), np.float32), np.ones((2, n_k, 4), np.float32)
    found = selfattn.attention_stats(q, k, top_k=2, column_weights=np.ones(n_q), rows=slice(None))
    assert found.received.shape == found.weighted.shape == (2, n_k)
    assert (found.received == 0).all()
    assert (found.argmax == -1).all()
    assert (found.top_indices == -1).all()
    assert found.rows.shape == found.to_dense().shape == (2, n_q, n_k)


def test_nan_reaches_its_rows_only(unit, rng):
    q, k, _ = qkv(rng, 600, 600, 8)
    k[0, 590] = np.nan
    found = selfattn.attention_stats(q, k, causal=True, top_k=2)
    clean = np.where(np.arange(600) < 590, 0, np.nan)
    for name in ("entropy", "max", "distance", "top_rest", "received"):
        expected = np.full(600, np.nan) if name == "received" else clean
        assert np.array_equal(np.isnan(getattr(found, name)[0]), np.isnan(expected)), name
    assert (found.argmax[0, 590:] == -1).all()
    assert (found.top_indices[0, 590:] == -1).all()
    assert (found.top_indices[0, 1:590] >= 0).all()


@pytest.mark.parametrize("heads", [1, 4, 30])
def test_threads_change_no_bit(unit, rng, heads):
    q, k, v = qkv(rng, 900, 900, 8, heads=heads, kv_heads=1)
    columns = rng.standard_normal((900, 17))
    first, *others = (
        selfattn.attention_stats(q, k, v, causal=True, top_k=3, received_rows=slice(100, 777),
                                 column_weights=columns, num_threads=n)
        for n in (1, 2, 5)
    )  # fmt: skip
    for other in others:
        for name in ARRAYS[:-1]:
            assert same_bits(getattr(first, name), getattr(other, name)), name


def test_rows_in_any_order(rng):
    q, k, v = qkv(rng, 64, 80, 8, heads=2, dtype=np.float64)
    mask, bias = rng.random((64, 80)) < 0.5, rng.standard_normal((2, 1, 80))
    options = {"bias": bias, "window": (20, None), "query_offset": 9}
    weights = selfattn.attention(q, k, v, mask, **options, return_weights=True)[1]
    rows = [5, 6, 7, 63, -64, 5]
    found = selfattn.attention_stats(q, k, v, mask, **options, rows=rows, top_k=80)
    np.testing.assert_allclose(found.rows, weights[:, rows], rtol=1e-12, atol=1e-300)
    assert same_bits(found.to_dense(rows=np.array(rows)), found.rows)
    np.testing.assert_allclose(found.to_dense(), weights, rtol=1e-12, atol=1e-300)


def test_memory_is_linear():
    """A call whose weights would need 4 GiB adds less than 100 MiB to its outputs."""
    code = """
import numpy as np, resource, selfattn
x = np.random.default_rng(0).standard_normal((1, 32768, 8), dtype=np.float32)
selfattn.attention_stats(x[:, :64], x[:, :64], x[:, :64], top_k=2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = selfattn.attention_stats(x, x, x, window=(600, 0), top_k=2, column_weights=x[0, :, :2])
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert after - before < 100 * 1024, (before, after)
assert abs(found.received.sum() - 32768) < 1
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300 * PATIENCE)


def test_progress(rng):
    """A function hears fractions that grow to 1, from a call that takes some time."""
    x = rng.standard_normal((4, 4000, 64), dtype=np.float32)
    heard = []
    selfattn.attention_stats(x, x, x, progress=heard.append, num_threads=1)
    assert heard == sorted(heard)
    assert heard[-1] == 1.0
    assert len(heard) > 2
    assert 0 <= heard[0] < 1


@pytest.mark.parametrize("num_threads", [1, 3])
def test_progress_that_raises_ends_the_call(rng, num_threads):
    x = rng.standard_normal((4, 4000, 64), dtype=np.float32)

    def fail(fraction):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        selfattn.attention_stats(x, x, x, progress=fail, num_threads=num_threads)


@pytest.mark.parametrize("has_tqdm", [True, False])
def test_bar(rng, capsys, monkeypatch, has_tqdm):
    if not has_tqdm:
        monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    x = rng.standard_normal((8, 4))
    selfattn.attention_stats(x, x, progress=True)
    assert "100%" in capsys.readouterr().err


def test_interrupt():
    code = """
import numpy as np, os, selfattn, signal, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)
x = np.zeros((64, 20000, 64), np.float32)
threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
begin = time.monotonic()
try:
    selfattn.attention_stats(x, x, x, top_k=4)
except KeyboardInterrupt:
    assert time.monotonic() - begin < 20
else:
    raise SystemExit("not interrupted")
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300 * PATIENCE)


X = np.ones((2, 5, 4), np.float32)
WRONG = {
    "stats-text": ({"stats": "entropy"}, TypeError, "sequence of names"),
    "stats-none": ({"stats": None}, TypeError, "stats must be a sequence of names, not NoneType"),
    "stats-name": ({"stats": ("entropie",)}, ValueError, "stats has entropie: expected some of"),
    "top_k-kind": ({"top_k": 1.5}, TypeError, "top_k must be an int"),
    "top_k-bool": ({"top_k": True}, TypeError, "top_k must be an int"),
    "top_k-size": ({"top_k": -1}, ValueError, "top_k"),
    "top_k-bits": ({"top_k": 2**63}, ValueError, "top_k is 9223372036854775808: expected 0 ..."),
    "overview-bits": ({"overview": 2**70}, ValueError, "overview is"),
    "rows-kind": ({"rows": [0.5]}, TypeError, "rows is float64: expected integers"),
    "rows-size": ({"rows": [5]}, ValueError, "rows has 5: expected -5 ... 4"),
    "rows-axes": ({"rows": [[1]]}, ValueError, "expected one axis"),
    "window-kind": ({"received_rows": 3}, TypeError, "received_rows must be a slice"),
    "window-step": ({"received_rows": slice(0, 4, 2)}, ValueError, "step 2"),
    "window-alone": ({"received_rows": slice(3), "stats": ()}, ValueError, "without \"received\""),
    "mask": ({"mask": np.ones((5, 5), int)}, TypeError, "mask"),
}  # fmt: skip


@pytest.mark.parametrize("package", [selfattn, reference])
@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(package, case):
    options, error, text = WRONG[case]
    with pytest.raises(error, match=text):
        package.attention_stats(X, X, X, **options)


def test_wrong_arguments_of_c():
    with pytest.raises(ValueError, match="column_weights has shape"):
        selfattn.attention_stats(X, X, column_weights=np.ones(4))
    with pytest.raises(TypeError, match="column_weights is complex128"):
        selfattn.attention_stats(X, X, column_weights=np.ones(5, complex))
    with pytest.raises(TypeError, match="progress must be"):
        selfattn.attention_stats(X, X, progress=3)
    with pytest.raises(ValueError, match="no kept weights"):
        selfattn.attention_stats(X, X).to_dense()


def test_twins_have_one_signature():
    names = [list(inspect.signature(p.attention_stats).parameters) for p in (selfattn, reference)]
    assert names[0] == names[1]


@pytest.mark.parametrize("shape", [(40, 8), (3, 40, 8), (2, 3, 40, 8)])
def test_rollout(rng, shape):
    """Columns carried back through the layers are the rows of the product of all matrices."""
    layers = [(3 * rng.standard_normal(shape), rng.standard_normal(shape)) for _ in range(4)]
    for rows in (-1, [0, 39, 7], slice(None)):
        found = selfattn.rollout(layers, rows, causal=True)
        right = reference.rollout(layers, rows, causal=True)
        np.testing.assert_allclose(found, right, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-12)


@pytest.mark.parametrize("package", [selfattn, reference])
def test_rollout_refuses(package):
    for layers, more, text in (
        ([], {}, "layers is empty"),
        ([(X, X)], {"residual": 2}, "residual is 2"),
        ([(X[0, 0], X[0, 0])], {}, "layers has an array of shape"),
        ([(X, X), (X[:, :3], X[:, :3])], {}, "one number for all"),
        ([(X, X)], {"rows": 5}, "rows has 5"),
    ):
        with pytest.raises(ValueError, match=text):
            package.rollout(layers, **more)
