"""What the ingest of one source file is told, and what came of it. Plain data; next: `ingest.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

from engines.files.contract import Terms
from engines.files.formats import Format
from engines.files.former_shape import Shape
from engines.files.inference import ColumnGuess
from engines.files.ledgers import Noted
from engines.files.said import Said
from engines.files.source import (
    ReadOptions,
    SourceFile,
)
from engines.row_keys import DELETED_COLUMN
from state.catalog.data_files import DataFile
from state.catalog.schemas import Schema
from state.places import BucketConfig

Write = Literal["append", "upsert", "replace"]
Progress = Callable[[int, int], None]
"""Told (bytes done, bytes in all), about once a block."""


@dataclass(frozen=True, slots=True)
class IngestTask:
    """What to make of one file.

    path: absolute; display_path: as the operator calls it; digest: of the content, as the caller found it together with size and
    mtime_ns (if these are given, a file that has become another since is FileChanged). schema: the table's, None for its first file; new
    columns get the ids from next_column_id on, and the extended schema the id next_schema_id. overrides: column -> type, the operator's
    word for columns that schema does not know (where it does, schema says the type). key_prefix: of the parts' keys. sequence: the place
    that the rows will have among the table's. contract: None for a table without one. shape: what tells a file of before a migration; None
    where there are none. formers: former schemas that the parts are to tell of. hidden: see `SourceFile`. said: of an upsert, what
    the file's rows are compared with; None to apply all.
    """

    dataset: str
    path: str
    display_path: str
    digest: str
    format: Format
    target: BucketConfig
    key_prefix: str
    transformation: str
    options: ReadOptions = field(default_factory=ReadOptions)
    schema: Schema | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)
    primary_key: tuple[str, ...] = ()
    write: Write = "append"
    next_column_id: int = 1
    next_schema_id: int = 1
    sequence: int = 0
    size: int | None = None
    mtime_ns: int | None = None
    tombstone: str | None = None
    contract: Terms | None = None
    shape: Shape | None = None
    formers: tuple[Schema, ...] = ()
    hidden: tuple[str, ...] = ()
    said: Said | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        return {
            "dataset": self.dataset,
            "path": self.path,
            "display_path": self.display_path,
            "digest": self.digest,
            "format": self.format,
            "target": self.target.to_dict(),
            "key_prefix": self.key_prefix,
            "transformation": self.transformation,
            "options": self.options.to_dict(),
            "schema": None if self.schema is None else self.schema.to_dict(),
            "overrides": dict(self.overrides),
            "primary_key": list(self.primary_key),
            "write": self.write,
            "next_column_id": self.next_column_id,
            "next_schema_id": self.next_schema_id,
            "sequence": self.sequence,
            "size": self.size,
            "mtime_ns": self.mtime_ns,
            "tombstone": self.tombstone,
            "contract": self.contract and self.contract.to_dict(),
            "shape": None if self.shape is None else self.shape.to_dict(),
            "formers": [schema.to_dict() for schema in self.formers],
            "hidden": list(self.hidden),
            "said": self.said and self.said.to_dict(),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Raises KeyError or TypeError for what `to_dict` does not make."""
        schema, contract, shape = document["schema"], document["contract"], document["shape"]
        parsed = {
            "contract": None if contract is None else Terms.from_dict(contract),
            "target": BucketConfig.from_dict(document["target"]),
            "options": ReadOptions.from_dict(document["options"]),
            "schema": None if schema is None else Schema.from_dict(schema),
            "primary_key": tuple(document["primary_key"]),
            "shape": None if shape is None else Shape.from_dict(shape),
            "formers": tuple(Schema.from_dict(former) for former in document["formers"]),
            "hidden": tuple(document["hidden"]),
            "said": None if document["said"] is None else Said.from_dict(document["said"]),
        }
        return cls(**{**document, **parsed})

    @property
    def is_edit(self) -> bool:
        """Whether it is the delta of a row that was set or deleted by hand."""
        return self.tombstone == DELETED_COLUMN

    @property
    def source(self) -> SourceFile:
        """The file, to be read."""
        lenient = self.contract is not None and self.contract.on_violation == "quarantine"
        options = replace(self.options, skip_ragged=lenient)
        return SourceFile(Path(self.path), self.display_path, self.format, options, frozenset(self.hidden))


@dataclass(frozen=True, slots=True)
class IngestResult:
    """The parts in order (none for a file without rows).

    rows: in all parts. schema: the task's, or an extension of it. guesses: what was decided here about new columns, and why.
    warnings: sentences. ledgers: what is to be noted with the rows. violations: a sentence on rows that break the contract.
    """

    files: tuple[DataFile, ...]
    schema: Schema
    rows: int
    guesses: tuple[ColumnGuess, ...] = ()
    warnings: tuple[str, ...] = ()
    ledgers: tuple[Noted, ...] = ()
    violations: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        return {
            "files": [file.to_dict() for file in self.files],
            "schema": self.schema.to_dict(),
            "rows": self.rows,
            "guesses": [[guess.name, guess.type, guess.reason] for guess in self.guesses],
            "warnings": list(self.warnings),
            "ledgers": [noted.to_dict() for noted in self.ledgers],
            "violations": self.violations,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Raises KeyError for what `to_dict` does not make."""
        return cls(
            tuple(DataFile.from_dict(file) for file in document["files"]),
            Schema.from_dict(document["schema"]),
            document["rows"],
            tuple(ColumnGuess(*guess) for guess in document["guesses"]),
            tuple(document["warnings"]),
            tuple(Noted.from_dict(noted) for noted in document["ledgers"]),
            document["violations"],
        )
