"""Queries through real workers: answers, limits, and what workers die of. Nothing may block the loop (blockbuster watches)."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from engines import reading
from engines.errors import (
    FilterInvalid,
    QueryCancelled,
    QueryError,
    QueryForbidden,
    QueryInvalid,
    QueryMemory,
    QueryTimeout,
    QueryTooLarge,
    SearchInvalid,
    TableUnknown,
    WorkerCrashed,
    WorkersBusy,
)
from engines.reading import Decision, Reader
from engines.sql import refusals, shown_sources, system_sight
from engines.sql.facets import Facet
from engines.sql.limits import MIB, Limits
from engines.sql.pool import PoolSize, WorkerPool
from engines.sql.query_request import QueryRequest
from engines.sql.refusals import nearest_names
from engines.sql.service import ASK_AGAIN, QueryService
from state.errors import ObjectCorrupt, ObjectMissing

pytestmark = pytest.mark.anyio

ENDLESS = "SELECT count(*) FROM generate_series(1, 1000000000) a, generate_series(1, 1000000000) b WHERE a.value * b.value % 7 = 3"


async def until(condition: Callable[[], bool]) -> None:
    """Turns of the loop until it holds; the test's own timeout ends what never does."""
    while not condition():  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0.001)


@pytest.fixture
async def lone(tmp_path: Path) -> AsyncIterator[WorkerPool]:
    """A pool of one worker, where at most one caller may wait."""
    pool = WorkerPool(tmp_path / "lone", PoolSize(most=1, warm=1, queue=1))
    yield pool
    await pool.close()


async def test_an_answer_says_what_answered(service: QueryService) -> None:
    sql = "SELECT city, count(*) AS n FROM people WHERE age >= $low AND id <> ALL($not) GROUP BY city ORDER BY n, city NULLS LAST"
    result = await service.run(QueryRequest(sql, {"low": 10, "not": ["P-299"]}))
    assert result.columns() == [{"name": "city", "type": "string"}, {"name": "n", "type": "int64"}]
    assert result.rows() == [{"city": None, "n": 96}, {"city": "Boston", "n": 97}, {"city": "Chicago", "n": 96}] or result.count == 3
    assert (result.count, result.truncated, result.versions) == (3, False, {"people": 2})
    assert result.seconds > 0


async def test_it_says_what_it_touched_and_looked_up(service: QueryService) -> None:
    looked_up: list[str] = []
    result = await service.run(QueryRequest("SELECT 1 FROM people WHERE EXISTS (SELECT 1 FROM system.events)", looked_up=looked_up.extend))
    found = {table.name: table for table in result.touched}
    assert set(found) == set(looked_up) == {"people", "system.events"}
    assert {"id", "city", "age"} <= set(found["people"].columns)
    assert found["system.events"].columns[:3] == ("id", "at", "kind")
    assert all(table.decision.whole for table in result.touched)
    looked_up.clear()
    with pytest.raises(TableUnknown):
        await service.run(QueryRequest("SELECT 1 FROM people, nothing", looked_up=looked_up.extend))
    assert set(looked_up) == {"people", "nothing"}
    looked_up.clear()
    (hyphened,) = (await service.run(QueryRequest('SELECT title FROM "job-orders"', looked_up=looked_up.extend))).touched
    assert (hyphened.name, looked_up) == ("job-orders", ["job-orders"])


async def test_every_kind_of_table(service: QueryService) -> None:
    sql = 'SELECT o.*, e.reason FROM job_orders o, system.events e, "job-orders" q WHERE o.title = q.title'
    result = await service.run(QueryRequest(sql))
    assert result.columns()[0] == {"name": "title", "type": "string"}
    assert result.count == 40
    assert result.versions == {"job-orders": 2}


