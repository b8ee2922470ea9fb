"""Types of the C module; its functions carry the documentation."""

from typing import Any, Final, Literal, SupportsFloat, SupportsIndex, TypedDict, overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

__version__: Final[str]

_Array = NDArray[Any]
_Causal = bool | np.bool | Literal["upper_left", "lower_right"]
_Window = SupportsIndex | tuple[SupportsIndex | None, SupportsIndex | None]

# What comes back depends on return_weights and return_lse: out alone, or a tuple of out, weights
# and lse as far as they are asked for.
@overload
def attention(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    bias: ArrayLike | None = None,
    causal: _Causal = False,
    window: _Window | None = None,
    query_offset: ArrayLike | None = None,
    scale: SupportsFloat | SupportsIndex | None = None,
    softcap: SupportsFloat | SupportsIndex | None = None,
    alibi_slopes: ArrayLike | None = None,
    sinks: ArrayLike | None = None,
    key_lengths: ArrayLike | None = None,
    return_weights: Literal[False] = False,
    return_lse: Literal[False] = False,
    out: _Array | tuple[_Array | None] | None = None,
    num_threads: SupportsIndex | None = None,
) -> _Array: ...
@overload
def attention(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    bias: ArrayLike | None = None,
    causal: _Causal = False,
    window: _Window | None = None,
    query_offset: ArrayLike | None = None,
    scale: SupportsFloat | SupportsIndex | None = None,
    softcap: SupportsFloat | SupportsIndex | None = None,
    alibi_slopes: ArrayLike | None = None,
    sinks: ArrayLike | None = None,
    key_lengths: ArrayLike | None = None,
    return_weights: Literal[True, "mean"],
    return_lse: Literal[False] = False,
    out: _Array | tuple[_Array | None, _Array | None] | None = None,
    num_threads: SupportsIndex | None = None,
) -> tuple[_Array, _Array]: ...
@overload
def attention(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    bias: ArrayLike | None = None,
    causal: _Causal = False,
    window: _Window | None = None,
    query_offset: ArrayLike | None = None,
    scale: SupportsFloat | SupportsIndex | None = None,
    softcap: SupportsFloat | SupportsIndex | None = None,
    alibi_slopes: ArrayLike | None = None,
    sinks: ArrayLike | None = None,
    key_lengths: ArrayLike | None = None,
    return_weights: Literal[False] = False,
    return_lse: Literal[True],
    out: _Array | tuple[_Array | None, _Array | None] | None = None,
    num_threads: SupportsIndex | None = None,
) -> tuple[_Array, _Array]: ...
@overload
def attention(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    bias: ArrayLike | None = None,
    causal: _Causal = False,
    window: _Window | None = None,
    query_offset: ArrayLike | None = None,
    scale: SupportsFloat | SupportsIndex | None = None,
    softcap: SupportsFloat | SupportsIndex | None = None,
    alibi_slopes: ArrayLike | None = None,
    sinks: ArrayLike | None = None,
    key_lengths: ArrayLike | None = None,
    return_weights: Literal[True, "mean"],
    return_lse: Literal[True],
    out: _Array | tuple[_Array | None, _Array | None, _Array | None] | None = None,
    num_threads: SupportsIndex | None = None,
) -> tuple[_Array, _Array, _Array]: ...
@overload
def attention(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    bias: ArrayLike | None = None,
    causal: _Causal = False,
    window: _Window | None = None,
    query_offset: ArrayLike | None = None,
    scale: SupportsFloat | SupportsIndex | None = None,
    softcap: SupportsFloat | SupportsIndex | None = None,
    alibi_slopes: ArrayLike | None = None,
    sinks: ArrayLike | None = None,
    key_lengths: ArrayLike | None = None,
    return_weights: bool | np.bool | Literal["mean"] = False,
    return_lse: bool | np.bool = False,
    out: _Array | tuple[_Array | None, ...] | None = None,
    num_threads: SupportsIndex | None = None,
) -> _Array | tuple[_Array, ...]: ...
def units() -> tuple[str, ...]: ...
def set_num_threads(n: SupportsIndex) -> None: ...
def get_num_threads() -> int: ...

# The rest serves show_config, the tests and the benchmarks.

class _Config(TypedDict):
    version: str
    compiler: str
    c_flags: str
    numpy_build: str
    units_built: tuple[str, ...]
    units_available: tuple[str, ...]
    unit_in_use: str
    num_threads: int
    num_threads_source: str
    bad_threads_variable: str | None

class _Shape(TypedDict):
    lanes: int
    tile_rows: int
    tile_vectors: int

def _built_units() -> tuple[str, ...]: ...
def _use_unit(name: str, /) -> None: ...
def _config() -> _Config: ...
def _check_attention(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    bias: ArrayLike | None = None,
    causal: _Causal = False,
    window: _Window | None = None,
    query_offset: ArrayLike | None = None,
    scale: SupportsFloat | SupportsIndex | None = None,
    softcap: SupportsFloat | SupportsIndex | None = None,
    alibi_slopes: ArrayLike | None = None,
    sinks: ArrayLike | None = None,
    key_lengths: ArrayLike | None = None,
    return_weights: bool | np.bool | Literal["mean"] = False,
    return_lse: bool | np.bool = False,
    out: _Array | tuple[_Array | None, ...] | None = None,
    num_threads: SupportsIndex | None = None,
) -> tuple[int, int]: ...
def _attention_stats(
    request: tuple[object, int, int, int, _Array | None, int, _Array | None, _Array | None, object],
    /,
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    bias: ArrayLike | None = None,
    causal: _Causal = False,
    window: _Window | None = None,
    query_offset: ArrayLike | None = None,
    scale: SupportsFloat | SupportsIndex | None = None,
    softcap: SupportsFloat | SupportsIndex | None = None,
    alibi_slopes: ArrayLike | None = None,
    sinks: ArrayLike | None = None,
    key_lengths: ArrayLike | None = None,
    num_threads: SupportsIndex | None = None,
) -> dict[str, _Array]: ...
def _check_output_memory(entries: tuple[_Array | None, ...], /) -> None: ...
def _linear(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None,
    y: _Array,
    num_threads: SupportsIndex | None,
    /,
) -> _Array: ...
def _attend_layer(
    x: _Array,
    w_in: _Array,
    b_in: _Array | None,
    w_o: _Array,
    b_o: _Array | None,
    heads: int,
    kv_heads: int,
    causal: bool,
    num_threads: SupportsIndex | None,
    /,
) -> _Array: ...
def _probe_gemm(unit: str, a: ArrayLike, b: ArrayLike, /) -> _Array: ...
def _probe_exp2(unit: str, t: ArrayLike, m: float, /) -> _Array: ...
def _probe_tanh(unit: str, x: ArrayLike, /) -> _Array: ...
def _probe_transpose(unit: str, x: ArrayLike, /) -> _Array: ...
def _probe_shape(unit: str, dtype: DTypeLike, /) -> _Shape: ...
def _probe_fma_peak(unit: str, dtype: DTypeLike, repeats: int, /) -> float: ...
