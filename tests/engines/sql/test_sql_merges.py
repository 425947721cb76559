"""Merges apart from queries: once a snapshot, whoever waits and however long it takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from engines.errors import QueryMemory, QueryTimeout
from engines.sql.limits import Limits
from engines.sql.merges import Merges, pending
from engines.sql.pool import WorkerPool
from engines.sql.protocol import Frame
from engines.sql.query_request import QueryRequest
from engines.sql.service import QueryService
from engines.sql.source import LakeTable
from engines.sql.views import ViewSweep

pytestmark = pytest.mark.anyio


class Workers:
    """Plays a pool of workers that merge once they are let."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.let = asyncio.Event()
        self.error: Exception | None = None

    @asynccontextmanager
    async def conversation(self) -> AsyncIterator[Any]:
        yield self

    async def ask(self, header: Mapping[str, Any]) -> Frame:
        self.asked.append(header["source"]["merged"])
        await self.let.wait()
        if self.error is not None:
            raise self.error
        return Frame({"op": "merged"})

    def finish(self) -> None:
        return None


def table(merged: str) -> LakeTable:
    return LakeTable("things", 1, (("k", "int64"),), ("k",), None, None, None, merged)


async def test_all_who_wait_share_one_merge_that_outlives_them() -> None:
    workers = Workers()
    merges = Merges(workers.conversation)
    waiting = asyncio.create_task(merges.wait([table("a")], 60))
    with pytest.raises(QueryTimeout) as late:
        await merges.wait([table("a")], 0)
    assert late.value.explain().startswith("Changes of `things` are still being merged after 0 seconds. Ask again in a moment")
    leaving = asyncio.create_task(merges.wait([table("a")], 60))
    await asyncio.sleep(0)
    leaving.cancel()
    workers.let.set()
    await waiting
    assert workers.asked == ["a"]
    await merges.wait([table("b")], 60)
    assert workers.asked == ["a", "b"]


async def test_what_ends_a_worker_ends_the_wait_and_the_next_tries_again() -> None:
    workers = Workers()
    merges = Merges(workers.conversation)
    workers.error = QueryMemory("too much")
    workers.let.set()
    for _ in range(2):
        with pytest.raises(QueryMemory):
            await merges.wait([table("a")], 60)
    assert workers.asked == ["a", "a"]


async def test_queries_and_filters_find_their_tables_merged(new_lake: Any, tmp_path: Path, pool: WorkerPool) -> None:
    lake = new_lake(tmp_path)
    lake.create("things", {"k": "int64", "v": "string"}, ["k"])
    lake.add("things", [{"k": 1, "v": "old"}])
    service = QueryService(lake.resolver, pool, Limits())
    for number, ask in enumerate([service.run(QueryRequest("SELECT v FROM things")), service.keys("things", "v <> 'old'")]):
        lake.add("things", [{"k": 1, "v": f"new {number}"}], "delta")
        (waits,) = pending([lake.source("things")])
        await ask
        assert pending([waits]) == []
    assert (await service.run(QueryRequest("SELECT v FROM things"))).rows() == [{"v": "new 1"}]


def test_what_a_killed_merge_left_is_removed_after_a_while(lake: Any) -> None:
    lake.create("things", {"k": "int64", "v": "string"}, ["k"])
    for role in ("base", "delta"):
        lake.add("things", [{"k": 1, "v": role}], role)
    merged = Path(lake.source("things").merged)
    merged.touch()
    torn = merged.with_name(f".{merged.name}-x7ak")
    torn.touch()
    sweep = ViewSweep(lake.views, 10)
    tables = list(lake.tables.values())
    assert [sweep.run(tables, now) for now in (0, 9, 10, 11)] == [0, 0, 1, 0]
    assert merged.exists()
    assert not torn.exists()
