"""One source file -> Parquet parts of a table, or a refusal that names line, column, value and remedy.

A pass reads the file as batches, brings them to the table's columns and writes them. Types come from the table's schema, from the
spec's overrides, or, for columns that neither knows, from a guess. Where the file itself contradicts a guess, the column becomes text
and the pass is made again; where it contradicts table or spec, the file is refused as a whole. New columns extend the schema under ids
that were never used; columns that the file lacks are null, but not in the primary key.

Task and result are JSON-able, since a large file is ingested by another process. Memory does not depend on the file's size. The file
must not change meanwhile: then nothing is returned but FileChanged, and whoever asked tries again. Next: `source.py`, `csv.py`,
`table_writer.py`, `sorting.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self, assert_never

import pyarrow as pa
import pyarrow.compute as pc

from engines.errors import FileChanged, FileRefused
from engines.files import content_kind
from engines.files.contract import Terms
from engines.files.csv import CsvReading
from engines.files.documents import DocumentReading
from engines.files.excel import ExcelReading
from engines.files.formats import Format
from engines.files.former_shape import FormerReading, Shape
from engines.files.inference import ColumnGuess, Evidence, decide_all
from engines.files.json_lines import JsonReading
from engines.files.judge import Judge
from engines.files.ledgers import Noted
from engines.files.parquet import ParquetReading
from engines.files.present_values import PresentValues
from engines.files.profiling import Profiler
from engines.files.quarantine import Origin, write_quarantine
from engines.files.sorting import ORDER_COLUMN, LastRows
from engines.files.source import (
    UNPACKED_LEAST,
    UNPACKED_RATIO,
    ColumnPlan,
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
from engines.files.table_writer import HIDDEN, Provenance, TableWriter
from engines.row_keys import DELETED_COLUMN
from engines.sql.source import NEWEST, SEQUENCE
from specs.suggestions import nearest
from state.buckets import job_store
from state.catalog.data_files import DataFile
from state.catalog.schemas import Schema, extend_schema
from state.objects import ObjectStore
from state.places import BucketConfig

Write = Literal["append", "upsert", "replace"]
Progress = Callable[[int, int], None]
"""Told (bytes done, bytes in all), about once a block."""
Check = Callable[[Mapping[str, tuple[str, str]]], None]
"""Given what is guessed of the columns; raises FileRefused."""

RESERVED = frozenset({*HIDDEN, ORDER_COLUMN, SEQUENCE, NEWEST})
MAX_COLUMNS = 10_000
_ATTEMPTS = 6
SURVEYED_RECORDS = 10_000


@dataclass(frozen=True, slots=True)
class IngestTask:
    """What to make of one file.

    path: absolute; display_path: as the operator calls it; digest: of the content, as the caller found it together with size and
    mtime_ns (if these are given, a file that has become another since is FileChanged). schema: the table's, None for its first file; new
    columns get the ids from next_column_id on, and the extended schema the id next_schema_id. overrides: column -> type, the operator's
    word for columns that schema does not know (where it does, schema says the type). key_prefix: of the parts' keys. sequence: the place
    that the rows will have among the table's. contract: None for a table without one. shape: what tells a file of before a migration; None
    where there are none. formers: former schemas that the parts are to tell of.
    """

    dataset: str
    path: str
    display_path: str
    digest: str
    format: Format
    target: BucketConfig
    key_prefix: str
    transformation: str
    options: ReadOptions = field(default_factory=ReadOptions)
    schema: Schema | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)
    primary_key: tuple[str, ...] = ()
    write: Write = "append"
    next_column_id: int = 1
    next_schema_id: int = 1
    sequence: int = 0
    size: int | None = None
    mtime_ns: int | None = None
    tombstone: str | None = None
    contract: Terms | None = None
    shape: Shape | None = None
    formers: tuple[Schema, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        return {
            "dataset": self.dataset,
            "path": self.path,
            "display_path": self.display_path,
            "digest": self.digest,
            "format": self.format,
            "target": self.target.to_dict(),
            "key_prefix": self.key_prefix,
            "transformation": self.transformation,
            "options": self.options.to_dict(),
            "schema": None if self.schema is None else self.schema.to_dict(),
            "overrides": dict(self.overrides),
            "primary_key": list(self.primary_key),
            "write": self.write,
            "next_column_id": self.next_column_id,
            "next_schema_id": self.next_schema_id,
            "sequence": self.sequence,
            "size": self.size,
            "mtime_ns": self.mtime_ns,
            "tombstone": self.tombstone,
            "contract": self.contract and self.contract.to_dict(),
            "shape": None if self.shape is None else self.shape.to_dict(),
            "formers": [schema.to_dict() for schema in self.formers],
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Raises KeyError or TypeError for what `to_dict` does not make."""
        schema, contract, shape = document["schema"], document["contract"], document["shape"]
        parsed = {
            "contract": None if contract is None else Terms.from_dict(contract),
            "target": BucketConfig.from_dict(document["target"]),
            "options": ReadOptions.from_dict(document["options"]),
            "schema": None if schema is None else Schema.from_dict(schema),
            "primary_key": tuple(document["primary_key"]),
            "shape": None if shape is None else Shape.from_dict(shape),
            "formers": tuple(Schema.from_dict(former) for former in document["formers"]),
        }
        return cls(**{**document, **parsed})

    @property
    def is_edit(self) -> bool:
        """Whether it is the delta of a row that was set or deleted by hand."""
        return self.tombstone == DELETED_COLUMN

    @property
    def source(self) -> SourceFile:
        """The file, to be read."""
        lenient = self.contract is not None and self.contract.on_violation == "quarantine"
        return SourceFile(Path(self.path), self.display_path, self.format, replace(self.options, skip_ragged=lenient))


