"""BM25 over the few chunks of a tail, by the statistics of the corpus that it is beside: so scores of both can be compared.

Frequencies of terms and the average length are the corpus's; they move with the next build. A term that only the tail has is as rare as can
be. Source of the formula: Lucene's BM25Similarity, as bm25s has it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from engines.lexical.bm25 import K1, B, Words, best
from engines.vectors.engine import Ids, Mask, Vectors


class TailWords:
    """Thread-safe: it is only read."""

    def __init__(self, texts: Sequence[Sequence[str]], corpus: Words) -> None:
        """texts: of the tail's chunks, as terms."""
        self._corpus = corpus
        self._occurrences: dict[str, list[tuple[int, int]]] = {}
        for at, text in enumerate(texts):
            for term, count in Counter(text).items():
                self._occurrences.setdefault(term, []).append((at, count))
        known = corpus.statistics
        own = sum(map(len, texts)) / len(texts) if texts else 0
        average = known.terms / known.chunks if known.terms else own
        lengths = np.array([len(text) for text in texts], np.float32)
        self._longer = K1 * (1 - B + B * lengths / (average or 1))

    def search(self, query: Sequence[str], k: int, allowed: Mask | None = None) -> tuple[Ids, Vectors]:
        """As `LexicalIndex.search`."""
        scores = np.zeros(len(self._longer), np.float32)
        for term in query:
            if term in self._occurrences:
                at, counts = np.array(self._occurrences[term]).T
                scores[at] += self._rarity(term) * counts / (counts + self._longer[at])
        if allowed is not None:
            scores *= allowed
        return best(scores, k)

    def _rarity(self, term: str) -> float:
        """The inverse document frequency."""
        chunks, within = self._corpus.statistics.chunks, self._corpus.frequency(term)
        return math.log(1 + (chunks - within + 0.5) / (within + 0.5))
