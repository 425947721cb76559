"""Rows that no second read finds as they were: judged as they come, kept as texts, and judged again from these."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engines.files import quarantine, set_aside
from engines.files.contract import Bounds, Terms
from engines.files.extract import Extract, ExtractTask, extract
from engines.files.ingest_task import IngestTask
from engines.files.kept_rows import Rows
from engines.files.quarantine import SCHEMA, Spool, Violation
from engines.files.set_aside import SetAside, row_text
from engines.files.source import ColumnPlan, Misfit
from engines.files.types import arrow_type
from state.catalog.tables import Origin
from state.local_store import LocalStore
from state.places import BucketConfig

VALUES: dict[str, list[Any]] = {
    "string": ["", "07", 'ä\n"', None],
    "int64": [0, -(2**63), 2**63 - 1, None],
    "float64": [0.1, float("nan"), float("-inf"), None],
    "bool": [True, False, True, None],
    "date": [date(1, 1, 1), date(9999, 12, 31), date(2024, 2, 29), None],
    "timestamp": [datetime(2024, 1, 1, 0, 0, 0, 1), datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59), None],  # noqa: DTZ001
    "decimal(38,2)": [Decimal("1.50"), Decimal("-" + "9" * 36 + ".99"), Decimal("0.00"), None],
    "binary": [b"", b"\x00\xff", b"abc", None],
    "list<int64>": [[], [1, None], [2**62], None],
    "list<timestamp>": [[], [datetime(2024, 1, 1)], [None], None],  # noqa: DTZ001
}


def batch_of(values: Mapping[str, Sequence[Any]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(column, arrow_type(kind)) for kind, column in values.items()], names=list(values))


def ledger(path: Path, *rows: tuple[int | None, str, str, str]) -> Path:
    """line, rule, reason, text."""
    same = {"dataset": "runs", "source": "postgres:runs", "at": datetime.now(UTC).replace(tzinfo=None)}
    found = [{**same, "line": line, "rule": rule, "reason": reason, "text": text} for line, rule, reason, text in rows]
    pq.write_table(pa.Table.from_pylist(found, SCHEMA), path)
    return path


class TestTexts:
    def test_every_type_comes_back_as_it_was(self, tmp_path: Path) -> None:
        batch = batch_of(VALUES)
        path = ledger(tmp_path / "l.parquet", *((row + 1, "r", "w", row_text(batch, row, {})) for row in range(4)))
        reading = SetAside([path])
        (back,) = reading.batches({kind: ColumnPlan(kind, kind, "table") for kind in VALUES})
        assert reading.lines == [1, 2, 3, 4]
        assert [row_text(back, row, {}) for row in range(4)] == [row_text(batch, row, {}) for row in range(4)]
        assert back.schema == batch.schema
        whole = [name for name in VALUES if name != "float64"]
        assert back.select(whole) == batch.select(whole), "but that NaN equals nothing"

    @pytest.mark.parametrize(
        ("kind", "value"),
        [
            ("int64", "abc"), ("int64", 1.5), ("int64", True), ("int64", 2**63), ("float64", "1"), ("bool", "t"), ("date", "infinity"),
            ("timestamp", "10000-01-01"), ("decimal(10,2)", "NaN"), ("decimal(10,2)", "1.005"), ("binary", "%"), ("list<int64>", "{1}"),
            ("list<int64>", ["a"]),
        ],
    )  # fmt: skip
    def test_what_was_none_of_its_type_still_is(self, tmp_path: Path, kind: str, value: object) -> None:
        path = ledger(tmp_path / "l.parquet", (1, "r", "w", json.dumps({"id": 1, "x": value})), (2, "r", "w", json.dumps({"id": 2})))
        found: list[tuple[int, object]] = []
        plans = {"id": ColumnPlan("id", "int64", "table"), "x": ColumnPlan("x", kind, "table", lambda row, what: found.append((row, what)))}
        (batch,) = SetAside([path]).batches(plans)
        assert found == [(0, value)]
        assert batch.to_pylist() == [{"id": 1, "x": None}, {"id": 2, "x": None}]
        with pytest.raises(Misfit):
            list(SetAside([path]).batches({"x": ColumnPlan("x", kind, "table")}))

    def test_an_unfit_value_is_kept_as_it_came(self) -> None:
        batch = pa.RecordBatch.from_pydict({"id": [1], "x": pa.array([None], pa.int64())})
        assert row_text(batch, 0, {"x": "abc"}) == '{"id":1,"x":"abc"}'

    def test_sets_of_rows_are_told_apart(self, tmp_path: Path) -> None:
        path = ledger(tmp_path / "l.parquet", (1, "r", "w", "{}"), (2, "r", "w", "{}"), (3, "s", "w", "{}"))
        rows = [("s", "w", "{}"), ("r", "w", "{}"), ("r", "w", "{}")]
        assert SetAside([path]).holds(rows)
        assert not SetAside([path]).holds(rows[1:])
        assert not SetAside([path]).holds([*rows[:2], ("s", "w", "{}")])
        assert not SetAside([path], current=False).holds(rows)
        assert not SetAside([path, path]).holds(rows * 2)

    def test_long_texts_do_not_stay_in_memory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(quarantine, "_HELD_CHARACTERS", 100)
        spool = Spool(LocalStore(tmp_path, "primary"))
        added = [Violation(row, "r", "w", row if row % 2 else None, "x" * 60) for row in range(7)]
        for violation in added:
            spool.add(violation)
        assert list(spool) == added
        assert len(spool._held) == 1
        spool.discard()


class Source:
    """A reading whose rows may be others in each pass."""

    def __init__(self, *passes: Sequence[Mapping[str, Any]]) -> None:
        self.passes = list(passes)

    def guesses(self) -> Mapping[str, tuple[str, str]]:
        return {name: ("int64" if name != "who" else "string", "it says so") for name in self.passes[0][0]}

    def batches(self, plans: Mapping[str, ColumnPlan]) -> Iterator[pa.RecordBatch]:
        rows = self.passes.pop(0) if len(self.passes) > 1 else self.passes[0]
        schema = pa.schema([(name, arrow_type(plan.type)) for name, plan in plans.items()])
        for row in rows:
            yield pa.RecordBatch.from_pylist([dict(row)], schema)

    def line_of(self, row: int) -> int | None:
        return None

    def progress(self) -> int:
        return 0

    def notes(self) -> tuple[str, ...]:
        return ()


class Cursor:
    """An `Overlap`: rows of which something holds are in the table."""

    column = "n"

    def __init__(self, known: Callable[[Mapping[str, Any]], bool] = lambda _: False) -> None:
        self.is_known = known

    def known(self, batch: pa.RecordBatch) -> Rows:
        return np.array([at for at, row in enumerate(batch.to_pylist()) if self.is_known(row)], np.int64)


class Reads:
    """Reads into a bucket below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, source: Source, contract: Terms, overlap: Cursor | None = None, *aside: Path, **more: Any) -> Extract:
        target = BucketConfig("primary", "local", str(self.folder))
        rows = IngestTask("runs", "", "postgres:runs#t", "t", "rows", target, "datasets/runs", "x", contract=contract, **more)
        task = ExtractTask(rows, source="postgres:runs", aside=tuple(map(str, aside)))
        assert ExtractTask.from_dict(json.loads(json.dumps(task.to_dict()))) == task
        made = extract(task, source, Origin, lambda done, total: None, overlap)
        assert Extract.from_dict(json.loads(json.dumps(made.to_dict()))) == made
        assert made.rows.refused == {}
        return made

    def rows(self, made: Extract) -> list[tuple[Any, ...]]:
        parts = [part for parts in made.rows.files.values() for part in parts]
        found = [row for part in parts for row in pq.read_table(self.folder / part.key, partitioning=None).to_pylist()]
        return [tuple(value for name, value in row.items() if not name.startswith("_")) for row in found]

    def aside(self, made: Extract) -> list[tuple[Any, ...]]:
        ledgers = [one for one in made.rows.ledgers if one.kind == "quarantine"]
        rows = [row for one in ledgers for row in pq.read_table(self.folder / one.ref.key, partitioning=None).to_pylist()]
        assert {row["source"] for row in rows} <= {"postgres:runs"}
        return [(row["line"], row["rule"], *json.loads(row["text"]).values()) for row in rows]


