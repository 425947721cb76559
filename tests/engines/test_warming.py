"""What profiles want warm is opened by the way of their readers, told when it is, and let go of when nobody wants it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest

from engines import warming
from engines.at import Moment
from engines.errors import IndexNotServing
from engines.sql.query_request import QueryRequest
from engines.warming import Warming

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Wanted(NamedTuple):
    tables: tuple[str, ...] = ()
    indexes: tuple[tuple[str, str | None], ...] = ()
    at: Moment = None


@dataclass
class Searches:
    opened: dict[str, Any] = field(default_factory=dict)
    broken: bool = False

    async def search(self, request: Any, reader: Any) -> Any:
        if self.broken:
            raise IndexNotServing("Index i does not answer yet.")
        self.opened[request.index] = request.at and request.at.every

    def is_open(self, index: str, build: str | None) -> bool:
        return index in self.opened

    def let_go(self, index: str) -> None:
        self.opened.pop(index, None)


@dataclass
class Queries:
    asked: list[tuple[str, Moment]] = field(default_factory=list)

    async def run(self, request: QueryRequest, reader: Any) -> Any:
        self.asked.append((request.sql, request.at.every))


def nothing() -> None:
    return None


@dataclass
class Hot:
    held: set[str] = field(default_factory=set)
    wanted: Callable[[], None] = nothing
    ended: Callable[[], None] = nothing

    def settled(self, dataset: str) -> bool:
        return dataset in self.held


class Lake:
    def __init__(self) -> None:
        self.searches, self.queries, self.hot = Searches(), Queries(), Hot()
        self.warming = Warming(self.searches, self.queries, self.hot, asyncio.get_running_loop())
        self.ended = asyncio.Event()
        self.warming.told = lambda profile: self.ended.set()

    async def begin(self, profile: str, wanted: Wanted) -> None:
        self.ended.clear()
        self.warming.begin(profile, wanted)
        await asyncio.wait_for(self.ended.wait(), 30)


async def test_a_table_is_warm_when_it_is_held_and_a_worker_has_it() -> None:
    lake, wanted = Lake(), Wanted(("job-orders",), (("i", None),))
    assert lake.warming.cold("p", wanted) == {"job-orders": "", "i": ""}

    def build() -> None:
        lake.hot.held.add("job-orders")
        lake.hot.ended()

    lake.hot.wanted = build
    await lake.begin("p", wanted)
    assert lake.warming.cold("p", wanted) == {}
    assert lake.queries.asked == [('SELECT * FROM "job_orders" LIMIT 1', None)]
    assert lake.warming.keeps("p")
    lake.hot.held.clear()  # it had to make room
    lake.searches.opened.clear()
    assert lake.warming.cold("p", wanted) == {"job-orders": "", "i": ""}


async def test_what_cannot_be_warmed_says_why() -> None:
    lake, wanted = Lake(), Wanted((), (("i", None),))
    lake.searches.broken = True
    await lake.begin("p", wanted)
    assert lake.warming.cold("p", wanted) == {"i": "Index i does not answer yet."}
    lake.searches.broken = False
    await lake.begin("p", wanted)
    assert lake.warming.cold("p", wanted) == {}


async def test_another_moment_is_read_at_that() -> None:
    lake, wanted = Lake(), Wanted(("x",), (("i", "b"),), 3)
    await lake.begin("p", wanted)
    assert (lake.searches.opened, lake.queries.asked[0][1]) == ({"i": 3}, 3)
    assert lake.warming.cold("p", wanted) == {}
    assert lake.warming.cold("p", wanted._replace(at=2)) == {"x": ""}


async def test_it_lets_go_of_what_nobody_else_wants() -> None:
    lake = Lake()
    await lake.begin("p", Wanted((), (("i", None), ("j@p", None))))
    await lake.begin("q", Wanted((), (("i", None),)))
    lake.warming.let_go("p")
    await asyncio.sleep(0)
    assert set(lake.searches.opened) == {"i"}
    assert not lake.warming.keeps("p")
    await lake.begin("q", Wanted((), (("k", None),)))  # its binding changed
    assert set(lake.searches.opened) == {"k"}
    lake.warming.let_go("q")
    lake.warming.let_go("unknown")
    await asyncio.sleep(0)
    assert not lake.searches.opened


async def test_what_is_under_way_is_not_begun_twice() -> None:
    lake, wanted = Lake(), Wanted(("x",))
    lake.warming.begin("p", wanted)
    lake.warming.begin("p", wanted)
    lake.hot.held.add("x")
    lake.hot.ended()
    await asyncio.wait_for(lake.ended.wait(), 30)
    assert len(lake.queries.asked) == 1
    lake.warming.close()


async def test_what_had_to_make_room_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warming, "LOOK_EVERY", 0.01)
    lake, wanted = Lake(), Wanted((), (("i", None),))
    await lake.begin("p", wanted)
    lake.ended.clear()
    lake.searches.opened.clear()
    await asyncio.wait_for(lake.ended.wait(), 30)
    lake.warming.close()


async def test_a_table_that_cannot_be_held_is_as_warm_as_it_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warming, "_PATIENCE", 0.01)
    lake, wanted = Lake(), Wanted(("x",))
    await lake.begin("p", wanted)
    assert lake.warming.cold("p", wanted) == {}
    assert len(lake.queries.asked) == 1
