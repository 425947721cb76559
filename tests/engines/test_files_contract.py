"""Contracts as one file meets them: every rule, every mode, every format; what is set aside, with line and text."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engines.errors import FileRefused
from engines.files import batch, quarantine, value_sets
from engines.files.batch import Batch
from engines.files.contract import Bounds, Reference, Terms
from engines.files.ingest_task import IngestResult, IngestTask
from engines.files.ledgers import Noted
from engines.files.present_values import PresentValues
from engines.sql.source import Folder, LakeTable


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def quarantined(result: Any) -> tuple[Noted, ...]:
    return tuple(noted for noted in result.ledgers if noted.kind == "quarantine")


def set_aside(lake: Any, result: IngestResult) -> list[tuple[int | None, str, str, str]]:
    """(line, rule, reason, text) of the quarantine."""
    held = quarantined(result)
    found = [row for noted in held for row in pq.read_table(lake.store.path(noted.ref.key), partitioning=None).to_pylist()]
    assert len(found) == sum(noted.rows for noted in held)
    return [(row["line"], row["rule"], row["reason"], row["text"]) for row in found]


def other(lake: Any, name: str, **columns: list[Any]) -> dict[str, Any]:
    """Another dataset, or the table itself, as a job is told of it."""
    folder = lake.root / "views" / name
    folder.mkdir(parents=True)
    table = pa.table(columns)
    pq.write_table(table, folder / "0.parquet")
    kinds = {pa.string(): "string", pa.int64(): "int64", pa.float64(): "float64"}
    return LakeTable(
        name, 1, tuple((field.name, kinds[field.type]) for field in table.schema), base=Folder(str(folder), 1)
    ).to_dict()  # fmt: skip


EVERYTHING = """\
id,who,week,hours,note
T-1,C-1,2024-01-07,40,
T-2,C-2,2024-01-07,200,
T-3,C-9,2024-01-07,30,"two
lines"
T-4,C-1,,38,
T-5,C-1,2024-01-07,abc,

