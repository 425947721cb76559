"""What Arrow can hold and nobody after it can: years that Python does not know, and structure that a table keeps as JSON text."""

from __future__ import annotations

import base64
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_FIRST, _LAST = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999)  # noqa: DTZ001 - our timestamps have no zone


def check_years(column: pa.Array) -> None:
    """Raises pa.ArrowInvalid where a date or a timestamp, also within lists, lies outside the years 1 to 9999."""
    if pa.types.is_list(column.type):
        check_years(column.flatten())
        return
    if not (pa.types.is_date(column.type) or pa.types.is_timestamp(column.type)) or column.null_count == len(column):
        return
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        return  # the years 1677 to 2262
    first, last = (_FIRST.date(), _LAST.date()) if pa.types.is_date(column.type) else (_FIRST, _LAST)
    bounds = pc.min_max(column)
    if pc.less(bounds["min"], pa.scalar(first, column.type)).as_py() or pc.greater(bounds["max"], pa.scalar(last, column.type)).as_py():
        raise pa.ArrowInvalid("a year before 1 or after 9999")


def as_json(value: pa.Scalar) -> Any:
    """A value as JSON has it: structs and maps as objects (a map whose keys repeat or are no scalars as a list of pairs), bytes as
    base64, all that JSON lacks as Arrow writes it."""
    if not value.is_valid:
        return None
    if isinstance(value, pa.ExtensionScalar):
        return as_json(value.value)
    if isinstance(value, pa.DictionaryScalar | pa.UnionScalar):
        return as_json(value.value)
    if isinstance(value, pa.StructScalar):
        return {name: as_json(part) for name, part in value.items()}
    if isinstance(value, pa.MapScalar):
        return _map(value)
    if isinstance(value, pa.ListScalar):
        return [as_json(part) for part in value.values]
    return _leaf(value)


def _map(value: pa.MapScalar) -> Any:
    pairs = [(as_json(pair["key"]), as_json(pair["value"])) for pair in value.values]
    names = [name if isinstance(name, str) else None if isinstance(name, dict | list) else str(name) for name, _ in pairs]
    if None in names or len(set(names)) < len(names):
        return [list(pair) for pair in pairs]
    return dict(zip(names, (part for _, part in pairs), strict=True))


def _leaf(value: pa.Scalar) -> Any:
    try:
        plain = value.as_py()
    except (ValueError, OverflowError):  # nanoseconds, and years beyond 9999
        return value.cast(pa.string()).as_py()
    if isinstance(plain, bytes):
        return base64.b64encode(plain).decode()
    if isinstance(plain, datetime | date):
        return plain.isoformat()
    if isinstance(plain, Decimal) or (isinstance(plain, int) and not -(2**63) <= plain < 2**64):
        return str(plain)
    return plain if isinstance(plain, str | bool | int | float) else str(plain)
