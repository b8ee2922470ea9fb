"""The arrays of a multi-head attention layer: made, named, read from PyTorch's and written back."""

from __future__ import annotations

from itertools import accumulate
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from ._arrays import Array, as_array, take_arrays
from ._torch_layout import read_parameters

__all__ = ["HeadParameters"]


class HeadParameters:
    """What a layer holds, without its arithmetic; the base of `MultiHeadAttention`."""

    def _allocate(
        self,
        embed_dim: int,
        heads: int,
        kv_heads: int,
        kdim: int,
        vdim: int,
        bias: bool,
        dtype: np.dtype[Any],
    ) -> None:
        """Arrays of zeros: rows are features out, one matrix for q, k and v if they read the same
        number of features."""
        if embed_dim % heads:
            raise ValueError(f"embed_dim is {embed_dim}: expected a multiple of num_heads, {heads}")
        self.embed_dim, self.num_heads, self.num_kv_heads = embed_dim, heads, kv_heads
        self.kdim, self.vdim, self.dtype = kdim, vdim, dtype
        self.head_dim = embed_dim // heads
        ends = list(accumulate([embed_dim, *[kv_heads * self.head_dim] * 2]))
        self._ends: tuple[int, int, int] = (ends[0], ends[1], ends[2])
        self._in_weight = None
        if kdim == vdim == embed_dim:
            self._in_weight = np.zeros((ends[-1], embed_dim), dtype)
            self._split_in_weight()
        else:
            self._q_weight = np.zeros((ends[0], embed_dim), dtype)
            self._k_weight = np.zeros((ends[1] - ends[0], kdim), dtype)
            self._v_weight = np.zeros((ends[2] - ends[1], vdim), dtype)
        self._out_weight = np.zeros((embed_dim, embed_dim), dtype)
        self._in_bias = np.zeros(ends[-1], dtype) if bias else None
        self._out_bias = np.zeros(embed_dim, dtype) if bias else None

    def _split_in_weight(self) -> None:
        """The three matrices as views of the one that holds them."""
        if self._in_weight is not None:
            parts = np.split(self._in_weight, self._ends[:-1])
            self._q_weight, self._k_weight, self._v_weight = parts

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: without views, which would come back as arrays of their own."""
        state = vars(self).copy()
        if self._in_weight is not None:
            for name in ("_q_weight", "_k_weight", "_v_weight"):
                del state[name]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._split_in_weight()

    def _draw(self, rng: np.random.Generator) -> None:
        """Uniform within sqrt(6 / (features in + out)); the output within 1 / sqrt(embed_dim)."""
        if self._in_weight is not None:
            blocks = [self._in_weight]
        else:
            blocks = [self._q_weight, self._k_weight, self._v_weight]
        bounds = [(6 / max(1, sum(w.shape))) ** 0.5 for w in blocks]
        for w, bound in zip(
            [*blocks, self._out_weight], [*bounds, max(1, self.embed_dim) ** -0.5], strict=True
        ):
            w[...] = rng.uniform(-bound, bound, w.shape)

    @property
    def w_q(self) -> Array:
        """``(embed_dim, embed_dim)``, a view."""
        return self._q_weight.T

    @w_q.setter
    def w_q(self, array: ArrayLike) -> None:
        self._write("w_q", self.w_q, array)

    @property
    def w_k(self) -> Array:
        """``(kdim, num_kv_heads * head_dim)``, a view."""
        return self._k_weight.T

    @w_k.setter
    def w_k(self, array: ArrayLike) -> None:
        self._write("w_k", self.w_k, array)

    @property
    def w_v(self) -> Array:
        """``(vdim, num_kv_heads * head_dim)``, a view."""
        return self._v_weight.T

    @w_v.setter
    def w_v(self, array: ArrayLike) -> None:
        self._write("w_v", self.w_v, array)

    @property
    def w_o(self) -> Array:
        """``(embed_dim, embed_dim)``, a view."""
        return self._out_weight.T

    @w_o.setter
    def w_o(self, array: ArrayLike) -> None:
        self._write("w_o", self.w_o, array)

    @property
    def b_q(self) -> Array | None:
        """``(embed_dim,)``, a view."""
        return None if self._in_bias is None else self._in_bias[: self._ends[0]]

    @b_q.setter
    def b_q(self, array: ArrayLike) -> None:
        self._write("b_q", self.b_q, array)

    @property
    def b_k(self) -> Array | None:
        """``(num_kv_heads * head_dim,)``, a view."""
        return None if self._in_bias is None else self._in_bias[self._ends[0] : self._ends[1]]

    @b_k.setter
    def b_k(self, array: ArrayLike) -> None:
        self._write("b_k", self.b_k, array)

    @property
    def b_v(self) -> Array | None:
        """``(num_kv_heads * head_dim,)``, a view."""
        return None if self._in_bias is None else self._in_bias[self._ends[1] :]

    @b_v.setter
    def b_v(self, array: ArrayLike) -> None:
        self._write("b_v", self.b_v, array)

    @property
    def b_o(self) -> Array | None:
        """``(embed_dim,)``."""
        return self._out_bias

    @b_o.setter
    def b_o(self, array: ArrayLike) -> None:
        self._write("b_o", self.b_o, array)

    def _write(self, name: str, place: Array | None, array: ArrayLike) -> None:
        """Copy `array` into an array of the layer, whose type stays."""
        given = as_array(name, array)
        if place is None:
            raise ValueError(f"{name} is set on a layer without biases: make it with bias=True")
        if given.shape != place.shape:
            raise ValueError(f"{name} has shape {given.shape}: expected {place.shape}")
        take_arrays({name: given})
        place[...] = given

    def __repr__(self) -> str:
        more = "" if self.num_kv_heads == self.num_heads else f", num_kv_heads={self.num_kv_heads}"
        for name in ("kdim", "vdim"):
            if getattr(self, name) != self.embed_dim:
                more += f", {name}={getattr(self, name)}"
        more += "" if self._in_bias is not None else ", bias=False"
        return (
            f"{type(self).__name__}({self.embed_dim}, {self.num_heads}{more}, dtype={self.dtype})"
        )

    @classmethod
    def from_torch(cls, module_or_state_dict: Any, *, num_heads: int | None = None) -> Self:
        """A layer with the parameters of a `torch.nn.MultiheadAttention`.

        Parameters
        ----------
        module_or_state_dict : torch.nn.MultiheadAttention or mapping
            The module, or its ``state_dict()``: arrays or tensors under PyTorch's names. torch
            itself is not needed.
        num_heads : int
            Required for a mapping, which does not know it; a module does.

        Returns
        -------
        MultiHeadAttention
            With copies of the parameters, in their type (bfloat16 tensors: in float32).

        Raises
        ------
        TypeError
            If the argument is neither, or `num_heads` is missing.
        ValueError
            If parameters are missing, superfluous or of the wrong shape, or for what has no
            counterpart: ``add_bias_kv`` and ``add_zero_attn``.

        Notes
        -----
        PyTorch's layer may be ``batch_first`` or not, this one always is. Its bool masks say what
        is blocked; here **True = may look**: pass ``mask=~attn_mask``. It drops weights only while
        it is trained.

        Examples
        --------
        >>> import numpy as np
        >>> import selfattn
        >>> state = selfattn.MultiHeadAttention(8, 2, rng=0).state_dict()
        >>> list(state)
        ['in_proj_weight', 'in_proj_bias', 'out_proj.weight', 'out_proj.bias']
        >>> layer = selfattn.MultiHeadAttention.from_torch(state, num_heads=2)
        >>> layer
        MultiHeadAttention(8, 2, dtype=float32)
        """
        read = read_parameters(module_or_state_dict, num_heads)
        layer = cls.__new__(cls)
        layer._allocate(**read.sizes)
        for name, array in layer._parameters().items():
            array[...] = read.arrays[name]
        return layer

    def state_dict(self) -> dict[str, Array]:
        """Copies of the parameters in `torch.nn.MultiheadAttention`'s names and layout.

        Returns
        -------
        dict of ndarray
            ``in_proj_weight`` ``(3 * embed_dim, embed_dim)``, or ``q_proj_weight``,
            ``k_proj_weight`` and ``v_proj_weight`` where keys or values have other sizes or fewer
            heads; ``out_proj.weight``; with biases ``in_proj_bias`` and ``out_proj.bias``.
        """
        return {name: array.copy() for name, array in self._parameters().items()}

    def _parameters(self) -> dict[str, Array]:
        """The arrays themselves under PyTorch's names."""
        found: dict[str, Array] = {}
        if self._in_weight is not None and self.num_kv_heads == self.num_heads:
            found["in_proj_weight"] = self._in_weight
        else:
            found["q_proj_weight"] = self._q_weight
            found["k_proj_weight"] = self._k_weight
            found["v_proj_weight"] = self._v_weight
        if self._in_bias is not None:
            found["in_proj_bias"] = self._in_bias
        found["out_proj.weight"] = self._out_weight
        if self._out_bias is not None:
            found["out_proj.bias"] = self._out_bias
        return found
