"""Declared columns and JSON lines as Arrow. The only module of the streams, with `tables.py`, that imports pyarrow.

Lines are parsed by Arrow itself, a million a second. A line that does not fit its declared types costs no row: the batch
is then read value by value, text is made of what is not text, and what cannot be converted is null.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from state.streams.schemas import ColumnType, StreamColumn
from state.timestamps import from_iso

MIN_BLOCK = 4 << 20
MAX_CHUNKS = 64

_TYPES: dict[ColumnType, pa.DataType] = {
    "string": pa.string(),
    "json": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("ms", "UTC"),
}


def arrow_schema(columns: Iterable[StreamColumn]) -> pa.Schema:
    """Every column nullable, in the order given."""
    return pa.schema([pa.field(column.name, _TYPES[column.type]) for column in columns])


def from_lines(lines: Sequence[bytes], columns: Sequence[StreamColumn]) -> pa.Table:
    """One row a line, each a JSON object; fields that are no columns are left out, columns that it lacks are null."""
    schema = arrow_schema(columns)
    if not lines:
        return schema.empty_table()
    blocks = pj.ReadOptions(block_size=max(MIN_BLOCK, 2 * max(map(len, lines)) + 2))
    parsing = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    try:
        return pj.read_json(io.BytesIO(b"\n".join(lines)), read_options=blocks, parse_options=parsing)
    except pa.ArrowInvalid:
        events = [orjson.loads(line) for line in lines]
        return from_rows([tuple([event.get(column.name) for column in columns]) for event in events], columns)


def from_rows(rows: Sequence[Sequence[Any]], columns: Sequence[StreamColumn]) -> pa.Table:
    """One row a sequence of values, in the order of the columns. Times are ISO text."""
    schema = arrow_schema(columns)
    values = list(zip(*rows, strict=True)) if rows else [()] * len(columns)
    arrays = [_array(given, column.type) for given, column in zip(values, columns, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(values: Sequence[Any], kind: ColumnType) -> pa.Array:
    if kind == "timestamp":
        values = [_converted(_instant, value) for value in values]
    try:
        return pa.array(values, _TYPES[kind])
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([_converted(_CONVERSIONS[kind], value) for value in values], _TYPES[kind])


def _converted(convert: Callable[[Any], Any], value: Any) -> Any:
    if value is not None:
        with suppress(ValueError, TypeError, OverflowError):
            return convert(value)
    return None


def _instant(value: Any) -> Any:
    return from_iso(value) if isinstance(value, str) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _integer(value: Any) -> int | None:
    return int(value) if -(2**63) <= int(value) < 2**63 else None


def _truth(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


_CONVERSIONS: dict[ColumnType, Callable[[Any], Any]] = {
    "string": _text,
    "json": _text,
    "int64": _integer,
    "float64": float,
    "bool": _truth,
    "timestamp": lambda value: value,
}


def distinct(table: pa.Table) -> pa.Table:
    """Each `id` once, its first row; most tables come back as they are."""
    if pc.count_distinct(table["id"]).as_py() == table.num_rows:
        return table
    numbered = table.select(["id"]).append_column("row", pa.array(range(table.num_rows), pa.int64()))
    first = numbered.group_by("id").aggregate([("row", "min")])["row_min"]
    return table.take(first.take(pc.sort_indices(first)))


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables of one schema, one after the other, in few chunks."""
    table = pa.concat_tables(tables)
    return table.combine_chunks() if table.num_columns and table.column(0).num_chunks > MAX_CHUNKS else table
