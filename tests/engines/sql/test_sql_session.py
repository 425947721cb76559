from __future__ import annotations

import errno
from typing import Any

import datafusion
import pyarrow as pa
import pytest

from engines.sql.planner import check_parameters
from engines.sql.problems import QueryProblem, translate
from engines.sql.session import KEPT_STATEMENTS, Session

NAMES: list[tuple[str, list[str]]] = [
    ("SELECT 1", []),
    ("SELECT * FROM a JOIN b USING (x)", ["a", "b"]),
    ("WITH a AS (SELECT * FROM c) SELECT * FROM a, (SELECT * FROM d WHERE y IN (SELECT y FROM e)) q", ["c", "d", "e"]),
    ("WITH a AS (SELECT * FROM a) SELECT * FROM a", ["a"]),
    ("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT * FROM r", []),
    ("SELECT (SELECT max(x) FROM f), EXISTS (SELECT 1 FROM g), CASE WHEN 1 IN (SELECT 1 FROM h) THEN 1 END", ["f", "g", "h"]),
    ("SELECT * FROM k1, LATERAL (SELECT * FROM k2 WHERE k2.z = 1)", ["k1", "k2"]),
    ("SELECT * FROM system.events", ["system.events"]),
    ("SELECT * FROM public.a UNION SELECT * FROM lakehouse.public.b", ["a", "b"]),
    ('SELECT * FROM "job-orders", "People"', ["People", "job-orders"]),
    ("SELECT * FROM Job_Orders", ["job_orders"]),
    ('SELECT * FROM "system.events"', []),
    ("SELECT * FROM '/etc/passwd'", ["/etc/passwd"]),
    ("SELECT * FROM '/etc/passwd.csv'", []),
    ("EXPLAIN SELECT * FROM a", ["a"]),
    ("DESCRIBE a", ["a"]),
]


@pytest.mark.parametrize(("sql", "names"), NAMES, ids=[sql for sql, _ in NAMES])
def test_every_table_that_a_statement_touches_is_named(sql: str, names: list[str]) -> None:
    assert Session().names(sql) == names


@pytest.fixture
def people(lake: Any) -> list[Any]:
    lake.create("people", {"id": "int64", "city": "string"}, ["id"])
    lake.add("people", [{"id": n, "city": "ab"[n % 2]} for n in range(10)])
    return [lake.source("people")]


def refused(sql: str, sources: list[Any], params: dict[str, Any] | None = None) -> QueryProblem:
    session = Session()
    with pytest.raises(QueryProblem) as caught:  # noqa: PT012 - any of these may be where it ends
        session.names(sql)
        with session.frame(sql, {name: pa.scalar(value) for name, value in (params or {}).items()}, sources) as frame:
            frame.collect()
    assert "DataFusion" not in caught.value.message
    return caught.value


