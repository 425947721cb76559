"""One search of one open build: what is looked for, and the hits that it has. Blocking, but for what is quick (`search.py` says which).

A vector, a text or words against the build and its tail, the chunks looked up. Which build answers, and what a reader may find in it, was
decided before. Next: `ranking.py`, where a search wants more than the nearest vectors; `vectors/engine.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engines.at import At
from engines.embedding.builtin import NAME as BUILTIN
from engines.embedding.headings import headings_of
from engines.embedding.registry import Embedder
from engines.errors import EngineError, ModelMismatch, SearchInvalid
from engines.live_recall import LiveRecall, Sample
from engines.permitted import numbered
from engines.ranking import PLAIN, Mode, Ranker, Ranking, Stage, depth_of, mode_of
from engines.reading import Decision
from engines.search_at import Coverage
from engines.serving import Serving
from engines.sql.facets import MOST_FACETS, Facet
from engines.vectors.chunk_table import Row
from engines.vectors.engine import Ids, Mask, Vectors

MOST_HITS = 10_000
LONGEST_TEXT = 64 * 1024  # characters, as a statement has; they take some 20 ms of CPU, a million a second


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What is looked for: exactly one of text and vector. filter: a SQL condition over the dataset's columns. model: whose vectors, where
    not those that serve. at: a former version of the dataset. ranking: by vectors, words or both, and what becomes of candidates.
    version: a model, or a generation that is built, by its name. facets: columns of the dataset whose values are counted."""

    index: str
    text: str | None = None
    vector: Sequence[float] | None = None
    k: int = 10
    filter: str | None = None
    model: str | None = None
    at: At | None = None
    ranking: Ranking = PLAIN
    version: str | None = None
    facets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk: its row's key, its number within the row, its text, and its score (higher is better): the cosine with what was looked for in
    mode vector, BM25's in mode lexical, that of the fused ranks in mode hybrid; the reranker's where there was one. headings: that its text
    begins with, where texts are cut by structure. path, page: where a document is opened; None of other rows."""

    key: str
    chunk: int
    text: str
    score: float
    headings: tuple[str, ...] = ()
    path: str | None = None
    page: int | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The hits, best first. generation: the recipe's name, None if it was recommended. versions: of the dataset that the build holds.
    model: whose vectors were searched.

    rescues: buckets that gave files of the build in another's place. coverage: of a former version, which `versions` names then.
    mode: that answered. stages: with `explain`, of the ranking. text: the columns of the dataset whose text is searched. decision: what the
    reader was shown of the dataset. facets: by column, of the rows that could be found; None where none was asked for.
    """

    hits: tuple[Hit, ...]
    index: str
    generation: str | None
    versions: Mapping[str, int]
    rescues: tuple[str, ...] = ()
    coverage: Coverage | None = None
    mode: Mode = "vector"
    stages: tuple[Stage, ...] | None = None
    model: str = BUILTIN
    text: tuple[str, ...] = ()
    decision: Decision | None = None
    facets: Mapping[str, Facet] | None = None

    @property
    def given(self) -> int:
        """Hits, and values of facets: what was told of rows."""
        return len(self.hits) + sum(len(facet.values) for facet in (self.facets or {}).values())


def check(request: SearchRequest, serving: Serving) -> None:
    """Raises SearchInvalid or ModelMismatch."""
    if (request.text is None) == (request.vector is None):
        raise SearchInvalid("A search needs exactly one of text and vector.")
    if not 1 <= request.k <= MOST_HITS:
        raise SearchInvalid(f"k must be from 1 to {MOST_HITS}, not {request.k}.")
    if request.text is not None and (not request.text or request.text.isspace()):
        raise SearchInvalid("The text to look for is empty.")
    if request.text is not None and len(request.text) > LONGEST_TEXT:
        raise SearchInvalid(f"The text to look for has {len(request.text)} characters; at most {LONGEST_TEXT} are taken.")
    if len(request.facets) > MOST_FACETS:
        raise SearchInvalid(f"{len(request.facets)} facets are asked for; at most {MOST_FACETS} are counted.")


