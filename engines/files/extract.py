"""What a read of a source that is no file comes to: the parts of its rows, or why it was refused, and what the catalog says of its origin.

The rows go the way of a file's (`ingest.read_rows`), under a token in place of a content digest. A column that the table has and the
source has no more refuses the read: what it was is served on. A contract judges them as they come (`kept_rows.py`).
Next: `engines/postgres/extract.py`, `engines/sql/derived.py`, the jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa

from engines.errors import FileRefused, SourceRefused
from engines.files.batch import BatchResult
from engines.files.former_parts import FormerParts
from engines.files.ingest import read, read_rows
from engines.files.ingest_task import IngestResult, IngestTask, Progress
from engines.files.journalling import JournalTask, journal_of
from engines.files.judge import Judge
from engines.files.kept_rows import Before, KeptRows, Overlap
from engines.files.opening import in_shape
from engines.files.present_values import PresentValues
from engines.files.same_rows import same_rows
from engines.files.set_aside import SetAside
from engines.files.source import RowReading
from engines.files.staged_parts import StagedParts
from engines.files.terms import unused
from engines.sql.readings import PartFile
from state.buckets import job_store
from state.catalog.tables import Origin


@dataclass(frozen=True, slots=True)
class ExtractTask:
    """rows: where they go. edits: files of rows that were set by hand, read after them where a table is made anew. journal: None where
    nothing is to be noted of the rows.

    source: what quarantine calls it. aside: ledgers of rows that former reads set aside, where reads add up; current: whether they were
    judged by what the contract refers to now. served: the parts of the rows that these take the place of; None where they are to be stored,
    even if they are the same.
    """

    rows: IngestTask
    edits: tuple[IngestTask, ...] = ()
    journal: JournalTask | None = None
    source: str = ""
    aside: tuple[str, ...] = ()
    current: bool = True
    served: tuple[PartFile, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        journal = self.journal and self.journal.to_dict()
        aside = {"source": self.source, "aside": list(self.aside), "current": self.current}
        served = None if self.served is None else [part.to_dict() for part in self.served]
        edits = [edit.to_dict() for edit in self.edits]
        return {"rows": self.rows.to_dict(), "edits": edits, "journal": journal, "served": served, **aside}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Raises KeyError or TypeError for what `to_dict` does not make."""
        journal = document["journal"]
        parsed = {
            "rows": IngestTask.from_dict(document["rows"]),
            "edits": tuple(IngestTask.from_dict(edit) for edit in document["edits"]),
            "journal": None if journal is None else JournalTask.from_dict(journal),
            "aside": tuple(document["aside"]),
            "served": None if document["served"] is None else tuple(map(PartFile.from_dict, document["served"])),
        }
        return cls(**{**document, **parsed})


