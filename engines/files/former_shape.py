"""A source file that still has the columns of before a migration, read as if it had the present ones.

Sources are read again when a data file is lost or the table is made anew, and whoever writes them may go on in the former shape. The names
tell: a file is from before a migration if it has a column that the migration gave up, or, where it gave none up, lacks all that it brought.
Where they do not, the catalog does for contents that the table holds. The rows go through the migration before they are written; one that
does not fit refuses the file with its line. Next: `engines/migrations.py`, `ingest.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any, Self

import pyarrow as pa

from engines.files.inference import Evidence
from engines.files.source import ColumnPlan, Contradicted, Reopen, RowReading, SourceFile
from engines.files.types import arrow_type
from engines.migrations import MigrationUnfit, Part, draft, gone, mark
from engines.sql.readings import Reading as Projection
from engines.sql.readings import quote
from specs.kinds.dataset_rules import Migration
from state.catalog.schemas import Column, Schema

_COUNTED = ("string", "int64", "float64", "bool", "date", "timestamp")


@dataclass(frozen=True, slots=True)
class Shape:
    """migrations: of the spec that are behind the table, in order. formers: schemas that the table had, for the types of their columns.
    after: at most so many of the migrations are behind this very content, None where only its names can tell."""

    migrations: tuple[Migration, ...]
    formers: tuple[Schema, ...] = ()
    after: int | None = None

    @property
    def marks(self) -> tuple[str, ...]:
        """Of the migrations."""
        return tuple(mark(migration) for migration in self.migrations)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        said = [migration.model_dump(mode="json", by_alias=True, exclude_defaults=True) for migration in self.migrations]
        return {"migrations": said, "formers": [schema.to_dict() for schema in self.formers], "after": self.after}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Raises KeyError for what `to_dict` does not make."""
        migrations = tuple(Migration.model_validate(said) for said in data["migrations"])
        return cls(migrations, tuple(Schema.from_dict(schema) for schema in data["formers"]), data["after"])

    def pending(self, names: Set[str]) -> tuple[Migration, ...]:
        """The migrations that are yet to be done to a file of these columns."""
        every = len(self.migrations)
        by_names = next((number for number, migration in enumerate(self.migrations) if _precedes(names, migration)), every)
        return self.migrations[min(by_names, every if self.after is None else self.after) :]

    def renamed(self) -> Iterator[tuple[str, str]]:
        """What columns were called, and are called after all migrations, but for those that are given up since."""
        for number, migration in enumerate(self.migrations):
            later = self.migrations[number + 1 :]
            for old, new in migration.rename.items():
                if not any(new in one.rename or new in gone(one) for one in later):
                    yield old, new

    def former_names(self, name: str) -> tuple[str, ...]:
        """What a column was called before, the newest first."""
        found = [name]
        for migration in reversed(self.migrations):
            found += [old for old, new in migration.rename.items() if new == found[-1]]
        return tuple(found[1:])

    def type_before(self, name: str, migrations: Sequence[Migration]) -> str | None:
        """The last type that a column of this name had before the first of the migrations; where no such schema is known, the last that it
        had, unless they make it another."""
        first = mark(migrations[0])
        behind = [schema for schema in self.formers if first not in schema.migrations]
        others = () if any(name in {*one.cast, *one.expression} for one in migrations) else self.formers
        schemas = (*sorted(behind, key=lambda schema: -schema.id), *sorted(others, key=lambda schema: -schema.id))
        columns = (schema.column(name) for schema in schemas)
        return next((column.type for column in columns if column is not None), None)


def _precedes(names: Set[str], migration: Migration) -> bool:
    given_up = ({*migration.rename} | gone(migration)) - migration.brought
    new = migration.brought - set(migration.rename) - gone(migration)
    return not names & new and bool(names & given_up if given_up else new)


