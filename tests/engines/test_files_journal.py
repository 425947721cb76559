"""The journal of an upsert is the difference between two versions, whatever the rows are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines.files import journalling
from engines.files.batch import Batch, BatchResult, ingest_batch
from engines.files.journal import Cause, as_text, differ
from engines.files.journalling import JournalTask
from engines.sql import changes
from engines.sql.source import LakeTable
from engines.sql.views import make_view
from state.buckets import Buckets
from state.catalog.tables import Table
from state.reader import ObjectReader

Rows = Mapping[int, Mapping[str, str | None]]
NAMES = ("a", "b")


class Kept:
    """A keyed table that files are upserted into, as its controller does."""

    def __init__(self, lake: Any) -> None:
        buckets = Buckets()
        buckets.attach(lake.config)
        self.lake, self.reader = lake, ObjectReader(buckets, lake.root / "cache", 1 << 20)
        self.table = Table("things", 0, "primary", ("id",), "upsert", "t1")
        self.result = BatchResult()

    @property
    def view(self) -> LakeTable:
        return make_view(self.table, self.lake.root / "views", self.reader, "things").table

    def bring(self, *contents: str, **more: Any) -> list[dict[str, Any]]:
        """Upserts these files in one step; what the journal says of it."""
        table, number = self.table, len(self.table.files)
        known = {"schema": table.schema, "next_column_id": table.next_column_id, "next_schema_id": table.next_schema_id}
        tasks = tuple(
            replace(
                self.lake.task(f"{number}-{n}.csv", content, primary_key=("id",), write="upsert", **(known if table.files else {}), **more),
                sequence=table.next_sequence + n,
            )
            for n, content in enumerate(contents)
        )
        cause = Cause("things", table.version + 1, "me", "why", "rev")
        batch = Batch(tasks, JournalTask(cause, self.lake.config, "datasets/things", self.view if table.files else None))
        assert Batch.from_dict(batch.to_dict()) == batch
        self.result = found = ingest_batch(batch, None, self.lake.store)
        assert not found.refused
        assert found.schema is not None
        parts = [replace(part, role="delta" if table.files else part.role) for of in found.files.values() for part in of]
        self.table = replace(table, version=table.version + 1, schemas=(found.schema,), files=(*table.files, *parts))
        told: list[dict[str, Any]] = []
        for noted in (noted for noted in found.ledgers if noted.kind == "journal"):
            told += pq.read_table(self.reader.path(noted.ref), partitioning=None).to_pylist()
            assert len(told) == noted.rows
        return told


def csv(rows: Rows, deleted: frozenset[int] = frozenset()) -> str:
    lines = [f"{key},{row['a'] or ''},{row['b'] or ''},{'true' if key in deleted else ''}" for key, row in rows.items()]
    return "\n".join(["id,a,b,gone", *lines]) + "\n"


def expected(before: Rows, after: Rows) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for key in sorted({*before, *after}, key=str):
        old: Mapping[str, Any] = {"id": str(key), **before[key]} if key in before else {}
        new: Mapping[str, Any] = {"id": str(key), **after[key]} if key in after else {}
        op = "update" if old and new else "insert" if new else "delete"
        found += [(str(key), name, old.get(name), new.get(name), op) for name in ("id", *NAMES) if old.get(name) != new.get(name)]
    return found


values = st.sampled_from(["x", "y", None])
row = st.fixed_dictionaries(dict.fromkeys(NAMES, values))
some_rows = st.dictionaries(st.integers(1, 12), row, max_size=8)
files = st.tuples(some_rows, st.frozensets(st.integers(1, 12)))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=some_rows, steps=st.lists(st.lists(files, min_size=1, max_size=2), max_size=2))
def test_it_tells_what_changed(lake: Any, tmp_path_factory: Any, first: Any, steps: Any) -> None:
    kept = Kept(type(lake)(tmp_path_factory.mktemp("lake")))
    state: dict[int, Any] = {100: {"a": "z", "b": "z"}, **first}
    columns = {"overrides": {"id": "int64", "a": "string", "b": "string"}, "tombstone": "gone"}
    (load,) = kept.bring(csv(state), **columns)
    assert (load["op"], load["new"], load["source"], load["version"]) == ("load", str(len(state)), "0-0.csv", 1)
    for step in steps:
        before = dict(state)
        for rows, deleted in step:
            state |= {key: value for key, value in rows.items() if key not in deleted}
            for key in deleted & rows.keys():
                state.pop(key, None)
        told = kept.bring(*(csv(rows, deleted) for rows, deleted in step), **columns)
        # a null of a text is an empty cell, which is an empty text
        shown = [(t["entity"], t["field"], t["old"] or None, t["new"] or None, t["op"]) for t in told]
        assert sorted(entry for entry in shown if entry[2] != entry[3]) == sorted(expected(before, state))


def test_chunks_and_several_parts(lake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "CHUNK_ROWS", 7)
    kept = Kept(lake)
    kept.bring("id,v\n" + "".join(f"{n},{n}\n" for n in range(100)))
    told = kept.bring("id,v\n" + "".join(f"{n},{n + (n % 10 == 0)}\n" for n in range(100)))
    assert sorted(int(t["entity"]) for t in told) == list(range(0, 100, 10))
    assert {(t["field"], t["op"], t["source"]) for t in told} == {("v", "update", "1-0.csv")}


def test_many_new_rows_are_a_load(lake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journalling, "MOST_INSERTS", 3)
    kept = Kept(lake)
    kept.bring("id,v\n1,a\n")
    told = kept.bring("id,v\n1,b\n" + "".join(f"{n},a\n" for n in range(2, 6)))
    assert [(t["op"], t["entity"], t["new"]) for t in told] == [("update", "1", "b"), ("load", None, "4")]


def test_new_rows_of_many_files_wait_on_the_disk(lake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journalling, "MOST_INSERTS", 3)
    monkeypatch.setattr(journalling, "HELD_ROWS", 4)
    kept = Kept(lake)
    kept.bring("id,v\n0,a\n")
    contents = ["id,v\n" + "".join(f"{10 * number + n},a\n" for n in range(1, 3 + number % 3)) for number in range(6)]
    told = kept.bring(*contents)
    loads = {t["source"]: t["new"] for t in told if t["op"] == "load"}
    assert loads == {"1-2.csv": "4", "1-5.csv": "4"}
    inserted = [t["entity"] for t in told if t["op"] == "insert" and t["field"] == "v"]
    assert sorted(inserted, key=int) == ["1", "2", "11", "12", "13", "31", "32", "41", "42", "43"]
    assert lake.leftovers() == []


def test_a_column_that_is_new_and_one_that_is_missing(lake: Any) -> None:
    kept = Kept(lake)
    kept.bring("id,a\n1,x\n")
    assert [(t["field"], t["old"], t["new"]) for t in kept.bring("id,b\n1,2.50\n")] == [("a", "x", None), ("b", None, "2.5")]


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (pa.int64(), 7, "7"),
        (pa.float64(), 0.1, "0.1"),
        (pa.float64(), float("nan"), "nan"),
        (pa.bool_(), True, "true"),
        (pa.date32(), date(2026, 1, 31), "2026-01-31"),
        (pa.timestamp("us"), datetime.fromisoformat("2026-01-31T09:00"), "2026-01-31T09:00:00"),
        (pa.timestamp("us"), datetime.fromisoformat("2026-01-31T09:00:00.000005"), "2026-01-31T09:00:00.000005"),
        (pa.decimal128(9, 2), Decimal("1.50"), "1.50"),
        (pa.binary(), b"ab", "YWI="),
        (pa.list_(pa.string()), ["a", "b"], '["a","b"]'),
        (pa.string(), "x", "x"),
    ],
)
def test_values_as_text(kind: pa.DataType, value: Any, text: str) -> None:
    column = pa.array([value, None], kind)
    assert as_text(column).to_pylist() == [text, None]
    assert differ(column, column).to_pylist() == [False, False]
    assert differ(column, column.take(pa.array([1, 0]))).to_pylist() == [True, True]
