"""Rows under another schema: the stages of a reading (`readings.py`) as a plan of DataFusion, or over rows in memory.

Every expression is parsed as one expression and nothing else, so that what a spec says cannot become another statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import pyarrow as pa
from datafusion import DataFrame, SessionContext, column
from datafusion.catalog import Table

from engines.files.types import arrow_type
from engines.sql.readings import PartFile, Reading, Stage, quote

Rows = TypeVar("Rows", pa.RecordBatch, pa.Table)


def projected(frame: DataFrame, stages: Sequence[Stage], schema: pa.Schema, carried: Sequence[str] = ()) -> DataFrame:
    """The stages applied, the result in the types of `schema`. carried: columns that are handed through, after the others.

    Raises DataFusion's errors, at once for what is no expression, later for rows that an expression fails on.
    """
    for stage in stages:
        frame = frame.select(*(frame.parse_sql_expr(sql).alias(name) for name, sql in stage), *(column(quote(name)) for name in carried))
    found = {field.name: field.type for field in frame.schema()}
    if all(found[field.name] == field.type for field in schema):
        return frame
    cast = [
        column(quote(field.name)) if found[field.name] == field.type else column(quote(field.name)).cast(field.type).alias(field.name)
        for field in schema
    ]
    return frame.select(*cast, *(column(quote(name)) for name in carried if name not in schema.names))


def projected_rows(rows: pa.Table, reading: Reading, schema: pa.Schema, carried: Sequence[str] = ()) -> pa.Table:
    """Rows in memory in the columns of `schema` and the carried ones. rows: by the columns of the reading; one that is missing is null."""
    given = pa.schema([*view_schema(reading.columns), *(rows.schema.field(name) for name in carried)])
    context = SessionContext()
    filled = [rows[field.name].cast(field.type) if field.name in rows.column_names else pa.nulls(len(rows), field.type) for field in given]
    context.register_record_batches("rows", [pa.Table.from_arrays(filled, schema=given).to_batches() or [_none(given)]])
    found = projected(context.table("rows"), reading.stages, schema, carried).to_arrow_table()
    return found.cast(plain_schema(found.schema))


def register_part(
    context: SessionContext, name: str, part: PartFile, columns: Sequence[tuple[str, str]], hidden: Sequence[tuple[str, str]] = ()
) -> None:
    """A file of a table's rows as a table with these columns. hidden: further ones that it may have."""
    if part.reading is None:
        context.register_parquet(name, part.path, schema=view_schema([*columns, *hidden]), file_extension="")
        return
    context.register_parquet(f"{name}_written", part.path, schema=view_schema([*part.reading.columns, *hidden]), file_extension="")
    carried = [hidden_name for hidden_name, _ in hidden]
    frame = projected(context.table(f"{name}_written"), part.reading.stages, view_schema(columns), carried)
    context.deregister_table(f"{name}_written")
    context.register_table(name, Table(frame))


def _none(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


def view_schema(columns: Sequence[tuple[str, str]]) -> pa.Schema:
    """Arrow's schema of our columns, texts as views, which DataFusion compares and groups faster."""
    return pa.schema([(name, _VIEWS.get(type_, arrow_type(type_))) for name, type_ in columns])


_VIEWS = {"string": pa.string_view(), "binary": pa.binary_view()}


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """The schema with views as plain strings and binaries, which every Arrow reader knows."""
    return pa.schema([field if (plain := _plain(field.type)) is field.type else field.with_type(plain) for field in schema])


def retyped(rows: Rows, schema: pa.Schema) -> Rows:
    """The rows in the types of a schema of the same columns. A `cast` takes its time for columns that are of these types already."""
    columns = [one if one.type == field.type else one.cast(field.type) for one, field in zip(rows.columns, schema, strict=True)]
    return type(rows).from_arrays(columns, schema=schema)


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_list(kind):
        return pa.list_(_plain(kind.value_type))
    return pa.struct([field.with_type(_plain(field.type)) for field in kind.fields]) if pa.types.is_struct(kind) else kind
