"""Contracts of datasets whose rows are in no file: what is set aside of a database or a query, what comes back, and what is never lost."""

from __future__ import annotations

import json
from typing import Any

import pyarrow.parquet as pq
import pytest
from harness_postgres import Postgres
from small_lake import Bench, dataset
from test_row_sources import CANARY, ITEMS, Lake, derived, runs

from controllers.outcome import Ready, Stalled, Waiting
from state import failpoints, reasons
from state.catalog.entry import TableCommit


@pytest.fixture
def lake(bench: Bench) -> Lake:
    return Lake(bench)


@pytest.fixture
def database(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Postgres:
    monkeypatch.setenv("LAKEHOUSE_SECRET__KB__DSN", postgres.dsn.replace("postgres:@", f"postgres:{CANARY}@"))
    return postgres


def aside(lake: Lake, *fields: str, name: str = "runs") -> list[tuple[Any, ...]]:
    """What the catalog refers to, by line."""
    ledgers = [ledger for ledger in lake.table(name).ledgers if ledger.kind == "quarantine"]
    rows = [row for ledger in ledgers for row in pq.read_table(lake.bench.store.path(ledger.ref.key), partitioning=None).to_pylist()]
    assert len(rows) == sum(ledger.rows for ledger in ledgers)
    rows.sort(key=lambda row: (row["line"], row["text"]))
    return [tuple(json.loads(row["text"]) if field == "text" else row[field] for field in fields) for row in rows]


def told(lake: Lake, reason: str = reasons.ROWS_QUARANTINED) -> list[str]:
    return [event["message"] for event in lake.bench.events(reason)]


def ask(lake: Lake, *names: str) -> Any:
    lake.bench.clock.advance(1)
    for name in names or ("runs",):
        lake.ask(name)
    return lake.settle(*(names or ("runs",)))


EVERYTHING = """CREATE TABLE runs (id text, who text, week date, hours text, note text);
INSERT INTO runs VALUES ('T-1', 'C-1', '2024-01-07', '40', ''), ('T-2', 'C-2', '2024-01-07', '200', NULL),
  ('T-3', 'C-9', '2024-01-07', '30', 'two
lines'), ('T-4', 'C-1', NULL, '38', NULL), ('T-5', 'C-1', '2024-01-07', 'abc', NULL), ('T-1', 'C-2', '2024-01-14', '12', 'again'),
  (NULL, 'C-2', '2024-01-14', '12', NULL), ('T-7', 'C-2', '2024-01-14', '120', NULL), ('T-8', 'C-2', '2024-01-14', '12', 'fine')"""
RULES = (
    ", columns: {hours: float64, week: {nullable: false}}, contract: {required: id, unique: [id], ranges: {hours: {min: 0, max: 168}}, "
    'checks: ["hours < 100 OR note IS NOT NULL"], references: {who: people.id}}'
)
FOUND = [
    (2, "range: hours", "`hours` is `200.0`, above 168; `hours < 100 OR note IS NOT NULL` does not hold"),
    (3, "reference: who", "`who` is `C-9`, which people.id does not have"),
    (4, "required: week", "`week` is empty"),
    (5, "type: hours", "`hours`: `abc` is no float64"),
    (6, "unique: id", "`id` is `T-1`, which an earlier row has already"),
    (7, "required: id", "`id` is empty"),
    (8, "check: hours < 100 OR note IS NOT NULL", "`hours < 100 OR note IS NOT NULL` does not hold"),
]


class TestFullReads:
    def test_every_rule_in_a_table(self, lake: Lake, database: Postgres) -> None:
        database.run(EVERYTHING)
        lake.write("data/people/a.csv", "id\nC-1\nC-2\n")
        lake.want(dataset("people"), runs("table: public.runs", RULES))
        ended = lake.settle("people", "runs")
        assert isinstance(ended, Ready)
        assert ended.message == "2 rows from table public.runs, 7 in quarantine, version 1"
        assert lake.rows("runs", "id", "hours") == [("T-1", 40.0), ("T-8", 12.0)]
        assert aside(lake, "line", "rule", "reason") == FOUND
        assert {row[0] for row in aside(lake, "source")} == {"postgres:public.runs"}
        assert aside(lake, "text")[1:5:3] == [
            ({"id": "T-3", "who": "C-9", "week": "2024-01-07", "hours": 30.0, "note": "two\nlines"},),
            ({"id": "T-1", "who": "C-2", "week": "2024-01-14", "hours": 12.0, "note": "again"},),
        ]
        assert aside(lake, "text")[3] == ({"id": "T-5", "who": "C-1", "week": "2024-01-07", "hours": "abc", "note": None},)
        (event,) = told(lake)
        assert event.startswith("postgres:public.runs: 7 of 9 rows are in quarantine (")

    def test_every_rule_in_a_query_over_datasets(self, lake: Lake) -> None:
        content = (
            "id,who,week,hours,note\nT-1,C-1,2024-01-07,40,x\nT-2,C-2,2024-01-07,200,\nT-3,C-9,2024-01-07,30,x\nT-4,C-1,,38,\n"
            "T-5,C-1,2024-01-07,abc,\nT-1,C-2,2024-01-14,12,again\n,C-2,2024-01-14,12,\nT-7,C-2,2024-01-14,120,\nT-8,C-2,2024-01-14,12,f\n"
        )
        lake.write("data/sheets/a.csv", content)
        lake.write("data/people/a.csv", "id\nC-1\nC-2\n")
        lake.want(dataset("people"), dataset("sheets"), derived("runs", "SELECT id, who, week, hours, note FROM sheets", RULES))
        assert isinstance(lake.settle("people", "sheets", "runs"), Ready)
        assert lake.rows("runs", "id", "hours") == [("T-1", 40.0), ("T-8", 12.0)]
        assert aside(lake, "line", "rule", "reason") == FOUND
        assert {row[0] for row in aside(lake, "source")} == {"sql:query"}
        assert aside(lake, "text")[3][0]["hours"] == "abc"

    def test_a_column_that_must_not_be_empty_is_a_contract(self, lake: Lake, database: Postgres) -> None:
        database.run("CREATE TABLE runs AS SELECT 1 AS id, 'x' AS team UNION ALL SELECT 2, NULL")
        lake.want(runs("table: runs", ", columns: {team: {nullable: false}}"))
        lake.settle("runs")
        assert (lake.rows("runs", "id"), aside(lake, "rule")) == ([(1,)], [("required: team",)])

    def test_a_corrected_source_and_a_changed_contract_bring_rows_back(self, lake: Lake, database: Postgres) -> None:
        database.run("CREATE TABLE runs AS SELECT 1 AS id, -1 AS hours UNION ALL SELECT 2, 500")
        lake.want(runs("table: runs", ", contract: {ranges: {hours: {min: 0, max: 168}}}"))
        lake.settle("runs")
        assert len(aside(lake, "rule")) == 2
        database.run("UPDATE runs SET hours = 1 WHERE id = 1")
        ask(lake)
        assert (lake.rows("runs", "id"), aside(lake, "reason")) == ([(1,)], [("`hours` is `500`, above 168",)])
        lake.want(runs("table: runs", ", contract: {ranges: {hours: {min: 0, max: 1000}}}"))
        lake.settle("runs")
        assert (sorted(lake.rows("runs", "id")), aside(lake, "rule")) == ([(1,), (2,)], [])

    @pytest.mark.parametrize("write", ["append", "upsert, primaryKey: id"])
    def test_what_it_refers_to_comes_later(self, lake: Lake, database: Postgres, write: str) -> None:
        """Then the source is due, once."""
        database.run("CREATE TABLE runs AS SELECT 1 AS id, 'C-1' AS who UNION ALL SELECT 2, 'C-2'")
        lake.write("data/people/a.csv", "id\nC-1\n")
        lake.want(dataset("people"), runs("table: runs", f", write: {write}, contract: {{references: {{who: people.id}}}}"))
        lake.settle("people", "runs")
        assert lake.rows("runs", "id") == [(1,)]
        lake.bench.clock.advance(10)
        lake.write("data/people/b.csv", "id\nC-2\n")
        lake.settle("people", "runs")
        assert (sorted(set(lake.rows("runs", "id"))), aside(lake, "rule")) == ([(1,), (2,)], [])
        before = lake.entries()
        lake.bench.clock.advance(10)
        lake.write("data/people/c.csv", "id\nC-3\n")
        lake.settle("people", "runs")
        assert lake.entries() == before + 1, "nobody waits for it"

    def test_it_waits_for_what_it_refers_to(self, lake: Lake) -> None:
        lake.write("data/items/1.csv", ITEMS)
        lake.want(
            dataset("items"), dataset("people"), derived("runs", "SELECT * FROM items", ", contract: {references: {city: people.id}}")
        )
        lake.settle("items")
        assert isinstance(lake.settle("runs"), Waiting)
        lake.write("data/people/a.csv", "id\nBoston\n")
        lake.settle("people", "runs")
        assert (lake.rows("runs", "id"), aside(lake, "rule")) == ([(1,), (3,)], [("reference: city",)])

    def test_reject_serves_the_last_version(self, lake: Lake, database: Postgres) -> None:
        database.run("CREATE TABLE runs AS SELECT 1 AS id, 5 AS hours")
        lake.want(runs("table: runs", ", contract: {ranges: {hours: {min: 0}}, onViolation: reject}"))
        lake.settle("runs")
        database.run("INSERT INTO runs VALUES (2, -2), (3, -3)")
        ended = ask(lake)
        assert isinstance(ended, Stalled)
        assert ended.reason == reasons.SOURCE_REFUSED
        assert ended.message.startswith(
            "table runs: 2 rows break the contract, first `range: hours` (row 2): `hours` is `-2`, below 0. Correct the source"
        )
        assert lake.rows("runs", "id") == [(1,)]

    def test_warn_takes_the_rows_and_tells(self, lake: Lake, database: Postgres) -> None:
        database.run("CREATE TABLE runs AS SELECT 1 AS id, 5 AS hours UNION ALL SELECT 2, -2")
        lake.want(runs("table: runs", ", contract: {ranges: {hours: {min: 0}}, onViolation: warn}"))
        lake.settle("runs")
        assert (len(lake.rows("runs", "id")), aside(lake, "rule")) == (2, [])
        assert told(lake, reasons.CONTRACT_BROKEN)[0].startswith("postgres:runs: 1 of 2 rows breaks the contract")

    def test_a_required_column_that_the_source_lacks(self, lake: Lake, database: Postgres) -> None:
        database.run("CREATE TABLE runs AS SELECT 1 AS idd")
        lake.want(runs("table: runs", ", contract: {required: id, ranges: {hour: {min: 0}}}"))
        ended = lake.settle("runs")
        assert isinstance(ended, Stalled)
        assert "column `id` is required, and the source lacks it; it has idd. Is it `idd`?" in ended.message
        lake.want(runs("table: runs", ", contract: {ranges: {hour: {min: 0}}}"))
        lake.settle("runs")
        assert "`contract.ranges` names `hour`, which the source does not have" in told(lake, reasons.INGEST_WARNING)

    def test_values_that_no_type_of_the_table_holds(self, lake: Lake, database: Postgres) -> None:
        """Once the table has its types; before that, the type gives way."""
        database.run("CREATE TABLE runs (id int, pay numeric(10,2), day date, tags int[], yes bool)")
        database.run("INSERT INTO runs VALUES (1, 1.50, '2024-01-01', '{1,2}', true)")
        lake.want(runs("table: runs", ", contract: {required: id}"))
        lake.settle("runs")
        database.run(
            "INSERT INTO runs VALUES (2, 'NaN', '2024-01-01', '{}', NULL), (3, 2, 'infinity', '{{1},{2}}', false), (4, 9, NULL, NULL, true)"
        )
        assert isinstance(ask(lake), Ready)
        assert [(str(pay), yes) for pay, yes in lake.rows("runs", "pay", "yes")] == [("1.50", True), ("9.00", True)]
        assert aside(lake, "line", "rule", "reason") == [
            (2, "type: pay", "`pay`: a value of the form `AaA` is no decimal(10,2)"),
            (3, "type: day", "`day`: `infinity` is no date; `tags`: `{{1},{2}}` is no list<int64>"),
        ]
        assert aside(lake, "text")[1] == ({"id": 3, "pay": "2.00", "day": "infinity", "tags": "{{1},{2}}", "yes": False},)

    def test_no_secret_is_in_quarantine(self, lake: Lake, database: Postgres) -> None:
        lake.bench.workers = 1
        lake.restart()
        database.run("CREATE TABLE runs AS SELECT 1 AS id, NULL::text AS team")
        lake.want(runs("table: runs", ", contract: {required: team}"))
        lake.settle("runs")
        assert aside(lake, "source", "text") == [("postgres:runs", {"id": 1, "team": None})]
        lake.bench.streams.flush()
        assert [path for path in lake.bench.folder.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()] == []


LOG = "CREATE TABLE runs (id int, at timestamptz, who text, n int)"
SOURCE = "table: runs, cursor: at, overlap: 10s"


def insert(database: Postgres, *rows: tuple[int, int, str | None]) -> None:
    """id, second of the day, who."""
    for number, second, who in rows:
        name = "NULL" if who is None else f"'{who}'"
        database.run(f"INSERT INTO runs VALUES ({number}, timestamptz '2024-01-01 00:00+00' + interval '{second} s', {name}, {number})")


class TestIncrementalReads:
    APPEND = runs(SOURCE, ", contract: {required: who, unique: [n]}")

    def test_what_is_set_aside_stays_until_its_row_is_read_again(self, lake: Lake, database: Postgres) -> None:
        """Outside and inside the window of the next read; equal rows of the table are no reason against each other."""
        database.run(LOG)
        insert(database, (1, 10, None), (2, 100, "a"), (3, 100, None))
        lake.want(self.APPEND)
        lake.settle("runs")
        assert aside(lake, "line", "rule") == [(1, "required: who"), (3, "required: who")]
        version, (ledger,) = lake.table().version, [one for one in lake.table().ledgers if one.kind == "quarantine"]
        ask(lake)
        assert lake.table().version == version
        assert ledger in lake.table().ledgers, "nothing is written of what is known"
        assert len(told(lake)) == 1
        insert(database, (4, 105, "a"), (5, 106, None), (4, 107, "twice"))
        ask(lake)
        assert sorted(lake.rows("runs", "id")) == [(2,), (4,)]
        assert sorted(aside(lake, "rule", "text"), key=lambda row: row[1]["at"]) == [
            ("required: who", {"id": 1, "at": "2024-01-01T00:00:10", "who": None, "n": 1}),
            ("required: who", {"id": 3, "at": "2024-01-01T00:01:40", "who": None, "n": 3}),
            ("required: who", {"id": 5, "at": "2024-01-01T00:01:46", "who": None, "n": 5}),
            ("unique: n", {"id": 4, "at": "2024-01-01T00:01:47", "who": "twice", "n": 4}),
        ]
        database.run("UPDATE runs SET who = 'found' WHERE id = 5")
        lake.restart()
        ask(lake)
        assert sorted(lake.rows("runs", "id")) == [(2,), (4,), (5,)]
        assert len(aside(lake, "rule")) == 3

    def test_a_changed_contract_reads_all_of_it_again(self, lake: Lake, database: Postgres) -> None:
        database.run(LOG)
        insert(database, (1, 10, None), (2, 100, "a"))
        lake.want(self.APPEND)
        lake.settle("runs")
        insert(database, (3, 500, None))
        ask(lake)
        assert len(aside(lake, "rule")) == 2
        lake.want(runs(SOURCE))
        lake.settle("runs")
        assert (sorted(lake.rows("runs", "id")), aside(lake, "rule")) == ([(1,), (2,), (3,)], [])

    def test_a_table_of_which_every_row_was_set_aside(self, lake: Lake, database: Postgres) -> None:
        database.run(LOG)
        insert(database, (1, 10, None))
        lake.want(self.APPEND)
        lake.settle("runs")
        insert(database, (2, 500, "a"))
        ask(lake)
        assert (lake.rows("runs", "id"), aside(lake, "line", "rule")) == ([(2,)], [(1, "required: who")])
        origin = lake.table().origin
        assert origin is not None
        assert origin.cursor.startswith("2024-01-01 00:08:20")

    def test_what_it_refers_to_comes_later(self, lake: Lake, database: Postgres) -> None:
        """Rows come back from what quarantine keeps of them, though the source has them no more."""
        database.run(LOG)
        lake.write("data/people/a.csv", "id\na\n")
        insert(database, (1, 10, "b"), (2, 20, "c"), (3, 500, "a"))
        lake.want(dataset("people"), runs(SOURCE, ", contract: {references: {who: people.id}}"))
        lake.settle("people", "runs")
        database.run("DELETE FROM runs WHERE id = 1")
        lake.bench.clock.advance(10)
        lake.write("data/people/b.csv", "id\nb\n")
        lake.settle("people", "runs")
        assert sorted(lake.rows("runs", "id", "who")) == [(1, "b"), (3, "a")]
        assert aside(lake, "line", "reason") == [(2, "`who` is `c`, which people.id does not have")]
        before = lake.entries()
        lake.settle("people", "runs")
        assert lake.entries() == before

    def test_a_newer_row_of_the_key_overtakes_what_is_set_aside(self, lake: Lake, database: Postgres) -> None:
        database.run(LOG)
        lake.write("data/people/a.csv", "id\na\n")
        insert(database, (1, 10, "b"), (2, 20, "c"), (3, 500, "a"))
        upsert = runs(SOURCE, ", write: upsert, primaryKey: id, contract: {references: {who: people.id}}")
        lake.want(dataset("people"), upsert)
        lake.settle("people", "runs")
        insert(database, (1, 600, "a"))
        lake.bench.clock.advance(10)
        ask(lake)
        assert aside(lake, "text") == [({"id": 2, "at": "2024-01-01T00:00:20", "who": "c", "n": 2},)]
        lake.bench.clock.advance(10)
        lake.write("data/people/b.csv", "id\nb\nc\n")
        lake.settle("people", "runs")
        assert sorted(lake.rows("runs", "id", "who")) == [(1, "a"), (2, "c"), (3, "a")]
        assert aside(lake, "rule") == []

    def test_a_row_that_was_taken_is_not_judged_again(self, lake: Lake, database: Postgres) -> None:
        """Though each read brings what lies at the boundary, and what it refers to is gone."""
        database.run(LOG)
        lake.write("data/people/a.csv", "id\na\nb\n")
        insert(database, (1, 10, "b"), (2, 20, "b"))
        references = ", contract: {references: {who: people.id}}"
        lake.want(dataset("people", ", write: replace"), runs(SOURCE, f", write: upsert, primaryKey: id{references}"))
        lake.settle("people", "runs")
        lake.write("data/people/a.csv", "id\na\n")
        lake.settle("people")
        version = lake.table().version
        ask(lake)
        assert (lake.table().version, aside(lake, "rule"), told(lake)) == (version, [], [])
        insert(database, (2, 21, "c"))
        ask(lake)
        assert aside(lake, "text") == [({"id": 2, "at": "2024-01-01T00:00:21", "who": "c", "n": 2},)]
        assert sorted(lake.rows("runs", "id", "who")) == [(1, "b"), (2, "b")]

    def test_rows_set_aside_have_the_columns_of_today(self, lake: Lake, database: Postgres) -> None:
        """After a migration they are read as what they were."""
        database.run(LOG)
        lake.write("data/people/a.csv", "id\na\n")
        insert(database, (1, 10, "b"), (2, 500, "a"))
        lake.want(dataset("people"), runs(SOURCE, ", contract: {references: {who: people.id}}"))
        lake.settle("people", "runs")
        migrated = ", contract: {references: {whom: people.id}}, migrations: [{from: 1, rename: {who: whom}}]"
        lake.want(dataset("people"), runs(SOURCE, migrated))
        lake.settle("people", "runs")
        lake.write("data/people/b.csv", "id\nb\n")
        lake.bench.clock.advance(10)
        lake.settle("people", "runs")
        assert [column.name for column in lake.table().columns] == ["id", "at", "whom", "n"]
        assert lake.table().rows == 2
        assert aside(lake, "rule") == []

    def test_a_refused_read_leaves_what_is_set_aside(self, lake: Lake, database: Postgres) -> None:
        database.run(LOG)
        insert(database, (1, 10, None), (2, 20, "a"))
        lake.want(self.APPEND)
        lake.settle("runs")
        database.run("ALTER TABLE runs RENAME n TO m")
        assert isinstance(ask(lake), Stalled)
        assert len(aside(lake, "rule")) == 1
        database.run("ALTER TABLE runs RENAME m TO n")
        assert isinstance(ask(lake), Ready)
        assert len(aside(lake, "rule")) == 1


TOGETHER = ", publish: together"


class TestTogether:
    def entries(self, lake: Lake) -> list[list[str]]:
        """The tables that each entry brought rows."""
        entries = ([one for one in entry.changes if isinstance(one, TableCommit)] for entry in lake.bench.catalog.entries())
        return [names for changes in entries if (names := sorted(change.object for change in changes if change.add))]

    def want(self, lake: Lake, more: str = "") -> None:
        lake.want(dataset("a", TOGETHER), runs("table: runs", f"{TOGETHER}{more}"))

    def test_a_database_and_files_in_one_entry(self, lake: Lake, database: Postgres) -> None:
        database.run("CREATE TABLE runs AS SELECT 1 AS id")
        lake.write("data/a/1.csv", "id\n1\n")
        self.want(lake)
        lake.settle("a", "runs")
        lake.settle("a")
        assert self.entries(lake) == [["Dataset/a", "Dataset/runs"]]
        lake.write("data/a/1.csv", "id\n2\n")
        lake.settle("a", "runs")
        assert self.entries(lake)[1:] == [["Dataset/a"]], "what is not due holds nobody up"

    def test_a_read_that_waits_stands_though_the_next_is_due(self, lake: Lake, database: Postgres) -> None:
        database.run("CREATE TABLE runs AS SELECT 1 AS id")
        lake.write("data/a/1.csv", "id\n1,2\n")
        self.want(lake, ", refresh: {every: 1h}")
        assert lake.settle("a", "runs").reason == reasons.AWAITING_OTHERS
        lake.bench.clock.advance(3600)
        lake.write("data/a/1.csv", "id\n1\n")
        lake.settle("a")
        assert self.entries(lake) == [["Dataset/a", "Dataset/runs"]]
        database.run("INSERT INTO runs VALUES (2)")
        lake.settle("runs")
        assert lake.rows("runs", "id") == [(1,), (2,)]

    def test_one_that_waits_is_read_anew_when_it_is_due(self, lake: Lake, database: Postgres) -> None:
        lake.bench.workers = 1
        lake.restart()
        database.run("CREATE TABLE runs AS SELECT 1 AS id")
        lake.write("data/a/1.csv", "id\n1,2\n")
        self.want(lake, ", refresh: {every: 1h}")
        assert lake.settle("a", "runs").reason == reasons.AWAITING_OTHERS
        database.run("INSERT INTO runs VALUES (2)")
        lake.settle("runs")
        lake.bench.clock.advance(3600)
        assert lake.settle("runs").reason == reasons.AWAITING_OTHERS
        lake.write("data/a/1.csv", "id\n1\n")
        lake.settle("a")
        assert self.entries(lake) == [["Dataset/a", "Dataset/runs"]]
        assert lake.rows("runs", "id") == [(1,), (2,)]

    @pytest.mark.parametrize("workers", [0, 1])
    def test_what_was_removed_while_it_waited_is_read_again(self, lake: Lake, database: Postgres, workers: int) -> None:
        lake.bench.workers = workers
        lake.restart()
        database.run("CREATE TABLE runs AS SELECT 1 AS id")
        lake.write("data/a/1.csv", "id\n1,2\n")
        self.want(lake)
        lake.settle("a", "runs")
        for part in (lake.bench.folder / "lake/datasets/runs").rglob("*.parquet"):
            part.unlink()
        database.run("INSERT INTO runs VALUES (2)")
        lake.write("data/a/1.csv", "id\n1\n")
        for _ in range(3):
            lake.settle("a", "runs")
        assert self.entries(lake) == [["Dataset/a", "Dataset/runs"]]
        assert lake.rows("runs", "id") == [(1,), (2,)]

    def test_one_that_is_refused_holds_the_others_up(self, lake: Lake, database: Postgres) -> None:
        database.run("CREATE TABLE runs AS SELECT 1 AS id")
        lake.write("data/a/1.csv", "id\n1\n")
        strict = ", contract: {ranges: {id: {max: 3}}, onViolation: reject}"
        self.want(lake, strict)
        lake.settle("a", "runs")
        database.run("INSERT INTO runs VALUES (5)")
        lake.write("data/a/1.csv", "id\n2\n")
        assert isinstance(ask(lake), Stalled)
        ended = lake.settle("a")
        assert ended.reason == reasons.AWAITING_OTHERS
        assert "Dataset/runs: SourceRefused" in ended.message
        database.run("DELETE FROM runs WHERE id = 5")
        ask(lake)
        lake.settle("a")
        assert self.entries(lake)[-1] == ["Dataset/a", "Dataset/runs"]

    def test_a_query_over_a_member_comes_after_it(self, lake: Lake) -> None:
        lake.write("data/items/1.csv", ITEMS)
        lake.want(dataset("items", TOGETHER), derived("ids", "SELECT id FROM items", TOGETHER))
        lake.settle("items", "ids")
        assert self.entries(lake) == [["Dataset/items"], ["Dataset/ids"]]

    @pytest.mark.parametrize("where", ["together.before-commit", "together.after-commit"])
    def test_after_a_crash_it_is_all_or_nothing(self, lake: Lake, database: Postgres, where: str) -> None:
        database.run("CREATE TABLE runs AS SELECT 1 AS id")
        lake.write("data/a/1.csv", "id\n1\n")
        self.want(lake)
        failpoints.arm({where: "error"})
        try:
            lake.settle("a", "runs")
        finally:
            failpoints.disarm()
        assert self.entries(lake) in ([], [["Dataset/a", "Dataset/runs"]])
        lake.restart()
        lake.settle("a", "runs", "a")
        assert self.entries(lake) == [["Dataset/a", "Dataset/runs"]]


class TestFreshness:
    FRESH = ", freshness: {staleAfter: 90m}, refresh: {every: 1h}"

    def test_a_read_that_brought_nothing_confirms(self, lake: Lake, database: Postgres) -> None:
        database.run(LOG)
        insert(database, (1, 10, "a"))
        lake.want(runs("table: runs, cursor: at", self.FRESH))
        lake.settle("runs")
        for _ in range(3):
            lake.bench.clock.advance(3600)
            assert lake.settle("runs").reason == reasons.SUCCEEDED
        assert lake.table().version == 1

    def test_a_source_that_refuses_grows_stale(self, lake: Lake, database: Postgres) -> None:
        database.run("CREATE TABLE runs AS SELECT 1 AS id")
        lake.want(runs("table: runs", self.FRESH))
        lake.settle("runs")
        database.run("ALTER TABLE runs RENAME id TO other")
        lake.bench.clock.advance(3600)
        ended = lake.settle("runs")
        assert isinstance(ended, Stalled)
        lake.bench.clock.advance(2400)
        ended = lake.settle("runs")
        assert isinstance(ended, Stalled)
        (aspect,) = ended.also or ()
        assert (aspect.type, aspect.holds) == ("Stale", True)
        assert aspect.message.startswith("its source was last read at 2026-01-02 03:04 UTC")
