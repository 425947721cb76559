"""PostgreSQL as a source: exact types, one snapshot a read, cursors that lose nothing, and errors that tell no secret."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from harness_postgres import Postgres
from postgres_source import Source, refused, types

from engines.errors import SourceUnavailable
from engines.files.extract import Extract, ExtractTask
from engines.files.source import ColumnPlan, Misfit
from engines.jobs.failure import Failure
from engines.postgres import connection
from engines.postgres.connection import Server
from engines.postgres.extract import read
from engines.postgres.reading import PostgresReading
from engines.postgres.task import PostgresTask
from state.secrets import Secret

CANARY = "s3cr3t-canary"


def at(text: str) -> object:
    """A timestamp without a zone, as tables have them."""
    return np.datetime64(text, "us").item()


@pytest.fixture
def source(tmp_path: Path, postgres: Postgres) -> Source:
    return Source(tmp_path, postgres)


class TestTypes:
    CASES: tuple[tuple[str, str, Any], ...] = (
        ("true", "bool", True),
        ("32767::smallint", "int64", 32767),
        ("9223372036854775807::bigint", "int64", 9223372036854775807),
        ("0.1::real", "float64", 0.1),
        ("'Infinity'::float8", "float64", float("inf")),
        ("0.1::float8 + 0.2::float8", "float64", 0.30000000000000004),
        ("12345678901234567890.12::numeric(38,2)", "decimal(38,2)", Decimal("12345678901234567890.12")),
        ("'NaN'::numeric", "string", "NaN"),
        ("'Infinity'::numeric", "string", "Infinity"),
        ("1.50::numeric", "string", "1.50"),
        ("1e50::numeric(60,2)", "string", "1" + "0" * 50 + ".00"),
        ("1200::numeric(3,-2)", "string", "1200"),
        ("'2024-02-29'::date", "date", date(2024, 2, 29)),
        ("'2024-02-29 12:00:00.000001'::timestamp", "timestamp", at("2024-02-29T12:00:00.000001")),
        ("'2024-02-29 12:00:00.5+02:30'::timestamptz", "timestamp", at("2024-02-29T09:30:00.5")),
        ("'12:00'::time", "string", "12:00:00"),
        ("'1 day 2 hours'::interval", "string", "1 day 02:00:00"),
        ("'6BA7B810-9DAD-11D1-80B4-00C04FD430C8'::uuid", "string", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
        ("""'{"b": 1.10, "a": null}'::jsonb""", "string", '{"a": null, "b": 1.10}'),
        ("""'{"b":  1}'::json""", "string", '{"b":  1}'),
        ("'sad'::mood", "string", "sad"),
        (r"'\x00ff5c'::bytea", "binary", b"\x00\xff\x5c"),
        ("''::bytea", "binary", b""),
        ("ARRAY[1,NULL,3]", "list<int64>", [1, None, 3]),
        ("ARRAY[]::int[]", "list<int64>", []),
        ("ARRAY['a','b c',NULL,'NULL','','x,y','q\"\\']", "list<string>", ["a", "b c", None, "NULL", "", "x,y", 'q"\\']),
        ("ARRAY['sad','ok']::mood[]", "list<string>", ["sad", "ok"]),
        ("ARRAY[true,false]", "list<bool>", [True, False]),
        ("ARRAY[1.5,2]::numeric(4,2)[]", "list<decimal(4,2)>", [Decimal("1.50"), Decimal("2.00")]),
        ("ARRAY['2024-01-01 00:00+01'::timestamptz]", "list<timestamp>", [at("2023-12-31T23:00:00")]),
        ("ARRAY['2024-01-01'::date]", "list<date>", [date(2024, 1, 1)]),
        ("ARRAY[[1,2],[3,4]]", "string", "{{1,2},{3,4}}"),
        ("NULL::text", "string", None),
        ("''", "string", ""),
        ("E'two\\nlines, \"quoted\" and \\\\.'", "string", 'two\nlines, "quoted" and \\.'),
        ("E'\\\\.'", "string", "\\."),
        (r"E'\b'", "string", "\b"),
        (r"E'\\N'", "string", r"\N"),
        (r"E'\b\f\n\r\t\x0b \\n \\\\n \\'", "string", "\b\f\n\r\t\v \\n \\\\n \\"),
        ("'grüß 漢字 🙂'", "string", "grüß 漢字 🙂"),
        ("int4range(1,5)", "string", "[1,5)"),
        ("ROW(1,'x')::text", "string", "(1,x)"),
        ("'infinity'::date", "string", "infinity"),
        ("'-infinity'::timestamptz", "string", "-infinity"),
        ("'10000-01-01'::date", "string", "10000-01-01"),
        ("'0044-03-15 BC'::date", "string", "0044-03-15 BC"),
        ("'NaN'::numeric(10,2)", "string", "NaN"),
    )

    def test_each_value_arrives_as_it_is(self, source: Source) -> None:
        """All in one row, and again before a row of nulls."""
        source.postgres.run("CREATE TYPE mood AS ENUM ('sad', 'ok')")
        columns = ", ".join(f"{value} AS c{at}" for at, (value, _, _) in enumerate(self.CASES))
        made = source.read(f"SELECT {columns}")
        assert list(types(made).values()) == [kind for _, kind, _ in self.CASES]
        assert list(source.rows(made)[0].values()) == [value for _, _, value in self.CASES]
        two = source.read(f"SELECT q.* FROM (SELECT {columns}) q RIGHT JOIN (VALUES (1), (2)) v(n) ON n = 1 ORDER BY n")
        first, last = source.rows(two)
        assert list(first.values()) == [value for _, _, value in self.CASES]
        assert set(last.values()) == {None}

    def test_null_and_empty_in_a_single_column(self, source: Source) -> None:
        made = source.read("SELECT x FROM (VALUES (1, ''), (2, NULL), (3, 'a')) AS v(n, x) ORDER BY n")
        assert source.rows(made) == [{"x": ""}, {"x": None}, {"x": "a"}]

    def test_the_spec_decides(self, source: Source) -> None:
        task = source.task("SELECT 1 AS a, '7' AS b, 't'::bool AS c")
        made = source.run(replace(task, rows=ExtractTask(replace(task.rows.rows, overrides={"a": "string", "b": "int64", "c": "string"}))))
        assert source.rows(made) == [{"a": "1", "b": 7, "c": "t"}]

    def test_long_rows_and_many(self, source: Source) -> None:
        made = source.read("SELECT i, repeat('x', CASE WHEN i = 3 THEN 5000000 ELSE 10 END) AS t FROM generate_series(1, 200000) AS i")
        table = source.table(made)
        assert (table.num_rows, len(table["t"][2].as_py())) == (200_000, 5_000_000)

    def test_a_table_without_rows(self, source: Source) -> None:
        made = source.read("SELECT 1 AS a WHERE false")
        assert (types(made), source.rows(made)) == ({"a": "int64"}, [])


class TestWhatIsAskedFor:
    @pytest.mark.parametrize(
        ("query", "words"),
        [
            ("SELECT", "no columns"),
            ("SELEC 1", "syntax error"),
            ("SELECT 1; DROP TABLE kept", "multiple commands"),
            ("SELECT 1 AS a) TO STDOUT; DROP TABLE kept; --", "syntax error"),
            ("DELETE FROM kept RETURNING a", "read-only"),
            ("WITH gone AS (DELETE FROM kept RETURNING a) SELECT * FROM gone", "read-only"),
            ("SELECT nextval('numbers')", "read-only"),
            ("SELECT a, a FROM kept", "two columns are named `a`"),
            ("SELECT 1/0 AS a", "division by zero"),
            ("SELECT * FROM nowhere", "does not exist"),
        ],
    )
    def test_only_reading_is_possible(self, source: Source, query: str, words: str) -> None:
        source.postgres.run("CREATE TABLE kept AS SELECT 1 AS a; CREATE SEQUENCE numbers")
        assert words in refused(source.read(query))
        assert source.postgres.rows("SELECT a FROM kept") == [(1,)]

    def test_what_is_not_there_has_a_remedy(self, source: Source) -> None:
        assert "Name one that there is, or make it again in the source" in refused(source.read("SELECT * FROM nowhere"))

    def test_a_query_that_never_ends_is_let_go(self, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connection, "SILENT_SECONDS", 0)
        with pytest.raises(SourceUnavailable, match="nothing came for 0 minutes"):
            source.read("SELECT pg_sleep(600)")

    def test_nor_one_whose_single_answer_never_comes(self, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
        with source.server().snapshot() as snapshot:
            monkeypatch.setattr(connection, "SILENT_SECONDS", 0)
            with pytest.raises(SourceUnavailable, match="nothing came for 0 minutes"):
                snapshot.row("SELECT pg_sleep(600)")

    def test_a_long_query_is_sent_whole(self, source: Source) -> None:
        text = "x" * 3_000_000
        with source.server().snapshot() as snapshot:
            assert snapshot.row(f"SELECT length('{text}')") == ("3000000",)

    def test_a_locked_table_is_not_waited_for_for_ever(self, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(connection._SETTINGS, "lock_timeout", "10ms")
        source.postgres.run("CREATE TABLE locked (id int)")
        with psycopg.connect(source.postgres.dsn) as other:
            other.execute("LOCK TABLE locked IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(SourceUnavailable, match="lock timeout"):
                source.read("SELECT * FROM locked")

    def test_a_query_that_nobody_reads_any_more_ends(self, source: Source) -> None:
        with source.server().snapshot() as snapshot:
            assert snapshot.row("SHOW client_connection_check_interval") == ("10s",)

    def test_a_comment_at_the_end(self, source: Source) -> None:
        assert source.rows(source.read("SELECT 1 AS a -- one")) == [{"a": 1}]


def following(source: Source, made: Extract, query: str) -> PostgresTask:
    """The read after another, of a table that consists of that one."""
    task = source.task(query)
    return replace(task, rows=ExtractTask(replace(task.rows.rows, schema=made.rows.schema, next_column_id=50, next_schema_id=2)))


class TestDrift:
    def test_a_dropped_column_is_refused(self, source: Source) -> None:
        made = source.read("SELECT 1 AS a, 2 AS b")
        assert "`b` is gone from the source" in refused(source.run(following(source, made, "SELECT 1 AS a")))

    def test_another_type_is_refused_and_a_wider_one_of_the_table_is_not(self, source: Source) -> None:
        made = source.read("SELECT 1.5::float8 AS a, 2 AS b")
        assert "column `b` is text now" in refused(source.run(following(source, made, "SELECT 1.5::float8 AS a, 'x' AS b")))
        assert source.rows(source.run(following(source, made, "SELECT 3::int AS a, 2 AS b"))) == [{"a": 3.0, "b": 2}]

    def test_a_new_column_extends_the_schema(self, source: Source) -> None:
        made = source.read("SELECT 1 AS a")
        assert types(source.run(following(source, made, "SELECT 1 AS a, now() AS b"))) == {"a": "int64", "b": "timestamp"}

    def test_a_value_that_the_tables_type_cannot_hold(self, source: Source) -> None:
        made = source.read("SELECT 1.5::numeric(4,2) AS a")
        told = refused(source.run(following(source, made, "SELECT 'NaN'::numeric(4,2) AS a")))
        assert "column `a`: `NaN` is no decimal(4,2)" in told
        assert "columns: {a: string}" in told


def bounds(source: Source, **more: Any) -> Callable[[], Extract]:
    return lambda: source.read("SELECT * FROM log", cursor="at", **more)


class TestCursors:
    def test_the_upper_bound_is_the_snapshots(self, source: Source) -> None:
        source.postgres.run(
            "CREATE TABLE log AS SELECT i AS n, timestamptz '2024-01-01 00:00+00' + i * interval '1 s' AS at FROM generate_series(1, 9) i"
        )
        made = bounds(source)()
        assert (len(source.rows(made)), made.origin.cursor) == (9, "2024-01-01 00:00:09+00")

    def test_an_empty_result_does_not_reset_it(self, source: Source) -> None:
        source.postgres.run("CREATE TABLE log (n int, at timestamptz)")
        assert bounds(source)().origin.cursor == ""
        made = bounds(source, last="2024-01-01 00:00:09.123456+00")()
        assert (source.rows(made), made.origin.cursor) == ([], "2024-01-01 00:00:09.123456+00")

    def test_where_nothing_came_it_is_not_counted(self, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
        source.postgres.run("CREATE TABLE log AS SELECT 1 AS n, timestamptz '2024-01-01 00:00+00' AS at")
        asked: list[str] = []
        row = connection.Snapshot.row
        monkeypatch.setattr(connection.Snapshot, "row", lambda self, query: (asked.append(query), row(self, query))[1])
        counts = []
        for last in ({}, {"last": "2024-01-01 00:00:00+00"}):
            asked.clear()
            assert bounds(source, **last)().origin.cursor == "2024-01-01 00:00:00+00"
            counts.append(sum("count(*)" in query for query in asked))
        assert counts == [1, 0]

    def test_the_lower_bound_is_closed_and_overlaps(self, source: Source) -> None:
        source.postgres.run(
            "CREATE TABLE log AS SELECT i AS n, timestamp '2024-01-01' + i * interval '1 s' AS at FROM generate_series(1, 9) i"
        )
        assert [row["n"] for row in source.rows(bounds(source, last="2024-01-01 00:00:07")())] == [7, 8, 9]
        assert [row["n"] for row in source.rows(bounds(source, last="2024-01-01 00:00:07", overlap=2.5)())] == [5, 6, 7, 8, 9]

    @pytest.mark.parametrize(
        ("columns", "more", "words"),
        [
            ("NULL::int AS at UNION ALL SELECT 2", {}, "is null in 1 rows"),
            ("1 AS at", {"overlap": 60.0}, "`overlap` is a time"),
            ("'infinity'::timestamp AS at", {}, "has the value infinity"),
            ("1 AS other", {}, "the cursor column `at` is not there"),
        ],
    )
    def test_what_can_be_no_cursor(self, source: Source, columns: str, more: dict[str, Any], words: str) -> None:
        source.postgres.run(f"CREATE TABLE log AS SELECT {columns}")
        assert words in refused(bounds(source, **more)())


class TestBreakingOff:
    QUERY = "SELECT i AS n, CASE WHEN i = 90000 THEN pg_terminate_backend(pg_backend_pid()) END AS x FROM generate_series(1, 100000) AS i"

    def test_nothing_is_half_there(self, source: Source) -> None:
        with pytest.raises(SourceUnavailable):
            source.read(self.QUERY)
        assert [path for path in source.folder.rglob("*") if path.is_file()] == []

    def test_what_is_refused_leaves_no_thread_to_whoever_collects_the_garbage(self, source: Source) -> None:
        """One that is waited for where another one begins, or ends, would be waited for in vain."""
        reading = PostgresReading(source.server(), "SELECT 'infinity'::date AS day, ARRAY[1] AS list")
        plans = {name: ColumnPlan(name, kind, "spec") for name, (kind, _) in reading.guesses().items()}
        with pytest.raises(Misfit) as refusal:  # whose traceback keeps all that was under way
            list(reading.batches(plans))
        assert refusal.value.column.name == "day"
        assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("parse")]


class TestSecrets:
    @pytest.fixture(
        params=[
            "postgresql://me:{}@127.0.0.1:1/kb",
            "host=127.0.0.1 port=1 password={}",
            "postgresql//me:{}@h/kb",
            "postgresql://me:%zz{}@h",
        ]
    )
    def dsn(self, request: pytest.FixtureRequest) -> str:
        return str(request.param.format(CANARY))

    def test_no_error_tells_the_password(self, source: Source, dsn: str) -> None:
        with pytest.raises(SourceUnavailable) as caught:
            read(source.task("SELECT 1"), Server(Secret("kb", {"dsn": dsn})), lambda done, total: None)
        told = Failure.of(caught.value)
        assert CANARY not in json.dumps(told.to_dict())
        assert CANARY not in repr(caught.value)

    def test_what_the_server_repeats_is_redacted(self, source: Source) -> None:
        server = Server(Secret("kb", {"dsn": source.postgres.dsn, "password": CANARY}))
        told = refused(read(source.task(f"SELECT '{CANARY}'::int"), server, lambda done, total: None))
        assert "invalid input syntax" in told
        assert CANARY not in told

    def test_the_place_has_no_user_and_no_password(self) -> None:
        place = Server(Secret("kb", {"dsn": f"postgresql://me:{CANARY}@db.example:5433/kb?sslmode=require"})).place
        assert place == "postgresql://db.example:5433/kb"
