"""How a changed spec changes the columns of a table that has rows, without reading their sources again; pure.

A migration of the spec that the present schema does not have behind it is next. Beside that, only what is surely exact applies by itself: a
column whose type the spec widens, a type for a column that no row has yet. Whatever else changes in how files are read means that they are
read again. What a migration does to rows is tried before it is committed (`engines/sql/migrating.py`); what does not fit is remembered as a
refusal, so that it is tried again when migration or rows are others. Next: `migration.py`, the hands.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from controllers.step import Work
from engines.files.former_shape import Shape
from engines.migrations import MigrationUnfit, Part, cast_sql, draft, mark, words
from engines.sql.readings import quote
from engines.widening import surely_exact, widens
from specs.digests import digest
from specs.kinds.dataset import DatasetSpec, reading
from specs.kinds.dataset_rules import Migration
from state.catalog.schemas import Column, Schema
from state.catalog.tables import Table

KEY = "primaryKey"


@dataclass(frozen=True, slots=True)
class Evolve:
    """Reads the table's rows under another schema from now on.

    Args:
        parts: its columns; none where only the way that files are read is another, without consequence for rows there are.
        marks: of the migrations that are behind it. number: of the spec's migrations, None for a widening.
        key: the primary key from then on. tried: names what was tried on which rows, where it does not fit.
    """

    why: str
    said: str
    parts: tuple[Part, ...]
    marks: tuple[str, ...]
    key: tuple[str, ...]
    transformation: str
    tried: str = ""
    number: int | None = None
    work: Work | None = None

    @property
    def path(self) -> str:
        """Where in the spec it is."""
        return place(self.number or 0)

    def summary(self) -> str:
        """See `Step`."""
        return self.said


@dataclass(frozen=True, slots=True)
class Unfit:
    """A migration that cannot be applied, or a key that the table has not. path: in the spec; said: what it says, in words."""

    path: str
    said: str
    reason: str


def place(number: int) -> str:
    """Where a migration is in the spec."""
    return f"migrations[{number}]"


def evolution(spec: DatasetSpec, table: Table, wanted: str) -> Evolve | Unfit | None:
    """What comes before any file is followed. wanted: the transformation that the spec asks for."""
    if not table.columns:
        return None
    found = pending(spec, table)
    if found:
        return _migration(spec, table, wanted, *found[0], last=len(found) == 1)
    lost = [name for name in spec.primary_key if table.schema.column(name) is None]
    if table.transformation == wanted and lost:
        return _keyless(table, lost)
    left_behind = any(table.schema.column(name) is None for name in table.primary_key)
    return _accepted(spec, table, wanted) if table.transformation != wanted or left_behind else None


def _keyless(table: Table, lost: Sequence[str]) -> Unfit:
    """A table whose key went by the name of before a migration, which `specs.kinds.dataset_rules.unfollowed_keys` refuses by now."""
    formers = [column for schema in table.schemas for column in schema.columns if column.name == lost[0]]
    present = next((column.name for column in table.columns for former in formers if former.id == column.id), None)
    remedy = f"it is `{present}` since" if present else f"it has {', '.join(column.name for column in table.columns[:20])}"
    return Unfit(KEY, ", ".join(lost), f"schema {table.schema.id} has no column `{lost[0]}`; {remedy}")


def pending(spec: DatasetSpec, table: Table) -> list[tuple[int, Migration]]:
    """The migrations of the spec that are not behind the table's schema, with their places among all."""
    return [(number, one) for number, one in enumerate(spec.migrations) if mark(one) not in table.schema.migrations]


def shapes(spec: DatasetSpec, table: Table | None) -> Callable[[str | None], Shape | None]:
    """What tells whether a content is of before a migration, by its digest (None: nobody knows it); None where the spec
    has none."""
    if not spec.migrations:
        return lambda _: None
    known = Shape(spec.migrations, () if table is None else table.schemas)
    behind = {schema.id: sum(one in schema.migrations for one in known.marks) for schema in known.formers}
    after = {} if table is None else {file.source: behind[file.schema_id] for file in table.files}
    return lambda source: replace(known, after=after.get(source or ""))


def _migration(spec: DatasetSpec, table: Table, wanted: str, number: int, migration: Migration, *, last: bool) -> Evolve | Unfit:
    said = words(migration)
    try:
        _check_from(migration.from_, table)
        parts = draft(migration, table.schema, table.primary_key)
    except MigrationUnfit as unfit:
        return Unfit(place(number), said, str(unfit))
    tried = digest([mark(migration), table.snapshot])
    refusal = table.refusals.get(place(number))
    if refusal is not None and refusal.digest == tried:
        return Unfit(place(number), said, refusal.reason)
    renamed = {former: part.name for part in parts for former in _former_names(table, part)}
    key = tuple(renamed.get(name, name) for name in table.primary_key)
    known = {part.name: part.type for part in parts}
    agreed = all(known[name] in (None, column.type) for name, column in spec.columns.items() if name in known and column.type is not None)
    explained = last and agreed and _explains(spec, table, [(part.id, part.name) for part in parts])
    if last and not explained and table.transformation == wanted and key != tuple(spec.primary_key):
        # the spec says what it said before, of other columns
        reason = f"`primaryKey` would name another column than before; write `primaryKey: [{', '.join(key)}]`"
        return Unfit(place(number), said, reason)
    return Evolve(
        f"{place(number)} of the spec is from schema {migration.from_}", said, parts, (*table.schema.migrations, mark(migration)),
        tuple(spec.primary_key) if explained else key, wanted if explained else table.transformation, tried, number,
        Work("migrate", table.size),
    )  # fmt: skip


