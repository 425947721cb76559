"""The journal of an ingest: field by field where the table has rows that its new ones may replace, else one row per file. Blocking.

A file that adds many rows at once (more than MOST_INSERTS) is a load for those: they are counted, not told field by field; the rows that it
changes are told all the same. Next: `journal.py` for the rows; `engines/sql/changes.py` for what an upsert is compared with, and
`engines/sql/replacing.py` for what takes the place of other rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from engines.files.former_parts import FormerParts
from engines.files.ingest_task import IngestTask
from engines.files.journal import SCHEMA, Cause, JournalWriter, change_rows, count_row
from engines.files.ledgers import Noted
from engines.files.object_place import Remote
from engines.files.staged_parts import StagedParts
from engines.files.table_writer import out_of_space
from engines.files.types import arrow_type
from engines.sql.readings import PartFile
from engines.sql.source import LakeTable, source_from_dict
from state.catalog.data_files import DataFile
from state.catalog.schemas import Schema
from state.objects import ObjectStore
from state.places import BucketConfig
from state.staging import scratch

MOST_INSERTS = 1_000
HELD_ROWS = 256 * 1024
"""Of the journal, in memory, until it is known whether they are told."""


@dataclass(frozen=True, slots=True)
class Renewed:
    """A content that the table holds and whose rows become the newest again. name: as the operator calls its file; parts: of it;
    sequence: its new place."""

    name: str
    digest: str
    sequence: int
    parts: tuple[PartFile, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        return {"name": self.name, "digest": self.digest, "sequence": self.sequence, "parts": [part.to_dict() for part in self.parts]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Raises KeyError for what `to_dict` does not make."""
        return cls(**{**data, "parts": tuple(PartFile.from_dict(part) for part in data["parts"])})


@dataclass(frozen=True, slots=True)
class Leaving:
    """A content whose rows the batch takes away. name, parts: as of `Renewed`, no parts where they cannot be read; rows: their number;
    unless: contents whose refusal keeps it."""

    name: str
    digest: str
    rows: int
    parts: tuple[PartFile, ...]
    unless: tuple[str, ...]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Of what `asdict` gave. Raises KeyError for anything else."""
        return cls(**{**data, "parts": tuple(PartFile.from_dict(part) for part in data["parts"]), "unless": tuple(data["unless"])})


@dataclass(frozen=True, slots=True)
class Replaced:
    """Rows of a keyed table that others take the place of. stay: the rows that neither leave nor come; None for none."""

    primary_key: tuple[str, ...]
    leaving: tuple[Leaving, ...]
    stay: LakeTable | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        leaving = [{**asdict(one), "parts": [part.to_dict() for part in one.parts], "unless": list(one.unless)} for one in self.leaving]
        return {"primary_key": list(self.primary_key), "leaving": leaving, "stay": self.stay and self.stay.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Raises KeyError or TypeError for what `to_dict` does not make."""
        return cls(tuple(data["primary_key"]), tuple(map(Leaving.from_dict, data["leaving"])), _table(data["stay"]))


def _table(data: Mapping[str, Any] | None) -> LakeTable | None:
    found = None if data is None else source_from_dict(data)
    assert found is None or isinstance(found, LakeTable)
    return found


