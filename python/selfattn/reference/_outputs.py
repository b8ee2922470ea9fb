"""The arrays that receive the results: the caller's, after a check, or new ones."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from ._problem import Array, Problem


def check_outputs(problem: Problem, out: Any, return_weights: Any, return_lse: bool) -> list[Array]:
    """One array for each wanted result, in return order: out, weights, lse."""
    wanted = _wanted(problem, return_weights, return_lse)
    entries = out if isinstance(out, tuple) else (out,) + (None,) * (len(wanted) - 1)
    if len(entries) != len(wanted):
        raise ValueError(
            f"out has {len(entries)} entries for {len(wanted)} results ({', '.join(wanted)}): "
            "use None for one to be allocated"
        )
    names = [f"out[{i}], for {name}," for i, name in enumerate(wanted)]
    for entry, name, (shape, dtype) in zip(entries, names, wanted.values(), strict=True):
        if entry is not None:
            _check_entry(name if isinstance(out, tuple) else "out", entry, shape, dtype)
    given = [entry for entry in entries if entry is not None]
    if any(np.shares_memory(a, b) for a, b in combinations(given, 2)):
        raise ValueError("two entries of out share memory")
    return [
        np.empty(shape, dtype) if entry is None else entry
        for entry, (shape, dtype) in zip(entries, wanted.values(), strict=True)
    ]


def _wanted(
    problem: Problem, return_weights: Any, return_lse: bool
) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Shape and type of each wanted result, in return order."""
    batch, (n_heads, n_q, n_k) = problem.batch_shape, problem.weights_shape[-3:]
    heads = () if problem.is_2d else (n_heads,)
    wanted = {"out": ((*batch, *heads, n_q, problem.value.shape[-1]), problem.dtype)}
    if return_weights == "mean":
        wanted["weights"] = ((*batch, n_q, n_k), problem.dtype)
    elif return_weights:
        wanted["weights"] = ((*batch, *heads, n_q, n_k), problem.dtype)
    if return_lse:
        wanted["lse"] = ((*batch, *heads, n_q), problem.compute)
    return wanted


def _check_entry(name: str, entry: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if not isinstance(entry, np.ndarray) or isinstance(entry, np.ma.MaskedArray):
        raise TypeError(f"{name} must be an ndarray, not {type(entry).__name__}")
    if entry.dtype != dtype:
        raise TypeError(f"{name} is {entry.dtype}: expected native {dtype}")
    if entry.shape != shape:
        raise ValueError(f"{name} has shape {entry.shape}: expected {shape}")
    if not entry.flags.writeable:
        raise ValueError(f"{name} is read-only")
    if _overlaps_itself(entry):
        raise ValueError(f"{name} overlaps itself: two of its elements share memory")


def _overlaps_itself(x: Array) -> bool:
    """Whether two elements lie closer together than one element is long."""
    if x.flags.c_contiguous or x.size < 2:
        return False
    addresses = np.zeros(x.shape, np.int64)
    for axis, (size, stride) in enumerate(zip(x.shape, x.strides, strict=True)):
        steps = np.arange(size) * stride
        addresses += steps.reshape([size if other == axis else 1 for other in range(x.ndim)])
    gaps = np.diff(np.sort(addresses, axis=None))
    return bool(gaps.min() < x.itemsize)
