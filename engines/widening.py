"""Which types hold every value of another, and whether a table's values all survive; pure.

int64 becomes float64 only where the catalog's statistics show that no value lies beyond 2**53; it becomes a decimal of as many digits as
its values have; a date becomes the timestamp of its midnight; a decimal one with more digits. Nothing becomes text by itself, though text
could say it: whoever adds or compares the column would notice. Next: `migrations.py`, for everything else.
"""

from __future__ import annotations

from engines.files.types import arrow_type
from engines.sql.readings import readings
from state.catalog.schemas import Column
from state.catalog.tables import Table

_EXACT = 2**53
"""float64 holds every whole number up to this. Source: IEEE 754."""
_INT64_DIGITS = 19


def widens(source: str, target: str) -> bool:
    """Whether the target holds every value of the source, but for the size of whole numbers."""
    if source == "int64":
        return target == "float64" or _whole_digits(target) > 0
    if source == "date":
        return target == "timestamp"
    if source.startswith("decimal") and target.startswith("decimal"):
        return _whole_digits(source) <= _whole_digits(target) and arrow_type(source).scale <= arrow_type(target).scale
    return False


def surely_exact(table: Table, column: Column, target: str) -> bool:
    """Whether no value of the column loses anything, as far as `widens` leaves that open. By statistics; False where they do not tell."""
    if column.type != "int64" or _whole_digits(target) >= _INT64_DIGITS:
        return True
    most = _EXACT if target == "float64" else 10 ** _whole_digits(target) - 1
    computed = readings(table)
    schemas = {schema.id: schema for schema in table.schemas}
    for file in table.readable:
        there = next((found for found in schemas[file.schema_id].columns if found.id == column.id), None)
        if there is None and file.schema_id not in computed:
            continue  # it has none of them
        stats = None if there is None else file.columns.get(there.name)
        if stats is None or not _within(stats.min, stats.max, most, empty=stats.nulls == file.rows):
            return False
    return True


def _within(low: object, high: object, most: int, *, empty: bool) -> bool:
    if low is None or high is None:
        return empty
    return isinstance(low, int) and isinstance(high, int) and -most <= low and high <= most


def _whole_digits(kind: str) -> int:
    if not kind.startswith("decimal"):
        return 0
    arrow = arrow_type(kind)
    return int(arrow.precision - arrow.scale)
