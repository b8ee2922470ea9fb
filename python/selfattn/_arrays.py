"""Arguments of the layer as arrays, their common type, and the arrays that receive results."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._selfattn import _check_output_memory

Array = NDArray[Any]

_FLOATS = ("float16", "bfloat16", "float32", "float64")
_NATIVE_FLOATS = {np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.float16)}


def as_array(name: str, value: Any) -> Array:
    """`value` as a plain ndarray; a masked array is refused, for its mask would be lost."""
    if type(value) is np.ndarray:
        return value
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a MaskedArray, whose mask would be lost: pass {name}.data, and what to "
            "hide as mask="
        )
    if value is None:
        raise TypeError(f"{name} must be an array, not None")
    try:
        return np.asarray(value)
    except (TypeError, ValueError) as error:
        text = f"{name} cannot be read as an array: {error}".rstrip(".")
        raise type(error)(text) from error


def take_arrays(
    required: Mapping[str, Any],
    optional: Mapping[str, Any] | None = None,
    dtype: np.dtype[Any] | None = None,
) -> tuple[dict[str, Array], np.dtype[Any]]:
    """What is given as float arrays, of `optional` only what is not None, and the common type of
    all and `dtype`."""
    arrays = {name: as_array(name, x) for name, x in required.items()}
    if optional:
        arrays |= {name: as_array(name, x) for name, x in optional.items() if x is not None}
    dtypes = {x.dtype for x in arrays.values()}
    if dtype is not None:
        dtypes.add(dtype)
    if len(dtypes) == 1 and dtypes <= _NATIVE_FLOATS:
        return arrays, dtypes.pop()
    common = _common_dtype(arrays, dtypes)
    for name, x in arrays.items():
        if x.dtype.kind in "biu":
            arrays[name] = x.astype(common)
    return arrays, common


def as_integer(name: str, value: Any, least: int) -> int:
    """An int that is not a bool, and not below `least`."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be an int, not bool")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an int, not {type(value).__name__}") from None
    if number < least:
        raise ValueError(f"{name} must be at least {least}, not {number}")
    return number


def as_number(name: str, value: Any) -> float:
    """A real number, as float."""
    if isinstance(value, (bool, np.bool_, str, bytes)) or np.ndim(value):
        raise TypeError(f"{name} must be a real number, not {type(value).__name__}")
    try:
        return float(value)
    except TypeError:
        raise TypeError(f"{name} must be a real number, not {type(value).__name__}") from None
    except OverflowError:
        raise ValueError(f"{name} must be finite, and the number does not fit a float64") from None


def _common_dtype(arrays: Mapping[str, Array], dtypes: set[np.dtype[Any]]) -> np.dtype[Any]:
    """NumPy's promotion of all, float64 for integers; TypeError unless float16, bfloat16,
    float32 or float64."""
    listed = ", ".join(f"{name} is {x.dtype}" for name, x in arrays.items())
    try:
        dtype: np.dtype[Any] = np.result_type(*dtypes)
    except TypeError:
        raise TypeError(f"{listed}: these have no common type, convert with astype") from None
    if dtype.kind in "biu":
        return np.dtype(np.float64)
    if dtype.name not in _FLOATS:
        raise TypeError(f"{listed}: expected real floats of at most 64 bits, convert with astype")
    native: np.dtype[Any] = dtype.newbyteorder("=")
    return native


def float_dtype(name: str, value: Any) -> np.dtype[Any]:
    """One of the four float types, native."""
    try:
        dtype = np.dtype(value)
    except TypeError:
        raise TypeError(f"{name} must be a dtype, not {value!r}") from None
    if dtype.name not in _FLOATS:
        raise TypeError(f"{name} is {dtype}: expected one of {', '.join(_FLOATS)}")
    native: np.dtype[Any] = dtype.newbyteorder("=")
    return native


def compute_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What numbers of a type are computed in: float32 for the 16-bit types."""
    return dtype if dtype.itemsize > 2 else np.dtype(np.float32)


def take_out(
    out: Any, wanted: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]
) -> dict[str, Array | None]:
    """The caller's array for each wanted result, None where it is to be allocated.

    Parameters
    ----------
    out : ndarray, tuple or None
        What the caller gave: an array for the first result or a tuple with an entry for each.
    wanted : dict
        Shape and dtype of each of "out", "weights" and "lse" that is returned, in this order.
    """
    if out is None:
        return dict.fromkeys(wanted)
    entries = out if isinstance(out, tuple) else (out, *[None] * (len(wanted) - 1))
    if len(entries) != len(wanted):
        raise ValueError(
            f"out has {len(entries)} entries for {len(wanted)} results: expected one for each of "
            f"{', '.join(wanted)} (None = allocate)"
        )
    targets = dict(zip(wanted, entries, strict=True))
    for name, (shape, dtype) in wanted.items():
        if targets[name] is not None:
            _check_target(
                "out" if name == "out" else f"out for {name}", targets[name], shape, dtype
            )
    _check_output_memory((targets["out"], targets.get("weights"), targets.get("lse")))
    return targets


def _check_target(name: str, x: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if not isinstance(x, np.ndarray) or isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name} must be an ndarray, not {type(x).__name__}")
    if x.dtype != dtype:
        raise TypeError(f"{name} is {x.dtype}: expected native {dtype}")
    if x.shape != shape:
        raise ValueError(f"{name} has shape {x.shape}: expected {shape}")
