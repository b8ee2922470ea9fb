"""Weights in the forms that other viewers take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._foreign import foreign_array

__all__ = ["to_bertviz", "to_circuitsvis"]


def to_bertviz(
    weights: ArrayLike | Sequence[ArrayLike],
    tokens: Sequence[str],
    key_tokens: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return the arguments of BertViz' ``head_view`` and ``model_view``.

    Parameters
    ----------
    weights : array_like, or a sequence of them
        One layer ``(heads, n_q, n_k)``, layers ``(layers, heads, n_q, n_k)``, or a list of layers.
        float32 weights are shared, others converted.
    tokens : sequence of str
        One per query.
    key_tokens : sequence of str, optional
        One per key, for cross-attention.

    Returns
    -------
    dict
        ``attention`` and ``tokens``; with `key_tokens`, ``cross_attention``, ``decoder_tokens``
        and ``encoder_tokens``. The attention is a list of tensors ``(1, heads, n_q, n_k)``.

    Raises
    ------
    ImportError
        If torch is not installed.
    ValueError
        If shapes and tokens do not fit one another.

    References
    ----------
    J. Vig, "A Multiscale Visualization of Attention in the Transformer Model", 2019.
    https://github.com/jessevig/bertviz

    Examples
    --------
    >>> import selfattn
    >>> arguments = selfattn.to_bertviz(weights, tokens)  # doctest: +SKIP
    >>> bertviz.head_view(**arguments)  # doctest: +SKIP
    """
    layers = _layers(weights)
    _check_tokens(layers, tokens, key_tokens)
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            "selfattn.to_bertviz makes torch tensors: pip install 'selfattn[torch]'"
        ) from error
    tensors = [torch.from_numpy(np.require(layer, np.float32, "W")[np.newaxis]) for layer in layers]
    if key_tokens is None:
        return {"attention": tensors, "tokens": list(tokens)}
    return {
        "cross_attention": tensors,
        "decoder_tokens": list(tokens),
        "encoder_tokens": list(key_tokens),
    }


def to_circuitsvis(weights: ArrayLike, tokens: Sequence[str]) -> dict[str, Any]:
    """Return the arguments of CircuitsVis' ``attention_heads`` and ``attention_patterns``.

    Parameters
    ----------
    weights : array_like
        One layer, ``(heads, n, n)`` or ``(1, heads, n, n)``.
    tokens : sequence of str
        One per query, which are the keys too.

    Returns
    -------
    dict
        ``attention``, a float32 array ``(heads, n, n)``, and ``tokens``.

    Raises
    ------
    ValueError
        If there is more than one layer, the maps are not square, or `tokens` has another length.

    References
    ----------
    https://github.com/TransformerLensOrg/CircuitsVis

    Examples
    --------
    >>> import numpy as np
    >>> import selfattn
    >>> arguments = selfattn.to_circuitsvis(np.full((4, 2, 2), 0.5), ["to", "be"])
    >>> arguments["attention"].shape, arguments["tokens"]
    ((4, 2, 2), ['to', 'be'])
    """
    layers = _layers(weights)
    if len(layers) != 1:
        raise ValueError(f"weights has {len(layers)} layers: expected one, as weights[0]")
    if layers[0].shape[-2] != layers[0].shape[-1]:
        raise ValueError(
            f"weights has shape {layers[0].shape}: CircuitsVis shows square maps only; "
            "selfattn.view shows others"
        )
    _check_tokens(layers, tokens, None)
    return {"attention": np.asarray(layers[0], np.float32), "tokens": list(tokens)}


def _layers(weights: ArrayLike | Sequence[ArrayLike]) -> list[NDArray[Any]]:
    """Each layer as ``(heads, n_q, n_k)``."""
    if isinstance(weights, list | tuple) and all(getattr(w, "ndim", 0) >= 3 for w in weights):
        layers = [foreign_array(f"weights[{i}]", w) for i, w in enumerate(weights)]
    else:
        array = foreign_array("weights", weights)
        layers = list(array) if array.ndim == 4 else [array]
    layers = [layer[0] if layer.ndim == 4 and layer.shape[0] == 1 else layer for layer in layers]
    for layer in layers:
        if layer.ndim != 3:
            raise ValueError(
                f"weights has a layer of shape {layer.shape}: expected (heads, n_q, n_k)"
            )
    return layers


def _check_tokens(
    layers: list[NDArray[Any]], tokens: Sequence[str], key_tokens: Sequence[str] | None
) -> None:
    keys, argument = (tokens, "tokens") if key_tokens is None else (key_tokens, "key_tokens")
    for layer in layers:
        n_q, n_k = layer.shape[1:]
        if len(tokens) != n_q:
            raise ValueError(f"tokens has {len(tokens)} entries and there are {n_q} queries")
        if len(keys) != n_k:
            raise ValueError(f"{argument} has {len(keys)} entries and there are {n_k} keys")
