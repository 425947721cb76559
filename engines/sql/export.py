"""All rows of a table as one file for other programs: Parquet, Arrow, CSV, or a CSV that no spreadsheet takes for formulas. Blocking.

Rows are read as every query reads them, merged, and pass batch by batch, so that memory stays the same however large the table is. The file
appears under its name when it is whole. CSV is RFC 4180: texts in quotes, null an empty cell, an empty text `""`; lists and binary as in
the journal. Next: `session.py`; `engines/files/journal.py` for values as text.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
from datafusion import DataFrame

from engines.errors import EngineError
from engines.files.journal import as_text
from engines.sql.problems import QueryProblem
from engines.sql.projection import plain_schema
from engines.sql.readings import quote
from engines.sql.session import Session
from engines.sql.source import LakeTable
from engines.sql.spool import MEMORY, RowGroups

ExportFormat: TypeAlias = Literal["parquet", "arrow", "csv", "csv-safe"]
FORMATS: tuple[ExportFormat, ...] = ("parquet", "arrow", "csv", "csv-safe")
_FORMULA = "^[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]"
"""How a text begins that some spreadsheet computes: ASCII signs, their full-width forms, white space that is skipped before them."""

Writer: TypeAlias = Callable[[pa.RecordBatch], None]


@dataclass(frozen=True, slots=True)
class Exported:
    """What the file holds, and its size in bytes."""

    rows: int
    bytes: int


def export(table: LakeTable, form: ExportFormat, target: Path, scratch: Path) -> Exported:
    """Writes the rows; a file that is there already is replaced. scratch: a folder for spilling.

    Raises EngineError where a file of the table cannot be read, OSError where the target cannot be written.
    """
    aside = target.with_name(f".{target.name}.{os.getpid()}.part")

    def written_of(frame: DataFrame) -> int:
        """How many rows there are; begins anew where it is asked again."""
        schema, count = plain_schema(frame.schema()).remove_metadata(), 0
        with _writer(aside, schema, form) as write:
            for batch in frame.execute_stream():
                rows = batch.to_pyarrow()
                write(rows.cast(schema))
                count += rows.num_rows
        return count

    session = Session(scratch, MEMORY, partitions=1)
    try:
        if table.shown is not None:  # where a policy fails on a row, that row is hidden, and no value told
            count = session.run(_all(table), {}, [table], written_of)
        else:
            with session.frame(_all(table), {}, [table]) as frame:
                count = written_of(frame)
        with aside.open("rb+") as written:
            os.fsync(written.fileno())
            size = written.seek(0, os.SEEK_END)
        aside.replace(target)
    except QueryProblem as problem:
        raise EngineError(problem.message, remedy=problem.remedy) from problem
    finally:
        aside.unlink(missing_ok=True)
    return Exported(count, size)


def _all(table: LakeTable) -> str:
    return f"SELECT {', '.join(quote(name) for name, _ in table.columns)} FROM {quote(table.name)}"


@contextmanager
def _writer(path: Path, schema: pa.Schema, form: ExportFormat) -> Iterator[Writer]:
    match form:
        case "parquet":
            with pq.ParquetWriter(path, schema, compression="zstd") as file:
                groups = RowGroups(file, schema)
                yield groups.write
                groups.end()
        case "arrow":
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
                yield writer.write_batch
        case "csv" | "csv-safe":
            plain = _cells(pa.RecordBatch.from_pylist([], schema), safe=form == "csv-safe").schema
            with pcsv.CSVWriter(path, plain) as csv:
                yield lambda batch: csv.write_batch(_cells(batch, safe=form == "csv-safe"))


def _cells(batch: pa.RecordBatch, *, safe: bool) -> pa.RecordBatch:
    columns, names = [], []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        text = column
        if pa.types.is_list(column.type) or pa.types.is_binary(column.type):
            text = as_text(column)
        columns.append(_harmless(text) if safe and pa.types.is_string(text.type) else text)
        names.append(_harmless(pa.array([name]))[0].as_py() if safe else name)
    return pa.RecordBatch.from_arrays(columns, names=names)


def _harmless(texts: pa.Array) -> pa.Array:
    """Texts of which no spreadsheet makes a formula: those that could be one get an apostrophe in front."""
    return pc.if_else(pc.match_substring_regex(texts, _FORMULA), pc.binary_join_element_wise("'", texts, ""), texts)
