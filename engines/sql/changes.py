"""New rows of a keyed table beside the former rows of the same keys: what the journal of an upsert is made of. Blocking.

The new rows come sorted by key and are taken a chunk at a time. Of the former table only what lies within a chunk's key range is read,
which its row groups' statistics tell, so that all chunks together read it about once, and memory is that of a chunk however large either
side is. Next: `merge.py`, which opens the former table; `engines/files/journal.py`, which says what became of the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datafusion import SessionConfig, SessionContext

from engines.files.journal import EXISTED, OLD
from engines.files.types import arrow_type, from_arrow
from engines.row_keys import DELETED_COLUMN
from engines.sql.merge import check_files, open_table
from engines.sql.projection import plain_schema, projected_rows, register_part, view_schema
from engines.sql.readings import PartFile, quote, sql_type
from engines.sql.source import SEQUENCE, LakeTable

CHUNK_ROWS = 64 * 1024


@dataclass(frozen=True, slots=True)
class NewRows:
    """The Parquet files of one content in order, sorted by key over all of them, each key once. name: of the content."""

    name: str
    parts: tuple[PartFile, ...]


def pairs(
    former: LakeTable, contents: Sequence[NewRows], columns: Sequence[tuple[str, pa.DataType]]
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Batches as `journal.change_rows` takes them, each with the name of the content that its rows are of.

    Of a key that several contents have, the last content's row counts. columns: of the table from now on, in order.
    """
    check_files(former)
    context = SessionContext(SessionConfig().with_target_partitions(1))
    context.register_table("former", open_table(former, context))
    query = _query(former, dict(columns))
    later: list[pa.Table | PartFile] = []
    for group in _groups(reversed(contents)):
        if len(group) > 1:
            chunks: Iterable[pa.Table] = [_together(group, former, columns)]
        else:
            chunks = _numbered(_chunks(group[0], former, columns))
        kept: pa.Table | None = None
        for chunk in chunks:
            rows = _without(chunk, later, former, context) if later else chunk
            if rows.num_rows:
                for batch in _joined(context, query, rows, former.primary_key[0]):
                    yield from _by_content(batch, group)
            kept = chunk
        if len(group) > 1 and kept is not None:
            later.append(kept.select(list(former.primary_key)))
        else:
            later += group[0].parts


def _groups(contents: Iterable[NewRows]) -> Iterator[list[NewRows]]:
    """Neighbours that are a chunk together: a thousand files of one row are joined once."""
    group: list[NewRows] = []
    rows = 0
    for content in contents:
        count = sum(pq.read_metadata(part.path).num_rows for part in content.parts)
        if group and rows + count > CHUNK_ROWS:
            yield group
            group, rows = [], 0
        group.append(content)
        rows += count
    if group:
        yield group


def _together(group: Sequence[NewRows], former: LakeTable, columns: Sequence[tuple[str, pa.DataType]]) -> pa.Table:
    """The rows of contents, the last first, as one chunk: of each key the first, sorted, with the number of its content."""
    parts = []
    for number, content in enumerate(group):
        parts += [chunk.append_column(SEQUENCE, pa.repeat(number, len(chunk))) for chunk in _chunks(content, former, columns)]
    key = former.primary_key
    rows = pa.concat_tables(parts).sort_by([*((name, "ascending") for name in key), (SEQUENCE, "ascending")])
    return rows.filter(_first_of_each(rows.select(list(key))))


def _first_of_each(keys: pa.Table) -> pa.Array:
    """Which rows of a sorted table differ from the row before."""
    differs = np.zeros(max(len(keys) - 1, 0), bool)
    for column in keys.columns:
        column = column.combine_chunks()
        differs |= pc.not_equal(column[1:], column[:-1]).to_numpy(zero_copy_only=False)
    return pa.array(np.concatenate(([True], differs))[: len(keys)])


def _numbered(chunks: Iterable[pa.Table]) -> Iterator[pa.Table]:
    return (chunk.append_column(SEQUENCE, pa.repeat(0, len(chunk))) for chunk in chunks)


def _by_content(batch: pa.RecordBatch, group: Sequence[NewRows]) -> Iterator[tuple[str, pa.RecordBatch]]:
    numbers, rows = batch.column(SEQUENCE), batch.drop_columns([SEQUENCE])
    for number in pc.unique(numbers).to_pylist():
        yield group[number].name, rows.filter(pc.equal(numbers, number))


