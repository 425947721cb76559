"""What an object is: the fold of all changes that touched it. Pure.

`apply` gives the state after one change, `fold` the states after the changes of one entry. Both return the very same object where nothing
changes, so that a commit without effect need not be written. They refuse, by ChangeRefused and before anything is written, what would lose
or double data: a file removed that is not there, a file key with other content, a column id used twice, a build served that is not known.
`check_wanted` refuses what comes too late, to be asked of what is to be written only: what stands in the log has happened.

A dropped object leaves a small state behind (`gone`) that remembers its table's version, so that versions never repeat under one name.
Next: `log.py` (entries on storage), `catalog.py` (folding them as they come).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self, TypeAlias, assert_never

from state.catalog.data_files import DataFile
from state.catalog.entry import (
    Adopted,
    Approved,
    Asked,
    BucketOpened,
    BuildAdded,
    Change,
    Chosen,
    CorpusAdded,
    Dropped,
    Forgotten,
    Managed,
    Renamed,
    Resumed,
    Retained,
    Served,
    ServedBeside,
    Suspended,
    TableCommit,
    TruthMade,
)
from state.catalog.indexes import IndexRecord, ServingManifest
from state.catalog.schemas import Schema
from state.catalog.tables import Former, Ledger, Table
from state.errors import StateError
from state.timestamps import from_iso


class ChangeRefused(StateError):
    """The change cannot follow the object's state; nothing was written. Observe again and decide anew."""

    slug = "change-refused"
    remedy = "Reconcile the object: it is observed again, and what is still missing is done."


@dataclass(frozen=True, slots=True)
class Inventory:
    """The object is ours, by the spec of this digest; `deletion` says what happens to its data when the spec goes.

    governed: a policy named it, now or before. about: see `Managed`.
    """

    spec_digest: str
    deletion: str
    governed: bool = False
    about: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def to_dict(self) -> dict[str, Any]:
        """What is not set is left out."""
        marks = {"governed": True} if self.governed else {}
        return {"spec_digest": self.spec_digest, "deletion": self.deletion} | marks | ({"about": dict(self.about)} if self.about else {})


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
    its source read.
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

    @property
    def name(self) -> str:
        return self.object.partition("/")[2]

    @property
    def retained(self) -> bool:
        """Whether there is data without a spec."""
        return self.table is not None and self.table.retained

    @property
    def gone(self) -> bool:
        """Whether nothing is left but the memory of a version."""
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
        }
        return {"object": self.object} | {name: part for name, part in parts.items() if part}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        parts = dict(data)
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
            return _with_table(state, _commit(state.table or Table(state.name, version=max(state.last_version, change.after)), change))
        case CorpusAdded() | BuildAdded() | Served() | ServedBeside() | Chosen() | TruthMade() | Forgotten():
            return _with_index(state, _index(state.index or IndexRecord(state.name), change))
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
            after = replace(state, managed=Inventory(change.spec_digest, change.deletion, change.governed, change.about))
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
    return ObjectState(state.object, last_version=max(state.last_version, state.table.version if state.table else 0))


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
    )


def _commit(table: Table, change: TableCommit) -> Table:
    if change.version is not None and change.version != table.version + 1:
        raise ChangeRefused(f"{change.object} is at version {table.version}, so version {change.version} comes too late.")
    schemas = _schemas(table, change.schema)
    files = _files(table, change, frozenset(schema.id for schema in schemas))
    unbound, accepted = frozenset(change.unbind), frozenset(change.accept)
    bindings = {path: binding for path, binding in table.bindings.items() if path not in unbound}
    bindings |= {binding.path: binding for binding in change.bind}
    refusals = {path: refusal for path, refusal in table.refusals.items() if path not in accepted}
    refusals |= {refusal.path: refusal for refusal in change.refuse}
    altered = files is not table.files or schemas is not table.schemas
    former = (*table.former, _former(table, files)) if altered and table.version else table.former
    after = replace(
        table,
        version=table.version + altered,
        at=change.at if altered else table.at,
        former=tuple(step for step in former if step.version >= change.forget),
        ledgers=_ledgers(table, change),
        folded=table.folded if change.fold is None else change.fold,
        bucket=change.bucket,
        primary_key=change.primary_key,
        write=change.write,
        transformation=change.transformation,
        schemas=schemas,
        files=files,
        bindings=bindings,
        refusals=refusals,
        origin=change.origin or (table.origin if change.transformation == table.transformation else None),
    )
    return table if after == table else after


