"""The embedder that needs no server and no download: static token vectors, averaged.

The weights and the tokenizer are read straight from the installed `wordllama` package's folder; the package itself is never imported (it
configures logging, and its loader tries the network). A text's vector is the mean of its tokens' vectors, scaled to length 1, exactly as
`WordLlama.embed(texts, norm=True)` has it, with one difference: a text without tokens gives the zero vector (cosine 0 with everything)
where wordllama gives NaN.

Two things make it faster than the library. The tokenizer is told to cut at spaces before it merges, which changes no token (no entry of
the vocabulary has a space after a letter; checked on load) and lets it remember whole words. And each text is pooled by itself, so that
nothing is padded to the longest one.

Its vectors may be shortened to their first 128 or 64 numbers, for which the weights were trained: each length is a model of its own.
It truncates no text: one of any length is averaged over all its tokens. Next: `chunking.py` cuts texts, `registry.py` opens models.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from tokenizers import Regex, Tokenizer, pre_tokenizers

from engines.errors import ModelUnavailable

NAME = "builtin"
SIZES = {"builtin": 256, "builtin-128": 128, "builtin-64": 64}
"""Numbers in a vector, by the model's name. Source of the lengths: wordllama's README, Matryoshka representation learning."""
_MODEL = "l2_supercat_256"
_TENSOR = "embedding.weight"
_POOLING = "1"  # raise it when the same weights would give other vectors
_SPACE = "\u2581"  # how the vocabulary writes a space
_BATCH = 512  # texts encoded at once: enough to pay for the call, few enough to hold their tokens
_SLICE = 8192  # tokens pooled at once: 8 MB of vectors, whatever the text's length
_REMEDY = "Install the `wordllama` package again: it carries the built-in model's weights."


class StaticEmbedder:
    """Averages token vectors. Thread-safe: nothing changes after it is made."""

    quick = True

    def __init__(self, name: str, weights: NDArray[np.float32], tokenizer: Tokenizer, fingerprint: str) -> None:
        """weights: float32 (vocabulary, dimension), row i for token id i. fingerprint: names weights, tokenizer and pooling."""
        self.name = name
        self._weights = weights
        self._tokenizer = tokenizer
        self.fingerprint = fingerprint
        self.dimension = int(weights.shape[1])

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 (len(texts), dimension), each row of length 1, or all zero for a text without tokens."""
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for start in range(0, len(texts), _BATCH):
            batch = list(texts[start : start + _BATCH])
            encodings = self._tokenizer.encode_batch_fast(batch, add_special_tokens=False)
            for row, encoding in enumerate(encodings, start):
                vectors[row] = self._pool(encoding.ids)
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        lengths[lengths == 0] = 1
        vectors /= lengths[:, np.newaxis]
        return vectors

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Where each token of the text begins and ends, in characters; tokens of one split character share theirs."""
        offsets: list[tuple[int, int]] = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return offsets

    def tokens(self, text: str) -> int:
        """How many tokens the text has."""
        return len(self._tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids)

    def token_vectors(self, text: str) -> NDArray[np.float32]:
        """float32 (tokens, dimension): of each token its own, not normalised."""
        vectors: NDArray[np.float32] = self._weights.take(self._tokenizer.encode(text, add_special_tokens=False).ids, axis=0)
        return vectors

    def _pool(self, ids: list[int]) -> NDArray[Any]:
        """The sum of the tokens' vectors: their mean but for the length, which is normalised away."""
        total: NDArray[Any] = self._weights.take(ids[:_SLICE], axis=0).sum(axis=0)
        for start in range(_SLICE, len(ids), _SLICE):
            total += self._weights.take(ids[start : start + _SLICE], axis=0).sum(axis=0)
        return total


def load(name: str = NAME) -> StaticEmbedder:
    """The built-in embedder of one of these names from the installed package's files: some 0.15 s and 35 MB. Blocking.

    Raises ModelUnavailable.
    """
    # Tokenizing in parallel would take both cores from the daemon, and warns whenever the process forks later on.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    files = _files()
    try:
        with safe_open(str(files.weights), framework="np") as tensors:
            weights = np.ascontiguousarray(tensors.get_tensor(_TENSOR)[:, : SIZES[name]], dtype=np.float32)
    except (OSError, SafetensorError, ValueError) as error:
        raise _unreadable(files.weights, error) from error
    try:
        tokenizer = Tokenizer.from_file(str(files.tokenizer))
    except Exception as error:  # the library raises nothing more special for an unreadable file
        raise _unreadable(files.tokenizer, error) from error
    _cut_at_spaces(tokenizer, weights.shape[0])
    return StaticEmbedder(name, weights, tokenizer, fingerprint(name))


def fingerprint(name: str = NAME) -> str:
    """What `load(name).fingerprint` is, without loading: 10 ms. Blocking. Raises ModelUnavailable."""
    files = _files()
    digest = hashlib.sha256()
    try:
        for file in files:
            digest.update(file.read_bytes())
        with safe_open(str(files.weights), framework="np") as tensors:
            dimension = min(tensors.get_slice(_TENSOR).get_shape()[1], SIZES[name])
    except (OSError, SafetensorError, ValueError) as error:
        raise _unreadable(files.weights.parent, error) from error
    return f"{name}/{_MODEL}/{_POOLING}/{digest.hexdigest()[:16]}/{dimension}/unit"


class _Files(NamedTuple):
    weights: Path
    tokenizer: Path


def _files() -> _Files:
    found = find_spec("wordllama")  # of a top-level package: finds it without running it
    if found is None or found.origin is None:
        raise ModelUnavailable("The built-in embedding model is not installed.", remedy=_REMEDY)
    folder = Path(found.origin).parent
    return _Files(folder / "weights" / f"{_MODEL}.safetensors", folder / "tokenizers" / "l2_supercat_tokenizer_config.json")


def _unreadable(path: Path, error: Exception) -> ModelUnavailable:
    return ModelUnavailable(f"The built-in embedding model cannot be read from {path}: {error}.", remedy=_REMEDY)


def _cut_at_spaces(tokenizer: Tokenizer, rows: int) -> None:
    vocabulary = tokenizer.get_vocab()
    if max(vocabulary.values()) >= rows:
        raise ModelUnavailable("The built-in model's tokenizer has more tokens than its weights have rows.", remedy=_REMEDY)
    if not any(_SPACE in token.lstrip(_SPACE) for token in vocabulary):
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(f"{_SPACE}+[^{_SPACE}]*|[^{_SPACE}]+"), "isolated")
