"""Checks: what is a condition over a row, and which rows break it."""

from __future__ import annotations

import pyarrow as pa
import pytest

from engines.errors import QueryInvalid
from engines.sql import row_checks
from engines.sql.row_checks import RowChecks

BATCH = pa.record_batch({"hours": pa.array([1.0, 200.0, None]), "id": ["1", "x", "2"], "Big": [1, 2, 3]})


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("hours BETWEEN 0 AND 168", [1]),
        ("hours < 100 OR id = 'x'", []),
        ("hours IS NOT NULL", [2]),
        ('"Big" < 3', [2]),
        ("id LIKE 'now()%' OR id IN ('1', '2')", [1]),
        ("CASE WHEN id = 'x' THEN hours > 500 ELSE true END", [1]),
        ("length(id) = 1 AND regexp_like(id, '^[0-9]$')", [1]),
        ("cast(NULL AS boolean)", []),
        ("replace(lpad(id, 5, '0'), '0', '') <> 'x'", [1]),
    ],
)
def test_rows_that_break_it(condition, rows):
    (broken,) = RowChecks([condition], BATCH.schema).broken(BATCH)
    assert (broken.rows.tolist(), dict(broken.errors)) == (rows, {})


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ("hours", "is double, not true or false"),
        ("NULL", "is null, not true or false"),
        ("hours >", "the end of the statement"),
        ("hours > 1; DROP TABLE x", "found: ;"),
        ("hours > 0, id = 'x'", "found: ,"),
        ("huors > 1", "Did you mean `hours`?"),
        ("hours > (SELECT 1)", "looks beyond the row"),
        ("hours IN (SELECT 1)", "looks beyond the row"),
        ("sum(hours) > 3", "looks beyond the row"),
        ("row_number() OVER () > 1", "looks beyond the row"),
        ("hours > $1", "looks beyond the row"),
        ("hours > random()", "calls random()"),
        ("CASE WHEN id = 'x' THEN hours > 1 ELSE date_part('year', now()) > 1 END", "calls now()"),
        ("hours > 'x'", "Cannot cast string 'x'"),
        ("hours IN (SELECT hours FROM others)", "reads the table `others`, and looks beyond the row"),
        ("(SELECT count(*) FROM '/etc/passwd') > 0", "looks beyond the row"),
        ("length(repeat(id, 2000000000)) > 0", "may make more than 1,000 times its row of it by repeat()"),
        ("lpad(id, \"Big\", 'x') = id", "by lpad()"),
        ("length(replace(replace(id, 'x', repeat('x', 99)), 'x', 'xxxxxxxxxxxx')) > 0", "by replace()"),
        ('cardinality(range("Big")) > 0', "by range()"),
    ],
)
def test_what_is_no_check(condition, reason):
    with pytest.raises(QueryInvalid) as refused:
        RowChecks([condition], BATCH.schema)
    assert reason in str(refused.value)
    assert str(refused.value).startswith(f"the check `{condition}` ")


def test_a_row_for_which_it_cannot_be_computed_breaks_it():
    holds, fails = RowChecks(["hours > 0", "cast(id AS int) > 0"], BATCH.schema).broken(BATCH)
    assert holds.rows.tolist() == []
    assert fails.rows.tolist() == [1]
    assert fails.errors[1].startswith("Cast error: Cannot cast string 'x'")


def test_many_such_rows_are_the_checks_fault(monkeypatch):
    monkeypatch.setattr(row_checks, "MOST_ERRORS", 3)
    batch = pa.record_batch({"id": ["x"] * 5})
    with pytest.raises(QueryInvalid, match="cannot be computed for many rows"):
        RowChecks(["cast(id AS int) > 0"], batch.schema).broken(batch)
