"""Texts into vectors by a model of an Ollama server; an `Embedder` of `engines/embedding/registry.py`.

Texts are cut on our side: the tokens of the built-in model's tokenizer stand for the model's own, which the server does not tell. The
server is asked not to cut (`truncate: false`); that it did all the same is seen by its count of tokens. A text that is too long for the
model is cut into pieces, and its vector is the mean of theirs, by their length.

Vectors of a model that was pulled again under the same name are never mixed: its digest is looked at before and after each call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from engines.embedding.chunking import Chunking, spans
from engines.errors import ModelAnswerInvalid, ModelMismatch
from engines.ollama.calls import Calls, counted, reader
from engines.ollama.chat import Use
from engines.ollama.client import OllamaClient
from engines.ollama.errors import TextTooLong
from engines.ollama.facts import ModelFacts
from engines.ollama.prefixes import Prefixes

_SURE = 2
"""A text with half as many of our tokens as the model reads is not too long for it, whatever its own tokens are."""
_LEAST = 0.25
"""The least part of our tokens that a model's own may be for a text that it read as a whole: below, it is looked at by itself."""
_SHORTEST = 8
"""Our tokens of a piece that is not cut further."""

Vectors = NDArray[np.float32]


def fingerprint(name: str, facts: ModelFacts, dimension: int, prefixes: Prefixes) -> str:
    """As `registry.Embedder` has it. A name may hold the slash that parts the rest."""
    return f"{quote(name, safe=':')}/ollama/1/{facts.digest.removeprefix('sha256:')[:16]}/{prefixes.mark}/{dimension}/unit"


class OllamaEmbedder:
    """Thread-safe. Blocking."""

    quick = False

    def __init__(
        self,
        name: str,
        facts: ModelFacts,
        dimension: int,
        prefixes: Prefixes,
        client: OllamaClient,
        now: Callable[[], ModelFacts],
        tokens: Callable[[str], Sequence[tuple[int, int]]],
        use: Use,
        calls: Calls,
        asks: bool = False,
    ) -> None:
        """name: as specs call it. now: what the server has under that name. tokens: ours. asks: whether its texts are looked for."""
        self.name, self.dimension, self.offsets = name, dimension, tokens
        self.fingerprint = fingerprint(name, facts, dimension, prefixes)
        self.context = min(facts.context or client.server.context, client.server.context)
        self._facts, self._client, self._now, self._use, self._calls = facts, client, now, use, calls
        self._prefix = prefixes.query if asks else prefixes.document

    def embed(self, texts: Sequence[str]) -> Vectors:
        """float32 (len(texts), dimension), each row of length 1, or all zero for a blank text.

        Raises ModelMismatch where another model came to have the name, ValueError for vectors of other lengths, and what `client.py` does.
        """
        self._check()
        found = np.zeros((len(texts), self.dimension), np.float32)
        rows = [row for row, text in enumerate(texts) if text.strip()]
        if not rows:
            return found
        with self._use(self.name), counted(self._calls)("embed", self.name, reader()) as spent:
            spent.texts = len(rows)
            prefixed = [self._prefix + texts[row] for row in rows]
            lengths = [len(self.offsets(text)) for text in prefixed]
            sure = [at for at, length in enumerate(lengths) if length * _SURE <= self.context]
            for batch in _batches(sure, self._client.server.batch):
                vectors, read = self._together([prefixed[at] for at in batch], sum(lengths[at] for at in batch))
                spent.read += read
                for at, vector in zip(batch, vectors, strict=True):
                    found[rows[at]] = vector
            for at in sorted(set(range(len(rows))) - set(sure)):
                vector, read = self._alone(prefixed[at], lengths[at])
                found[rows[at]] = vector
                spent.read += read
        self._check()
        return _unit(found)

    def _check(self) -> None:
        now = self._now()
        if now.digest != self._facts.digest:
            raise ModelMismatch(
                f"{self.name} was pulled again and is another model now ({now.digest[:12]}, was {self._facts.digest[:12]}).",
                remedy="Indexes embed their texts again by the new one by themselves.",
            )

    def _together(self, texts: Sequence[str], length: int) -> tuple[list[Vectors], int]:
        try:
            vectors, read = self._client.embed(self.name, texts, self.context)
        except TextTooLong:
            read = 0
        if read and read >= length * _LEAST:
            return vectors, read
        each = [self._alone(text, len(self.offsets(text))) for text in texts]
        return [vector for vector, _ in each], sum(read for _, read in each)

    def _alone(self, text: str, length: int) -> tuple[Vectors, int]:
        """One text, which may be too long: then that of its pieces."""
        try:
            vectors, read = self._client.embed(self.name, [text], self.context)
        except TextTooLong:
            pass
        else:
            if read < self.context:
                return vectors[0], read
        if length <= _SHORTEST:
            raise ModelAnswerInvalid(
                f"{self.name} does not take a text of {length} tokens, though it reads {self.context}.", remedy="Use another model."
            )
        return self._pieces(text, length)

    def _pieces(self, text: str, length: int) -> tuple[Vectors, int]:
        size = max(_SHORTEST, min(length // 2, self.context // _SURE))
        total, tokens = np.zeros(self.dimension, np.float32), 0
        body = text.removeprefix(self._prefix)
        for start, end in spans(body, Chunking(size, 0), self):
            piece = self._prefix + body[start:end]
            count = len(self.offsets(piece))
            if count >= length:
                raise ModelAnswerInvalid(f"{self.name} does not take a text of {length} tokens.", remedy="Use another model.")
            vector, read = self._alone(piece, count)
            total = total + _unit(vector[np.newaxis])[0] * count
            tokens += read
        return total, tokens


def _batches(rows: Sequence[int], size: int) -> Iterator[list[int]]:
    left = iter(rows)
    while batch := list(islice(left, size)):
        yield batch


def _unit(vectors: Vectors) -> Vectors:
    """Of length 1, but for those that have no length that is a positive number."""
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    usable = np.isfinite(lengths) & (lengths > 0)
    return np.where(usable[:, np.newaxis], vectors / np.where(usable, lengths, 1)[:, np.newaxis], vectors).astype(np.float32)
