"""What a restricted reader may try by the text of a statement: each is refused, in the same words whatever there is behind it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from engines.errors import QueryError, QueryForbidden, QueryInvalid, TableUnknown
from engines.policies.governed import Governed
from engines.reading import Binding, Reader
from engines.sql.pool import WorkerPool
from engines.sql.query_request import QueryRequest
from engines.sql.service import QueryService
from tests.engines.sql.conftest import Lake
from tests.engines.sql.harness_leaks import CASES, fill

pytestmark = pytest.mark.anyio


class Book:
    def governed(self, dataset: str) -> Governed | None:
        return Governed((CASES[0].rules,)) if dataset in ("people", "visits") else None


READER = Reader(profile="p", role="recruiter", binding=Binding(frozenset({"people", "visits"})), rules=Book())


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = fill(Lake(tmp_path), 0, CASES[0])
    lake.create("payroll", {"id": "string"}, ["id"])
    lake.add("payroll", [{"id": "a"}])
    return lake


async def refusal(lake: Lake, pool: WorkerPool, sql: str, params: Mapping[str, Any] | None = None) -> QueryError | TableUnknown:
    with pytest.raises((QueryError, TableUnknown)) as refused:
        await QueryService(lake.resolver, pool).run(QueryRequest(sql, params), READER)
    return refused.value


@pytest.mark.parametrize(
    "sql",
    [
        "COPY people TO '/tmp/people.csv'",
        "COPY (SELECT 1) TO 'people.parquet'",
        "SET datafusion.execution.batch_size = 1",
        "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
        "CREATE VIEW x AS SELECT * FROM people",
        "CREATE TABLE x AS SELECT * FROM people",
        "INSERT INTO people VALUES (1)",
        "DELETE FROM people",
        "UPDATE people SET name = 'x'",
        "DROP TABLE people",
        "PREPARE p AS SELECT 1",
        "CREATE FUNCTION f() RETURNS int RETURN 1",
        "SELECT 1; SELECT * FROM people",
        "SELECT 1 -- ;\n; SELECT 2",
        "EXPLAIN SELECT * FROM people",
        "EXPLAIN ANALYZE SELECT * FROM people",
        "EXPLAIN VERBOSE SELECT * FROM people",
        "EXPLAIN FORMAT TREE SELECT 1",
        "EXPLAIN SELECT 1",
        "/* */ EXPLAIN -- x\n ANALYZE SELECT 1",
        "SHOW TABLES",
        "SHOW ALL",
        "SHOW COLUMNS FROM people",
    ],
)
async def test_statements_that_do_not_read_rows(lake: Lake, pool: WorkerPool, sql: str) -> None:
    assert isinstance(await refusal(lake, pool, sql), QueryForbidden | QueryInvalid)


@pytest.mark.parametrize("sql", ["SELECT * FROM {}", "DESCRIBE {}", "SELECT id FROM people WHERE id IN (SELECT id FROM {})"])
@pytest.mark.parametrize("table", ["payroll", "nothing_like_that"])
async def test_unknown_and_forbidden_are_the_same(lake: Lake, pool: WorkerPool, sql: str, table: str) -> None:
    said = await refusal(lake, pool, sql.format(table))
    assert isinstance(said, TableUnknown)
    assert (str(said), said.remedy) == (f"There is no table `{table}`.", "`SELECT table_name FROM system.datasets` lists the tables.")


@pytest.mark.parametrize(
    "table",
    [
        *("'/etc/passwd'", '"/etc/passwd"', "'people.parquet'", '"../people"', '"*"', '"%"', '"PEOPLE"', '"people "', '""'),
        *("information_schema.tables", "information_schema.df_settings", "system.audit", "system.buckets", "lakehouse.public.payroll"),
        *("read_parquet('/etc/passwd')", "parquet_metadata('people')"),
    ],
)
async def test_names_that_are_no_tables_of_the_reader(lake: Lake, pool: WorkerPool, table: str) -> None:
    said = await refusal(lake, pool, f"SELECT * FROM {table}")
    assert isinstance(said, TableUnknown | QueryInvalid)
    assert "payroll" not in (said.remedy or "")


@pytest.mark.parametrize(
    "value",
    ["x' OR '1' = '1", "'; SELECT * FROM payroll; --", "P1' UNION SELECT id FROM payroll --", "$role", "status", '" OR true OR "'],
)
async def test_values_that_look_like_sql_are_values(lake: Lake, pool: WorkerPool, value: str) -> None:
    queries = QueryService(lake.resolver, pool)
    sql = "SELECT count(*) AS n FROM people WHERE name = $v OR status = $v"
    assert (await queries.run(QueryRequest(sql, {"v": value}), READER)).rows() == [{"n": 0}]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT cast(CASE WHEN salary = 999 THEN name ELSE '1' END AS int) AS x FROM people",
        "SELECT id FROM people WHERE cast(CASE WHEN salary = 999 THEN name ELSE '1' END AS int) = 1",
        "SELECT count(*) AS n FROM people WHERE 1 / (salary - 999) = 0",
        "SELECT status, 1 / (salary - 999) AS x FROM people ORDER BY x LIMIT 3",
        "SELECT a.id FROM people a JOIN visits b ON a.id = b.id WHERE 1 / (b.salary - 999) = 0",
        "SELECT id, lag(1 / (salary - 999)) OVER (ORDER BY id) AS x FROM people",
        "SELECT id FROM people ORDER BY id OFFSET 1",
    ],
)
async def test_attacks_that_views_fall_to(lake: Lake, pool: WorkerPool, sql: str) -> None:
    """No error, and no row, of those that are hidden."""
    found = (await QueryService(lake.resolver, pool).run(QueryRequest(sql), READER)).rows()
    assert "secret" not in str(found)
    assert not [row for row in found if str(row.get("id", "")).startswith("H")]


async def test_what_is_masked_has_its_own_type_and_no_statistics(lake: Lake, pool: WorkerPool) -> None:
    queries = QueryService(lake.resolver, pool)
    described = (await queries.run(QueryRequest("DESCRIBE people"), READER)).rows()
    assert {row["column_name"]: row["data_type"] for row in described}["salary"] == "int64"
    bounds = "SELECT min(id) AS low, max(id) AS high, max(salary) AS most, count(*) AS n FROM people"
    (told,) = (await queries.run(QueryRequest(bounds), READER)).rows()
    assert told["low"].startswith("P")
    assert told["most"] <= 41
    assert told["n"] < 60