@pytest.fixture
def reads(tmp_path: Path) -> Reads:
    return Reads(tmp_path)


def pairs(*rows: tuple[int, str | None]) -> list[dict[str, Any]]:
    return [{"n": number, "who": who} for number, who in rows]


REQUIRED = Terms(required=("who",))
KEPT = (7, "required: who", "`who` is empty", '{"n":1,"who":null}')


class TestReads:
    def test_a_source_that_changes_between_passes_is_unique_all_the_same(self, reads: Reads) -> None:
        """What repeats is known after a pass, and other values may repeat in the next."""
        first, then = pairs((1, "a"), (1, "b"), (2, "c")), pairs((1, "a"), (1, "b"), (2, "c"), (2, "d"))
        made = reads.read(Source(first, then), Terms(unique=(("n",),)))
        assert reads.rows(made) == [(1, "a"), (2, "c")]
        assert reads.aside(made) == [(2, "unique: n", 1, "b"), (4, "unique: n", 2, "d")]

    def test_what_was_set_aside_before_the_read_is_judged_again(self, reads: Reads, tmp_path: Path) -> None:
        kept = ledger(
            tmp_path / "l.parquet", KEPT, (8, "range: n", "", '{"n":2,"who":"b"}'), (9, "required: who", "", '{"n":5,"who":null}')
        )
        made = reads.read(Source(pairs((5, "now"), (6, None))), REQUIRED, Cursor(), kept)
        assert reads.rows(made) == [(5, "now"), (2, "b")]
        assert reads.aside(made) == [(2, "required: who", 6, None), (7, "required: who", 1, None)]
        assert made.rows.violations[0].startswith("postgres:runs: 2 of 4 rows are in quarantine")
        assert not made.keeps

    def test_what_is_the_same_is_not_written_again(self, reads: Reads, tmp_path: Path) -> None:
        kept = ledger(tmp_path / "l.parquet", KEPT)
        made = reads.read(Source(pairs((5, "a"))), REQUIRED, Cursor(), kept)
        assert (made.keeps, reads.aside(made), made.rows.violations) == (True, [], ())
        again = reads.read(Source(pairs((1, None))), REQUIRED, Cursor(), kept)
        assert again.keeps, "also where it was read again"
        assert not reads.read(Source(pairs((1, "a"))), REQUIRED, Cursor(), kept).keeps

    def test_rows_that_the_table_has_are_no_reason_against_themselves(self, reads: Reads) -> None:
        contract = Terms(unique=(("n",),), ranges={"n": Bounds(least=2)})
        made = reads.read(Source(pairs((1, "known"), (2, "known"), (2, "new"))), contract, Cursor(lambda row: row["who"] == "known"))
        assert (reads.rows(made), reads.aside(made)) == ([(2, "new")], [])

    def test_a_key_that_is_read_overtakes(self, reads: Reads, tmp_path: Path) -> None:
        contract = Terms(required=("who",))
        texts = [
            (1, "r", "", '{"id":1,"n":1,"who":"late"}'),
            (2, "r", "", '{"id":2,"n":2,"who":"fits"}'),
            (3, "r", "", '{"id":null,"n":3,"who":"x"}'),
        ]
        kept = ledger(tmp_path / "l.parquet", *texts)
        rows = [{"id": 1, "n": 9, "who": "new"}, {"id": None, "n": 9, "who": "y"}]
        made = reads.read(Source(rows), contract, Cursor(), kept, primary_key=("id",), write="upsert")
        assert sorted(reads.rows(made)) == [(1, 9, "new"), (2, 2, "fits")]
        assert reads.aside(made) == [(2, "required: id", None, 9, "y"), (3, "required: id", None, 3, "x")]

    def test_many_of_them(self, reads: Reads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(set_aside, "BATCH_ROWS", 3)
        kept = ledger(tmp_path / "l.parquet", *((n, "r", "w", json.dumps({"n": n, "who": None if n % 2 else "a"})) for n in range(10)))
        made = reads.read(Source(pairs((50, None))), REQUIRED, Cursor(), kept)
        assert [row[0] for row in reads.rows(made)] == [0, 2, 4, 6, 8]
        assert [(line, n) for line, _, n, _ in reads.aside(made)] == [(1, 50), (1, 1), (3, 3), (5, 5), (7, 7), (9, 9)]

    def test_a_cursor_that_is_none_stops_the_read(self, reads: Reads, tmp_path: Path) -> None:
        """Since nobody could say whether a later read brings the row again."""
        kept = ledger(tmp_path / "l.parquet", (1, "r", "", '{"n":"x","who":"a"}'))
        with pytest.raises(AssertionError, match="`x` is no int64"):
            reads.read(Source(pairs((5, "a"))), REQUIRED, Cursor(), kept)
