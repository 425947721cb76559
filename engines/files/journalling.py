"""The journal of an ingest: field by field where the table has rows that its new ones may replace, else one row per file. Blocking.

A file that adds many rows at once (more than MOST_INSERTS) is a load for those: they are counted, not told field by field; the rows that it
changes are told all the same. Next: `journal.py` for the rows, `engines/sql/changes.py` for what they are compared with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from engines.files.ingest import IngestTask
from engines.files.journal import Cause, JournalWriter, change_rows, count_row
from engines.files.ledgers import Noted
from engines.files.staged_parts import StagedParts
from engines.files.types import arrow_type
from engines.sql.readings import PartFile
from engines.sql.source import LakeTable, source_from_dict
from state.catalog.records import DataFile, Schema
from state.objects import ObjectStore
from state.places import BucketConfig

MOST_INSERTS = 1_000


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
class JournalTask:
    """What is to be noted of a batch.

    Args:
        cause: of all its rows. target, key_prefix: where the journal goes.
        former: the keyed table that the rows change; None where they are its first, or where it has no key.
        known: contents that the table holds already and that are only written again.
        renewed: contents that bring rows and are not read. schema: of the table, for them.
    """

    cause: Cause
    target: BucketConfig
    key_prefix: str
    former: LakeTable | None = None
    known: tuple[str, ...] = ()
    renewed: tuple[Renewed, ...] = ()
    schema: Schema | None = None

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
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Raises KeyError or TypeError for what `to_dict` does not make."""
        former = None if data["former"] is None else source_from_dict(data["former"])
        assert former is None or isinstance(former, LakeTable)
        changed = {
            "cause": Cause.from_dict(data["cause"]),
            "target": BucketConfig.from_dict(data["target"]),
            "former": former,
            "known": tuple(data["known"]),
            "renewed": tuple(Renewed.from_dict(renewed) for renewed in data["renewed"]),
            "schema": None if data["schema"] is None else Schema.from_dict(data["schema"]),
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
    """Writes the journal beside the parts. tasks: all of the batch; files: what was taken, by content; schema: of all of it."""
    told = [_of_file(one, files[one.digest], parts) for one in tasks if files.get(one.digest) and one.digest not in task.known]
    told += [_Content(one.name, one.digest, one.sequence, one.parts) for one in task.renewed]
    schema = schema or task.schema
    if not told or schema is None:
        return ()
    told.sort(key=lambda content: content.sequence)
    now = datetime.now(UTC)
    name = [task.cause.version, *(content.digest for content in told)]
    with JournalWriter(parts.store, task.key_prefix, name, told[-1].digest) as journal:
        if task.former is None:
            for content in told:
                journal.write(count_row(task.cause, "load", content.name, content.rows, now))
        else:
            _compare(task.cause, task.former, told, schema, journal, now)
        written = journal.end()
    if written is None:
        return ()
    ref, path = written
    parts.add({ref.key: path})
    return (Noted("journal", ref, journal.rows, told[-1].digest),)


def journal_of_leaving(cause: Cause, store: ObjectStore, key_prefix: str, contents: Mapping[str, int]) -> Noted:
    """Stores one row for each content whose rows leave a table that tells of files and not of rows. contents: rows by path."""
    now = datetime.now(UTC)
    with StagedParts(store) as parts, JournalWriter(store, key_prefix, [cause.version, "leaving", *contents]) as journal:
        for path, rows in contents.items():
            journal.write(count_row(cause, "unload", path, rows, now))
        written = journal.end()
        assert written is not None
        ref, path_of_it = written
        parts.add({ref.key: path_of_it})
        parts.put()
    return Noted("journal", ref, journal.rows, "")


def _of_file(task: IngestTask, files: Sequence[DataFile], parts: StagedParts) -> _Content:
    staged = tuple(PartFile(str(parts.path(file.key))) for file in files)
    return _Content(task.display_path, task.digest, task.sequence, staged, sum(file.rows for file in files))


def _compare(cause: Cause, former: LakeTable, told: Sequence[_Content], schema: Schema, journal: JournalWriter, now: datetime) -> None:
    from engines.sql.changes import NewRows, pairs

    columns = [(column.name, arrow_type(column.type)) for column in schema.columns]
    contents = [NewRows(content.name, content.parts) for content in told]
    inserts = {content.name: _Inserts() for content in contents}
    for name, batch in pairs(former, contents, columns):
        rows = change_rows(batch, [column for column, _ in columns], former.primary_key, replace(cause, source=name), now)
        inserted = pc.equal(rows["op"], "insert")
        journal.write(rows.filter(pc.invert(inserted)))
        inserts[name].add(rows.filter(inserted))
    for name, found in inserts.items():
        if found.count > MOST_INSERTS:
            journal.write(count_row(cause, "load", name, found.count, now))
        else:
            for rows in found.rows:
                journal.write(rows)


class _Inserts:
    """Rows that came into being, until they are too many to be told one by one."""

    def __init__(self) -> None:
        self.count = 0
        self.rows: list[pa.Table] = []

    def add(self, rows: pa.Table) -> None:
        """Of the journal."""
        if rows.num_rows:
            self.count += pc.count_distinct(rows["entity"]).as_py()
            self.rows.append(rows)
        if self.count > MOST_INSERTS:
            self.rows = []
