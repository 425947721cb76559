"""Whose turn it is: shares of the workers, and of the queue."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from engines.errors import QueryInvalid, QueryMemory, QueryTimeout, QueryTooLarge, WorkerCrashed, WorkersBusy
from engines.fair_shares import share_of
from engines.reading import ANONYMOUS, Reader
from engines.sql.limits import MIB, Limits
from engines.sql.pool import PoolSize, WorkerPool
from engines.sql.query_request import QueryRequest
from engines.sql.service import QueryService

pytestmark = pytest.mark.anyio

FLOOD = "SELECT count(*) FROM generate_series(1, 1000000000) a, generate_series(1, 1000000000) b WHERE a.value * b.value % 7 = 3"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0.001)


@pytest.fixture
async def pool(tmp_path: Path) -> AsyncIterator[WorkerPool]:
    opened = WorkerPool(tmp_path, PoolSize(most=3, warm=1, queue=8))
    yield opened
    await opened.close()


class Turns:
    """Callers of a pool that hold what they get until they are told to let it go."""

    def __init__(self, pool: WorkerPool) -> None:
        self.pool = pool
        self.got: list[str] = []
        self.done: dict[str, asyncio.Event] = {}
        self.tasks: list[asyncio.Task[None]] = []

    async def come(self, name: str, share: str | None) -> None:
        self.done[name] = asyncio.Event()
        self.tasks.append(asyncio.create_task(self._hold(name, share)))
        await asyncio.sleep(0)

    async def _hold(self, name: str, share: str | None) -> None:
        async with self.pool.worker(60.0, share):
            self.got.append(name)
            await self.done[name].wait()

    async def leave(self) -> None:
        for event in self.done.values():
            event.set()
        await asyncio.gather(*self.tasks)


async def test_a_share_leaves_one_worker_to_others(pool: WorkerPool) -> None:
    turns = Turns(pool)
    for number in range(4):
        await turns.come(f"flood{number}", "flood")
    await until(lambda: len(turns.got) == 2 and pool.idle == 1)
    await turns.come("other", "other")
    await asyncio.sleep(0)
    assert turns.got == ["flood0", "flood1", "other"]
    turns.done["flood0"].set()
    await until(lambda: "flood2" in turns.got)
    await turns.leave()


async def test_a_worker_that_dies_leaves_no_picture_of_its_memory(pool: WorkerPool) -> None:
    async with pool.worker(10) as worker:
        said = await asyncio.to_thread(Path(f"/proc/{worker.pid}/limits").read_text)
    (core,) = [line for line in said.splitlines() if line.startswith("Max core file size")]
    assert core.split()[4:6] == ["0", "0"]


async def test_the_operator_may_have_all(pool: WorkerPool) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(pool.worker(60.0))
        assert len(pool.pids) == 3


async def test_a_free_worker_goes_to_the_share_that_has_the_fewest(pool: WorkerPool) -> None:
    turns = Turns(pool)
    for name, share in (("a0", "a"), ("a1", "a"), ("o0", None)):
        await turns.come(name, share)
    await until(lambda: len(turns.got) == 3)
    for name, share in (("o1", None), ("a2", "a"), ("b0", "b"), ("b1", "b")):
        await turns.come(name, share)
    turns.done["a0"].set()
    await until(lambda: len(turns.got) == 4)
    assert turns.got[3] == "b0"
    turns.done["o0"].set()
    await until(lambda: len(turns.got) == 5)
    assert turns.got[4] == "o1"
    await turns.leave()
    assert len(turns.got) == 7


async def test_one_worker_is_for_everybody(tmp_path: Path) -> None:
    pool = WorkerPool(tmp_path, PoolSize(most=1))
    async with pool.worker(60.0, "a"):
        assert len(pool.pids) == 1
    async with pool.worker(60.0, "b"):
        pass
    await pool.close()


async def test_a_share_fills_half_of_the_queue(pool: WorkerPool) -> None:
    turns = Turns(pool)
    for number in range(2):
        await turns.come(f"flood{number}", "flood")
    await until(lambda: len(turns.got) == 2)
    for number in range(2, 6):
        await turns.come(f"flood{number}", "flood")
    await until(lambda: len(turns.got) == 2 and pool.waiting == 4)
    with pytest.raises(WorkersBusy, match="4 queries wait already"):
        async with pool.worker(60.0, "flood"):
            pass
    async with pool.worker(60.0, "other"):
        pass
    await turns.leave()


async def test_one_that_gives_up_leaves_its_turn(pool: WorkerPool) -> None:
    async with pool.worker(60.0, "a"), pool.worker(60.0, "a"):
        with pytest.raises(WorkersBusy, match="No query worker became free"):
            async with pool.worker(0.001, "a"):
                pass
        assert pool.waiting == 0
    async with pool.worker(60.0, "a"):
        pass


def test_shares() -> None:
    readers = (ANONYMOUS, Reader("t", profile="p"), Reader("t"), Reader("ops", operator=True), Reader(profile="p"))
    assert [share_of(reader) for reader in readers] == [None, "profile p", "token t", None, "profile p"]


UNTRUSTED = Limits(seconds=0.5, memory=220 * MIB, rows=100, bytes=1 * MIB)
BAD, GOOD = Reader(profile="bad"), Reader(profile="good", trusted=True)
Run = Callable[[str], Awaitable[Any]]


@pytest.fixture
async def service(tmp_path: Path, city_lake: Any) -> AsyncIterator[QueryService]:
    pool = WorkerPool(tmp_path, PoolSize(most=2, warm=1, queue=8, memory=100 * MIB))
    yield QueryService(city_lake.resolver, pool, Limits(seconds=60.0, rows=50_000), untrusted=UNTRUSTED)
    await pool.close()


async def test_a_flood_of_cross_joins_is_in_nobodys_way(service: QueryService) -> None:
    flood = [asyncio.create_task(service.run(QueryRequest(FLOOD), BAD)) for _ in range(4)]
    await until(lambda: service._pool.idle == 1)
    for _ in range(3):
        assert (await service.run(QueryRequest("SELECT count(*) AS n FROM people"), Reader(profile="good"))).rows() == [{"n": 300}]
    ended = await asyncio.gather(*flood, return_exceptions=True)
    assert {type(end) for end in ended} == {QueryTimeout}
    await until(lambda: all(worker.alive for worker in service._pool._live))
    for worker in service._pool._live:
        assert not worker.busy


TICKS = os.sysconf("SC_CLK_TCK")
MOST_AFTERWARDS = 1.5
"""Seconds of CPU that workers may take after an answer: to replace one that was killed takes half a second. What goes on takes more."""


class Rest:
    """Whether no thread of a pool's workers has run, or was about to, for a while."""

    def __init__(self, pool: WorkerPool) -> None:
        self.pool = pool
        self.begun = self.taken = self._taken()[0]
        self.since = time.monotonic()

    def __call__(self) -> bool:
        taken, running = self._taken()
        if running or taken != self.taken:
            self.taken, self.since = taken, time.monotonic()
        afterwards = sum(taken.values()) - sum(self.begun.get(pid, 0.0) for pid in taken)
        assert afterwards < MOST_AFTERWARDS, (self.begun, taken)
        return time.monotonic() - self.since > 0.1

    def _taken(self) -> tuple[dict[int, float], bool]:
        """Seconds of CPU by process, and whether a thread of one wants more."""
        threads = {worker.pid: threads_of(worker.pid) for worker in self.pool._live if worker.alive}
        taken = {pid: sum(int(each[11]) + int(each[12]) for each in found) / TICKS for pid, found in threads.items()}
        return taken, any(each[0] == "R" for found in threads.values() for each in found)


