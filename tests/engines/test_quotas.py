"""What a profile may have: a minute, at the same time, a day; and after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from engines.errors import QueryInvalid, QuotaExceeded
from engines.quotas import Quotas, RationedQueries, RationedSearches
from engines.reading import ANONYMOUS, Reader
from engines.search_answer import Hit, SearchRequest, SearchResult
from engines.sql.query_request import QueryRequest
from engines.sql.query_result import QueryResult
from specs.kinds.profile import Quota
from state.errors import BucketUnavailable
from state.timestamps import iso

pytestmark = pytest.mark.anyio

ADA, BOB = Reader(profile="ada", token="t"), Reader(profile="bob")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Lake:
    """Quotas of profiles, a clock that is set, and the rows of an audit."""

    def __init__(self, **quotas: Quota) -> None:
        self.quotas = quotas
        self.of_tokens: Quota | None = None
        self.now = NOON
        self.rows: list[Mapping[str, Any]] = []
        self.asked: list[datetime] = []
        self.broken = False

    def open(self) -> Quotas:
        return Quotas(self.quotas.get, self.past, lambda: self.now, self.of_tokens)

    def past(self, since: datetime) -> Iterable[Mapping[str, Any]]:
        self.asked.append(since)
        if self.broken:
            raise BucketUnavailable("state", "read", "gone")
        return [row for row in self.rows if row["at"] >= iso(since)]

    def had(self, ago: float, **facts: Any) -> None:
        row = {"profile": "ada", "action": "query", "at": iso(self.now - timedelta(seconds=ago)), "duration_ms": 1.0, "rows": 1}
        self.rows.append({**row, **facts})


def quota(**fields: int) -> Quota:
    return Quota.model_validate(fields)


async def one(quotas: Quotas, reader: Reader = ADA, rows: int = 0) -> None:
    async with quotas.granted(reader) as use:
        use.rows = rows


async def test_queries_of_the_last_minute(anyio_backend: str) -> None:
    lake = Lake(ada=quota(queriesPerMinute=2))
    quotas = lake.open()
    await one(quotas)
    lake.now += timedelta(seconds=20)
    await one(quotas)
    with pytest.raises(QuotaExceeded, match="The quota of profile ada is 2 queries a minute") as caught:
        await one(quotas)
    assert caught.value.retry_after == 40
    await one(quotas, BOB)
    lake.now += timedelta(seconds=39.9)
    with pytest.raises(QuotaExceeded) as caught:
        await one(quotas)
    assert caught.value.retry_after == 1
    lake.now += timedelta(seconds=0.1)
    await one(quotas)
    with pytest.raises(QuotaExceeded):
        await one(quotas)


async def test_at_the_same_time(anyio_backend: str) -> None:
    quotas = Lake(ada=quota(concurrent=2)).open()
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(quotas.granted(ADA))
        with pytest.raises(QuotaExceeded, match="is 2 queries at the same time") as caught:
            await one(quotas)
        assert caught.value.retry_after == 1
        await one(quotas, BOB)
    await one(quotas)


async def test_a_description_is_one_of_a_minute_and_no_more(anyio_backend: str) -> None:
    lake = Lake(ada=quota(queriesPerMinute=3, concurrent=1, rowsPerDay=5))
    quotas = lake.open()
    async with quotas.granted(ADA) as use:
        await quotas.described(ADA)
        use.rows = 5
    await quotas.described(ADA)
    with pytest.raises(QuotaExceeded, match="is 3 queries a minute") as caught:
        await quotas.described(ADA)
    assert caught.value.retry_after == 60
    await quotas.described(BOB)
    await quotas.described(Reader("ops", profile="ada", operator=True))
    lake.now += timedelta(minutes=1)
    await quotas.described(ADA)


async def test_one_that_fails_or_is_cancelled_is_over(anyio_backend: str) -> None:
    quotas = Lake(ada=quota(concurrent=1)).open()
    for error in (QueryInvalid("x"), asyncio.CancelledError()):
        with pytest.raises(type(error)):
            async with quotas.granted(ADA):
                raise error
    await one(quotas)


async def test_rows_of_a_day(anyio_backend: str) -> None:
    lake = Lake(ada=quota(rowsPerDay=10))
    quotas = lake.open()
    await one(quotas, rows=9)
    await one(quotas, rows=5)
    with pytest.raises(QuotaExceeded, match="10 rows a day") as caught:
        await one(quotas)
    assert caught.value.retry_after == 12 * 3600
    lake.now = NOON.replace(hour=23, minute=59, second=59, microsecond=900_000)
    with pytest.raises(QuotaExceeded) as caught:
        await one(quotas)
    assert caught.value.retry_after == 1
    lake.now += timedelta(milliseconds=100)
    await one(quotas, rows=9)
    await one(quotas)


async def test_who_has_no_quota_is_asked_for_none(anyio_backend: str) -> None:
    lake = Lake()
    quotas = lake.open()
    for reader in (ANONYMOUS, Reader(role="case"), Reader("ops", profile="ada", operator=True)):
        await one(quotas, reader)
    assert lake.asked == []
    for _ in range(100):
        await one(quotas, BOB)


async def test_each_token_without_a_profile_has_the_quota_of_such_tokens(anyio_backend: str) -> None:
    lake, clerk = Lake(), Reader("t", role="clerk")
    lake.of_tokens = quota(queriesPerMinute=3)
    lake.had(20, profile=None, reader="t")
    lake.had(20, profile=None, reader="anonymous")
    lake.had(20, reader="t")
    quotas = lake.open()
    for _ in range(2):
        await one(quotas, clerk)
    with pytest.raises(QuotaExceeded, match="The quota of token t is 3 queries a minute") as caught:
        await one(quotas, clerk)
    assert caught.value.retry_after == 40
    for _ in range(3):
        await one(quotas, Reader("u", role="clerk"))
        await one(quotas, Reader("ops", operator=True))
        await one(quotas, ADA)


async def test_what_was_had_before_this_process(anyio_backend: str) -> None:
    lake = Lake(ada=quota(queriesPerMinute=4, rowsPerDay=100))
    lake.had(13 * 3600, rows=90)  # yesterday
    lake.had(3600, rows=50)
    lake.had(61)
    lake.had(59, duration_ms=2000.0)  # began more than a minute ago
    lake.had(30, reason="quota-exceeded", outcome="refused", rows=None)
    lake.had(20, reason="query-invalid", outcome="refused", rows=None)
    lake.had(15, action="describe", rows=None)
    lake.had(10, action="search", rows=7)
    lake.had(5, action="object", rows=None)
    lake.had(5, profile="bob", rows=99)
    lake.had(5, profile=None)
    quotas = lake.open()
    await one(quotas)
    with pytest.raises(QuotaExceeded, match="4 queries a minute") as caught:
        await one(quotas)
    assert caught.value.retry_after == 40
    assert lake.asked == [NOON.replace(hour=0)]
    lake.quotas["ada"] = quota(rowsPerDay=59)
    with pytest.raises(QuotaExceeded):
        await one(quotas)
    lake.quotas["ada"] = quota(rowsPerDay=60)
    await one(quotas)


async def test_after_midnight_the_last_minute_is_of_yesterday(anyio_backend: str) -> None:
    lake = Lake(ada=quota(queriesPerMinute=1, rowsPerDay=5))
    lake.now = NOON.replace(hour=0, minute=0, second=10)
    lake.had(30, rows=5)
    quotas = lake.open()
    with pytest.raises(QuotaExceeded, match="a minute"):
        await one(quotas)
    assert lake.asked == [lake.now - timedelta(seconds=60)]
    lake.now += timedelta(minutes=1)
    await one(quotas)


async def test_a_quota_that_is_committed_later_counts_what_was_had(anyio_backend: str) -> None:
    lake = Lake()
    quotas = lake.open()
    await one(quotas, rows=5)
    lake.quotas["ada"] = quota(rowsPerDay=5)
    with pytest.raises(QuotaExceeded):
        await one(quotas)


async def test_a_past_that_cannot_be_read_grants_nothing_and_is_read_again(anyio_backend: str) -> None:
    lake = Lake(ada=quota(queriesPerMinute=1))
    lake.broken = True
    quotas = lake.open()
    results = await asyncio.gather(one(quotas), one(quotas), return_exceptions=True)
    assert [type(result) for result in results] == [BucketUnavailable] * 2
    lake.broken = False
    await one(quotas)
    with pytest.raises(QuotaExceeded):
        await one(quotas)


class Answering:
    async def run(self, request: QueryRequest, reader: Reader = ANONYMOUS) -> QueryResult:
        request.looked_up(["people"])
        return QueryResult(b"", 3, 10, False, {}, 0.1)

    async def search(self, request: SearchRequest, reader: Reader = ANONYMOUS) -> SearchResult:
        hits = (Hit(key='["C-1"]', chunk=0, text="Java", score=0.75),) * 2
        return SearchResult(hits=hits, index=request.index, generation="g", versions={}, model="builtin")

    async def queries(self, index: str, eval_set: str, reader: Reader = ANONYMOUS) -> Mapping[Any, frozenset[str]]:
        return {}

    async def judged(self, request: SearchRequest, reader: Reader = ANONYMOUS) -> Mapping[str, frozenset[str]]:
        return {}


async def test_queries_and_searches_share_a_quota(anyio_backend: str) -> None:
    quotas = Lake(ada=quota(rowsPerDay=5)).open()
    queries = RationedQueries(Answering(), quotas)
    searches = RationedSearches(Answering(), quotas)
    await queries.run(QueryRequest("SELECT 1"), ADA)
    await searches.search(SearchRequest(index="resumes", text="java", k=2), ADA)
    for ask in (queries.run(QueryRequest("SELECT 1"), ADA), searches.search(SearchRequest(index="resumes", text="java", k=2), ADA)):
        with pytest.raises(QuotaExceeded):
            await ask
    assert await searches.judged(SearchRequest(index="resumes", text="java", k=2), ADA) == {}
    assert await searches.queries("resumes", "evals", ADA) == {}
