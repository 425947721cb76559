"""One source file -> Parquet parts of a table, or a refusal that names line, column, value and remedy.

A pass reads the file as batches, brings them to the table's columns and writes them. Types come from the table's schema, from the
spec's overrides, or, for columns that neither knows, from a guess. Where the file itself contradicts a guess, the column becomes text
and the pass is made again; where it contradicts table or spec, the file is refused as a whole. New columns extend the schema under ids
that were never used; columns that the file lacks are null, but not in the primary key.

Task and result are JSON-able, since a large file is ingested by another process. Memory does not depend on the file's size. The file
must not change meanwhile: then nothing is returned but FileChanged, and whoever asked tries again. Next: `opening.py`, `attempt.py`,
`source.py`, `table_writer.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from engines.files.attempt import Attempt
from engines.files.csv import CsvReading
from engines.files.former_shape import FormerReading
from engines.files.inference import ColumnGuess, Evidence, decide_all
from engines.files.ingest_task import IngestResult, IngestTask, Progress
from engines.files.json_lines import JsonReading
from engines.files.judge import Judge
from engines.files.opening import in_shape, open_file, open_reading, surprises_refuse, unchanged
from engines.files.present_values import PresentValues
from engines.files.source import (
    Contradicted,
    Misfit,
    Reading,
    ReadOptions,
    Reopen,
    RowReading,
    SourceFile,
    refusal,
)
from engines.files.staged_parts import StagedParts
from state.buckets import job_store
from state.objects import ObjectStore

Check = Callable[[Mapping[str, tuple[str, str]]], None]
"""Given what is guessed of the columns; raises FileRefused."""

_ATTEMPTS = 6
SURVEYED_RECORDS = 10_000


def run(task: IngestTask, progress: Progress | None = None, *, store: ObjectStore | None = None) -> IngestResult:
    """Reads the file and stores its parts. Blocking. store: the target, if the caller has it open.

    Raises FileRefused, FileUnreadable, FileChanged, DiskFull, BucketUnavailable; but for the last two, nothing was stored by then.
    """
    with StagedParts(store or job_store(task.target)) as parts:
        result = read(task, parts, progress)
        parts.put()
    return result


def read(
    task: IngestTask,
    parts: StagedParts,
    progress: Progress | None = None,
    *,
    assumed: Mapping[str, str] | None = None,
    present: PresentValues | None = None,
    guessed: bool = False,
    check: Check | None = None,
) -> IngestResult:
    """As `run`, but leaves its parts among those that wait to be stored. assumed: types of columns as guessed over other files, which
    give way where this file contradicts them. guessed: so are the schema's. present: what a contract judges by, shared by files. check:
    refuses the file by what is guessed of its columns."""
    source = task.source
    with ExitStack() as stack:
        size = stack.enter_context(unchanged(task, source))
        stack.enter_context(surprises_refuse(source))
        reading = open_file(task)
        judge = None
        if task.contract is not None:
            shared = present or stack.enter_context(PresentValues(task.contract, parts.store, several=False))
            judge = Judge(
                task.contract, source, reading, parts.store, shared,
                primary_key=task.primary_key, upsert=task.write == "upsert", declared_only=guessed, tombstone=task.tombstone,
            )  # fmt: skip
            stack.callback(judge.discard)
        told = partial(_told, progress, reading, size)
        return read_rows(task, reading, parts, told, assumed, judge=judge, check=check)


def _told(progress: Progress | None, reading: Reading, size: int) -> None:
    if progress is not None:
        progress(min(reading.progress(), size), size)


def read_rows(
    task: IngestTask,
    reading: RowReading,
    parts: StagedParts,
    told: Callable[[], None],
    assumed: Mapping[str, str] | None = None,
    fresh: Callable[[pa.RecordBatch], pa.RecordBatch] = lambda batch: batch,
    judge: Judge | None = None,
    check: Check | None = None,
) -> IngestResult:
    """As `read`, of rows wherever they come from. told: called about once a batch. fresh: of rows that are about to be written, those that
    are to be; of an upsert they are the last ones of their keys. judge: of rows of a file. Raises also what the reading raises."""
    reading = in_shape(reading, task)
    guesses = dict(reading.guesses())
    if check is not None:
        check(guesses)
    guesses |= {name: (assumed[name], "so far") for name in guesses if assumed and name in assumed}
    for _ in range(_ATTEMPTS):
        attempt = Attempt(task, reading, guesses, parts, judge)
        try:
            return attempt.run(told, fresh)
        except Contradicted as contradicted:
            guesses.update(contradicted.types)
        except Reopen:
            pass
        except Misfit as misfit:
            raise refusal(task.source, misfit) from None
    raise task.source.refused(None, "does not hold still under reading: its types change with every pass")


@dataclass(frozen=True, slots=True)
class Inferred:
    """columns: in order of appearance. options: how each file is read, as far as that was found. notes: sentences, with the file."""

    columns: tuple[ColumnGuess, ...]
    options: tuple[ReadOptions, ...]
    notes: tuple[str, ...]


def infer(files: Sequence[SourceFile], overrides: Mapping[str, str] | None = None, tasks: Sequence[IngestTask] = ()) -> Inferred:
    """Columns over several files together, by samples. tasks: of the files, where these may be of a former shape.

    Blocking. Raises FileRefused, FileUnreadable.
    """
    found: dict[str, Evidence] = {}
    options, notes = [], []
    for number, source in enumerate(files):
        with surprises_refuse(source):
            reading = open_reading(source, whole=frozenset(overrides or ()))
            evidence = reading.evidence(SURVEYED_RECORDS) if isinstance(reading, JsonReading) else reading.evidence()
            shaped = in_shape(reading, tasks[number]) if tasks else reading
            if isinstance(shaped, FormerReading):
                evidence = shaped.shown(evidence, reading.guesses())
        for name, more in evidence.items():
            found.setdefault(name, Evidence()).merge(more)
        options.append(reading.options if isinstance(reading, CsvReading) else source.options)
        notes += [f"{source.shown}: {note}" for note in reading.notes()]
    columns = tuple(
        ColumnGuess(guess.name, overrides[guess.name], "the spec says so") if overrides and guess.name in overrides else guess
        for guess in decide_all(found.items())
    )
    return Inferred(columns, tuple(options), tuple(notes))
