"""Arrow values as JSON has them, column by column.

Integers and finite floats are numbers, other floats null; dates, times and timestamps ISO 8601 text (those with a zone in UTC, with Z),
decimals text with all their digits, binary base64 text; lists are arrays, structs objects, maps arrays of
pairs; what JSON has no form for is text.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import Any

import pyarrow as pa

from engines.files.arrow_values import as_json
from engines.files.types import from_arrow

_NAMED = (pa.types.is_struct, pa.types.is_map, pa.types.is_time, pa.types.is_duration, pa.types.is_interval, pa.types.is_null)


def type_name(kind: pa.DataType) -> str:
    """A Dataset column's type where there is one, Arrow's own name otherwise."""
    if pa.types.is_dictionary(kind):
        return type_name(kind.value_type)
    return str(kind) if any(test(kind) for test in _NAMED) else from_arrow(kind)


def json_rows(table: pa.Table) -> list[dict[str, Any]]:
    """One mapping a row. CPU: some microseconds a value."""
    names = table.column_names
    return [dict(zip(names, values, strict=True)) for values in zip(*map(_values, table.columns), strict=True)]


def _values(column: pa.ChunkedArray) -> list[Any]:
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        column = column.cast(pa.timestamp("us", kind.tz), safe=False)
    elif pa.types.is_time64(kind) and kind.unit == "ns":
        column = column.cast(pa.time64("us"), safe=False)
    elif pa.types.is_duration(kind):
        column = column.cast(pa.int64())
    try:
        values: list[Any] = column.to_pylist()
    except (ValueError, OverflowError):  # what Python has no value for: nanoseconds within lists, years beyond 9999
        return [as_json(value) for value in column]
    convert = _converter(kind)
    return values if convert is None else [None if value is None else convert(value) for value in values]


def _converter(kind: pa.DataType) -> Callable[[Any], Any] | None:
    plain = pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if plain or pa.types.is_null(kind) or pa.types.is_duration(kind):
        return None
    if pa.types.is_floating(kind):
        return _number
    return _any


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _instant(value: datetime) -> str:
    """As `state/timestamps.py` has it, where milliseconds say it all."""
    spec = "microseconds" if value.microsecond % 1000 else "milliseconds"
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=spec) + "Z"


def _any(value: Any) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return _number(value)
        case pa.MonthDayNano():  # a tuple, too
            return f"{value.months} months {value.days} days {value.nanoseconds} ns"
        case datetime() if value.tzinfo is not None:
            return _instant(value)
        case date() | time():  # a datetime is a date
            return value.isoformat()
        case bytes():
            return base64.b64encode(value).decode()
        case dict():
            return {name: _any(part) for name, part in value.items()}
        case list() | tuple():
            return [_any(part) for part in value]
        case _:
            return f"{value:f}" if hasattr(value, "as_tuple") else str(value)
