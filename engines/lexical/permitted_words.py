"""BM25 over some of the chunks of a corpus as if there were no others: how rare a term is, and how long a text is for one, is told by them.

A stored score is a term's rarity in the whole corpus times how much its occurrences count in a chunk of that length. Both are known, so the
number of occurrences is got back from it, and the score is computed anew with the rarity and the average length of the permitted chunks:
what comes out is what an index of these alone would have (`bm25.py`), without making one for each reader. Next: `engines/permitted.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from engines.lexical.bm25 import K1, B, LexicalIndex, Statistics, best
from engines.lexical.terms import terms
from engines.vectors.engine import Ids, Mask, Vectors

Lengths = NDArray[np.int32]
Ordered = Callable[[Callable[[int], tuple[Ids, Vectors]], int], tuple[Ids, Vectors]]
"""Calls a search for as many as it needs to give the k best in an order of its own among equals."""
_MOST = 1_000
"""Occurrences of a term in a chunk that are told apart: more count the same to the fourth digit."""
_TERM = r"[\pL\pN_]+"
"""What is a term as RE2 says it, for nearly every text."""


class PermittedWords:
    """Thread-safe: it is only read."""

    def __init__(self, corpus: LexicalIndex, lengths: Lengths, permitted: Mask, ordered: Ordered) -> None:
        """lengths: in terms, of each chunk; permitted: bool (chunks,)."""
        self._corpus = corpus
        self._permitted = permitted
        self._ordered = ordered
        chunks, total = int(np.count_nonzero(permitted)), int(lengths[permitted].sum())
        self.statistics = Statistics(chunks, total)
        known = corpus.statistics
        self._longer_there = _longer(lengths, known.terms / known.chunks if known.terms else 1.0)
        self._longer = _longer(lengths, total / chunks if total else 1.0)

    def search(self, query: Sequence[str], k: int, allowed: Mask | None = None) -> tuple[Ids, Vectors]:
        """As `LexicalIndex.search`, of the permitted chunks."""
        scores = np.zeros(len(self._permitted), np.float32)
        for term in query:
            chunks, stored = self._corpus.postings(term)
            if not len(chunks):
                continue
            share = stored / _rarity(self._corpus.statistics.chunks, len(chunks))  # of what any number of occurrences would count
            occurrences = np.rint(self._longer_there[chunks] * share / np.maximum(1 - share, 1e-6)).clip(1, _MOST)
            within = self._permitted[chunks]
            rarity = _rarity(self.statistics.chunks, int(np.count_nonzero(within)))
            scores[chunks] += within * rarity * occurrences / (occurrences + self._longer[chunks])
        if allowed is not None:
            scores *= allowed
        return self._ordered(lambda width: best(scores, width), k)

    def frequency(self, term: str) -> int:
        """In how many permitted chunks the term is."""
        chunks, _ = self._corpus.postings(term)
        return int(np.count_nonzero(self._permitted[chunks]))


def lengths_of(texts: pa.ChunkedArray, known: Statistics) -> Lengths:
    """How many terms each text has. known: of all of them, by which a quick count is judged. CPU, most of it beside Python's lock."""
    counted: Lengths = pc.count_substring_regex(texts, _TERM).to_numpy()
    if int(counted.sum()) == known.terms:
        return counted
    return np.array([len(terms(text)) for text in texts.to_pylist()], np.int32)


def _longer(lengths: Lengths, average: float) -> NDArray[np.floating[Any]]:
    """How many occurrences count half in a text of each length."""
    return K1 * (1 - B + B * lengths / average)


def _rarity(chunks: int, within: int) -> float:
    return math.log(1 + (chunks - within + 0.5) / (within + 0.5))
