"""The reading side of a process: queries and searches over an open state, the same for the daemon and for an offline `lakectl`."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from engines.search import SearchService
from engines.sql.pool import PoolLimits, WorkerPool
from engines.sql.service import QueryLimits, QueryService
from engines.sql.tables import CatalogTables
from reconciler.opening import State
from reconciler.settings import Settings
from state.status import Status
from state.streams.tables import SystemTables


@dataclass(frozen=True, slots=True)
class Readers:
    """What answers reads."""

    queries: QueryService
    searches: SearchService


@asynccontextmanager
async def reading(state: State, settings: Settings) -> AsyncIterator[Readers]:
    """Query workers and open indexes, for as long as the block runs."""
    limits = settings.limits
    system = SystemTables(state.streams, state.catalog, state.statuses, state.place.cache / "system")
    tables = CatalogTables(state.catalog, state.objects, system.path, state.place.cache / "views")
    pool = WorkerPool(PoolLimits(workers=limits.query_workers, waiting=limits.waiting_queries, memory_bytes=limits.query_memory_bytes))
    queries = QueryService(pool, tables, QueryLimits(limits.query_seconds, limits.query_rows, limits.query_bytes))
    searches = SearchService(state.catalog, state.objects, queries, why_not=lambda index: state.statuses.get(f"Index/{index}").message)
    try:
        yield Readers(queries, searches)
    finally:
        searches.close()
        await asyncio.shield(pool.close())


class StatusView:
    """Statuses as a running writer tells them, with the revision it has seen."""

    def __init__(self, state: State, revision: object) -> None:
        self._state = state
        self._revision = revision

    def revision(self) -> str | None:
        """The newest revision that was looked at."""
        return self._revision() if callable(self._revision) else None

    def all(self) -> Iterable[Status]:
        """Every object's status, from memory."""
        return self._state.statuses.all()
