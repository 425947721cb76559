"""Datasets whose rows are in no file: a database or a query over others, read when due, published whole, and served whatever happens."""

from __future__ import annotations

from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest
from harness_postgres import Postgres
from small_lake import BUCKET, Bench, dataset, documents
from test_edits import change, journal

from controllers.outcome import Outcome, Ready, Stalled, Waiting
from engines.errors import SourceUnavailable
from engines.postgres import extract as postgres_job
from engines.sql.scan import scan
from engines.sql.views import make_view
from reconciler.checking import errors
from specs.resource import Key
from state import failpoints, reasons
from state.catalog.entry import TableCommit
from state.catalog.tables import Origin, Table
from state.requests import Request
from state.streams.ids import Ulids

CANARY = "canary-s3cr3t"


def derived(name: str, sql: str, more: str = "") -> str:
    return f'apiVersion: lakehouse/v1\nkind: Dataset\nmetadata: {{name: {name}}}\nspec: {{source: {{sql: "{sql}"}}{more}}}\n'


def runs(source: str, more: str = "", name: str = "runs") -> str:
    spec = f"source: {{postgres: {{dsn: {{secret: kb}}, {source}}}}}{more}"
    return f"apiVersion: lakehouse/v1\nkind: Dataset\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"


class Lake:
    """A bench, with what tests ask of its tables."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def want(self, *texts: str) -> None:
        self.bench.source.push({"specs/all.yaml": documents(BUCKET, *texts)})
        self.bench.follower.advance()
        self.bench.finish("Bucket/primary")

    def settle(self, *names: str) -> Outcome:
        outcomes = [self.bench.finish(f"Dataset/{name}") for name in names]
        return outcomes[-1]

    def visit(self, name: str) -> Outcome:
        """Once, whatever runs on."""
        visit = self.bench.reconciler.visit(Key("Dataset", name))
        assert visit is not None
        return visit.outcome

    def write(self, path: str, text: str) -> None:
        place = self.bench.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")

    def table(self, name: str = "runs") -> Table:
        table = self.bench.catalog.table(name)
        assert table is not None
        return table

    def rows(self, name: str, *columns: str) -> list[tuple[Any, ...]]:
        """Of all data files in order; what an upsert merges is there several times."""
        found: list[tuple[Any, ...]] = []
        for file in self.table(name).data_files:
            part = pq.read_table(self.bench.folder / "lake" / file.key, columns=list(columns))
            found += [tuple(row.values()) for row in part.to_pylist()]
        return found

    def entries(self) -> int:
        """Commits to tables so far."""
        logs = (self.bench.store.get(info.key) for info in self.bench.store.list("catalog/log/"))
        return sum(log.count(b'"op":"table-commit"') for log in logs)

    def restart(self) -> None:
        self.bench.close()
        self.bench.open()
        if self.bench.source.revisions:
            self.bench.follower.advance()

    def ask(self, name: str, verb: str = "reconcile") -> None:
        self.bench.requests.submit(Request(Ulids(self.bench.clock)(), verb, f"Dataset/{name}", "ann", "now"))
        self.bench.operator.answer()


@pytest.fixture
def lake(bench: Bench) -> Lake:
    return Lake(bench)


@pytest.fixture
def database(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Postgres:
    monkeypatch.setenv("LAKEHOUSE_SECRET__KB__DSN", postgres.dsn.replace("postgres:@", f"postgres:{CANARY}@"))
    return postgres


ITEMS = "id,city,n\n1,Boston,3\n2,Chicago,4\n3,Boston,5\n"
BY_CITY = derived("by-city", "SELECT city, sum(n) AS total FROM items GROUP BY city ORDER BY city")


class TestDerived:
    def test_it_is_what_its_query_gives_of_what_there_is(self, lake: Lake) -> None:
        lake.write("data/items/1.csv", ITEMS)
        lake.want(dataset("items"), BY_CITY)
        assert isinstance(lake.settle("by-city"), Waiting)
        assert isinstance(lake.settle("items", "by-city"), Ready)
        assert lake.rows("by-city", "city", "total") == [("Boston", 8), ("Chicago", 4)]
        lake.write("data/items/2.csv", "id,city,n\n4,Austin,1\n")
        lake.settle("items", "by-city")
        assert lake.rows("by-city", "city", "total") == [("Austin", 1), ("Boston", 8), ("Chicago", 4)]
        origin = lake.table("by-city").origin
        assert origin is not None
        assert origin.inputs == {"items": 2}
        assert origin.reads.startswith("SELECT city")

    def test_it_rests_while_its_inputs_do(self, lake: Lake) -> None:
        lake.write("data/items/1.csv", ITEMS)
        lake.want(dataset("items"), BY_CITY)
        lake.settle("items", "by-city")
        before = lake.entries()
        lake.settle("by-city")
        lake.restart()
        lake.settle("by-city")
        assert lake.entries() == before

    def test_a_layout_of_the_query_changes_nothing(self, lake: Lake) -> None:
        lake.write("data/items/1.csv", ITEMS)
        lake.want(dataset("items"), derived("top", "SELECT id FROM items"))
        lake.settle("items", "top")
        lake.want(dataset("items"), derived("top", "SELECT  id FROM items /* all */"))
        lake.settle("top")
        assert lake.table("top").version == 1
        lake.want(dataset("items"), derived("top", "SELECT id, city FROM items"))
        lake.settle("top")
        assert [column.name for column in lake.table("top").columns] == ["id", "city"]

    @pytest.mark.parametrize(
        ("sql", "words"),
        [
            ("SELECT nothing FROM items", "There is no column `nothing`"),
            ("DELETE FROM items", "Only reading"),
            ("SELECT i.id, e.reason FROM items i CROSS JOIN system.events e", "the query reads `system.events`"),
            ("SELECT CAST(city AS int) AS c FROM items", "Cannot cast"),
            ("SELECT id AS _file FROM items", "the name is the table's own"),
        ],
    )
    def test_what_cannot_run_is_told_and_the_last_version_served(self, lake: Lake, sql: str, words: str) -> None:
        lake.write("data/items/1.csv", ITEMS)
        lake.want(dataset("items"), BY_CITY)
        lake.settle("items", "by-city")
        lake.want(dataset("items"), derived("by-city", sql))
        ended = lake.settle("by-city")
        assert isinstance(ended, Stalled)
        assert ended.reason == reasons.SOURCE_REFUSED
        assert words in ended.message
        assert "version 1 with 2 rows stays served" in ended.message
        before = lake.entries()
        lake.settle("by-city")
        assert lake.entries() == before
        lake.want(dataset("items"), BY_CITY)
        assert isinstance(lake.settle("by-city"), Ready)

    def test_a_lost_data_file_is_made_again(self, lake: Lake) -> None:
        lake.write("data/items/1.csv", ITEMS)
        lake.want(dataset("items"), BY_CITY)
        lake.settle("items", "by-city")
        (lake.bench.folder / "lake" / lake.table("by-city").files[0].key).unlink()
        assert isinstance(lake.settle("by-city"), Ready)
        assert lake.rows("by-city", "city", "total") == [("Boston", 8), ("Chicago", 4)]

    def test_without_watching_it_waits_to_be_due_or_asked(self, lake: Lake) -> None:
        lake.write("data/items/1.csv", ITEMS)
        lake.want(dataset("items"), derived("ids", "SELECT id FROM items", ", refresh: {watch: false, every: 1h}"))
        lake.settle("items", "ids")
        lake.write("data/items/1.csv", f"{ITEMS}4,Austin,1\n")
        ended = lake.settle("items", "ids")
        assert len(lake.rows("ids", "id")) == 3
        assert isinstance(ended, Ready)
        assert ended.seconds is not None
        lake.bench.clock.advance(ended.seconds + 0.01)
        lake.settle("ids")
        assert len(lake.rows("ids", "id")) == 4
        lake.write("data/items/1.csv", f"{ITEMS}4,Austin,1\n5,Austin,2\n")
        lake.settle("items")
        lake.ask("ids")
        lake.settle("ids")
        assert len(lake.rows("ids", "id")) == 5

    def test_a_circle_names_its_places(self, lake: Lake) -> None:
        lake.want(derived("a", "SELECT * FROM b"), derived("b", "SELECT * FROM a"))
        ended = lake.settle("a")
        assert isinstance(ended, Stalled)
        assert ended.reason == reasons.DEPENDENCY_CYCLE
        assert "Dataset/a -> Dataset/b -> Dataset/a (specs/all.yaml:6)" in ended.message
        (told,) = errors(lake.bench.world)
        assert told.startswith(
            "specs/all.yaml:6: Dataset/a refers to itself: Dataset/a (specs/all.yaml:6) -> Dataset/b (specs/all.yaml:11)"
        )

    def test_derived_of_derived(self, lake: Lake) -> None:
        lake.write("data/items/1.csv", ITEMS)
        lake.want(dataset("items"), BY_CITY, derived("most", "SELECT max(total) AS most FROM by_city"))
        lake.settle("items", "by-city", "most")
        assert lake.rows("most", "most") == [(8,)]


class TestFullReads:
    def test_a_read_a_slot(self, lake: Lake, database: Postgres) -> None:
        """What fell due while nobody ran is read once; what is not due is not read."""
        database.run("CREATE TABLE runs AS SELECT 1 AS id")
        lake.want(runs("table: public.runs", ", refresh: {every: 1h}"))
        ended = lake.settle("runs")
        assert isinstance(ended, Ready)
        assert ended.seconds is not None
        database.run("INSERT INTO runs VALUES (2)")
        before = lake.entries()
        lake.settle("runs")
        lake.restart()
        lake.settle("runs")
        assert (lake.rows("runs", "id"), lake.entries()) == ([(1,)], before)
        lake.bench.clock.advance(ended.seconds + 5 * 3600)
        lake.settle("runs")
        assert lake.rows("runs", "id") == [(1,), (2,)]
        assert lake.entries() == before + 1
        lake.settle("runs")
        assert lake.entries() == before + 1

    def test_without_a_schedule_an_operator_says_when(self, lake: Lake, database: Postgres) -> None:
        database.run("CREATE TABLE runs AS SELECT 1 AS id")
        lake.want(runs("table: runs", ", write: replace"))
        lake.settle("runs")
        database.run("UPDATE runs SET id = 7")
        lake.bench.clock.advance(86_400)
        lake.settle("runs")
        assert lake.rows("runs", "id") == [(1,)]
        lake.ask("runs")
        lake.settle("runs")
        assert lake.rows("runs", "id") == [(7,)]

    def test_a_dropped_column_keeps_the_last_version(self, lake: Lake, database: Postgres) -> None:
        database.run("CREATE TABLE runs AS SELECT 1 AS id, 'x' AS team")
        lake.want(runs("table: runs"))
        lake.settle("runs")
        database.run("ALTER TABLE runs DROP COLUMN team")
        lake.ask("runs")
        ended = lake.settle("runs")
        assert isinstance(ended, Stalled)
        assert "`team` is gone from the source" in ended.message
        assert lake.rows("runs", "id", "team") == [(1, "x")]
        database.run("ALTER TABLE runs ADD COLUMN team text DEFAULT 'y'")
        lake.bench.clock.advance(1)
        lake.ask("runs")
        assert isinstance(lake.settle("runs"), Ready)
        assert lake.rows("runs", "id", "team") == [(1, "y")]

    def test_a_connection_that_breaks_is_tried_again(self, lake: Lake, database: Postgres) -> None:
        database.run("CREATE TABLE outage AS SELECT true AS yes")
        ends = "CASE WHEN i = 90000 AND yes THEN pg_terminate_backend(pg_backend_pid()) END"
        query = f"query: 'SELECT i AS id, {ends} AS x FROM generate_series(1, 100000) AS i, outage'"
        lake.want(runs(query))
        ended = lake.settle("runs")
        assert ended.reason == reasons.SOURCE_UNAVAILABLE
        assert lake.bench.catalog.table("runs") is None
        database.run("UPDATE outage SET yes = false")
        assert isinstance(lake.settle("runs"), Ready)
        assert lake.table().rows == 100_000

    def test_a_read_that_runs_is_finished_though_the_next_is_due(self, lake: Lake, database: Postgres) -> None:
        """Else what is due more often than a read takes would never be read. Two entries: the first slot's, and the second's."""
        lake.bench.workers = 1
        lake.restart()
        lake.want(runs("query: 'SELECT 1 AS id, pg_advisory_lock_shared(7)::text AS locked'", ", refresh: {every: 1h}"))
        with psycopg.connect(database.dsn) as holder:
            holder.execute("SELECT pg_advisory_lock(7)")
            assert lake.visit("runs").reason == reasons.INGESTING
            lake.bench.clock.advance(3600)
            assert lake.visit("runs").reason == reasons.INGESTING
        lake.settle("runs")
        assert lake.entries() == 2

    def test_a_crash_before_the_entry_reads_nothing_twice(self, lake: Lake, database: Postgres) -> None:
        lake.bench.workers = 1
        lake.restart()
        database.run("CREATE TABLE runs AS SELECT 1 AS id")
        lake.want(runs("table: runs"))
        failpoints.arm({"dataset.before-commit": "error"})
        lake.settle("runs")
        database.run("INSERT INTO runs VALUES (2)")
        lake.restart()
        lake.settle("runs")
        assert lake.rows("runs", "id") == [(1,)]

    def test_the_table_changes_its_source(self, lake: Lake, database: Postgres) -> None:
        """From a file to a database and back, each made anew in one entry."""
        database.run("CREATE TABLE runs AS SELECT 'db' AS id")
        lake.write("data/runs/1.csv", "id\nfile\n")
        for wanted, held in ((dataset("runs"), "file"), (runs("table: runs"), "db"), (dataset("runs"), "file")):
            lake.want(wanted)
            assert isinstance(lake.settle("runs"), Ready)
            assert lake.rows("runs", "id") == [(held,)]

    def test_a_lost_data_file_is_read_again(self, lake: Lake, database: Postgres) -> None:
        database.run("CREATE TABLE runs AS SELECT 1 AS id")
        lake.want(runs("table: runs"))
        lake.settle("runs")
        database.run("INSERT INTO runs VALUES (2)")
        (lake.bench.folder / "lake" / lake.table().files[0].key).unlink()
        assert isinstance(lake.settle("runs"), Ready)
        assert lake.rows("runs", "id") == [(1,), (2,)]

    def test_no_secret_is_written_anywhere(
        self, lake: Lake, database: Postgres, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """By jobs in processes of their own, as a daemon runs them."""
        lake.bench.workers = 1
        lake.restart()
        database.run("CREATE TABLE runs AS SELECT 1 AS id")
        lake.want(runs("table: runs"), runs("query: SELEC", name="wrong"))
        lake.settle("runs")
        lake.settle("wrong")
        monkeypatch.setenv("LAKEHOUSE_SECRET__KB__DSN", f"postgresql://me:{CANARY}@127.0.0.1:1/kb")
        lake.restart()
        lake.bench.clock.advance(1)
        lake.ask("runs")
        assert lake.settle("runs").reason == reasons.SOURCE_UNAVAILABLE
        lake.bench.streams.flush()
        held = [path for path in lake.bench.folder.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]
        assert held == []
        assert CANARY not in "".join(capfd.readouterr())
        assert lake.table().origin is not None


LOG = "CREATE TABLE runs (id int, at timestamptz, note text)"


class TestIncrementalReads:
    APPEND = runs("table: runs, cursor: at, overlap: 10s")
    UPSERT = runs("table: runs, cursor: at, overlap: 10s", ", primaryKey: id, write: upsert")

    def refresh(self, lake: Lake) -> Outcome:
        lake.bench.clock.advance(1)
        lake.ask("runs")
        return lake.settle("runs")

    def insert(self, database: Postgres, *rows: tuple[int, int]) -> None:
        """id and second of the day."""
        for number, second in rows:
            database.run(f"INSERT INTO runs VALUES ({number}, timestamptz '2024-01-01 00:00+00' + interval '{second} s', NULL)")

    def test_rows_come_once(self, lake: Lake, database: Postgres) -> None:
        """Ties with the last value, rows that were committed late, equal rows, and nothing new at all."""
        database.run(LOG)
        self.insert(database, (1, 100), (2, 110), (2, 110))
        lake.want(self.APPEND)
        lake.settle("runs")
        self.insert(database, (3, 110), (4, 105), (2, 110), (5, 300))
        self.refresh(lake)
        assert sorted(lake.rows("runs", "id")) == [(1,), (2,), (2,), (2,), (3,), (4,), (5,)]
        version = lake.table().version
        self.refresh(lake)
        assert lake.table().version == version
        assert len(lake.table().bindings) == 1
        lake.restart()
        database.run("DELETE FROM runs")
        self.refresh(lake)
        origin = lake.table().origin
        assert origin is not None
        assert origin.cursor == "2024-01-01 00:05:00+00"
        self.insert(database, (6, 301))
        self.refresh(lake)
        assert sorted(lake.rows("runs", "id"))[-2:] == [(5,), (6,)]

    def test_an_upsert_brings_changed_rows_only(self, lake: Lake, database: Postgres) -> None:
        database.run(LOG)
        self.insert(database, (1, 100), (2, 105))
        lake.want(self.UPSERT)
        lake.settle("runs")
        database.run("UPDATE runs SET note = 'late', at = at + interval '60 s' WHERE id = 1")
        self.refresh(lake)
        assert lake.rows("runs", "id", "note") == [(1, None), (2, None), (1, "late")]

    def test_two_rows_of_one_key(self, lake: Lake, database: Postgres) -> None:
        """Which should not be: the one with the greater cursor stands, and nothing is written again and again."""
        database.run(LOG)
        self.insert(database, (1, 107), (1, 105))
        lake.want(self.UPSERT)
        lake.settle("runs")
        (found,) = lake.rows("runs", "at")
        assert str(found[0]) == "2024-01-01 00:01:47"
        self.refresh(lake)
        assert lake.table().version == 1

    @pytest.mark.parametrize("spec", [APPEND, UPSERT])
    def test_a_large_table_comes_in_steps_that_are_kept(
        self, lake: Lake, database: Postgres, monkeypatch: pytest.MonkeyPatch, spec: str
    ) -> None:
        """Rows of the same instant come together, whatever that makes of the step."""
        monkeypatch.setattr("engines.postgres.reading.STEP_ROWS", 3)
        database.run(LOG)
        self.insert(database, *((number, second) for number, second in enumerate((100, 120, 140, 140, 160, 165, 180, 200))))
        read, calls = postgres_job.read, iter((True, False))

        def once(*given: Any) -> Any:
            if next(calls, True):
                return read(*given)
            raise SourceUnavailable("here", "it is gone in the middle")

        monkeypatch.setattr(postgres_job, "read", once)
        lake.want(spec)
        assert lake.settle("runs").reason == reasons.SOURCE_UNAVAILABLE
        assert sorted(lake.rows("runs", "id")) == [(0,), (1,), (2,), (3,)]
        lake.restart()
        lake.settle("runs")
        assert sorted(lake.rows("runs", "id")) == [(number,) for number in range(8)]
        assert [version for version, _ in lake.table().versions] == [1, 2, 3]
        origin = lake.table().origin
        assert origin is not None
        assert (origin.cursor, origin.step) == ("2024-01-01 00:03:20+00", 2)
        before = lake.entries()
        lake.settle("runs")
        assert lake.entries() == before
        self.insert(database, (8, 201))
        self.refresh(lake)
        origin = lake.table().origin
        assert origin is not None
        assert (origin.cursor, origin.step) == ("2024-01-01 00:03:21+00", 0)

    def test_a_null_in_the_cursor_stops_it(self, lake: Lake, database: Postgres) -> None:
        database.run(LOG)
        self.insert(database, (1, 100))
        lake.want(self.APPEND)
        lake.settle("runs")
        database.run("INSERT INTO runs VALUES (2, NULL, '')")
        ended = self.refresh(lake)
        assert isinstance(ended, Stalled)
        assert "is null in 1 rows" in ended.message
        database.run("UPDATE runs SET at = '2024-02-01 00:00+00' WHERE at IS NULL")
        assert isinstance(self.refresh(lake), Ready)
        assert lake.rows("runs", "id") == [(1,), (2,)]

    def test_a_lost_data_file_is_read_again(self, lake: Lake, database: Postgres) -> None:
        database.run(LOG)
        self.insert(database, (1, 100))
        lake.want(self.APPEND)
        lake.settle("runs")
        self.insert(database, (2, 200))
        self.refresh(lake)
        (lake.bench.folder / "lake" / lake.table().files[0].key).unlink()
        assert isinstance(lake.settle("runs"), Ready)
        assert sorted(lake.rows("runs", "id")) == [(1,), (2,)]

    def test_a_table_that_forgot_how_far_it_read(self, lake: Lake, database: Postgres) -> None:
        """As of a catalog that was made again from footers."""
        database.run(LOG)
        self.insert(database, (1, 100), (1, 100))
        lake.want(self.APPEND)
        lake.settle("runs")
        self.forget(lake)
        self.insert(database, (2, 50))
        self.refresh(lake)
        assert sorted(lake.rows("runs", "id")) == [(1,), (1,), (2,)]

    def forget(self, lake: Lake) -> None:
        table = lake.table()
        assert table.origin is not None
        change = TableCommit("Dataset/runs", table.transformation, table.bucket, write=table.write, origin=Origin(reads="runs"))
        lake.bench.catalog.commit((change,), actor="test", reason="forget")


class TestFilesByTheClock:
    def test_files_that_are_not_watched(self, lake: Lake) -> None:
        lake.write("data/items/1.csv", "id\n1\n")
        lake.want(dataset("items", ", refresh: {watch: false, cron: 0 2 * * *}"))
        ended = lake.settle("items")
        assert isinstance(ended, Ready)
        assert ended.seconds is not None
        lake.write("data/items/2.csv", "id\n2\n")
        lake.bench.clock.advance(ended.seconds - 1)
        lake.settle("items")
        assert len(lake.rows("items", "id")) == 1
        lake.restart()
        lake.bench.clock.advance(1.01)
        lake.settle("items")
        assert len(lake.rows("items", "id")) == 2

    def test_nothing_changed_when_it_was_due(self, lake: Lake) -> None:
        lake.write("data/items/1.csv", "id\n1\n")
        lake.want(dataset("items", ", refresh: {watch: false, every: 1d}"))
        lake.settle("items")
        lake.bench.clock.advance(86_400)
        lake.settle("items")
        lake.write("data/items/1.csv", "id\n1\n2\n")
        lake.restart()
        lake.settle("items")
        assert len(lake.rows("items", "id")) == 1

    def test_a_word_of_an_operator(self, lake: Lake) -> None:
        lake.write("data/items/1.csv", "id\n1\n")
        lake.want(dataset("items", ", refresh: {watch: false}"))
        lake.settle("items")
        lake.write("data/items/1.csv", "id\n1\n2\n")
        assert lake.settle("items").message.startswith("1 row ")
        lake.ask("items")
        lake.settle("items")
        assert len(lake.rows("items", "id")) == 2

    def test_watched_files_are_looked_at_by_the_clock_as_well(self, lake: Lake) -> None:
        lake.write("data/items/1.csv", "id\n1\n")
        lake.want(dataset("items", ", refresh: {every: 1m}"))
        ended = lake.settle("items")
        assert isinstance(ended, Ready)
        assert ended.seconds is not None
        assert 0 < ended.seconds <= 60
        before = lake.entries()
        lake.bench.clock.advance(3600)
        lake.settle("items")
        assert lake.entries() == before


class TestHistory:
    def test_the_journal_tells_what_a_read_changed_and_edits_outlive_a_table_made_anew(self, lake: Lake, database: Postgres) -> None:
        database.run("CREATE TABLE people AS SELECT 1 AS id, 'Ann' AS name, '0001' AS phone")
        people = "table: people", ", primaryKey: id, write: upsert"
        lake.want(runs(*people, name="x"))
        lake.settle("x")
        database.run("UPDATE people SET phone = '0002'")
        lake.bench.clock.advance(1)
        lake.ask("x")
        lake.settle("x")
        told = journal(lake.bench, "entity", "field", "old", "new", "op", "source")
        assert told[-1] == ("1", "phone", "0001", "0002", "update", "postgres:people")
        assert change(lake.bench, "row-set", key="1", set={"name": "Anna"})["outcome"] == "done"
        lake.want(runs(people[0], f"{people[1]}, columns: {{id: string}}", name="x"))
        assert isinstance(lake.settle("x"), Ready)
        view = make_view(lake.table("x"), lake.bench.folder / "views", lake.bench.state.objects, "x").table
        assert [row for batch in scan(view, ["id", "name", "phone"]) for row in batch.select(["id", "name", "phone"]).to_pylist()] == [
            {"id": "1", "name": "Anna", "phone": "0002"}
        ]
