"""A version that is held before it can be seen: found by the next query, never by another, and none the worse where that fails."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines.reading import TableName
from engines.sql import hot_ahead, hot_cache
from engines.sql.hot import HotTask, Snapshot, build, document
from engines.sql.hot_ahead import HotAhead
from engines.sql.hot_cache import AHEAD_ROWS, HotCache, boot_folder
from engines.sql.limits import MIB, Limits
from engines.sql.pool import WorkerPool
from engines.sql.problems import QueryProblem
from engines.sql.query_request import QueryRequest
from engines.sql.service import QueryService
from engines.sql.session import Session
from engines.sql.source import LakeTable
from engines.sql.tables import CatalogTables
from engines.sql.views import view_name
from state.catalog.data_files import COMPACTION
from state.catalog.tables import Former, Table
from state.errors import ObjectMissing

ROWS = 20_000


class Opening:
    """Plays the workers: done at once."""

    def __init__(self) -> None:
        self.told: list[LakeTable] = []

    def __call__(self, tables: Sequence[LakeTable]) -> Future[None]:
        self.told += tables
        done: Future[None] = Future()
        done.set_result(None)
        return done


@pytest.fixture
def cache(tmp_path: Path) -> HotCache:
    return HotCache(boot_folder(tmp_path / "hot"), 1 << 30, lambda dataset: True)


@pytest.fixture
def opening() -> Opening:
    return Opening()


@pytest.fixture
def ahead(lake: Any, cache: HotCache, opening: Opening) -> HotAhead:
    return HotAhead(cache, lake.reader, opening)


def resolved(lake: Any, cache: HotCache) -> LakeTable:
    found = CatalogTables(lake, lake.reader, lake, lake.views, hot=cache).resolve(TableName("things"))
    assert isinstance(found, LakeTable)
    return found


@pytest.fixture
def first(lake: Any, cache: HotCache) -> Table:
    """A table of which the present version is held."""
    lake.create("things", {"k": "string", "v": "int64"}, ["k"])
    lake.add("things", [{"k": f"K-{n:06d}", "v": n} for n in range(ROWS)])
    resolved(lake, cache)
    chosen = cache.build()
    assert chosen is not None
    build(chosen[0])
    cache.done(chosen[0])
    return lake.tables["things"]  # type: ignore[no-any-return]


def change(lake: Any, *keys: int) -> Table:
    """The table that is to come, in which each key's value is ten times as much; the one before stays the one that is seen."""
    before = lake.tables["things"]
    lake.add("things", [{"k": f"K-{n:06d}", "v": 10 * n} for n in keys], "delta")
    after, lake.tables["things"] = lake.tables["things"], before
    return after  # type: ignore[no-any-return]


def fold(lake: Any, source: str = COMPACTION + "1") -> Table:
    """The table with the rows that it has now in one base file, as compaction leaves it."""
    before = lake.tables["things"]
    rows = {f"K-{n:06d}": n for n in range(ROWS)} | {"K-000007": 70}
    lake.add("things", [{"k": key, "v": value} for key, value in rows.items()])
    base = replace(lake.tables["things"].files[-1], source=source)
    step = Former(before.version, "", 1, ("k",), (base.key,), before.files)
    lake.tables["things"] = before
    return replace(before, version=before.version + 1, files=(base,), former=(step,))


def total(source: LakeTable) -> list[dict[str, Any]]:
    with Session().frame("SELECT count(*) AS n, sum(v) AS s FROM things", {}, [source]) as frame:
        return list(frame.to_arrow_table().to_pylist())


