"""Arrow IPC files of tables that are mapped by every process that reads them: written aside, whole or not there. Blocking.

Buffers are placed where Rust wants them. Views of texts are 16 bytes wide, pyarrow aligns to 8, and arrow-rs copies what lies amiss into
the memory of whoever opens the file: 96 MB for a million rows with six columns of text, with each opening.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from engines.sql.projection import plain_schema, retyped

BATCH_ROWS = 64 * 1024
"""Rows of a batch: measured to be read faster than 8 times as many smaller ones, by a fifth."""


_ALIGNED = 64
"""Bytes of which buffers and messages are multiples."""

_WORTH_PLACING = 1024
"""Rows of a batch below which a copy costs less than its place."""

_MAGIC = b"ARROW1\0\0"


def write_arrow(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    """Batches of BATCH_ROWS. Whoever reads the former file goes on reading it."""
    compact = plain_schema(schema)
    descriptor, staged = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "wb") as file, pa.ipc.new_file(file, schema) as writer:
            waiting: list[pa.RecordBatch] = []
            rows = 0
            for batch in batches:
                # Views gathered from many buffers are written with all of them; a detour over plain strings leaves one small buffer.
                waiting.append(retyped(batch, compact))
                rows += batch.num_rows
                while rows >= BATCH_ROWS:
                    table = pa.Table.from_batches(waiting)
                    _write(writer, file.tell(), _one(table.slice(0, BATCH_ROWS), schema))
                    waiting, rows = table.slice(BATCH_ROWS).to_batches(), rows - BATCH_ROWS
            if rows:
                _write(writer, file.tell(), _one(pa.Table.from_batches(waiting), schema))
        Path(staged).replace(path)
    finally:
        Path(staged).unlink(missing_ok=True)


def mapped(path: Path) -> pa.ipc.RecordBatchFileReader:
    """Its batches are views on the file, which stays readable for them when it is removed. Raises OSError, ValueError."""
    return pa.ipc.open_file(pa.memory_map(str(path)))


def _one(table: pa.Table, schema: pa.Schema) -> pa.RecordBatch:
    (batch,) = table.combine_chunks().to_batches()
    return retyped(batch, schema)


def _write(writer: pa.ipc.RecordBatchFileWriter, position: int, batch: pa.RecordBatch) -> None:
    """position: of the file, where 0 says that the schema is still to come."""
    if batch.num_rows < _WORTH_PLACING:
        writer.write_batch(batch)
        return
    batch = pa.RecordBatch.from_arrays([_padded(column) for column in batch.columns], schema=batch.schema)
    begin = position or len(_MAGIC) + batch.schema.serialize().size
    writer.write_batch(batch, custom_metadata=_filler(batch.slice(0, 1), begin))


def _filler(like: pa.RecordBatch, begin: int) -> dict[str, str] | None:
    """What a message that begins there carries besides, so that its buffers begin at a multiple. like: a batch of as many buffers."""
    head = int.from_bytes(memoryview(like.serialize())[4:8], "little") + 8
    plain = _size(like, None)
    for fill in (None, *({"filler": " " * count} for count in range(0, _ALIGNED, 8))):
        if (begin + head + _size(like, fill) - plain) % _ALIGNED == 0:
            return fill
    return None


def _size(batch: pa.RecordBatch, metadata: dict[str, str] | None) -> int:
    sink = pa.MockOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch, custom_metadata=metadata)
    return int(sink.size())


def _padded(column: pa.Array) -> pa.Array:
    """Its buffers as long as to keep the next ones aligned; those of nested columns stay as they are."""
    if pa.types.is_nested(column.type):
        return column
    if column.offset:
        column = pa.concat_arrays([column.slice(0, 0), column])  # copied, to begin where its buffers do
    buffers = [buffer if buffer is None or buffer.size % _ALIGNED == 0 else _longer(buffer) for buffer in column.buffers()]
    return pa.Array.from_buffers(column.type, len(column), buffers, column.null_count)


def _longer(buffer: pa.Buffer) -> pa.Buffer:
    return pa.py_buffer(buffer.to_pybytes() + bytes(-buffer.size % _ALIGNED))
