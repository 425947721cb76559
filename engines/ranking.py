"""Ranking in stages: candidates by vectors and by words, fused; a threshold; one hit a row; a reranker; diversity.

Each stage takes what the one before it left. The filter goes before all of them: what does not pass is no candidate. A place is a chunk's
id in the build, or, past the build's size, in its tail. With `explain` each stage leaves its candidates and scores behind; nothing else is
computed for it. Next: `fusion.py` for the arithmetic, `search.py`, which asks when a search wants more than the nearest vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from engines.errors import SearchInvalid
from engines.fusion import diversified, fuse, unrelated_cosine
from engines.lexical.terms import terms
from engines.reranking import RERANKED, check_reranker, open_reranker
from engines.serving import Serving
from engines.vectors.chunk_table import Row
from engines.vectors.engine import Ids, Mask, Vectors

Mode = Literal["vector", "lexical", "hybrid"]
DEPTH = 100
"""Candidates of a stage, at least; four for each hit where that is more."""
MOST_DEPTH = 40_000
_PER_HIT = 4


@dataclass(frozen=True, slots=True)
class Ranking:
    """How candidates become hits.

    Args:
        mode: by what candidates are found; None for both where the index has words and a text is given, else vectors.
        vector_weight: of the vectors' ranks in the fusion; lexical_weight: of the words'.
        threshold: the least cosine with the query.
        beats: the same as a share, in [0, 1): of pairs of unrelated chunks of the build that a hit's cosine is above.
        by_row: the best chunk of each row only.
        diversity: in [0, 1]: how much a hit is to be unlike those before it.
        rerank: by whom the best are judged again.
        explain: whether the stages are told.
    """

    mode: Mode | None = None
    vector_weight: float = 1.0
    lexical_weight: float = 1.0
    threshold: float | None = None
    beats: float | None = None
    by_row: bool = False
    diversity: float = 0.0
    rerank: str | None = None
    explain: bool = False

    @property
    def plain(self) -> bool:
        """Whether candidates by vectors are hits as they are."""
        limited = self.threshold is not None or self.beats is not None
        return not (limited or self.by_row or self.rerank or self.diversity or self.explain)


PLAIN = Ranking()


@dataclass(frozen=True, slots=True)
class Stage:
    """What a stage did: facts about it, and its candidates, best first: row key, chunk, score."""

    name: str
    facts: dict[str, Any]
    candidates: tuple[tuple[str, int, float], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        found = [{"key": key, "chunk": chunk, "rank": rank, "score": score} for rank, (key, chunk, score) in enumerate(self.candidates, 1)]
        return {"stage": self.name, **self.facts, "candidates": found}


def depth_of(k: int) -> int:
    """Candidates of a stage that are looked at first, for k hits."""
    return max(DEPTH, _PER_HIT * k)


def mode_of(ranking: Ranking, serving: Serving, text: str | None) -> Mode:
    """What is used. Raises SearchInvalid for what the index or the request does not allow."""
    _check(ranking)
    if ranking.rerank is not None and text is None:
        raise SearchInvalid("Reranking needs a text to look for.")
    if ranking.mode == "vector" or (ranking.mode is None and (serving.lexical is None or text is None)):
        return "vector"
    if text is None:
        raise SearchInvalid(f"Mode {ranking.mode} needs a text to look for.")
    if serving.lexical is None:
        index = serving.table.facts.index
        remedy = f"Set `lexical: true` in the spec of Index/{index}, or use mode vector."
        raise SearchInvalid(f"Index {index} has no keyword index for mode {ranking.mode}.", remedy=remedy)
    return ranking.mode or "hybrid"


def _check(ranking: Ranking) -> None:
    """Raises SearchInvalid for what contradicts itself."""
    weights = (ranking.vector_weight, ranking.lexical_weight)
    if not (all(0 <= weight < inf for weight in weights) and any(weights)):
        raise SearchInvalid("Weights must be finite and not negative, and one of them must be over 0.")
    if ranking.threshold is not None and ranking.beats is not None:
        raise SearchInvalid("A threshold is a cosine or a share, not both.")
    if ranking.beats is not None and not 0 <= ranking.beats < 1:
        raise SearchInvalid(f"The share that a hit beats must be from 0 to under 1, not {ranking.beats}.")
    if not 0 <= ranking.diversity <= 1:
        raise SearchInvalid(f"Diversity must be from 0 to 1, not {ranking.diversity}.")
    if ranking.rerank is not None:
        check_reranker(ranking.rerank)


@dataclass
class Ranker:
    """One search over an open build. Blocking; used once.

    Args:
        query: gives the vector to look for; not asked where only words are looked at.
        allowed: of the build's chunks; None for all. keys: of the rows that may be found in the tail; None for all.
        ids: what the build's index found last, best first; None before it is asked.
    """

    serving: Serving
    ranking: Ranking
    mode: Mode
    text: str | None
    query: Callable[[], Vectors]
    allowed: Mask | None
    keys: pa.Array | None
    stages: list[Stage] = field(default_factory=list)
    ids: Ids | None = None
    _rows: dict[int, Row] = field(default_factory=dict)

    def hits(self, k: int) -> list[tuple[Row, float]]:
        """The k best chunks with the last stage's scores, in its order. Raises as `VectorIndex.search` and the query do."""
        found = self._grouped(k)
        if self.ranking.rerank is not None:
            found = self._reranked(self.ranking.rerank, found[: max(RERANKED, k)])
        if self.ranking.diversity and found:
            order = diversified([score for _, score in found], self._vectors(found), k, self.ranking.diversity)
            found = [found[at] for at in order]
            self._tell("diversity", {"diversity": self.ranking.diversity}, found)
        return [(self._row(place), score) for place, score in found[:k]]

    def _grouped(self, k: int) -> list[tuple[int, float]]:
        """Candidates, one a row if that is wanted: deeper, until there are k rows or no more candidates."""
        depth = depth_of(k)
        while True:
            self.stages = self._filtered()
            found, more = self._candidates(depth)
            if not self.ranking.by_row:
                return found
            best: dict[str, tuple[int, float]] = {}
            for place, score in found:
                best.setdefault(self._row(place)[0], (place, score))
            if len(best) >= k or not more or depth >= MOST_DEPTH:
                grouped = list(best.values())
                self._tell("group", {"by": "row"}, grouped)
                return grouped
            depth *= _PER_HIT

    def _filtered(self) -> list[Stage]:
        if self.keys is None or self.allowed is None:
            return []
        tail = None if self.serving.tail is None else self.serving.tail.of_rows(self.keys)
        passed = sum(int(np.count_nonzero(mask)) for mask in (self.allowed, tail) if mask is not None)
        return [Stage("filter", {"chunks": passed})]

    def _candidates(self, depth: int) -> tuple[list[tuple[int, float]], bool]:
        """Places and scores past the threshold, best first; and whether a deeper look would find more."""
        lists: list[tuple[float, list[tuple[int, float]]]] = []
        if self.mode != "lexical":
            lists.append((self.ranking.vector_weight, self._by_vector(depth)))
            self._tell("vector", {"weight": self.ranking.vector_weight} if self.mode == "hybrid" else {}, lists[-1][1])
        if self.mode != "vector":
            looked_for = terms(self.text or "")
            lists.append((self.ranking.lexical_weight, self._by_words(looked_for, depth)))
            facts = {"weight": self.ranking.lexical_weight} if self.mode == "hybrid" else {}
            self._tell("lexical", {**facts, "terms": looked_for}, lists[-1][1])
        found = lists[0][1]
        if self.mode == "hybrid":
            found = fuse([(weight, [place for place, _ in places]) for weight, places in lists if weight])
            self._tell("fusion", {}, found)
        return self._past_threshold(found), any(len(places) == depth for _, places in lists)

    def _by_vector(self, depth: int) -> list[tuple[int, float]]:
        tail, query = self.serving.tail, self.query()
        found = self.serving.index.search(query, depth, self.allowed)
        self.ids = found[0]
        return self._merged(found, None if tail is None else tail.search(query, depth, self.keys), depth)

    def _by_words(self, looked_for: Sequence[str], depth: int) -> list[tuple[int, float]]:
        words, tail, lexical = self.serving.tail_words, self.serving.tail, self.serving.lexical
        assert lexical is not None
        found = lexical.search(looked_for, depth, self.allowed)
        if words is None or tail is None:
            return self._merged(found, None, depth)
        return self._merged(found, words.search(looked_for, depth, tail.of_rows(self.keys)), depth)

    def _merged(self, found: tuple[Ids, Vectors], tail: tuple[Ids, Vectors] | None, depth: int) -> list[tuple[int, float]]:
        places = list(zip(found[0].tolist(), found[1].tolist(), strict=True))
        if tail is None:
            return places
        places += zip((tail[0] + self.serving.table.size).tolist(), tail[1].tolist(), strict=True)
        by_key = self.serving.by_key
        return sorted(places, key=lambda item: (-item[1], self._row(item[0])[:2] if by_key else ()))[:depth]

    def _past_threshold(self, found: list[tuple[int, float]]) -> list[tuple[int, float]]:
        least = self.ranking.threshold
        if self.ranking.beats is not None:
            least = self.serving.unrelated(self.ranking.beats, unrelated_cosine)
        if least is None or not found:
            return found
        cosines = np.vecdot(self._vectors(found), self.query())
        kept = [item for item, cosine in zip(found, cosines.tolist(), strict=True) if cosine >= least]
        self._tell("threshold", {"cosine": least, "dropped": len(found) - len(kept)}, kept)
        return kept

    def _reranked(self, name: str, found: list[tuple[int, float]]) -> list[tuple[int, float]]:
        scores = open_reranker(name).scores(self.text or "", [self._row(place)[2] for place, _ in found]).tolist()
        found = sorted(((place, score) for (place, _), score in zip(found, scores, strict=True)), key=lambda item: -item[1])
        self._tell("rerank", {"by": name}, found)
        return found

    def _vectors(self, found: Sequence[tuple[int, float]]) -> Vectors:
        """float32 (len(found), dimension)."""
        size, tail = self.serving.table.size, self.serving.tail
        places = np.array([place for place, _ in found], np.int64)
        within = places < size
        vectors = np.empty((len(found), self.serving.index.dimension), np.float32)
        vectors[within] = self.serving.vectors[places[within]]
        if tail is not None:
            vectors[~within] = tail.vectors[places[~within] - size]
        return vectors

    def _row(self, place: int) -> Row:
        if place not in self._rows:
            size, tail = self.serving.table.size, self.serving.tail
            if place < size or tail is None:
                (self._rows[place],) = self.serving.table.rows(np.array([place]))
            else:
                (self._rows[place],) = tail.rows(np.array([place - size]))
        return self._rows[place]

    def _tell(self, name: str, facts: dict[str, Any], found: Sequence[tuple[int, float]]) -> None:
        if self.ranking.explain:
            rows = [(*self._row(place)[:2], score) for place, score in found]
            self.stages.append(Stage(name, facts, tuple(rows)))
