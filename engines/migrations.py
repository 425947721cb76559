"""What a migration of the spec makes of a schema: columns with the SQL that gives them; pure.

All of a migration is over the columns as they were: a rename keeps a column's id and place, and so does a cast; what is split, joined or
dropped is gone; an expression gives a new column, or takes the place of the one of its name. A column of the primary key can be renamed
and no more, since rows would change places. Next: `sql/migrating.py`, which tries a draft on the rows there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from engines.sql.readings import quote, sql_type
from specs.digests import digest
from specs.kinds.dataset_rules import Migration, Split
from specs.model import dump
from specs.suggestions import did_you_mean
from state.catalog.schemas import Column, Derivation, Schema


class MigrationUnfit(Exception):
    """A migration cannot be applied to a schema; the sentence says why and what to do."""


@dataclass(frozen=True, slots=True)
class Part:
    """A column to be. id: the one that it keeps, None for a new one; type: None where only the expression knows; cast: the former column
    whose values become of another type; computed: whether it is an expression of the spec, which may fail on a row."""

    name: str
    sql: str
    type: str | None
    id: int | None = None
    cast: str | None = None
    computed: bool = False

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Of what `asdict` gave."""
        return cls(**data)


def mark(migration: Migration) -> str:
    """What a schema remembers a migration by."""
    return digest(dump(migration))


def draft(migration: Migration, schema: Schema, key: Sequence[str]) -> tuple[Part, ...]:
    """The columns that the migration makes of a schema's. Raises MigrationUnfit."""
    _check(migration, schema, key)
    parts: list[Part] = []
    for column in schema.columns:
        parts += _parts(migration, column, schema)
    names = {part.name: position for position, part in enumerate(parts)}
    for name, sql in migration.expression.items():
        part = Part(name, sql, migration.cast.get(name) if name not in names else None, computed=True)
        part = part if part.type is None else Part(name, f"CAST(({sql}) AS {sql_type(part.type)})", part.type, computed=True)
        if name in names:
            parts[names[name]] = part
        else:
            parts.append(part)
    twice = [name for name, count in Counter(part.name for part in parts).items() if count > 1]
    if twice:
        raise MigrationUnfit(f"two columns would be named `{twice[0]}`; drop or rename one of them as well")
    if not parts:
        raise MigrationUnfit("no column would be left; keep one")
    return tuple(parts)


def _parts(migration: Migration, column: Column, schema: Schema) -> Iterator[Part]:
    """What becomes of one column."""
    name = column.name
    if name in migration.split:
        yield from _split(name, migration.split[name])
    for joined, concat in migration.concat.items():
        if concat.columns[0] == name:
            texts = ", ".join(f"CAST({quote(part)} AS VARCHAR)" for part in concat.columns)
            yield Part(joined, f"nullif(concat_ws({_literal(concat.separator)}, {texts}), '')", "string")
    if name in gone(migration):
        return
    new, target = migration.rename.get(name, name), migration.cast.get(name, column.type)
    if target == column.type:
        yield Part(new, quote(name), column.type, column.id)
    else:
        yield Part(new, cast_sql(column, target), target, column.id, cast=name)


def cast_sql(column: Column, target: str) -> str:
    """A column's values as another type; an empty text is null."""
    value = f"nullif({quote(column.name)}, '')" if column.type == "string" and target != "binary" else quote(column.name)
    return f"CAST({value} AS {sql_type(target)})"


def _split(name: str, split: Split) -> Iterator[Part]:
    text, separator = quote(name), _literal(split.separator)
    heads = [f"split_part({text}, {separator}, {number})" for number in range(1, len(split.into))]
    begins = " + ".join([*(f"character_length({head})" for head in heads), str(len(heads) * len(split.separator) + 1)])
    for new, sql in zip(split.into, [*heads, f"substr({text}, {begins})"], strict=True):
        yield Part(new, f"nullif({sql}, '')", "string")


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def gone(migration: Migration) -> set[str]:
    """Names that no column has any more, unless another one takes it."""
    joined = (name for concat in migration.concat.values() for name in concat.columns)
    return {*migration.drop, *migration.split, *joined}


def _type(schema: Schema, name: str) -> str | None:
    column = schema.column(name)
    return None if column is None else column.type


def _check(migration: Migration, schema: Schema, key: Sequence[str]) -> None:
    known = [column.name for column in schema.columns]
    uses = _uses(migration)
    for what, name in uses:
        if name not in known and not (what == "cast" and name in migration.expression):
            hint = did_you_mean(name, known) or f"it has {', '.join(known[:20])}"
            raise MigrationUnfit(f"`{what}` names `{name}`, which schema {schema.id} has not; {hint}")
    for what, name in [*uses, *(("expression", name) for name in migration.expression)]:
        if name in key and what != "rename":
            raise MigrationUnfit(f"`{what}` names `{name}`, which is in the primary key: that can be renamed, and no more")
    _check_once(uses)
    _check_types(migration, schema)


def _check_once(uses: Sequence[tuple[str, str]]) -> None:
    """A column may be renamed and cast; else one thing becomes of it."""
    for name in dict.fromkeys(used for _, used in uses):
        whats = [what for what, used in uses if used == name]
        if len(whats) > 1 and whats != ["rename", "cast"]:
            raise MigrationUnfit(f"`{name}` is named by `{whats[0]}` and by `{whats[1]}`; say one of them")


def _check_types(migration: Migration, schema: Schema) -> None:
    for name in migration.split:
        if _type(schema, name) != "string":
            raise MigrationUnfit(f"`split` names `{name}`, which is {_type(schema, name)}; only text can be split")
    for name, target in migration.cast.items():
        if "list<" in target or "list<" in (_type(schema, name) or ""):
            raise MigrationUnfit(f"`cast` of `{name}`: lists cannot be cast; say how by an `expression`")


def _uses(migration: Migration) -> list[tuple[str, str]]:
    """(field, former column) of all that it says."""
    fields: dict[str, Sequence[str]] = {
        "rename": list(migration.rename),
        "cast": list(migration.cast),
        "split": list(migration.split),
        "concat": [name for concat in migration.concat.values() for name in concat.columns],
        "drop": list(migration.drop),
    }
    return [(field, name) for field, names in fields.items() for name in names]


def schema_of(
    parts: Sequence[Part], types: Mapping[str, str], former: Schema, next_column_id: int, schema_id: int, marks: Sequence[str]
) -> Schema:
    """The schema that a draft becomes. types: of the columns whose expression alone knew; marks: of the migrations behind it."""
    columns: list[Column] = []
    for part in parts:
        number = part.id if part.id is not None else next_column_id
        next_column_id += part.id is None
        columns.append(Column(number, part.name, part.type or types[part.name]))
    return Schema(schema_id, tuple(columns), Derivation(former.id, tuple(part.sql for part in parts)), tuple(marks))


def words(migration: Migration) -> str:
    """What it does, in a line."""
    said = [f"rename {old} to {new}" for old, new in migration.rename.items()]
    said += [f"{name} becomes {kind}" for name, kind in migration.cast.items() if name not in migration.expression]
    said += [f"split {name} into {', '.join(split.into)}" for name, split in migration.split.items()]
    said += [f"join {', '.join(concat.columns)} to {name}" for name, concat in migration.concat.items()]
    said += [f"compute {name}" for name in migration.expression]
    said += [f"drop {', '.join(migration.drop)}"] if migration.drop else []
    return "; ".join(said) or "nothing"
