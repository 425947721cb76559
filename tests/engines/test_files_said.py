"""Hashes of rows: what makes a row another one, and what does not."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from engines.files.said import row_hashes
from state.catalog.schemas import Column, Schema

SCHEMA = Schema(1, (Column(1, "id", "int64"), Column(2, "name", "string"), Column(3, "tags", "list<string>")))


def hashes(rows: pa.RecordBatch, schema: Schema = SCHEMA) -> list[tuple[int, int]]:
    first, second = row_hashes(rows, schema)
    return list(zip(first.tolist(), second.tolist(), strict=True))


def batch(**columns: Any) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(columns)


def test_rows_that_differ_in_anything_have_other_hashes() -> None:
    names = pa.array(["a", "b", "", None, "a", "a", "a"], pa.string())
    tags = pa.array([["x"], ["x"], ["x"], ["x"], None, [], ["x", "y"]], pa.list_(pa.string()))
    assert len(set(hashes(batch(id=[1] * 7, name=names, tags=tags)))) == 7
    assert len(set(hashes(batch(id=[1, 2], name=["2", "1"])))) == 2
    assert hashes(batch(id=[1], name=["a"])) != hashes(batch(id=[1], name=["a"], _deleted=[True]))


def test_columns_are_known_by_their_ids_and_nulls_say_nothing() -> None:
    plain = hashes(batch(id=[1, 2], name=["a", "b"]))
    assert hashes(batch(name=["a", "b"], id=[1, 2], tags=pa.nulls(2, pa.list_(pa.string())), _deleted=[False, None])) == plain
    renamed = Schema(2, (Column(1, "key", "int64"), Column(2, "called", "string")))
    assert hashes(batch(key=[1, 2], called=["a", "b"]), renamed) == plain
    other = Schema(3, (Column(1, "id", "int64"), Column(4, "name", "string")))
    assert hashes(batch(id=[1, 2], name=["a", "b"]), other) != plain


@pytest.mark.parametrize(
    ("one", "other"),
    [(1.5, 1.25), (Decimal("1.10"), Decimal("1.11")), (date(2024, 1, 1), date(2024, 1, 2)), (True, False), (b"a", b"b")],
)
def test_values_of_every_kind(one: Any, other: Any) -> None:
    first, second, third = hashes(batch(id=[1, 1, 1], name=[one, other, one]))
    assert first == third != second
