"""A TableSource as a DataFusion table. For upserts, the merge on read:

    base UNION ALL (touched ANTI JOIN merged ON key) UNION ALL merged

where `merged` holds the newest row per key over all deltas; those of its rows that are tombstones are left out of the last part only. It
is computed once per snapshot, kept as an Arrow file and mapped into memory
by every process that reads it. There is never a window over the base: measured on 10M rows, that takes 47 s where this takes 1.3.

Base files hold each key once among them, and so does each sequence of deltas; the ingest sees to it. Next: `session.py`, `scan.py`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from datafusion import SessionContext
from datafusion.catalog import Table

from engines.row_keys import DELETED_COLUMN, identity_columns
from engines.sql import hot
from engines.sql.arrow_files import mapped, write_arrow
from engines.sql.hot import LEAST_SLICE, Opened
from engines.sql.projection import projected, view_schema
from engines.sql.readings import quote
from engines.sql.source import NEWEST, SEQUENCE, ArrowTable, Folder, FormerFiles, LakeTable, TableSource

_PARTITIONS = os.cpu_count() or 1
"""In which the rows of a table in the hot cache are read at once."""


def open_held(source: LakeTable, opened: Opened) -> Table | None:
    """A table as the hot cache has it, None where it is not there: it may have been evicted since it was chosen.

    opened: files that are mapped already.
    """
    _check_whole(source)
    builder = SessionContext()
    there = source.hot is not None and _register_hot(builder, "t", Path(source.hot), view_schema(source.columns), opened)
    return _table(builder, "t") if there else None


def open_arrow(path: Path) -> Table:
    """An Arrow file, mapped into memory. Raises OSError, pa.ArrowException."""
    builder = SessionContext()
    _register_arrow(builder, "t", path)
    return _table(builder, "t")


def open_table(source: TableSource, context: SessionContext, *, identity: bool = False) -> Table:
    """The table, to be registered under any name in any session, from its own files. Blocking where deltas are not merged yet.

    context: where merging runs, with its memory bound. identity: show the hidden columns that row keys are made of.
    """
    _check_whole(source)
    if isinstance(source, ArrowTable):
        return open_arrow(Path(source.path))
    builder = SessionContext()
    if source.placed:
        return _dated(source, builder)
    columns = list(source.columns)
    if identity and not source.primary_key:
        columns += zip(identity_columns(()), ("string", "int64"), strict=True)
    hidden = columns[len(source.columns) :]
    if source.merged is None:
        former = [(one, one.base or one.touched) for one in source.former]
        _register_files(builder, "t", source.base or source.touched, former, columns, hidden)
        return _table(builder, "t")
    names = ", ".join(quote(name) for name, _ in columns)
    kept = f" WHERE {quote(DELETED_COLUMN)} IS NOT TRUE" if source.deletes else ""
    parts = [f"SELECT {names} FROM merged{kept}"]
    _register_arrow(builder, "merged", merged_deltas(source, view_schema(columns), context))
    touched = [(one, one.touched) for one in source.former if one.touched is not None]
    if source.touched is not None or touched:
        _register_files(builder, "touched", source.touched, touched, columns, hidden)
        on = " AND ".join(f"m.{quote(name)} = t.{quote(name)}" for name in source.primary_key)
        # The merged side comes first, so that it is the one held in a hash table even where the planner knows no row counts.
        parts.insert(0, f"SELECT {names} FROM (SELECT t.* FROM merged m RIGHT ANTI JOIN touched t ON {on})")
    base = [(one, one.base) for one in source.former if one.base is not None]
    if source.base is not None or base:
        _register_files(builder, "base", source.base, base, columns, hidden)
        parts.insert(0, f"SELECT {names} FROM base")
    return Table(builder.sql(" UNION ALL ".join(parts)))


def _check_whole(source: TableSource) -> None:
    """Whoever may see a part of a table does not read it here."""
    if source.shown is not None:
        raise ValueError(f"{source.name} is not to be read whole")


def _dated(source: LakeTable, builder: SessionContext) -> Table:
    """A table of ledgers: `at` is an instant, as in all system tables, and that of the commit where the file's place tells it."""
    _register_folder(builder, "written", source.base, view_schema(source.columns), [(SEQUENCE, pa.int64())])
    told = f"CASE WHEN {SEQUENCE} > 0 THEN to_timestamp_millis({SEQUENCE}) ELSE to_timestamp_millis(at) END"
    at = f"""arrow_cast({told}, 'Timestamp(Millisecond, Some("UTC"))') AS at"""
    names = ", ".join(at if name == "at" else quote(name) for name, _ in source.columns)
    return Table(builder.sql(f"SELECT {names} FROM written"))