async def test_parameters_keep_their_types(service: QueryService) -> None:
    params = {"d": date(2024, 1, 31), "m": Decimal("1.50"), "b": b"x", "n": None, "t": True, "l": [1, 2], "e": []}
    sql = "SELECT $d AS d, $m AS m, $b AS b, $n AS n, $t AS t, $l AS l, array_length($e) AS e"
    row = (await service.run(QueryRequest(sql, params))).rows()[0]
    assert row == {"d": "2024-01-31", "m": "1.50", "b": "eA==", "n": None, "t": True, "l": [1, 2], "e": row["e"]}


@pytest.mark.parametrize("value", [{"a": 1}, [[1]], ["a", 1], 2**70, object()], ids=["object", "nested", "mixed", "large", "nothing"])
async def test_other_parameters_are_refused(service: QueryService, value: Any) -> None:
    with pytest.raises(QueryInvalid, match="parameter \\$p"):
        await service.run(QueryRequest("SELECT $p", {"p": value}))


async def test_rows_and_bytes_are_cut(service: QueryService) -> None:
    result = await service.run(QueryRequest("SELECT id FROM people", max_rows=7))
    assert (result.count, result.truncated) == (7, True)
    assert len(result.rows()) == 7
    wide = await service.run(QueryRequest("SELECT repeat('x', 10000) || id AS x FROM people"))
    assert wide.truncated
    assert 50 < wide.count < 110
    assert (await service.run(QueryRequest("SELECT value FROM generate_series(1, 5000)", max_rows=99_999))).count == 1000  # only ever less
    with pytest.raises(QueryTooLarge, match="first row"):
        await service.run(QueryRequest("SELECT repeat('x', 2000000) AS x"))


async def test_errors_name_the_way_out(service: QueryService, pool: WorkerPool) -> None:
    before = pool.pids
    with pytest.raises(TableUnknown) as unknown:
        await service.run(QueryRequest("SELECT * FROM peoples"))
    assert unknown.value.explain() == "There is no table `peoples`. Did you mean `people`?"
    with pytest.raises(TableUnknown, match="/etc/passwd"):
        await service.run(QueryRequest("SELECT * FROM '/etc/passwd'"))
    with pytest.raises(TableUnknown, match=r"There is no information_schema here\.") as schema:
        await service.run(QueryRequest("SELECT table_name FROM information_schema.tables"))
    assert "system.columns" in (schema.value.remedy or "")
    with pytest.raises(TableUnknown, match="holds nothing yet"):
        await service.run(QueryRequest("SELECT * FROM nothing_yet"))
    with pytest.raises(QueryInvalid, match="no column `ag`"):
        await service.run(QueryRequest("SELECT ag FROM people"))
    with pytest.raises(QueryForbidden):
        await service.run(QueryRequest("DROP TABLE people"))
    with pytest.raises(QueryTooLarge, match="characters"):
        await service.run(QueryRequest("SELECT '" + "x" * 70_000 + "'"))
    assert pool.pids == before


async def test_time_counts_planning(city_lake: Any, pool: WorkerPool, watched_loop: None) -> None:
    service = QueryService(city_lake.resolver, pool, Limits(seconds=0.3))
    before = set(pool.pids)
    with pytest.raises(QueryTimeout, match=r"0\.3 seconds"):
        await service.run(QueryRequest("SELECT " + "+".join("1" * 4096)))
    with pytest.raises(QueryTimeout):
        await service.run(QueryRequest(ENDLESS))
    ample = QueryService(city_lake.resolver, pool)
    assert (await ample.run(QueryRequest("SELECT 1 AS x"))).rows() == [{"x": 1}]
    assert not before & set(pool.pids)


async def test_a_statement_that_kills_its_worker_kills_nothing_else(service: QueryService) -> None:
    with pytest.raises(WorkerCrashed, match="signal 11"):
        await service.run(QueryRequest("SELECT " + "+".join("1" * 20_480)))
    assert (await service.run(QueryRequest("SELECT 1 AS x"))).rows() == [{"x": 1}]


