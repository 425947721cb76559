"""Search: a text or a vector against whatever serves an index now, filtered by SQL.

A build is opened when its index is first asked, in a thread, and kept. When the serving manifest changes (`follow`), the next is loaded and
warmed while the one before goes on answering, then takes its place; a search works on one build from begin to end, so no answer is mixed,
and each names the generation and the table version that it comes from. New search parameters of the same build are set without loading.

A short text is embedded (0.02 ms) and a small search done (0.15 ms) right on the event loop: by a thread, the same search takes 0.08 ms
and a third more CPU, and two cores answer no more of them a second. Everything else, filters and long texts among it, runs in threads
behind one limiter.

It computes nothing itself: `engines/embedding` makes vectors, `engines/vectors` compares them, the query service says which rows pass a
filter. It does not decide what serves: the catalog does.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from typing import Protocol

import anyio
import numpy as np
import pyarrow as pa

from engines.at import At, Moment
from engines.embedding.headings import headings_of
from engines.embedding.registry import Embedder, Model, open_embedder
from engines.errors import BuildFailed, EngineError, IndexNotServing, IndexUnknown, ModelMismatch, SearchInvalid, TableUnknown
from engines.ranking import PLAIN, Mode, Ranker, Ranking, Stage, mode_of
from engines.reading import ANONYMOUS, IndexName, Reader, decide
from engines.search_at import Coverage, Versions, changes, choose, manifest_of, moment_in
from engines.serving import Files, Serving, failures_of, open_serving, with_tail, without_tail
from engines.sql.tables import RESCUED_FOR
from engines.vectors.chunk_table import Row
from engines.vectors.engine import Mask, Vectors
from specs.errors import LakehouseError
from specs.suggestions import nearest
from state.catalog.fold import ObjectState
from state.catalog.indexes import Build, IndexRecord, ServingManifest
from state.catalog.tables import Table
from state.errors import ObjectMissing
from state.failures import BucketFailure
from state.objects import ObjectRef

MOST_HITS = 10_000
LONGEST_TEXT = 1_000_000  # characters
SHORT_TEXT = 2_000  # characters that are embedded within 0.3 ms
MOST_FORMER = 2  # builds that are open for searches of former versions
RETRY_AFTER = 5.0  # seconds from a manifest that could not be opened to the next attempt

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What is looked for: exactly one of text and vector. filter: a SQL condition over the dataset's columns. model: whose vectors. at: a
    former version of the dataset; None for what serves. ranking: by vectors, words or both, and what becomes of candidates."""

    index: str
    text: str | None = None
    vector: Sequence[float] | None = None
    k: int = 10
    filter: str | None = None
    model: str | None = None
    at: At | None = None
    ranking: Ranking = PLAIN


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk: its row's key, its number within the row, its text, and its score (higher is better): the cosine with what was looked for in
    mode vector, BM25's in mode lexical, that of the fused ranks in mode hybrid; the reranker's where there was one. headings: that its text
    begins with, where texts are cut by structure."""

    key: str
    chunk: int
    text: str
    score: float
    headings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The hits, best first. generation: the recipe's name, None if it was recommended. versions: of the dataset that the build holds.

    rescues: buckets that gave files of the build in another's place. coverage: of a former version, which `versions` names then.
    mode: that answered. stages: with `explain`, of the ranking.
    """

    hits: tuple[Hit, ...]
    index: str
    generation: str | None
    versions: Mapping[str, int]
    rescues: tuple[str, ...] = ()
    coverage: Coverage | None = None
    mode: Mode = "vector"
    stages: tuple[Stage, ...] | None = None


class Indexes(Protocol):
    """The catalog, as far as a search needs it."""

    def index(self, name: str) -> IndexRecord | None:
        """What is recorded of the index; None if there is none. From memory: called on the event loop."""

    def table(self, name: str) -> Table | None:
        """What a Dataset holds. From memory: called on the event loop."""

    def objects(self, kind: str) -> Mapping[str, ObjectState]:
        """Every object of a kind, by its name. Blocking."""


