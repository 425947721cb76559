"""Quotas of profiles, and of tokens that have none: queries and searches a minute, at the same time, and rows a day. What is over is
refused at once, never queued. A description of a dataset is one of the queries of a minute, since it leaves a row of the audit as they do,
and no more than that: who may query once at a time may look at a table meanwhile.

There is no book of it beside the audit: what a profile had before this process began is read from the rows of the audit, once, when the
first one asks, and counted on in memory from there. A minute is the last sixty seconds; a day is one of UTC. A query that is under way when
the rows of a day are reached is answered; the next one is refused. The operator has no quota.

It refuses to know who asks (`reading.py`) and what a profile may ask for (its spec). Next: `audit.py`.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any, Protocol

from engines.errors import QuotaExceeded
from engines.judgments import Query
from engines.reading import ANONYMOUS, Reader
from engines.search_answer import SearchRequest, SearchResult
from engines.sql.query_request import QueryRequest
from engines.sql.query_result import QueryResult
from specs.kinds.profile import Quota
from state.timestamps import from_iso
from state.tokens import NOBODY

MINUTE = timedelta(seconds=60)
_COUNTED = frozenset({"query", "search", "describe"})
_SOON = 1

Past = Callable[[datetime], Iterable[Mapping[str, Any]]]
"""Rows of the audit from an instant on, in any order: profile, reader, action, at, duration_ms, rows, reason. Blocking. Raises StateError.
"""


@dataclass(slots=True)
class _Had:
    """What a profile or a token had. begun: when its queries of the last minute began, in order; rows: of `day`."""

    begun: deque[datetime] = field(default_factory=deque)
    running: int = 0
    rows: int = 0
    day: datetime | None = None


_Check = Callable[[str, Quota, _Had, datetime], None]
"""Of one number of a quota: holder, quota, what it had, the present. Raises QuotaExceeded."""


@dataclass(slots=True)
class Use:
    """One query or search. rows: that it gave, for whoever answers to fill in."""

    rows: int = 0


class Quotas:
    """Used on one event loop; costs some microseconds a query."""

    def __init__(
        self, quota: Callable[[str], Quota | None], past: Past, clock: Callable[[], datetime], of_tokens: Quota | None = None
    ) -> None:
        """quota: of a profile, as its spec has it now; past: what was had before; clock: the present, with its time zone; of_tokens: the
        quota of each token without a profile."""
        self._quota = quota
        self._of_tokens = of_tokens
        self._past = past
        self._clock = clock
        self._had: defaultdict[str, _Had] = defaultdict(_Had)
        self._reading: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def granted(self, reader: Reader) -> AsyncIterator[Use]:
        """One query or search, from here to the end of the block. Raises QuotaExceeded, and StateError where the past cannot be read."""
        use = Use()
        had = await self._begin(reader, (_check_day, _check_minute, _check_running))
        if had is None:
            yield use
            return
        had.running += 1
        try:
            yield use
        finally:
            had.running -= 1
            self._forget(had, self._clock())
            had.rows += use.rows

    async def described(self, reader: Reader) -> None:
        """One description, about to be made. Raises as `granted`."""
        await self._begin(reader, (_check_minute,))

    async def _begin(self, reader: Reader, checks: Sequence[_Check]) -> _Had | None:
        """What whoever has a quota had, with what begins now; None for others. Raises as `granted`."""
        holder = None if reader.operator else _holder(reader.profile, reader.token)
        if holder is None:
            return None
        await self._know_the_past()
        had, now = self._had[holder], self._clock()
        self._forget(had, now)
        quota = self._of_tokens if reader.profile is None else self._quota(reader.profile)
        if quota is not None:
            for check in checks:
                check(holder, quota, had, now)
        had.begun.append(now)
        return had

    async def _know_the_past(self) -> None:
        """Once; tried again by the next one that asks where it failed."""
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._read())
        reading = self._reading
        if not reading.done():
            await asyncio.wait([reading])
        if reading.cancelled() or reading.exception() is not None:
            self._reading = None if self._reading is reading else self._reading
            reading.result()

    async def _read(self) -> None:
        now = self._clock()
        begun, rows = await asyncio.to_thread(_sums, self._past, now)
        for holder, instants in begun.items():
            self._had[holder].begun.extend(sorted(instants))
        for holder, count in rows.items():
            self._had[holder].rows, self._had[holder].day = count, _day(now)

    def _forget(self, had: _Had, now: datetime) -> None:
        while had.begun and had.begun[0] <= now - MINUTE:
            had.begun.popleft()
        if had.day != _day(now):
            had.rows, had.day = 0, _day(now)


def _holder(profile: str | None, token: str | None) -> str | None:
    """Whose quota it is, in words; all tokens of a profile share one. None for whoever has neither."""
    if profile is not None:
        return f"profile {profile}"
    return None if token in (None, NOBODY) else f"token {token}"


def _sums(past: Past, now: datetime) -> tuple[Mapping[str, list[datetime]], Mapping[str, int]]:
    """When the queries of the last minute began, and the rows of this day, by holder."""
    begun: defaultdict[str, list[datetime]] = defaultdict(list)
    rows: Counter[str] = Counter()
    day = _day(now)
    for row in past(min(day, now - MINUTE)):
        holder = _holder(row.get("profile"), row.get("reader"))
        if holder is None or row.get("action") not in _COUNTED or row.get("reason") == QuotaExceeded.slug:
            continue
        ended = from_iso(row["at"])
        if ended >= day:
            rows[holder] += row.get("rows") or 0
        since = ended - timedelta(milliseconds=row.get("duration_ms") or 0)
        if since > now - MINUTE:
            begun[holder].append(since)
    return begun, rows


def _check_day(holder: str, quota: Quota, had: _Had, now: datetime) -> None:
    """Raises QuotaExceeded."""
    if quota.rows_per_day is not None and had.rows >= quota.rows_per_day:
        tomorrow = _day(now) + timedelta(days=1)
        raise _exceeded(holder, f"{quota.rows_per_day} rows a day", tomorrow - now)


def _check_minute(holder: str, quota: Quota, had: _Had, now: datetime) -> None:
    """Raises QuotaExceeded."""
    if quota.queries_per_minute is not None and len(had.begun) >= quota.queries_per_minute:
        raise _exceeded(holder, f"{quota.queries_per_minute} queries a minute", had.begun[-quota.queries_per_minute] + MINUTE - now)


def _check_running(holder: str, quota: Quota, had: _Had, now: datetime) -> None:
    """Raises QuotaExceeded."""
    if quota.concurrent is not None and had.running >= quota.concurrent:
        raise _exceeded(holder, f"{quota.concurrent} queries at the same time", timedelta(seconds=_SOON))


def _exceeded(holder: str, what: str, wait: timedelta) -> QuotaExceeded:
    seconds = max(ceil(wait.total_seconds()), _SOON)
    remedy = f"Ask again in {seconds} {'second' if seconds == 1 else 'seconds'}, or have that quota raised: docs/access.md says where."
    return QuotaExceeded(f"The quota of {holder} is {what}, and no more is left of it.", retry_after=seconds, remedy=remedy)


def _day(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


class Queries(Protocol):
    """See `QueryService`."""

    async def run(self, request: QueryRequest, reader: Reader = ANONYMOUS) -> QueryResult:
        """See `QueryService.run`."""


class Searches(Protocol):
    """See `SearchService`."""

    async def search(self, request: SearchRequest, reader: Reader = ANONYMOUS) -> SearchResult:
        """See `SearchService.search`."""

    async def queries(self, index: str, eval_set: str, reader: Reader = ANONYMOUS) -> Mapping[Query, frozenset[str]]:
        """See `SearchService.queries`."""

    async def judged(self, request: SearchRequest, reader: Reader = ANONYMOUS) -> Mapping[str, frozenset[str]]:
        """See `SearchService.judged`."""


@dataclass(frozen=True, slots=True)
class RationedQueries:
    """Queries within quotas. Otherwise as `inner`."""

    inner: Queries
    quotas: Quotas

    async def run(self, request: QueryRequest, reader: Reader = ANONYMOUS) -> QueryResult:
        """See `QueryService.run`. Raises QuotaExceeded besides."""
        async with self.quotas.granted(reader) as use:
            result = await self.inner.run(request, reader)
            use.rows = result.count
            return result


@dataclass(frozen=True, slots=True)
class RationedSearches:
    """Searches within quotas. Otherwise as `inner`."""

    inner: Searches
    quotas: Quotas

    async def search(self, request: SearchRequest, reader: Reader = ANONYMOUS) -> SearchResult:
        """See `SearchService.search`. Raises QuotaExceeded besides."""
        async with self.quotas.granted(reader) as use:
            result = await self.inner.search(request, reader)
            use.rows = result.given
            return result

    async def queries(self, index: str, eval_set: str, reader: Reader = ANONYMOUS) -> Mapping[Query, frozenset[str]]:
        """See `SearchService.queries`: each is a search of its own by then."""
        return await self.inner.queries(index, eval_set, reader)

    async def judged(self, request: SearchRequest, reader: Reader = ANONYMOUS) -> Mapping[str, frozenset[str]]:
        """See `SearchService.judged`."""
        return await self.inner.judged(request, reader)
