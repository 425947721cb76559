"""What a read of a source that is no file comes to: the parts of its rows, or why it was refused, and what the catalog says of its origin.

The rows go the way of a file's (`ingest.read_rows`), under a token in place of a content digest. A column that the table has and the
source has no more refuses the read: what it was is served on. Next: `engines/postgres/extract.py`, `engines/sql/derived.py`, the jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import pyarrow as pa

from engines.errors import FileRefused, SourceRefused
from engines.files.batch import BatchResult
from engines.files.ingest import IngestTask, Progress, in_shape, read, read_rows
from engines.files.journalling import JournalTask, journal_of
from engines.files.source import RowReading
from engines.files.staged_parts import StagedParts
from state.buckets import job_store
from state.catalog.records import Origin


@dataclass(frozen=True, slots=True)
class ExtractTask:
    """rows: where they go. edits: files of rows that were set by hand, read after them where a table is made anew. journal: None where
    nothing is to be noted of the rows."""

    rows: IngestTask
    edits: tuple[IngestTask, ...] = ()
    journal: JournalTask | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        journal = self.journal and self.journal.to_dict()
        return {"rows": self.rows.to_dict(), "edits": [edit.to_dict() for edit in self.edits], "journal": journal}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Raises KeyError or TypeError for what `to_dict` does not make."""
        journal = document["journal"]
        edits = tuple(IngestTask.from_dict(edit) for edit in document["edits"])
        return cls(IngestTask.from_dict(document["rows"]), edits, None if journal is None else JournalTask.from_dict(journal))


@dataclass(frozen=True, slots=True)
class Extract:
    """rows: as of a batch, by token. origin: all but the slot; of a refused read, what is known of it."""

    rows: BatchResult = field(default_factory=BatchResult)
    origin: Origin = field(default_factory=Origin)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        return {"rows": self.rows.to_dict(), "origin": self.origin.to_dict()}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Raises KeyError for what `to_dict` does not make."""
        return cls(BatchResult.from_dict(document["rows"]), Origin.from_dict(document["origin"]))


def extract(
    task: ExtractTask,
    reading: RowReading,
    origin: Callable[[], Origin],
    progress: Progress,
    fresh: Callable[[pa.RecordBatch], pa.RecordBatch] = lambda batch: batch,
) -> Extract:
    """Reads, and stores the parts. Blocking. origin: asked at the end; fresh: as of `read_rows`.

    Raises SourceUnavailable, DiskFull, BucketUnavailable.
    """
    rows = task.rows
    try:
        with StagedParts(job_store(rows.target)) as parts:
            whole = _Whole(rows, in_shape(reading, rows))
            result = read_rows(rows, whole, parts, lambda: progress(reading.progress(), 0), fresh=fresh)
            files = {rows.digest: result.files}
            for edit in task.edits:
                # its columns are the table's, and add none
                files[edit.digest] = read(replace(edit, schema=result.schema, next_column_id=1 << 31), parts).files
            noted = () if task.journal is None else journal_of(task.journal, (rows, *task.edits), files, result.schema, parts)
            parts.put()
    except (SourceRefused, FileRefused) as error:
        reason = error.reason if isinstance(error, FileRefused) else str(error)
        told = f"{reason.removesuffix('.')}. {error.remedy}" if error.remedy else reason
        return Extract(BatchResult(refused={rows.digest: (None, told)}), origin())
    made = BatchResult(files, schema=result.schema, warnings=result.warnings, ledgers=noted, guesses=result.guesses)
    return Extract(made, origin())


class _Whole:
    """A reading that has every column that the table has."""

    def __init__(self, task: IngestTask, reading: RowReading) -> None:
        self._task = task
        self._reading = reading
        self.batches = reading.batches
        self.line_of = reading.line_of
        self.progress = reading.progress
        self.notes = reading.notes

    def guesses(self) -> Mapping[str, tuple[str, str]]:
        """Raises SourceRefused where one is missing."""
        found = self._reading.guesses()
        known = self._task.schema.columns if self._task.schema is not None else ()
        gone = [column.name for column in known if column.name not in found]
        if gone:
            names = ", ".join(f"`{name}`" for name in gone[:5]) + (f" and {len(gone) - 5} more" if len(gone) > 5 else "")
            remedy = "Put it back, give it up by a migration (`drop`), or change `query` or `sql` in any way, which makes the table anew."
            raise SourceRefused(f"{names} {'is' if len(gone) == 1 else 'are'} gone from the source, and the table has it", remedy=remedy)
        return found
