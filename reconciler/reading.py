"""The reading side of a process: queries and searches over an open state, the same for the daemon and for an offline `lakectl`."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from engines.audit import STREAM, Audit
from engines.audited import AuditedQueries, AuditedSearches, Texts
from engines.embedding.query_cache import QueryCache
from engines.embedding.registry import open_asker
from engines.index_memory import Room
from engines.live_recall import LiveRecall
from engines.model_list import ModelList
from engines.policies.hash_key import HashKey
from engines.quotas import Quotas, RationedQueries, RationedSearches
from engines.reading import Reader
from engines.search import SearchService
from engines.search_tally import SearchTally
from engines.sql.hot_ahead import HotAhead
from engines.sql.hot_builds import HotBuilds
from engines.sql.hot_cache import HotCache, boot_folder
from engines.sql.limits import Limits
from engines.sql.pool import PoolSize, WorkerPool
from engines.sql.service import Mend, QueryService
from engines.sql.source import LakeTable
from engines.sql.tables import CatalogTables
from engines.warming import Warming
from reconciler.directory import Directory
from reconciler.models import AuditedCalls, ModelService, connected, recorded_models
from reconciler.opening import State
from reconciler.settings import Settings, UntrustedLimits
from specs.kinds.profile import Quota
from state.catalog.fold import tables_of
from state.errors import StateError
from state.kept_keys import kept_key
from state.secrets import secrets_here
from state.status import Status
from state.streams.tables import SystemTables

_log = logging.getLogger(__name__)

_OF_OPERATORS = 0.6
"""Share of a worker's memory that operators may hold before they spill; the rest is decoding, results and the process itself."""

_OF_QUERIES = 64
"""Part of the bound on embeddings for those of queries, which are in memory."""


@dataclass(frozen=True, slots=True)
class Readers:
    """What answers reads; each leaves a row in `audit`, which writes those of others, too, and counts in `quotas`. warming: keeps what
    profiles bind ready."""

    queries: AuditedQueries
    searches: AuditedSearches
    audit: Audit
    quotas: Quotas
    hot: HotCache
    query_vectors: QueryCache
    tally: SearchTally
    warming: Warming
    models: ModelList


