from __future__ import annotations

import base64
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.files import table_writer
from engines.row_keys import DELETED_COLUMN, FILE_COLUMN, ROW_COLUMN, row_key, row_keys
from specs.digests import canonical_json

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))

CASES: list[tuple[pa.Array, list[str]]] = [
    (
        pa.array(["CAND-1", 'a"b', "a\\b", "é", "", "\x00\n\x7f", "[]"]),
        ['["CAND-1"]', '["a\\"b"]', '["a\\\\b"]', '["\\u00e9"]', '[""]', '["\\u0000\\n\\u007f"]', '["[]"]'],
    ),
    (pa.array(["x", "é"], pa.string_view()), ['["x"]', '["\\u00e9"]']),
    (pa.array([1, -5, None]), ["[1]", "[-5]", "[null]"]),
    (pa.array([True, False]), ["[true]", "[false]"]),
    (pa.array([1.0, 0.1, 1e22, float("nan"), float("inf"), None]), ["[1.0]", "[0.1]", "[1e+22]", "[null]", "[null]", "[null]"]),
    (pa.array([date(2024, 1, 31)]), ['["2024-01-31"]']),
    (
        pa.array([datetime.fromisoformat("2024-01-31T01:02:03"), datetime.fromisoformat("2024-01-31T01:02:03.000050")]),
        ['["2024-01-31T01:02:03"]', '["2024-01-31T01:02:03.000050"]'],
    ),
    (pa.array([Decimal("1.50"), Decimal("-0.05")], pa.decimal128(10, 2)), ['["1.50"]', '["-0.05"]']),
    (pa.array([b"\x00\xff"]), [f'["{base64.b64encode(bytes([0, 255])).decode()}"]']),
    (pa.array([None, "x"], pa.string()), ["[null]", '["x"]']),
]


@pytest.mark.parametrize(("values", "keys"), CASES, ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "")
def test_values_of_every_type(values: pa.Array, keys: list[str]) -> None:
    batch = pa.record_batch([values], names=["k"])
    assert row_keys(batch, ["k"]).to_pylist() == keys
    assert row_keys(pa.Table.from_batches([batch, batch]), ["k"]).to_pylist() == keys * 2
    assert [row_key({"k": value}, ["k"]) for value in values.to_pylist()] == keys


@given(st.lists(st.tuples(TEXTS, st.integers(-(2**63), 2**63 - 1)), min_size=1))
def test_a_key_is_canonical_json(rows: list[tuple[str, int]]) -> None:
    batch = pa.record_batch([pa.array([a for a, _ in rows]), pa.array([b for _, b in rows])], names=["a", "b"])
    expected: list[Any] = [canonical_json(list(row)).decode() for row in rows]
    assert row_keys(batch, ["a", "b"]).to_pylist() == expected
    assert row_keys(batch.slice(1), ["a", "b"]).to_pylist() == expected[1:]


def test_without_primary_key_the_file_and_the_row_are_the_key() -> None:
    batch = pa.record_batch([pa.array(["d1", "d1"]), pa.array([0, 7])], names=[FILE_COLUMN, ROW_COLUMN])
    assert row_keys(batch, []).to_pylist() == ["d1:0", "d1:7"]
    assert row_key({FILE_COLUMN: "d1", ROW_COLUMN: 7}, []) == "d1:7"


def test_the_writer_of_files_calls_the_hidden_columns_the_same() -> None:
    assert {FILE_COLUMN, ROW_COLUMN, DELETED_COLUMN} == set(table_writer.HIDDEN)
