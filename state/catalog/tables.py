"""What the catalog keeps of tables: their files and schemas, what these were made of, what is noted beside them, and their past.

Every record is frozen and knows its own JSON form: `to_dict` gives plain JSON values, `from_dict` an equal record again. Both are written
by hand, since opening a large catalog consists of little else. Mappings inside a record are never modified after it was made.

It refuses to judge: which change may follow which state is decided in `fold.py`, where to read next. `entry.py` holds the changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, Self, TypeAlias

import orjson

from state.catalog.data_files import DataFile
from state.catalog.schemas import NO_COLUMNS, Column, Schema
from state.objects import ObjectRef


class ObjectVersion(NamedTuple):
    """What an object was when it was read as a source: its etag, and the SHA-256 of its bytes. While it has the etag, it has the bytes."""

    etag: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Binding:
    """A source path and the content last seen there. `present` is False once the path is gone while its rows stay. `object`: of an object
    in a bucket."""

    path: str
    digest: str
    size: int
    mtime_ns: int
    present: bool = True
    object: ObjectVersion | None = None

    def to_dict(self) -> dict[str, Any]:
        known = {"path": self.path, "digest": self.digest, "size": self.size, "mtime_ns": self.mtime_ns, "present": self.present}
        return known if self.object is None else known | {"object": list(self.object)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(**_with_object(data))


@dataclass(frozen=True, slots=True)
class Refusal:
    """A source file that was refused as a whole: its content, the line at fault, and the transformation it was refused under. `object`: as
    of a `Binding`."""

    path: str
    digest: str
    line: int | None
    reason: str
    transformation: str
    object: ObjectVersion | None = None

    def to_dict(self) -> dict[str, Any]:
        known = {"path": self.path, "digest": self.digest, "line": self.line}
        known |= {"reason": self.reason, "transformation": self.transformation}
        return known if self.object is None else known | {"object": list(self.object)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(**_with_object(data))


def _with_object(data: Mapping[str, Any]) -> Mapping[str, Any]:
    return data if "object" not in data else {**data, "object": ObjectVersion(*data["object"])}


LedgerKind: TypeAlias = Literal["journal", "quarantine", "profile", "edit", "said"]


@dataclass(frozen=True, slots=True)
class Ledger:
    """An object that says something about a table's rows, written and committed with them.

    `journal`: changes of rows by field, as Parquet; it outlives the files that it tells of. `edit`: the delta of a row that was set or
    deleted by hand, which has no other source. `quarantine`: rows of a content that the contract set aside, as Parquet; `profile`: what is
    known of a content's columns, as JSON: both live as long as rows of `source` do. `said`: hashes of all rows of a content of which only
    those were applied that its file had not said before.

    `rows` it holds, `version` of the table that it came with, `at` of its newest row, as in `state/timestamps.py`, `job` that wrote it.
    `against`: of a quarantine, digest of the datasets for whose sake rows are in it; "" where these have no part in it.
    """

    kind: LedgerKind
    ref: ObjectRef
    rows: int
    source: str
    version: int
    at: str
    job: str = ""
    against: str = ""

    def to_dict(self) -> dict[str, Any]:
        known = {"kind": self.kind, "ref": self.ref.to_dict(), "rows": self.rows, "source": self.source}
        known |= {"version": self.version, "at": self.at}
        return known | {name: value for name, value in (("job", self.job), ("against", self.against)) if value}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(**{**data, "ref": ObjectRef.from_dict(data["ref"])})


@dataclass(frozen=True, slots=True)
class Former:
    """How a version of a table differs from its successor: what the present lacks to be it again.

    `at` is when this version was committed. `added` are the keys of files that the successor has and this one has not, `removed` the files
    that it had, `primary_key` and `schema_id` what held. A file that took another place among the others is in both.
    """

    version: int
    at: str
    schema_id: int
    primary_key: tuple[str, ...]
    added: tuple[str, ...] = ()
    removed: tuple[DataFile, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "at": self.at,
            "schema_id": self.schema_id,
            "primary_key": list(self.primary_key),
            "added": list(self.added),
            "removed": [file.to_dict() for file in self.removed],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        lists = {"primary_key": tuple(data["primary_key"]), "added": tuple(data["added"])}
        return cls(**{**data, **lists, "removed": tuple([DataFile.from_dict(file) for file in data["removed"]])})


@dataclass(frozen=True, slots=True)
class Origin:
    """Of what a table was made last, as far as its bindings do not say it.

    `slot`: the instant (ISO 8601) of the schedule, or of an operator's word, that was honoured last; "" where none ever was. For a source
    that is no file, `place`: its server, without credentials; `reads`: the table or query; `inputs`: the version of each dataset that was
    read; `cursor`: the greatest cursor value that was read, as the source writes it; "" without one; `read`: the instant at which a read
    last ended well, whether or not it brought anything; `step`: how many reads for this slot left rows to the next one; `same`: the token
    of a read that brought the rows which the table had already, so that they are bound to the token of a former one.
    """

    slot: str = ""
    place: str = ""
    reads: str = ""
    inputs: Mapping[str, int] = field(default_factory=dict, hash=False)
    cursor: str = ""
    read: str = ""
    step: int = 0
    same: str = ""

    def to_dict(self) -> dict[str, Any]:
        """What is not set is left out."""
        names = ("slot", "place", "reads", "cursor", "read", "step", "same")
        parts = {name: getattr(self, name) for name in names} | {"inputs": dict(self.inputs)}
        return {name: part for name, part in parts.items() if part}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(**data)


@dataclass(frozen=True)  # no slots: `snapshot` is computed once and kept
class Table:
    """What a Dataset holds at one version.

    `files` are in the order they were committed; `schemas` in the order they became current. `version` counts the commits that changed
    files or schema, `at` is when the present one was committed; `bindings` and `refusals` are keyed by path. `former` are the versions
    that are kept besides, oldest first and without a gap before the present one. `retained` says that no spec stands behind the data any
    more. `folded` are the contents that have no files of their own any more since compaction, with the places that they had.
    """

    name: str
    version: int = 0
    bucket: str = ""
    primary_key: tuple[str, ...] = ()
    write: str = "append"
    transformation: str = ""
    schemas: tuple[Schema, ...] = ()
    files: tuple[DataFile, ...] = ()
    bindings: Mapping[str, Binding] = field(default_factory=dict, hash=False)
    refusals: Mapping[str, Refusal] = field(default_factory=dict, hash=False)
    retained: bool = False
    at: str = ""
    former: tuple[Former, ...] = ()
    ledgers: tuple[Ledger, ...] = ()
    folded: Mapping[str, int] = field(default_factory=dict, hash=False)
    origin: Origin | None = None

    def history(self) -> Iterator[Table]:
        """The table at every version that is kept, newest first: files, schema and key; its sources are not told."""
        yield self
        files = {file.ref.key: file for file in self.files}
        for step in reversed(self.former):
            for key in step.added:
                del files[key]
            files |= {file.ref.key: file for file in step.removed}
            yield replace(
                self, version=step.version, at=step.at, files=tuple(files.values()), primary_key=step.primary_key,
                schemas=tuple(sorted(self.schemas, key=lambda schema: schema.id == step.schema_id)),
                bindings={}, refusals={}, former=(), ledgers=(), folded={}, origin=None,
            )  # fmt: skip

    def as_of(self, version: int) -> Table:
        """The table at a version. Raises KeyError for one that is not kept."""
        found = next((table for table in self.history() if table.version == version), None)
        if found is None:
            raise KeyError(version)
        return found

    @property
    def past(self) -> tuple[ObjectRef, ...]:
        """The objects that only former versions need, and the ledgers: what the present does without."""
        present = {file.ref.key for file in self.files}
        files = {file.ref.key: file.ref for step in self.former for file in step.removed if not file.lost}
        return (*(ref for key, ref in files.items() if key not in present), *(ledger.ref for ledger in self.ledgers))

    @property
    def versions(self) -> tuple[tuple[int, str], ...]:
        """Every version that can be read with the time of its commit, oldest first."""
        return (*((step.version, step.at) for step in self.former), (self.version, self.at))

    @property
    def schema(self) -> Schema:
        """The current schema, `NO_COLUMNS` where there is none yet."""
        return self.schemas[-1] if self.schemas else NO_COLUMNS

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.schema.columns

    @property
    def rows(self) -> int:
        """Rows in all files that can be read. With deltas, keys that occur in several files count each time."""
        return sum(file.rows for file in self.readable)

    @property
    def merged(self) -> bool:
        """Whether `rows` is what a query counts. With deltas it is the most that there can be: only reading merges them by key."""
        return all(file.role == "base" for file in self.readable)

    @property
    def readable(self) -> tuple[DataFile, ...]:
        """The files that are not lost."""
        return tuple(file for file in self.files if not file.lost)

    @property
    def lost_rows(self) -> int:
        """Rows of files that are lost."""
        return sum(file.rows for file in self.files if file.lost)

    @property
    def size(self) -> int:
        """Bytes in all files."""
        return sum(file.ref.size for file in self.files)

    @property
    def data_files(self) -> tuple[DataFile, ...]:
        """The files in the order in which a reader lets them win: base before delta, then by sequence, then as committed."""
        return tuple(sorted(self.files, key=lambda file: (file.role != "base", file.sequence)))

    @property
    def next_sequence(self) -> int:
        return max((file.sequence for file in self.files), default=0) + 1

    @property
    def next_column_id(self) -> int:
        """An id that no column of this table ever had, dropped ones included."""
        return max((column.id for schema in self.schemas for column in schema.columns), default=0) + 1

    @property
    def next_schema_id(self) -> int:
        return max((schema.id for schema in self.schemas), default=0) + 1

    @cached_property
    def snapshot(self) -> str:
        """The content's identity: a digest of the files' keys, roles and sequences in order, and of the schemas that change how they are
        read, whatever the version."""
        parts: list[object] = [(file.ref.key, file.role, file.sequence) for file in self.files]
        parts += [schema.id for schema in self.schemas if schema.derivation is not None and schema.id <= self.schema.id]
        return hashlib.sha256(orjson.dumps(parts)).hexdigest()[:32]

    def binding(self, path: str) -> Binding | None:
        return self.bindings.get(path)

    def file(self, key: str) -> DataFile | None:
        return next((file for file in self.files if file.ref.key == key), None)

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": self.version,
            "bucket": self.bucket,
            "primary_key": list(self.primary_key),
            "write": self.write,
            "transformation": self.transformation,
            "schemas": [schema.to_dict() for schema in self.schemas],
            "files": [file.to_dict() for file in self.files],
            "bindings": [binding.to_dict() for binding in self.bindings.values()],
            "refusals": [refusal.to_dict() for refusal in self.refusals.values()],
            "retained": self.retained,
            "at": self.at,
            "former": [former.to_dict() for former in self.former],
            "ledgers": [ledger.to_dict() for ledger in self.ledgers],
            "folded": dict(self.folded),
        } | ({} if self.origin is None else {"origin": self.origin.to_dict()})

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        changed = {
            "origin": Origin.from_dict(data["origin"]) if "origin" in data else None,
            "primary_key": tuple(data["primary_key"]),
            "schemas": tuple([Schema.from_dict(schema) for schema in data["schemas"]]),
            "files": tuple([DataFile.from_dict(file) for file in data["files"]]),
            "bindings": {binding["path"]: Binding.from_dict(binding) for binding in data["bindings"]},
            "refusals": {refusal["path"]: Refusal.from_dict(refusal) for refusal in data["refusals"]},
            "former": tuple([Former.from_dict(former) for former in data.get("former", ())]),
            "ledgers": tuple([Ledger.from_dict(ledger) for ledger in data.get("ledgers", ())]),
        }
        return cls(**{**data, **changed})