def test_a_change_is_held_before_it_is_seen(lake: Any, cache: HotCache, ahead: HotAhead, opening: Opening, first: Table) -> None:
    after = change(lake, 7)
    ahead.prepare([after])()
    assert [(table.name, table.version) for table in opening.told] == [("things", after.version)]
    assert total(opening.told[0]) == [{"n": ROWS, "s": sum(range(ROWS)) + 63}]
    assert [one.version for one in cache.held()] == [after.version]
    # what is seen still is read as it was, and is no reason to go back to it
    assert total(resolved(lake, cache)) == [{"n": ROWS, "s": sum(range(ROWS))}]
    assert [one.version for one in cache.held()] == [after.version]
    lake.tables["things"] = after
    seen = resolved(lake, cache)
    assert (seen.hot, total(seen)) == (opening.told[0].hot, total(opening.told[0]))
    assert not (lake.views / view_name(after)).exists()


def test_the_snapshot_before_goes_with_the_one_after_next(lake: Any, cache: HotCache, ahead: HotAhead, first: Table) -> None:
    folder = Path(str(resolved(lake, cache).hot)).parent
    names = [view_name(first)]
    for number in range(3):
        after = change(lake, number)
        ahead.prepare([after])()
        lake.tables["things"] = after
        names.append(view_name(after))
    assert [document(folder, name).exists() for name in names] == [False, False, True, True]


def test_what_does_not_become_a_version_does_no_harm(lake: Any, cache: HotCache, ahead: HotAhead, first: Table) -> None:
    never = change(lake, 7)
    ahead.prepare([never])()
    after = change(lake, 8)
    ahead.prepare([after])()
    lake.tables["things"] = after
    seen = resolved(lake, cache)  # what never was has files that this one has not, so it is not gone on from
    assert (seen.hot, total(seen)) == (None, [{"n": ROWS, "s": sum(range(ROWS)) + 72}])


def test_many_rows_and_other_columns_wait_until_they_are_seen(
    lake: Any, cache: HotCache, ahead: HotAhead, opening: Opening, first: Table
) -> None:
    many = change(lake, *range(AHEAD_ROWS + 1))
    few = change(lake, 7)
    schema = few.schemas[-1]
    other = replace(few, schemas=(replace(schema, columns=(*schema.columns[:1], replace(schema.columns[1], name="w"))),))
    ahead.prepare([many, other])()
    assert opening.told == []
    assert [one.version for one in cache.held()] == [first.version]


def test_what_would_hold_up_commits_waits_until_it_is_seen(
    lake: Any, cache: HotCache, ahead: HotAhead, opening: Opening, first: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hot_cache, "AHEAD_SEARCHED", ROWS - 1)
    ahead.prepare([change(lake, 7)])()
    assert opening.told == []
    lake.add("things", [{"k": "L", "v": 1}], "delta")  # in no range of what is held
    ahead.prepare([lake.tables["things"]])()
    assert len(opening.told) == 1
    monkeypatch.setattr(hot_ahead, "MOST_TABLES", 0)
    ahead.prepare([change(lake, 0)])()
    assert len(opening.told) == 1


def test_folded_deltas_leave_the_rows_where_they_are(lake: Any, cache: HotCache, ahead: HotAhead, first: Table) -> None:
    changed = change(lake, 7)
    ahead.prepare([changed])()
    lake.tables["things"] = changed
    before = Snapshot.read(Path(str(resolved(lake, cache).hot)))
    lake.tables["things"] = folded = fold(lake)
    ahead.prepare([folded])()
    seen = resolved(lake, cache)
    assert Snapshot.read(Path(str(seen.hot))) == replace(before, covers=tuple((file.key, file.sequence) for file in folded.files))
    assert total(seen) == [{"n": ROWS, "s": sum(range(ROWS)) + 63}]
    # and changes go on from there
    after = change(lake, 8)
    ahead.prepare([after])()
    lake.tables["things"] = after
    assert total(resolved(lake, cache)) == [{"n": ROWS, "s": sum(range(ROWS)) + 63 + 72}]


