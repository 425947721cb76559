"""Which version of a table a reader wants, a number, an instant, or the present one, and under which of its schemas; for all tables, or for
each its own. Pure.

A version that is not kept any more, or never was, is refused with those that are. Next: `sql/tables.py`, which resolves names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from engines.errors import QueryInvalid, VersionUnknown
from engines.files.shapes import shorten
from engines.sql.readings import readable_under, under
from state.catalog.tables import Table
from state.timestamps import from_iso, iso

Moment: TypeAlias = int | str | None
"""A version's number, an instant in ISO 8601 as `iso` writes it, or the present."""


_LONGEST = 18
"""Digits of a version: Python refuses to read numbers of thousands of them."""


@dataclass(frozen=True, slots=True)
class At:
    """every: for whatever table `tables` does not name; tables: by Dataset; schema and schemas: the same of schemas' ids, None for the one
    that the version has."""

    every: Moment = None
    tables: Mapping[str, Moment] = field(default_factory=dict, hash=False)
    schema: int | None = None
    schemas: Mapping[str, int] = field(default_factory=dict, hash=False)

    def of(self, dataset: str) -> Moment:
        """What is wanted of this Dataset."""
        return self.tables.get(dataset, self.every)

    def schema_of(self, dataset: str) -> int | None:
        """Under which schema this Dataset is to be read."""
        return self.schemas.get(dataset, self.schema)

    @property
    def named(self) -> frozenset[str]:
        """The Datasets that something is said of by name."""
        return frozenset({*self.tables, *self.schemas})


PRESENT = At()


def of_reader(pinned: Moment, asked: At) -> At:
    """What a reader reads whose profile is kept to a moment, None where it is to none. Raises QueryInvalid where it asks for another."""
    if pinned is None:
        return asked
    if asked.every is not None or asked.tables:
        raise QueryInvalid(
            f"Your profile reads everything as of {pinned}; a request cannot say otherwise.",
            remedy="Leave `at` out, or change `at` in the Profile's spec.",
        )
    return At(_moment(pinned), {}, asked.schema, asked.schemas)


def at_from(value: object, schema: int | Mapping[str, int] | None = None) -> At:
    """What a client writes: a version, an instant, or a mapping of tables to either; a schema's id or a mapping. Raises QueryInvalid."""
    by_table = schema if isinstance(schema, Mapping) else {}
    schemas = {_dataset(name): number for name, number in by_table.items()}
    every = None if isinstance(schema, Mapping) else schema
    if isinstance(value, Mapping):
        return At(None, {_dataset(name): _moment(moment) for name, moment in value.items()}, every, schemas)
    return At(_moment(value), {}, every, schemas)


def _dataset(table: object) -> str:
    return str(table).replace("_", "-")


def _moment(value: object) -> Moment:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    if isinstance(value, str):
        if value.isascii() and value.isdecimal() and len(value) <= _LONGEST and int(value):
            return int(value)
        try:
            return iso(from_iso(value))
        except (ValueError, OverflowError):
            pass
    raise QueryInvalid(
        f"`at` must be a version or an instant; found {shorten(value)}.",
        remedy='Write it as in 12, "2026-01-31", "2026-01-31T09:00:00Z", or {"candidates": 12}.',
    )


def table_under(table: Table, schema: int | None) -> Table:
    """The table as read under one of its schemas, None: the one that it has. Raises QueryInvalid."""
    if schema is None or schema == table.schema.id:
        return table
    try:
        return under(table, schema)
    except KeyError:
        can = ", ".join(str(number) for number in sorted(readable_under(table)))
        remedy = f"It can under {can}; `system.versions` tells which version had which."
        raise QueryInvalid(f"`{table.name}` cannot be read under schema {schema}.", remedy=remedy) from None


def table_at(table: Table, moment: Moment) -> Table:
    """The table as it was. Raises VersionUnknown."""
    if moment is None:
        return table
    versions = table.versions
    if isinstance(moment, int):
        wanted = moment if any(number == moment for number, _ in versions) else None
    else:
        wanted = max((number for number, at in versions if at <= moment), default=None)
    if wanted is None:
        first, since = versions[0]
        asked = f"has no version {moment}" if isinstance(moment, int) else f"has no version of {moment}"
        kept = f"only version {first} of {since}" if len(versions) == 1 else f"versions {first} of {since} to {table.version} of {table.at}"
        raise VersionUnknown(
            f"`{table.name}` {asked}; {kept} {'is' if len(versions) == 1 else 'are'} kept.",
            remedy="`keep` in the Dataset's spec says which are kept; `system.versions` lists them.",
        )
    return table.as_of(wanted)
