"""What is shown where a policy fails on rows, however many they are."""

from __future__ import annotations

import pyarrow as pa
import pytest

from engines.sql.careful import Careful
from engines.sql.problems import QueryProblem
from engines.sql.shown import Masked, ShownAs

MASKS = (Masked("part", "expression", "substr('abc', cast(name AS int))"), Masked("salary", "expression", "100 / salary"))


def batch(names: list[str], salaries: list[int]) -> pa.RecordBatch:
    texts = pa.array(names, pa.string())
    return pa.record_batch({"name": texts, "salary": pa.array(salaries, pa.int64()), "part": texts})


def shown(rows: pa.RecordBatch, as_: ShownAs) -> list[dict[str, object]]:
    return [row for found in Careful("people", as_).rows([rows]) for row in found.to_pylist()]


@pytest.mark.parametrize("count", [1, 2, 127, 128, 129, 700])
def test_every_row_fails(count: int) -> None:
    rows = batch(["x"] * count, [0] * count)
    assert shown(rows, ShownAs("cast(name AS int) >= 0")) == []
    masked = [{"name": "x", "salary": None, "part": None}] * count
    assert shown(rows, ShownAs(None, MASKS)) == masked


def test_some_rows_fail_in_some_way() -> None:
    names = ["1" if number % 3 else "x" for number in range(300)]
    salaries = [number % 5 for number in range(300)]
    rows = batch(names, salaries)
    found = shown(rows, ShownAs("1 / (salary - 4) < 9", MASKS))
    assert found == [
        {"name": name, "salary": 100 // salary if salary else None, "part": "abc" if name == "1" else None}
        for name, salary in zip(names, salaries, strict=True)
        if salary != 4
    ]


def test_none_and_no_rows() -> None:
    assert shown(batch([], []), ShownAs("cast(name AS int) >= 0", MASKS)) == []
    assert [row["name"] for row in shown(batch(["1", "2"], [1, 1]), ShownAs("cast(name AS int) > 1"))] == ["2"]


def test_what_cannot_be_planned() -> None:
    with pytest.raises(QueryProblem, match="cannot be evaluated"):
        shown(batch(["1"], [1]), ShownAs("nothing > 1"))


def test_keys_are_carried_beside_their_masks() -> None:
    careful = Careful("people", ShownAs("cast(name AS int) > 0", (Masked("name", "null"),)), ("name",))
    found = [row for part in careful.rows([batch(["1", "x"], [1, 2])]) for row in part.select(["name", "__carried_name"]).to_pylist()]
    assert found == [{"name": None, "__carried_name": "1"}]