class Filters(Versions, Protocol):
    """The query service, as far as a search needs it."""

    async def keys(self, dataset: str, filter_sql: str, reader: Reader, moment: Moment = None) -> pa.Array:
        """The keys of the rows that pass, a string array. Raises FilterInvalid."""


@dataclass(frozen=True, slots=True)
class _Loading:
    """A load under way, or one that failed. since: when it began, in seconds."""

    manifest: ServingManifest
    build: Build | None
    done: asyncio.Future[Serving]
    since: float


class SearchService:
    """Answers searches. Used on one event loop; close it at the end."""

    def __init__(
        self,
        indexes: Indexes,
        files: Files,
        filters: Filters,
        *,
        why_not: Callable[[str], str | None] = lambda index: None,
        open_model: Callable[[Model], Embedder] = open_embedder,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """why_not: a sentence on what an index waits for, or None for one that nobody declared. open_model: blocking. clock: seconds."""
        self._indexes = indexes
        self._files = files
        self._filters = filters
        self._why_not = why_not
        self._open_model = open_model
        self._clock = clock
        self._held: dict[str, Serving] = {}
        self._loading: dict[str, _Loading] = {}
        self._former: OrderedDict[str, asyncio.Future[Serving]] = OrderedDict()
        self._looking: dict[str, asyncio.Future[tuple[BucketFailure, ...]]] = {}
        # One after the other: two builds that load at once would both be in memory besides those that serve.
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="index-loader")
        self._limiter = anyio.CapacityLimiter(max(2, os.cpu_count() or 1))

    async def search(self, request: SearchRequest, reader: Reader = ANONYMOUS) -> SearchResult:
        """The hits, best first.

        Raises IndexUnknown, IndexNotServing, SearchInvalid, ModelMismatch, FilterInvalid, and what opening a build raises.
        """
        try:
            return await self._search(request, reader)
        except BuildFailed:
            self._forget(request.index)  # its files went from where they were opened: the next search opens them again
            raise

    async def _search(self, request: SearchRequest, reader: Reader) -> SearchResult:
        serving = await self._serving(request.index, reader)
        _check(request, serving)
        if request.at is not None:
            return await self._at(request, request.at, serving, reader)
        if request.filter is not None:
            dataset = serving.table.facts.dataset
            keys = await self._filters.keys(dataset, request.filter, reader)
            return await anyio.to_thread.run_sync(_answer, request, serving, keys, limiter=self._limiter)
        plain = request.ranking.plain and mode_of(request.ranking, serving, request.text) == "vector"
        if plain and serving.quick(request.k) and (request.text is None or len(request.text) <= SHORT_TEXT):
            return _answer(request, serving)
        return await anyio.to_thread.run_sync(_answer, request, serving, limiter=self._limiter)

    async def _at(self, request: SearchRequest, at: At, serving: Serving, reader: Reader) -> SearchResult:
        """The hits among the rows of a former version; see `search_at.py`."""
        facts = serving.table.facts
        record, table = self._indexes.index(request.index), self._indexes.table(facts.dataset)
        if record is None or table is None:
            raise TableUnknown(f"Dataset {facts.dataset}, of which index {request.index} is, is not there any more.")
        moment = moment_in(at, facts.dataset)
        choice = choose(record, table, moment)
        if choice.build != serving.build:
            serving = await self._opened_again(record, choice.build)
            _check(request, serving)
        if choice.tail is None:
            serving = without_tail(serving)
        elif choice.tail != serving.manifest.tail and record.serving is not None:
            serving = await asyncio.wrap_future(self._loader.submit(with_tail, serving, record.serving, self._files))
        without, coverage = await changes(self._filters, choice, serving.table.facts.text, reader)
        keys = None
        if request.filter is not None:
            keys = await self._filters.keys(facts.dataset, request.filter, reader, choice.table.version)
        answer = await anyio.to_thread.run_sync(_answer, request, serving, keys, without, limiter=self._limiter)
        return replace(answer, versions={facts.dataset: choice.table.version}, coverage=coverage)

    async def _opened_again(self, record: IndexRecord, build: Build) -> Serving:
        """A build that does not serve any more, or not yet; some are kept."""
        opened = self._former.get(build.digest)
        if opened is None or (opened.done() and (opened.exception() is not None or not opened.result().whole())):
            opened = asyncio.wrap_future(self._loader.submit(self._opened, build, manifest_of(record, build)))
            self._former[build.digest] = opened
            if len(self._former) > MOST_FORMER:
                self._former.popitem(last=False)
        self._former.move_to_end(build.digest)
        return await asyncio.shield(opened)

    def follow(self, objects: Iterable[str]) -> None:
        """These objects ("Kind/name") changed: begin to load what serves now, before anybody asks. On the event loop."""
        indexes = [name.removeprefix("Index/") for name in objects if name.startswith("Index/")]
        for name in [name for name in indexes if name in self._held]:
            record = self._indexes.index(name)
            if record is None or record.serving is None:
                self._forget(name)
            elif self._current(name, record.serving, record.builds.get(record.serving.build)) is None:
                self._load(name, record, record.serving)

    def close(self) -> None:
        """Let go of all builds, and of those that are being loaded. On the event loop, when no search runs any more."""
        self._loader.shutdown(wait=False, cancel_futures=True)
        for loading in self._loading.values():
            loading.done.cancel()  # else its thread would tell a loop that may be closed by then
        for look in self._looking.values():
            look.cancel()
        for opened in self._former.values():
            opened.cancel()
        self._former.clear()
        self._held.clear()
        self._loading.clear()

    async def _serving(self, name: str, reader: Reader) -> Serving:
        """What answers for the index now; waits only if nothing did so far."""
        record = self._indexes.index(name)
        waits = self._why_not(name)
        seen = IndexName(name, None if record is None else record.bucket)
        hidden = not decide(reader, seen, "search").whole  # a policy that hides some of it is not applied here yet
        gone = record is None and waits is None
        if gone:
            self._forget(name)
        if hidden or gone:
            raise await anyio.to_thread.run_sync(self._unknown, name, reader)
        manifest = None if record is None else record.serving
        if record is None or manifest is None:
            self._forget(name)
            remedy = f"`lakectl why Index/{name}` tells what it waits for."
            raise IndexNotServing(f"Index {name} does not answer yet: {waits or 'nothing has been built for it.'}", remedy=remedy)
        held = self._held.get(name)
        if held is not None and not held.whole():
            _log.warning("Index %s: a file of its build was cut while it served; it is opened again.", name)
            self._forget(name)
        current = self._current(name, manifest, record.builds.get(manifest.build))
        if current is not None:
            return self._again(name, current)
        loading = self._load(name, record, manifest)
        former = self._held.get(name)
        if former is not None:
            return self._again(name, former)
        try:
            return await asyncio.shield(loading.done)
        except ObjectMissing:  # a tail that another took the place of meanwhile
            now = self._indexes.index(name)
            if now is None or now.serving == manifest:
                raise
            return await self._serving(name, reader)

    def _again(self, name: str, held: Serving) -> Serving:
        """The same. That files of a rescue bucket answer is told each time; whether their own is back, is looked at beside the answer."""
        for failure in held.failures:
            self._files.again(failure)
        if held.failures and name not in self._looking and self._clock() > held.looked_at + RESCUED_FOR:
            look = self._looking[name] = asyncio.wrap_future(self._loader.submit(self._look_again, held.refs))
            look.add_done_callback(lambda _: self._looked(name, held.build, look))
        return held

    def _look_again(self, refs: Iterable[ObjectRef]) -> tuple[BucketFailure, ...]:
        """Of the files as they are found now. Blocking."""
        return failures_of([self._files.find(ref) for ref in refs])

    def _looked(self, name: str, build: Build, look: asyncio.Future[tuple[BucketFailure, ...]]) -> None:
        """What was opened serves on: its bytes are the same, wherever they come from. On the event loop."""
        self._looking.pop(name, None)
        if look.cancelled():
            return
        failed, held = look.exception() is not None, self._held.get(name)
        if held is not None and held.build == build:
            failures = held.failures if failed else look.result()
            self._held[name] = replace(held, failures=failures, looked_at=self._clock())

    def _unknown(self, name: str, reader: Reader) -> IndexUnknown:
        """Suggests what the reader may search, and nothing else. Blocking."""
        records = {key.partition("/")[2]: state.index for key, state in self._indexes.objects("Index").items()}
        seen = (IndexName(known, None if record is None else record.bucket) for known, record in records.items())
        near = nearest(name, [known.name for known in seen if decide(reader, known, "search").allowed])
        remedy = f"Did you mean {near!r}?" if near else "`lakectl get indexes` lists them."
        return IndexUnknown(f"There is no index {name!r}.", remedy=remedy)

    def _forget(self, name: str) -> None:
        self._held.pop(name, None)
        self._loading.pop(name, None)

    def _current(self, name: str, manifest: ServingManifest, build: Build | None) -> Serving | None:
        """The open build, if it is this one; searched as the manifest says from now on."""
        held = self._held.get(name)
        if held is None or held.is_of(manifest, build):
            return held
        if held.build != build or (held.manifest.tail, held.manifest.lexical) != (manifest.tail, manifest.lexical):
            return None
        held.index.tune(manifest.search)
        tuned = self._held[name] = replace(held, manifest=manifest)
        return tuned

    def _load(self, name: str, record: IndexRecord, manifest: ServingManifest) -> _Loading:
        """The load of this manifest: the one under way, or a new one. A failed one is repeated, but not at once while another serves."""
        loading, build = self._loading.get(name), record.builds.get(manifest.build)
        if loading is not None and loading.manifest == manifest and loading.build == build:
            failed = loading.done.done() and loading.done.exception() is not None
            if not failed or (name in self._held and self._clock() < loading.since + RETRY_AFTER):
                return loading
        done = asyncio.wrap_future(self._loader.submit(self._open, name, record, manifest))
        loading = self._loading[name] = _Loading(manifest, build, done, self._clock())
        done.add_done_callback(lambda _: self._loaded(name, loading))
        return loading

    def _loaded(self, name: str, loading: _Loading) -> None:
        """Let what was loaded answer from now on, unless it is not what serves any more. On the event loop, as all that changes `_held`."""
        if loading.done.cancelled() or loading.done.exception() is not None or self._loading.get(name) is not loading:
            return
        del self._loading[name]
        record, loaded = self._indexes.index(name), loading.done.result()
        if record is not None and record.serving is not None and loaded.build == record.builds.get(record.serving.build):
            self._held[name] = loaded  # searched by newer parameters, if there are any, from the next search on: see _current

    def _open(self, name: str, record: IndexRecord, manifest: ServingManifest) -> Serving:
        """Open and warm. Runs in the loader's thread."""
        try:
            build = record.builds.get(manifest.build)
            if build is None:
                raise IndexNotServing(f"Index {name} is to be served by a build that is gone: {manifest.build}.", remedy="Reconcile it.")
            held = self._held.get(name)
            return with_tail(held, manifest, self._files) if held is not None and held.build == build else self._opened(build, manifest)
        except LakehouseError as error:
            _log.warning("Index %s: %s", name, error.explain())
            raise

    def _opened(self, build: Build, manifest: ServingManifest) -> Serving:
        return open_serving(build, manifest, self._files, self._open_model, self._clock())


