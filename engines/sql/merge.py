"""A TableSource as a DataFusion table. For upserts, the merge on read:

    base UNION ALL (touched ANTI JOIN merged ON key) UNION ALL merged

where `merged` holds the newest row per key over all deltas; those of its rows that are tombstones are left out of the last part only. It
is computed once per snapshot, kept as an Arrow file and mapped into memory
by every process that reads it. There is never a window over the base: measured on 10M rows, that takes 47 s where this takes 1.3.

Base files hold each key once among them, and so does each sequence of deltas; the ingest sees to it. Next: `session.py`, `scan.py`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from datafusion import SessionContext
from datafusion.catalog import Table

from engines.files.types import arrow_type
from engines.row_keys import DELETED_COLUMN, identity_columns
from engines.sql.source import NEWEST, SEQUENCE, ArrowTable, Folder, LakeTable, TableSource

MERGED_ROWS = 64 * 1024
"""Rows of a batch in a merged file."""


def open_table(source: TableSource, context: SessionContext, *, identity: bool = False) -> Table:
    """The table, to be registered under any name in any session. Blocking where deltas are not merged yet.

    context: where merging runs, with its memory bound. identity: show the hidden columns that row keys are made of.
    """
    builder = SessionContext()
    if isinstance(source, ArrowTable):
        _register_arrow(builder, "t", Path(source.path))
        return _table(builder, "t")
    columns = list(source.columns)
    if identity and not source.primary_key:
        columns += zip(identity_columns(()), ("string", "int64"), strict=True)
    schema = view_schema(columns)
    if source.deltas is None:
        _register_folder(builder, "t", source.base or source.touched, schema)
        return _table(builder, "t")
    names = ", ".join(quote(name) for name, _ in columns)
    kept = f" WHERE {quote(DELETED_COLUMN)} IS NOT TRUE" if source.deletes else ""
    parts = [f"SELECT {names} FROM merged{kept}"]
    _register_arrow(builder, "merged", merged_deltas(source, schema, context))
    if source.touched is not None:
        _register_folder(builder, "touched", source.touched, schema)
        on = " AND ".join(f"m.{quote(name)} = t.{quote(name)}" for name in source.primary_key)
        # The merged side comes first, so that it is the one held in a hash table even where the planner knows no row counts.
        parts.insert(0, f"SELECT {names} FROM (SELECT t.* FROM merged m RIGHT ANTI JOIN touched t ON {on})")
    if source.base is not None:
        _register_folder(builder, "base", source.base, schema)
        parts.insert(0, f"SELECT {names} FROM base")
    return Table(builder.sql(" UNION ALL ".join(parts)))


def merged_deltas(source: LakeTable, schema: pa.Schema, context: SessionContext) -> Path:
    """The Arrow file with the newest row per key of the deltas, sorted by key. Blocking; two who make it at once make the same."""
    assert source.merged is not None
    assert source.deltas is not None
    path = Path(source.merged)
    if path.exists():
        return path
    if source.deletes:
        schema = schema.append(pa.field(DELETED_COLUMN, pa.bool_()))
    builder = SessionContext()
    builder.register_parquet("deltas", source.deltas.path, schema=schema, table_partition_cols=[(SEQUENCE, pa.int64())])
    name = f"deltas_{os.getpid()}"
    context.register_table(name, _table(builder, "deltas"))
    keys = ", ".join(map(quote, source.primary_key))
    columns = ", ".join(map(quote, schema.names))
    newest = f"row_number() OVER (PARTITION BY {keys} ORDER BY {SEQUENCE} DESC) AS {NEWEST}"
    query = f"SELECT {columns} FROM (SELECT *, {newest} FROM {name}) WHERE {NEWEST} = 1 ORDER BY {keys}"
    try:
        _write(path, schema, context.sql(query).execute_stream())
    finally:
        context.deregister_table(name)
    return path


def _write(path: Path, schema: pa.Schema, batches: Any) -> None:
    compact = plain_schema(schema)
    descriptor, staged = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "wb") as file, pa.ipc.new_file(file, schema) as writer:
            waiting: list[pa.RecordBatch] = []
            for batch in batches:
                # Views gathered from many buffers are written with all of them; a detour over plain strings leaves one small buffer.
                waiting.append(batch.to_pyarrow().cast(compact))
                if sum(part.num_rows for part in waiting) >= MERGED_ROWS:
                    writer.write_batch(pa.concat_batches(waiting).cast(schema))
                    waiting = []
            if waiting:
                writer.write_batch(pa.concat_batches(waiting).cast(schema))
        Path(staged).replace(path)
    finally:
        Path(staged).unlink(missing_ok=True)


def check_files(source: LakeTable) -> None:
    """Raises FileNotFoundError unless every file is where it should be. Some microseconds a file, paid by every query."""
    for folder in (source.base, source.touched, source.deltas):
        if folder is not None and (found := _count(folder.path)) != folder.files:
            raise FileNotFoundError(f"{folder.files - found} of {folder.files} files of {source.name} are gone")


def _count(folder: str) -> int:
    try:
        with os.scandir(folder) as entries:
            # what begins with a dot is a link on its way to its name
            named = (entry for entry in entries if not entry.name.startswith("."))
            return sum(_count(entry.path) if entry.is_dir(follow_symlinks=False) else entry.is_file() for entry in named)
    except FileNotFoundError:
        return 0


def view_schema(columns: Sequence[tuple[str, str]]) -> pa.Schema:
    """Arrow's schema of our columns, texts as views, which DataFusion compares and groups faster."""
    return pa.schema([(name, _VIEWS.get(type_, arrow_type(type_))) for name, type_ in columns])


_VIEWS = {"string": pa.string_view(), "binary": pa.binary_view()}


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """The schema with views as plain strings and binaries, which every Arrow reader knows."""
    return pa.schema([field.with_type(_plain(field.type)) for field in schema])


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_list(kind):
        return pa.list_(_plain(kind.value_type))
    return pa.struct([field.with_type(_plain(field.type)) for field in kind.fields]) if pa.types.is_struct(kind) else kind


def quote(name: str) -> str:
    """A column's name as a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _register_folder(builder: SessionContext, name: str, folder: Folder | None, schema: pa.Schema) -> None:
    if folder is None:
        builder.register_record_batches(name, [[_empty(schema)]])
    else:
        builder.register_parquet(name, folder.path, schema=schema)


def _register_arrow(builder: SessionContext, name: str, path: Path) -> None:
    reader = pa.ipc.open_file(pa.memory_map(str(path)))
    batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
    builder.register_record_batches(name, [batches or [_empty(reader.schema)]])


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


def _table(builder: SessionContext, name: str) -> Table:
    return builder.catalog().schema().table(name)
