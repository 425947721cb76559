from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa
import pytest

from engines.sql.json_rows import json_rows, type_name
from engines.sql.problems import QueryProblem
from engines.sql.protocol import Closed
from engines.sql.results import encode
from engines.sql.shared import mapped
from engines.sql.text_size import row_sizes

SCHEMA = pa.schema([("text", pa.string_view()), ("n", pa.int64())])


def batches(count: int, rows: int, text: str = "x") -> Iterator[pa.RecordBatch]:
    for number in range(count):
        yield pa.record_batch([pa.array([text] * rows, pa.string_view()), pa.array([number] * rows)], schema=SCHEMA)


def read(ipc: bytes | memoryview) -> pa.Table:
    return pa.ipc.open_stream(ipc).read_all()


@pytest.mark.parametrize(("limit", "truncated"), [(29, True), (30, False), (31, False), (10, True), (0, True)])
def test_rows_are_cut_and_the_cut_is_told(limit: int, truncated: bool) -> None:
    result = encode(SCHEMA, batches(3, 10), limit, 1 << 20)
    assert (result.rows, result.truncated) == (min(limit, 30), truncated)
    assert read(result.ipc).num_rows == result.rows
    assert read(result.ipc).schema.types == [pa.string(), pa.int64()]


def test_bytes_are_cut_within_a_batch() -> None:
    result = encode(SCHEMA, batches(3, 100, "y" * 1000), 1000, 50_000)
    assert result.truncated
    assert 30 < result.rows < 60
    assert len(result.ipc) < 60_000


def test_no_more_is_read_than_needed() -> None:
    source = batches(1_000_000, 10)
    assert encode(SCHEMA, source, 15, 1 << 20).rows == 15
    assert next(source).column("n")[0].as_py() == 2


def test_small_batches_are_written_as_one() -> None:
    with pa.ipc.open_stream(encode(SCHEMA, batches(700, 3), 10_000, 1 << 20).ipc) as reader:
        assert [batch.num_rows for batch in reader] == [1026, 1026, 48]


def test_a_row_that_cannot_fit_is_an_error() -> None:
    with pytest.raises(QueryProblem) as caught:
        encode(SCHEMA, batches(1, 1, "z" * 10_000), 10, 1000)
    assert caught.value.problem == "too-large"


def test_no_rows_are_a_result_too() -> None:
    result = encode(SCHEMA, iter(()), 10, 1000)
    assert (result.rows, result.truncated, read(result.ipc).column_names) == (0, False, ["text", "n"])


LONG = pa.array(["z" * 2_000] * 1_000).dictionary_encode()


@pytest.mark.parametrize(
    "columns",
    [
        {"x": LONG},
        {"n" * 2_000: pa.array([1] * 1_000)},
        {f"c{number}": pa.nulls(1_000) for number in range(150)},
        {"x": pa.array([["z" * 100] * 20] * 1_000)},
        {"x": pa.array([{"n" * 1_000: None, "z": "z" * 1_000}] * 1_000)},
        {"x": pa.array([b"z" * 1_500] * 1_000)},
    ],
    ids=["a dictionary", "a long name", "many nulls", "lists", "structs", "binary"],
)
def test_what_is_long_as_json_is_cut_as_well(columns: dict[str, pa.Array]) -> None:
    table = pa.table(columns)
    result = encode(table.schema, table.to_batches(), 10_000, 100_000)
    text = len(orjson.dumps(json_rows(read(result.ipc))))
    assert result.truncated
    assert 50_000 < text < 130_000
    assert 0.5 < text / result.text < 1.3


SIZES: dict[str, pa.Array] = {
    "string": pa.array(["a", None, ""]),
    "view": pa.array(["a", None, "long " * 10], pa.string_view()),
    "dictionary": pa.array(["a", None, "bb"]).dictionary_encode(),
    "list": pa.array([["a", None], None, []]),
    "slice": pa.array([["x"], ["a", None], None, []]).slice(1),
    "map": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
    "struct": pa.array([{"a": [1, 2]}, None, {"a": None}]),
    "interval": pa.array([pa.MonthDayNano([1, 2, 3]), None, None]),
    "decimal": pa.array([Decimal("1.50"), None, None]),
}


@pytest.mark.parametrize("kind", SIZES)
def test_sizes_are_of_each_row_and_never_far_too_small(kind: str) -> None:
    array = SIZES[kind]
    sizes = row_sizes(pa.record_batch([array], names=["x"]))
    written = [len(orjson.dumps(row)) for row in json_rows(pa.table({"x": array}))]
    assert len(sizes) == len(array)
    assert all(size >= text - 2 for size, text in zip(sizes.tolist(), written, strict=True)), (sizes, written)


