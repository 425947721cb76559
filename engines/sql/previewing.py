"""A migration shown on rows before anybody commits it: some rows as they are, what becomes of them, and rows that do not fit. Blocking.

Reads all rows that casts and expressions need, as the trial does, until enough are found that do not fit. Writes nothing.
Next: `migrating.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa

from engines.migrations import Part
from engines.sql.migrating import MigrateTask, faults, types_of, unfit_rows
from engines.sql.projection import plain_schema, projected_rows, view_schema
from engines.sql.readings import Reading, quote
from engines.sql.session import Session
from engines.sql.source import LakeTable

SAMPLED = 100
"""Rows more than are shown, since some may not fit."""


@dataclass(frozen=True, slots=True)
class Preview:
    """before and after: the same rows in order, in the columns that the migration is about and the key; of those that fit.
    faults: rows that do not fit, in words."""

    before: pa.Table
    after: pa.Table
    faults: tuple[str, ...]


def sample(source: LakeTable, rows: int, where: str = "") -> pa.Table:
    """Some rows of a table, with texts as plain strings. where: an SQL condition."""
    condition = f" WHERE {where}" if where else ""
    with Session().frame(f"SELECT * FROM {quote(source.name)}{condition} LIMIT {rows}", {}, [source]) as frame:
        found = frame.to_arrow_table()
    return found.cast(plain_schema(found.schema))


def preview(source: LakeTable, task: MigrateTask, most: int) -> Preview:
    """most: rows of each part. Raises ValueError with a sentence for what is no expression, and what reading raises."""
    types = types_of(task.parts, task.columns)
    unfit = tuple(islice((fault for rows in task.files for fault in faults(task, rows)), most))
    about = _about(task)
    # rows that have something to show come first
    filled = " AND ".join(f"{quote(name)} IS NOT NULL" for name in about if name not in task.key)
    rows = sample(source, most + SAMPLED, filled)
    rows = rows if rows.num_rows else sample(source, most + SAMPLED)
    bad = {one.index for one in unfit_rows(rows, task.parts, task.columns)} if unfit else set()
    rows = rows.take(pa.array([number for number in range(rows.num_rows) if number not in bad][:most], pa.int64()))
    reading = Reading(task.columns, (tuple((part.name, part.sql) for part in task.parts),))
    after = projected_rows(rows, reading, view_schema([(part.name, part.type or types[part.name]) for part in task.parts]))
    return Preview(rows.select(about or rows.column_names), after.select(_changed(task.parts, task.key) or after.column_names), unfit)


def _about(task: MigrateTask) -> list[str]:
    """The key, the columns that are others afterwards, and those that expressions name."""
    handed = {part.sql for part in task.parts if part.sql == quote(part.name)}
    said = " ".join(part.sql for part in task.parts if part.computed)
    return [
        name
        for name, _ in task.columns
        if name in task.key or quote(name) not in handed or re.search(rf"(?<!\w){re.escape(name)}(?!\w)", said)
    ]


def _changed(parts: Sequence[Part], key: Sequence[str]) -> list[str]:
    keys = {quote(name) for name in key}
    return [part.name for part in parts if part.sql in keys or part.sql != quote(part.name)]
