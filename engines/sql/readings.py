"""How files of one schema are read under another; pure. What a migration says lies in the catalog, as `Schema.derivation`.

Towards a later schema, every migration in between is a stage: a list of SQL expressions over what the one before gave. Columns that were
added in between are null. Towards a former schema, a column is found by its id, whatever it is called by then; where it is gone it is null,
and so is a value that the former type cannot say. Files between which and the wanted schema only columns were added have no reading: they
are read by name, which costs nothing.

Next: `views.py`, which groups a table's files by this; `projection.py`, which applies it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self, TypeAlias

from engines.files.object_place import Remote
from state.catalog.schemas import Column, Schema
from state.catalog.tables import Table

Stage: TypeAlias = tuple[tuple[str, str], ...]
"""(name, SQL expression) of each column, in order."""

_SQL_TYPES = {
    "string": "VARCHAR",
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "bool": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP(6)",
    "binary": "BYTEA",
}


@dataclass(frozen=True, slots=True)
class Reading:
    """columns: (name, our type) as the files are opened, by name; stages: what becomes of them, one after the other."""

    columns: tuple[tuple[str, str], ...]
    stages: tuple[Stage, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        return {"columns": [list(column) for column in self.columns], "stages": [[list(part) for part in stage] for stage in self.stages]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Raises KeyError or ValueError for what `to_dict` does not make."""
        columns = tuple((name, kind) for name, kind in data["columns"])
        return cls(columns, tuple(tuple((name, sql) for name, sql in stage) for stage in data["stages"]))


@dataclass(frozen=True, slots=True)
class PartFile:
    """A file of a table's rows. path: a local one's; reading: how it is brought under the table's columns; None: by name. remote: what
    is to be fetched first; there is no path until then (`engines/files/former_parts.py`)."""

    path: str
    reading: Reading | None = None
    remote: Remote | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        return {"path": self.path, "reading": self.reading and self.reading.to_dict(), "remote": self.remote and self.remote.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Raises KeyError for what `to_dict` does not make."""
        reading, remote = data["reading"], data["remote"]
        parsed = None if reading is None else Reading.from_dict(reading)
        return cls(data["path"], parsed, None if remote is None else Remote.from_dict(remote))


def readings(table: Table) -> dict[int, Reading]:
    """Of the table's files that are not read by name, by the id of the schema they were written under."""
    found = {written: reading(table.schemas, written, table.schema) for written in {file.schema_id for file in table.files}}
    return {written: one for written, one in sorted(found.items()) if one is not None}


def reading(schemas: Iterable[Schema], written: int, wanted: Schema) -> Reading | None:
    """How a file of schema `written` is read under the wanted one; None: by name."""
    by_id = {schema.id: schema for schema in schemas}
    if written > wanted.id:
        return _back(by_id[written], wanted)
    steps = [schema for number, schema in sorted(by_id.items()) if written < number <= wanted.id and schema.derivation is not None]
    if not steps:
        return None
    have = first = by_id[_former_id(steps[0])]
    stages: list[Stage] = []
    for step in steps:
        stages += _completed(have, by_id[_former_id(step)])
        assert step.derivation is not None
        stages.append(tuple((column.name, sql) for column, sql in zip(step.columns, step.derivation.columns, strict=True)))
        have = step
    stages += _completed(have, wanted)
    return Reading(tuple((column.name, column.type) for column in first.columns), tuple(stages))


def _former_id(schema: Schema) -> int:
    assert schema.derivation is not None
    return schema.derivation.schema


def _completed(have: Schema, wanted: Schema) -> Iterator[Stage]:
    """The stage that adds the columns which came since."""
    names = {column.name for column in have.columns}
    if any(column.name not in names for column in wanted.columns):
        yield tuple((column.name, quote(column.name) if column.name in names else null(column.type)) for column in wanted.columns)


def _back(have: Schema, wanted: Schema) -> Reading | None:
    """By the ids of columns."""
    by_id, by_name = {column.id: column for column in have.columns}, {column.name: column for column in have.columns}
    if all(by_id.get(column.id) == by_name.get(column.name) in (None, column) for column in wanted.columns):
        return None
    stage = tuple((column.name, _found(by_id.get(column.id), column)) for column in wanted.columns)
    return Reading(tuple((column.name, column.type) for column in have.columns), (stage,))


def _found(column: Column | None, wanted: Column) -> str:
    if column is None:
        return null(wanted.type)
    name = quote(column.name)
    if column.type == wanted.type:
        return name
    if column.type not in _SQL_TYPES and not column.type.startswith("decimal"):
        return null(wanted.type)
    there = f"TRY_CAST({name} AS {sql_type(wanted.type)})"
    return f"CASE WHEN TRY_CAST({there} AS {sql_type(column.type)}) = {name} THEN {there} END"


def under(table: Table, schema_id: int) -> Table:
    """The table as read under one of its former schemas, with its key by the names it has there. Raises KeyError for one that is not among
    `readable_under`."""
    wanted = readable_under(table)[schema_id]
    names = {column.id: column.name for column in wanted.columns}
    ids = {column.name: column.id for column in table.columns}
    key = tuple(names[ids[name]] for name in table.primary_key)
    return replace(table, schemas=(*(schema for schema in table.schemas if schema is not wanted), wanted), primary_key=key)


def readable_under(table: Table) -> dict[int, Schema]:
    """The schemas that the table's rows can be read under, by id: those of rows that were made anew since share no column with them."""
    ids = {column.id for column in table.columns}
    keys = {column.id for column in table.columns if column.name in table.primary_key}
    found = {schema.id: {column.id for column in schema.columns} for schema in table.schemas}
    return {schema.id: schema for schema in table.schemas if found[schema.id] & ids and keys <= found[schema.id]}


def lineage(table: Table) -> tuple[Schema, ...]:
    """The former schemas that files may be of, where one of them is not read by name. New files tell of them, so that a catalog which is
    rebuilt from files can read them all."""
    ids = {column.id for column in table.columns}
    found: list[Schema] = []
    for schema in sorted(table.schemas, key=lambda schema: -schema.id):
        own = {column.id for column in schema.columns}
        if ids & own:
            ids |= own
            found.insert(0, schema)
    return tuple(found) if any(schema.derivation is not None for schema in found) else ()


def sql_type(kind: str) -> str:
    """One of our column types in SQL. Raises KeyError for lists, which SQL cannot name."""
    return kind.upper() if kind.startswith("decimal") else _SQL_TYPES[kind]


def null(kind: str) -> str:
    """A null of one of our column types. Of a list it is untyped, until the projection's last step types it."""
    return f"CAST(NULL AS {sql_type(kind)})" if not kind.startswith("list<") else "NULL"


def quote(name: str) -> str:
    """A column's name as a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
