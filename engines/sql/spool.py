"""Work over whole tables in bounded memory: rows are read once as every query reads them, laid down in plain Parquet files, and sorted and
joined from there, where whatever does not fit into memory spills.

Texts are no views here: a batch of views counts, and holds, all buffers that it points into, so that sorting them runs out of memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from datafusion import RuntimeEnvBuilder, SessionConfig, SessionContext

from engines.sql.merge import check_files, open_table, plain_schema
from engines.sql.source import LakeTable

MEMORY = 512 << 20
"""Bytes that operators may hold before they spill."""
GROUP_ROWS = 128 * 1024
GROUP_BYTES = 64 << 20


def bounded_context(scratch: Path, *, spooled: bool = False) -> SessionContext:
    """scratch: where it spills. spooled: over spooled files, joined by merging sorted sides, of which neither need fit into memory."""
    config = SessionConfig()
    if spooled:
        config = config.set("datafusion.optimizer.prefer_hash_join", "false")
        config = config.set("datafusion.execution.parquet.schema_force_view_types", "false")
    return SessionContext(config, RuntimeEnvBuilder().with_temp_file_path(scratch).with_fair_spill_pool(MEMORY))


def read_rows(table: LakeTable, *, identity: bool = False) -> Iterator[pa.RecordBatch]:
    """All rows, texts as plain strings. identity: with the hidden columns that row keys are made of."""
    check_files(table)
    context = SessionContext()
    context.register_table("rows", open_table(table, context, identity=identity))
    return batches(context, "SELECT * FROM rows")


def batches(context: SessionContext, sql: str) -> Iterator[pa.RecordBatch]:
    """What a statement gives, texts as plain strings."""
    for batch in context.sql(sql).execute_stream():
        rows = batch.to_pyarrow()
        yield rows.cast(plain_schema(rows.schema))


def spool(rows: Iterable[pa.RecordBatch], schema: pa.Schema, path: Path) -> None:
    """Lays rows down. schema: theirs."""
    with pq.ParquetWriter(path, schema, compression="zstd", compression_level=1) as file:
        groups = RowGroups(file, schema)
        for batch in rows:
            groups.write(batch)
        groups.end()


class RowGroups:
    """Gathers batches to row groups of a Parquet file."""

    def __init__(self, file: pq.ParquetWriter, schema: pa.Schema) -> None:
        self._file, self._schema = file, schema
        self._waiting: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Rows that follow the former ones."""
        self._waiting.append(batch)
        self._rows += batch.num_rows
        self._bytes += batch.nbytes
        if self._rows >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
            self.end()

    def end(self) -> None:
        """Writes what is left."""
        if self._rows:
            self._file.write_table(pa.Table.from_batches(self._waiting, self._schema))
        self._waiting, self._rows, self._bytes = [], 0, 0
