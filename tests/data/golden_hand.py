"""Cases worked by hand: scores are logarithms of whole numbers, so weights are fractions.

With query (1), key j (ln n_j) and scale 1 the score is ln n_j and the weight n_j / sum n. Each case
below says its numerators per row (0 = hidden) and what joins the denominator; the weights, their
product with the values and the lse = ln(denominator) follow by adding fractions.
"""

from fractions import Fraction
from math import atanh, log

import numpy as np

SOURCE = "worked by hand"
# Values of three and four keys.
V3 = [[6, 0], [0, 12], [-6, 24]]
V4 = [[10, 1], [20, -1], [30, 2], [40, -2]]


def results(numerators, values, extra=0):
    """Weights, out and lse of rows given by their numerators; extra joins each denominator."""
    weights, out, lse = [], [], []
    for row in numerators:
        total = sum(map(Fraction, row)) + extra
        p = [Fraction(n) / total if total else Fraction(0) for n in row]
        weights.append([float(x) for x in p])
        columns = zip(*values, strict=True)
        out.append([float(sum(x * c for x, c in zip(p, col, strict=True))) for col in columns])
        lse.append(log(total) if total else -np.inf)
    return {"out": out, "weights": weights, "lse": lse}


def logs(*numbers):
    """[n, 1] keys whose scores are the logarithms of these numbers."""
    return np.array([[log(n)] for n in numbers])


def problem(n_q, key, value, **options):
    arrays = {"query": np.ones((n_q, 1)), "key": key, "value": np.array(value, float)}
    return arrays | {"scale": 1.0} | options


def cases():
    yield "hand: 1/6, 2/6, 3/6", problem(1, logs(1, 2, 3), V3), results([[1, 2, 3]], V3)
    yield (
        "hand: equal keys",
        problem(2, logs(5, 5, 5), V3),
        results([[1, 1, 1]] * 2, V3) | {"lse": [log(15)] * 2},
    )
    four = {"query": np.ones((1, 4)), "key": np.repeat(logs(1, 2, 3), 4, 1) / 2}
    yield (
        "hand: default scale 1/2 in four features",
        four | {"value": np.array(V3, float)},
        results([[1, 2, 3]], V3),
    )
    yield (
        "hand: negative scale",
        problem(1, logs(1, 2, 4), V3, scale=-1.0),
        results([[1, Fraction(1, 2), Fraction(1, 4)]], V3),
    )
    yield "hand: scale 0", problem(1, logs(1, 2, 4), V3, scale=0.0), results([[1, 1, 1]], V3)
    yield from _hidden()
    yield from _added()
    yield from _empty()
    yield from _heads()


def _hidden():
    key = logs(1, 2, 3, 4)
    causal = [[1, 0, 0, 0], [1, 2, 0, 0], [1, 2, 3, 0], [1, 2, 3, 4]]
    yield "hand: causal", problem(4, key, V4, causal=True), results(causal, V4)
    yield (
        "hand: two queries over four keys, upper left",
        problem(2, key, V4, causal="upper_left"),
        results(causal[:2], V4),
    )
    yield (
        "hand: two queries over four keys, lower right",
        problem(2, key, V4, causal="lower_right"),
        results(causal[2:], V4),
    )
    yield (
        "hand: six queries over four keys, lower right",
        problem(6, key, V4, causal="lower_right"),
        results([[0] * 4] * 2 + causal, V4),
    )
    yield (
        "hand: causal with query_offset 1 and three keys in use",
        problem(4, key, V4, causal=True, query_offset=1, key_lengths=3),
        results([[1, 2, 0, 0], [1, 2, 3, 0], [1, 2, 3, 0], [1, 2, 3, 0]], V4),
    )
    yield (
        "hand: query_offset -2 leaves two rows without a key",
        problem(4, key, V4, causal=True, query_offset=-2),
        results([[0] * 4] * 2 + causal[:2], V4),
    )
    yield (
        "hand: lower right of two keys in use",
        problem(3, key, V4, causal="lower_right", key_lengths=2),
        results([[0, 0, 0, 0], [1, 0, 0, 0], [1, 2, 0, 0]], V4),
    )
    yield (
        "hand: window 1 on both sides",
        problem(4, key, V4, window=1),
        results([[1, 2, 0, 0], [1, 2, 3, 0], [0, 2, 3, 4], [0, 0, 3, 4]], V4),
    )
    yield (
        "hand: window (1, 0) sees two keys",
        problem(4, key, V4, window=[1, 0]),
        results([[1, 0, 0, 0], [1, 2, 0, 0], [0, 2, 3, 0], [0, 0, 3, 4]], V4),
    )
    yield (
        "hand: window (None, 1), open to the left",
        problem(4, key, V4, window=[None, 1]),
        results([[1, 2, 0, 0], [1, 2, 3, 0], [1, 2, 3, 4], [1, 2, 3, 4]], V4),
    )
    yield (
        "hand: window past the last key",
        problem(2, key, V4, window=1, query_offset=4),
        results([[0, 0, 0, 4], [0, 0, 0, 0]], V4),
    )
    yield (
        "hand: bool mask",
        problem(2, key, V4, mask=np.array([[1, 0, 1, 0], [0, 0, 0, 0]], bool)),
        results([[1, 0, 3, 0], [0, 0, 0, 0]], V4),
    )