@dataclass(frozen=True, slots=True)
class IngestResult:
    """The parts in order (none for a file without rows).

    rows: in all parts. schema: the task's, or an extension of it. guesses: what was decided here about new columns, and why.
    warnings: sentences. ledgers: what is to be noted with the rows. violations: a sentence on rows that break the contract.
    """

    files: tuple[DataFile, ...]
    schema: Schema
    rows: int
    guesses: tuple[ColumnGuess, ...] = ()
    warnings: tuple[str, ...] = ()
    ledgers: tuple[Noted, ...] = ()
    violations: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        return {
            "files": [file.to_dict() for file in self.files],
            "schema": self.schema.to_dict(),
            "rows": self.rows,
            "guesses": [[guess.name, guess.type, guess.reason] for guess in self.guesses],
            "warnings": list(self.warnings),
            "ledgers": [noted.to_dict() for noted in self.ledgers],
            "violations": self.violations,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Raises KeyError for what `to_dict` does not make."""
        return cls(
            tuple(DataFile.from_dict(file) for file in document["files"]),
            Schema.from_dict(document["schema"]),
            document["rows"],
            tuple(ColumnGuess(*guess) for guess in document["guesses"]),
            tuple(document["warnings"]),
            tuple(Noted.from_dict(noted) for noted in document["ledgers"]),
            document["violations"],
        )


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
        stack.enter_context(_surprises_refuse(source))
        reading = _open(task)
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


def _open(task: IngestTask) -> Reading:
    known = {column.name for column in task.schema.columns} if task.schema else set()
    return open_reading(task.source, whole=task.overrides.keys() | known)


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
        attempt = _Attempt(task, reading, guesses, parts, judge)
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
        with _surprises_refuse(source):
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


def open_task(task: IngestTask) -> RowReading:
    """The file, in the table's present shape. Raises FileRefused."""
    return in_shape(_open(task), task)


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
def _surprises_refuse(source: SourceFile) -> Iterator[None]:
    """A content that a library chokes on is told as the file's fault: the others of its table need not wait for a new version of us."""
    try:
        yield
    except MemoryError:  # pyarrow's own is an ArrowException, too; a later attempt may have more
        raise
    except (ValueError, TypeError, ArithmeticError, RecursionError, pa.ArrowException) as error:
        reason = f"cannot be read: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no more is known'}"
        raise source.refused(None, reason, remedy="Write the file again by another program, or report it with the file.") from error


class _Attempt:
    """One pass over the file, with types as far as they are known."""

    def __init__(
        self, task: IngestTask, reading: RowReading, guesses: Mapping[str, tuple[str, str]], parts: StagedParts, judge: Judge | None
    ) -> None:
        """Raises FileRefused for columns that cannot be."""
        self._task, self._reading, self._parts, self._source, self._judge = task, reading, parts, task.source, judge
        self._guesses = guesses
        self._known = {column.name: column.type for column in task.schema.columns} if task.schema else {}
        self._plans = {name: self._plan(name, kind) for name, (kind, _) in guesses.items()}
        self._check_columns()
        if judge is not None:
            self._plans = dict(judge.begin(self._plans, self._known))
        new = ((plan.name, plan.type) for plan in self._plans.values() if plan.name != task.tombstone)
        self._schema = extend_schema(task.schema, new, task.next_column_id, schema_id=task.next_schema_id)
        if task.schema is None and task.shape is not None:
            self._schema = replace(self._schema, migrations=task.shape.marks)

    def run(self, told: Callable[[], None], fresh: Callable[[pa.RecordBatch], pa.RecordBatch]) -> IngestResult:
        """Raises FileRefused, Misfit, Contradicted, Reopen; then nothing of it is left."""
        task = self._task
        basis = task.contract.basis if task.contract is not None else ""
        told_of = (task.dataset, task.display_path, task.digest, task.transformation, task.size, task.write, task.sequence)
        provenance = Provenance(*told_of, basis=basis, formers=task.formers)
        keyed = task.write == "upsert" and bool(task.primary_key)
        writer = TableWriter(
            self._parts,
            task.key_prefix,
            self._schema,
            provenance,
            primary_key=task.primary_key,
            role="delta" if keyed else "base",
            deletes=task.tombstone in self._plans,
        )
        rows = LastRows(self._parts.store, task.primary_key) if keyed else None
        taken = kept = unpacked = 0
        profiler = Profiler(task.dataset, self._schema)
        try:
            for batch in self._reading.batches(self._plans):
                unpacked += batch.nbytes
                self._check_ratio(unpacked)
                if self._judge is not None:
                    batch = self._judge.judge(batch)
                self._check_keys(batch, taken)
                taken += batch.num_rows
                batch = self._with_tombstones(batch)
                profiler.add(batch)
                if rows:
                    rows.add(batch)
                else:
                    writer.write(fresh(batch))
                told()
            if self._judge is not None:
                self._judge.finish()
            for batch in rows.sorted() if rows else ():
                kept += batch.num_rows
                writer.write(fresh(batch))
            files = writer.close()
            profile = profiler.put(self._parts, task.key_prefix, task.digest, task.transformation, self._schema)
        except BaseException:
            writer.abort()
            raise
        finally:
            if rows:
                rows.discard()
        warnings = self._warnings(taken - kept if rows else 0)
        noted, violations = self._judged()
        return IngestResult(files, self._schema, writer.rows, self._new_columns(), warnings, (*noted, profile), violations)

    def _judged(self) -> tuple[tuple[Noted, ...], str | None]:
        """The quarantine of the file, among the parts that wait, and a sentence on it."""
        judge, task = self._judge, self._task
        if judge is None or task.contract is None:
            return (), None
        judge.accept()
        if judge.unchanged:
            return (), None
        if not judge.sets_aside or not judge.violations.count:
            return (), judge.summary()
        against = task.contract.against if judge.referred else ""
        origin = Origin(task.dataset, judge.shown, task.digest, task.transformation, task.contract.basis, task.key_prefix, against)
        noted = write_quarantine(self._parts, judge.violations, judge.originals(), origin, datetime.now(UTC))
        return (noted,), judge.summary()

    def _with_tombstones(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        name = self._task.tombstone
        if name not in self._plans:
            return batch
        deleted = pc.fill_null(batch.column(name), False)
        return batch.drop_columns([name]).append_column(DELETED_COLUMN, deleted)

    def _plan(self, name: str, guessed: str) -> ColumnPlan:
        if name == self._task.tombstone:
            return ColumnPlan(name, "bool", "spec")
        known, said = self._known.get(name), self._task.overrides.get(name)
        if known is not None:
            return ColumnPlan(name, known, "spec" if said == known else "table")
        return ColumnPlan(name, said or guessed, "spec" if said else "guess")

    def _check_columns(self) -> None:
        for name in self._plans:
            if name in RESERVED and name != self._task.tombstone:
                raise self._source.refused(None, f"column `{name}`: the name is the table's own", remedy="Rename the column in the file.")
        if self._task.format == "csv":
            for plan in self._plans.values():
                if plan.type.startswith("list<"):
                    remedy = f"Say `columns: {{{plan.name}: string}}` in the Dataset's spec."
                    raise self._source.refused(None, f"column `{plan.name}`: a CSV has no {plan.type}", remedy=remedy)
        if len(self._plans) > MAX_COLUMNS:
            raise self._source.refused(1, f"{len(self._plans)} columns; at most {MAX_COLUMNS} are read", remedy="Is the delimiter right?")
        self._check_header()
        self._check_key_columns()

    def _check_header(self) -> None:
        """A file without a header joins no table whose columns have names."""
        headless = self._reading.headless if isinstance(self._reading, CsvReading) else None
        if headless and self._known and self._known.keys().isdisjoint(self._plans):
            remedy = "Write the column names into the first line, or say `source.header: true` if that is what it holds."
            raise self._source.refused(1, f"no header: {headless}, and the table's columns have names", remedy=remedy)

    def _check_key_columns(self) -> None:
        for name in self._task.primary_key:
            if name not in self._plans:
                has = ", ".join(list(self._plans)[:20]) or "none"
                remedy = f"Name columns of the file in `primaryKey`; it has {has}."
                raise self._source.refused(None, f"the primary key's column `{name}` is missing", remedy=remedy)
            if self._plans[name].type.startswith("list<"):
                raise self._source.refused(
                    None, f"the primary key's column `{name}` is a list", remedy="Name another column in `primaryKey`."
                )

    def _check_ratio(self, unpacked: int) -> None:
        """A gzip file that holds far more than any text does is made to fill a disk. unpacked: bytes so far."""
        if self._source.compressed and unpacked > max(UNPACKED_LEAST, UNPACKED_RATIO * (self._task.size or 0)):
            reason = f"unpacks to more than {UNPACKED_RATIO} times its size"
            raise self._source.refused(None, reason, remedy="Unpack it, and name the file inside, if it is what it should be.")

    def _check_keys(self, batch: pa.RecordBatch, first: int) -> None:
        for name in self._task.primary_key:
            column = batch.column(name)
            missing = pc.is_null(column, nan_is_null=True) if column.null_count or pa.types.is_floating(column.type) else None
            if missing is not None and (found := pc.index(missing, True).as_py()) >= 0:
                line = self._reading.line_of(first + found)
                where = "" if line is not None else f" (row {first + found + 1})"
                remedy = "Give every row a key, or choose another `primaryKey`."
                raise self._source.refused(line, f"column `{name}` is null, and it is in the primary key{where}", remedy=remedy)

    def _new_columns(self) -> tuple[ColumnGuess, ...]:
        return tuple(
            ColumnGuess(plan.name, plan.type, "the spec says so" if plan.word == "spec" else self._guesses[plan.name][1])
            for plan in self._plans.values()
            if plan.name not in self._known
        )

    def _warnings(self, repeated: int) -> tuple[str, ...]:
        path = self._task.display_path
        lacking = self._known.keys() - self._plans.keys()
        slips = ((name, nearest(name, lacking)) for name in self._plans if name not in self._known)
        found = [f"{path}: {note}" for note in self._reading.notes()]
        found += [f"{path}: column `{name}` is new, and `{known}` is missing: is it misspelt?" for name, known in slips if known]
        if repeated:
            rows = "1 row was" if repeated == 1 else f"{repeated} rows were"
            found.append(f"{path}: {rows} overtaken by a later row of the same primary key")
        return tuple(found)
