"""New rows of a keyed table beside the former rows of the same keys: what the journal of an upsert is made of. Blocking.

The new rows come sorted by key and are taken a chunk at a time. Of the former table only what lies within a chunk's key range is read,
which its row groups' statistics tell, so that all chunks together read it about once, and memory is that of a chunk however large either
side is. Next: `merge.py`, which opens the former table; `engines/files/journal.py`, which says what became of the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from datafusion import SessionConfig, SessionContext

from engines.files.journal import EXISTED, OLD
from engines.row_keys import DELETED_COLUMN
from engines.sql.merge import check_files, open_table, plain_schema, quote
from engines.sql.source import LakeTable

CHUNK_ROWS = 64 * 1024


@dataclass(frozen=True, slots=True)
class NewRows:
    """The Parquet files of one content in order, sorted by key over all of them, each key once. name: of the content."""

    name: str
    paths: tuple[Path, ...]


def pairs(
    former: LakeTable, contents: Sequence[NewRows], columns: Sequence[tuple[str, pa.DataType]]
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Batches as `journal.change_rows` takes them, each with the name of the content that its rows are of.

    Of a key that several contents have, the last content's row counts. columns: of the table from now on, in order.
    """
    check_files(former)
    context = SessionContext(SessionConfig().with_target_partitions(1))
    context.register_table("former", open_table(former, context))
    query = _query(former, [name for name, _ in columns])
    later: list[NewRows] = []
    for content in reversed(contents):
        for chunk in _chunks(content, former.primary_key, columns):
            rows = _without(chunk, later, former.primary_key, context) if later else chunk
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


def _query(former: LakeTable, columns: Sequence[str]) -> str:
    known = {name for name, _ in former.columns}
    new = [f"n.{quote(name)}" for name in (*columns, DELETED_COLUMN)]
    old = [f"{_former(name, known)} AS {quote(OLD + name)}" for name in columns]
    on = " AND ".join(f"n.{quote(name)} = f.{quote(name)}" for name in former.primary_key)
    key = quote(former.primary_key[0])
    within = f"(SELECT * FROM former WHERE {key} >= $low AND {key} <= $high)"
    existed = f"f.{key} IS NOT NULL AS {quote(EXISTED)}"
    return f"SELECT {', '.join([*new, *old, existed])} FROM chunk n LEFT JOIN {within} f ON {on}"


def _former(name: str, known: Set[str]) -> str:
    """A former value; of a column that the former table had not, a null of its type."""
    return f"f.{quote(name)}" if name in known else f"nullif(n.{quote(name)}, n.{quote(name)})"


def _without(chunk: pa.Table, later: Iterable[NewRows], key: Sequence[str], context: SessionContext) -> pa.Table:
    """The rows of the chunk that no later content has."""
    keys = ", ".join(map(quote, key))
    found = chunk
    for content in later:
        for path in content.paths:
            context.register_record_batches("chunk", [found.to_batches()])
            context.register_parquet("later", str(path), file_extension="")
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


def _chunks(content: NewRows, key: Sequence[str], columns: Sequence[tuple[str, pa.DataType]]) -> Iterator[pa.Table]:
    schema = pa.schema([*columns, (DELETED_COLUMN, pa.bool_())])
    for path in content.paths:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(CHUNK_ROWS):
                names = set(batch.schema.names)
                filled = [
                    batch.column(field.name).cast(field.type) if field.name in names else _absent(field, batch.num_rows) for field in schema
                ]
                yield pa.Table.from_arrays(filled, schema=schema)


def _absent(field: pa.Field, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(False), count) if field.name == DELETED_COLUMN else pa.nulls(count, field.type)