@pytest.mark.parametrize("how", ["of files", "of another version", "of the same file"])
def test_a_base_that_is_no_fold_of_what_is_held_is_held_anew(lake: Any, cache: HotCache, ahead: HotAhead, first: Table, how: str) -> None:
    changed = change(lake, 7)
    if how != "of another version":
        ahead.prepare([changed])()
    lake.tables["things"] = changed
    folded = fold(lake, "digest" if how == "of files" else COMPACTION + "1")
    if how == "of the same file":
        step = replace(folded.former[0], removed=(*folded.former[0].removed, folded.files[0]))
        folded = replace(folded, former=(step,))
    ahead.prepare([folded])()
    lake.tables["things"] = folded
    assert resolved(lake, cache).hot is None
    assert cache.build() is not None


def test_a_file_that_is_gone_is_told_by_whoever_reads_it(lake: Any, cache: HotCache, opening: Opening, first: Table) -> None:
    class Gone:
        def find(self, ref: Any) -> Any:
            raise ObjectMissing(ref.bucket, ref.key)

        def again(self, failure: Any) -> None:
            raise AssertionError

    after = change(lake, 7)
    HotAhead(cache, Gone(), opening).prepare([after])()
    assert opening.told == []
    lake.tables["things"] = after
    assert total(resolved(lake, cache)) == [{"n": ROWS, "s": sum(range(ROWS)) + 63}]


def test_a_damaged_snapshot_is_not_gone_on_from(lake: Any, cache: HotCache, opening: Opening, ahead: HotAhead, first: Table) -> None:
    document(Path(str(resolved(lake, cache).hot)).parent, view_name(first)).write_bytes(b"{")
    after = change(lake, 7)
    ahead.prepare([after])()
    assert (opening.told, cache.held()) == ([], ())
    lake.tables["things"] = after
    assert total(resolved(lake, cache)) == [{"n": ROWS, "s": sum(range(ROWS)) + 63}]


def test_a_folder_that_is_removed_is_made_again(lake: Any, cache: HotCache, opening: Opening, ahead: HotAhead, first: Table) -> None:
    shutil.rmtree(Path(str(resolved(lake, cache).hot)).parent)
    lake.tables["things"] = after = change(lake, 7)
    ahead.prepare([after])()
    assert (opening.told, cache.held()) == ([], ())
    assert total(resolved(lake, cache)) == [{"n": ROWS, "s": sum(range(ROWS)) + 63}]
    held_whole(lake, cache)
    seen = resolved(lake, cache)
    assert (seen.hot is not None, total(seen)) == (True, [{"n": ROWS, "s": sum(range(ROWS)) + 63}])


def test_what_cannot_be_removed_holds_up_no_commit(lake: Any, cache: HotCache, opening: Opening, ahead: HotAhead, first: Table) -> None:
    (place,) = {Path(str(resolved(lake, cache).hot)).parent}
    (place / "foreign").mkdir()
    after = change(lake, 7)
    ahead.prepare([after])()
    assert total(opening.told[0]) == [{"n": ROWS, "s": sum(range(ROWS)) + 63}]


def test_a_snapshot_that_is_gone_is_no_empty_table(lake: Any, cache: HotCache, opening: Opening, ahead: HotAhead, first: Table) -> None:
    ahead.prepare([change(lake, 7)])()
    Path(str(opening.told[0].hot)).unlink()
    with pytest.raises(QueryProblem, match="What was held of things is gone"):
        Session().merge(opening.told[0])


def test_nobody_is_waited_for_longer_than_a_moment(lake: Any, cache: HotCache, first: Table) -> None:
    after = change(lake, 7)
    ahead = HotAhead(cache, lake.reader, lambda tables: Future())
    ahead.prepare([after])()
    cancelled: Future[None] = Future()
    cancelled.cancel()
    again = change(lake, 8)
    HotAhead(cache, lake.reader, lambda tables: cancelled).prepare([again])()


def test_what_is_brought_up_to_date_is_not_made_anew_beside(lake: Any, cache: HotCache, first: Table) -> None:
    lake.tables["things"] = change(lake, 7)
    source = resolved(lake, cache)
    assert (source.hot, cache.build()) == (None, None)
    task = cache.refresh(source)
    assert task is not None
    cache.failed(task)
    resolved(lake, cache)
    assert cache.build() is not None


