"""Changes, and the log entry that carries them: what happened to objects, by whom and why.

`Change` is a closed union of frozen dataclasses. Each names the object it touches ("Dataset/candidates"), knows its own JSON form under an
`op`, and says only what changed; what an object *is* results from folding them (`fold.py`, where to read next; changes of an index are in
`index_changes.py`). One entry may move many objects at once. Committers that share an entry (see `catalog.py`) keep their own actor, reason
and revision in `causes`.

It refuses to guess: an unknown format, op or field is CatalogCorrupt, never skipped, since a skipped change would silently lose data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, TypeAlias, get_args

import orjson

from state.catalog.data_files import DataFile
from state.catalog.index_changes import BuildAdded, Chosen, CorpusAdded, Forgotten, Served, ServedBeside, TruthMade
from state.catalog.schemas import Schema
from state.catalog.tables import Binding, Ledger, Origin, Refusal
from state.errors import CatalogCorrupt

FORMAT = 1
RESTORE = (
    "Restore this object from a backup of the state bucket. If it is damaged, the log's last and in no backup, delete it: "
    "the next reconciliation does again what it recorded."
)
UPGRADE = "Run the version of Lakehouse that wrote it, or a newer one; if none knows it, restore this object from a backup."


@dataclass(frozen=True, slots=True)
class TableCommit:
    """A table gains and loses files, bindings and refusals in one step; `schema` only where it changes.

    Removals come before additions, so that a file may be replaced under its own key. `remove` names file keys, `unbind` and `accept`
    paths; `accept` takes back refusals. `at` is when, as in `state/timestamps.py`; `version` the one that this makes: a commit that was
    prepared on another one is refused (None: whatever it is). `note` adds ledgers. `forget` gives up every version before that one.
    `drop` names keys of what goes besides: ledgers, and files that only versions given up had. `fold` is `Table.folded` from now on, where
    it changes, as the other fields say what holds from now on; without `origin`, the former one does, unless the transformation is another.
    `after` is a version that the table had before the catalog was lost: a table that begins with this goes on from there.
    """

    op: ClassVar[str] = "table-commit"
    object: str
    transformation: str
    bucket: str
    primary_key: tuple[str, ...] = ()
    write: str = "append"
    schema: Schema | None = None
    add: tuple[DataFile, ...] = ()
    remove: tuple[str, ...] = ()
    bind: tuple[Binding, ...] = ()
    unbind: tuple[str, ...] = ()
    refuse: tuple[Refusal, ...] = ()
    accept: tuple[str, ...] = ()
    at: str = ""
    version: int | None = None
    note: tuple[Ledger, ...] = ()
    drop: tuple[str, ...] = ()
    forget: int = 0
    fold: Mapping[str, int] | None = field(default=None, hash=False)
    origin: Origin | None = None
    after: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {
            "op": self.op,
            "object": self.object,
            "transformation": self.transformation,
            "bucket": self.bucket,
            "primary_key": list(self.primary_key),
            "write": self.write,
            "schema": None if self.schema is None else self.schema.to_dict(),
            "add": [file.to_dict() for file in self.add],
            "remove": list(self.remove),
            "bind": [binding.to_dict() for binding in self.bind],
            "unbind": list(self.unbind),
            "refuse": [refusal.to_dict() for refusal in self.refuse],
            "accept": list(self.accept),
            "at": self.at,
            "version": self.version,
            "note": [ledger.to_dict() for ledger in self.note],
            "drop": list(self.drop),
            "forget": self.forget,
            "fold": self.fold,
            **({"after": self.after} if self.after else {}),
        } | ({} if self.origin is None else {"origin": self.origin.to_dict()})

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        schema = data["schema"]
        changed = {
            "primary_key": tuple(data["primary_key"]),
            "schema": None if schema is None else Schema.from_dict(schema),
            "add": tuple([DataFile.from_dict(file) for file in data["add"]]),
            "remove": tuple(data["remove"]),
            "bind": tuple([Binding.from_dict(binding) for binding in data["bind"]]),
            "unbind": tuple(data["unbind"]),
            "refuse": tuple([Refusal.from_dict(refusal) for refusal in data["refuse"]]),
            "accept": tuple(data["accept"]),
            "note": tuple([Ledger.from_dict(ledger) for ledger in data.get("note", ())]),
            "drop": tuple(data.get("drop", ())),
            "origin": Origin.from_dict(data["origin"]) if "origin" in data else None,
        }
        return cls(**{**data, **changed})


class Flat:
    """The JSON form of a change whose fields are all JSON values."""

    __slots__ = ()
    op: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        return {"op": self.op} | {name: getattr(self, name) for name in self.__match_args__}  # type: ignore[attr-defined]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(**data)


@dataclass(frozen=True, slots=True)
class BucketOpened(Flat):
    """A bucket was reached and probed; `config` is without credentials."""

    op: ClassVar[str] = "bucket-opened"
    object: str
    config: Mapping[str, Any] = field(hash=False)
    conditional_put: bool


@dataclass(frozen=True, slots=True)
class Managed(Flat):
    """The inventory: the object is ours, by the spec of this digest, and is to be deleted or retained when the spec goes.

    governed: a policy named it, now or before; only its own spec takes that back, not the end of the inventory. about: what the spec says
    about the data for people and lineage, without anything secret; of a Policy, all of it that is in force.
    """

    op: ClassVar[str] = "managed"
    object: str
    spec_digest: str
    deletion: str
    governed: bool = False
    about: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Retained(Flat):
    """The spec is gone, the data stays: orphaned, listed, adoptable again."""

    op: ClassVar[str] = "retained"
    object: str


@dataclass(frozen=True, slots=True)
class Adopted(Flat):
    """A spec stands behind retained data again."""

    op: ClassVar[str] = "adopted"
    object: str


@dataclass(frozen=True, slots=True)
class Renamed(Flat):
    """`object` takes over everything that `source` had; `source` is no more."""

    op: ClassVar[str] = "renamed"
    object: str
    source: str


@dataclass(frozen=True, slots=True)
class Dropped(Flat):
    """The object and all it had are no more. Its objects in buckets may be deleted from now on."""

    op: ClassVar[str] = "dropped"
    object: str


@dataclass(frozen=True, slots=True)
class Suspended(Flat):
    """Nothing is done to the object until `until` (ISO 8601), or until it is resumed."""

    op: ClassVar[str] = "suspended"
    object: str
    by: str
    why: str
    until: str | None = None


@dataclass(frozen=True, slots=True)
class Resumed(Flat):
    """The suspension ends."""

    op: ClassVar[str] = "resumed"
    object: str
    by: str


@dataclass(frozen=True, slots=True)
class Asked(Flat):
    """An operator wants the object's source read again, whatever its schedule says. at: the instant, ISO 8601."""

    op: ClassVar[str] = "asked"
    object: str
    by: str
    at: str


