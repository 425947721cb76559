"""What a query read of a table: its columns at that snapshot, and what its reader was shown of it. Pure, for whoever tells it."""

from __future__ import annotations

from dataclasses import dataclass

from engines.reading import Decision
from engines.sql.source import LakeTable, TableSource
from engines.sql.tables import SYSTEM
from state.streams.tables import COLUMNS


@dataclass(frozen=True, slots=True)
class Touched:
    """name: as SQL calls it. columns: all that it has."""

    name: str
    columns: tuple[str, ...]
    decision: Decision


def touched(source: TableSource, decision: Decision) -> Touched:
    """Of what a name was resolved to."""
    if isinstance(source, LakeTable):
        return Touched(source.name, tuple([name for name, _ in source.columns]), decision)
    columns = COLUMNS.get(source.name.removeprefix(SYSTEM), ())
    return Touched(source.name, tuple([column.name for column in columns]), decision)