@pytest.mark.anyio
async def test_workers_open_it_before_a_query_asks_and_read_parquet_once_it_is_gone(
    lake: Any, cache: HotCache, pool: WorkerPool, first: Table
) -> None:
    tables = CatalogTables(lake, lake.reader, lake, lake.views, hot=cache)
    service = QueryService(tables, pool, Limits(seconds=20, memory=400 * MIB), hot=cache)
    loop, sql = asyncio.get_running_loop(), "SELECT sum(v) AS s FROM things"
    assert (await service.run(QueryRequest(sql))).rows() == [{"s": sum(range(ROWS))}]

    def opening(held: Sequence[LakeTable]) -> Future[None]:
        return asyncio.run_coroutine_threadsafe(service.expect(held), loop)

    ahead = HotAhead(cache, lake.reader, opening)
    for number in range(1, 4):
        after = change(lake, number)
        await asyncio.to_thread(lambda table: ahead.prepare([table])(), after)
        lake.tables["things"] = after
    assert (await service.run(QueryRequest(sql))).rows() == [{"s": sum(range(ROWS)) + 9 * 6}]
    after = change(lake, 4)
    await asyncio.to_thread(lambda table: ahead.prepare([table]), after)
    lake.tables["things"] = after
    source = tables.resolve(TableName("things"))
    assert isinstance(source, LakeTable)
    for path in Path(str(source.hot)).parent.iterdir():
        path.unlink()
    fresh = WorkerPool(lake.root / "spill")  # one that has nothing open
    try:
        asked = QueryService(Remembering(tables, source), fresh, Limits(seconds=20, memory=400 * MIB), hot=cache)
        assert (await asked.run(QueryRequest(sql))).rows() == [{"s": sum(range(ROWS)) + 9 * 10}]
    finally:
        await fresh.close()


class Remembering:
    """Plays the moment in which a snapshot goes after it was chosen: the first answer is an old one."""

    def __init__(self, tables: CatalogTables, source: LakeTable) -> None:
        self._tables = tables
        self._source = source

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tables, name)

    def resolve(self, name: TableName, *args: Any, fresh: bool = False, **more: Any) -> Any:
        return self._tables.resolve(name, *args, fresh=fresh, **more) if fresh else self._source


def test_a_snapshot_that_is_made_again_in_another_way_is_not_read_by_what_is_mapped(
    lake: Any, cache: HotCache, ahead: HotAhead, first: Table
) -> None:
    after = first
    for number in (7, 8):
        after = change(lake, number)
        ahead.prepare([after])()
        lake.tables["things"] = after
    session = Session()
    wanted = [{"n": ROWS, "s": sum(range(ROWS)) + 9 * 15}]
    source = resolved(lake, cache)
    for _ in range(2):
        with session.frame("SELECT count(*) AS n, sum(v) AS s FROM things", {}, [source]) as frame:
            assert frame.to_arrow_table().to_pylist() == wanted
        for path in Path(str(source.hot)).parent.iterdir():
            path.unlink()
        again = HotCache(Path(str(source.hot)).parent, 1 << 30, lambda dataset: True)
        task = held_whole(lake, again)
        assert document(Path(task.folder), task.name) == Path(str(source.hot))
        other = LakeTable("others", 1, source.columns, source.primary_key, hot=source.hot)
        session._tables.clear()  # as when many others were opened since
        with session.frame("SELECT count(*) AS n, sum(v) AS s FROM others", {}, [other]) as frame:
            assert frame.to_arrow_table().to_pylist() == wanted


def held_whole(lake: Any, cache: HotCache) -> HotTask:
    """Made of the files alone."""
    found = resolved(lake, cache)
    Session().merge(found)
    chosen = cache.build()
    assert chosen is not None
    build(chosen[0])
    cache.done(chosen[0])
    return chosen[0]