T-6,C-1
T-1,C-2,2024-01-14,12,again
,C-2,2024-01-14,12,
T-7,C-2,2024-01-14,120,
T-8,C-2,2024-01-14,12,"fine, ""really"" so"
T-9,C-9,,-1,
"""


def terms(lake: Any, **more: Any) -> Terms:
    return Terms(
        required=("id", "week"),
        unique=(("id",),),
        ranges={"hours": Bounds(0, 168)},
        checks=("hours < 100 OR note IS NOT NULL",),
        references=(Reference("who", "people", "id", other(lake, "people", id=["C-1", "C-2", None])),),
        **more,
    )


class TestQuarantine:
    def test_every_rule_in_one_file(self, lake):
        result = lake.ingest("t.csv", EVERYTHING, contract=terms(lake), overrides={"hours": "float64"})
        assert [row["id"] for row in lake.rows(result)] == ["T-1", "T-8"]
        assert set_aside(lake, result) == [
            (
                3,
                "range: hours",
                "`hours` is `200.0`, above 168; `hours < 100 OR note IS NOT NULL` does not hold",
                "T-2,C-2,2024-01-07,200,",
            ),
            (4, "reference: who", "`who` is `C-9`, which people.id does not have", 'T-3,C-9,2024-01-07,30,"two\nlines"'),
            (6, "required: week", "`week` is empty", "T-4,C-1,,38,"),
            (7, "type: hours", "`hours`: `abc` is no float64", "T-5,C-1,2024-01-07,abc,"),
            (9, "columns", "the row has 2 cells, the header 5", "T-6,C-1"),
            (10, "unique: id", "`id` is `T-1`, which an earlier row has already", "T-1,C-2,2024-01-14,12,again"),
            (11, "required: id", "`id` is empty", ",C-2,2024-01-14,12,"),
            (12, "check: hours < 100 OR note IS NOT NULL", "`hours < 100 OR note IS NOT NULL` does not hold", "T-7,C-2,2024-01-14,120,"),
            (
                14,
                "required: week",
                "`week` is empty; `hours` is `-1.0`, below 0; `who` is `C-9`, which people.id does not have",
                "T-9,C-9,,-1,",
            ),
        ]
        assert result.violations is not None
        assert result.violations.startswith("t.csv: 9 of 11 rows are in quarantine (")
        assert "first line 3: `hours` is `200.0`, above 168" in result.violations
        assert lake.leftovers() == []

    def test_what_is_clean_leaves_no_trace(self, lake):
        result = lake.ingest("t.csv", "id,hours\na,1\nb,2\n", contract=Terms(required=("id",), unique=(("id",),)))
        assert (result.rows, quarantined(result), result.violations) == (2, (), None)
        assert result.files == lake.ingest("t.csv").files

    def test_a_ledger_says_where_its_rows_are_from(self, lake):
        task = lake.task("t.csv", "id\n,\n", contract=Terms())
        (noted,) = quarantined(lake.ingest("t.csv", contract=Terms()))
        row = pq.read_table(lake.store.path(noted.ref.key), partitioning=None).to_pylist()[0]
        assert (row["dataset"], row["source"], noted.source, noted.kind) == ("things", "t.csv", task.digest, "quarantine")
        assert row["at"] is not None

    def test_nothing_but_violations(self, lake, monkeypatch):
        monkeypatch.setattr(quarantine, "_HELD_ROWS", 16)
        result = lake.ingest("t.csv", "id,n\n" + "x\n" * 50 + ",1\n" * 50, contract=Terms(required=("id",)))
        found = set_aside(lake, result)
        assert result.rows == 0
        assert result.files == ()
        assert [line for line, *_ in found] == list(range(2, 102))
        assert [text for *_, text in found] == ["x"] * 50 + [",1"] * 50
        assert lake.leftovers() == []

    def test_a_type_that_this_file_was_guessed_to_have_gives_way(self, lake):
        rows = "".join(f"{number}\n" for number in range(5000))
        result = lake.ingest("t.csv", f"n\n{rows}many\n", contract=Terms())
        assert lake.types(result) == {"n": "string"}
        assert (result.rows, quarantined(result)) == (5001, ())

    def test_a_type_of_the_table_does_not(self, lake):
        first = lake.ingest("a.csv", "n\n1\n2\n", contract=Terms())
        result = lake.ingest("b.csv", "n\n3\nmany\n", schema=first.schema, next_column_id=2, contract=Terms())
        assert lake.rows(result) == [{"n": 3}]
        assert set_aside(lake, result) == [(3, "type: n", "`n`: `many` is no int64", "many")]

    def test_a_row_that_is_set_aside_says_nothing_for_others(self, lake):
        content = "id,n\na,-1\na,1\na,2\n"
        result = lake.ingest("t.csv", content, contract=Terms(unique=(("id",),), ranges={"n": Bounds(0)}))
        assert [row["n"] for row in lake.rows(result)] == [1]
        assert [(line, rule) for line, rule, *_ in set_aside(lake, result)] == [(2, "range: n"), (4, "unique: id")]

    def test_a_missing_key_is_set_aside(self, lake):
        result = lake.ingest("t.csv", "id,n\na,1\n,2\n", contract=Terms(), primary_key=("id",), write="upsert")
        assert result.rows == 1
        assert set_aside(lake, result) == [(3, "required: id", "`id` is empty, and it is in the primary key", ",2")]

    def test_a_column_that_nobody_has_is_refused_once(self, lake):
        with pytest.raises(FileRefused, match="column `idd` is required, and the file lacks it; it has id, n") as refused:
            lake.ingest("t.csv", "id,n\na,1\n", contract=Terms(required=("idd",)))
        assert refused.value.remedy.startswith("Is it `id`? ")

    def test_an_open_quote_still_refuses_the_file(self, lake):
        with pytest.raises(FileRefused, match="never closed") as refused:
            lake.ingest("t.csv", 'id,n\na,1\nb,"2\nc,3\n', contract=Terms())
        assert refused.value.line == 3
        with pytest.raises(FileRefused, match="never closed"):
            lake.ingest("t.csv", 'id,n\na,1\n"b,2\nc,3\n', contract=Terms())

    def test_without_a_contract_everything_is_as_it_was(self, lake):
        with pytest.raises(FileRefused, match="the row has 1 cell, the header 2") as refused:
            lake.ingest("t.csv", "id,n\na,1\nb\n")
        assert refused.value.line == 3

    def test_a_file_of_one_column(self, lake):
        result = lake.ingest("t.csv", "\n\nid\nx\n\na,b\ny\n", contract=Terms(required=("id",)))
        assert [row["id"] for row in lake.rows(result)] == ["x", "y"]
        assert [(line, rule) for line, rule, *_ in set_aside(lake, result)] == [(5, "required: id"), (6, "columns")]

    def test_without_a_header(self, lake):
        result = lake.ingest("t.csv", "a,1\nb\nc,2\n,3\n", contract=Terms(required=("column_1",)), header=False)
        assert result.rows == 2
        assert [(line, text) for line, _, _, text in set_aside(lake, result)] == [(2, "b"), (4, ",3")]

    def test_another_encoding(self, lake):
        content = "id;name\n1;Jürgen\n2\n3;Zoë;x\n".encode("utf-16")
        result = lake.ingest("t.csv", content, contract=Terms(), encoding="utf-16", delimiter=";")
        assert result.rows == 1
        assert [(line, text) for line, _, _, text in set_aside(lake, result)] == [(3, "2"), (4, "3;Zoë;x")]


class TestRules:
    @pytest.mark.parametrize(
        ("kind", "value", "bounds", "reason"),
        [
            ("int64", "9007199254740993", Bounds(greatest=9007199254740992), "above 9.0072e+15"),
            ("int64", "-1", Bounds(least=-0.5), "below -0.5"),
            ("int64", "1", Bounds(least=1, greatest=1.5), None),
            ("int64", "1", Bounds(greatest=1e300), None),
            ("int64", "1", Bounds(least=1e300), "below 1e+300"),
            ("float64", "NaN", Bounds(0, 1), "within no range"),
            ("float64", "inf", Bounds(0), None),
            ("decimal(10,2)", "1.05", Bounds(0, 1), "above 1"),
        ],
    )
    def test_ranges(self, lake, kind, value, bounds, reason):
        result = lake.ingest("t.csv", f"k,n\na,{value}\nb,\n", overrides={"n": kind}, contract=Terms(ranges={"n": bounds}))
        found = set_aside(lake, result)
        assert [why.rpartition(", ")[2] for _, _, why, _ in found] == ([reason] if reason else [])

    def test_a_range_of_text_is_a_mistake_in_the_contract(self, lake):
        with pytest.raises(FileRefused, match=r"`contract\.ranges` names `n`, which is string and no number"):
            lake.ingest("t.csv", "n\nx\n", contract=Terms(ranges={"n": Bounds(0)}))

    def test_a_check_that_is_null_holds(self, lake):
        assert quarantined(lake.ingest("t.csv", "k,n\na,\n", overrides={"n": "int64"}, contract=Terms(checks=("n > 3",)))) == ()

    def test_a_check_that_cannot_be_computed_is_broken_by_that_row(self, lake):
        result = lake.ingest("t.csv", "n\nx\n5\n1\n", overrides={"n": "string"}, contract=Terms(checks=("cast(n AS int) > 3",)))
        assert lake.rows(result) == [{"n": "5"}]
        reasons = [reason for _, _, reason, _ in set_aside(lake, result)]
        assert "cannot be computed: Cast error: Cannot cast string `a`" in reasons[0]
        assert reasons[1] == "`cast(n AS int) > 3` does not hold"

    def test_a_check_over_a_column_that_there_is_not(self, lake):
        with pytest.raises(FileRefused, match="is no condition here: There is no column `hoursss`") as refused:
            lake.ingest("t.csv", "hours\n1\n", contract=Terms(checks=("hoursss > 3",)))
        assert refused.value.remedy == "Correct it in `contract.checks`."

    def test_a_column_that_the_table_has_and_the_file_lacks_is_null(self, lake):
        first = lake.ingest("a.csv", "k,n\na,1\n")
        given: dict[str, Any] = {"schema": first.schema, "next_column_id": 3}
        result = lake.ingest("b.csv", "k\nb\n", contract=Terms(checks=("n IS NOT NULL OR k = 'c'",)), **given)
        assert result.rows == 0

    def test_rows_without_a_value_are_never_equal(self, lake):
        result = lake.ingest("t.csv", "a,b\nx,\nx,\nx,1\nx,1\n", contract=Terms(unique=(("a", "b"),)))
        assert [(line, reason) for line, _, reason, _ in set_aside(lake, result)] == [
            (5, "`a`, `b` are `x`, `1`, which an earlier row has already")
        ]

    def test_unique_against_the_table(self, lake):
        contract = Terms(unique=(("id",),), present=other(lake, "things", id=[1, 2], n=[0, 0]), beside="x")
        result = lake.ingest("t.csv", "id\n2\n3\n", contract=contract)
        assert lake.rows(result) == [{"id": 3}]
        assert set_aside(lake, result)[0][2] == "`id` is `2`, which the table or an earlier file has already"
        assert result.files[0].key != lake.ingest("t.csv", "id\n2\n3\n", contract=Terms(unique=(("id",),))).files[0].key

    def test_an_upsert_replaces_rows_of_its_key_and_no_others(self, lake):
        contract = Terms(unique=(("id",), ("mail",)))
        content = "id,mail\n1,a\n1,a\n2,a\n1,b\n3,c\n"
        result = lake.ingest("t.csv", content, contract=contract, primary_key=("id",), write="upsert")
        assert lake.rows(result) == [{"id": 1, "mail": "b"}, {"id": 3, "mail": "c"}]
        assert [(line, rule) for line, rule, *_ in set_aside(lake, result)] == [(4, "unique: mail")]

    def test_a_row_that_deletes_another_needs_a_key_and_nothing_else(self, lake):
        content = "id,mail,gone\n1,a,false\n2,a,true\n,b,true\n3,,true\n4,,false\n"
        contract = Terms(required=("mail",), unique=(("mail",),))
        result = lake.ingest("t.csv", content, contract=contract, primary_key=("id",), write="upsert", tombstone="gone")
        assert [(line, rule) for line, rule, *_ in set_aside(lake, result)] == [(4, "required: id"), (6, "required: mail")]
        assert result.rows == 3

    def test_references_compare_by_text(self, lake):
        reference = Reference("n", "numbers", "n", other(lake, "numbers", n=["1", "2"]))
        result = lake.ingest("t.csv", "n\n1\n3\n", contract=Terms(references=(reference,), against="now"))
        assert lake.rows(result) == [{"n": 1}]
        assert quarantined(result)[0].against == "now"

    def test_what_others_have_no_part_in_is_not_judged_again_for_their_sake(self, lake):
        reference = Reference("n", "numbers", "n", other(lake, "numbers", n=["1"]))
        result = lake.ingest("t.csv", "n,k\n1,\n", contract=Terms(required=("k",), references=(reference,), against="now"))
        assert quarantined(result)[0].against == ""


class TestModes:
    def test_reject_names_the_first_line_and_the_number(self, lake):
        content = "id,n\na,1\nb,-1\nb,5\nc,-3\n"
        with pytest.raises(FileRefused) as refused:
            lake.ingest("t.csv", content, contract=Terms("reject", unique=(("id",),), ranges={"n": Bounds(0)}))
        assert refused.value.line == 3
        assert refused.value.reason == "3 rows break the contract, first `range: n`: `n` is `-1`, below 0"
        assert lake.leftovers() == []

    def test_reject_takes_what_is_clean(self, lake):
        assert lake.ingest("t.csv", "id\na\nb\n", contract=Terms("reject", unique=(("id",),))).rows == 2

    @pytest.mark.parametrize("mode", ["reject", "warn"])
    def test_a_value_that_fits_nowhere_refuses_the_file(self, lake, mode):
        with pytest.raises(FileRefused, match="`x` is no int64") as refused:
            lake.ingest("t.csv", "n\n1\nx\n", overrides={"n": "int64"}, contract=Terms(mode))
        assert refused.value.line == 3

    def test_warn_keeps_the_rows_and_counts_them(self, lake):
        content = "id,n\na,1\nb,-1\nb,5\n,-3\n"
        contract = Terms("warn", required=("id", "none"), unique=(("id",),), ranges={"n": Bounds(0)})
        result = lake.ingest("t.csv", content, contract=contract)
        assert (result.rows, quarantined(result)) == (4, ())
        assert result.violations == (
            "t.csv: 4 of 4 rows break the contract (`required: none` 4, `range: n` 2, `unique: id` 1, `required: id` 1), "
            "first line 2: `none` is empty"
        )


class TestFormats:
    def test_json(self, lake):
        content = '{"id": 1, "n": 5}\n{"id": "x", "n": 6}\n\n{"n": -1, "tags": ["a"]}\n{"id": 1}\n'
        contract = Terms(required=("id",), unique=(("id",),), ranges={"n": Bounds(0)})
        result = lake.ingest("t.ndjson", content, overrides={"id": "int64"}, contract=contract)
        assert lake.rows(result) == [{"id": 1, "n": 5, "tags": None}]
        assert set_aside(lake, result) == [
            (2, "type: id", "`id`: `x` is no int64", '{"id":"x","n":6}'),
            (4, "required: id", "`id` is empty; `n` is `-1`, below 0", '{"n":-1,"tags":["a"]}'),
            (5, "unique: id", "`id` is `1`, which an earlier row has already", '{"id":1}'),
        ]

    def test_json_records_lack_what_they_like(self, lake):
        result = lake.ingest("t.json", '[{"n": 1},\n{"n": 2}]', contract=Terms(required=("id",)))
        assert [(line, rule) for line, rule, *_ in set_aside(lake, result)] == [(1, "required: id"), (2, "required: id")]

    def test_parquet(self, lake):
        table = pa.table({"id": ["1", "x", None, "1"], "n": [1.0, 2.0, 3.0, float("nan")]})
        contract = Terms(required=("id",), unique=(("id",),), ranges={"n": Bounds(0, 9)})
        result = lake.ingest("t.parquet", parquet(table), overrides={"id": "int64"}, contract=contract)
        assert lake.rows(result) == [{"id": 1, "n": 1.0}]
        found = set_aside(lake, result)
        assert [(line, rule) for line, rule, *_ in found] == [(None, "type: id"), (None, "required: id"), (None, "range: n")]
        assert [text for *_, text in found] == ['{"id":"x","n":2.0}', '{"id":null,"n":3.0}', '{"id":"1","n":null}']
        assert result.violations is not None
        assert "first row 2:" in result.violations


class TestSeveralFiles:
    def run(self, lake: Any, tasks: list[IngestTask]) -> batch.BatchResult:
        return batch.ingest_batch(Batch(tuple(tasks)), None, lake.store)

    def test_are_unique_among_each_other(self, lake):
        contract = Terms(unique=(("id",),))
        tasks = [
            lake.task("a.csv", "id\n1\n2\n2\n", contract=contract),
            lake.task("b.csv", "id\n2\n3\n", contract=contract),
            lake.task("c.csv", "id\n3\n4\n", contract=contract),
        ]
        found = self.run(lake, tasks)
        rows = [file.rows for parts in found.files.values() for file in parts]
        assert rows == [2, 1, 1]
        assert [noted.source for noted in quarantined(found)] == [task.digest for task in tasks]
        assert [text.partition(":")[0] for text in found.violations] == ["a.csv", "b.csv", "c.csv"]

    def test_a_refused_one_has_said_nothing(self, lake):
        contract = Terms("reject", unique=(("id",),))
        tasks = [lake.task("a.csv", "id\n1\n1\n", contract=contract), lake.task("b.csv", "id\n1\n2\n", contract=contract)]
        found = self.run(lake, tasks)
        assert list(found.refused) == [tasks[0].digest]
        assert list(found.files) == [tasks[1].digest]

    def test_what_is_only_guessed_gives_way(self, lake):
        contract = Terms()
        found = self.run(lake, [lake.task("a.csv", "n\n1\n", contract=contract), lake.task("b.csv", "n\n2\nx\n", contract=contract)])
        assert found.schema is not None
        assert [column.type for column in found.schema.columns] == ["string"]
        assert quarantined(found) == ()

    def test_rules_without_a_column_are_told(self, lake):
        contract = Terms(unique=(("idd",),), ranges={"n": Bounds(0), "m": Bounds(0)})
        found = self.run(lake, [lake.task("a.csv", "id,n\n1,2\n", contract=contract)])
        assert found.warnings == (
            "`contract.unique` names `idd`, which no file has so far: is it `id`?",
            "`contract.ranges` names `m`, which no file has so far",
        )


def test_a_task_crosses_to_another_process(lake):
    task = lake.task("t.csv", "id,who,hours,week,note\n", contract=terms(lake, present=other(lake, "things", id=[1]), beside="b"))
    assert IngestTask.from_dict(task.to_dict()) == task


def test_memory_does_not_grow_with_the_file(lake, monkeypatch):
    monkeypatch.setattr(value_sets, "RUN_BYTES", 4096)
    rows = [f"{number},{number % 900}" for number in range(3000)]
    contract = Terms(unique=(("id",), ("n",)), references=(Reference("n", "ns", "n", other(lake, "ns", n=list(range(800)))),))
    result = lake.ingest("t.csv", "id,n\n" + "\n".join(rows) + "\n", contract=contract)
    assert result.rows == 800
    counts = {rule: 0 for _, rule, *_ in set_aside(lake, result)}
    assert set(counts) == {"unique: n", "reference: n"}
    assert lake.leftovers() == []


def test_what_was_spilled_goes_with_a_failure(lake, monkeypatch):
    monkeypatch.setattr(value_sets, "RUN_BYTES", 64)
    monkeypatch.setattr(PresentValues, "accept", lambda *_: 1 / 0)
    with pytest.raises(FileRefused):
        lake.ingest("t.csv", "id\n" + "\n".join(map(str, range(100))) + "\n", contract=Terms(unique=(("id",),)))
    assert lake.leftovers() == []
