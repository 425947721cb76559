"""What an object is: the fold of all changes that touched it. Pure.

`apply` gives the state after one change, `fold` the states after the changes of one entry. Both return the very same object where nothing
changes, so that a commit without effect need not be written. They refuse, by ChangeRefused and before anything is written, what would lose
or double data: a file removed that is not there, a file key with other content, a column id used twice, a build served that is not known.
`check_wanted` refuses what comes too late, to be asked of what is to be written only: what stands in the log has happened.

A dropped object leaves a small state behind (`gone`) that remembers its table's version, so that versions never repeat under one name.
Next: `table_fold.py` and `index_fold.py` (an object's two large parts), `log.py` (entries on storage), `catalog.py` (folding them as they
come).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self, TypeAlias, assert_never

from state.catalog.entry import (
    Adopted,
    Approved,
    Asked,
    BucketOpened,
    Change,
    Dropped,
    Managed,
    Renamed,
    Resumed,
    Retained,
    Suspended,
    TableCommit,
)
from state.catalog.index_changes import BuildAdded, Chosen, CorpusAdded, Forgotten, Served, ServedBeside, TruthMade
from state.catalog.index_fold import changed
from state.catalog.indexes import IndexRecord
from state.catalog.table_fold import committed
from state.catalog.tables import Table
from state.errors import ChangeRefused
from state.timestamps import from_iso


@dataclass(frozen=True, slots=True)
class Inventory:
    """The object is ours, by the spec of this digest; `deletion` says what happens to its data when the spec goes.

    about: see `Managed`.
    """

    spec_digest: str
    deletion: str
    about: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def to_dict(self) -> dict[str, Any]:
        """What is not set is left out."""
        return {"spec_digest": self.spec_digest, "deletion": self.deletion} | ({"about": dict(self.about)} if self.about else {})


@dataclass(frozen=True, slots=True)
class Suspension:
    """Who suspended the object and why; `until` in ISO 8601, None: until resumed."""

    by: str
    why: str
    until: str | None

    def holds(self, now: datetime) -> bool:
        """Whether it has not ended by itself."""
        return self.until is None or from_iso(self.until) > now


@dataclass(frozen=True, slots=True)
class Approval:
    """Who approved a plan, while what is wanted has this digest; `objects` as of `Approved`."""

    by: str
    digest: str
    objects: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {"by": self.by, "digest": self.digest, "objects": list(self.objects)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(**{**data, "objects": tuple(data.get("objects", ()))})


@dataclass(frozen=True, slots=True)
class BucketRecord:
    """A Bucket as it was opened, without credentials: how to reach it, and whether its conditional puts were seen to hold."""

    name: str
    config: Mapping[str, Any] = field(hash=False)
    conditional_put: bool

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "config": dict(self.config), "conditional_put": self.conditional_put}


@dataclass(frozen=True, slots=True)
class ObjectState:
    """All that the catalog knows of one object. `approvals` is keyed by plan id; of `table`, `index`, `bucket` at most one is set.

    `last_version` is the greatest version of a former table of this name; `asked` the instant, ISO 8601, at which an operator last wanted
    its source read; `governed` that a policy named it, now or before, whatever became of it since: only a spec takes that back.
    """

    object: str
    managed: Inventory | None = None
    suspended: Suspension | None = None
    approvals: Mapping[str, Approval] = field(default_factory=dict, hash=False)
    table: Table | None = None
    index: IndexRecord | None = None
    bucket: BucketRecord | None = None
    last_version: int = 0
    asked: str = ""
    governed: bool = False

    @property
    def name(self) -> str:
        return self.object.partition("/")[2]

    @property
    def retained(self) -> bool:
        """Whether there is data without a spec."""
        return self.table is not None and self.table.retained

    @property
    def gone(self) -> bool:
        """Whether nothing is left but the memory of a version, and of having been governed."""
        return not (self.managed or self.suspended or self.approvals or self.table or self.index or self.bucket)

    def to_dict(self) -> dict[str, Any]:
        """What is not set is left out."""
        parts: dict[str, Any] = {
            "managed": self.managed and self.managed.to_dict(),
            "suspended": self.suspended and {"by": self.suspended.by, "why": self.suspended.why, "until": self.suspended.until},
            "approvals": {plan: approval.to_dict() for plan, approval in self.approvals.items()},
            "table": self.table and self.table.to_dict(),
            "index": self.index and self.index.to_dict(),
            "bucket": self.bucket and self.bucket.to_dict(),
            "last_version": self.last_version,
            "asked": self.asked,
            "governed": self.governed,
        }
        return {"object": self.object} | {name: part for name, part in parts.items() if part}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        parts = dict(data)
        if (managed := parts.get("managed")) is not None and "governed" in managed:  # where it stood before it outlived the inventory
            parts |= {"governed": managed["governed"], "managed": {name: managed[name] for name in managed if name != "governed"}}
        for name, build in _PARTS.items():
            if name in parts:
                parts[name] = build(parts[name])
        return cls(**parts)


_PARTS: Mapping[str, Callable[[Any], object]] = {
    "managed": lambda data: Inventory(**data),
    "suspended": lambda data: Suspension(**data),
    "approvals": lambda data: {plan: Approval.from_dict(approval) for plan, approval in data.items()},
    "table": Table.from_dict,
    "index": IndexRecord.from_dict,
    "bucket": lambda data: BucketRecord(**data),
}


def tables_of(states: Iterable[ObjectState]) -> Iterator[Table]:
    """The tables among these objects."""
    return (state.table for state in states if state.table is not None)


Lookup: TypeAlias = Callable[[str], ObjectState | None]


Check: TypeAlias = Callable[[ObjectState | None, Change], None]


def fold(get: Lookup, changes: Iterable[Change], check: Check | None = None) -> dict[str, ObjectState]:
    """The states after `changes`, of those objects that they altered; `get` gives the states before. Raises ChangeRefused.

    check: called before each change with the state of its object, None for one never heard of; may raise ChangeRefused.
    """
    after: dict[str, ObjectState] = {}

    def now(name: str) -> ObjectState:
        return after.get(name) or get(name) or ObjectState(name)

    for change in changes:
        if check is not None:
            check(after.get(change.object) or get(change.object), change)
        state = now(change.object)
        if isinstance(change, Renamed):
            source = now(change.source)
            altered = _rename(state, source)
            after[change.source] = _drop(source)
        else:
            altered = apply(state, change)
        if altered is not state:
            after[change.object] = altered
    return after


def check_wanted(state: ObjectState | None, change: Change) -> None:
    """Raises ChangeRefused where the change gives data to an object that was dropped or retained, and not wanted again since.

    Whoever decided on it did so before that. Without this the object would be back with nobody to remove it, its objects in buckets
    deleted or another's. The inventory (`Managed`) says that it is wanted again, and comes first.
    """
    gives = isinstance(change, TableCommit | CorpusAdded | BuildAdded | Served | ServedBeside | TruthMade | BucketOpened | Renamed)
    if gives and state is not None and state.managed is None and (state.gone or state.retained):
        what = "was removed" if state.gone else "is retained without a spec"
        raise ChangeRefused(f"{change.object} {what}, so `{change.op}` comes too late.")


def apply(state: ObjectState | None, change: Change) -> ObjectState:
    """The state after one change of this object; `state` itself where it alters nothing. Raises ChangeRefused.

    A Renamed is refused: it reads another object, see `fold`.
    """
    state = state or ObjectState(change.object)
    match change:
        case TableCommit():
            return _with_table(state, committed(state.table or Table(state.name, version=max(state.last_version, change.after)), change))
        case CorpusAdded() | BuildAdded() | Served() | ServedBeside() | Chosen() | TruthMade() | Forgotten():
            return _with_index(state, changed(state.index or IndexRecord(state.name), change))
        case Retained() | Adopted():
            return _retain(state, isinstance(change, Retained))
        case Dropped():
            return _drop(state)
        case Renamed():
            raise ChangeRefused(f"{change.object} takes over {change.source}, which is folded together with it only.")
        case _:
            return _marked(state, change)


def _marked(state: ObjectState, change: Managed | Suspended | Resumed | Asked | Approved | BucketOpened) -> ObjectState:
    match change:
        case Managed():
            managed = Inventory(change.spec_digest, change.deletion, change.about)
            after = replace(state, managed=managed, governed=change.governed)
        case Suspended():
            after = replace(state, suspended=Suspension(change.by, change.why, change.until))
        case Resumed():
            after = replace(state, suspended=None)
        case Asked():
            after = replace(state, asked=max(state.asked, change.at))
        case Approved():
            after = replace(state, approvals={**state.approvals, change.plan_id: Approval(change.by, change.digest, change.objects)})
        case BucketOpened():
            after = replace(state, bucket=BucketRecord(state.name, change.config, change.conditional_put))
        case _:
            assert_never(change)
    return state if after == state else after


def _with_table(state: ObjectState, table: Table) -> ObjectState:
    return state if table is state.table else replace(state, table=table)


def _with_index(state: ObjectState, index: IndexRecord) -> ObjectState:
    empty = state.index is None and index == IndexRecord(state.name)
    return state if empty or index is state.index else replace(state, index=index)


def _drop(state: ObjectState) -> ObjectState:
    if state.gone:
        return state
    version = max(state.last_version, state.table.version if state.table else 0)
    return ObjectState(state.object, last_version=version, governed=state.governed)


def _retain(state: ObjectState, retained: bool) -> ObjectState:
    """Retaining ends the inventory. Without a table there is nothing to retain: what is left of the object is what others said of it."""
    if state.table is None and not retained:
        raise ChangeRefused(f"{state.object} has no data to adopt.")
    table = state.table and (state.table if state.table.retained == retained else replace(state.table, retained=retained))
    managed = None if retained else state.managed
    return state if table is state.table and managed is state.managed else replace(state, table=table, managed=managed)


def _rename(target: ObjectState, source: ObjectState) -> ObjectState:
    """What the target becomes. It may be managed already (the inventory comes first), but may not have data of its own."""
    if source.gone:
        raise ChangeRefused(f"{source.object} does not exist, so {target.object} cannot take it over.")
    if target.table or target.index or target.bucket:
        raise ChangeRefused(f"{target.object} has data of its own, so it cannot take over {source.object}.")
    version = source.table.version if source.table else 0
    if 0 < version <= target.last_version:
        version = target.last_version + 1
    return ObjectState(
        target.object,
        managed=target.managed or source.managed,
        suspended=target.suspended or source.suspended,
        approvals={**source.approvals, **target.approvals},
        table=source.table and replace(source.table, name=target.name, version=version),
        index=source.index and replace(source.index, name=target.name),
        bucket=source.bucket and replace(source.bucket, name=target.name),
        last_version=target.last_version,
        asked=max(target.asked, source.asked),
        governed=target.governed or source.governed,
    )