@dataclass(slots=True)
class FormerReading:
    """See `source.RowReading`. types: of the file's own columns, where they are not handed through."""

    inner: RowReading
    source: SourceFile
    shape: Shape
    migrations: tuple[Migration, ...]
    key: tuple[str, ...]
    types: dict[str, tuple[str, str]] = field(default_factory=dict)
    stages: tuple[tuple[Part, ...], ...] = ()

    def guesses(self) -> Mapping[str, tuple[str, str]]:
        """Of the present columns. Raises FileRefused, also where a migration cannot be applied to the file's columns."""
        self.types = {name: self._known(name, kind) for name, kind in self.inner.guesses().items()} | self.types
        self._plan()
        return {part.name: self._guess(part) for part in self.stages[-1]}

    def shown(self, inner: Mapping[str, Evidence], types: Mapping[str, tuple[str, str]]) -> dict[str, Evidence]:
        """What the file shows of the present columns. types: as guessed of its own."""
        self.types = {name: self._known(name, kind) for name, kind in types.items()}
        self._plan()
        former = self._former()
        found: dict[str, Evidence] = {}
        for part in self.stages[-1]:
            name = former.get(part.name)
            if name is not None:
                found[part.name] = inner.get(name, Evidence())
                continue
            told = found[part.name] = Evidence()
            told.add_kind(part.type or "string") if part.type in _COUNTED else told.add_type(part.type or "string")
        return found

    def batches(self, plans: Mapping[str, ColumnPlan]) -> Iterator[pa.RecordBatch]:
        """See `source.RowReading`."""
        handed = {former: plans[name] for name, former in self._former().items()}
        own = {name: ColumnPlan(name, *self._own(name)) for name in self.inner.guesses()}
        own |= {name: replace(plan, name=name) for name, plan in handed.items() if name in own}
        row = 0
        try:
            for batch in self.inner.batches(own):
                yield self._present(batch, plans, row)
                row += batch.num_rows
        except Contradicted as contradicted:
            names = {former: plan.name for former, plan in handed.items()}
            self.types |= {name: kind for name, kind in contradicted.types.items() if name not in names}
            told = {names[name]: kind for name, kind in contradicted.types.items() if name in names}
            raise (Contradicted(told) if told else Reopen()) from None

    def line_of(self, row: int) -> int | None:
        """See `source.RowReading`."""
        return self.inner.line_of(row)

    def progress(self) -> int:
        """See `source.RowReading`."""
        return self.inner.progress()

    def notes(self) -> Sequence[str]:
        """See `source.RowReading`."""
        return self.inner.notes()

    def _type_before(self, name: str) -> str | None:
        return self.shape.type_before(name, self.migrations)

    def _known(self, name: str, guessed: tuple[str, str]) -> tuple[str, str]:
        known = self._type_before(name)
        return (known, "the table's") if known is not None else guessed

    def _own(self, name: str) -> tuple[str, Any]:
        return self.types[name][0], "table" if self._type_before(name) == self.types[name][0] else "guess"

    def _guess(self, part: Part) -> tuple[str, str]:
        computed = part.type or "string", "a migration of the spec computes it"
        return self.types.get(self._former().get(part.name, ""), computed)

    def _plan(self) -> None:
        from engines.sql.migrating import types_of

        columns = tuple(Column(number, name, kind) for number, (name, (kind, _)) in enumerate(self.types.items(), 1))
        keys = [self.key]
        for migration in reversed(self.migrations):
            back = {new: old for old, new in migration.rename.items()}
            keys.insert(0, tuple(back.get(name, name) for name in keys[0]))
        stages = []
        for migration, named in zip(self.migrations, keys, strict=False):
            schema = self._with_missing(migration, Schema(0, columns))
            try:
                parts = draft(migration, schema, named)
                types = types_of(parts, [(column.name, column.type) for column in schema.columns])
            except (MigrationUnfit, ValueError) as error:
                reason = f"has the columns of schema {migration.from_}, and `migrations` of the spec does not fit them: {error}"
                raise self.source.refused(None, reason, remedy="Write it with the table's present columns.") from error
            stages.append(tuple(replace(part, type=part.type or types[part.name]) for part in parts))
            columns = tuple(Column(number, part.name, part.type or "string") for number, part in enumerate(stages[-1], 1))
        self.stages = tuple(stages)

    def _with_missing(self, migration: Migration, schema: Schema) -> Schema:
        """With the columns that the migration is about and the file lacks: they are null."""
        there = {column.name for column in schema.columns}
        joined = [name for concat in migration.concat.values() for name in concat.columns]
        about = dict.fromkeys([*migration.rename, *migration.cast, *migration.split, *joined, *migration.drop])
        missing = [name for name in about if name not in there and name not in migration.expression]
        added = tuple(Column(len(there) + number, name, self._type_before(name) or "string") for number, name in enumerate(missing, 1))
        return replace(schema, columns=(*schema.columns, *added))

    def _former(self) -> dict[str, str]:
        """Columns that are handed through, with what they are called in the file."""
        names = {name: name for name in self.types}
        for stage in self.stages:
            quoted = {quote(name): former for name, former in names.items()}
            names = {part.name: quoted[part.sql] for part in stage if part.sql in quoted}
        return names

    def _present(self, batch: pa.RecordBatch, plans: Mapping[str, ColumnPlan], row: int) -> pa.RecordBatch:
        from engines.sql.migrating import RowUnfit, try_rows
        from engines.sql.problems import QueryProblem, translated
        from engines.sql.projection import projected_rows, view_schema

        schema = view_schema([(name, plan.type) for name, plan in plans.items()])
        rows = pa.Table.from_batches([batch])
        former = self._former()
        handed = {own: plans[name].type for name, own in former.items()}
        columns = [(name, handed.get(name, kind)) for name, (kind, _) in self.types.items()]
        missing = [column for column in self._missing() if column[0] not in self.types]
        reading = Projection((*columns, *missing), tuple(_stage(stage) for stage in self.stages))
        try:
            try_rows(_with_nulls(rows, missing), [part for part in self.stages[0] if part.name not in former], reading.columns)
            with translated():
                found = projected_rows(rows, reading, schema)
        except RowUnfit as unfit:
            raise self._refused(row + unfit.index, unfit.reason) from unfit
        except QueryProblem as problem:
            raise self._refused(None, f"a migration of the spec fails on its rows: {problem.message}") from problem
        return found.combine_chunks().to_batches()[0] if found.num_rows else pa.RecordBatch.from_pylist([], schema=found.schema)

    def _missing(self) -> Sequence[tuple[str, str]]:
        schema = self._with_missing(self.migrations[0], Schema(0, tuple(Column(1, name, kind) for name, (kind, _) in self.types.items())))
        return [(column.name, column.type) for column in schema.columns]

    def _refused(self, row: int | None, reason: str) -> Exception:
        line = None if row is None else self.line_of(row)
        where = "" if line is not None or row is None else f"row {row + 1}: "
        remedy = "Correct the row, or write the file with the table's present columns."
        return self.source.refused(line, f"{where}{reason}", remedy=remedy)


def _stage(parts: Sequence[Part]) -> tuple[tuple[str, str], ...]:
    return tuple((part.name, part.sql) for part in parts)


def _with_nulls(rows: pa.Table, missing: Sequence[tuple[str, str]]) -> pa.Table:
    for name, kind in missing:
        rows = rows.append_column(name, pa.nulls(rows.num_rows, arrow_type(kind)))
    return rows