def answer(
    request: SearchRequest,
    serving: Serving,
    keys: pa.Array | None = None,
    without: pa.Array | None = None,
    recall: LiveRecall | None = None,
    *,
    vector_of: Callable[[Embedder, str], Vectors],
) -> SearchResult:
    """Embed, search, and look the chunks up. Blocking.

    keys: of the only rows to be found; without: of rows that are not. recall: gets the search, if it was one by vectors. vector_of: float32
    (1, dimension) of a text by a model.
    """
    mode = mode_of(request.ranking, serving, request.text)
    table = serving.table
    allowed = _allowed(serving, None if keys is None else table.of_rows(keys), without)
    stages: tuple[Stage, ...] | None = None
    ids: Ids | None
    query = cache(lambda: _query(request, serving, vector_of))
    plain = mode == "vector" and request.ranking.plain
    if plain:
        ids, found = _nearest(query(), request.k, serving, allowed, keys)
    else:
        ranker = Ranker(serving, request.ranking, mode, request.text, query, allowed, keys)
        found = ranker.hits(request.k)
        ids = ranker.ids
        stages = tuple(ranker.stages) if request.ranking.explain else None
    if recall is not None and ids is not None:
        k = request.k if plain else depth_of(request.k)
        of = (serving.vectors, serving.mapped, serving.tail)
        recall.offer(Sample(request.index, serving.manifest, serving.model_name, ids, k, query(), *of, allowed, keys))
    capped = mode == "vector" and request.ranking.rerank is None  # rounding takes some cosines a little beyond 1
    hits = tuple([Hit(key, number, text, min(score, 1.0) if capped else score) for (key, number, text), score in found])
    if table.facts.by == "structure":
        hits = tuple([replace(hit, headings=headings_of(hit.text)) for hit in hits])
    rescues = serving.rescues
    generation, model = serving.manifest.generation, serving.model_name
    text = table.facts.text
    return SearchResult(hits, request.index, generation, serving.versions, rescues, mode=mode, stages=stages, model=model, text=text)


def reach(serving: Serving, without: pa.Array | None = None) -> pa.Array:
    """The keys of the rows of which a search may find a chunk, whatever it looks for; a string array. without: as of `answer`. Blocking."""
    found = serving.table.keys(_allowed(serving, serving.permitted, without))
    keys = found.chunks if serving.tail is None else [*found.chunks, serving.tail.keys]
    return pc.unique(pa.chunked_array(keys, pa.string()))


def with_facets(result: SearchResult, facets: Mapping[str, Facet], seconds: float) -> SearchResult:
    """The same hits beside facets, which took so long."""
    stage = Stage("facets", {"columns": list(facets), "seconds": round(seconds, 6)})
    return replace(result, facets=facets, stages=None if result.stages is None else (*result.stages, stage))


def _allowed(serving: Serving, among: Mask | None, without: pa.Array | None) -> Mask | None:
    """Which of the build's chunks count; None for all. among: the only ones that may."""
    table, tail = serving.table, serving.tail
    allowed = among
    for others in (None if without is None else ~table.of_rows(without), None if tail is None else tail.current):
        if others is not None:
            allowed = others if allowed is None else allowed & others
    return allowed


def _nearest(query: Vectors, k: int, serving: Serving, allowed: Mask | None, keys: pa.Array | None) -> tuple[Ids, list[tuple[Row, float]]]:
    """What the build's index found, and the chunks with the highest cosines of the build and the tail."""
    table, tail = serving.table, serving.tail
    ids, scores = serving.index.search(query, k, allowed)
    found = list(zip(table.rows(ids), scores.tolist(), strict=True))
    if tail is not None:
        beside, scores = tail.search(query, k, keys)
        found += zip(tail.rows(beside), scores.tolist(), strict=True)
        found = sorted(found, key=lambda hit: (-hit[1], hit[0][:2] if serving.by_key else ()))[:k]
    return ids, found


def _query(request: SearchRequest, serving: Serving, vector_of: Callable[[Embedder, str], Vectors]) -> Vectors:
    """float32 (dimension,), of length 1. Raises ModelMismatch, SearchInvalid, ModelUnavailable."""
    if request.text is not None:
        if isinstance(serving.model, EngineError):
            raise serving.model
        embedded: Vectors = vector_of(serving.model, request.text)[0]
        if not np.isfinite(embedded).all():
            raise SearchInvalid(f"The model {serving.model.name} has no vector of use for this text.", remedy="Ask in other words.")
        return embedded
    vector = np.asarray(request.vector, dtype=np.float64)
    dimension = serving.index.dimension
    if vector.shape != (dimension,):
        raise ModelMismatch(
            f"The vector has {vector.size} numbers; index {request.index} needs {dimension}, made by the model {serving.model_name}."
        )
    length = float(np.linalg.norm(vector))
    if not np.isfinite(length) or length == 0:
        raise SearchInvalid("The vector to look for must be finite and not all zero.")
    return (vector / length).astype(np.float32)


def without_keys(result: SearchResult) -> SearchResult:
    """The same hits of a table without a primary key, by names that tell of no row but those that were found."""
    stages = result.stages or ()
    names = numbered([*(hit.key for hit in result.hits), *(key for stage in stages for key, _, _ in stage.candidates)])
    hits = tuple([replace(hit, key=names[hit.key]) for hit in result.hits])
    told = [replace(stage, candidates=tuple([(names[key], chunk, score) for key, chunk, score in stage.candidates])) for stage in stages]
    return replace(result, hits=hits, stages=None if result.stages is None else tuple(told))