async def test_memory_is_watched(service: QueryService) -> None:
    with pytest.raises(QueryMemory, match="400 MiB"):
        await service.run(QueryRequest("SELECT length(repeat('x', 2000000000))"))
    assert (await service.run(QueryRequest("SELECT 1 AS x"))).rows() == [{"x": 1}]


async def test_a_worker_killed_from_outside_is_replaced(service: QueryService, pool: WorkerPool) -> None:
    """While it runs a query, the query fails; while idle, nobody notices."""
    await service.run(QueryRequest("SELECT 1"))
    running = asyncio.create_task(service.run(QueryRequest(ENDLESS)))
    await until(lambda: pool.idle < len(pool.pids))
    gone = await _kill_all(pool)
    with pytest.raises(WorkerCrashed, match="signal 9"):
        await running
    assert (await service.run(QueryRequest("SELECT 1 AS x"))).rows() == [{"x": 1}]
    await until(lambda: pool.idle == len(pool.pids) > 0)
    assert not set(gone) & set(await _kill_all(pool))
    assert (await service.run(QueryRequest("SELECT 1 AS x"))).rows() == [{"x": 1}]


async def _kill_all(pool: WorkerPool) -> tuple[int, ...]:
    pids = pool.pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    await until(lambda: not any(map(_alive, pids)))
    return pids


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def _environment(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


async def test_a_caller_that_leaves_takes_the_query_along(service: QueryService, pool: WorkerPool) -> None:
    running = asyncio.create_task(service.run(QueryRequest(ENDLESS)))
    await until(lambda: pool.idle < len(pool.pids))
    before = set(pool.pids)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await until(lambda: set(pool.pids) != before)
    assert (await service.run(QueryRequest("SELECT 1 AS x"))).rows() == [{"x": 1}]


async def test_who_cannot_be_served_is_told(city_lake: Any, lone: WorkerPool, watched_loop: None) -> None:
    service = QueryService(city_lake.resolver, lone, Limits(waiting=30))
    running = asyncio.create_task(service.run(QueryRequest(ENDLESS)))
    await until(lambda: bool(lone.pids) and not lone.waiting)
    waiting = asyncio.create_task(service.run(QueryRequest("SELECT 1 AS x")))
    await until(lambda: lone.waiting == 1)
    with pytest.raises(WorkersBusy, match="1 queries wait"):
        await service.run(QueryRequest("SELECT 1"))
    impatient = QueryService(city_lake.resolver, lone, Limits(waiting=0.01))
    waiting.cancel()
    await until(lambda: lone.waiting == 0)
    with pytest.raises(WorkersBusy, match=r"within 0\.01 seconds"):
        await impatient.run(QueryRequest("SELECT 1"))
    patient = asyncio.create_task(service.run(QueryRequest("SELECT 1 AS x")))
    await until(lambda: lone.waiting == 1)
    running.cancel()
    assert (await patient).rows() == [{"x": 1}]
    running = asyncio.create_task(service.run(QueryRequest(ENDLESS)))
    await until(lambda: not lone.idle)
    left = asyncio.create_task(service.run(QueryRequest("SELECT 1")))
    await until(lambda: lone.waiting == 1)
    await lone.close()
    with pytest.raises(QueryCancelled):
        await left
    with pytest.raises((QueryCancelled, WorkerCrashed)):
        await running
    assert not lone.pids
    with pytest.raises(QueryCancelled):
        await service.run(QueryRequest("SELECT 1"))


async def test_concurrent_queries_share_the_workers(service: QueryService, pool: WorkerPool) -> None:
    results = await asyncio.gather(*(service.run(QueryRequest("SELECT $n AS n", {"n": number})) for number in range(4)))
    assert [result.rows() for result in results] == [[{"n": number}] for number in range(4)]
    assert len(pool.pids) <= 2


async def test_workers_beyond_the_warm_ones_and_grown_ones_are_let_go(tmp_path: Path, city_lake: Any) -> None:
    pool = WorkerPool(tmp_path, PoolSize(most=2, warm=1, idle=0.01))
    service = QueryService(city_lake.resolver, pool)
    await asyncio.gather(service.run(QueryRequest("SELECT 1")), service.run(QueryRequest("SELECT 2")))
    await until(lambda: len(pool.pids) == 1)
    await pool.close()
    grown = WorkerPool(tmp_path, PoolSize(most=1, warm=0, retire=1))
    await QueryService(city_lake.resolver, grown).run(QueryRequest("SELECT 1"))
    await until(lambda: not grown.pids)
    await grown.close()
    assert os.listdir(tmp_path) == []  # noqa: PTH208


async def test_a_worker_inherits_no_secret_and_ends_with_its_owner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAKEHOUSE_TEST_SECRET", "s3cr3t")
    pool = WorkerPool(tmp_path, PoolSize(most=1))
    await pool.start()
    pid = pool.pids[0]
    assert b"s3cr3t" not in _environment(pid)
    async with pool.worker(1.0) as worker:
        asked = asyncio.create_task(worker.ask({"op": "query", "sql": "SELECT " + "+".join("1" * 4096), "limits": {}}))
        await asyncio.sleep(0)
        worker._writer.transport.abort()  # as if this process were gone, in the middle of planning
        await until(lambda: not _alive(pid))
        asked.cancel()
    await pool.close()


async def test_what_killed_daemons_left_is_removed(tmp_path: Path) -> None:
    for name in ("worker-4194305-dead", f"worker-{os.getppid()}-alive", "other"):
        (tmp_path / name).mkdir()
    pool = WorkerPool(tmp_path)
    await pool.start()
    await pool.close()
    assert sorted(os.listdir(tmp_path)) == ["other", f"worker-{os.getppid()}-alive"]  # noqa: PTH208


async def test_a_pool_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, city_lake: Any) -> None:
    (tmp_path / "engines").mkdir()
    (tmp_path / "engines" / "__init__.py").write_text("raise ImportError('broken on purpose')")
    monkeypatch.setattr("engines.sql.process._ROOT", tmp_path)
    pool = WorkerPool(tmp_path / "scratch", PoolSize(most=1))
    with pytest.raises(WorkerCrashed, match="broken on purpose"):
        await QueryService(city_lake.resolver, pool).run(QueryRequest("SELECT 1"))
    with pytest.raises(WorkerCrashed, match="broken on purpose"):
        await pool.start()
    await pool.close()


