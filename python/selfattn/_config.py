"""What is installed, what it found and what it uses: the facts a bug report needs."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from typing import Any, Literal, overload

import numpy as np

from . import _selfattn

__all__ = ["show_config"]

_OPTIONAL_PACKAGES = ("ml_dtypes", "threadpoolctl", "torch", "onnxruntime", "jax", "scipy")


@overload
def show_config(mode: Literal["stdout"] = "stdout") -> None: ...
@overload
def show_config(mode: Literal["dicts"]) -> dict[str, dict[str, Any]]: ...
def show_config(mode: str = "stdout") -> dict[str, dict[str, Any]] | None:
    """Show how selfattn was built and what it uses on this machine.

    Parameters
    ----------
    mode : {"stdout", "dicts"}
        Print the configuration, or return it as nested dictionaries.

    Returns
    -------
    dict or None
        With ``mode="dicts"``: sections "selfattn", "units", "threads", "python" and
        "optional packages", each a dict.

    Raises
    ------
    ValueError
        If `mode` is neither of the two.

    Examples
    --------
    >>> import selfattn
    >>> config = selfattn.show_config(mode="dicts")
    >>> config["units"]["in use"] in selfattn.units()
    True
    """
    if mode not in ("stdout", "dicts"):
        raise ValueError(f'mode must be "stdout" or "dicts", not {mode!r}')
    config = _collect()
    if mode == "dicts":
        return config
    print(_as_text(config))
    return None


def _collect() -> dict[str, dict[str, Any]]:
    core = _selfattn._config()
    threads = {"number": core["num_threads"], "set by": core["num_threads_source"]}
    if core["bad_threads_variable"] is not None:
        threads["ignored"] = f"{core['bad_threads_variable']} (not a positive number)"
    selfattn = {"version": core["version"], "compiler": core["compiler"]}
    if core.get("c_flags"):
        selfattn["C flags"] = core["c_flags"]
    return {
        "selfattn": selfattn | {"built with NumPy": core["numpy_build"]},
        "units": {
            "built": list(core["units_built"]),
            "available": list(core["units_available"]),
            "in use": core["unit_in_use"],
        },
        "threads": threads,
        "python": {
            "Python": sys.version.split()[0] + f" ({platform.python_implementation()})",
            "NumPy": np.__version__,
            "platform": platform.platform(),
            "CPU": _cpu_name(),
        },
        "optional packages": {name: _installed_version(name) for name in _OPTIONAL_PACKAGES},
    }


def _as_text(config: dict[str, dict[str, Any]]) -> str:
    width = max(len(name) for section in config.values() for name in section) + 2
    lines = []
    for title, section in config.items():
        lines.append(f"{title}:")
        for name, value in section.items():
            text = ", ".join(value) if isinstance(value, list) else value
            lines.append(f"  {name + ':':{width}} {'not found' if text is None else text}")
    return "\n".join(lines)


def _cpu_name() -> str:
    """The CPU's name as Linux tells it, else what `platform` knows."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                name, _, value = line.partition(":")
                if name.strip() == "model name":
                    return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _installed_version(package: str) -> str | None:
    """Looked up without importing the package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
