"""SQL of specs is looked at before there is any data."""

from __future__ import annotations

import pytest

from engines.sql.spec_sql import fault
from specs.kinds.dataset import DatasetSpec


def of(source: str = "SELECT 1 AS x", *checks: str) -> str | None:
    document = {"source": {"sql": source}} if not checks else {"source": {"files": "a.csv"}, "contract": {"checks": list(checks)}}
    return fault(DatasetSpec.model_validate(document))


@pytest.mark.parametrize("sql", ["SELEC x FROM a", "SELECT x FROM (", "SELECT x FROM a WHERE"])
def test_a_query_that_is_none(sql: str) -> None:
    found = of(sql)
    assert found is not None
    assert found.startswith("`source.sql` is no query: ")


@pytest.mark.parametrize("sql", ["SELECT x FROM nowhere", "WITH a AS (SELECT 1 AS x) SELECT count(*) AS n FROM a JOIN b USING (x)"])
def test_a_query_over_what_is_not_known_here(sql: str) -> None:
    assert of(sql) is None


@pytest.mark.parametrize(
    ("check", "words"),
    [
        ("x >", "is no condition"),
        ("now() > 1", "calls now(), so that the same row may fit now and not later"),
        ("current_date > x", "may fit now and not later"),
        ("foo(x)", "is no condition"),
        ("x > (SELECT 1)", "looks beyond the row"),
        ("count(x) > 1", "looks beyond the row"),
    ],
)
def test_a_check_that_can_be_none(check: str, words: str) -> None:
    found = of("", "n > 0", check)
    assert found is not None
    assert found.startswith(f"`contract.checks`: the check `{check}` ")
    assert words in found


@pytest.mark.parametrize(
    "check",
    [
        "hours < 100 OR note IS NOT NULL",
        "x LIKE 'now()%'",
        "\"by.name\" = 'a'",
        "CAST(x AS INT) > 1",
        "lower(Name) IN ('a', 'b')",
        "row.x > 1",
        "x BETWEEN 1 AND 2",
        "regexp_like(x, '^a') AND length(y) > 2",
        "CASE WHEN a THEN b > 1 ELSE c END",
        "date_part('year', d) > 2000",
    ],
)
def test_a_check_over_columns_that_are_not_known_here(check: str) -> None:
    assert of("", check) is None