@dataclass(frozen=True, slots=True)
class JournalTask:
    """What is to be noted of a batch.

    Args:
        cause: of all its rows. target, key_prefix: where the journal goes.
        former: the keyed table that rows are upserted into; None where they are its first, or where it is another table.
        known: contents that the table holds already and that are only written again.
        renewed: contents that bring rows and are not read. schema: of the table, for them.
        replaced: what the rows of a keyed table that is no upsert take the place of; None where they are its first.
        cached: objects that the views of these tables link to, to be had in the cache.
    """

    cause: Cause
    target: BucketConfig
    key_prefix: str
    former: LakeTable | None = None
    known: tuple[str, ...] = ()
    renewed: tuple[Renewed, ...] = ()
    schema: Schema | None = None
    replaced: Replaced | None = None
    cached: tuple[Remote, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        return {
            "cause": self.cause.to_dict(),
            "target": self.target.to_dict(),
            "key_prefix": self.key_prefix,
            "former": self.former and self.former.to_dict(),
            "known": list(self.known),
            "renewed": [renewed.to_dict() for renewed in self.renewed],
            "schema": self.schema and self.schema.to_dict(),
            "replaced": self.replaced and self.replaced.to_dict(),
            "cached": [one.to_dict() for one in self.cached],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Raises KeyError or TypeError for what `to_dict` does not make."""
        changed = {
            "cause": Cause.from_dict(data["cause"]),
            "target": BucketConfig.from_dict(data["target"]),
            "former": _table(data["former"]),
            "known": tuple(data["known"]),
            "renewed": tuple(Renewed.from_dict(renewed) for renewed in data["renewed"]),
            "schema": None if data["schema"] is None else Schema.from_dict(data["schema"]),
            "replaced": None if data["replaced"] is None else Replaced.from_dict(data["replaced"]),
            "cached": tuple(map(Remote.from_dict, data["cached"])),
        }
        return cls(**{**data, **changed})


@dataclass(frozen=True, slots=True)
class _Content:
    """One that brings rows, at its place. rows: their number, as the journal counts a load."""

    name: str
    digest: str
    sequence: int
    parts: tuple[PartFile, ...]
    rows: int = 0


def journal_of(
    task: JournalTask, tasks: Sequence[IngestTask], files: Mapping[str, tuple[DataFile, ...]], schema: Schema | None, parts: StagedParts
) -> tuple[Noted, ...]:
    """Writes the journal beside the parts. tasks: all of the batch; files: what was taken, by content; schema: of all of it.

    Raises BucketUnavailable, and ObjectMissing or ObjectCorrupt where rows that neither leave nor are read again are not there.
    """
    with FormerParts() as former:
        return _journal_of(_here(task, former), tasks, files, schema, parts)


def _here(task: JournalTask, former: FormerParts) -> JournalTask:
    """The task with local files. A content that is read again since it is damaged, and of which nothing can be read, leaves nothing."""
    former.cache(task.cached)
    task = replace(task, renewed=tuple(replace(one, parts=former.every(one.parts)) for one in task.renewed))
    if task.replaced is None:
        return task
    leaving = [replace(one, parts=former.here(one.parts)) for one in task.replaced.leaving]
    damaged = {one.digest for one, was in zip(leaving, task.replaced.leaving, strict=True) if was.parts and not one.parts}
    again = {one.digest for one in leaving if one.digest in damaged and one.unless == (one.digest,)}
    replaced = replace(task.replaced, leaving=tuple(one for one in leaving if one.digest not in again))
    return replace(task, replaced=replaced, known=tuple(sorted({*task.known, *again})))


def _journal_of(
    task: JournalTask, tasks: Sequence[IngestTask], files: Mapping[str, tuple[DataFile, ...]], schema: Schema | None, parts: StagedParts
) -> tuple[Noted, ...]:
    told = [_of_file(one, files[one.digest], parts) for one in tasks if files.get(one.digest) and one.digest not in task.known]
    told += [_Content(one.name, one.digest, one.sequence, one.parts) for one in task.renewed]
    refused = {one.digest for one in tasks} - files.keys()
    leaving = [one for one in task.replaced.leaving if refused.isdisjoint(one.unless)] if task.replaced is not None else []
    schema = schema or task.schema
    if not (told or leaving) or schema is None:
        return ()
    told.sort(key=lambda content: content.sequence)
    now = datetime.now(UTC)
    name = [task.cause.version, *(one.digest for one in leaving), *(content.digest for content in told)]
    with JournalWriter(parts, task.key_prefix, name, told[-1].digest if told else "") as journal:
        if task.former is not None:
            _compare(task.cause, task.former, told, schema, journal, now, parts)
        elif task.replaced is not None:
            _replace(task, task.replaced, leaving, told, schema, journal, now, parts)
        else:
            for content in told:
                journal.write(count_row(task.cause, "load", content.name, content.rows, now))
        return journal.end()


def journal_of_leaving(cause: Cause, store: ObjectStore, key_prefix: str, contents: Mapping[str, int]) -> tuple[Noted, ...]:
    """Stores one row for each content whose rows leave a table that tells of files and not of rows. contents: rows by path."""
    now = datetime.now(UTC)
    with StagedParts(store) as parts, JournalWriter(parts, key_prefix, [cause.version, "leaving", *contents]) as journal:
        for path, rows in contents.items():
            journal.write(count_row(cause, "unload", path, rows, now))
        noted = journal.end()
        parts.put()
    return noted


def _of_file(task: IngestTask, files: Sequence[DataFile], parts: StagedParts) -> _Content:
    staged = tuple(PartFile(str(parts.path(file.key))) for file in files)
    return _Content(task.display_path, task.digest, task.sequence, staged, sum(file.rows for file in files))


def _compare(
    cause: Cause, former: LakeTable, told: Sequence[_Content], schema: Schema, journal: JournalWriter, now: datetime, parts: StagedParts
) -> None:
    from engines.sql.changes import NewRows, pairs

    columns = [(column.name, arrow_type(column.type)) for column in schema.columns]
    contents = [NewRows(content.name, content.parts) for content in told]
    with _Inserts(parts.store) as inserts:
        telling = _Telling(cause, former.primary_key, [column for column, _ in columns], journal, now, inserts)
        for name, batch in pairs(former, contents, columns):
            telling.tell(name, batch)
        telling.end()


def _replace(
    task: JournalTask, replaced: Replaced, leaving: Sequence[Leaving], told: Sequence[_Content], schema: Schema, journal: JournalWriter,
    now: datetime, parts: StagedParts,
) -> None:  # fmt: skip
    from engines.sql.replacing import Counted, Replacement, RowsOf

    assert task.schema is not None
    key, columns = replaced.primary_key, [(column.name, arrow_type(column.type)) for column in schema.columns]
    left = [one for one in leaving if one.parts]
    with scratch(parts.store) as folder, _Inserts(parts.store) as inserts:
        telling = _Telling(task.cause, key, [column for column, _ in columns], journal, now, inserts)
        comparison = Replacement(key, [(column.name, column.type) for column in task.schema.columns], columns, folder)
        went, came = [RowsOf(one.name, one.parts) for one in left], [RowsOf(one.name, one.parts) for one in told]
        for found in comparison.compared(went, came, replaced.stay):
            if isinstance(found, Counted):
                telling.count(found.op, found.name, found.rows)
            else:
                telling.tell(found.name, found.pairs)
        for one in (*(one for one in leaving if not one.parts), *(left[place] for place in comparison.unread)):
            telling.count("unload", one.name, one.rows)
        telling.end()


@dataclass(slots=True)
class _Telling:
    """Tells rows by field, but for new ones that are too many and those that can only be counted."""

    cause: Cause
    key: Sequence[str]
    columns: Sequence[str]
    journal: JournalWriter
    now: datetime
    inserts: _Inserts
    counted: dict[tuple[str, str], int] = field(default_factory=dict)

    def tell(self, name: str, pairs: pa.RecordBatch) -> None:
        """As of `change_rows`. name: of the content that these rows are of."""
        rows = change_rows(pairs, self.columns, self.key, replace(self.cause, source=name), self.now)
        inserted = pc.equal(rows["op"], "insert")
        self.journal.write(rows.filter(pc.invert(inserted)))
        self.inserts.add(name, rows.filter(inserted))

    def count(self, op: str, name: str, rows: int) -> None:
        """load or unload."""
        self.counted[op, name] = self.counted.get((op, name), 0) + rows

    def end(self) -> None:
        """Writes what was kept back."""
        for rows in self.inserts.few():
            self.journal.write(rows)
        for name, count in self.inserts.many().items():
            self.count("load", name, count)
        for (op, name), rows in self.counted.items():
            self.journal.write(count_row(self.cause, op, name, rows, self.now))


class _Inserts:
    """Rows that came into being, of each content until they are too many to be told one by one. Many wait in a staged file.

    A context that removes it.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._counts: dict[str, int] = {}
        self._held: list[pa.Table] = []
        self._rows = 0
        self._path: Path | None = None
        self._file: pa.ipc.RecordBatchFileWriter | None = None

    def add(self, name: str, rows: pa.Table) -> None:
        """Of the journal, with the content's name as their source. Raises DiskFull."""
        if not rows.num_rows:
            return
        self._counts[name] = self._counts.get(name, 0) + pc.count_distinct(rows["entity"]).as_py()
        if self._counts[name] <= MOST_INSERTS:
            self._held.append(rows)
            self._rows += rows.num_rows
        if self._rows > HELD_ROWS:
            self._spill()

    def many(self) -> dict[str, int]:
        """The contents with more than are told, and how many they have."""
        return {name: count for name, count in self._counts.items() if count > MOST_INSERTS}

    def few(self) -> Iterator[pa.Table]:
        """The rows of all others."""
        names = pa.array([name for name, count in self._counts.items() if count <= MOST_INSERTS], pa.string())
        for rows in chain(self._spilled(), self._held):
            yield rows.filter(pc.is_in(rows["source"], names))

    def _spill(self) -> None:
        if self._path is None:
            self._path = self._store.stage()
            self._file = pa.ipc.new_file(str(self._path), SCHEMA)
        assert self._file is not None
        with out_of_space(self._store, self._path):
            for rows in self._held:
                self._file.write_table(rows)
        self._held, self._rows = [], 0

    def _spilled(self) -> Iterator[pa.Table]:
        if self._path is None or self._file is None:
            return
        with out_of_space(self._store, self._path):
            self._file.close()
        with pa.memory_map(str(self._path)) as file:
            reader = pa.ipc.open_file(file)
            for number in range(reader.num_record_batches):
                yield pa.Table.from_batches([reader.get_batch(number)])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)
