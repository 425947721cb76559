"""Arrow IPC files of tables that are mapped by every process that reads them: written aside, whole or not there. Blocking."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from engines.sql.projection import plain_schema

BATCH_ROWS = 64 * 1024
"""Rows of a batch: measured to be read faster than 8 times as many smaller ones, by a fifth."""


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
                waiting.append(batch.cast(compact))
                rows += batch.num_rows
                while rows >= BATCH_ROWS:
                    table = pa.Table.from_batches(waiting)
                    writer.write_batch(_one(table.slice(0, BATCH_ROWS), schema))
                    waiting, rows = table.slice(BATCH_ROWS).to_batches(), rows - BATCH_ROWS
            if rows:
                writer.write_batch(_one(pa.Table.from_batches(waiting), schema))
        Path(staged).replace(path)
    finally:
        Path(staged).unlink(missing_ok=True)


def mapped(path: Path) -> pa.ipc.RecordBatchFileReader:
    """Its batches are views on the file, which stays readable for them when it is removed. Raises OSError, ValueError."""
    return pa.ipc.open_file(pa.memory_map(str(path)))


def _one(table: pa.Table, schema: pa.Schema) -> pa.RecordBatch:
    (batch,) = table.combine_chunks().to_batches()
    return batch.cast(schema)
