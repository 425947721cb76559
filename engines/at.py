"""Which version of a table a reader wants: a number, an instant, or the present one; for all tables, or for each its own. Pure.

A version that is not kept any more, or never was, is refused with those that are. Next: `sql/tables.py`, which resolves names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from engines.errors import QueryInvalid, VersionUnknown
from state.catalog.records import Table
from state.timestamps import from_iso, iso

Moment: TypeAlias = int | str | None
"""A version's number, an instant in ISO 8601 as `iso` writes it, or the present."""


@dataclass(frozen=True, slots=True)
class At:
    """every: for whatever table `tables` does not name; tables: by Dataset."""

    every: Moment = None
    tables: Mapping[str, Moment] = field(default_factory=dict, hash=False)

    def of(self, dataset: str) -> Moment:
        """What is wanted of this Dataset."""
        return self.tables.get(dataset, self.every)


PRESENT = At()


def at_from(value: object) -> At:
    """What a client writes: a version, an instant, or a mapping from table to either. Raises QueryInvalid."""
    if isinstance(value, Mapping):
        return At(None, {str(name).replace("_", "-"): _moment(moment) for name, moment in value.items()})
    return At(_moment(value))


def _moment(value: object) -> Moment:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    if isinstance(value, str):
        if value.isdecimal() and int(value):
            return int(value)
        try:
            return iso(from_iso(value))
        except (ValueError, OverflowError):
            pass
    raise QueryInvalid(
        f"`at` must be a version or an instant; found {value!r}.",
        remedy='Write it as in 12, "2026-01-31", "2026-01-31T09:00:00Z", or {"candidates": 12}.',
    )


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
