"""Former versions: what a commit remembers of them, how they are read back, and when they go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from controllers.dataset.versions import expired, stamped
from specs.kinds.dataset_rules import Keep
from state.catalog.data_files import DataFile, Role
from state.catalog.entry import TableCommit
from state.catalog.fold import ObjectState, apply
from state.catalog.schemas import Column, Schema
from state.catalog.tables import Ledger, LedgerKind, Table
from state.errors import ChangeRefused
from state.objects import ObjectRef
from state.references import references
from state.timestamps import iso

NOW = datetime(2026, 1, 31, 9, tzinfo=UTC)
NAME = "Dataset/people"


def file(key: str, sequence: int = 1, role: Role = "base") -> DataFile:
    return DataFile(ObjectRef("primary", key, 3, "x"), role, sequence, 1, key, 0, 1)


class Life:
    """A table, changed an hour apart."""

    def __init__(self, **keep: object) -> None:
        self.keep = Keep.model_validate(keep)
        self.now = NOW
        self.state = ObjectState(NAME)
        self.seen: dict[int, tuple[DataFile, ...]] = {}
        self.commits: list[TableCommit] = []

    @property
    def table(self) -> Table:
        assert self.state.table is not None
        return self.state.table

    def commit(self, add: tuple[DataFile, ...] = (), remove: tuple[str, ...] = ()) -> None:
        schema = Schema(1, (Column(1, "id", "int64"),)) if self.state.table is None else None
        change = stamped(TableCommit(NAME, "t", "primary", add=add, remove=remove, schema=schema), self.state.table, self.keep, self.now)
        self.state = apply(self.state, change)
        self.commits.append(change)
        self.seen[self.table.version] = self.table.files
        self.now += timedelta(hours=1)

    def live(self) -> Life:
        self.commit((file("a"), file("b")))
        self.commit((file("c", 2),), ("a",))
        self.commit((file("b", 3, "delta"),), ("b",))  # made the newest again
        self.commit((), ("c",))
        self.commit((file("d", 4),))
        return self


def test_every_version_is_read_as_it_was() -> None:
    life = Life().live()
    for version, files in life.seen.items():
        assert sorted(life.table.as_of(version).files, key=str) == sorted(files, key=str)
    assert [version for version, _ in life.table.versions] == [1, 2, 3, 4, 5]
    assert life.table.versions[1] == (2, "2026-01-31T10:00:00.000Z")
    assert life.table.as_of(2).at == "2026-01-31T10:00:00.000Z"
    with pytest.raises(KeyError):
        life.table.as_of(6)


def test_it_survives_being_stored() -> None:
    life = Life().live()
    assert Table.from_dict(life.table.to_dict()) == life.table
    assert [TableCommit.from_dict({k: v for k, v in c.to_dict().items() if k != "op"}) for c in life.commits] == life.commits


def test_what_a_kept_version_needs_is_referred_to() -> None:
    life = Life(versions=4).live()
    assert [version for version, _ in life.table.versions] == [2, 3, 4, 5]
    assert {ref.key for ref in references(life.state)} == {"b", "c", "d"}
    assert life.commits[-1].drop == ("a",)
    assert life.commits[-1].forget == 2


def test_the_age_of_a_version_counts_from_when_it_was_followed() -> None:
    life = Life(age="2h").live()  # versions of 9, 10, 11, 12 and 13 o'clock; that of 10 was the truth until 11
    assert [version for version, _ in life.table.versions] == [2, 3, 4, 5]
    assert not expired(life.table, life.keep, life.now - timedelta(hours=1))
    assert expired(life.table, life.keep, life.now + timedelta(minutes=1))
    life.now += timedelta(days=9)
    change = stamped(TableCommit(NAME, "t", "primary"), life.table, life.keep, life.now)
    after = apply(life.state, change).table
    assert after is not None
    assert (after.version, after.former, change.version) == (5, (), None)
    assert set(change.drop) == {"c"}


def journal(key: str, at: datetime, kind: LedgerKind = "journal") -> Ledger:
    return Ledger(kind, ObjectRef("primary", key, 3, "x"), 1, "s", 1, iso(at))


def test_a_journal_is_dropped_when_all_of_it_is_older_than_asked() -> None:
    life = Life(journal="30d")
    life.commit((file("a"),))
    day = timedelta(days=1)
    noted = journal("old", NOW), journal("new", NOW + 20 * day), journal("edit", NOW, "edit")
    life.state = apply(life.state, TableCommit(NAME, "t", "primary", note=noted))
    for days, dropped in ((29, ()), (31, ("old",)), (90, ("old", "new"))):
        now = NOW + days * day
        assert expired(life.table, life.keep, now) == bool(dropped)
        change = stamped(TableCommit(NAME, "t", "primary"), life.table, life.keep, now)
        after = apply(life.state, change).table
        assert after is not None
        assert (change.drop, [ledger.ref.key for ledger in after.ledgers if ledger.ref.key in dropped]) == (dropped, [])
        assert not expired(after, life.keep, now)
    assert not expired(life.table, Keep(), NOW + 999 * day), "without a limit it stays for ever"


def test_a_commit_prepared_on_another_version_is_refused() -> None:
    life = Life().live()
    late = stamped(TableCommit(NAME, "t", "primary", add=(file("e", 9),)), life.table, life.keep, NOW)
    life.commit((file("f", 9),))
    with pytest.raises(ChangeRefused, match="is at version 6, so version 6 comes too late"):
        apply(life.state, late)
