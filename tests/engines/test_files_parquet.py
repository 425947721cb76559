from __future__ import annotations

import io
from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engines.files import parquet as parquet_reader
from engines.files.source import ColumnPlan


def parquet(table: pa.Table, **options) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


def one(name: str, values: list, kind: pa.DataType) -> bytes:
    return parquet(pa.table({name: pa.array(values, kind)}))


@pytest.mark.parametrize(
    ("arrow", "value", "kind", "kept"),
    [
        (pa.int8(), 1, "int64", 1),
        (pa.uint64(), 2**64 - 1, "decimal(20,0)", Decimal(2**64 - 1)),
        (pa.float32(), 1.5, "float64", 1.5),
        (pa.bool_(), True, "bool", True),
        (pa.large_string(), "x", "string", "x"),
        (pa.dictionary(pa.int8(), pa.string()), "x", "string", "x"),
        (pa.date64(), date(2024, 1, 1), "date", date(2024, 1, 1)),
        (pa.timestamp("ns"), datetime(2024, 1, 1, 1), "timestamp", datetime(2024, 1, 1, 1)),  # noqa: DTZ001
        (pa.timestamp("ms", "Europe/Berlin"), datetime(2024, 1, 1, 1), "timestamp", datetime(2024, 1, 1, 1)),  # noqa: DTZ001
        (pa.decimal128(10, 2), Decimal("1.50"), "decimal(10,2)", Decimal("1.50")),
        (pa.binary(2), b"ab", "binary", b"ab"),
        (pa.list_(pa.int32()), [1, None], "list<int64>", [1, None]),
        (pa.struct([("x", pa.int8())]), {"x": 1}, "string", '{"x":1}'),
        (pa.list_(pa.struct([("x", pa.int8())])), [{"x": 1}], "string", '[{"x":1}]'),
        (pa.map_(pa.string(), pa.int8()), [("k", 1)], "string", '{"k":1}'),
        (pa.map_(pa.int64(), pa.string()), [(1, "x"), (2, None)], "string", '{"1":"x","2":null}'),
        (pa.map_(pa.string(), pa.int8()), [("k", 1), ("k", 2)], "string", '[["k",1],["k",2]]'),
        (pa.struct([("t", pa.timestamp("ns"))]), {"t": 1}, "string", '{"t":"1970-01-01 00:00:00.000000001"}'),
        (pa.struct([("b", pa.binary())]), {"b": b"\xff"}, "string", '{"b":"/w=="}'),
        (pa.struct([("d", pa.decimal128(5, 2))]), {"d": Decimal("1.50")}, "string", '{"d":"1.50"}'),
        (pa.list_(pa.timestamp("ns")), [1], "string", '["1970-01-01 00:00:00.000000001"]'),
        (pa.list_(pa.timestamp("ns")), [1_000], "list<timestamp>", [datetime(1970, 1, 1, 0, 0, 0, 1)]),  # noqa: DTZ001
        (pa.date32(), 4_000_000, "string", "12921-08-18"),
        (pa.time64("us"), datetime(2024, 1, 1, 1, 2).time(), "string", "01:02:00.000000"),  # noqa: DTZ001
        (pa.null(), None, "string", None),
    ],
)
def test_types(lake, arrow, value, kind, kept):
    result = lake.ingest("a.parquet", one("a", [value, None], arrow))
    assert lake.types(result) == {"a": kind}
    assert lake.rows(result) == [{"a": kept}, {"a": None}]


def test_rows_pass_by_row_group(lake):
    told = []
    content = parquet(pa.table({"a": range(1_000)}), row_group_size=100)
    from engines.files.ingest import run

    result = run(lake.task("a.parquet", content), lambda done, total: told.append((done, total)), store=lake.store)
    assert [row["a"] for row in lake.rows(result)] == list(range(1_000))
    assert told[-1] == (len(content), len(content))
    assert sorted(told) == told


def test_a_time_finer_than_microseconds_is_text(lake):
    result = lake.ingest("a.parquet", one("a", [1, 1_001], pa.timestamp("ns")))
    assert lake.types(result) == {"a": "string"}
    assert lake.rows(result)[1] == {"a": "1970-01-01 00:00:00.000001001"}


def test_all_guesses_that_fail_are_told_at_once(lake):
    table = pa.table({f"c{number}": pa.array([1_000] * number + [1], pa.timestamp("ns")).slice(number) for number in range(8)})
    result = lake.ingest("a.parquet", parquet(table))
    assert set(lake.types(result).values()) == {"string"}


def test_an_instant_that_has_no_text_is_refused(refused):
    assert "(row 2)" in refused("a.parquet", one("a", [1, 10**18], pa.timestamp("us"))).reason


def test_batches_are_bounded_by_bytes(lake, monkeypatch):
    monkeypatch.setattr(parquet_reader, "BATCH_BYTES", 10_000)
    content = one("a", [f"{number:0100}" for number in range(1_000)], pa.string())
    reading = parquet_reader.ParquetReading(lake.task("a.parquet", content).source)
    sizes = [batch.num_rows for batch in reading.batches({"a": ColumnPlan("a", "string", "guess")})]
    assert sum(sizes) == 1_000
    assert max(sizes) <= 200


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet at all", one("a", [1] * 1000, pa.int64())[:-20]])
def test_what_is_no_parquet_is_refused(refused, content):
    assert "no readable Parquet" in refused("a.parquet", content).reason


def test_a_reason_is_one_line(refused):
    buffer = io.BytesIO()
    pq.write_table(pa.table({"v": list(range(10_000))}), buffer)
    whole = buffer.getvalue()
    assert "\n" not in refused("a.parquet", whole[:8] + bytes(2_000) + whole[2_008:]).reason


def test_damaged_pages_are_refused(refused):
    content = bytearray(one("a", [f"value {number}" for number in range(5_000)], pa.string()))
    content[100:2_000] = bytes(1_900)
    assert "no readable Parquet" in refused("a.parquet", bytes(content)).reason


def test_a_table_s_type_is_kept(lake, refused):
    schema = lake.ingest("a.parquet", parquet(pa.table({"a": [1], "b": [1.5], "c": ["x"]}))).schema
    given = {"schema": schema, "next_column_id": 4, "next_schema_id": 2}
    widened = lake.ingest("b.parquet", parquet(pa.table({"a": pa.array([1], pa.int8()), "b": [2], "c": [3]})), **given)
    assert lake.rows(widened) == [{"a": 1, "b": 2.0, "c": "3"}]
    error = refused("b.parquet", parquet(pa.table({"a": [1.0]})), **given)
    assert "column `a` is float64, and int64 is the table's type" in error.reason
    assert "{a: float64}" in error.remedy
    error = refused("b.parquet", parquet(pa.table({"b": [1, 2**53 + 1]})), **given)
    assert "column `b`: `9007199254740993` is no float64, the table's type for it (row 2)" in error.reason


def test_two_columns_of_one_name_are_refused(refused):
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    assert "two columns are named `a`" in refused("a.parquet", parquet(table)).reason
