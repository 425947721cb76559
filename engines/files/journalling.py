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
from engines.sql.source import LakeTable, source_from_dict
from state.catalog.records import DataFile, Schema

MOST_INSERTS = 1_000


@dataclass(frozen=True, slots=True)
class JournalTask:
    """What is to be noted of a batch.

    Args:
        cause: of all its rows.
        former: the keyed table that the rows change; None where they are its first, or where it has no key.
        known: contents that the table holds already and that are only written again.
    """

    cause: Cause
    former: LakeTable | None = None
    known: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        return {"cause": self.cause.to_dict(), "former": self.former and self.former.to_dict(), "known": list(self.known)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Raises KeyError or TypeError for what `to_dict` does not make."""
        former = None if data["former"] is None else source_from_dict(data["former"])
        assert former is None or isinstance(former, LakeTable)
        return cls(Cause.from_dict(data["cause"]), former, tuple(data["known"]))


def journal_of(
    task: JournalTask, tasks: Sequence[IngestTask], files: Mapping[str, tuple[DataFile, ...]], schema: Schema | None, parts: StagedParts
) -> tuple[Noted, ...]:
    """Writes the journal beside the parts. tasks: all of the batch; files: what was taken, by content."""
    now = datetime.now(UTC)
    told = [one for one in tasks if files.get(one.digest) and one.digest not in task.known]
    if not told or schema is None:
        return ()
    with JournalWriter(parts.store, told[0].key_prefix, [task.cause.version, *(one.digest for one in told)]) as journal:
        if task.former is None:
            for one in told:
                journal.write(count_row(task.cause, "load", one.display_path, sum(part.rows for part in files[one.digest]), now))
        else:
            _compare(task, task.former, told, files, schema, parts, journal, now)
        written = journal.end()
    if written is None:
        return ()
    ref, path = written
    parts.add({ref.key: path})
    return (Noted("journal", ref, journal.rows, told[-1].digest),)


def _compare(
    task: JournalTask,
    former: LakeTable,
    told: Sequence[IngestTask],
    files: Mapping[str, tuple[DataFile, ...]],
    schema: Schema,
    parts: StagedParts,
    journal: JournalWriter,
    now: datetime,
) -> None:
    from engines.sql.changes import NewRows, pairs

    columns = [(column.name, arrow_type(column.type)) for column in schema.columns]
    contents = [
        NewRows(one.display_path, tuple(parts.path(part.key) for part in files[one.digest]))
        for one in sorted(told, key=lambda one: one.sequence)
    ]
    inserts = {content.name: _Inserts() for content in contents}
    for name, batch in pairs(former, contents, columns):
        rows = change_rows(batch, [column for column, _ in columns], former.primary_key, replace(task.cause, source=name), now)
        inserted = pc.equal(rows["op"], "insert")
        journal.write(rows.filter(pc.invert(inserted)))
        inserts[name].add(rows.filter(inserted))
    for name, found in inserts.items():
        if found.count > MOST_INSERTS:
            journal.write(count_row(task.cause, "load", name, found.count, now))
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