def _check(request: SearchRequest, serving: Serving) -> None:
    """Raises SearchInvalid or ModelMismatch."""
    if (request.text is None) == (request.vector is None):
        raise SearchInvalid("A search needs exactly one of text and vector.")
    if not 1 <= request.k <= MOST_HITS:
        raise SearchInvalid(f"k must be from 1 to {MOST_HITS}, not {request.k}.")
    if request.text is not None and (not request.text or request.text.isspace()):
        raise SearchInvalid("The text to look for is empty.")
    if request.text is not None and len(request.text) > LONGEST_TEXT:
        raise SearchInvalid(f"The text to look for has {len(request.text)} characters; at most {LONGEST_TEXT} are taken.")
    if request.model is not None:
        facts = serving.table.facts
        names = (facts.fingerprint, facts.model) if isinstance(facts.model, str) else (facts.fingerprint, *facts.model.values())
        if request.model not in names:
            raise ModelMismatch(
                f"Index {request.index} is served by the model {names[1]} ({facts.fingerprint}), not by {request.model}.",
                remedy=f"Leave `model` out, or name {names[1]}.",
            )


def _answer(request: SearchRequest, serving: Serving, keys: pa.Array | None = None, without: pa.Array | None = None) -> SearchResult:
    """Embed, search, and look the chunks up. keys: of the only rows to be found; without: of rows that are not. Blocking."""
    mode = mode_of(request.ranking, serving, request.text)
    table, tail = serving.table, serving.tail
    allowed: Mask | None = table.of_rows(keys) if keys is not None else None
    for others in (None if without is None else ~table.of_rows(without), None if tail is None else tail.current):
        if others is not None:
            allowed = others if allowed is None else allowed & others
    stages: tuple[Stage, ...] | None = None
    if mode == "vector" and request.ranking.plain:
        found = _nearest(_query(request, serving), request.k, serving, allowed, keys)
    else:
        query = cache(lambda: _query(request, serving))
        ranker = Ranker(serving, request.ranking, mode, request.text, query, allowed, keys)
        found = ranker.hits(request.k)
        stages = tuple(ranker.stages) if request.ranking.explain else None
    capped = mode == "vector" and request.ranking.rerank is None  # rounding takes some cosines a little beyond 1
    hits = tuple([Hit(key, number, text, min(score, 1.0) if capped else score) for (key, number, text), score in found])
    if table.facts.by == "structure":
        hits = tuple([replace(hit, headings=headings_of(hit.text)) for hit in hits])
    rescues = serving.rescues
    return SearchResult(hits, request.index, serving.manifest.generation, serving.versions, rescues, mode=mode, stages=stages)


