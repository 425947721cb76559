"""Several files of one table, read as one: the same columns and types for all, whichever file came first.

A new table's types are guessed over all its files together. If a file contradicts a guess, the column becomes text for all
of them, and those that were written otherwise are written again. A file that is refused is named with line and reason; the
others are taken. This is the function that ingest jobs run. Next: `ingest.py` for a single file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Self

from engines.errors import FileRefused
from engines.files import ingest
from engines.files.contract import Terms
from engines.files.drift import Former, check_renamed, widened, wider
from engines.files.inference import ColumnGuess
from engines.files.ingest_task import IngestResult, IngestTask, Progress
from engines.files.journalling import JournalTask, journal_of
from engines.files.ledgers import Noted
from engines.files.present_values import PresentValues
from engines.files.staged_parts import StagedParts
from engines.files.terms import unused
from state.buckets import job_store
from state.catalog.data_files import DataFile
from state.catalog.schemas import Schema, extend_schema
from state.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class Batch:
    """Tasks of one table that agree in all but the file; `schema` is the table's in each, or None in each. journal: None where nothing is
    to be noted of the rows; there may be no tasks where it has something to note all the same. former: None where the table's columns are
    not to be compared with the files'."""

    tasks: tuple[IngestTask, ...]
    journal: JournalTask | None = None
    former: Former | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        journal, former = self.journal and self.journal.to_dict(), self.former and self.former.to_dict()
        return {"tasks": [task.to_dict() for task in self.tasks], "journal": journal, "former": former}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Raises KeyError or TypeError for what `to_dict` does not make."""
        journal, former = document["journal"], document["former"]
        return cls(
            tuple(IngestTask.from_dict(task) for task in document["tasks"]),
            None if journal is None else JournalTask.from_dict(journal),
            None if former is None else Former.from_dict(former),
        )


@dataclass(frozen=True, slots=True)
class BatchResult:
    """files: the parts of each file that was taken, by content digest, in the order of the tasks. refused: (line, reason) of the
    others. schema: of all parts; None where no file was taken. warnings: sentences on what was taken and deserves a look. ledgers: what is
    to be noted with the rows. guesses: new columns, what was decided about each and why. violations: sentences on rows that break the
    contract."""

    files: Mapping[str, tuple[DataFile, ...]] = field(default_factory=dict)
    refused: Mapping[str, tuple[int | None, str]] = field(default_factory=dict)
    schema: Schema | None = None
    warnings: tuple[str, ...] = ()
    ledgers: tuple[Noted, ...] = ()
    guesses: tuple[ColumnGuess, ...] = ()
    violations: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        return {
            "files": [[digest, [part.to_dict() for part in parts]] for digest, parts in self.files.items()],
            "refused": [[digest, line, reason] for digest, (line, reason) in self.refused.items()],
            "schema": None if self.schema is None else self.schema.to_dict(),
            "warnings": list(self.warnings),
            "ledgers": [noted.to_dict() for noted in self.ledgers],
            "guesses": [[guess.name, guess.type, guess.reason] for guess in self.guesses],
            "violations": list(self.violations),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Raises KeyError for what `to_dict` does not make."""
        schema = document["schema"]
        return cls(
            {digest: tuple(DataFile.from_dict(part) for part in parts) for digest, parts in document["files"]},
            {digest: (line, reason) for digest, line, reason in document["refused"]},
            None if schema is None else Schema.from_dict(schema),
            tuple(document["warnings"]),
            tuple(Noted.from_dict(noted) for noted in document["ledgers"]),
            tuple(ColumnGuess(*guess) for guess in document["guesses"]),
            tuple(document["violations"]),
        )


def run(arguments: Mapping[str, Any], progress: Progress | None = None) -> dict[str, Any]:
    """What an ingest job does: a `Batch` in, a `BatchResult` out, both as JSON. Blocking.

    Raises FileUnreadable, FileChanged (worth a retry), DiskFull, BucketUnavailable; but for the last two, nothing was stored by then.
    """
    batch = Batch.from_dict(arguments)
    target = batch.journal.target if batch.journal is not None else batch.tasks[0].target
    return ingest_batch(batch, progress, job_store(target)).to_dict()


def ingest_batch(batch: Batch, progress: Progress | None, store: ObjectStore) -> BatchResult:
    """See `run`."""
    if not batch.tasks:
        return _noted_alone(batch, store)
    schema = batch.tasks[0].schema
    soft = schema is None and len(batch.tasks) > 1
    guesses: dict[str, ColumnGuess] = {}
    if soft:
        schema, guesses = _common_schema(batch.tasks)
    wide: dict[str, str] = {}
    while True:  # every pass but the last gives a column another type, or finds out which columns a wider schema has
        with StagedParts(store) as parts:
            attempt = _Pass(batch.tasks, schema, parts, progress, batch.former, soft=soft)
            found = attempt.run()
            grown = bool(wide) and found.schema not in (None, schema)
            if not attempt.contradicted and not attempt.wider and not grown:
                noted = journal_of(batch.journal, batch.tasks, found.files, found.schema, parts) if batch.journal is not None else ()
                parts.put()
                return replace(found, ledgers=(*found.ledgers, *noted), guesses=(*guesses.values(), *found.guesses))
        assert schema is not None
        if attempt.contradicted:
            schema = _as_text(schema, attempt.contradicted)
            why = "text, since a later file contradicts the others"
            guesses |= {name: ColumnGuess(name, "string", why) for name in attempt.contradicted}
            continue
        wide |= attempt.wider
        task = batch.tasks[0]
        assert task.schema is not None
        schema = widened(task.schema, wide, task.next_schema_id, (found.schema or schema).columns)


