"""`system.*`: complete columns, each event once, rewritten only when something changed, safe to map while it moves on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.catalog.data_files import ColumnStats, DataFile
from state.catalog.entry import BucketOpened, Cause, Change, Entry, Managed, Suspended, TableCommit
from state.catalog.fold import ObjectState, fold
from state.catalog.index_changes import BuildAdded, CorpusAdded, Served
from state.catalog.indexes import Build, Corpus, ServingManifest
from state.catalog.log import Unreadable
from state.catalog.schemas import Column, Schema
from state.catalog.tables import Binding, Refusal
from state.descriptions import describe
from state.errors import StateError
from state.local_store import LocalStore
from state.objects import ObjectRef
from state.profiles import ColumnProfile, TableProfile
from state.status import Condition, Status
from state.status_book import StatusBook
from state.streams.arrow import arrow_schema, from_lines
from state.streams.catalog_tables import CATALOG_TABLES
from state.streams.ids import Ulids
from state.streams.schemas import STREAMS, columns
from state.streams.stream import Streams
from state.streams.tables import COLUMNS, GRACE_SECONDS, SystemTables

ROOT = Path(__file__).parents[2]
REF = ObjectRef("lake", "datasets/team-runs/aa-0000.parquet", 10, "f" * 64)
CHANGES: tuple[Change, ...] = (
    BucketOpened("Bucket/lake", {"backend": "local", "path": "lake", "prefix": ""}, True),
    Managed("Dataset/team-runs", "d1", "retain"),
    TableCommit(
        "Dataset/team-runs",
        "t1",
        "lake",
        ("id",),
        "upsert",
        Schema(1, (Column(1, "id", "int64"), Column(2, "salary", "int64"))),
        (DataFile(REF, "base", 1, 3, "c1", 0, 1, (1,), (3,), {"salary": ColumnStats(999, 99999, 1)}),),
        (),
        (Binding("data/a.csv", "c1", 5, 0), Binding("data/copy.csv", "c1", 5, 0, False)),
        (),
        (Refusal("data/bad.csv", "c2", 7, "ragged row", "t1"),),
    ),
    Suspended("Dataset/team-runs", "ana", "audit", None),
    CorpusAdded("Index/resumes", Corpus("k1", REF, 3, 4, "s1", 1, "wl", 256)),
    BuildAdded("Index/resumes", Build("b1", "g1", "hnsw", {"m": 16}, "k1", {"index": REF}, 4, 256, 1.5)),
    Served("Index/resumes", ServingManifest("b1", "g1", {"efSearch": 64})),
)


class Catalog:
    """A catalog and its log, in memory."""

    def __init__(self) -> None:
        self.log: list[Entry | Unreadable] = []
        self.states: dict[str, ObjectState] = {}

    @property
    def seq(self) -> int:
        return len(self.log)

    def objects(self, kind: str | None = None) -> Mapping[str, ObjectState]:
        return {name: state for name, state in sorted(self.states.items()) if kind is None or name.startswith(f"{kind}/")}

    def readable(self, after: int = 0) -> Iterator[Entry | Unreadable]:
        yield from self.log[after:]

    def commit(self, *changes: Change, causes: tuple[Cause, ...] = ()) -> None:
        self.states |= fold(self.states.get, changes)
        at = "2026-03-01T00:00:00.000Z"
        self.log.append(Entry(self.seq + 1, "w", 1, at, "daemon", "SpecChanged", "r1", changes, causes))


DESCRIBE = partial(describe, profile=TableProfile({"salary": ColumnProfile(3, 1, 2)}, complete=True))


class World:
    def __init__(self, folder: Path) -> None:
        self.now = datetime(2026, 3, 30, 12, tzinfo=UTC)
        self.store = LocalStore(folder / "lake", "lake")
        self.folder = folder
        self.cache = folder / "cache"
        self.seed = 0
        self.streams = self.process()
        self.book = StatusBook.load(self.streams, self.clock)
        self.catalog = Catalog()
        self.tables = SystemTables(self.streams, self.catalog, self.book, DESCRIBE, self.cache)

    def clock(self) -> datetime:
        return self.now

    def process(self) -> Streams:
        self.seed += 1
        return Streams(self.store, self.folder / "wal", self.clock, Ulids(self.clock, Random(self.seed).randbytes))

    def rows(self, name: str) -> list[dict[str, object]]:
        table = self.tables.table(name)
        assert table is not None
        table.validate(full=True)
        return table.to_pylist()

    def path(self, name: str) -> Path:
        path = self.tables.path(name)
        assert path is not None
        return path


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_every_table_of_the_design_is_there_and_empty_with_its_columns(world: World) -> None:
    expected = {
        "status",
        "status_history",
        "events",
        "trials",
        "errors",
        "audit",
        "tool_calls",
        "jobs",
        "requests",
    }
    expected |= {"datasets", "files", "columns", "indexes", "builds", "objects", "catalog", "buckets", "streams"}
    assert expected <= set(world.tables.names())
    for name in world.tables.names():
        table = world.tables.table(name)
        assert table is not None
        assert table.num_rows == (len(STREAMS) if name == "streams" else 0)
        assert table.num_columns >= 5
        assert table.schema == arrow_schema(COLUMNS[name])
        if name in STREAMS and name != "status":
            assert table.schema == arrow_schema(STREAMS[name].columns)
        if name in CATALOG_TABLES:
            assert table.schema == arrow_schema(CATALOG_TABLES[name].columns)
    assert world.tables.path("nope") is None
    assert world.tables.table("nope") is None


def test_rows_of_a_stream_wherever_they_lie(world: World) -> None:
    world.streams.append("events", {"object": "Dataset/a", "type": "Normal", "detail": {"rows": 3}})
    world.streams.flush()
    world.process().append("events", {"object": "Dataset/b", "type": "Warning"})
    first, second = world.rows("events")
    assert (first["object"], first["detail"], first["at"]) == ("Dataset/a", '{"rows":3}', world.now)
    assert (second["object"], second["detail"]) == ("Dataset/b", None)


def test_an_unchanged_table_is_not_written_again(world: World) -> None:
    world.streams.append("events", {"message": "one"})
    world.catalog.commit(*CHANGES)
    paths = {name: world.path(name) for name in world.tables.names()}
    inodes = {name: path.stat().st_ino for name, path in paths.items()}
    assert {name: world.path(name).stat().st_ino for name in paths} == inodes
    world.streams.flush()  # moves events, changes none
    world.streams.append("audit", {"reader": "r"})
    changed = {name for name in paths if world.path(name) != paths[name]}
    assert changed == {"audit", "streams"}


def test_a_grown_stream_parses_the_new_segments_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[str] = []
    real = world.store.get
    monkeypatch.setattr(world.store, "get", lambda key: got.append(key) or real(key))
    for number in range(200):
        world.streams.append("events", {"message": str(number)})
        if number % 2 == 0:
            world.streams.flush()
        if number % 5 == 0:
            assert [row["message"] for row in world.rows("events")] == [str(n) for n in range(number + 1)]
    assert len(got) == len(set(got))
    table = world.tables.table("events")
    assert table is not None
    assert table.column(0).num_chunks < 100


def test_an_event_under_two_names_is_one_row(world: World) -> None:
    id_ = world.streams.append("requests", {"request": "r"})
    world.streams.flush()
    other = world.process()
    other.append("requests", {"id": id_, "request": "r"})
    assert len(world.rows("requests")) == 1
    other.flush()
    assert len(world.rows("requests")) == 1
    world.streams.append("requests", {"id": id_, "request": "r"})
    world.streams.append("requests", {"request": "s"})
    assert [row["request"] for row in world.rows("requests")] == ["r", "s"]


def test_status_is_the_newest_of_each_object_and_status_history_all(world: World) -> None:
    condition = Condition("Ready", "True", "Succeeded")
    for message in ("one", "two"):
        world.book.put(Status("Dataset/a", "True", "Succeeded", message, "r1", "r1", None, "d", (condition,), {"rows": 3}))
    world.book.put(Status("Index/i", "False", "Building"))
    world.book.remove("Index/i")
    (row,) = world.rows("status")
    assert (row["kind"], row["name"], row["ready"], row["message"], row["detail"]) == ("Dataset", "a", "True", "two", '{"rows":3}')
    assert orjson.loads(str(row["conditions"]))[0]["type"] == "Ready"
    assert "removed" not in row
    assert [(row["object"], row["removed"]) for row in world.rows("status_history")][-2:] == [("Index/i", None), ("Index/i", True)]


def test_the_catalog_as_tables(world: World) -> None:
    world.catalog.commit(*CHANGES)
    (dataset,) = world.rows("datasets")
    assert dataset["dataset"] == "team-runs"
    assert dataset["table_name"] == "team_runs"
    assert (dataset["merged"], world.rows("versions")[0]["merged"]) == (True, True)
    assert (dataset["rows"], dataset["files"], dataset["bytes"], dataset["columns"]) == (3, 1, 10, 2)
    assert (dataset["sources"], dataset["refused"], dataset["primary_key"]) == (1, 1, '["id"]')
    (file,) = world.rows("files")
    assert file["paths"] == '["data/a.csv","data/copy.csv"]'
    assert [(row["name"], row["id"], row["nulls"]) for row in world.rows("columns")] == [("id", 1, None), ("salary", 2, 1)]
    assert [(row["path"], row["line"], row["reason"]) for row in world.rows("refusals")] == [("data/bad.csv", 7, "ragged row")]
    (index,) = world.rows("indexes")
    assert (index["build"], index["generation"], index["count"], index["search"]) == ("b1", "g1", 4, '{"efSearch":64}')
    (build,) = world.rows("builds")
    assert (build["serving"], build["snapshot"], build["bytes"], build["parameters"]) == (True, "s1", 10, '{"m":16}')
    (bucket,) = world.rows("buckets")
    assert (bucket["bucket"], bucket["backend"], bucket["path"], bucket["conditional_put"]) == ("lake", "local", "lake", True)
    objects = {row["object"]: row for row in world.rows("objects")}
    assert set(objects) == {"Bucket/lake", "Dataset/team-runs", "Index/resumes"}
    assert (objects["Dataset/team-runs"]["managed"], objects["Dataset/team-runs"]["suspended_by"]) == (True, "ana")


def test_the_log_is_one_row_a_change_and_grows(world: World) -> None:
    causes = tuple(Cause(f"actor{n}", "because", None) for n in range(len(CHANGES)))
    world.catalog.commit(*CHANGES, causes=causes)
    before = world.path("catalog")
    rows = world.rows("catalog")
    assert [row["actor"] for row in rows] == [cause.actor for cause in causes]
    assert rows[2]["op"] == "table-commit"
    assert rows[0]["at"] == datetime(2026, 3, 1, tzinfo=UTC)
    world.catalog.commit(Managed("Dataset/b", "d2", "delete"))
    assert [(row["seq"], row["actor"]) for row in world.rows("catalog")][-1] == (2, "daemon")
    assert world.path("catalog") != before


def test_an_entry_that_cannot_be_read_is_one_row(world: World) -> None:
    world.catalog.commit(*CHANGES)
    world.catalog.log.append(Unreadable(2, "it is empty."))
    row = world.rows("catalog")[-1]
    assert (row["seq"], row["op"], row["reason"], row["at"]) == (2, "unreadable", "it is empty.", None)


def test_no_table_of_the_catalog_tells_a_value_of_a_row(world: World) -> None:
    world.catalog.commit(*CHANGES, Managed("Dataset/team-runs", "d1", "retain", governed=True))
    for name in (*CATALOG_TABLES, "catalog"):
        text = orjson.dumps(world.rows(name)).decode()
        assert "999" not in text, name
        assert "key_min" not in text, name


def test_of_a_dataset_without_a_policy_the_columns_alone_tell_values(world: World) -> None:
    world.catalog.commit(*CHANGES)
    telling = [name for name in (*CATALOG_TABLES, "catalog") if "999" in orjson.dumps(world.rows(name)).decode()]
    assert telling == ["columns"]


def test_the_extent_of_each_stream(world: World) -> None:
    world.streams.append_many("events", [{"message": "a"}, {"message": "b"}])
    world.streams.flush()
    world.now += timedelta(hours=1)
    world.streams.append("events", {"message": "c"})
    rows = {row["stream"]: row for row in world.rows("streams")}
    found = rows["events"]
    assert (found["events"], found["segments"], found["waiting"]) == (3, 1, 1)
    assert found["last"] == world.now
    assert (rows["audit"]["events"], rows["audit"]["first"]) == (0, None)


def test_a_mapped_file_outlives_its_successors_and_old_ones_go(world: World) -> None:
    world.streams.append("events", {"message": "old"})
    path = world.path("events")
    mapped = world.tables.table("events")
    assert mapped is not None
    world.streams.append("events", {"message": "new"})
    assert world.path("events") != path
    assert path.exists()  # somebody may have been told of it just now
    past = path.stat().st_mtime - GRACE_SECONDS - 1
    os.utime(path, (past, past))
    world.streams.append("events", {"message": "newest"})
    assert len(world.rows("events")) == 3
    assert not path.exists()
    assert mapped.to_pylist()[0]["message"] == "old"
    mapped.validate(full=True)
    assert sorted(found.name.split("-")[0] for found in world.cache.iterdir()) == ["events", "events"]


@pytest.mark.parametrize("damage", [b"", b"ARROW1", None])
def test_a_file_that_a_power_cut_left_is_written_again(world: World, damage: bytes | None) -> None:
    world.streams.append("events", {"message": "one"})
    path = world.path("events")
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    again = SystemTables(world.process(), world.catalog, world.book, DESCRIBE, world.cache)
    table = again.table("events")
    assert table is not None
    assert table.num_rows == 1


def test_a_folder_that_cannot_be_written_is_named(world: World) -> None:
    world.cache.write_text("a file where the folder should be")
    with pytest.raises(StateError, match="cache"):
        world.tables.path("events")


def test_values_that_do_not_fit_their_column_cost_no_row() -> None:
    declared = columns("id n:int64 x:float64 b:bool at:timestamp s j:json")
    lines = [
        b'{"id":"1","n":7,"x":1,"b":true,"at":"2026-01-02T03:04:05.678Z","s":"t","j":"{}"}',
        b'{"id":"2","n":"8","x":"1.5","b":"yes","at":"soon","s":{"a":1},"j":[1]}',
        b'{"id":"3","n":1.5,"x":"x","at":"2026-01-02","more":1}',
        b'{"id":"4","n":12345678901234567890,"at":"2026-01-02T03:04:05+02:00","s":5}',
    ]
    instant = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    midnight, two_hours_before = instant.replace(hour=0, minute=0, second=0, microsecond=0), instant.replace(hour=1, microsecond=0)
    assert from_lines(lines, declared).to_pylist() == [
        {"id": "1", "n": 7, "x": 1.0, "b": True, "at": instant, "s": "t", "j": "{}"},
        {"id": "2", "n": 8, "x": 1.5, "b": None, "at": None, "s": '{"a":1}', "j": "[1]"},
        {"id": "3", "n": 1, "x": None, "b": None, "at": midnight, "s": None, "j": None},
        {"id": "4", "n": None, "x": None, "b": None, "at": two_hours_before, "s": "5", "j": None},
    ]


def test_lines_larger_than_a_block() -> None:
    lines = [orjson.dumps({"id": str(n), "j": "x" * size}) for n, size in enumerate((10, 6 << 20, 10))]
    assert from_lines(lines, columns("id j:json"))["id"].to_pylist() == ["0", "1", "2"]


VALUES = st.fixed_dictionaries(
    {},
    optional={
        "n": st.none() | st.integers(-(2**63), 2**63 - 1),
        "x": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "b": st.none() | st.booleans(),
        "s": st.none() | st.text(),
    },
)


@given(events=st.lists(VALUES, max_size=20))
def test_what_fits_comes_back_as_it_was(events: list[dict[str, object]]) -> None:
    declared = columns("s n:int64 x:float64 b:bool")
    expected = [{column.name: event.get(column.name) for column in declared} for event in events]
    assert from_lines([orjson.dumps(event) for event in events], declared).to_pylist() == expected


def test_importing_streams_and_status_stays_cheap() -> None:
    code = "import sys, state.streams.stream, state.status; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert not {"pyarrow", "numpy", "pydantic", "obstore", "ulid", "asyncio"} & set(run.stdout.split())


def test_the_files_are_arrow_ipc(world: World) -> None:
    world.streams.append("errors", {"bucket": "lake", "duration_ms": 1.5})
    with pa.memory_map(str(world.path("errors"))) as source:
        assert pa.ipc.open_file(source).read_all()["duration_ms"].to_pylist() == [1.5]