def _joined(context: SessionContext, query: str, rows: pa.Table, key: str) -> Iterator[pa.RecordBatch]:
    first = rows[key]
    bounds = {"low": first[0], "high": first[len(first) - 1]}
    context.register_record_batches("chunk", [rows.to_batches()])
    try:
        for batch in context.sql(query, param_values=bounds).execute_stream():
            found = batch.to_pyarrow()
            yield found.cast(plain_schema(found.schema))
    finally:
        context.deregister_table("chunk")


def _query(former: LakeTable, columns: Mapping[str, pa.DataType]) -> str:
    known = dict(former.columns)
    new = [f"n.{quote(name)}" for name in (*columns, DELETED_COLUMN)]
    old = [f"{_former(name, kind, known)} AS {quote(OLD + name)}" for name, kind in columns.items()]
    on = " AND ".join(f"n.{quote(name)} = f.{quote(name)}" for name in former.primary_key)
    key = quote(former.primary_key[0])
    within = f"(SELECT * FROM former WHERE {key} >= $low AND {key} <= $high)"
    existed = f"f.{key} IS NOT NULL AS {quote(EXISTED)}"
    return f"SELECT {', '.join([*new, *old, existed, f'n.{SEQUENCE}'])} FROM chunk n LEFT JOIN {within} f ON {on}"


def _former(name: str, kind: pa.DataType, known: Mapping[str, str]) -> str:
    """A former value, in the type of now; of a column that the former table had not, a null of its type."""
    if name not in known:
        return f"nullif(n.{quote(name)}, n.{quote(name)})"
    value = f"f.{quote(name)}"
    return value if arrow_type(known[name]) == kind else f"CAST({value} AS {sql_type(from_arrow(kind))})"


def _without(chunk: pa.Table, later: Iterable[pa.Table | PartFile], former: LakeTable, context: SessionContext) -> pa.Table:
    """The rows of the chunk that no later content has."""
    key = former.primary_key
    keys = ", ".join(map(quote, key))
    found = chunk
    for rows in later:
        context.register_record_batches("chunk", [found.to_batches()])
        if isinstance(rows, PartFile):
            register_part(context, "later", rows, former.columns)
        else:
            context.register_record_batches("later", [rows.to_batches()])
        try:
            on = " AND ".join(f"c.{quote(name)} = l.{quote(name)}" for name in key)
            frame = context.sql(f"SELECT c.* FROM chunk c LEFT ANTI JOIN (SELECT {keys} FROM later) l ON {on} ORDER BY {keys}")
            found = frame.to_arrow_table().cast(chunk.schema)
        finally:
            context.deregister_table("chunk")
            context.deregister_table("later")
        if not found.num_rows:
            return found
    return found


def _chunks(content: NewRows, former: LakeTable, columns: Sequence[tuple[str, pa.DataType]]) -> Iterator[pa.Table]:
    return chunks(content.parts, former.columns, pa.schema([*columns, (DELETED_COLUMN, pa.bool_())]))


def chunks(parts: Iterable[PartFile], known: Sequence[tuple[str, str]], schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows of a table's files in order, under these columns; one that a file lacks is null.

    known: the columns (name, our type) that the files' readings give. schema: with `_deleted`, where that is asked for.
    """
    for part in parts:
        with pq.ParquetFile(part.path) as file:
            for batch in map(partial(_present, part, known), file.iter_batches(CHUNK_ROWS)):
                names = set(batch.schema.names)
                filled = [
                    batch.column(field.name).cast(field.type) if field.name in names else _absent(field, batch.num_rows) for field in schema
                ]
                yield pa.Table.from_arrays(filled, schema=schema)


def _present(part: PartFile, columns: Sequence[tuple[str, str]], batch: pa.RecordBatch) -> pa.Table:
    """Under the table's columns."""
    rows = pa.Table.from_batches([batch])
    if part.reading is None:
        return rows
    return projected_rows(rows, part.reading, view_schema(columns), [DELETED_COLUMN] if DELETED_COLUMN in batch.schema.names else [])


def _absent(field: pa.Field, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(False), count) if field.name == DELETED_COLUMN else pa.nulls(count, field.type)
