"""The hot cache: never stale, brought up to date by deltas, bounded, and safe to lose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from engines.reading import TableName
from engines.sql import cache_table, hot
from engines.sql.hot import HotTask, Snapshot, TooLarge, build, document
from engines.sql.hot_builds import HotBuilds
from engines.sql.hot_cache import HotCache, boot_folder
from engines.sql.limits import MIB, Limits
from engines.sql.pool import PoolSize, WorkerPool
from engines.sql.query_request import QueryRequest
from engines.sql.service import QueryService
from engines.sql.session import Session
from engines.sql.source import LakeTable
from engines.sql.tables import CatalogTables

COLUMNS = {"k": "string", "v": "int64"}


@pytest.fixture
def cache(tmp_path: Path) -> HotCache:
    return HotCache(boot_folder(tmp_path / "hot"), 1 << 30, lambda dataset: True)


def resolver(lake: Any, cache: HotCache) -> CatalogTables:
    return CatalogTables(lake, lake.reader, lake, lake.views, hot=cache)


def source(lake: Any, cache: HotCache, name: str = "things") -> LakeTable:
    found = resolver(lake, cache).resolve(TableName(name))
    assert isinstance(found, LakeTable)
    return found


def make(lake: Any, count: int = 20_000) -> None:
    lake.create("things", COLUMNS, ["k"])
    lake.add("things", [{"k": f"K-{n:06d}", "v": n} for n in range(count)])


def held(lake: Any, cache: HotCache, name: str = "things") -> HotTask:
    """Makes what a daemon would."""
    found = source(lake, cache, name)
    task = cache.refresh(found)
    if task is None:
        chosen = cache.build()
        assert chosen is not None
        task = chosen[0]
        if found.merged is not None:
            Session().merge(found)
    build(task)
    cache.done(task)
    return task


def total(table: LakeTable) -> list[dict[str, Any]]:
    with Session().frame("SELECT count(*) AS n, sum(v) AS s FROM things", {}, [table]) as frame:
        return list(frame.to_arrow_table().to_pylist())


def test_a_change_is_applied_to_what_is_held_without_rebuilding_it(lake: Any, cache: HotCache) -> None:
    make(lake)
    held(lake, cache)
    before = {path.name for path in Path(str(source(lake, cache).hot)).parent.glob("*.arrow")}
    lake.add("things", [{"k": "K-000007", "v": 1_000_000}, {"k": "new", "v": 1}], "delta")
    assert source(lake, cache).hot is None
    task = held(lake, cache)
    assert (task.files, len(task.deltas)) == ((), 1)
    snapshot = Snapshot.read(document(Path(task.folder), task.name))
    assert before < snapshot.files
    assert (snapshot.pieces[0].dead, snapshot.rows) == ((7,), 20_001)
    assert total(source(lake, cache)) == [{"n": 20_001, "s": sum(range(20_000)) - 7 + 1_000_001}]


def test_many_holes_and_many_small_pieces_are_written_anew(lake: Any, cache: HotCache) -> None:
    make(lake)
    held(lake, cache)
    for number in range(40):
        lake.add("things", [{"k": f"K-{number * 100:06d}", "v": -1}], "delta")
        held(lake, cache)
    snapshot = Snapshot.read(Path(str(source(lake, cache).hot)))
    assert len(snapshot.pieces) <= 2 + hot.SMALL_PIECES
    assert max(len(piece.dead) for piece in snapshot.pieces) <= 20_000 // hot.LEAST_SLICE
    assert snapshot.rows == 20_000
    assert total(source(lake, cache)) == [{"n": 20_000, "s": sum(range(20_000)) - sum(range(0, 4000, 100)) - 40}]


def test_an_unchanged_base_file_is_shared_by_later_snapshots(lake: Any, cache: HotCache) -> None:
    lake.create("things", COLUMNS)
    lake.add("things", [{"k": "a", "v": 1}])
    first = held(lake, cache)
    lake.add("things", [{"k": "b", "v": 2}])
    second = held(lake, cache)
    assert second.former == first.name
    assert [len(task.files) for task in (first, second)] == [1, 1]
    assert total(source(lake, cache)) == [{"n": 2, "s": 3}]


def test_what_is_evicted_is_read_from_parquet_and_by_whoever_has_it_mapped(lake: Any, cache: HotCache) -> None:
    make(lake)
    held(lake, cache)
    ready = source(lake, cache)
    mapped = hot.batches(Path(str(ready.hot)))
    for path in Path(str(ready.hot)).parent.iterdir():
        path.unlink()
    assert pa.Table.from_batches(mapped)["v"].to_pylist() == list(range(20_000))
    assert total(ready) == [{"n": 20_000, "s": sum(range(20_000))}]


def test_a_damaged_document_is_no_reason_to_fail(lake: Any, cache: HotCache) -> None:
    make(lake, 10)
    held(lake, cache)
    ready = source(lake, cache)
    Path(str(ready.hot)).write_bytes(b"")
    assert total(ready) == [{"n": 10, "s": 45}]


def test_the_least_recently_used_goes_first_and_pinned_ones_last(lake: Any, tmp_path: Path) -> None:
    cache = HotCache(boot_folder(tmp_path / "hot"), 1_200_000, lambda dataset: dataset == "pinned")
    for name in ("pinned", "one", "two"):
        lake.create(name, COLUMNS)
        lake.add(name, [{"k": f"{name} {n}", "v": n} for n in range(20_000)])
        source(lake, cache, name)
        for _ in range(2):
            cache.count(name, hit=False)
        held(lake, cache, name)
    assert [one.dataset for one in cache.held()] == ["pinned", "two"]
    assert sum(one.bytes for one in cache.held()) <= cache.most
    assert source(lake, cache, "one").hot is None


def test_a_table_beyond_the_limit_is_refused_and_not_tried_again(lake: Any, tmp_path: Path) -> None:
    cache = HotCache(boot_folder(tmp_path / "hot"), 1_000, lambda dataset: True)
    make(lake)
    source(lake, cache)
    chosen = cache.build()
    assert chosen is not None
    with pytest.raises(TooLarge):
        build(chosen[0])
    cache.failed(chosen[0])
    source(lake, cache)
    assert cache.build() is None


def test_keys_that_are_not_found_again_by_value_are_not_held(lake: Any, cache: HotCache) -> None:
    lake.create("things", {"k": "float64", "v": "int64"}, ["k"])
    lake.add("things", [{"k": 0.5, "v": 1}])
    source(lake, cache)
    assert cache.build() is None


def test_a_table_is_worth_holding_from_the_second_query_on(lake: Any, tmp_path: Path) -> None:
    told: list[bool] = []
    cache = HotCache(boot_folder(tmp_path / "hot"), 1 << 30)
    cache.wanted = lambda: told.append(True)
    make(lake, 10)
    source(lake, cache)
    cache.count("things", hit=False)
    assert (cache.build(), told) == (None, [])
    cache.count("things", hit=False)
    assert (cache.build() is not None, told) == (True, [True])


def test_other_boots_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "former").mkdir()
    own = boot_folder(tmp_path)
    assert list(tmp_path.iterdir()) == [own]


def test_what_is_held_is_a_table(lake: Any, cache: HotCache, tmp_path: Path) -> None:
    make(lake, 10)
    held(lake, cache)
    cache.count("things", hit=True)
    with Session().frame(
        "SELECT dataset, version, rows, pinned, hits FROM system.cache", {}, [cache_table.cache_table(cache, tmp_path)]
    ) as frame:
        found = frame.to_arrow_table().to_pylist()
    assert found == [{"dataset": "things", "version": 2, "rows": 10, "pinned": True, "hits": 1}]


@pytest.mark.anyio
async def test_a_query_finds_what_was_built_beside_it_and_a_change_at_once(
    lake: Any, cache: HotCache, pool: WorkerPool, tmp_path: Path
) -> None:
    make(lake)
    limits = Limits(seconds=20, memory=400 * MIB)
    service = QueryService(resolver(lake, cache), pool, limits, hot=cache)
    builds = HotBuilds(cache, service, WorkerPool(tmp_path / "spill", PoolSize(most=1, warm=0)), limits, lambda: ["things"])
    sql = "SELECT sum(v) AS s FROM things"
    async with builds.running():
        await builds.follow(["Dataset/things"])
        assert (await service.run(QueryRequest(sql))).rows() == [{"s": sum(range(20_000))}]
        while not cache.held():
            await service.run(QueryRequest(sql))
        lake.add("things", [{"k": "K-000000", "v": 5}], "delta")
        assert (await service.run(QueryRequest(sql))).rows() == [{"s": sum(range(20_000)) + 5}]
        assert [one.version for one in cache.held()] == [3]
        assert cache.held()[0].hits


@pytest.mark.anyio
async def test_changes_of_what_is_not_held_have_nothing_looked_at(lake: Any, pool: WorkerPool, tmp_path: Path) -> None:
    """Or each of a thousand first commits would have all tables looked at."""
    make(lake)
    cache = HotCache(boot_folder(tmp_path / "hot"), 1 << 30, lambda dataset: dataset == "things")
    builds = HotBuilds(cache, QueryService(resolver(lake, cache), pool, Limits(), hot=cache), pool, Limits(), lambda: ["things"])
    await builds.follow(["Dataset/others", "Index/things"])
    assert not builds._look.is_set()
    await builds.follow(["Dataset/others", "Dataset/things"])
    assert builds._look.is_set()