@dataclass(frozen=True, slots=True)
class Approved(Flat):
    """`by` agrees to plan `plan_id`, as long as what is wanted has this digest.

    objects: what may go, each "Kind/name@version"; none once they are gone.
    """

    op: ClassVar[str] = "approved"
    object: str
    plan_id: str
    by: str
    digest: str
    objects: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(**{**data, "objects": tuple(data.get("objects", ()))})


Change: TypeAlias = (
    TableCommit
    | CorpusAdded
    | BuildAdded
    | Served
    | ServedBeside
    | Chosen
    | TruthMade
    | Forgotten
    | BucketOpened
    | Managed
    | Retained
    | Adopted
    | Renamed
    | Dropped
    | Suspended
    | Resumed
    | Asked
    | Approved
)

CHANGES: Mapping[str, type[Change]] = {change.op: change for change in get_args(Change)}


def touched(change: Change) -> tuple[str, ...]:
    """The objects that a change reads or writes."""
    return (change.object, change.source) if isinstance(change, Renamed) else (change.object,)


def change_from_dict(data: Mapping[str, Any]) -> Change:
    """The inverse of every change's `to_dict`. Raises ValueError for an unknown op, TypeError or KeyError for unexpected fields."""
    kind = CHANGES.get(data["op"])
    if kind is None:
        raise ValueError(f"unknown op `{data['op']}`")
    return kind.from_dict({name: value for name, value in data.items() if name != "op"})


