"""SQL of policies: whole expressions over a row, with or without its table."""

from __future__ import annotations

from typing import Any

import pytest

from engines.policies.compiling import Columns, compiled
from engines.policies.governed import NO_ROW, Governed, PolicyRules, RowRule
from engines.sql.policy_sql import check, fault, fault_alone
from specs.kinds.policy import PolicySpec

COLUMNS = {"id": "int64", "name": "string", "Pay": "decimal(10,2)", "born": "date", "tags": "list<string>", "raw": "binary"}


def spec_of(where: str | None = None, expression: str | None = None, column: str = "name") -> PolicySpec:
    given: dict[str, Any] = {"dataset": "people"}
    if where is not None:
        given["rows"] = [{"roles": "r", "where": where}]
    if expression is not None:
        given["columns"] = [{"columns": column, "mask": {"expression": expression}}]
    return PolicySpec.model_validate(given)


def told(spec: PolicySpec) -> str | None:
    return fault(compiled("p", spec, Columns(COLUMNS)), COLUMNS)


@pytest.mark.parametrize(
    "where",
    ["true", "name = $who", "id = cast($team AS bigint)", '"Pay" > 10', "array_has(tags, $tag)", "born > date '2000-01-01'", "name ~ '^a'"],
)
def test_conditions(where: str) -> None:
    assert told(spec_of(where)) is None
    assert fault_alone(spec_of(where)) is None


@pytest.mark.parametrize(
    ("expression", "column"),
    [("upper(name)", "name"), ("id", "name"), ("0", "Pay"), ("'2000-01-01'", "born"), ("make_array($role)", "tags"), ("NULL", "raw")],
)
def test_expressions_of_what_the_column_can_hold(expression: str, column: str) -> None:
    assert told(spec_of(None, expression, column)) is None


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("true) OR (true", "cannot be parsed"),
        ("true -- and", "cannot be parsed"),
        ("name =", "cannot be parsed"),
        ("true AS c", "looks beyond the row"),
        ("id IN (1, 2); SELECT 1", "cannot be parsed"),
        ("sum(id) > 1", "looks beyond the row"),
        ("now() > born", "answers differently each time"),
        ("nobody(name)", "cannot be parsed"),
        ("1 = " + "1 + " * 2_000 + "1", "4,000 are allowed"),
    ],
)
def test_what_can_be_no_condition(where: str, said: str) -> None:
    found = fault_alone(spec_of(where))
    assert found is not None
    assert said in found
    assert found.startswith("`where` ")
    assert told(spec_of(where)) is not None


@pytest.mark.parametrize(
    "where", ["false", " FALSE ", "(false)", "1 = 2", "1 = null", "id = 1 AND false", "name = $role AND 'a' = 'b' OR false"]
)
def test_conditions_that_hold_for_no_row(where: str) -> None:
    rules = compiled("p", spec_of(where), Columns(COLUMNS))
    found = check(rules, COLUMNS)
    assert (found.fault, found.never) == (None, {where})
    assert Governed((rules.without(found.never),)).shown_to("r").row_filter == NO_ROW


@pytest.mark.parametrize("where", ["true", "id = 1", "$role = 'a'", "length($role) > 3", "id = 1 OR false", "id > 1 AND id < 0"])
def test_conditions_that_may_hold(where: str) -> None:
    assert not check(compiled("p", spec_of(where), Columns(COLUMNS)), COLUMNS).never


def test_a_rule_that_permits_no_row_takes_none_from_another() -> None:
    rules = PolicyRules("p", (RowRule(frozenset("r"), "1 = 2"), RowRule(frozenset("r"), "id = 1"))).without({"1 = 2"})
    assert Governed((rules,)).shown_to("r").row_filter == "(id = 1)"


@pytest.mark.parametrize("where", ["name", "nobody = 1", "id IN (SELECT id FROM people)", "name > born AND id > 'x'"])
def test_what_only_the_table_tells(where: str) -> None:
    assert told(spec_of(where)) is not None


def test_an_expression_of_another_kind() -> None:
    found = told(spec_of(None, "make_array(1)", "born"))
    assert found is not None
    assert found.startswith("`expression` `make_array(1)` cannot be planned")


@pytest.mark.parametrize(
    ("column", "mask", "said"),
    [
        (
            "name",
            "year",
            "nothing of `name`, which is string: it is for dates and timestamps; `columns: {name: {type: date}}`",
        ),
        (
            "id",
            "lastFour",
            "nothing of `id`, which is int64: it is for text; `columns: {id: {type: string}}` in the Dataset",
        ),
        ("Pay", "hash", "`columns: {Pay: {type: string}}`"),
        ("id", {"constant": "unknown"}, "mask constant shows nothing of `id`, which is int64: give a constant that int64 can be"),
        ("id", "year", "which is int64: it is for dates and timestamps; use {expression: …}, or 'null' if that is meant"),
        ("born", "year", None),
        ("name", "lastFour", None),
        ("id", {"constant": 0}, None),
        ("id", {"expression": "id % 10"}, None),
        ("id", "null", None),
        ("id", "redact", None),
    ],
)
def test_masks_that_show_nothing_of_a_type(column: str, mask: Any, said: str | None) -> None:
    spec = PolicySpec.model_validate({"dataset": "people", "columns": [{"columns": column, "mask": mask}]})
    found = check(compiled("p", spec, Columns(COLUMNS)), COLUMNS)
    assert found.fault is None
    assert [each.column for each in found.unfit] == ([] if said is None else [column])
    assert said is None or said in found.unfit[0].said
