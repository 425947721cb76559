"""New rows of a keyed table beside the former rows of the same keys: what the journal of an upsert is made of. Blocking.

The new rows come sorted by key and are taken a chunk at a time. Of the former table only what lies within a chunk's key range is read,
which its row groups' statistics tell, so that all chunks together read it about once, and memory is that of a chunk however large either
side is. Next: `merge.py`, which opens the former table; `engines/files/journal.py`, which says what became of the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
from datafusion import SessionConfig, SessionContext

from engines.files.journal import EXISTED, OLD
from engines.files.types import arrow_type, from_arrow
from engines.row_keys import DELETED_COLUMN
from engines.sql.merge import check_files, open_table
from engines.sql.projection import plain_schema, projected_rows, register_part, view_schema
from engines.sql.readings import PartFile, quote, sql_type
from engines.sql.source import LakeTable

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
    later: list[NewRows] = []
    for content in reversed(contents):
        for chunk in _chunks(content, former, columns):
            rows = _without(chunk, later, former, context) if later else chunk
            if rows.num_rows:
                yield from ((content.name, batch) for batch in _joined(context, query, rows, former.primary_key[0]))
        later.append(content)


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
    return f"SELECT {', '.join([*new, *old, existed])} FROM chunk n LEFT JOIN {within} f ON {on}"


def _former(name: str, kind: pa.DataType, known: Mapping[str, str]) -> str:
    """A former value, in the type of now; of a column that the former table had not, a null of its type."""
    if name not in known:
        return f"nullif(n.{quote(name)}, n.{quote(name)})"
    value = f"f.{quote(name)}"
    return value if arrow_type(known[name]) == kind else f"CAST({value} AS {sql_type(from_arrow(kind))})"


def _without(chunk: pa.Table, later: Iterable[NewRows], former: LakeTable, context: SessionContext) -> pa.Table:
    """The rows of the chunk that no later content has."""
    key = former.primary_key
    keys = ", ".join(map(quote, key))
    found = chunk
    for content in later:
        for part in content.parts:
            context.register_record_batches("chunk", [found.to_batches()])
            register_part(context, "later", part, former.columns)
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
    schema = pa.schema([*columns, (DELETED_COLUMN, pa.bool_())])
    for part in content.parts:
        with pq.ParquetFile(part.path) as file:
            for batch in map(partial(_present, part, former.columns), file.iter_batches(CHUNK_ROWS)):
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