@asynccontextmanager
async def reading(
    state: State,
    settings: Settings,
    mend: Mend | None = None,
    pinned: Callable[[str], bool] | None = None,
    recall: LiveRecall | None = None,
    directory: Directory | None = None,
    models: ModelService | None = None,
) -> AsyncIterator[Readers]:
    """Query workers and open indexes, for as long as the block runs. mend: see `QueryService`.

    pinned: whether a Dataset stays in the hot cache; None where that is read, and filled by somebody else. recall: judges searches.
    directory: who readers are; None where only the operator reads.
    models: of the Ollama server, where this process loads them in turns.
    """
    hot = HotCache(
        await asyncio.to_thread(boot_folder, state.place.cache / "hot"), settings.limits.hot_cache_bytes, pinned or (lambda _: False)
    )
    served = models.models if models is not None else connected(settings)
    listed = models.list if models is not None else ModelList(served, bound=lambda: recorded_models(state.catalog))
    current = directory.current if directory is not None else _itself
    pool = _workers(state, settings)
    queries = await asyncio.to_thread(_queries, state, settings, pool, hot, listed, mend, current)
    vectors = QueryCache(settings.limits.embedding_cache_bytes // _OF_QUERIES)
    searches = _searches(state, settings, queries, vectors, recall, current)
    if state.lease is None:  # whoever has it listens for as long as the state is open
        state.buckets.failures.listen(lambda failure: state.streams.append_lazy("errors", failure.to_row()))
    audit, texts = Audit(state.streams), Texts(await asyncio.to_thread(_key_of_texts, state), settings.audit.texts)
    served.calls = AuditedCalls(audit)
    of_profiles, of_tokens = directory.quota if directory is not None else lambda _: None, _of_tokens(settings.limits.untrusted)
    quotas = Quotas(of_profiles, partial(_audited, state), state.clock, of_tokens)
    warming = Warming(searches, queries, hot, asyncio.get_running_loop())
    try:
        async with _following(state, settings, hot, queries, searches, fills=pinned is not None):
            rationed = RationedQueries(queries, quotas), RationedSearches(searches, quotas)
            audited = AuditedQueries(rationed[0], audit), AuditedSearches(rationed[1], audit, texts)
            yield Readers(*audited, audit, quotas, hot, vectors, searches.tally, warming, listed)
    finally:
        warming.close()
        searches.close()
        if recall is not None:
            await asyncio.to_thread(recall.close)
        await asyncio.shield(pool.close())
        await asyncio.to_thread(audit.close)
        await asyncio.to_thread(_keep_events, state)


def _workers(state: State, settings: Settings, only: int | None = None) -> WorkerPool:
    """only: so many workers, started when one is needed."""
    limits = settings.limits
    memory = int(limits.query_memory_bytes * _OF_OPERATORS)
    size = PoolSize(most=limits.query_workers, queue=limits.waiting_queries, memory=memory)
    return WorkerPool(state.place.cache / "spill", size if only is None else PoolSize(most=only, warm=0, memory=memory))


def _each(settings: Settings) -> Limits:
    """What one query may cost."""
    limits = settings.limits
    return Limits(limits.query_seconds, limits.query_memory_bytes, limits.query_rows, limits.query_bytes)


def _queries(
    state: State,
    settings: Settings,
    pool: WorkerPool,
    hot: HotCache,
    listed: ModelList,
    mend: Mend | None,
    current: Callable[[Reader], Reader],
) -> QueryService:
    """Blocking."""
    system = SystemTables(state.streams, state.catalog, state.statuses, state.describe, state.place.cache / "system")
    tables = CatalogTables(state.catalog, state.objects, system, state.place.cache / "views", hot=hot, models=listed)
    each, hash_key = _each(settings), HashKey(state.store, secrets_here())
    untrusted = _untrusted(each, settings.limits.untrusted)
    return QueryService(tables, pool, each, untrusted=untrusted, mend=mend, hot=hot, current=current, hash_key=hash_key)


def _searches(
    state: State,
    settings: Settings,
    queries: QueryService,
    vectors: QueryCache,
    recall: LiveRecall | None,
    current: Callable[[Reader], Reader],
) -> SearchService:
    def why_not(index: str) -> str | None:
        name = f"Index/{index}"
        return state.statuses.get(name).message if name in state.statuses else None

    room = Room(settings.work.index_memory_bytes)
    return SearchService(
        state.catalog, state.objects, queries, why_not=why_not, open_model=open_asker, vectors=vectors, recall=recall, room=room,
        current=current,
    )  # fmt: skip


@asynccontextmanager
async def _following(
    state: State, settings: Settings, hot: HotCache, queries: QueryService, searches: SearchService, *, fills: bool
) -> AsyncIterator[None]:
    """Searches hear of what changes in the catalog, for as long as the block runs. fills: so does the hot cache, which is filled here."""
    datasets = partial(state.catalog.objects, "Dataset")
    builds = HotBuilds(
        hot, queries, _workers(state, settings, only=1), _each(settings), lambda: [name.partition("/")[2] for name in datasets()]
    )
    loop = asyncio.get_running_loop()
    following: set[asyncio.Task[None]] = set()

    def follow(objects: Iterable[str]) -> None:
        following.add(task := loop.create_task(builds.follow(objects)))
        task.add_done_callback(following.discard)

    def changed(objects: frozenset[str]) -> None:
        loop.call_soon_threadsafe(searches.follow, objects)
        if fills:
            loop.call_soon_threadsafe(follow, objects)

    def opening(tables: Sequence[LakeTable]) -> Future[None]:
        return asyncio.run_coroutine_threadsafe(queries.expect(tables), loop)

    ahead = HotAhead(hot, state.objects, opening)
    leave = state.catalog.subscribe(changed)
    stay_behind = state.catalog.precede(lambda states: ahead.prepare(tables_of(states))) if fills else _nothing
    try:
        async with builds.running() if fills else nullcontext():
            yield
    finally:
        leave()
        stay_behind()


def _audited(state: State, since: datetime) -> Iterable[Mapping[str, Any]]:
    return state.streams.read(STREAM, since=since)


def _untrusted(each: Limits, given: UntrustedLimits) -> Limits:
    return each.narrowed(rows=given.rows, seconds=given.seconds, memory=given.memory_bytes, bytes=given.bytes)


def _of_tokens(given: UntrustedLimits) -> Quota:
    """Of tokens without a profile."""
    return Quota.model_validate(given.model_dump(by_alias=True, include={"queries_per_minute", "concurrent", "rows_per_day"}))


def _itself(reader: Reader) -> Reader:
    return reader


def _nothing() -> None:
    return None


def _key_of_texts(state: State) -> bytes | None:
    """Of the digests of texts that are looked for; without it rows have none."""
    try:
        return kept_key(state.store, "audit-texts", create=state.lease is not None)
    except StateError as error:
        _log.warning("the audit has no digests of texts: %s", error.explain())
        return None


def _keep_events(state: State) -> None:
    """Failures of the last second: an offline `lakectl` has no thread that makes them durable, and leaves its file to the next writer."""
    try:
        state.streams.sync()
    except StateError as error:
        _log.warning("what failed last is in no journal: %s", error.explain())


@dataclass(frozen=True, slots=True)
class StatusView:
    """Statuses as a running writer tells them. `seen` gives the newest revision that was looked at."""

    state: State
    seen: Callable[[], str | None]

    def revision(self) -> str | None:
        """See `api.status.StatusSource`."""
        return self.seen()

    def all(self, kind: str | None = None, name: str | None = None) -> Iterable[Status]:
        """See `api.status.StatusSource`."""
        return self.state.statuses.all(kind, name)