def _added():
    key = logs(1, 2, 3, 4)
    terms = np.array([[log(4), log(2), -np.inf, 0.0]])
    yield "hand: float mask", problem(1, key, V4, mask=terms), results([[4, 4, 0, 4]], V4)
    yield (
        "hand: bias and float mask add up",
        problem(1, key, V4, bias=np.array([[log(5), 0, 0, 0]]), mask=terms),
        results([[20, 4, 0, 4]], V4),
    )
    # ALiBi with slope ln 2: a key at distance r counts 2**-r.
    yield (
        "hand: ALiBi, slope ln 2, distances on both sides",
        problem(2, logs(1, 1, 1, 1), V4, alibi_slopes=np.array([log(2)]), query_offset=1),
        results([[Fraction(1, 2), 1, Fraction(1, 2), Fraction(1, 4)],
                 [Fraction(1, 4), Fraction(1, 2), 1, Fraction(1, 2)]], V4),
    )  # fmt: skip
    yield (
        "hand: sink ln 4",
        problem(1, logs(1, 2, 3), V3, sinks=np.array([log(4)])),
        results([[1, 2, 3]], V3, extra=4),
    )
    yield (
        "hand: sink -inf is none",
        problem(1, logs(1, 2, 3), V3, sinks=np.array([-np.inf])),
        results([[1, 2, 3]], V3),
    )
    yield (
        "hand: sink alone, no key in sight",
        problem(1, logs(1, 2, 3), V3, sinks=np.array([log(4)]), key_lengths=0),
        results([[0, 0, 0]], V3, extra=4),
    )
    # softcap c makes c tanh(s / c) of s: keys c atanh(ln n / c) end as ln n.
    capped = np.array([[3 * atanh(log(n) / 3)] for n in (1, 2, 5)])
    yield "hand: softcap 3", problem(1, capped, V3, softcap=3.0), results([[1, 2, 5]], V3)
    yield (
        "hand: softcap comes before the bias",
        problem(1, capped, V3, softcap=3.0, bias=np.array([[log(100), 0, 0]])),
        results([[100, 2, 5]], V3),
    )
    yield (
        "hand: scale comes before the softcap",
        problem(1, capped * 2, V3, softcap=3.0, scale=0.5),
        results([[1, 2, 5]], V3),
    )


def _empty():
    yield (
        "hand: no keys",
        {"query": np.ones((2, 3)), "key": np.ones((0, 3)), "value": np.ones((0, 2))},
        {"out": np.zeros((2, 2)), "weights": np.zeros((2, 0)), "lse": [-np.inf] * 2},
    )
    yield (
        "hand: no features, all scores 0",
        {"query": np.ones((1, 0)), "key": np.ones((3, 0)), "value": np.array(V3, float)},
        results([[1, 1, 1]], V3),
    )


def _heads():
    """Four query heads on two key heads: heads 0 and 1 read key head 0, heads 2 and 3 head 1."""
    key = np.stack([logs(1, 2, 3), logs(4, 2, 1)])
    value = np.array([V3, [[1, 1], [2, 2], [7, 7]]], float)
    numerators = [[1, 2, 3], [1, 4, 9], [4, 2, 1], [16, 4, 1]]
    parts = [results([n], value[h // 2].astype(int).tolist()) for h, n in enumerate(numerators)]
    query = np.array([1.0, 2.0, 1.0, 2.0]).reshape(4, 1, 1)
    inputs = {"query": query, "key": key, "value": value, "scale": 1.0}
    expected = {name: [part[name] for part in parts] for name in ("out", "weights", "lse")}
    yield "hand: grouped heads", inputs, expected
    mean = [sum(Fraction(n[j], sum(n)) for n in numerators) / 4 for j in range(3)]
    yield "hand: mean over heads", inputs, {
        "out": expected["out"], "mean": [[float(x) for x in mean]]
    }  # fmt: skip
    sinks = np.log([1.0, 2.0, 3.0, 4.0])
    parts = [results([n], value[h // 2].astype(int).tolist(), extra=h + 1)
             for h, n in enumerate(numerators)]  # fmt: skip
    expected = {name: [part[name] for part in parts] for name in ("out", "weights", "lse")}
    yield "hand: a sink per head", inputs | {"sinks": sinks}, expected