def _noted_alone(batch: Batch, store: ObjectStore) -> BatchResult:
    assert batch.journal is not None
    with StagedParts(store) as parts:
        noted = journal_of(batch.journal, (), {}, None, parts)
        parts.put()
    return BatchResult(ledgers=noted)


class _Pass:
    """All files once, under one schema that may grow by columns. `soft`: note which columns a refused file would need as text. `wider`:
    the types of the table's columns that a file which does not fit needs, and that lose nothing."""

    def __init__(
        self,
        tasks: Sequence[IngestTask],
        schema: Schema | None,
        parts: StagedParts,
        progress: Progress | None,
        former: Former | None = None,
        *,
        soft: bool = False,
    ) -> None:
        self._tasks, self._schema, self._parts, self._progress, self._soft = tasks, schema, parts, progress, soft
        self._former = former
        self._total = sum(task.size or 0 for task in tasks)
        self._done = 0
        self.contradicted: set[str] = set()
        self.wider: dict[str, str] = {}

    def run(self) -> BatchResult:
        contract = self._contract
        with nullcontext() if contract is None else PresentValues(contract, self._parts.store, several=len(self._tasks) > 1) as present:
            return self._all(present)

    def _all(self, present: PresentValues | None) -> BatchResult:
        files: dict[str, tuple[DataFile, ...]] = {}
        refused: dict[str, tuple[int | None, str]] = {}
        warnings: list[str] = []
        ledgers: list[Noted] = []
        violations: list[str] = []
        guesses: list[ColumnGuess] = []
        for task in self._tasks:
            try:
                result = self._one(task, present)
            except FileRefused as error:
                refused[task.digest] = (error.line, f"{error.reason}. {error.remedy}" if error.remedy else error.reason)
            else:
                if result is not None:
                    files[task.digest] = result.files
                    warnings += result.warnings
                    guesses += result.guesses
                    ledgers += result.ledgers
                    violations += [result.violations] if result.violations else []
                    self._schema = result.schema
            self._done += task.size or 0
        schema = self._schema if files else None
        told = (*warnings, *self._unused())
        return BatchResult(files, refused, schema, told, tuple(ledgers), tuple(guesses), tuple(violations))

    def _unused(self) -> list[str]:
        known = {column.name for column in self._schema.columns} if self._schema is not None else set()
        told = [f"`columns` names `{name}`, which no file has so far" for name in sorted(self._tasks[0].overrides.keys() - known)]
        if known and self._tasks[0].schema is None and self._tasks[0].shape is not None:
            told += [
                f"`migrations` renames `{old}` to `{new}`, and no file has either"
                for old, new in self._tasks[0].shape.renamed()
                if new not in known
            ]
        return told if self._contract is None or not known else [*told, *unused(self._contract, sorted(known))]

    @property
    def _contract(self) -> Terms | None:
        """Of all files; rows that were changed by hand are not judged again."""
        return next((task.contract for task in self._tasks if task.contract is not None), None)

    def _one(self, task: IngestTask, present: PresentValues | None) -> IngestResult | None:
        """None where the file fits only with a column of another type, which is noted. Raises FileRefused."""
        under = self._under(task, self._schema)
        try:
            check = None if self._former is None else partial(check_renamed, under, self._former)
            return ingest.read(under, self._parts, self._told, present=present, guessed=self._soft, check=check)
        except FileRefused:
            if self._former is not None and (found := wider(under, self._former, self._parts.store)):
                self.wider |= found
                return None
            if not self._soft or self._schema is None:
                raise
            assigned = {column.name: column.type for column in self._schema.columns}
            with StagedParts(self._parts.store) as unwanted:
                alone = ingest.read(replace(task, schema=None), unwanted, assumed=assigned)
            differing = {column.name for column in alone.schema.columns if assigned.get(column.name, column.type) != column.type}
            if not differing:
                raise
            self.contradicted |= differing
            return None

    def _under(self, task: IngestTask, schema: Schema | None) -> IngestTask:
        if schema is None:
            return task
        highest = max((column.id for column in schema.columns), default=0)
        return replace(
            task,
            schema=schema,
            formers=task.formers if schema.derivation is None or task.schema is None else (*task.formers, task.schema),
            next_column_id=max(task.next_column_id, highest + 1),
            next_schema_id=max(task.next_schema_id, schema.id + 1),
        )

    def _told(self, done: int, _: int) -> None:
        if self._progress is not None:
            self._progress(self._done + done, self._total)


def _common_schema(tasks: Sequence[IngestTask]) -> tuple[Schema, dict[str, ColumnGuess]]:
    """Columns over all files that can be read at all, with what was decided; the others are refused when their turn comes."""
    # edits are of a table's types already, and the files decide what these are
    sources = {task.display_path: task for task in tasks if not task.is_edit}
    marks = tasks[0].shape.marks if tasks[0].shape is not None else ()
    while sources:
        try:
            guesses = ingest.infer([task.source for task in sources.values()], tasks[0].overrides, list(sources.values())).columns
        except FileRefused as error:
            if sources.pop(error.path, None) is None:
                raise
            continue
        tombstones = {task.tombstone for task in tasks}
        new = {guess.name: guess for guess in guesses if guess.name not in tombstones}
        columns = [(guess.name, guess.type) for guess in new.values()]
        schema = extend_schema(None, columns, tasks[0].next_column_id, schema_id=tasks[0].next_schema_id)
        return replace(schema, migrations=marks), new
    return Schema(tasks[0].next_schema_id, (), migrations=marks), {}


def _as_text(schema: Schema, names: set[str]) -> Schema:
    """The schema with these columns as text."""
    columns = [replace(column, type="string") if column.name in names else column for column in schema.columns]
    return replace(schema, columns=tuple(columns))
