"""Which columns a statement reads, as its text tells; beside what the engine itself reads."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest
from datafusion import SessionContext
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.sql.columns_read import ColumnsRead, Schemas, columns_read, parses
from engines.sql.statement_shape import shape

PEOPLE, JOBS, EVENTS = ("id", "name", "phone", "First Name", "city"), ("id", "title", "city", "pay"), ("id", "kind", "at")
SCHEMAS = {"people": PEOPLE, "jobs": JOBS, "system.events": EVENTS}

WORDS = tuple("SELECT FROM people name ( ) * , . WITH AS x UNION = 'a' JOIN ON NATURAL { } [ ] :: - IN".split(" "))  # noqa: SIM905


def read(sql: str, *tables: str) -> object:
    found = columns_read(sql, shape(sql, "answered"), {name: SCHEMAS[name] for name in tables})
    return None if found is None else {name: list(columns) for name, columns in found.items()}


NOT_OF_THE_ENGINE = ("system.", ".first", "SELECT city FROM people, jobs", "UNION SELECT *", "IN (SELECT city, title")
"""What it has not here, or does not take."""
CASES: tuple[tuple[str, dict[str, list[str]]], ...] = (
    ("SELECT name FROM people WHERE phone = '5' ORDER BY city", {"people": ["city", "name", "phone"]}),
    ('SELECT PHONE, "First Name" FROM People', {"people": ["First Name", "phone"]}),
    ("SELECT count(*) FROM people", {"people": []}),
    ("SELECT count(DISTINCT city) FROM people", {"people": ["city"]}),
    ("SELECT * FROM people", {"people": sorted(PEOPLE)}),
    ("SELECT p.*, j.pay FROM people p JOIN jobs j ON p.id = j.id", {"people": sorted(PEOPLE), "jobs": ["id", "pay"]}),
    ("SELECT name, title FROM people JOIN jobs USING (city)", {"people": ["city", "name"], "jobs": ["city", "title"]}),
    ("SELECT city FROM people, jobs", {"people": ["city"], "jobs": ["city"]}),
    ("SELECT people.city FROM people, jobs", {"people": ["city"], "jobs": []}),
    ("SELECT system.events.kind FROM system.events", {"system.events": ["kind"]}),
    ("SELECT e.kind FROM system.events AS e", {"system.events": ["kind"]}),
    ("WITH x AS (SELECT id, phone FROM people) SELECT max(id) FROM x", {"people": ["id", "phone"]}),
    ("WITH people AS (SELECT pay FROM jobs) SELECT pay FROM people", {"jobs": ["pay"]}),
    ("SELECT u.n FROM (SELECT name AS n, phone FROM people) u", {"people": ["name", "phone"]}),
    ("SELECT name FROM people p WHERE EXISTS (SELECT 1 FROM jobs WHERE jobs.id = p.id AND phone = title)",
     {"people": ["id", "name", "phone"], "jobs": ["id", "title"]}),
    ("SELECT (SELECT max(pay) FROM jobs) FROM people", {"people": [], "jobs": ["pay"]}),
    ("SELECT name FROM people UNION ALL SELECT title FROM jobs", {"people": ["name"], "jobs": ["title"]}),
    ("SELECT name FROM people UNION SELECT * FROM jobs", {"people": ["name"], "jobs": sorted(JOBS)}),
    ("SELECT row_number() OVER (PARTITION BY city ORDER BY phone) FROM people", {"people": ["city", "phone"]}),
    ("SELECT sum(id) FILTER (WHERE city = 'x') FROM people GROUP BY name HAVING max(phone) > 'a'",
     {"people": ["city", "id", "name", "phone"]}),
    ("SELECT CASE WHEN phone IS NULL THEN name ELSE city END FROM people", {"people": ["city", "name", "phone"]}),
    ("SELECT name.first FROM people", {"people": ["name"]}),
    ("SELECT people.name.first FROM people", {"people": ["name"]}),
    ("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT n, name FROM r, people",
     {"people": ["name"]}),
    ("SELECT name FROM people p WHERE id IN (SELECT id FROM jobs WHERE pay > (SELECT avg(pay) FROM jobs j WHERE j.city = p.phone))",
     {"people": ["id", "name", "phone"], "jobs": ["city", "id", "pay"]}),
    ("SELECT l.x FROM people, LATERAL (SELECT pay AS x FROM jobs WHERE title = phone) AS l",
     {"people": ["phone"], "jobs": ["pay", "title"]}),
    ("SELECT name FROM people WHERE (city, phone) IN (SELECT city, title FROM jobs)",
     {"people": ["city", "name", "phone"], "jobs": ["city", "title"]}),
)  # fmt: skip


@pytest.mark.parametrize(("sql", "expected"), CASES)
def test_columns(sql: str, expected: dict[str, list[str]]) -> None:
    assert read(sql, *expected) == expected


@pytest.mark.parametrize(("sql", "expected"), [case for case in CASES if not any(part in case[0] for part in NOT_OF_THE_ENGINE)])
def test_the_engine_reads_no_other(sql: str, expected: dict[str, list[str]]) -> None:
    """Of what it does not optimise away, which may be all."""
    context = SessionContext()
    for table in ("people", "jobs"):
        rows = {column: pa.array([1, 2], pa.int64()) if column in ("id", "pay") else pa.array(["a", "b"]) for column in SCHEMAS[table]}
        context.register_record_batches(table, [[pa.record_batch(rows)]])
    plan = context.sql(sql).optimized_logical_plan().display_indent()
    for table, columns in re.findall(r"TableScan: (people|jobs)\b.*? projection=\[([^]]*)\]", plan):
        assert set(columns.split(", ")) - {""} <= set(expected[table]), plan


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT name FROM people NATURAL JOIN jobs",
        "/* */ EXPLAIN SELECT name FROM people",
        "EXPLAIN (FORMAT TREE) SELECT name FROM people",
        "EXPLAIN COPY people TO '/tmp/x'",
        "DESCRIBE other",
        "SELECT name FROM people; SELECT 1",
        "SELECT " + "(" * 60 + "name" + ")" * 60 + " FROM people",
        "SELECT " + "+".join(["1"] * 2_000) + ", name FROM people",
        "SELECT name FROM people WHERE name = '" + "x" * 20_000 + "'",
        "SELECT name FROM other",
        "name of people",
        "",
    ],
)
def test_what_does_not_tell(sql: str) -> None:
    assert read(sql, "people") is None


@pytest.mark.parametrize(("before", "after"), [("ARRAY[", "]"), ("date (", ")")])
def test_what_is_gone_over_again_and_again_is_given_up(before: str, after: str) -> None:
    """Each of these doubles the parser's work: forty would take years."""
    assert read("SELECT " + before * 3 + "name" + after * 3 + " FROM people", "people") == {"people": ["name"]}
    sql = "SELECT " + before * 40 + "name" + after * 40 + " FROM people"
    assert read(sql, "people") is None
    assert not parses(sql)