REFUSED: list[tuple[str, str, str]] = [
    ("", "invalid", "There is no statement."),
    ("SELEC 1", "invalid", "Expected: an SQL statement, found: SELEC at Line: 1, Column: 1."),
    ("SELECT 1; SELECT 2", "invalid", "More than one statement."),
    (f"SELECT {'(' * 1000}1{')' * 1000}", "invalid", "The statement is nested too deep."),
    ("SELECT nope FROM people", "invalid", "There is no column `nope`."),
    ("SELECT id FROM people GROUP BY city", "invalid", "must appear in the GROUP BY"),
    ("SELECT foo(id) FROM people", "invalid", "Invalid function 'foo'"),
    ("SELECT * FROM read_parquet('/x')", "invalid", "There is no table function `read_parquet`."),
    ("SELECT id, id FROM people", "invalid", "Several columns of the result have the same name (id)."),
    ("SELECT 1 AS a, 2 AS a", "invalid", "Several columns of the result have the same name (a)."),
    ("SELECT a.id, b.id FROM people a JOIN people b USING (id)", "invalid", "Several columns of the result have the same name (id)."),
    ("SELECT * FROM people a JOIN people b USING (id)", "invalid", "Several columns of the result have the same name (city)."),
    ("SELECT cast(city AS int) FROM people", "invalid", "Cannot cast string"),
    ("SELECT 1 / (id - id) FROM people", "invalid", "Divide by zero error."),
    ("SELECT sum(city) FROM people", "invalid", "No function takes these arguments: sum("),
    ("SELECT * FROM people WHERE", "invalid", "Expected: an expression, found: the end of the statement."),
    ("SELECT user.name FROM people", "invalid", "A dot stands before a column of a table, and these have no fields."),
    ("SELECT people.user.name FROM people", "invalid", "A dot stands before a column"),
    ("SELECT id.name FROM people", "invalid", "A dot stands before a column"),
    ("SHOW TABLES", "invalid", "SHOW is not available here."),
    ("SELECT * FROM nobody", "unknown-table", "nobody"),
    ("SELECT * FROM information_schema.df_settings", "unknown-table", "information_schema.df_settings"),
    ("SELECT * FROM other.schema.t", "unknown-table", "other.schema.t"),
    ("CREATE TABLE z AS SELECT 1", "forbidden", "Only reading is allowed here"),
    ("CREATE EXTERNAL TABLE z STORED AS CSV LOCATION '/etc/passwd'", "forbidden", "Only reading is allowed here"),
    ("DROP TABLE people", "forbidden", "Only reading is allowed here"),
    ("INSERT INTO people VALUES (1, 'a')", "forbidden", "Only reading is allowed here"),
    ("COPY people TO '/tmp/x.csv'", "forbidden", "Only reading is allowed here"),
    ("COPY (SELECT 1) TO '/tmp/x.csv'", "forbidden", "Only reading is allowed here"),
    ("SET datafusion.execution.batch_size = 1", "forbidden", "Only reading is allowed here"),
    ("PREPARE p AS SELECT 1", "forbidden", "Only reading is allowed here"),
    ("EXPLAIN COPY people TO '/tmp/x.csv'", "forbidden", "Only reading is allowed here"),
    ("EXPLAIN ANALYZE INSERT INTO people VALUES (1, 'a')", "forbidden", "Only reading is allowed here"),
]


@pytest.mark.parametrize(("sql", "problem", "message"), REFUSED, ids=[sql for sql, _, _ in REFUSED])
def test_what_is_refused_and_how(people: list[Any], sql: str, problem: str, message: str) -> None:
    found = refused(sql, people)
    assert found.problem == problem
    assert message in found.message


def test_a_mistaken_column_is_answered_with_the_nearest(people: list[Any]) -> None:
    assert refused("SELECT citi FROM people", people).remedy == "Did you mean `people.city`? Columns: people.id, people.city."


def test_a_name_with_capitals_is_told_to_be_quoted() -> None:
    context = datafusion.SessionContext()
    context.from_arrow(pa.table({"Customer": ["a"], "id": [1]}), "orders")
    with pytest.raises(Exception, match="Customer") as caught:
        context.sql("SELECT Customer FROM orders")
    found = translate(caught.value)
    assert found.message == "There is no column `customer`."
    hint = 'Did you mean `orders."Customer"`? A name with capitals or a dot is written in double quotes.'
    assert found.remedy == f'{hint} Columns: orders."Customer", orders.id.'


def test_nothing_of_a_query_is_left_for_the_next(people: list[Any]) -> None:
    session = Session()
    for _ in range(2):
        with session.frame("SELECT count(*) AS n FROM people", {}, people) as frame:
            assert frame.to_pydict() == {"n": [10]}
    with pytest.raises(QueryProblem, match="people"), session.frame("SELECT * FROM people", {}, []):
        pass


def test_a_statement_that_comes_again_is_computed_again_and_sees_what_changed(lake: Any, people: list[Any]) -> None:
    session = Session()

    def count(sources: list[Any], sql: str = "SELECT count(*) AS n FROM people WHERE city = 'a'") -> Any:
        with session.frame(sql, {}, sources) as frame:
            return frame.to_pydict()["n"][0]

    assert [count(people), count(people)] == [5, 5]
    lake.add("people", [{"id": 10, "city": "a"}], "delta")
    later = [lake.source("people")]
    assert [count(later), count(people), count(later)] == [6, 5, 6]
    first, second = (count(people, "SELECT CAST(now() AS BIGINT) AS n FROM people LIMIT 1") for _ in range(2))
    assert first < second
    assert len({count(people, "SELECT random() AS n FROM people LIMIT 1") for _ in range(5)}) == 5