def merged_deltas(source: LakeTable, schema: pa.Schema, context: SessionContext) -> Path:
    """The Arrow file with the newest row per key of the deltas, sorted by key. Blocking; two who make it at once make the same."""
    assert source.merged is not None
    path = Path(source.merged)
    if path.exists():
        return path
    hidden = [(DELETED_COLUMN, "bool")] if source.deletes else []
    columns = [*source.columns, *hidden]
    if source.deletes:
        schema = schema.append(pa.field(DELETED_COLUMN, pa.bool_()))
    builder = SessionContext()
    _register_files(builder, "deltas", source.deltas, [(one, one.deltas) for one in source.former], columns, hidden, placed=True)
    name = f"deltas_{os.getpid()}"
    context.register_table(name, _table(builder, "deltas"))
    keys = ", ".join(map(quote, source.primary_key))
    selected = ", ".join(map(quote, schema.names))
    newest = f"row_number() OVER (PARTITION BY {keys} ORDER BY {SEQUENCE} DESC) AS {NEWEST}"
    query = f"SELECT {selected} FROM (SELECT *, {newest} FROM {name}) WHERE {NEWEST} = 1 ORDER BY {keys}"
    try:
        write_arrow(path, schema, (batch.to_pyarrow() for batch in context.sql(query).execute_stream()))
    finally:
        context.deregister_table(name)
    return path


def check_files(source: LakeTable) -> None:
    """Raises FileNotFoundError unless every file is where it should be. Some microseconds a file, paid by every query."""
    for folder in source.folders:
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


def _register_files(
    builder: SessionContext,
    name: str,
    folder: Folder | None,
    former: Sequence[tuple[FormerFiles, Folder | None]],
    columns: Sequence[tuple[str, str]],
    hidden: Sequence[tuple[str, str]],
    *,
    placed: bool = False,
) -> None:
    """One kind of a table's files under its columns, those of former schemas by their readings.

    hidden: those of the columns that no schema names. placed: the files lie in folders that tell their sequence, which is a column then.
    """
    schema, partitions = view_schema(columns), [(SEQUENCE, pa.int64())] if placed else []
    others = [(one.reading, found) for one, found in former if found is not None]
    if not others:
        _register_folder(builder, name, folder, schema, partitions)
        return
    frames = []
    if folder is not None:
        _register_folder(builder, f"{name}_present", folder, schema, partitions)
        frames.append(builder.table(f"{name}_present"))
    carried = [*(column for column, _ in hidden), *(column for column, _ in partitions)]
    for number, (reading, found) in enumerate(others):
        _register_folder(builder, f"{name}_{number}", found, view_schema([*reading.columns, *hidden]), partitions)
        frames.append(projected(builder.table(f"{name}_{number}"), reading.stages, schema, carried))
    united = frames[0]
    for frame in frames[1:]:
        united = united.union(frame)
    builder.register_table(name, Table(united))


def _register_folder(
    builder: SessionContext, name: str, folder: Folder | None, schema: pa.Schema, partitions: list[tuple[str, pa.DataType]]
) -> None:
    if folder is None:
        whole = pa.schema([*schema, *(pa.field(column, kind) for column, kind in partitions)])
        builder.register_record_batches(name, [[_empty(whole)]])
    else:
        builder.register_parquet(name, folder.path, schema=schema, table_partition_cols=partitions)


def _register_hot(builder: SessionContext, name: str, path: Path, schema: pa.Schema, opened: Opened) -> bool:
    """Whether it is there and whole."""
    try:
        batches = hot.batches(path, opened)
    except (OSError, ValueError, pa.ArrowException):
        return False
    partitions = _spread(batches) or [[_empty(schema)]]
    builder.register_record_batches(name, partitions)
    return True


def _spread(batches: Sequence[pa.RecordBatch]) -> list[list[pa.RecordBatch]]:
    """The batches in order, in partitions of about as many rows each."""
    share = max(-(-sum(batch.num_rows for batch in batches) // _PARTITIONS), LEAST_SLICE)
    partitions: list[list[pa.RecordBatch]] = []
    room = 0
    for batch in batches:
        begin = 0
        while begin < batch.num_rows:
            if room == 0:
                partitions.append([])
                room = share
            taken = min(room, batch.num_rows - begin)
            partitions[-1].append(batch.slice(begin, taken))
            begin, room = begin + taken, room - taken
    return partitions


def _register_arrow(builder: SessionContext, name: str, path: Path) -> None:
    reader = mapped(path)
    batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
    builder.register_record_batches(name, [batches or [_empty(reader.schema)]])


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


def _table(builder: SessionContext, name: str) -> Table:
    return builder.catalog().schema().table(name)