async def test_keys_of_the_rows_that_pass(service: QueryService) -> None:
    assert (await service.keys("people", "city = 'Boston' AND age < 6")).to_pylist() == ['["P-001"]', '["P-004"]']
    assert (await service.keys("job-orders", "salary > 18000")).to_pylist() == ["digest0:19"]
    assert (await service.keys("job-orders", "false")).to_pylist() == []
    for condition in ("nope = 1", "age", "age = 1; SELECT 1", "EXISTS (SELECT 1 FROM people)", "age = 1) OR (1 = 1", "1 / (age - age) = 1"):
        with pytest.raises(FilterInvalid):
            await service.keys("people", condition)
    for condition in ("$city = 'Boston'", "city = $role", "age = $1"):
        with pytest.raises(FilterInvalid, match="has no parameters"):
            await service.keys("people", condition)
    assert (await service.keys("people", "city = '$role'")).to_pylist() == []
    with pytest.raises(TableUnknown) as unknown:
        await service.keys("peple", "true")
    assert unknown.value.remedy == "Did you mean `people`?"


async def test_facets_of_the_rows_that_a_search_may_find(service: QueryService) -> None:
    reach = pa.array([f'["P-{n:03d}"]' for n in range(12)] + ['["X-1"]'])
    counted = await service.facets("people", ["city", "age"], reach)
    assert counted.facets["city"] == Facet((("Boston", 4), ("Chicago", 4), (None, 4)), 12, 3)
    assert counted.facets["age"] == Facet(tuple((n, 1) for n in range(10)), 12, 12), "ten of them, by value"
    some = await service.facets("people", ["city", "id"], reach, "age > 9")
    assert (some.facets["city"].values, some.keys.to_pylist()) == ((("Boston", 1), (None, 1)), ['["P-010"]', '["P-011"]'])
    assert some.facets["id"].values == (("P-010", 1), ("P-011", 1)), "though keys are made of it"
    assert (await service.facets("people", ["city"], reach, "false")).facets == {"city": Facet((), 0, 0)}
    by_place = await service.facets("job-orders", ["salary"], pa.array(["digest0:19"]))
    assert by_place.facets == {"salary": Facet(((19000.0, 1),), 1, 1)}