def _former(table: Table, files: tuple[DataFile, ...]) -> Former:
    """What these files lack to be the table's again. One that was written again under its own key, or whose entry was corrected, is the
    same file; one that took another place among the others is not."""
    before = {(file.ref.key, file.role, file.sequence): file for file in table.files}
    after = {(file.ref.key, file.role, file.sequence): file for file in files}
    return Former(
        table.version, table.at, table.schema.id, table.primary_key,
        added=tuple(file.ref.key for place, file in after.items() if place not in before),
        removed=tuple(replace(file, columns={}) for place, file in before.items() if place not in after),
    )  # fmt: skip


def _ledgers(table: Table, change: TableCommit) -> tuple[Ledger, ...]:
    """The ledgers after the change; one that is written again takes its own place."""
    if not change.note and not change.drop:
        return table.ledgers
    ledgers = {ledger.ref.key: ledger for ledger in table.ledgers if ledger.ref.key not in change.drop}
    ledgers |= {ledger.ref.key: ledger for ledger in change.note}
    return tuple(ledgers.values())


def _files(table: Table, change: TableCommit, schema_ids: frozenset[int]) -> tuple[DataFile, ...]:
    """The files after the change. One that is replaced under its own key keeps its place, so that the snapshot stays the same."""
    if not change.add and not change.remove:
        return table.files
    files: dict[str, DataFile | None] = {file.ref.key: file for file in table.files}
    for key in change.remove:
        if files.get(key) is None:
            raise ChangeRefused(f"{change.object} has no file {key} to remove.")
        files[key] = None
    for file in change.add:
        known = files.get(file.ref.key)
        if known is not None and known != file:
            raise ChangeRefused(f"{change.object} has the file {file.ref.key} already, with other content.")
        if file.schema_id not in schema_ids:
            raise ChangeRefused(f"{change.object} has no schema {file.schema_id}, which file {file.ref.key} was written by.")
        files[file.ref.key] = file
    after = tuple([file for file in files.values() if file is not None])
    return table.files if after == table.files else after


def _schemas(table: Table, schema: Schema | None) -> tuple[Schema, ...]:
    """The schemas after `schema` became current. A former one may come back as it was (a rollback), under its own id."""
    if schema is None or schema == table.schema:
        return table.schemas
    if schema in table.schemas:
        return (*(known for known in table.schemas if known != schema), schema)
    where = f"schema {schema.id} of {table.name}"
    if schema.id < table.next_schema_id:
        raise ChangeRefused(f"Id {schema.id} was given to another schema of {table.name}; the next is {table.next_schema_id}.")
    ids = [column.id for column in schema.columns]
    if len(set(ids)) < len(ids) or len({column.name for column in schema.columns}) < len(ids):
        raise ChangeRefused(f"Two columns share a name or an id in {where}.")
    reused = set(range(1, table.next_column_id)) & set(ids) - {column.id for column in table.columns}
    if reused or min(ids, default=1) < 1:
        raise ChangeRefused(f"Column ids {sorted(reused) or ids} in {where} were used before; the next is {table.next_column_id}.")
    return (*table.schemas, schema)


def _index(index: IndexRecord, change: CorpusAdded | BuildAdded | Served | ServedBeside | Chosen | TruthMade | Forgotten) -> IndexRecord:
    match change:
        case CorpusAdded():
            after = replace(index, corpora={**index.corpora, change.corpus.digest: change.corpus})
        case BuildAdded():
            _require_corpus(index, change.build.corpus, f"build {change.build.digest} is over")
            after = replace(index, builds={**index.builds, change.build.digest: change.build})
        case Served() | ServedBeside():
            after = _serve(index, change)
        case Chosen():
            after = replace(index, choice=change.choice)
        case TruthMade():
            _require_corpus(index, change.truth.corpus, f"the answers of {change.truth.eval_set} are of")
            after = replace(index, truths={**index.truths, change.truth.eval_set: change.truth})
        case Forgotten():
            after = _forget(index, change)
        case _:
            assert_never(change)
    return index if after == index else after


