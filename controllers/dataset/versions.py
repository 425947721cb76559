"""Which former versions of a table, and which files of its journal, stay readable; pure.

A version is given up when it passes either limit of `keep`. The age of a version counts from when another took its place: what was the
truth within that time can be asked for. The journal is given up by whole files, whose newest row is older than `keep` says.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from specs.kinds.dataset_rules import Keep
from state.catalog.data_files import COMPACTION
from state.catalog.entry import TableCommit
from state.catalog.tables import Table
from state.timestamps import iso


def oldest_kept(table: Table, keep: Keep, now: datetime, coming: int = 0) -> int:
    """The first version that stays. coming: how many are about to be added; the last one of all stays always."""
    followed = [at for _, at in table.versions[1:]] + [iso(now)] * coming
    by_age = sum(at < _before(now, keep.age) for at in followed)
    by_number = len(followed) + 1 - keep.versions
    numbers = [number for number, _ in table.versions]
    return (numbers + [numbers[-1] + step for step in range(1, coming + 1)])[max(by_age, by_number, 0)]


def old_journal(table: Table, keep: Keep, now: datetime) -> tuple[str, ...]:
    """Keys of the journal's files that are wholly older than `keep` says."""
    if keep.journal is None:
        return ()
    first = _before(now, keep.journal)
    return tuple(ledger.ref.key for ledger in table.ledgers if ledger.kind == "journal" and ledger.at < first)


def stamped(change: TableCommit, table: Table | None, keep: Keep, now: datetime) -> TableCommit:
    """The change with its time, the version that it makes, and what it gives up of former ones and of the journal."""
    change = committed_at(change, iso(now))
    if table is None or not table.version:
        return change
    altered = _alters(change)
    first = max(oldest_kept(table, keep, now, coming=int(altered)), change.forget)
    gone = [step for step in table.former if step.version < first]
    still = {file.key for file in table.files} | {file.key for step in table.former if step.version >= first for file in step.removed}
    files = (file.key for step in gone for file in step.removed if file.key not in still)
    drop = tuple(dict.fromkeys((*change.drop, *files, *old_journal(table, keep, now))))
    return replace(change, version=table.version + 1 if altered else None, forget=first, drop=drop)


def committed_at(change: TableCommit, at: str) -> TableCommit:
    """The change with its time, which is that of what is noted with it: but for what was folded of older ledgers."""
    note = tuple(one if one.source.startswith(COMPACTION) else replace(one, at=at) for one in change.note)
    return replace(change, at=at, note=note)


def _alters(change: TableCommit) -> bool:
    return bool(change.add or change.remove or change.schema is not None)


def _before(now: datetime, age: timedelta) -> str:
    try:
        return iso(now - age)
    except OverflowError:
        return ""


def expired(table: Table | None, keep: Keep, now: datetime) -> bool:
    """Whether time alone has passed a limit."""
    if table is None:
        return False
    return bool(old_journal(table, keep, now)) or (bool(table.former) and oldest_kept(table, keep, now) > table.former[0].version)