@pytest.mark.parametrize(("table", "columns", "wrong"), [("people", ["city", "citty"], "citty"), ("job-orders", ["_row"], "_row")])
async def test_facets_that_there_are_none_of(service: QueryService, table: str, columns: list[str], wrong: str) -> None:
    reach = pa.array([], pa.string())
    with pytest.raises(SearchInvalid, match=f"There is no column `{wrong}`") as unknown:
        await service.facets(table, columns, reach)
    assert ("Did you mean `city`?" in str(unknown.value.remedy), "_file" in str(unknown.value.remedy)) == (wrong == "citty", False)
    with pytest.raises(FilterInvalid, match="no column"):
        await service.facets(table, columns[:0], reach, "nope = 1")


async def test_facets_of_lists_and_of_long_values_are_refused(lake: Any, pool: WorkerPool) -> None:
    lake.create("things", {"k": "string", "tags": "list<string>", "v": "string"}, ["k"])
    lake.add("things", [{"k": f"{n}", "tags": ["a"], "v": f"{n}" * 3000} for n in range(9)])
    service, reach = QueryService(lake.resolver, pool, Limits(bytes=20_000)), pa.array([f'["{n}"]' for n in range(9)])
    with pytest.raises(SearchInvalid, match=r"There is no facet of `tags`, which is list<string>\."):
        await service.facets("things", ["k", "tags"], reach)
    with pytest.raises(QueryTooLarge, match="longer than a result may be"):
        await service.facets("things", ["v"], reach)


async def test_a_lost_link_is_mended_and_a_lost_file_is_named(new_lake: Any, tmp_path: Path, pool: WorkerPool) -> None:
    lake = new_lake(tmp_path)
    lake.create("things", {"k": "int64", "v": "string"}, ["k"])
    for number in range(3):
        lake.add("things", [{"k": number, "v": "x"}])
    lake.add("things", [{"k": 1, "v": "y"}], "delta")
    service = QueryService(lake.resolver, pool)
    sql = "SELECT count(*) AS n, max(v) AS v FROM things"
    assert (await service.run(QueryRequest(sql))).rows() == [{"n": 3, "v": "y"}]
    next(lake.views.rglob("base/*.parquet")).unlink()
    assert (await service.run(QueryRequest(sql))).rows() == [{"n": 3, "v": "y"}]
    next(lake.views.rglob("base/*.parquet")).resolve().unlink()
    with pytest.raises(ObjectMissing):
        await service.run(QueryRequest(sql))
    with pytest.raises(ObjectMissing):
        await service.keys("things", "true")