@dataclass(frozen=True, slots=True)
class Cause:
    """Who made a change and why. `revision` is the spec commit that asked for it, None where none did."""

    actor: str
    reason: str
    revision: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {"actor": self.actor, "reason": self.reason, "revision": self.revision}


@dataclass(frozen=True, slots=True)
class Entry:
    """One step of the log, written by `writer` in its `epoch`; `at` as in `state/timestamps.py`.

    `causes` is empty where actor, reason and revision are those of every change; else it is parallel to `changes`, and the entry's own
    three say "several" (None for the revision) wherever its changes differ.
    """

    seq: int
    writer: str
    epoch: int
    at: str
    actor: str
    reason: str
    revision: str | None
    changes: tuple[Change, ...]
    causes: tuple[Cause, ...] = ()
    format: int = FORMAT

    @property
    def objects(self) -> frozenset[str]:
        return frozenset(name for change in self.changes for name in touched(change))

    def explained(self) -> Iterator[tuple[Change, Cause]]:
        """Each change with its own cause."""
        causes = self.causes or (Cause(self.actor, self.reason, self.revision),) * len(self.changes)
        return zip(self.changes, causes, strict=True)

    def to_dict(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            "format": self.format,
            "seq": self.seq,
            "writer": self.writer,
            "epoch": self.epoch,
            "at": self.at,
            "actor": self.actor,
            "reason": self.reason,
            "revision": self.revision,
            "changes": [change.to_dict() for change in self.changes],
        }
        return document | {"causes": [cause.to_dict() for cause in self.causes]} if self.causes else document

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Raises ValueError, TypeError or KeyError where the data are no entry of this format."""
        if data["format"] != FORMAT:
            raise ValueError(f"unknown format {data['format']!r}, this version knows {FORMAT}")
        causes = tuple([Cause(**cause) for cause in data.get("causes", ())])
        changes = tuple([change_from_dict(change) for change in data["changes"]])
        if causes and len(causes) != len(changes):
            raise ValueError(f"{len(causes)} causes for {len(changes)} changes")
        return cls(**{**data, "changes": changes, "causes": causes})

    def encode(self) -> bytes:
        """Raises ValueError where a value has no JSON form (an integer beyond 64 bits, a byte string)."""
        return encode(self.to_dict())

    @classmethod
    def decode(cls, data: bytes, key: str) -> Self:
        """Raises CatalogCorrupt that names `key` and says what to do."""
        try:
            return cls.from_dict(orjson.loads(data))
        except (ValueError, TypeError, KeyError, AttributeError, AssertionError) as error:
            raise corrupt(key, data, error) from error


def encode(document: Mapping[str, Any]) -> bytes:
    """JSON in UTF-8. Raises ValueError where a value has no JSON form."""
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError as error:
        raise ValueError(f"not storable as JSON: {error}") from error


def corrupt(key: str, data: bytes, error: Exception) -> CatalogCorrupt:
    """The error for an object of the catalog that cannot be read: empty or torn, of a newer version, or damaged."""
    if not data:
        return CatalogCorrupt(f"{key} is empty.", remedy=RESTORE)
    if isinstance(error, orjson.JSONDecodeError):
        return CatalogCorrupt(f"{key} is no complete JSON ({len(data)} bytes): {error}.", remedy=RESTORE)
    reason = f"field {error} is missing" if isinstance(error, KeyError) else str(error)
    return CatalogCorrupt(f"{key} cannot be understood: {reason}.", remedy=UPGRADE)
