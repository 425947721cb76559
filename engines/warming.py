"""What active profiles read is kept open: builds with their embedders, tables of the hot cache, mapped by a worker.

A profile names what it wants; a search and a query of each, before anybody asks, take the very way that those of its readers take. What is
open follows its index and its table by itself. Whether it still is, is looked at, not remembered: what had to make room is warmed again.

Lives on one event loop; asked from any thread. It refuses to know specs: `controllers/profile/` does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Protocol

from engines.at import At, Moment
from engines.reading import ANONYMOUS, Reader
from engines.search_answer import SearchRequest, SearchResult
from engines.sql.query_request import QueryRequest
from engines.sql.query_result import QueryResult
from engines.sql.tables import sql_name
from specs.errors import LakehouseError

_PATIENCE = 120.0
"""Seconds that a pinned table may take until it is held; then it is as warm as it gets, and read from its files."""

LOOK_EVERY = 5.0
"""Seconds between looks at whether what was warm still is: nobody tells of what made room for others."""

_AGAIN = 0.5
"""Seconds after which it is looked at again: that a table cannot be held at all, nobody tells."""

_log = logging.getLogger(__name__)


class Wanted(Protocol):
    """What is to be warm at a moment."""

    @property
    def tables(self) -> tuple[str, ...]:
        """By Dataset."""

    @property
    def indexes(self) -> tuple[tuple[str, str | None], ...]:
        """By name, each with the digest of the build that answers at another moment than the present one."""

    @property
    def at(self) -> Moment:
        """None for the present."""


class Searches(Protocol):
    """The searches, as far as this needs them."""

    async def search(self, request: SearchRequest, reader: Reader) -> SearchResult:
        """Opens what answers. Raises LakehouseError."""

    def is_open(self, index: str, build: str | None) -> bool:
        """Whether the build of this digest, None: whichever serves, answers at once. From any thread."""

    def let_go(self, index: str) -> None:
        """Closes what is open of it; who asks again opens it again. On the event loop."""


class Queries(Protocol):
    """The queries, as far as this needs them."""

    async def run(self, request: QueryRequest, reader: Reader) -> QueryResult:
        """Raises LakehouseError."""


class Hot(Protocol):
    """The hot cache, as far as this needs it."""

    def settled(self, dataset: str) -> bool:
        """Whether a Dataset is held, cannot be, or need not be."""

    wanted: Callable[[], None]
    ended: Callable[[], None]


class Warming:
    """Used on one event loop; close it at the end."""

    def __init__(self, searches: Searches, queries: Queries, hot: Hot, loop: asyncio.AbstractEventLoop) -> None:
        self._searches = searches
        self._queries = queries
        self._hot = hot
        self._loop = loop
        self._wanted: dict[str, Wanted] = {}
        self._asked: dict[tuple[str, Moment], bool] = {}
        """Tables that a worker was asked for, and whether they were held by then, as far as they are to be."""
        self._why: dict[tuple[str, str], str] = {}
        self._tasks: dict[str, tuple[Wanted, Future[None]]] = {}
        self._held = asyncio.Event()
        self.told: Callable[[str], None] = lambda profile: None
        """Called with a profile when warming it has ended, and when something of it is not warm any more. On the event loop."""
        self._timer = loop.call_later(LOOK_EVERY, self._look_after)
        hot.ended = self._look

    def cold(self, profile: str, warmth: Wanted) -> Mapping[str, str]:
        """See `controllers.profile.controller.Warm`."""
        return {name: self._why.get((profile, name), "") for name in self._cold(warmth)}

    def keeps(self, profile: str) -> bool:
        """See `Warm`."""
        return profile in self._wanted

    def begin(self, profile: str, warmth: Wanted) -> None:
        """See `Warm`. Once at a time for a profile."""
        known = self._tasks.get(profile)
        if known is not None and not known[1].done():
            if known[0] == warmth:
                return
            known[1].cancel()
        self._release(profile, warmth)
        self._tasks[profile] = warmth, asyncio.run_coroutine_threadsafe(self._warm(profile, warmth), self._loop)

    def let_go(self, profile: str) -> None:
        """See `Warm`."""
        known = self._tasks.pop(profile, None)
        if known is not None:
            known[1].cancel()
        self._release(profile, None)

    def _look_after(self) -> None:
        self._timer = self._loop.call_later(LOOK_EVERY, self._look_after)
        for profile, warmth in list(self._wanted.items()):
            task = self._tasks.get(profile)
            if (task is None or task[1].done()) and next(self._cold(warmth), None) is not None:
                self.told(profile)

    def _look(self) -> None:
        self._loop.call_soon_threadsafe(self._held.set)

    def close(self) -> None:
        """On the event loop."""
        self._hot.ended = lambda: None
        self._timer.cancel()
        for _, task in self._tasks.values():
            task.cancel()

    def _release(self, profile: str, warmth: Wanted | None) -> None:
        """Of what it wanted before and nobody wants now."""
        before = self._wanted.pop(profile, None)
        if warmth is not None:
            self._wanted[profile] = warmth
        for key in [key for key in self._why if key[0] == profile]:
            self._why.pop(key, None)
        if before is None:
            return
        indexes = {name for wanted in list(self._wanted.values()) for name, _ in wanted.indexes}
        moments = {(name, wanted.at) for wanted in list(self._wanted.values()) for name in wanted.tables}
        self._asked = {key: held for key, held in list(self._asked.items()) if key in moments}
        for name in {name for name, _ in before.indexes} - indexes:
            self._loop.call_soon_threadsafe(self._searches.let_go, name)

    def _cold(self, warmth: Wanted) -> Iterator[str]:
        for name in warmth.tables:
            held = self._asked.get((name, warmth.at))
            if held is None or (held and not self._settled(name, warmth.at)):
                yield name
        yield from (name for name, build in warmth.indexes if not self._searches.is_open(name, build))

    async def _warm(self, profile: str, warmth: Wanted) -> None:
        cold = list(self._cold(warmth))
        try:
            # beside each other: an index is loaded by a thread, a table by workers
            await asyncio.gather(
                *(self._noting(profile, name, self._table(name, warmth.at)) for name in warmth.tables if name in cold),
                *(self._noting(profile, name, self._index(name, warmth.at)) for name, _ in warmth.indexes if name in cold),
            )
        finally:
            self.told(profile)

    async def _noting(self, profile: str, name: str, work: Awaitable[None]) -> None:
        try:
            await work
            self._why.pop((profile, name), None)
        except LakehouseError as error:
            _log.warning("Profile %s: %s cannot be made warm: %s", profile, name, error.explain())
            self._why[profile, name] = error.explain()

    async def _index(self, name: str, at: Moment) -> None:
        request = SearchRequest(name, "warm", at=None if at is None else At(at))
        await self._searches.search(request, ANONYMOUS)

    async def _table(self, name: str, at: Moment) -> None:
        """Asked for, held, and mapped by a worker."""
        look = f'SELECT * FROM "{sql_name(name)}" LIMIT 1'
        if at is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    await self._until_held(name)
        await self._queries.run(QueryRequest(look, at=At(at)), ANONYMOUS)
        self._asked[name, at] = self._settled(name, at)

    def _settled(self, name: str, at: Moment) -> bool:
        """Whether a table is as ready as it is to be: former versions are read from their files."""
        return at is not None or self._hot.settled(name)

    async def _until_held(self, name: str) -> None:
        self._hot.wanted()
        while not self._hot.settled(name):
            self._held.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(_AGAIN):
                    await self._held.wait()