def _nearest(query: Vectors, k: int, serving: Serving, allowed: Mask | None, keys: pa.Array | None) -> list[tuple[Row, float]]:
    """The chunks with the highest cosines: of the build, and of the tail."""
    table, tail = serving.table, serving.tail
    ids, scores = serving.index.search(query, k, allowed)
    found = list(zip(table.rows(ids), scores.tolist(), strict=True))
    if tail is not None:
        ids, scores = tail.search(query, k, keys)
        found += zip(tail.rows(ids), scores.tolist(), strict=True)
        found = sorted(found, key=lambda hit: -hit[1])[:k]
    return found


def _query(request: SearchRequest, serving: Serving) -> Vectors:
    """float32 (dimension,), of length 1. Raises ModelMismatch, SearchInvalid, ModelUnavailable."""
    if request.text is not None:
        if isinstance(serving.model, EngineError):
            raise serving.model
        embedded: Vectors = serving.model.embed([request.text])[0]
        if not np.isfinite(embedded).all():
            raise SearchInvalid(f"The model {serving.model.name} has no vector of use for this text.", remedy="Ask in other words.")
        return embedded
    vector = np.asarray(request.vector, dtype=np.float64)
    dimension = serving.index.dimension
    if vector.shape != (dimension,):
        raise ModelMismatch(
            f"The vector has {vector.size} numbers; index {request.index} needs {dimension}, made by {serving.table.facts.fingerprint}."
        )
    length = float(np.linalg.norm(vector))
    if not np.isfinite(length) or length == 0:
        raise SearchInvalid("The vector to look for must be finite and not all zero.")
    return (vector / length).astype(np.float32)