VALUES: list[tuple[pa.Array, str, list[Any]]] = [
    (pa.array([1, None, 2**63 - 1]), "int64", [1, None, 9223372036854775807]),
    (pa.array([2**64 - 1], pa.uint64()), "decimal(20,0)", [18446744073709551615]),
    (pa.array([1.5, float("nan"), float("inf"), None]), "float64", [1.5, None, None, None]),
    (pa.array([True, None]), "bool", [True, None]),
    (pa.array(["a", None]), "string", ["a", None]),
    (pa.array(["a"]).dictionary_encode(), "string", ["a"]),
    (pa.array([date(2024, 1, 31)]), "date", ["2024-01-31"]),
    (pa.array([datetime.fromisoformat("2024-01-31T10:00:00.5")]), "timestamp", ["2024-01-31T10:00:00.500000"]),
    (pa.array([1700000000000000001], pa.timestamp("ns")), "timestamp", ["2023-11-14T22:13:20"]),
    (pa.array([datetime(2024, 1, 31, tzinfo=UTC)], pa.timestamp("ms", "UTC")), "timestamp", ["2024-01-31T00:00:00.000Z"]),
    (pa.array([Decimal("1.50"), Decimal("0E-2")], pa.decimal128(10, 2)), "decimal(10,2)", ["1.50", "0.00"]),
    (pa.array([b"\x00\xff"]), "binary", ["AP8="]),
    (pa.array([["a", None], None, []]), "list<string>", [["a", None], None, []]),
    (pa.array([[float("nan")]]), "list<float64>", [[None]]),
    (
        pa.array([{"a": date(2024, 1, 1), "b": [b"x"]}]),
        "struct<a: date32[day], b: list<item: binary>>",
        [{"a": "2024-01-01", "b": ["eA=="]}],
    ),
    (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), "map<string, int64>", [[["k", 1]]]),
    (pa.array([time(10, 30)], pa.time64("ns")), "time64[ns]", ["10:30:00"]),
    (pa.array([timedelta(seconds=1)]), "duration[us]", [1_000_000]),
    (pa.nulls(1), "null", [None]),
    (pa.array([4_000_000, None], pa.date32()), "date", ["12921-08-18", None]),
    (pa.array([[1]], pa.list_(pa.timestamp("ns"))), "list<timestamp>", [["1970-01-01 00:00:00.000000001"]]),
]


@pytest.mark.parametrize(("array", "kind", "values"), VALUES, ids=[str(array.type) for array, _, _ in VALUES])
def test_values_as_json(array: pa.Array, kind: str, values: list[Any]) -> None:
    assert type_name(array.type) == kind
    rows = json_rows(pa.table({"x": array}))
    assert rows == [{"x": value} for value in values]
    assert orjson.loads(orjson.dumps(rows)) == rows


def test_an_interval_is_text() -> None:
    array = pa.array([pa.MonthDayNano([1, 2, 3])])
    assert json_rows(pa.table({"x": array})) == [{"x": "1 months 2 days 3 ns"}]


@pytest.mark.parametrize(("count", "large"), [(1, False), (40, True)])
def test_a_large_stream_is_shared_and_reads_the_same(count: int, large: bool) -> None:
    alone = encode(SCHEMA, batches(count, 1000, "y" * 50), 1_000_000, 1 << 30)
    shared = encode(SCHEMA, batches(count, 1000, "y" * 50), 1_000_000, 1 << 30, share=True)
    assert (alone.shared, shared.shared is not None) == (None, large)
    assert (shared.rows, shared.text, shared.truncated, shared.size) == (alone.rows, alone.text, alone.truncated, alone.size)
    if shared.shared is None:
        assert shared.ipc == alone.ipc
        return
    view = mapped(os.getpid(), shared.shared.number, shared.size)
    shared.shared.close()
    assert bytes(view) == alone.ipc
    assert read(view).num_rows == 40_000


def test_shared_memory_is_let_go_where_a_result_fails() -> None:
    def failing() -> Iterator[pa.RecordBatch]:
        yield from batches(40, 1000, "y" * 50)
        raise ValueError("on purpose")

    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names, not paths
    with pytest.raises(ValueError, match="on purpose"):
        encode(SCHEMA, failing(), 1_000_000, 1 << 30, share=True)
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_what_a_dead_worker_shared_is_closed() -> None:
    with pytest.raises(Closed):
        mapped(4_194_305, 3, 10)
