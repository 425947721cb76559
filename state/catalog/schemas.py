"""What the catalog keeps of a table's columns: schemas, and how rows of one are read under another. Records as in `tables.py`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self


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