def _require_corpus(index: IndexRecord, corpus: str, what: str) -> None:
    if corpus not in index.corpora:
        raise ChangeRefused(f"Index/{index.name} has no corpus {corpus}, which {what}.")


def _serve(index: IndexRecord, change: Served | ServedBeside) -> IndexRecord:
    if change.manifest is not None and change.manifest.build not in index.builds:
        raise ChangeRefused(f"{change.object} has no build {change.manifest.build} to serve.")
    if change.manifest is not None and change.manifest.tail is not None:
        base = index.builds[change.manifest.build].corpus
        if change.manifest.tail.base != base:
            raise ChangeRefused(f"{change.object}: the tail is of corpus {change.manifest.tail.base}, the build of {base}.")
    if isinstance(change, ServedBeside) and change.manifest is not None and index.corpus_of(change.manifest).model != change.model:
        raise ChangeRefused(f"{change.object}: build {change.manifest.build} is not of the model {change.model}.")
    return served(index, change)


def served(index: IndexRecord, change: Served | ServedBeside) -> IndexRecord:
    """The index after a pointer of it moved. The way back is to what answered before in another way, by another cause: neither newer rows
    change it, nor the steps in which one change of specs comes to its end. A model that served answers beside from now on; one that serves
    does not."""
    manifest = change.manifest
    if isinstance(change, ServedBeside):
        beside = {model: known for model, known in index.beside.items() if model != change.model}
        return replace(index, beside=beside if manifest is None else {**beside, change.model: manifest})
    before = index.serving
    if manifest == before:
        return index
    same = before is None or (manifest is not None and index.same_way(manifest, before))
    after = replace(index, serving=manifest)
    if not same:
        after = replace(after, previous=_way_back(index, change), cause=change.cause)
    if manifest is None:
        return after
    former, now = ("" if before is None else index.corpus_of(before).model), index.corpus_of(manifest).model
    beside = {model: known for model, known in index.beside.items() if model != now}
    return replace(after, beside=beside if before is None or former == now else {**beside, former: before})


def _way_back(index: IndexRecord, change: Served) -> ServingManifest | None:
    """What is gone back to after the index answers in another way than before."""
    known = index.previous
    if known is None or not change.cause or change.cause != index.cause:
        return index.serving
    returns = change.manifest is not None and index.same_way(change.manifest, known)
    return index.serving if returns else known


def _forget(index: IndexRecord, change: Forgotten) -> IndexRecord:
    unknown = [digest for digest in change.builds if digest not in index.builds]
    unknown += [digest for digest in change.corpora if digest not in index.corpora]
    if unknown:
        raise ChangeRefused(f"{change.object} has no build or corpus {', '.join(unknown)} to forget.")
    if unknown := [name for name in change.truths if name not in index.truths]:
        raise ChangeRefused(f"{change.object} has no answers of {', '.join(unknown)} to forget.")
    if index.serving is not None and index.serving.build in change.builds:
        raise ChangeRefused(f"{change.object} serves build {index.serving.build}, so it cannot be forgotten.")
    if answers := [model for model, manifest in index.beside.items() if manifest.build in change.builds]:
        raise ChangeRefused(f"{change.object} answers for {', '.join(answers)} by a build that therefore cannot be forgotten.")
    builds = {digest: build for digest, build in index.builds.items() if digest not in change.builds}
    needed = {build.corpus for build in builds.values()} & set(change.corpora)
    if needed:
        raise ChangeRefused(f"{change.object} has builds over corpus {', '.join(sorted(needed))}, so it cannot be forgotten.")
    corpora = {digest: corpus for digest, corpus in index.corpora.items() if digest not in change.corpora}
    previous = None if index.previous is not None and index.previous.build in change.builds else index.previous
    truths = {name: truth for name, truth in index.truths.items() if name not in change.truths}
    return replace(index, corpora=corpora, builds=builds, previous=previous, truths=truths)
