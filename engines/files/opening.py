"""Source files opened by their format, and what may go wrong with them while they are read. Next: `source.py` for what a reading is."""

from __future__ import annotations

from collections.abc import Iterator, Set
from contextlib import contextmanager
from typing import assert_never

import pyarrow as pa

from engines.errors import FileChanged, FileRefused
from engines.files import content_kind
from engines.files.csv import CsvReading
from engines.files.documents import DocumentReading
from engines.files.excel import ExcelReading
from engines.files.former_shape import FormerReading
from engines.files.ingest_task import IngestTask
from engines.files.json_lines import JsonReading
from engines.files.parquet import ParquetReading
from engines.files.source import (
    Reading,
    RowReading,
    SourceFile,
)


def open_task(task: IngestTask) -> RowReading:
    """The file, in the table's present shape. Raises FileRefused."""
    return in_shape(open_file(task), task)


def open_file(task: IngestTask) -> Reading:
    """The file as it is. Raises FileRefused."""
    known = {column.name for column in task.schema.columns} if task.schema else set()
    return open_reading(task.source, whole=task.overrides.keys() | known)


def in_shape(reading: RowReading, task: IngestTask) -> RowReading:
    """With the table's present columns, if the source has those of before a migration."""
    if task.shape is None:
        return reading
    pending = task.shape.pending(set(reading.guesses()))
    return FormerReading(reading, task.source, task.shape, pending, task.primary_key) if pending else reading


def open_reading(source: SourceFile, *, whole: Set[str] = frozenset()) -> Reading:
    """The reader of the file's format. whole: columns that are known, whatever is within them. Raises FileRefused where the file is
    plainly of another format."""
    content_kind.check(source)
    match source.format:
        case "csv":
            return CsvReading(source)
        case "json":
            return JsonReading(source, whole=whole)
        case "parquet":
            return ParquetReading(source)
        case "excel":
            return ExcelReading(source)
        case "text" | "markdown" | "html" | "pdf":
            return DocumentReading(source)
        case "rows":
            raise source.refused(None, "is no file")
        case _:
            assert_never(source.format)


@contextmanager
def unchanged(task: IngestTask, source: SourceFile) -> Iterator[int]:
    """Yields the size in bytes. Whatever comes of reading a file that changed meanwhile, also a refusal, is FileChanged instead."""
    before = source.fingerprint()
    if task.size not in (None, before.size) or task.mtime_ns not in (None, before.mtime_ns):
        raise FileChanged(source.shown, "has changed since its digest was taken")
    try:
        yield before.size
    except FileRefused as refused:
        if source.fingerprint() != before:
            raise FileChanged(source.shown, "changed while it was read") from refused
        raise
    if source.fingerprint() != before:
        raise FileChanged(source.shown, "changed while it was read")


@contextmanager
def surprises_refuse(source: SourceFile) -> Iterator[None]:
    """A content that a library chokes on is told as the file's fault: the others of its table need not wait for a new version of us."""
    try:
        yield
    except MemoryError:  # pyarrow's own is an ArrowException, too; a later attempt may have more
        raise
    except (ValueError, TypeError, ArithmeticError, RecursionError, pa.ArrowException) as error:
        reason = f"cannot be read: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no more is known'}"
        raise source.refused(None, reason, remedy="Write the file again by another program, or report it with the file.") from error
