"""A file whose columns are not quite the table's: which types give way to it, and which new column is an old one under another name.

A type gives way where every value of the table and of the file keeps its exact value in the wider one, where the spec does not say it, and
where it is not in the primary key. Everything else waits for somebody to say what is meant. Next: `schema_diff.py`, `batch.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from engines.errors import FileRefused
from engines.files.former_parts import FormerParts
from engines.files.ingest import read
from engines.files.ingest_task import IngestResult, IngestTask
from engines.files.opening import open_task
from engines.files.schema_diff import Difference, differences, first_rows, seen_in_file, seen_in_rows
from engines.files.staged_parts import StagedParts
from engines.migrations import cast_sql
from engines.sql.readings import PartFile, null, quote
from engines.widening import widens
from state.catalog.schemas import Column, Derivation, Schema
from state.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class Former:
    """What the table's rows are so far.

    Args:
        rows: a file of some of them, None where there are none.
        exact: int64 columns of which float64 keeps every value.
        declared: columns that the spec names.
    """

    rows: PartFile | None = None
    exact: tuple[str, ...] = ()
    declared: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        return {"rows": self.rows and self.rows.to_dict(), "exact": list(self.exact), "declared": list(self.declared)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Raises KeyError for what `to_dict` does not make."""
        rows = None if data["rows"] is None else PartFile.from_dict(data["rows"])
        return cls(rows, tuple(data["exact"]), tuple(data["declared"]))


def check_renamed(task: IngestTask, former: Former, guesses: Mapping[str, tuple[str, str]]) -> None:
    """Raises FileRefused where the values of a new column say that it is one that the file lacks. guesses: of the file's columns."""
    if task.schema is None or former.rows is None or task.is_edit:
        return
    columns = {column.name: column.type for column in task.schema.columns}
    new = {name for name in guesses if name not in columns and name not in former.declared}
    gone = {name: kind for name, kind in columns.items() if name not in guesses and name not in task.primary_key}
    if not new or not gone:
        return
    reading = open_task(task)
    reading.guesses()
    with FormerParts() as files:
        rows = [first_rows(part.path, part.reading, list(columns.items())) for part in files.here((former.rows,))]
    if not rows:
        return
    seen = [column for column in seen_in_file(reading, guesses) if column.name in new]
    for difference in differences(seen_in_rows(rows[0], gone.items()), seen):
        if difference.kind == "renamed" and difference.sure:
            raise _renamed(task, difference)


def _renamed(task: IngestTask, difference: Difference) -> FileRefused:
    remedy = (
        f"Say so by a migration: `lakectl migrate preview {task.dataset} {task.display_path}` drafts it. "
        f"If it is another column, say `columns: {{{difference.new_name}: {difference.now}}}` in the Dataset's spec."
    )
    return task.source.refused(1, f"column {difference.words}", remedy=remedy)


def wider(task: IngestTask, former: Former, store: ObjectStore) -> dict[str, str]:
    """The types that columns of the table need to take a file that does not fit it; nothing where that would not be safe, or not enough.

    Raises FileRefused where the file cannot be read under any types.
    """
    assert task.schema is not None
    with StagedParts(store) as unwanted:
        alone = read(replace(task, schema=None, overrides={}, contract=None), unwanted)
    found: dict[str, str] = {}
    for column in task.schema.columns:
        needed = alone.schema.column(column.name)
        if needed is None or needed.type == column.type or column.type == "string":
            continue
        if widens(needed.type, column.type) or _is_empty(column.name, alone):
            continue
        exact = needed.type != "float64" or column.name in former.exact
        if not exact or not widens(column.type, needed.type) or column.name in {*task.primary_key, *task.overrides}:
            return {}
        found[column.name] = needed.type
    return found


def _is_empty(name: str, result: IngestResult) -> bool:
    return all(file.columns[name].nulls == file.rows for file in result.files)


def widened(schema: Schema, types: Mapping[str, str], schema_id: int, columns: Sequence[Column]) -> Schema:
    """The schema with some columns wider, and with those of `columns` that it lacks."""
    known = {column.id for column in schema.columns}
    added = tuple(column for column in columns if column.id not in known)
    wide = tuple(replace(column, type=types.get(column.name, column.type)) for column in schema.columns)
    said = [cast_sql(column, types[column.name]) if column.name in types else quote(column.name) for column in schema.columns]
    origin = Derivation(schema.id, (*said, *(null(column.type) for column in added)))
    return Schema(schema_id, (*wide, *added), origin, schema.migrations)