def _former_names(table: Table, part: Part) -> Iterator[str]:
    yield from (column.name for column in table.columns if column.id == part.id)


def _check_from(number: int, table: Table) -> None:
    """Raises MigrationUnfit unless the present schema is that one, or one that only added columns to it."""
    present = table.schema
    by_id = {schema.id: schema for schema in table.schemas}
    remedy = f"rows are of schema {present.id} now: write `from: {present.id}`"
    if number not in by_id:
        raise MigrationUnfit(f"there is no schema {number}; {remedy}")
    if number > present.id or any(number < other <= present.id and by_id[other].derivation is not None for other in by_id):
        raise MigrationUnfit(f"schema {number} was left by another migration; {remedy}")
    if not {column.id for column in by_id[number].columns} <= {column.id for column in present.columns}:
        raise MigrationUnfit(f"the table was made anew since schema {number}; {remedy}")


def _accepted(spec: DatasetSpec, table: Table, wanted: str) -> Evolve | None:
    """Another way of reading files that changes nothing of the rows there are but widens types. The key is the same by its present names:
    what the table has may be those of before."""
    said = {name: column.type for name, column in spec.columns.items() if column.type is not None}
    wider = {column.name: said[column.name] for column in table.columns if said.get(column.name, column.type) != column.type}
    if any(not _surely(table, name, kind) for name, kind in wider.items()):
        return None
    if not _explains(spec, table, [(column.id, column.name) for column in table.columns]):
        return None
    parts = tuple(_wider(column, wider.get(column.name, column.type)) for column in table.columns) if wider else ()
    told = _wider_words(wider)
    return Evolve(
        "the spec says another type", told or "read files as the spec says now; the rows there are stay", parts, table.schema.migrations,
        tuple(spec.primary_key), wanted,
    )  # fmt: skip


def _wider_words(types: Mapping[str, str]) -> str:
    return "; ".join(f"{name} becomes {kind}, which keeps every value" for name, kind in types.items())


def widening_words(former: Schema, wider: Schema) -> str:
    """What a file that did not fit has made of the columns."""
    known = {column.id: column.type for column in former.columns}
    return _wider_words({column.name: column.type for column in wider.columns if known.get(column.id, column.type) != column.type})


def _surely(table: Table, name: str, kind: str) -> bool:
    column = table.schema.column(name)
    assert column is not None
    return name not in table.primary_key and widens(column.type, kind) and surely_exact(table, column, kind)


def _wider(column: Column, kind: str) -> Part:
    if kind == column.type:
        return Part(column.name, quote(column.name), column.type, column.id)
    return Part(column.name, cast_sql(column, kind), kind, column.id, cast=column.name)


def _explains(spec: DatasetSpec, table: Table, columns: Sequence[tuple[int | None, str]]) -> bool:
    """Whether the table was made by this spec but for names that its columns had before, and types."""
    said = reading(spec)
    for former in table.schemas:
        names = {column.id: column.name for column in former.columns}
        before = {name: names[number] for number, name in columns if number in names}
        renamed = {**said, **_named_before(said, before)}
        types = {column.name: column.type for column in former.columns}
        if any(digest({**renamed, "columns": typed}) == table.transformation for typed in _typed_before(renamed["columns"], types)):
            return True
    return False


def _named_before(said: Mapping[str, Any], before: Mapping[str, str]) -> dict[str, Any]:
    """The parts that name columns, by the names of before."""

    def named(value: Any) -> Any:
        if isinstance(value, str):
            return before.get(value, value)
        return [named(part) for part in value] if isinstance(value, list) else {named(name): part for name, part in value.items()}

    found = {name: named(said[name]) for name in ("primaryKey", "columns") if name in said}
    if "contract" in said:
        told = ("required", "unique", "ranges", "references")
        found["contract"] = {name: named(part) if name in told else part for name, part in said["contract"].items()}
    return found


def _typed_before(columns: Mapping[str, Mapping[str, Any]], types: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """What the spec may have said of types before: the same, nothing of those that are others now, or what these were."""
    yield dict(columns)
    others = {name for name, said in columns.items() if "type" in said and said["type"] != types.get(name)}
    untyped = {
        name: {field: value for field, value in said.items() if field != "type" or name not in others} for name, said in columns.items()
    }
    yield {name: said for name, said in untyped.items() if said}
    typed = {name: {**said, "type": types[name]} if name in others and name in types else said for name, said in untyped.items()}
    yield {name: said for name, said in typed.items() if said}
