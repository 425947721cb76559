"""Reranking: a second look at the few best, by something that is too dear to compare all with.

The built-in reranker compares token by token where the vectors compare averages ("late interaction", as ColBERT has it, with the static
token vectors of the built-in embedder): each token of the query counts by its best match in the text, weighted by the length of its vector,
which is small for words that say little. It needs no other model. Next: `ranking.py`, which asks it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from engines.embedding.registry import open_builtin
from engines.errors import SearchInvalid
from engines.vectors.engine import Vectors

BUILTIN = "builtin"
RERANKED = 50
"""Candidates that are looked at again, or as many as hits are wanted if that is more."""


class Reranker(Protocol):
    """Judges texts by a query. Thread-safe."""

    def scores(self, query: str, texts: Sequence[str]) -> Vectors:
        """float32 (len(texts),): higher is better; comparable for one query only. Blocking. Raises EngineError."""


class TokenEmbedder(Protocol):
    """What gives a vector for each token."""

    def token_vectors(self, text: str) -> Vectors:
        """float32 (tokens, dimension), not normalised."""


class LateInteraction:
    """The built-in reranker: scores up to 1, which a text gets that has every token of the query."""

    def __init__(self, embedder: TokenEmbedder) -> None:
        self._embedder = embedder

    def scores(self, query: str, texts: Sequence[str]) -> Vectors:
        """See `Reranker`; 0 for all where the query has no token."""
        tokens = self._embedder.token_vectors(query)
        weights = np.linalg.norm(tokens, axis=1)
        total = float(weights.sum())
        found = np.zeros(len(texts), np.float32)
        if not total:
            return found
        others = [self._embedder.token_vectors(text) for text in texts]
        ends = np.cumsum([len(vectors) for vectors in others])
        there = np.array([len(vectors) > 0 for vectors in others], np.bool_)
        if there.any():
            # one product for all texts: many small ones wait for BLAS's threads each
            likeness = _unit(tokens) @ _unit(np.concatenate(others)).T
            starts = np.concatenate(([0], ends[:-1]))[there]
            found[there] = weights @ np.maximum.reduceat(likeness, starts, axis=1) / total
        return found


def check_reranker(name: str) -> None:
    """Raises SearchInvalid for a name that there is not."""
    if name != BUILTIN:
        raise SearchInvalid(f"There is no reranker {name!r}.", remedy=f"`rerank` is `{BUILTIN}`, or left out.")


def open_reranker(name: str) -> Reranker:
    """Blocking on first use. Raises SearchInvalid for a name that there is not, ModelUnavailable."""
    check_reranker(name)
    return LateInteraction(open_builtin())


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    scaled: Vectors = vectors / lengths
    return scaled
