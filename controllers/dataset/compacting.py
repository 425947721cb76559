"""When pending changes of a keyed table are folded into its base, and which; pure.

The oldest deltas are taken, a number of them that stays the same while more arrive: so a job that is under way is not begun anew with every
change, and what came meanwhile stays a delta on top of its result. Next: `engines/sql/compacting.py`, which folds them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from controllers.step import Work
from engines.sql.views import split
from specs.kinds.dataset_rules import Compaction
from state.catalog.data_files import DataFile, is_content
from state.catalog.entry import TableCommit
from state.catalog.tables import Ledger, Table
from state.timestamps import iso

SMALL_JOURNAL = 64 * 1024
"""Rows from which on a file of the journal is left as it is."""

LEAST_ROWS = 10_000
"""Changed rows from which on their share counts: fewer are merged in no time, however small the table."""


@dataclass(frozen=True, slots=True)
class Compact:
    """Folds deltas into the base. deltas: keys of the oldest ones, in order."""

    why: str
    deltas: tuple[str, ...]
    size: int

    @property
    def work(self) -> Work:
        """Bytes to read."""
        return Work("compact", self.size)

    def summary(self) -> str:
        """See `Step`."""
        return f"fold {len(self.deltas):,} delta{'s' if len(self.deltas) != 1 else ''} into the base"


def due(table: Table, rule: Compaction, now: datetime) -> str | None:
    """Why the table's deltas are to be folded now; None where they are not."""
    deltas = _deltas(table)
    if not deltas:
        return None
    if len(deltas) >= rule.max_deltas:
        return f"{len(deltas):,} deltas are pending"
    rows = sum(file.rows for file in deltas)
    if rows >= LEAST_ROWS and rows >= rule.delta_share * table.rows:
        return f"{rows:,} of {table.rows:,} rows are changes that are pending"
    since = _since(table, deltas)
    return f"changes have been pending since {since}" if since and since < iso(now - rule.age) else None


def compact(table: Table, why: str, rule: Compaction) -> Compact:
    """The step that folds the oldest deltas."""
    deltas = _deltas(table)
    count = rule.max_deltas if len(deltas) >= rule.max_deltas else 1
    while count * 2 <= len(deltas):
        count *= 2
    chosen = deltas[:count]
    whole = [file for file in deltas if file.sequence <= chosen[-1].sequence]  # parts of one content go together
    scope = within(table, {file.key for file in whole})
    return Compact(why, tuple(file.key for file in whole), sum(file.ref.size for file in scope.files))


def within(table: Table, deltas: set[str]) -> Table:
    """The part of the table that folding these deltas reads and replaces: them, and the base files that they touch."""
    chosen = replace(table, files=tuple(file for file in table.files if file.role == "base" or file.key in deltas))
    parts = split(chosen)
    return replace(table, files=(*parts.touched, *parts.deltas))


def folded(table: Table, scope: Table, parts: tuple[DataFile, ...], note: tuple[Ledger, ...], drop: tuple[str, ...]) -> TableCommit:
    """The entry that puts the result in the place of what was folded."""
    last = max(file.sequence for file in scope.files)
    edits = {ledger.source: last for ledger in note if ledger.kind == "edit"}
    return TableCommit(
        object=f"Dataset/{table.name}",
        transformation=table.transformation,
        bucket=table.bucket,
        primary_key=table.primary_key,
        write=table.write,
        add=parts,
        remove=tuple(file.key for file in scope.files),
        note=note,
        drop=drop,
        fold={**places(table, scope), **edits},
    )


def places(table: Table, scope: Table) -> dict[str, int]:
    """Of the contents that have no files of their own any more once this scope is folded."""
    former = {source: place for source, place in table.folded.items() if is_content(source)}
    return former | {file.source: file.sequence for file in scope.files if is_content(file.source)}


def _deltas(table: Table) -> tuple[DataFile, ...]:
    return tuple(file for file in table.data_files if file.role == "delta" and not file.lost)


def arrivals(table: Table) -> Mapping[str, int]:
    """The version that each file came with, by its key, as far as that is kept."""
    numbers = [version for version, _ in table.versions]
    return {key: version for former, version in zip(table.former, numbers[1:], strict=True) for key in former.added}


def _since(table: Table, deltas: tuple[DataFile, ...]) -> str | None:
    """When the oldest of them was committed, or the oldest version that is kept, if that is later."""
    at, came, first = dict(table.versions), arrivals(table), table.versions[0][1]
    return min((at.get(came.get(file.key, 0), first) for file in deltas), default=None)
