"""Our column types <-> Arrow's. Eight names and `list<T>` are all that a table knows:

string, int64, float64, bool, date, timestamp, decimal(p,s), binary, list<T>

A timestamp is microseconds without a zone; a source value that has one is moved to UTC. What Arrow can say beyond that is mapped
without loss (`from_arrow`) or becomes text; nothing is narrowed here. Next: `shapes.py` for which texts are values of a type.
"""

from __future__ import annotations

import re
from functools import lru_cache

import pyarrow as pa

from engines.errors import EngineUnsupported

SCALARS: dict[str, pa.DataType] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "binary": pa.binary(),
}
_DECIMAL = re.compile(r"decimal\(\s*(\d{1,2})\s*,\s*(\d{1,2})\s*\)")
_LIST = re.compile(r"list<\s*(.+)\s*>")
_DECIMAL_DIGITS = 38


@lru_cache(maxsize=1024)
def arrow_type(name: str) -> pa.DataType:
    """The Arrow type of one of our type names. Raises EngineUnsupported for a name that is none."""
    scalar = SCALARS.get(name)
    if scalar is not None:
        return scalar
    if match := _DECIMAL.fullmatch(name):
        precision, scale = int(match[1]), int(match[2])
        if 1 <= precision <= _DECIMAL_DIGITS and scale <= precision:
            return pa.decimal128(precision, scale)
    if match := _LIST.fullmatch(name):
        return pa.list_(arrow_type(match[1].strip()))
    raise EngineUnsupported(
        f"`{name}` is no column type", remedy="Types are string, int64, float64, bool, date, timestamp, decimal(p,s), binary, list<T>."
    )


def from_arrow(arrow: pa.DataType) -> str:
    """The name of the type that holds every value of an Arrow type; "string" where only text does (structs, maps, durations, times)."""
    if pa.types.is_dictionary(arrow):
        return from_arrow(arrow.value_type)
    if isinstance(arrow, pa.BaseExtensionType):
        return from_arrow(arrow.storage_type)
    if pa.types.is_uint64(arrow):
        return "decimal(20,0)"
    if pa.types.is_decimal(arrow):
        fits = arrow.precision <= _DECIMAL_DIGITS and 0 <= arrow.scale <= arrow.precision
        return f"decimal({arrow.precision},{arrow.scale})" if fits else "string"
    if is_list(arrow):
        return "string" if has_structure(arrow) else f"list<{from_arrow(arrow.value_type)}>"
    for test, name in _TESTS:
        if test(arrow):
            return name
    return "string"


def is_list(arrow: pa.DataType) -> bool:
    """Whether the values are lists, however they are laid out."""
    return any(test(arrow) for test in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list, pa.types.is_list_view))


def has_structure(arrow: pa.DataType) -> bool:
    """Whether the values have named parts, at whatever depth of lists; a table keeps them as JSON text."""
    if is_list(arrow):
        return has_structure(arrow.value_type)
    return bool(pa.types.is_struct(arrow) or pa.types.is_map(arrow) or pa.types.is_union(arrow))


_TESTS = (
    (pa.types.is_integer, "int64"),
    (pa.types.is_floating, "float64"),
    (pa.types.is_boolean, "bool"),
    (pa.types.is_date, "date"),
    (pa.types.is_timestamp, "timestamp"),
    (pa.types.is_binary, "binary"),
    (pa.types.is_large_binary, "binary"),
    (pa.types.is_binary_view, "binary"),
    (pa.types.is_fixed_size_binary, "binary"),
)


def can_widen(source: str, target: str) -> bool:
    """Whether every value of source is one of target, up to a check of each value's precision (int64 beyond 2**53 as float64)."""
    if source == target or target == "string":
        return True
    if source == "int64":
        return target == "float64" or _whole_digits(target) >= 1
    if source.startswith("decimal") and target.startswith("decimal"):
        scales = arrow_type(source).scale, arrow_type(target).scale
        return _whole_digits(source) <= _whole_digits(target) and scales[0] <= scales[1]
    if source.startswith("list<") and target.startswith("list<"):
        return can_widen(source[5:-1], target[5:-1])
    return False


def _whole_digits(name: str) -> int:
    if not name.startswith("decimal"):
        return 0
    arrow = arrow_type(name)
    return int(arrow.precision - arrow.scale)