def test_a_statement_with_parameters_is_planned_for_each(people: list[Any]) -> None:
    session = Session()
    for city, wanted in (("a", 5), ("c", 0), ("b", 5)):
        with session.frame("SELECT count(*) AS n FROM people WHERE city = $city", {"city": pa.scalar(city)}, people) as frame:
            assert frame.to_pydict() == {"n": [wanted]}
    with pytest.raises(QueryProblem, match="city"), session.frame("SELECT count(*) AS n FROM people WHERE city = $city", {}, people):
        pass


def test_plans_are_kept_for_few_statements_and_none_is_of_a_table_that_was_let_go(
    lake: Any, people: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engines.sql.session.KEPT_TABLES", 1)
    session = Session()
    for number in range(KEPT_STATEMENTS + 5):
        with session.frame(f"SELECT id + {number} AS n FROM people", {}, people):
            pass
    assert len(session._plans) == KEPT_STATEMENTS
    lake.add("people", [{"id": 11, "city": "a"}], "delta")
    with session.frame("SELECT id FROM people", {}, [lake.source("people")]):
        assert len(session._plans) == 1


def test_what_was_asked_last_is_planned_when_its_table_is_opened_ahead(lake: Any, people: list[Any]) -> None:
    session = Session()
    asked = ["SELECT count(*) AS n FROM people", "SELECT city AS c FROM people", "SELECT * FROM people"]
    for sql in asked:
        with session.frame(sql, {}, people):
            pass
    lake.add("people", [{"id": 11, "city": "a"}], "delta")
    now = lake.source("people")
    session.merge(now)
    ahead = dict(session._plans)
    assert [sql for sql, _ in ahead] == asked
    with session.frame(asked[0], {}, [now]) as frame:
        assert frame.to_pydict() == {"n": [11]}
    assert session._plans == ahead, "and nothing is planned once more"


def test_a_statement_that_does_not_fit_any_more_is_passed_over_ahead_and_a_full_disk_is_not(
    lake: Any, people: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session()
    with session.frame("SELECT city FROM people", {}, people):
        pass
    lake.create("people", {"id": "int64", "town": "string"}, ["id"])
    lake.add("people", [{"id": 1, "town": "a"}])
    session.merge(lake.source("people"))
    assert session._plans == {}
    with session.frame("SELECT town FROM people", {}, [lake.source("people")]):
        pass
    lake.add("people", [{"id": 2, "town": "b"}], "delta")

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(session, "_planned", full)
    with pytest.raises(QueryProblem, match="disk"):
        session.merge(lake.source("people"))


PARAMETERS: list[tuple[str, dict[str, Any], Any]] = [
    ("SELECT $a + $b AS x", {"a": 1, "b": 2}, 3),
    ("SELECT $1 AS x", {"1": "it's; DROP TABLE people --"}, "it's; DROP TABLE people --"),
    ("SELECT count(*) AS x FROM people WHERE city = $city", {"city": "a"}, 5),
    ("SELECT count(*) AS x FROM people WHERE id = ANY($ids)", {"ids": [1, 2, 77]}, 2),
    ("SELECT count(*) AS x FROM people WHERE array_has($ids, id)", {"ids": []}, 0),
    ("SELECT count(*) AS x FROM people WHERE city = $city", {"city": None}, 0),
    ("SELECT count(*) AS x FROM people LIMIT $n", {"n": 1}, 10),
    ("SELECT '$no' || \"city\" || $$ $no $$ AS x /* $no */ FROM people WHERE id = 0 -- $no", {}, "$noa $no "),
    (r"SELECT E'it\'s $no' AS x", {}, "it's $no"),
]


@pytest.mark.parametrize(("sql", "params", "value"), PARAMETERS, ids=[sql for sql, _, _ in PARAMETERS])
def test_parameters_are_values(people: list[Any], sql: str, params: dict[str, Any], value: Any) -> None:
    session = Session()
    session.names(sql)
    with session.frame(sql, {name: pa.scalar(given) for name, given in params.items()}, people) as frame:
        assert frame.to_pydict()["x"] == [value]


def test_a_missing_and_an_unused_parameter_are_named() -> None:
    with pytest.raises(QueryProblem, match="No value is given for the parameter \\$b"):
        check_parameters("SELECT $a, $b", {"a": 1})
    with pytest.raises(QueryProblem, match="has no parameter \\$c") as caught:
        check_parameters("SELECT $a", {"a": 1, "c": 1})
    assert caught.value.remedy == "It has: $a."


FILTERS: list[tuple[str, int | None]] = [
    ("id = 1", 1),
    ("people.city = 'a' AND id > 3", 3),
    ("true", 10),
    ("id = 1 -- and so on", 1),
    ("id = 1; SELECT 1", None),
    ("id = 1) OR (1 = 1", None),
    ("id = 1 UNION SELECT 1", None),
    ("id IN (SELECT id FROM people)", None),
    ("EXISTS (SELECT 1 FROM system.audit)", None),
    ("id", None),
    ("*", None),
    ("count(*) > 1", None),
    ("id = $x", None),
    ("", None),
]


@pytest.mark.parametrize(("condition", "rows"), FILTERS, ids=[sql for sql, _ in FILTERS])
def test_a_filter_is_one_condition_and_nothing_else(people: list[Any], condition: str, rows: int | None) -> None:
    session = Session()

    def count() -> int:
        with session.identities(people[0], condition, ["id"]) as frame:
            return sum(batch.num_rows for batch in frame.collect())

    if rows is None:
        with pytest.raises(QueryProblem) as caught:
            count()
        assert caught.value.problem in ("invalid", "unknown-table")
    else:
        assert count() == rows


TEXTS: list[tuple[str, str]] = [
    ("DataFusion error: Resources exhausted: Failed to allocate", "memory"),
    ("External error: Resources exhausted: x", "memory"),
    ("DataFusion error: Object Store error: Object at location /x/y.parquet not found", "storage"),
    ("Arrow error: Parquet argument error: Parquet error: EOF", "storage"),
    ("Arrow error: Cast error: Cannot cast string 'Resources exhausted' to value of Int32 type", "invalid"),
    ("Cast error: Cannot cast string 'it''s an Object Store error' to value", "invalid"),
    ('Schema error: No field named "DDL not supported: x".', "invalid"),
    ("something never seen", "invalid"),
    ("IO error: No space left on device (os error 28)", "disk"),
    ("Cast error: Cannot cast string 'No space left on device' to value of Int32 type", "invalid"),
]


@pytest.mark.parametrize(("text", "problem"), TEXTS)
def test_texts_are_sorted_by_what_they_mean(text: str, problem: str) -> None:
    assert translate(Exception(text)).problem == problem


@pytest.mark.parametrize(("number", "problem"), [(errno.ENOSPC, "disk"), (errno.EDQUOT, "disk"), (errno.ENOENT, "storage")])
def test_a_full_disk_is_no_damaged_table(number: int, problem: str) -> None:
    assert translate(OSError(number, "what the kernel says")).problem == problem


def test_describe_names_types_as_a_spec_does(lake: Any) -> None:
    kinds = {"id": "int64", "name": "string", "born": "date", "pay": "decimal(10,2)", "tags": "list<string>", "seen": "timestamp"}
    lake.create("staff", kinds, ["id"])
    lake.add("staff", [{"id": 1, "name": "a", "born": None, "pay": None, "tags": None, "seen": None}])
    for sql, told in (("DESCRIBE staff", kinds), ("DESCRIBE SELECT name || 'x' AS n FROM staff", {"n": "string"})):
        with Session().frame(sql, {}, [lake.source("staff")]) as frame:
            assert {row["column_name"]: row["data_type"] for row in frame.to_pylist()} == told


def test_what_is_refused_is_told_by_the_types_of_a_spec(people: list[Any]) -> None:
    for sql in (
        "SELECT city + id FROM people WHERE 'Utf8View' = 'a'",
        "SELECT abs(city, city) FROM people",
        "SELECT city AND true FROM people",
    ):
        message = refused(sql, people).message
        assert "string" in message
        assert "Utf8" not in message