@pytest.mark.parametrize("about", ["EXPLAIN ", "explain analyze verbose\n", "EXPLAIN FORMAT TREE ", "DESCRIBE "])
def test_a_statement_that_is_explained_reads_what_it_would(about: str) -> None:
    assert read(f"{about}SELECT name FROM people WHERE phone = '5'", "people") == {"people": ["name", "phone"]}


def test_comments_nest() -> None:
    assert read("/* /* */ EXPLAIN SELECT name FROM people -- */ SELECT phone FROM people", "people") == {"people": ["phone"]}


@pytest.mark.parametrize("sql", ["DESCRIBE people", "desc People", 'DESCRIBE "people"'])
def test_a_table_that_is_described_is_read_whole(sql: str) -> None:
    assert read(sql, "people") == {"people": sorted(PEOPLE)}


def test_a_condition_over_columns_that_nobody_knows() -> None:
    tables: Schemas = {"people": None}
    sql = "SELECT 1 FROM people WHERE (city = 'x' AND lower(phone) > 'a')"
    assert columns_read(sql, shape(sql, "answered"), tables) == {"people": ("city", "phone")}
    assert columns_read("SELECT * FROM people", shape("SELECT * FROM people", "answered"), tables) is None


def test_statements_of_one_shape_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    monkeypatch.setattr("engines.sql.columns_read.columns_read", lambda sql, *_: looked.append(sql))
    columns, tables = ColumnsRead(), {"people": PEOPLE}
    for sql in ("SELECT name FROM people WHERE id = 1", "SELECT name FROM people WHERE id = 2", "SELECT phone FROM people"):
        columns.of(sql, shape(sql, "answered"), tables)
    assert len(looked) == 2
    assert columns.known(shape("SELECT phone FROM people", "answered"), tables) == (True, None)
    assert columns.known(shape("SELECT phone FROM people", "answered"), {"people": ("phone",)}) == (False, None)


def test_whether_it_is_sql(caplog: pytest.LogCaptureFixture) -> None:
    assert parses("SELECT a FROM b")
    assert not parses("Dear Bob")
    assert not parses("SHOW 'secret'")
    assert "secret" not in caplog.text


@settings(max_examples=60)
@given(st.lists(st.sampled_from(WORDS), max_size=30))
def test_it_never_fails(words: list[str]) -> None:
    sql = " ".join(words)
    found = columns_read(sql, shape(sql, "answered"), {"people": PEOPLE})
    assert found is None or set(found["people"]) <= set(PEOPLE)
