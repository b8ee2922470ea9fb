"""Attention by its formula, in a wider type, and how far a result may be from it.

    s = scale * (q . k);  s = softcap * tanh(s / softcap);  s += bias - slope * |p - j| + mask
    weights = exp(s - lse) over the keys a row sees, 0 elsewhere;  out = weights @ value

Written from the interface's text alone, dense and without a trick, so that neither the C core nor
`selfattn.reference` shares a line with it. float32, float16 and bfloat16 results are judged in
float64, float64 results in long double (64 bits of mantissa or more where the tests are trusted).

The bound of every element, u = 2**-24 or 2**-53, tiny the smallest normal number of the compute
type, kappa = |scale| * max_j sum_c |q_c k_jc| over the keys the row sees:

    out      (8 + 4 kappa) u sum_j p_j |v_j| + tiny (n_k + sum_j |v_j|)
    weights  (8 + 4 kappa) u p + tiny
    lse      u (2 + |lse| + 4 kappa)

The mean of weights over heads has tiny twice, as it may itself be returned as 0 below tiny;
float16 and bfloat16 have half a unit in the last place on top. kappa measures how large the
numbers are whose sum is q . k, hence how exactly a score can be known. What is added to a score
(bias, float mask, ALiBi) does not widen the bound.
"""

from dataclasses import dataclass

import numpy as np

HALF_TYPES = ("float16", "bfloat16")
LOWER_RIGHT = "lower_right"


def compute_dtype(dtype):
    """The type attention computes in: float32 for the 16-bit types."""
    dtype = np.dtype(dtype)
    return np.dtype(np.float32) if dtype.name in HALF_TYPES else dtype.newbyteorder("=")


def unit_roundoff(dtype):
    return 2.0**-53 if compute_dtype(dtype) == np.float64 else 2.0**-24


def smallest_normal(dtype):
    return 2.0**-1022 if compute_dtype(dtype) == np.float64 else 2.0**-126


def half_ulp(values, dtype):
    """Half a unit in the last place of a 16-bit type at these values; 0 for the wide types."""
    mantissa, lowest = {"float16": (10, -14), "bfloat16": (7, -126)}.get(
        np.dtype(dtype).name, (None, None)
    )
    if mantissa is None:
        return np.zeros(np.shape(values))
    magnitude = np.abs(np.asarray(values, np.float64))
    exponent = np.frexp(np.where(np.isfinite(magnitude), magnitude, 0.0))[1] - 1
    return np.ldexp(0.5, np.maximum(exponent, lowest) - mantissa)


@dataclass
class Expected:
    """Results and bounds; `spoiled_*` marks what a NaN or an infinity in sight must reach."""

    out: np.ndarray
    weights: np.ndarray
    mean: np.ndarray
    lse: np.ndarray
    out_bound: np.ndarray
    weights_bound: np.ndarray
    mean_bound: np.ndarray
    lse_bound: np.ndarray
    visible: np.ndarray
    spoiled_out: np.ndarray
    spoiled_rows: np.ndarray


def attention(query, key, value, mask=None, **options):
    """What `selfattn.attention` must return for the same arguments, as `Expected`."""
    two_d = query.ndim == 2
    if two_d:
        query, key, value = query[None], key[None], value[None]
    dtype = np.result_type(query, key, value)
    if dtype.kind in "biu":
        dtype = np.dtype(np.float64)
    wide = np.longdouble if compute_dtype(dtype) == np.float64 else np.float64
    group = query.shape[-3] // key.shape[-3] if key.shape[-3] else 1
    q, k, v = (np.asarray(a).astype(wide) for a in (query, key, value))
    k, v = np.repeat(k, group, axis=-3), np.repeat(v, group, axis=-3)
    with np.errstate(all="ignore"):
        scores, visible, kappa = _scores(q, k, v, mask, **options)
        expected = _softmax(scores, visible, kappa, v, options.get("sinks"), dtype)
    if two_d:
        for name, array in vars(expected).items():
            setattr(expected, name, array if name.startswith("mean") else array[0])
    return expected


def _scores(q, k, v, mask, *, bias=None, causal=False, window=None, query_offset=None, scale=None,
            softcap=None, alibi_slopes=None, key_lengths=None, **_):  # fmt: skip
    """Scores, the keys each row sees, and kappa of each row."""
    n_q, n_k, d = q.shape[-2], k.shape[-2], q.shape[-1]
    batch = np.broadcast_shapes(q.shape[:-3], k.shape[:-3], v.shape[:-3])
    shape = (*batch, q.shape[-3], n_q, n_k)
    wide = q.dtype.type
    if scale is None:
        scale = 1 / np.sqrt(wide(d)) if d else 1.0
    scores = wide(scale) * (q @ np.swapaxes(k, -1, -2))
    magnitude = np.abs(q) @ np.swapaxes(np.abs(k), -1, -2) * abs(wide(scale))
    if softcap is not None:
        scores = wide(softcap) * np.tanh(scores / wide(softcap))
    lengths = np.asarray(n_k if key_lengths is None else key_lengths)[..., None, None, None]
    offset = np.asarray(0 if query_offset is None else query_offset)[..., None, None, None]
    if causal == LOWER_RIGHT:
        offset = lengths - n_q
    position, j = np.arange(n_q)[:, None] + offset, np.arange(n_k)
    visible = np.broadcast_to(j < lengths, shape)
    if causal:
        visible = visible & (j <= position)
    left, right = window if isinstance(window, tuple) else (window, window)
    if left is not None:
        visible = visible & (j >= position - left)
    if right is not None:
        visible = visible & (j <= position + right)
    if bias is not None:
        scores = scores + np.asarray(bias).astype(wide)
    if alibi_slopes is not None:
        slopes = np.asarray(alibi_slopes).astype(wide)[:, None, None]
        scores = scores - slopes * np.abs(position - j)
    if mask is not None and np.asarray(mask).dtype == np.bool_:
        visible = visible & mask
    elif mask is not None:
        mask = np.asarray(mask).astype(wide)
        scores, visible = scores + mask, visible & (mask != -np.inf)
    scores = np.where(visible, scores, -np.inf)
    kappa = np.where(np.isfinite(scores), magnitude, 0).max(axis=-1, initial=0)
    return scores, visible, kappa


