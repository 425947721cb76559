"""The facts that the catalog keeps: tables with their files, indexes with their corpora, builds and serving manifests.

Every record is frozen and knows its own JSON form: `to_dict` gives plain JSON values, `from_dict` an equal record again. Both are written
by hand, since opening a large catalog consists of little else. Mappings inside a record are never modified after it was made.

It refuses to judge: which change may follow which state is decided in `fold.py`, where to read next. `entry.py` holds the changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Any, Literal, NamedTuple, Self, TypeAlias

import orjson

from state.objects import ObjectRef

Role: TypeAlias = Literal["base", "delta"]
Scalar: TypeAlias = str | int | float | bool | None
"""A value as JSON has it: dates and timestamps in ISO 8601, decimals as text; never NaN or infinite, integers within 64 bits."""


EDIT, EDITS, COMPACTION = "edit:", "edits:", "compaction:"
"""How the source of a data file begins that was not read from one content: a row changed by hand, several of them, a fold of files."""


def is_content(source: str) -> bool:
    """Whether it is the digest of a content that was read."""
    return not source.startswith((EDIT, EDITS, COMPACTION))


@dataclass(frozen=True, slots=True)
class Column:
    """A column. `id` is the Parquet field id: given once in a table's life, kept by renames, never given again."""

    id: int
    name: str
    type: str

    def to_dict(self) -> dict[str, Any]:
        return {"id": self.id, "name": self.name, "type": self.type}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(**data)


