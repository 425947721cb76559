"""Joins of whole tables in bounded memory: rows are read once as every query reads them, laid down sorted in plain Parquet files, one table
after the other, and joined a range of keys at a time, of which the files' row groups tell where it lies.

One sort at a time: several share the memory in a way that starves some of them. Texts are no views here: a batch of views counts, and
holds, all buffers that it points into, so that sorting them runs out of memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from datafusion import RuntimeEnvBuilder, SessionConfig, SessionContext

from engines.sql.merge import check_files, open_table
from engines.sql.projection import plain_schema
from engines.sql.readings import quote
from engines.sql.source import LakeTable

MEMORY = 512 << 20
"""Bytes that operators may hold before they spill."""
RANGE_ROWS = 128 * 1024
GROUP_ROWS = 128 * 1024
GROUP_BYTES = 64 << 20


def bounded_context(scratch: Path) -> SessionContext:
    """scratch: where it spills."""
    return SessionContext(SessionConfig(), _runtime(scratch))


def spooling_context(scratch: Path) -> SessionContext:
    """For spooled files."""
    config = SessionConfig().set("datafusion.execution.parquet.schema_force_view_types", "false")
    return SessionContext(config, _runtime(scratch))


def _runtime(scratch: Path) -> RuntimeEnvBuilder:
    return RuntimeEnvBuilder().with_temp_file_path(scratch).with_fair_spill_pool(MEMORY)


def read_rows(table: LakeTable, columns: Sequence[str] | None = None, *, identity: bool = False) -> Iterator[pa.RecordBatch]:
    """All rows, texts as plain strings. columns: None for all. identity: with the hidden columns that row keys are made of."""
    check_files(table)
    context = SessionContext()
    context.register_table("rows", open_table(table, context, identity=identity))
    return batches(context, f"SELECT {'*' if columns is None else ', '.join(map(quote, columns))} FROM rows")


def batches(context: SessionContext, sql: str, parameters: Mapping[str, pa.Scalar] | None = None) -> Iterator[pa.RecordBatch]:
    """What a statement gives, texts as plain strings."""
    for batch in context.sql(sql, param_values=dict(parameters or {})).execute_stream():
        rows = batch.to_pyarrow()
        yield rows.cast(plain_schema(rows.schema))


def spool(rows: Iterable[pa.RecordBatch], schema: pa.Schema, path: Path) -> None:
    """Lays rows down. schema: theirs."""
    with pq.ParquetWriter(path, schema, compression="zstd", compression_level=1) as file:
        groups = RowGroups(file, schema)
        for batch in rows:
            groups.write(batch)
        groups.end()


@dataclass(frozen=True, slots=True)
class Range:
    """Of a column's values: from `low` on, to `high` without it; None is no bound. The first range has the nulls."""

    low: pa.Scalar | None
    high: pa.Scalar | None

    def holds(self, column: str) -> str:
        """The condition in SQL, with the bounds as parameters."""
        name = quote(column)
        if self.low is None:
            return "true" if self.high is None else f"({name} < $high OR {name} IS NULL)"
        return f"({name} >= $low{'' if self.high is None else f' AND {name} < $high'})"

    @property
    def parameters(self) -> dict[str, pa.Scalar]:
        """Of `holds`."""
        return {name: value for name, value in (("low", self.low), ("high", self.high)) if value is not None}


def register_sorted(
    context: SessionContext, name: str, rows: Iterable[pa.RecordBatch], schema: pa.Schema, by: Sequence[str], scratch: Path
) -> list[pa.Scalar]:
    """Makes rows a table of a spooling context, sorted by these columns, and gives the first one's value at every RANGE_ROWS rows."""
    raw, path = scratch / f"{name}-raw.parquet", scratch / f"{name}.parquet"
    spool(rows, schema, raw)
    context.register_parquet("raw", str(raw))
    bounds: list[pa.Scalar] = []

    def noted() -> Iterator[pa.RecordBatch]:
        seen = 0
        for batch in batches(context, f"SELECT * FROM raw ORDER BY {', '.join(f'{quote(one)} ASC NULLS FIRST' for one in by)}"):
            bounds.extend(batch.column(by[0])[at] for at in range(-seen % RANGE_ROWS, batch.num_rows, RANGE_ROWS))
            seen += batch.num_rows
            yield batch

    try:
        spool(noted(), schema, path)
    finally:
        context.deregister_table("raw")
        raw.unlink()
    context.register_parquet(name, str(path))
    return bounds


def ranges(*bounds: Sequence[pa.Scalar]) -> list[Range]:
    """All values, in ranges of at most about RANGE_ROWS rows of each table; in order. bounds: what `register_sorted` gave."""
    found = {value.as_py(): value for given in bounds for value in given if value.is_valid and value.as_py() == value.as_py()}
    inner = [found[value] for value in sorted(found)]
    return [Range(low, high) for low, high in zip([None, *inner], [*inner, None], strict=True)]


def any_of(conditions: Sequence[str]) -> str:
    """One OR of all, as deep as the logarithm of their number: thousands in a row exhaust the parser's stack."""
    if len(conditions) == 1:
        return conditions[0]
    half = len(conditions) // 2
    return f"({any_of(conditions[:half])} OR {any_of(conditions[half:])})"


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