async def test_a_table_that_is_mended_or_does_without_a_lost_file_answers_at_once(new_lake: Any, tmp_path: Path, pool: WorkerPool) -> None:
    lake, asked = new_lake(tmp_path), list[str]()
    lake.create("things", {"k": "int64"})
    files = [lake.add("things", [{"k": number}]) for number in range(2)]
    content = lake.store.get(files[0].key)

    async def mend(damage: ObjectMissing | ObjectCorrupt) -> None:
        asked.append(damage.key)
        if len(asked) == 1:
            await asyncio.to_thread(lake.store.put, damage.key, content)
        elif len(asked) == 2:
            lake.replace("things", files=(replace(files[0], lost=True), files[1]))

    service = QueryService(lake.resolver, pool, mend=mend)
    for lost in ({}, {"things": 1}):
        lake.store.delete(files[0].key)
        result = await service.run(QueryRequest("SELECT count(*) AS n FROM things"))
        assert (result.rows(), result.lost) == ([{"n": 1 if lost else 2}], lost)
    lake.store.delete(files[1].key)
    with pytest.raises(ObjectMissing) as missing:
        await service.run(QueryRequest("SELECT count(*) FROM things"))
    assert missing.value.remedy == ASK_AGAIN
    with pytest.raises(ObjectMissing):
        await service.keys("things", "true")
    assert asked == [files[0].key] * 2 + [files[1].key] * 2, "each is tried once, and not for ever"


async def test_a_file_that_is_no_parquet_is_an_error_and_not_an_answer(new_lake: Any, tmp_path: Path, pool: WorkerPool) -> None:
    lake = new_lake(tmp_path)
    lake.create("things", {"k": "int64"})
    lake.add("things", [{"k": 1}])
    file = lake.tables["things"].files[0]
    lake.store.put("bad.parquet", b"nothing of the sort")
    bad = type(file.ref).of("primary", "bad.parquet", b"nothing of the sort")
    lake.replace("things", files=(replace(file, ref=bad),))
    with pytest.raises(QueryError, match="cannot be read"):
        await QueryService(lake.resolver, pool).run(QueryRequest("SELECT k FROM things"))


async def test_what_a_reader_may_not_see_is_unknown_to_it(service: QueryService, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str | None, str, str]] = []

    def decide(reader: Reader, name: reading.TableName, action: str) -> Decision:
        asked.append((reader.role, name.name, action))
        return Decision(name.name != "people", row_filter="false" if name.name == "system.events" else None)

    for module in (refusals, shown_sources, system_sight):
        monkeypatch.setattr(module, "decide", decide)
    with pytest.raises(TableUnknown) as unknown:
        await service.run(QueryRequest("SELECT 1 FROM job_orders WHERE EXISTS (SELECT 1 FROM people)"), Reader(role="guest"))
    assert "Did you mean" not in unknown.value.explain()
    assert {("guest", "people", "read"), ("guest", "job_orders", "read")} <= set(asked)
    with pytest.raises(TableUnknown):
        await service.keys("people", "true")
    assert (await service.run(QueryRequest("SELECT count(*) AS n FROM system.events"))).rows() == [{"n": 0}]
    assert (await service.run(QueryRequest("WITH people AS (SELECT 1 AS x) SELECT x FROM people"))).rows() == [{"x": 1}]


def test_names_that_are_near() -> None:
    known = ["candidates", "clients", "job_orders", "system.events", "system.errors"]
    assert nearest_names("candidate", known)[0] == "candidates"
    assert nearest_names("Job-Orders", known)[0] == "job_orders"
    assert nearest_names("events", known)[0] == "system.events"
    assert nearest_names("system.event", known)[0] == "system.events"
    assert nearest_names("zzzzqqq", known) == []


def test_limits_only_shrink() -> None:
    limits = Limits(rows=10, seconds=5, bytes=MIB)
    assert limits.narrowed(rows=100, seconds=1) == replace(limits, seconds=1)
    assert limits.narrowed() == limits


def test_the_statement_that_lists_tables_is_one() -> None:
    from engines.sql.problems import LISTING
    from state.streams.catalog_tables import CATALOG_TABLES

    column, _, table = LISTING.removeprefix("SELECT ").partition(" FROM system.")
    assert column in {declared.name for declared in CATALOG_TABLES[table].columns}
