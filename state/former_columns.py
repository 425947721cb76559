"""What columns were called before migrations, and what they were computed from; pure.

What is known of a content's columns (statistics, profiles) goes by the names that they had when it was read. A column that was renamed or
cast is the same one, by its id; one that was split off, joined or computed is another, of which is said what was said of its sources: most
of all that they are sensitive. Next: `descriptions.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from state.catalog.data_files import ColumnStats, DataFile
from state.catalog.schemas import Column, Schema
from state.catalog.tables import Table


@dataclass(frozen=True, slots=True)
class Past:
    """Of a column. names: its own, now and before; sources: names of columns that it was computed from."""

    names: frozenset[str]
    sources: frozenset[str] = frozenset()


def pasts(table: Table) -> dict[str, Past]:
    """Of the present columns, by name."""
    by_id = {schema.id: schema for schema in table.schemas}
    known: dict[int, Past] = {}
    for number in sorted(number for number in by_id if number <= table.schema.id):
        schema = by_id[number]
        former = by_id.get(schema.derivation.schema) if schema.derivation is not None else None
        for position, column in enumerate(schema.columns):
            before = known.get(column.id)
            if before is not None:
                known[column.id] = Past(before.names | {column.name}, before.sources)
            elif former is not None and schema.derivation is not None:
                known[column.id] = _computed(column, schema.derivation.columns[position], former, known)
            else:
                known[column.id] = Past(frozenset({column.name}))
    return {column.name: known[column.id] for column in table.columns}


def _computed(column: Column, sql: str, former: Schema, known: dict[int, Past]) -> Past:
    used = [other for other in former.columns if re.search(rf"(?<!\w){re.escape(other.name)}(?!\w)", sql, re.IGNORECASE)]
    sources = (known[other.id].names | known[other.id].sources for other in used if other.id in known)
    return Past(frozenset({column.name}), frozenset().union(*sources))


def stats_of(table: Table, column: Column, files: Sequence[DataFile]) -> list[ColumnStats | None]:
    """What the catalog knows of a column in each file; least and greatest only where they are of its present type."""
    written = {schema.id: found for schema in table.schemas for found in schema.columns if found.id == column.id}
    found: list[ColumnStats | None] = []
    for file in files:
        own = written.get(file.schema_id)
        stats = file.columns.get(own.name) if own is not None else None
        found.append(stats if stats is None or own is None or own.type == column.type else ColumnStats(None, None, stats.nulls))
    return found
