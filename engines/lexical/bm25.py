"""BM25 over the chunks of a corpus: every term's score in every chunk, computed once, as arrays that are mapped from files.

The scores are bm25s's (https://github.com/xhluca/bm25s), by the formula of Lucene. A search adds up the arrays of the query's terms, so it
is exact, its filter is a mask, and equal inputs give equal files. Building holds all terms in memory: some 8 bytes for each term of each
text, and as much again for the arrays. A chunk's id is its place in the corpus, as with vectors.

It does not know rows: `engines/vectors/chunk_table.py` turns ids into chunks. Next: `job.py` builds, `tail_words.py` scores what came
since.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from engines.errors import BuildFailed
from engines.vectors.engine import Ids, Mask, Vectors

K1, B = 1.5, 0.75
"""How soon repetitions of a term stop to count, and how much a text's length does."""

ROLES = ("scores", "chunks", "starts", "terms")
"""The files: of each term its scores and their chunks, where each term's begin, and the terms themselves, a line each."""

_REMEDY = "Reconcile the index: its keyword index is built again from its corpus."


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a score depends on beside the text: how many chunks there are, and how many terms they have together."""

    chunks: int
    terms: int


def write_lexical_index(texts: Iterable[Sequence[str]], paths: Mapping[str, Path]) -> Statistics:
    """Index texts, given as terms, into files by role. Blocking. Writes empty files where no text has a term."""
    vocabulary: dict[str, int] = {}
    ids = [[vocabulary.setdefault(term, len(vocabulary)) for term in text] for text in texts]
    total = sum(map(len, ids))
    with paths["terms"].open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{term}\n" for term in vocabulary)
    if not total:
        for role in ("scores", "chunks", "starts"):
            paths[role].touch()
        return Statistics(len(ids), 0)
    model = _model()
    model.index((ids, vocabulary), create_empty_token=False, show_progress=False)
    for role, name in (("scores", "data"), ("chunks", "indices"), ("starts", "indptr")):
        with paths[role].open("wb") as array:
            np.save(array, model.scores[name], allow_pickle=False)
    return Statistics(len(ids), total)


class Words(Protocol):
    """What is searched by words. Thread-safe."""

    @property
    def statistics(self) -> Statistics:
        """Of the chunks that it is over."""

    def search(self, query: Sequence[str], k: int, allowed: Mask | None = None) -> tuple[Ids, Vectors]:
        """See `LexicalIndex.search`."""

    def frequency(self, term: str) -> int:
        """In how many chunks the term is."""


class LexicalIndex:
    """Open for search. Thread-safe: it is only read."""

    def __init__(self, model: Any, vocabulary: Mapping[str, int], statistics: Statistics) -> None:
        """model: a bm25s.BM25 with its scores; None where no text has a term."""
        self._model = model
        self._vocabulary = vocabulary
        self._statistics = statistics

    @property
    def statistics(self) -> Statistics:
        """Of the corpus."""
        return self._statistics

    def search(self, query: Sequence[str], k: int, allowed: Mask | None = None) -> tuple[Ids, Vectors]:
        """The k chunks with the highest scores over 0, ties by id: ids int64 and scores float32, best first.

        query: terms. allowed: bool (chunks,), True where a chunk may be found; None allows all.
        """
        known = [self._vocabulary[term] for term in query if term in self._vocabulary]
        if not known:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        scores: Vectors = self._model.get_scores_from_ids(known)
        if allowed is not None:
            scores *= allowed
        return best(scores, k)

    def frequency(self, term: str) -> int:
        """In how many chunks the term is."""
        return len(self.postings(term)[0])

    def postings(self, term: str) -> tuple[Ids, Vectors]:
        """The chunks that the term is in, and its score in each."""
        at = self._vocabulary.get(term)
        if at is None:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        scores = self._model.scores
        start, end = scores["indptr"][at], scores["indptr"][at + 1]
        return scores["indices"][start:end], scores["data"][start:end]


def open_lexical_index(paths: Mapping[str, Path], statistics: Statistics) -> LexicalIndex:
    """From files by role, mapped. Blocking. Raises BuildFailed for files that are no such index."""
    if not statistics.terms:
        return LexicalIndex(None, {}, statistics)
    model = _model()
    names = {"data_name": paths["scores"], "indices_name": paths["chunks"], "indptr_name": paths["starts"]}
    try:
        vocabulary = {term: at for at, term in enumerate(paths["terms"].read_text(encoding="utf-8").splitlines())}
        model.nonoccurrence_array = None  # as its own `load` has it for this formula
        model.load_scores("", **names, num_docs=statistics.chunks, mmap=True)
    except (OSError, ValueError) as error:
        raise BuildFailed(f"The keyword index cannot be opened: {error}.", remedy=_REMEDY) from error
    if len(model.scores["indptr"]) != len(vocabulary) + 1 or len(model.scores["data"]) != len(model.scores["indices"]):
        raise BuildFailed("The keyword index has files that do not fit each other.", remedy=_REMEDY)
    return LexicalIndex(model, vocabulary, statistics)


def best(scores: Vectors, k: int) -> tuple[Ids, Vectors]:
    """The k highest over 0, best first, ties by id."""
    ids = scores.nonzero()[0]
    if len(ids) > k:
        kth = np.partition(scores[ids], len(ids) - k)[len(ids) - k]
        ids = ids[scores[ids] >= kth]
    order = np.negative(scores[ids]).argsort(kind="stable")[:k]
    return ids[order], scores[ids[order]]


def _model() -> Any:
    import bm25s  # 0.1 s: only processes that build or search by words load it

    logging.getLogger("bm25s").setLevel(logging.WARNING)  # it asks for DEBUG itself
    return bm25s.BM25(k1=K1, b=B, method="lucene", dtype="float32", int_dtype="int32")