def _softmax(scores, visible, kappa, v, sinks, dtype):
    """Weights, their sum with the values, and the bounds of both."""
    n_heads, _, n_k = scores.shape[-3:]
    wide = scores.dtype.type
    sink = np.full((n_heads, 1, 1), -np.inf, wide)
    if sinks is not None:
        sink[:, 0, 0] = np.asarray(sinks).astype(wide)
    highest = scores.max(axis=-1, initial=-np.inf, keepdims=True)
    blind = highest == -np.inf
    highest = np.maximum(highest, sink)
    spoiled_rows = np.isnan(highest) | (highest == np.inf)
    safe = np.where(np.isfinite(highest), highest, 0)
    p = np.exp(scores - safe)
    total = p.sum(axis=-1, keepdims=True) + np.exp(sink - safe)
    lse = np.where(total > 0, np.log(total) + safe, -np.inf)
    p = np.where(blind | (total == 0), 0, p / total)
    finite_v = np.where(np.isfinite(v), v, 0)
    out, out_size = p @ finite_v, p @ np.abs(finite_v)
    seen = (visible & ~blind).astype(wide)
    spoiled_out = spoiled_rows | (seen @ (~np.isfinite(v)).astype(wide) > 0)
    u, tiny = unit_roundoff(dtype), smallest_normal(dtype)
    factor = (8 + 4 * kappa) * u
    mean = p.mean(axis=-3) if n_heads else np.zeros(p.shape[:-3] + p.shape[-2:])
    mean_factor = factor.max(axis=-2, initial=0)
    batched = np.broadcast_to(lse[..., 0], scores.shape[:-1])
    return Expected(
        out=out,
        weights=p,
        mean=mean,
        lse=batched,
        out_bound=factor[..., None] * out_size
        + tiny * (n_k + visible.astype(wide) @ np.abs(finite_v)),
        weights_bound=factor[..., None] * p + tiny,
        mean_bound=mean_factor[..., None] * mean + 2 * tiny,
        lse_bound=u * (2 + np.abs(batched) + 4 * kappa),
        visible=visible,
        spoiled_out=np.broadcast_to(spoiled_out, out.shape),
        spoiled_rows=np.broadcast_to(spoiled_rows[..., 0], batched.shape),
    )


def check(got, expected, *, returned=("out",)):
    """Hold what `attention` returned against `expected`, element by element.

    `returned` names the entries of `got` in order: out, weights, mean, lse.
    """
    results = got if isinstance(got, tuple) else (got,)
    assert len(results) == len(returned), f"{len(results)} results, expected {returned}"
    spoiled = {
        "out": expected.spoiled_out,
        "weights": np.broadcast_to(expected.spoiled_rows[..., None], expected.weights.shape),
        "mean": np.broadcast_to(
            np.any(expected.spoiled_rows, axis=-2)[..., None]
            if expected.mean.ndim == expected.weights.ndim - 1
            else expected.spoiled_rows[..., None],
            expected.mean.shape,
        ),
        "lse": expected.spoiled_rows,
    }
    for name, result in zip(returned, results, strict=True):
        right, bound = getattr(expected, name), getattr(expected, name + "_bound")
        assert result.shape == right.shape, f"{name} has shape {result.shape}, not {right.shape}"
        check_close(name, result, right, bound, spoiled[name])
        if name == "out":
            assert not np.isfinite(result[expected.spoiled_out].astype(np.float64)).any(), (
                "a NaN or an infinity in sight of a row did not reach it"
            )


def check_close(name, result, right, bound, spoiled=False):
    """|result - right| <= bound (+ half an ulp of a 16-bit type) wherever nothing is spoiled."""
    got = np.asarray(result).astype(right.dtype)
    if name != "lse":
        bound = bound + half_ulp(np.abs(right) + bound, result.dtype)
    with np.errstate(invalid="ignore"):
        good = (np.abs(got - right) <= bound) | (got == right) | np.broadcast_to(spoiled, got.shape)
    if good.all():
        return
    at = tuple(int(i) for i in np.argwhere(~good)[0])
    with np.errstate(all="ignore"):
        worst = np.nanmax(np.where(good, 0, np.abs(got - right) / bound))
    raise AssertionError(
        f"{name}{list(at)} = {got[at]!r}, expected {right[at]!r} within {bound[at]!r}; "
        f"{np.count_nonzero(~good)} of {good.size} elements are off, at worst by {worst:.3g} bounds"
    )


def rms_error(result, right):
    difference = np.asarray(result).astype(right.dtype) - right
    return float(np.sqrt(np.mean(difference * difference)))