@dataclass(frozen=True, slots=True)
class Derivation:
    """How rows of another schema are read under one: an SQL expression over that schema's columns for each column, in order."""

    schema: int
    columns: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"schema": self.schema, "columns": list(self.columns)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(data["schema"], tuple(data["columns"]))


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of a table in order, under an id that is unique within the table.

    `derivation` is where a migration or a widening made it of another; one without only added columns, and reads older rows by name, or
    is of a table that was made anew. `migrations` are the digests of the spec's migrations that are behind it.
    """

    id: int
    columns: tuple[Column, ...]
    derivation: Derivation | None = None
    migrations: tuple[str, ...] = ()

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "columns": [column.to_dict() for column in self.columns],
            **({"derivation": self.derivation.to_dict()} if self.derivation is not None else {}),
            **({"migrations": list(self.migrations)} if self.migrations else {}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        derivation = Derivation.from_dict(data["derivation"]) if "derivation" in data else None
        columns = tuple([Column.from_dict(column) for column in data["columns"]])
        return cls(data["id"], columns, derivation, tuple(data.get("migrations", ())))


NO_COLUMNS = Schema(0, ())
"""The schema of a table that has none yet: nothing was ingested, or all that was offered has been refused."""


class ColumnStats(NamedTuple):
    """Least and greatest non-null value of a column in one file (None: unknown, or there is none), and its number of nulls."""

    min: Scalar
    max: Scalar
    nulls: int


@dataclass(frozen=True, slots=True)
class DataFile:
    """One Parquet file of a table.

    `source` is the content digest of the input it was made of; `first_row` the ordinal in that input of its first row; `sequence` says
    which file's rows win when a key is in several (the greatest). `key_min` and `key_max` are the least and greatest primary key, one
    value per key column, or None without a primary key. `deletes` counts those of its rows that are tombstones: they delete the row of
    their key. `lost`: nobody has the object any more; readers do without its rows.
    """

    ref: ObjectRef
    role: Role
    sequence: int
    rows: int
    source: str
    first_row: int
    schema_id: int
    key_min: tuple[Scalar, ...] | None = None
    key_max: tuple[Scalar, ...] | None = None
    columns: Mapping[str, ColumnStats] = field(default_factory=dict, hash=False)
    deletes: int = 0
    lost: bool = False

    @property
    def key(self) -> str:
        return self.ref.key

    def to_dict(self) -> dict[str, Any]:
        return {
            "ref": self.ref.to_dict(),
            "role": self.role,
            "sequence": self.sequence,
            "rows": self.rows,
            "source": self.source,
            "first_row": self.first_row,
            "schema_id": self.schema_id,
            "key_min": None if self.key_min is None else list(self.key_min),
            "key_max": None if self.key_max is None else list(self.key_max),
            "columns": {name: {"min": low, "max": high, "nulls": nulls} for name, (low, high, nulls) in self.columns.items()},
            **({"deletes": self.deletes} if self.deletes else {}),
            **({"lost": True} if self.lost else {}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        low, high = data["key_min"], data["key_max"]
        changed = {
            "ref": ObjectRef.from_dict(data["ref"]),
            "key_min": None if low is None else tuple(low),
            "key_max": None if high is None else tuple(high),
            "columns": {name: ColumnStats(**stats) for name, stats in data["columns"].items()},
        }
        return cls(**{**data, **changed})


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


LedgerKind: TypeAlias = Literal["journal", "quarantine", "profile", "edit"]


@dataclass(frozen=True, slots=True)
class Ledger:
    """An object that says something about a table's rows, written and committed with them.

    `journal`: changes of rows by field, as Parquet; it outlives the files that it tells of. `edit`: the delta of a row that was set or
    deleted by hand, which has no other source. `quarantine`: rows of a content that the contract set aside, as Parquet; `profile`: what is
    known of a content's columns, as JSON: both live as long as rows of `source` do.

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
    last ended well, whether or not it brought anything.
    """

    slot: str = ""
    place: str = ""
    reads: str = ""
    inputs: Mapping[str, int] = field(default_factory=dict, hash=False)
    cursor: str = ""
    read: str = ""

    def to_dict(self) -> dict[str, Any]:
        """What is not set is left out."""
        parts = {name: getattr(self, name) for name in ("slot", "place", "reads", "cursor", "read")} | {"inputs": dict(self.inputs)}
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


def extend_schema(
    schema: Schema | None, names_and_types: Iterable[tuple[str, str]], next_id: int, *, schema_id: int | None = None
) -> Schema:
    """`schema` with a column appended for every name it lacks; `schema` itself if it lacks none.

    New columns get the ids from `next_id` on (`Table.next_column_id`; 1 for a new table), the result the id `schema_id`, by default the one
    after `schema`'s. Raises ValueError for a name that is there with another type: changing a type is a decision, not an extension.
    """
    current = schema or NO_COLUMNS
    known = {column.name: column.type for column in current.columns}
    added: list[Column] = []
    for name, type_ in names_and_types:
        if name not in known:
            known[name] = type_
            added.append(Column(next_id + len(added), name, type_))
        elif known[name] != type_:
            raise ValueError(f"column `{name}` is {known[name]}, not {type_}")
    if not added and schema is not None:
        return schema
    number = current.id + 1 if schema_id is None else schema_id
    return Schema(number, (*current.columns, *added), migrations=current.migrations)


@dataclass(frozen=True, slots=True)
class Corpus:
    """The embedded chunks of one table snapshot: a Parquet file in `ref`. `digest` is that of its inputs, `rows` counts source rows.

    `table_at` is when the table's version was committed: with `table_version` it says which version that was, whatever became of the
    table since; "" where it is not known.
    """

    digest: str
    ref: ObjectRef
    rows: int
    chunks: int
    snapshot: str
    table_version: int
    fingerprint: str
    dimension: int
    table_at: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {
            "digest": self.digest,
            "ref": self.ref.to_dict(),
            "rows": self.rows,
            "chunks": self.chunks,
            "snapshot": self.snapshot,
            "table_version": self.table_version,
            "fingerprint": self.fingerprint,
            "dimension": self.dimension,
            "table_at": self.table_at,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(**{**data, "ref": ObjectRef.from_dict(data["ref"])})


@dataclass(frozen=True, slots=True)
class Tail:
    """What became of a table since the snapshot of the corpus `base`: a file in the form of a corpus, with the chunks of rows that are new
    or have other texts, and the keys of those that are gone.

    `changed` rows it tells of, `chunks` it holds, `hidden` chunks of the base that do not count any more, `rows` of the table that are
    indexed by both together. `snapshot`, `table_version` and `table_at` are those of the table that it leads to.
    """

    digest: str
    ref: ObjectRef
    base: str
    snapshot: str
    table_version: int
    table_at: str
    changed: int
    chunks: int
    hidden: int
    rows: int

    def to_dict(self) -> dict[str, Any]:
        return {
            "digest": self.digest,
            "ref": self.ref.to_dict(),
            "base": self.base,
            "snapshot": self.snapshot,
            "table_version": self.table_version,
            "table_at": self.table_at,
            "changed": self.changed,
            "chunks": self.chunks,
            "hidden": self.hidden,
            "rows": self.rows,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(**{**data, "ref": ObjectRef.from_dict(data["ref"])})


@dataclass(frozen=True, slots=True)
class Build:
    """An index built over a corpus. `digest` is that of its inputs (its bytes are not reproducible), `generation` the recipe's name,
    None where the recipe was recommended; `files` by role within the engine; `count` vectors; `seconds` it took."""

    digest: str
    generation: str | None
    engine: str
    parameters: Mapping[str, Any] = field(hash=False)
    corpus: str
    files: Mapping[str, ObjectRef] = field(hash=False)
    count: int
    dimension: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "digest": self.digest,
            "generation": self.generation,
            "engine": self.engine,
            "parameters": dict(self.parameters),
            "corpus": self.corpus,
            "files": {name: ref.to_dict() for name, ref in self.files.items()},
            "count": self.count,
            "dimension": self.dimension,
            "seconds": self.seconds,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(**{**data, "files": {name: ObjectRef.from_dict(ref) for name, ref in data["files"].items()}})


@dataclass(frozen=True, slots=True)
class ServingManifest:
    """What answers a search: a build (by digest), search parameters, and what became of the rows since, if anything did."""

    build: str
    generation: str | None
    search: Mapping[str, Any] = field(default_factory=dict, hash=False)
    tail: Tail | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "build": self.build,
            "generation": self.generation,
            "search": dict(self.search),
            "tail": None if self.tail is None else self.tail.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        tail = data.get("tail")
        return cls(data["build"], data["generation"], data["search"], None if tail is None else Tail.from_dict(tail))


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to answer for an index by somebody's word, until another word: the IndexGeneration of this name as its spec has it, or, where
    `engine` is given, exactly this recipe, that once had the name."""

    generation: str | None
    engine: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)
    search: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def to_dict(self) -> dict[str, Any]:
        known = {"generation": self.generation, "engine": self.engine}
        return known | {"parameters": dict(self.parameters), "search": dict(self.search)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(**data)


@dataclass(frozen=True, slots=True)
class IndexRecord:
    """A logical index: its corpora and builds by digest, what serves now, what served before (the way back), and what is to serve where
    somebody said so."""

    name: str
    corpora: Mapping[str, Corpus] = field(default_factory=dict, hash=False)
    builds: Mapping[str, Build] = field(default_factory=dict, hash=False)
    serving: ServingManifest | None = None
    previous: ServingManifest | None = None
    choice: Choice | None = None

    def same_way(self, one: ServingManifest, other: ServingManifest) -> bool:
        """Whether both answer by the same recipe, searched in the same way, whatever rows they hold. Of builds that are recorded."""
        recipes = [(build.engine, build.parameters) for build in (self.builds[one.build], self.builds[other.build])]
        return recipes[0] == recipes[1] and (one.generation, one.search) == (other.generation, other.search)

    @property
    def tails(self) -> tuple[Tail, ...]:
        """Of what serves, and of what served before."""
        return tuple(manifest.tail for manifest in (self.serving, self.previous) if manifest is not None and manifest.tail is not None)

    @property
    def bucket(self) -> str | None:
        """Where its vectors lie, all of them; None before there are any."""
        refs = chain((corpus.ref for corpus in self.corpora.values()), *(build.files.values() for build in self.builds.values()))
        return next((ref.bucket for ref in refs), None)

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "corpora": [corpus.to_dict() for corpus in self.corpora.values()],
            "builds": [build.to_dict() for build in self.builds.values()],
            "serving": None if self.serving is None else self.serving.to_dict(),
            "previous": None if self.previous is None else self.previous.to_dict(),
            **({"choice": self.choice.to_dict()} if self.choice is not None else {}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        serving, previous = data["serving"], data["previous"]
        return cls(
            data["name"],
            {corpus["digest"]: Corpus.from_dict(corpus) for corpus in data["corpora"]},
            {build["digest"]: Build.from_dict(build) for build in data["builds"]},
            None if serving is None else ServingManifest.from_dict(serving),
            None if previous is None else ServingManifest.from_dict(previous),
            Choice.from_dict(data["choice"]) if "choice" in data else None,
        )
