"""Arrays of other libraries as NumPy arrays, without a copy where that is possible."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._arrays import as_array

__all__ = ["foreign_array"]

_CPU = 1  # kDLCPU of DLPack's DLDeviceType


def foreign_array(name: str, thing: object) -> NDArray[Any]:
    """Return anything that holds numbers as an ndarray; `name` is what errors call it.

    An ndarray comes back as it is. What speaks DLPack (torch, JAX, CuPy ...) is shared if it lies
    in the CPU's memory, else TypeError. The rest goes through ``np.asarray``. DLPack knows no
    bfloat16 that NumPy could read, so a torch tensor of that type is widened to float32, exactly.
    """
    device = getattr(thing, "__dlpack_device__", None)
    if isinstance(thing, np.ndarray) or device is None:
        return as_array(name, thing)
    kind = device()[0]
    if kind != _CPU:
        raise TypeError(
            f"{name} is on device {getattr(thing, 'device', None) or device()}, not in the CPU's "
            "memory: copy it first (torch: .cpu(), CuPy: .get())"
        )
    if getattr(thing, "requires_grad", False):
        raise TypeError(f"{name} requires a gradient: pass {name}.detach()")
    if str(getattr(thing, "dtype", "")) == "torch.bfloat16":
        thing = thing.float()  # type: ignore[attr-defined]
    return np.from_dlpack(thing)  # type: ignore[arg-type]