def threads_of(pid: int) -> list[list[str]]:
    """What the kernel says of each, from its state on."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(OSError):  # it ended meanwhile
            found.append(path.read_text().rpartition(")")[2].split())
    return found


async def rests(pool: WorkerPool, before: tuple[int, ...]) -> None:
    """Nothing of a statement goes on or is held. before: the workers when it came."""
    rest = Rest(pool)
    await until(lambda: all(worker.alive and not worker.busy and worker.memory() < UNTRUSTED.memory for worker in pool._live))
    await until(lambda: all(pid in pool.pids or not Path("/proc", str(pid)).exists() for pid in before))
    await until(rest)


_CROSSED = ", ".join(f"c{n + 1} AS (SELECT a.v FROM c{n} a CROSS JOIN c{n} b)" for n in range(9))
TOO_MUCH = {
    "series": "SELECT count(*) FROM generate_series(1, 1000000000000) WHERE value % 7 = 8",
    "sort": "SELECT value FROM generate_series(1, 1000000000) ORDER BY value % 17 DESC",
    "recursive": "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r",
    "cross joins": f"WITH c0 AS (SELECT value AS v FROM range(9)), {_CROSSED} SELECT count(*) FROM c9",
    "memory": "SELECT length(repeat('x', 2000000000)) + length(repeat('y', 2000000000))",
    "one value": "SELECT levenshtein(repeat('ab', 300000), repeat('ba', 300000))",
    "brackets": "SELECT " + "(" * 10_000 + "1" + ")" * 10_000,
    "long sum": "SELECT " + "+".join("1" * 16_000),
    "long text": "SELECT '" + "x" * 5_000_000 + "'",
}


async def test_what_an_untrusted_reader_may_not_cost(service: QueryService) -> None:
    await service._pool.start()
    for sql in TOO_MUCH.values():
        before = service._pool.pids
        with pytest.raises((QueryTimeout, QueryMemory, QueryTooLarge, QueryInvalid, WorkerCrashed)):
            await service.run(QueryRequest(sql), BAD)
        await rests(service._pool, before)
        assert (await service.run(QueryRequest("SELECT count(*) AS n FROM people"), GOOD)).rows() == [{"n": 300}]


CUT = {
    "series": "SELECT value FROM generate_series(1, 1000000000000)",
    "cross join": "SELECT a.value FROM generate_series(1, 1000000000) a, generate_series(1, 10000) b LIMIT 500",
    "union": "SELECT value FROM range(1000000000) UNION ALL SELECT value FROM range(1000000000) WHERE value % 2 = 3",
    "recursive": "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r",
}


async def test_what_was_answered_in_part_goes_on_no_further(service: QueryService) -> None:
    await service._pool.start()
    for name, sql in CUT.items():
        before = service._pool.pids
        result = await service.run(QueryRequest(sql, max_rows=100), GOOD)
        assert (result.count, result.truncated) == (100, True), name
        await rests(service._pool, before)
        assert set(before) <= set(service._pool.pids), "no worker had to end for it"
    with pytest.raises(QueryInvalid, match="fails on a row"):
        await service.run(QueryRequest("SELECT max(1 / (value - 90000)) FROM generate_series(1, 1000000000000)"), GOOD)
    await rests(service._pool, before)


async def test_what_nobody_waits_for_any_more_goes_on_no_further(service: QueryService) -> None:
    await service._pool.start()
    before = service._pool.pids
    asking = asyncio.create_task(service.run(QueryRequest(TOO_MUCH["series"]), GOOD))
    await until(lambda: any(worker.busy for worker in service._pool._live))
    asking.cancel()
    assert isinstance((await asyncio.gather(asking, return_exceptions=True))[0], asyncio.CancelledError)
    await rests(service._pool, before)


async def test_results_of_an_untrusted_reader_are_cut_sooner(service: QueryService) -> None:
    sql = "SELECT value FROM generate_series(1, 5000)"
    assert (await service.run(QueryRequest(sql), BAD)).count == 100
    assert (await service.run(QueryRequest(sql), Reader(profile="good", trusted=True))).count == 5000
    assert (await service.run(QueryRequest(sql))).count == 5000


async def test_a_large_result_is_mapped_and_outlives_its_worker(service: QueryService) -> None:
    sql = "SELECT value, repeat('x', 40) AS text FROM generate_series(1, 50000)"
    results = [await service.run(QueryRequest(sql, max_rows=50_000)) for _ in range(2)]
    await service.run(QueryRequest("SELECT 1"))
    await service._pool.close()
    for result in results:
        assert isinstance(result.ipc, memoryview)
        assert (result.count, result.table().num_rows, len(result.ipc) > 1 * MIB) == (50_000, 50_000, True)
        assert result.table().column("value").to_pylist() == list(range(1, 50_001))
