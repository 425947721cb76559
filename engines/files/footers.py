"""What the footer of a part says: all that the catalog knows of it, so that either can be checked, and the catalog rebuilt, by the other.

`read_footer` takes any Parquet file that a `TableWriter` wrote. One of a former version says less: `complete` is False, and only rows and
columns can be compared. It reads no rows, and refuses to say whether they are what they should be: that takes the SHA-256 of the reference.
Next: `table_writer.py`, which writes footers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from engines.files.statistics import Key, column_stats
from engines.files.table_writer import HIDDEN, Content
from engines.files.types import from_arrow
from state.catalog.data_files import DataFile, Role
from state.catalog.schemas import Column, Schema
from state.objects import ObjectRef

_KEYS = tuple(f"lakehouse.{name}".encode() for name in ("dataset", "columns", "source", "transformation", "table", "part"))
_FIELD_ID = b"PARQUET:field_id"


@dataclass(frozen=True, slots=True)
class Written:
    """What a table was when the part was written: see `Provenance` and `DataFile`. `last`: no other part of the source follows."""

    dataset: str
    path: str
    source: str
    size: int
    transformation: str
    write: str
    primary_key: tuple[str, ...]
    role: Role
    sequence: int
    first_row: int
    key_min: Key | None
    key_max: Key | None
    deletes: int
    last: bool
    folds: tuple[str, ...] = ()
    contents: tuple[Content, ...] = ()
    basis: str = ""


@dataclass(frozen=True, slots=True)
class Footer:
    """`schema`: as written; `formers` that the table had before, where its files are not all read by name. `written` is None where an older
    version wrote the part."""

    rows: int
    schema: Schema
    written: Written | None
    _file: pq.FileMetaData
    formers: tuple[Schema, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether a catalog can be rebuilt from it."""
        return self.written is not None

    def corrected(self, file: DataFile) -> DataFile:
        """The catalog's entry with what the footer knows better: the number of rows, and the columns' statistics."""
        stats = column_stats(self._file, [column.name for column in self.schema.columns])
        return replace(file, rows=self.rows, columns=stats)

    def data_file(self, ref: ObjectRef) -> DataFile:
        """The entry that a catalog has of the part. Only of a complete footer."""
        assert self.written is not None
        made = self.written
        empty = DataFile(ref, made.role, made.sequence, self.rows, made.source, made.first_row, self.schema.id, made.key_min, made.key_max)
        return self.corrected(replace(empty, deletes=made.deletes))


def read_footer(path: Path) -> Footer:
    """Raises ValueError for what is no Parquet file of ours, with the reason; OSError."""
    try:
        found = pq.read_metadata(path)
        arrow = found.schema.to_arrow_schema()
    except pa.ArrowException as error:
        raise ValueError(f"it has no Parquet footer: {str(error).splitlines()[0]}") from error
    columns = tuple(_column(field) for field in arrow if field.name not in HIDDEN)
    said = {key.decode().removeprefix("lakehouse."): value for key, value in (found.metadata or {}).items() if key in _KEYS}
    try:
        written = _written(said) if len(said) == len(_KEYS) else None
        number = orjson.loads(said["columns"])
        formers = tuple(Schema.from_dict(former) for former in number.get("formers", ()))
        schema = Schema.from_dict({**number, "id": int(number["id" if "id" in number else "schema"]), "columns": []})
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"its footer is none of ours: {error}") from error
    return Footer(found.num_rows, replace(schema, columns=columns), written, found, formers)


def _column(field: pa.Field) -> Column:
    return Column(int((field.metadata or {}).get(_FIELD_ID, b"0")), field.name, from_arrow(field.type))


def _written(said: dict[str, bytes]) -> Written:
    source, table, part = (orjson.loads(said[name]) for name in ("source", "table", "part"))
    return Written(
        dataset=said["dataset"].decode(),
        path=source["path"],
        source=source["digest"],
        size=int(source["size"] or 0),
        transformation=said["transformation"].decode(),
        write=table["write"],
        primary_key=tuple(table["primaryKey"]),
        role=table["role"],
        sequence=table["sequence"],
        first_row=part["firstRow"],
        key_min=_key(part["keyMin"]),
        key_max=_key(part["keyMax"]),
        deletes=part.get("deletes", 0),
        last=part["last"],
        folds=tuple(source.get("folds", ())),
        contents=tuple(Content(*content) for content in part.get("contents", ())),
        basis=source.get("basis", ""),
    )


def _key(values: list[Any] | None) -> Key | None:
    return None if values is None else tuple(values)
