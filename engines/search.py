"""Search: a text or a vector against whatever serves an index now, filtered by SQL.

A search works on one open build (`open_builds.py`) from begin to end, so no answer is mixed, and each names the model, the generation and
the table version that it comes from. By default that is what serves; a search may name another model that the index has beside it.

A short text is embedded by a quick model (0.02 ms) and a small search done (0.15 ms) right on the event loop: by a thread, the same search
takes 0.08 ms and a third more CPU, and two cores answer no more of them a second. Everything else, filters and long texts among it, runs in
threads that readers share fairly.

It computes nothing itself: `search_answer.py` asks models and engines, the query service says which rows pass a filter. It does not decide
what serves: the catalog does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

import anyio
import pyarrow as pa

from engines.at import PRESENT, At, Moment, of_reader
from engines.embedding.query_cache import QueryCache
from engines.embedding.registry import Embedder, Model, open_embedder
from engines.errors import (
    BuildFailed,
    IndexNotServing,
    IndexUnknown,
    ModelMismatch,
    QueryCancelled,
    QueryForbidden,
    SearchInvalid,
    TableUnknown,
)
from engines.fair_shares import FairThreads, share_of
from engines.hit_places import HitPlaces
from engines.index_memory import Room
from engines.judgments import Judgments, Query
from engines.live_recall import LiveRecall
from engines.open_builds import OpenBuilds
from engines.permitted import Permits, check_masks, seen_through
from engines.ranking import mode_of
from engines.reading import ANONYMOUS, Decision, IndexName, Reader, TableName, decide
from engines.search_answer import SearchRequest, SearchResult, answer, check, reach, with_facets, without_keys
from engines.search_at import Versions, changes, choose, coverage_of, manifest_of, moment_in
from engines.search_tally import Of, SearchTally
from engines.serving import Files, Serving, without_tail
from engines.sql.facets import Counted
from specs.resource import own_name
from specs.suggestions import nearest
from state.catalog.fold import ObjectState
from state.catalog.indexes import IndexRecord, ServingManifest
from state.catalog.tables import Table

MOST_CHANGES = 3
"""Times that a search is begun again since policies changed meanwhile."""
SHORT_TEXT = 2_000  # characters that a quick model embeds within 0.3 ms


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

    async def facets(
        self, dataset: str, columns: Sequence[str], reach: pa.Array, filter_sql: str | None, reader: Reader, moment: Moment = None
    ) -> Counted:
        """The facets of these columns over the rows with these keys that pass. Raises SearchInvalid, FilterInvalid."""


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
        vectors: QueryCache | None = None,
        recall: LiveRecall | None = None,
        room: Room | None = None,
        current: Callable[[Reader], Reader] = lambda reader: reader,
    ) -> None:
        """why_not: a sentence on what an index waits for, or None for one that nobody declared. open_model: blocking. clock: seconds.

        vectors: of texts that were looked for; left out, none is kept. recall: judges some of the searches afterwards. room: for builds in
        memory; left out, what the system has. current: the same reader under the policies in force now; from memory.
        """
        self._indexes = indexes
        self._filters = filters
        self._permits = Permits(filters)
        self._vectors = vectors or QueryCache(0)
        self._why_not = why_not
        self._builds = OpenBuilds(indexes, files, open_model, clock, room or Room())
        self._judgments = Judgments(files)
        self._places: dict[str, HitPlaces] = {}
        self._clock = clock
        self.tally = SearchTally()
        self._recall = recall
        self._current = current
        self._threads = FairThreads(max(2, os.cpu_count() or 1))

    async def search(self, request: SearchRequest, reader: Reader = ANONYMOUS) -> SearchResult:
        """The hits, best first.

        Raises IndexUnknown, IndexNotServing, SearchInvalid, ModelMismatch, FilterInvalid, QueryInvalid, QueryForbidden where policies mask
        what the index is made of, and what opening a build raises.
        """
        asked, request = request.index, replace(request, index=self._of(request.index, reader))
        started = self._clock()
        try:
            result = await self._in_force(request, reader)
        except BuildFailed:
            self._builds.forget(request.index)  # its files went from where they were opened: the next search opens them again
            raise
        self.tally.add(Of(request.index, result.model, result.mode), self._clock() - started)
        own = request.index != asked
        return replace(result, index=asked, generation=result.generation or request.index) if own else result

    async def _in_force(self, request: SearchRequest, reader: Reader) -> SearchResult:
        """The hits under what is in force once they are found."""
        for _ in range(MOST_CHANGES):
            result = await self._search(request, reader)
            now = self._current(reader)
            if now is reader or not self._decided_otherwise(request.index, result.versions, reader, now):
                (dataset,) = result.versions
                rescues = result.rescues if reader.operator else ()  # which bucket has what is for operators
                return replace(self._placed(result, reader), decision=_shown(reader, dataset), rescues=rescues)
            reader = now
        raise QueryCancelled("Policies change while the index is searched.", remedy="Ask again in a moment.")

    async def judged(self, request: SearchRequest, reader: Reader = ANONYMOUS) -> Mapping[str, frozenset[str]]:
        """Keys of the rows that somebody judged relevant for the request's text, by EvalSet; none for whoever is no operator, since nobody
        says who may see what of an EvalSet. Raises as `search`."""
        record, _ = await self._record(self._of(request.index, reader), reader)
        if request.text is None or not reader.operator:
            return {}
        return await self._threads.run(share_of(reader), self._judgments.of, record, (request.text, request.filter))

    async def queries(self, index: str, eval_set: str, reader: Reader = ANONYMOUS) -> Mapping[Query, frozenset[str]]:
        """The queries of an EvalSet of the index, each with the keys of its relevant rows. Raises SearchInvalid, and as `search`."""
        record, _ = await self._record(self._of(index, reader), reader)
        truths = record.truths if reader.operator else {}
        truth = truths.get(eval_set)
        if truth is None:
            names = ", ".join(sorted(truths)) or "none"
            raise SearchInvalid(f"Index {index} has no answers of an EvalSet {eval_set}; it has {names}.")
        return await self._threads.run(share_of(reader), self._judgments.queries, truth)

    async def _search(self, request: SearchRequest, reader: Reader) -> SearchResult:
        serving = await self._serving(request, reader)
        dataset = serving.table.facts.dataset
        shown = _shown(reader, dataset)
        if not shown.allowed:
            raise QueryForbidden(shown.closed or f"Index {request.index} is not for you to search.")
        check(request, serving)
        at = request.at
        if reader.at is not None:
            at = of_reader(reader.at, PRESENT if at is None else at)
        if not shown.whole:
            return await self._permitted(request, at, serving, reader, shown)
        if at is not None:
            return await self._at(request, at, serving, reader, shown)
        recall = self._recall if self._recall is not None and self._recall.wants(request.index, serving) else None
        if request.filter is None and not request.facets:
            plain = request.ranking.plain and mode_of(request.ranking, serving, request.text) == "vector"
            short = request.text is None or (len(request.text) <= SHORT_TEXT and serving.embeds_quickly())
            if plain and serving.quick(request.k) and short:
                return self._answer(reader)(request, serving, recall=recall)
        return await self._passing(request, serving, reader, recall=recall)

    async def _passing(
        self,
        request: SearchRequest,
        serving: Serving,
        reader: Reader,
        moment: Moment = None,
        without: pa.Array | None = None,
        recall: LiveRecall | None = None,
    ) -> SearchResult:
        """The hits among the rows that pass the filter at a moment, and their facets. without, recall: see `answer`."""
        dataset, keys, counted = serving.table.facts.dataset, None, None
        begun = self._clock()
        if request.facets:
            found = await self._threads.run(share_of(reader), reach, serving, without)
            counted = await self._filters.facets(dataset, request.facets, found, request.filter, reader, moment)
            keys = counted.keys
        elif request.filter is not None:
            keys = await self._filters.keys(dataset, request.filter, reader, moment)
        took = self._clock() - begun
        result = await self._threads.run(share_of(reader), self._answer(reader), request, serving, keys, without, recall)
        return result if counted is None else with_facets(result, counted.facets, took)

    async def _permitted(self, request: SearchRequest, at: At | None, serving: Serving, reader: Reader, shown: Decision) -> SearchResult:
        """The hits for a reader from whom policies hide rows or values; see `permitted.py`."""
        dataset = serving.table.facts.dataset
        table = self._indexes.table(dataset)
        if table is None:
            raise _gone(request.index, dataset)
        check_masks(shown, table, (*serving.table.facts.text, *table.primary_key))
        if at is not None:
            result = await self._at(request, at, serving, reader, shown)
        else:
            if shown.row_filter is not None:
                held = serving.versions[dataset]
                still = partial(self._shows, reader, dataset, shown)
                moments = {table.version: None} | ({held: held} if held != table.version else {})
                serving = seen_through(serving, await self._permits.of(serving, table, shown, reader, moments, still))
            result = await self._passing(request, serving, reader)
        return result if table.primary_key else without_keys(result)

    async def _at(self, request: SearchRequest, at: At, serving: Serving, reader: Reader, shown: Decision) -> SearchResult:
        """The hits among the rows of a former version; see `search_at.py`."""
        facts = serving.table.facts
        record, table = self._indexes.index(request.index), self._indexes.table(facts.dataset)
        if record is None or table is None:
            raise _gone(request.index, facts.dataset)
        moment = moment_in(at, facts.dataset)
        record = record.by_model(serving.model_name)
        choice = choose(record, table, moment, facts.fingerprint)
        if choice.build != serving.build:
            serving = await self._builds.apart(record, choice.build)
            check(request, serving)
        if choice.tail is None:
            serving = without_tail(serving)
        elif choice.tail != serving.manifest.tail and record.serving is not None:
            serving = await self._builds.with_tail(serving, record.serving)
        # what differs is left out, whoever asks; of the rest a reader finds what it may see
        changed = await changes(self._filters, choice, serving.table.facts.text, replace(ANONYMOUS, bucket=reader.bucket))
        without, coverage = None if changed is None else changed["key"].combine_chunks(), coverage_of(choice, changed)
        if not shown.whole:
            check_masks(shown, table, (*serving.table.facts.text, *choice.table.primary_key))
        if shown.row_filter is not None:
            version, still = choice.table.version, partial(self._shows, reader, facts.dataset, shown)
            permit = await self._permits.of(serving, table, shown, reader, {version: version}, still, changed)
            serving, without, coverage = seen_through(serving, permit), None, replace(coverage, missing=permit.missing)
        result = await self._passing(request, serving, reader, choice.table.version, without)
        return replace(result, versions={facts.dataset: choice.table.version}, coverage=coverage)

    def _answer(self, reader: Reader) -> Callable[..., SearchResult]:
        """See `answer`; texts that this reader looked for lately have their vectors."""
        return partial(answer, vector_of=partial(self._vectors.vector, (reader.token, reader.profile)))

    def is_open(self, index: str, build: str | None) -> bool:
        """Whether the build of this digest answers at once, None: whichever serves, or did so last. From any thread."""
        return self._builds.is_open(index, build)

    def let_go(self, index: str) -> None:
        """Of all that is open of an index; who asks again opens it again. On the event loop."""
        self._builds.forget(index)

    def _shows(self, reader: Reader, dataset: str, shown: Decision) -> bool:
        """Whether a reader is shown this of a Dataset now."""
        return _shown(self._current(reader), dataset) == shown

    def _decided_otherwise(self, index: str, datasets: Iterable[str], reader: Reader, now: Reader) -> bool:
        """Whether two readers find different things in an index."""
        record = self._indexes.index(index)
        name = IndexName(index, None if record is None else record.bucket)
        differ = decide(reader, name, "search") != decide(now, name, "search") or reader.at != now.at
        return differ or any(_shown(reader, dataset) != _shown(now, dataset) for dataset in datasets)

    def _placed(self, result: SearchResult, reader: Reader) -> SearchResult:
        """With the places of hits that are of documents, as far as the reader sees the column that tells them."""
        dataset = next(iter(result.versions))
        table = self._indexes.table(dataset)
        if table is None:
            return result
        places = self._places.get(dataset)
        if places is None or places.table is not table:
            places = self._places[dataset] = HitPlaces(table)
        seen = decide(reader, TableName(dataset.replace("-", "_"), reader.bucket), "search") if places.known else None
        if seen is None or not seen.allowed or {"path", "page"} & seen.masks.keys():
            return result
        found = [(hit, places.of(hit.key)) for hit in result.hits]
        hits = tuple([hit if place is None else replace(hit, path=place.path, page=place.page) for hit, place in found])
        return replace(result, hits=hits)

    def follow(self, objects: Iterable[str]) -> None:
        """These objects ("Kind/name") changed: begin to load what serves now, before anybody asks. On the event loop."""
        self._builds.follow(name.removeprefix("Index/") for name in objects if name.startswith("Index/"))

    def close(self) -> None:
        """Let go of all builds, and of those that are being loaded. On the event loop, when no search runs any more."""
        self._builds.close()

    def _of(self, index: str, reader: Reader) -> str:
        """What answers for an index: what the reader's profile has of it for itself, as soon as that serves."""
        own = index if reader.profile is None else own_name(index, reader.profile)
        record = self._indexes.index(own)
        return own if record is not None and record.serving is not None else index

    async def _record(self, name: str, reader: Reader) -> tuple[IndexRecord, ServingManifest]:
        """An index that the reader may search, and what serves it. Raises IndexUnknown, IndexNotServing."""
        record = self._indexes.index(name)
        waits = self._why_not(name)
        seen = IndexName(name, None if record is None else record.bucket)
        hidden = not decide(reader, seen, "search").allowed
        gone = record is None and waits is None
        if gone:
            self._builds.forget(name)
        if hidden or gone:
            raise await anyio.to_thread.run_sync(self._unknown, name, reader)
        if record is None or record.serving is None:
            self._builds.forget(name)
            if not reader.operator:  # what it waits for counts rows, and names files
                raise IndexNotServing(f"Index {name} does not answer yet.", remedy="Ask again in a moment.")
            remedy = f"`lakectl why Index/{name}` tells what it waits for."
            raise IndexNotServing(f"Index {name} does not answer yet: {waits or 'nothing has been built for it.'}", remedy=remedy)
        return record, record.serving

    async def _serving(self, request: SearchRequest, reader: Reader) -> Serving:
        """What is searched: what serves, or what the request names."""
        record, serving = await self._record(request.index, reader)
        if request.version is not None and request.version not in record.answers:
            return await self._generation(record, request.version)
        model = request.version or request.model
        manifest = serving if model is None else _by_model(record, model)
        return await self._builds.answering(request.index, record, manifest, named=model is not None)

    async def _generation(self, record: IndexRecord, name: str) -> Serving:
        """The newest build of a recipe, over the rows that what serves is over where there is one, with the rows that came since."""
        assert record.serving is not None
        corpora = [record.corpus_of(record.serving).digest, *(tail.base for tail in record.tails)]
        found = [build for build in record.builds.values() if build.generation == name]
        if not found:
            names = ", ".join(
                dict.fromkeys([*record.answers, *sorted({one.generation for one in record.builds.values() if one.generation})])
            )
            raise SearchInvalid(f"Index {record.name} has neither a model nor a build of a generation {name}; it has {names}.")
        build = min(reversed(found), key=lambda build: corpora.index(build.corpus) if build.corpus in corpora else len(corpora))
        opened = await self._builds.apart(record, build)
        tail = next((tail for tail in record.tails if tail.base == build.corpus), None)
        manifest = replace(manifest_of(record, build), tail=tail)
        return opened if opened.manifest == manifest else await self._builds.with_tail(opened, manifest)

    def _unknown(self, name: str, reader: Reader) -> IndexUnknown:
        """Suggests what the reader may search, and nothing else. Blocking."""
        records = {key.partition("/")[2]: state.index for key, state in self._indexes.objects("Index").items()}
        seen = (IndexName(known, None if record is None else record.bucket) for known, record in records.items())
        near = nearest(name, [known.name for known in seen if decide(reader, known, "search").allowed])
        remedy = f"Did you mean {near!r}?" if near else "`lakectl get indexes` lists them."
        return IndexUnknown(f"There is no index {name!r}.", remedy=remedy)


def _shown(reader: Reader, dataset: str) -> Decision:
    """What a reader who may search an index sees of its rows: the index is of the reader's bucket, and so are they."""
    return decide(reader, TableName(dataset.replace("-", "_"), reader.bucket), "search")


def _gone(index: str, dataset: str) -> TableUnknown:
    return TableUnknown(f"Dataset {dataset}, of which index {index} is, is not there any more.")


def _by_model(record: IndexRecord, model: str) -> ServingManifest:
    """What answers for a model, by its name or fingerprint. Raises ModelMismatch."""
    fingerprints = {name: record.corpus_of(manifest).fingerprint for name, manifest in record.answers.items()}
    found = next((name for name, fingerprint in fingerprints.items() if model in (name, fingerprint)), None)
    if found is None:
        raise ModelMismatch(
            f"Index {record.name} answers by {' and '.join(fingerprints)}, not by {model}.",
            remedy=f"Leave `model` out, or name {' or '.join(fingerprints)}; `embed` in the Index's spec says which models it has.",
        )
    return record.answers[found]
