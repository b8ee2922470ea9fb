"""`positional`, `layer_norm`: by their twins, by what defines them, and what they refuse."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import selfattn
from arrays import DTYPES, tensor
from selfattn import positional, reference

EXAMPLES = settings.default.max_examples
UNIT = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}


@pytest.mark.parametrize(("n", "d"), [(0, 4), (5, 0), (1, 1), (7, 9), (40, 64), (300, 2)])
def test_sinusoidal(n, d):
    got = positional.sinusoidal(n, d)
    assert got.shape == (n, d)
    assert got.dtype == np.float64
    # An angle of up to 300 is known to one rounding of the power and one of the quotient.
    assert np.abs(got - reference.positional.sinusoidal(n, d)).max(initial=0) < 4 * 300 * 2.0**-53


def test_sinusoidal_shifts_are_rotations():
    """What section 3.5 of the paper wants: a fixed shift is a linear map of the encoding."""
    n, d, shift = 50, 16, 7
    table = positional.sinusoidal(n + shift, d)
    before, after = table[:n], table[shift:]
    turn, *_ = np.linalg.lstsq(before, after, rcond=None)
    assert np.abs(before @ turn - after).max() < 1e-9


@settings(max_examples=EXAMPLES // 20)
@given(
    st.integers(0, 2**32 - 1), st.sampled_from([(), (2,), (3, 2)]), st.integers(0, 6),
    st.integers(0, 6), st.sampled_from(DTYPES), st.booleans(), st.booleans(),
)  # fmt: skip
def test_rotary(seed, batch, n, half, dtype, interleaved, placed):
    rng = np.random.default_rng(seed)
    x = tensor(rng, (*batch, n, 2 * half), dtype)
    positions = rng.integers(-5, 10_000, (*batch[1:], n)) if placed else None
    got = positional.rotary(x, positions, interleaved=interleaved, base=500.0)
    right = reference.positional.rotary(
        x.astype(np.float64), positions, interleaved=interleaved, base=500.0
    )
    assert got.dtype == dtype
    assert got.shape == x.shape
    size = np.abs(x.astype(np.float64)).max(initial=0)
    u = UNIT[np.dtype(dtype).name]
    assert np.abs(got.astype(np.float64) - right).max(initial=0) <= (6 * u + 3e-12) * size


def test_rotary_scores_depend_on_distance(rng):
    """Scores of rotated queries and keys are the same wherever the pair stands, up to a million."""
    q, k = tensor(rng, (2, 1, 64), np.float64)
    for interleaved in (False, True):
        turn = lambda x, p: positional.rotary(x, [p], interleaved=interleaved)  # noqa: B023, E731
        scores = [(turn(q, p + 3) @ turn(k, p).T).item() for p in (0, 1, 1000, 10**6)]
        assert np.ptp(scores) < 1e-8
        assert abs(scores[0] - (q @ k.T).item()) > 1e-3


def test_rotary_layouts_are_permutations(rng):
    """The two ways to pair features differ by where the features stand."""
    x = tensor(rng, (5, 8), np.float64)
    apart = np.concatenate([x[:, 0::2], x[:, 1::2]], axis=1)
    turned = positional.rotary(apart)
    assert np.array_equal(positional.rotary(x, interleaved=True)[:, 0::2], turned[:, :4])
    assert np.array_equal(positional.rotary(x, interleaved=True)[:, 1::2], turned[:, 4:])


def test_decoding_step_by_step(rng):
    """Rotated one token at a time at its position: as rotated all at once."""
    x = tensor(rng, (2, 3, 9, 8))
    whole = positional.rotary(x)
    for p in range(9):
        assert np.array_equal(positional.rotary(x[:, :, p : p + 1], [p]), whole[:, :, p : p + 1])
    lengths = np.array([4, 7])  # of two sequences: positions per batch entry
    step = positional.rotary(x[:, :, :1], lengths[:, None, None])
    assert np.array_equal(step[0], positional.rotary(x[0, :, :1], [4]))
    assert np.array_equal(step[1], positional.rotary(x[1, :, :1], [7]))


@pytest.mark.parametrize("num_heads", [1, 2, 3, 4, 6, 7, 8, 12, 16, 40, 64, 71])
def test_alibi_slopes(num_heads):
    got = positional.alibi_slopes(num_heads)
    assert np.allclose(got, reference.positional.alibi_slopes(num_heads), rtol=1e-13, atol=0)
    assert len(set(got)) == num_heads


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize("shape", [(4,), (3, 5), (2, 3, 64), (7, 1000), (0, 3), (2, 0), (3, 1)])
def test_layer_norm(rng, dtype, shape):
    x = (tensor(rng, shape) + 2).astype(dtype)
    weight, bias = tensor(rng, shape[-1], dtype), tensor(rng, shape[-1], dtype)
    for more in ((), (weight,), (None, bias), (weight, bias)):
        got = selfattn.layer_norm(x, *more, eps=1e-3)
        right = reference.layer_norm(x, *more, eps=1e-3)
        assert got.dtype == dtype
        assert got.shape == shape
        u = max(UNIT[np.dtype(dtype).name], 2.0**-24 * (np.dtype(dtype) != np.float64))
        error = np.abs(got.astype(np.float64) - right).max(initial=0)
        assert error <= 100 * u * max(1, np.abs(right).max(initial=0))


def test_layer_norm_far_from_zero(rng):
    """The mean goes first: a large one costs what its own rounding costs, not its square."""
    x = tensor(rng, (10, 256), np.float64) + 1e4
    got = selfattn.layer_norm(x.astype(np.float32))
    assert np.abs(got - reference.layer_norm(x)).max() < 1e4 * 2.0**-24 * 4


def test_layer_norm_promotes(rng):
    x = tensor(rng, (3, 4))
    assert selfattn.layer_norm(x, np.ones(4)).dtype == np.float64
    assert selfattn.layer_norm([[1, 2], [3, 4]]).dtype == np.float64
    assert selfattn.layer_norm(x.astype(ml_dtypes.bfloat16), np.ones(4, "f4")).dtype == np.float32
    assert not np.isfinite(selfattn.layer_norm(np.full((1, 4), np.nan))).any()


ERRORS = [
    (positional.sinusoidal, (3.0, 4), {}, TypeError, ["n", "float"]),
    (positional.sinusoidal, (3, -1), {}, ValueError, ["d", "-1"]),
    (positional.rotary, (np.zeros(4),), {}, ValueError, ["x", "(4,)", "even"]),
    (positional.rotary, (np.zeros((2, 3)),), {}, ValueError, ["x", "(2, 3)", "even"]),
    (positional.rotary, (np.zeros((2, 4)), [1, 2, 3]), {}, ValueError, ["positions", "(3,)"]),
    (positional.rotary, (np.zeros((2, 4)), [[[1], [2]]]), {}, ValueError, ["positions", "(2,)"]),
    (positional.rotary, (np.zeros((2, 4)), ["a", "b"]), {}, TypeError, ["positions", "<U1"]),
    (positional.rotary, (np.zeros((2, 4)),), {"base": 0}, ValueError, ["base", "positive"]),
    (positional.rotary, (np.zeros((2, 4)),), {"base": np.inf}, ValueError, ["base", "inf"]),
    (positional.rotary, (np.zeros((2, 4)),), {"base": "10"}, TypeError, ["base", "str"]),
    (positional.rotary, (np.zeros((2, 4)),), {"interleaved": 1}, TypeError, ["interleaved"]),
    (positional.rotary, (np.zeros((2, 4), complex),), {}, TypeError, ["x is complex128"]),
    (positional.alibi_slopes, (0,), {}, ValueError, ["num_heads", "1"]),
    (positional.alibi_slopes, ("8",), {}, TypeError, ["num_heads", "str"]),
    (selfattn.layer_norm, (1.0,), {}, ValueError, ["x", "()"]),
    (selfattn.layer_norm, ([1.0, 2.0], [1.0]), {}, ValueError, ["weight", "(1,)", "(2,)"]),
    (selfattn.layer_norm, ([1.0, 2.0], None, 0.5), {}, ValueError, ["bias", "()", "(2,)"]),
    (selfattn.layer_norm, ([1.0],), {"eps": -1e-9}, ValueError, ["eps", "-1e-09"]),
    (selfattn.layer_norm, ([1.0],), {"eps": np.nan}, ValueError, ["eps", "nan"]),
    (selfattn.layer_norm, ([1.0],), {"eps": "x"}, TypeError, ["eps", "str"]),
    (selfattn.layer_norm, (None,), {}, TypeError, ["x", "None"]),
    (selfattn.layer_norm, (["a"],), {}, TypeError, ["x", "<U1"]),
]


@pytest.mark.parametrize(("function", "args", "keywords", "error", "texts"), ERRORS)
def test_errors(function, args, keywords, error, texts):
    with pytest.raises(error) as caught:
        function(*args, **keywords)
    assert [part for part in texts if part not in str(caught.value)] == [], str(caught.value)
