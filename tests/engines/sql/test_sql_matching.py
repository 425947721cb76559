"""Rows of a Parquet file by the values of some of its columns, whatever their type and name."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engines.sql.matching import matching_rows

NAME = 'the "Key"'
KEYS: list[tuple[pa.DataType, list[Any]]] = [
    (pa.string(), ["00123", 'b"c', "d'e"]),
    (pa.int64(), [1, 2**62, -5]),
    (pa.date32(), [dt.date(2020, 1, 1), dt.date(1, 1, 1), dt.date(9999, 12, 31)]),
    (pa.timestamp("us"), [dt.datetime(2020, 1, 1, 1, 2, 3, 4), dt.datetime(1, 1, 1), dt.datetime(2200, 1, 1)]),  # noqa: DTZ001
    (pa.timestamp("us", tz="UTC"), [dt.datetime(2020, 1, 1, 1, 2, 3, 4, tzinfo=dt.UTC), dt.datetime(1999, 1, 1, tzinfo=dt.UTC)]),
    (pa.decimal128(38, 10), [Decimal("1.5"), Decimal("-3.25"), Decimal("1234567890123456789012345678.5678")]),
    (pa.float64(), [0.5, 1e300, -2.0]),
    (pa.bool_(), [True, False]),
    (pa.binary(), [b"a", b"", b"\xff"]),
]


@pytest.mark.parametrize(("kind", "keys"), KEYS, ids=lambda value: str(value) if isinstance(value, pa.DataType) else "")
def test_a_row_is_found_by_its_key(tmp_path: Path, kind: pa.DataType, keys: list[Any]) -> None:
    table = pa.table(
        {NAME: pa.array(keys, kind), "text": ["x" * n for n in range(len(keys))], "list": [["a"] * n for n in range(len(keys))]}
    )
    pq.write_table(table, tmp_path / "0123")
    for number, key in enumerate(table[NAME]):
        assert matching_rows(tmp_path / "0123", {NAME: key.as_py()}).equals(table.slice(number, 1))


def test_all_values_must_match(tmp_path: Path) -> None:
    table = pa.table({"a": [1, 1, 2], "b": ["x", None, "x"]})
    pq.write_table(table, tmp_path / "t")
    assert matching_rows(tmp_path / "t", {"a": 1, "b": "x"}).equals(table.slice(0, 1))
    assert matching_rows(tmp_path / "t", {"a": 3, "b": "x"}).num_rows == 0


@pytest.mark.parametrize("content", [b"", b"PAR1 and no more"])
def test_what_is_no_parquet_says_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(pa.ArrowInvalid, match="t cannot be read"):
        matching_rows(tmp_path / "t", {"a": 1})