@dataclass(frozen=True, slots=True)
class Extract:
    """rows: as of a batch, by token. origin: all but the slot; of a refused read, what is known of it. keeps: quarantine stays as it is.
    same: the rows are those that are served, and nothing was stored."""

    rows: BatchResult = field(default_factory=BatchResult)
    origin: Origin = field(default_factory=Origin)
    keeps: bool = False
    same: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        return {"rows": self.rows.to_dict(), "origin": self.origin.to_dict(), "keeps": self.keeps, "same": self.same}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Raises KeyError for what `to_dict` does not make."""
        return cls(BatchResult.from_dict(document["rows"]), Origin.from_dict(document["origin"]), document["keeps"], document["same"])


def extract(
    task: ExtractTask,
    reading: RowReading,
    origin: Callable[[], Origin],
    progress: Progress,
    overlap: Overlap | None = None,
) -> Extract:
    """Reads, and stores the parts. Blocking. origin: asked at the end; overlap: of a read that adds to former ones.

    Raises SourceUnavailable, DiskFull, BucketUnavailable.
    """
    rows = task.rows
    try:
        with StagedParts(job_store(rows.target)) as parts, ExitStack() as stack:
            whole: RowReading = _Whole(rows, in_shape(reading, rows))
            judge = _judge(task, whole, parts, overlap, stack)
            # what the judge lets through is new, unless the last row of a key is yet to be found
            fresh = _fresh(None if judge is not None and rows.write != "upsert" else overlap)
            whole = whole if judge is None else judge.reading
            result = read_rows(rows, whole, parts, lambda: progress(reading.progress(), 0), fresh=fresh, judge=judge)
            if _same(task, result, parts):
                return Extract(BatchResult(warnings=result.warnings), origin(), same=True)
            files = {rows.digest: result.files}
            ledgers = list(result.ledgers)
            for edit in task.edits:
                # its columns are the table's, and add none
                found = read(replace(edit, schema=result.schema, next_column_id=1 << 31), parts)
                files[edit.digest] = found.files
                ledgers += found.ledgers
            named = (replace(rows, display_path=task.source), *task.edits)
            noted = () if task.journal is None else journal_of(task.journal, named, files, result.schema, parts)
            parts.put()
    except (SourceRefused, FileRefused) as error:
        reason = error.reason if isinstance(error, FileRefused) else str(error)
        told = f"{reason.removesuffix('.')}. {error.remedy}" if error.remedy else reason
        return Extract(BatchResult(refused={rows.digest: (None, told)}), origin())
    lacking = () if rows.contract is None else unused(rows.contract, [column.name for column in result.schema.columns], rows.source.noun)
    violations = () if result.violations is None else (result.violations,)
    warnings = (*result.warnings, *lacking)
    made = BatchResult(files, {}, result.schema, warnings, (*ledgers, *noted), result.guesses, violations)
    return Extract(made, origin(), judge is not None and judge.unchanged)


def _same(task: ExtractTask, result: IngestResult, parts: StagedParts) -> bool:
    """Whether the rows are those that are served. A read with rows in quarantine tells of them anew."""
    if task.served is None or result.violations or result.schema != task.rows.schema:
        return False
    with FormerParts() as former:
        return same_rows(former.here(task.served), [PartFile(str(parts.path(file.key))) for file in result.files], result.schema)


def _judge(task: ExtractTask, reading: RowReading, parts: StagedParts, overlap: Overlap | None, stack: ExitStack) -> Judge | None:
    """What applies the contract, if there is one; the stack clears up after it."""
    rows = task.rows
    if rows.contract is None:
        return None
    keyed = rows.write == "upsert"
    aside = SetAside([Path(path) for path in task.aside], current=task.current)
    before = Before(aside, in_shape(aside, rows)) if task.aside and overlap is not None else None
    cursor = _renamed(rows, overlap.column) if overlap is not None else ""
    kept = KeptRows(reading, parts.store, overlap, cursor, rows.primary_key if keyed else (), before)
    present = stack.enter_context(PresentValues(rows.contract, parts.store, several=False))
    source = replace(rows.source, shown=task.source)
    judge = Judge(
        rows.contract, source, kept, parts.store, present,
        primary_key=rows.primary_key, upsert=keyed, tombstone=rows.tombstone,
    )  # fmt: skip
    stack.callback(judge.discard)
    return judge


def _renamed(rows: IngestTask, column: str) -> str:
    """As the table calls a column of its source."""
    for migration in rows.shape.migrations if rows.shape is not None else ():
        column = migration.rename.get(column, column)
    return column


def _fresh(overlap: Overlap | None) -> Callable[[pa.RecordBatch], pa.RecordBatch]:
    """See `read_rows`."""

    def fresh(batch: pa.RecordBatch) -> pa.RecordBatch:
        known = overlap.known(batch) if overlap is not None else ()
        if not len(known):
            return batch
        keep = np.ones(batch.num_rows, np.bool_)
        keep[known] = False
        return batch.filter(pa.array(keep))

    return fresh


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
            remedy = "Put it back, or give it up by a migration (`drop`). A `query` or `sql` of other words makes the table anew, as does"
            remedy += " a `query` in the place of `table`."
            raise SourceRefused(f"{names} {'is' if len(gone) == 1 else 'are'} gone from the source, and the table has it", remedy=remedy)
        return found
