"""PostgreSQL's types as ours, and its texts as Arrow's values. Pure.

Exactly, or as text: numeric(p,s) is decimal(p,s); a numeric without bounds, which may be of any size, NaN or Infinity, is text, and so is
whatever has no type of ours (uuid, json, enums, intervals, ranges, composites), as the server writes it. timestamptz becomes UTC. What a
type of ours cannot hold (NaN in numeric(10,2), `infinity` as a date, an array of two dimensions) is told by Unfit, never changed.
Next: `reading.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engines.files.arrow_values import check_years
from engines.files.types import arrow_type

_NUMERIC = re.compile(r"numeric\((\d+),(-?\d+)\)")
_PLAIN = {
    "boolean": "bool",
    "smallint": "int64",
    "integer": "int64",
    "bigint": "int64",
    "oid": "int64",
    "real": "float64",
    "double precision": "float64",
    "date": "date",
    "bytea": "binary",
}
_TIMESTAMP = re.compile(r"timestamp(\(\d\))? with(out)? time zone")
_MOST_DIGITS = 38


class Unfit(Exception):
    """The first value, by its index in the array, that the type cannot hold. column: its name, where it is known."""

    def __init__(self, index: int, value: str, column: str = "") -> None:
        super().__init__(index, value, column)
        self.index = index
        self.value = value
        self.column = column


@dataclass(frozen=True, slots=True)
class Wire:
    """How a column crosses: what pyarrow's CSV reader makes of the text, and our type, which `settle` makes of that."""

    parsed: pa.DataType
    kind: str


def our_type(declared: str, element: str | None = None) -> str:
    """The name of our type for one of PostgreSQL's, as `format_type` writes it. element: of an array."""
    if element is not None:
        inner = our_type(element)
        return "string" if inner == "binary" else f"list<{inner}>"
    if match := _NUMERIC.fullmatch(declared):
        precision, scale = int(match[1]), int(match[2])
        return f"decimal({precision},{scale})" if precision <= _MOST_DIGITS and 0 <= scale <= precision else "string"
    if _TIMESTAMP.fullmatch(declared):
        return "timestamp"
    return _PLAIN.get(declared, "string")


def wire(declared: str, kind: str) -> Wire:
    """kind: what the column becomes; text for what the CSV reader cannot do itself."""
    if kind == "timestamp" and "with time zone" in declared:
        return Wire(pa.timestamp("us", "UTC"), kind)
    if kind == "binary" or kind.startswith("list<"):
        return Wire(pa.string(), kind)
    return Wire(arrow_type(kind), kind)


def unescaped(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Its texts as they are in the table, from COPY's text format, where a backslash stands before what is not what it seems."""
    columns = [_unescaped(column) if pa.types.is_string(column.type) else column for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


_MEANT = np.arange(256, dtype=np.uint8)
"""What stands for what behind a backslash: itself, but for these."""
_MEANT[list(b"bfnrtv")] = list(b"\b\f\n\r\t\v")


def _unescaped(column: pa.Array) -> pa.Array:
    """All values at once, since no escape ends outside of its value."""
    mask, ends, data = column.buffers()
    offsets = np.frombuffer(ends, np.int32, column.offset + len(column) + 1)
    text = np.frombuffer(data or b"", np.uint8, offsets[-1])
    (slashes,) = np.nonzero(text == ord("\\"))
    if not len(slashes):
        return column
    # of slashes side by side the first, the third and so on begin an escape
    numbers = np.arange(len(slashes))
    first = np.maximum.accumulate(np.where(np.diff(slashes, prepend=-2) > 1, numbers, 0))
    begins = slashes[(numbers - first) % 2 == 0]
    text, kept = text.copy(), np.ones(len(text), bool)
    text[begins + 1], kept[begins] = _MEANT[text[begins + 1]], False
    moved = (offsets - np.searchsorted(begins, offsets)).astype(np.int32)
    buffers = [mask, pa.py_buffer(moved), pa.py_buffer(text[kept])]
    return pa.Array.from_buffers(column.type, len(column), buffers, column.null_count, column.offset)


def settle(column: pa.Array, how: Wire) -> pa.Array:
    """What was parsed or decoded, as our type. Raises Unfit."""
    if how.kind == "binary" and pa.types.is_string(column.type):
        return _binary(column)
    if how.kind.startswith("list<"):
        return _lists(column, arrow_type(how.kind))
    settled = column.cast(pa.timestamp("us")) if how.parsed == pa.timestamp("us", "UTC") else column
    try:
        check_years(settled)
    except pa.ArrowInvalid:
        raise _first(settled, check_years) from None
    return settled


def _first(column: pa.Array, check: object) -> Unfit:
    assert callable(check)
    for index in range(len(column)):
        try:
            check(column.slice(index, 1))
        except pa.ArrowInvalid:
            return Unfit(index, str(column[index].cast(pa.string()).as_py()))
    return Unfit(0, "")


def _binary(column: pa.Array) -> pa.Array:
    r"""From `\x0a1b`: all values at once, since neither digits nor the prefix occur within each other."""
    column = pa.concat_arrays([column])
    _, offsets, data = column.buffers()
    count = len(column)
    ends = np.frombuffer(offsets, np.int32, count + 1)
    lengths = np.diff(ends)
    filled = lengths > 0
    digits = b"" if data is None else data.to_pybytes()[: ends[-1]].replace(b"\\x", b"")
    try:
        content = bytes.fromhex(digits.decode())
    except ValueError:
        raise Unfit(0, str(column[0].as_py())) from None
    sizes = np.where(filled, (lengths - 2) // 2, 0)
    if sizes.sum() != len(content):
        raise Unfit(0, str(column[0].as_py()))
    starts = np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)
    mask = column.buffers()[0]
    return pa.BinaryArray.from_buffers(pa.binary(), count, [mask, pa.py_buffer(starts), pa.py_buffer(content)], column.null_count)


def _lists(column: pa.Array, target: pa.ListType) -> pa.Array:
    """From `{1,2,NULL}`. At once where no element is quoted or nested; else value by value."""
    simple = not pc.any(pc.match_substring_regex(column, r'["\\]|^\{.*[{}].*\}$|^[^{]')).as_py()
    texts = _split(column) if simple else pa.array([_elements(at, v) for at, v in enumerate(column.to_pylist())], pa.list_(pa.string()))
    try:
        values = _values(texts.values, target.value_type)
    except pa.ArrowInvalid:
        raise _unfit_list(texts, target.value_type, column) from None
    return pa.ListArray.from_arrays(texts.offsets, values, mask=pc.is_null(column) if column.null_count else None)


def _split(column: pa.Array) -> pa.Array:
    inner = pc.utf8_slice_codeunits(pc.fill_null(column, "{}"), 1, -1)
    parts = pc.split_pattern(inner, ",")
    empty = pc.equal(inner, "").to_numpy(zero_copy_only=False)
    sizes = np.where(empty, 0, pc.list_value_length(parts).to_numpy())
    flat = parts.flatten()
    flat = flat.filter(pc.not_equal(flat, ""))
    flat = pc.if_else(pc.equal(pc.utf8_upper(flat), "NULL"), None, flat)
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), flat)


def _values(texts: pa.Array, target: pa.DataType) -> pa.Array:
    if pa.types.is_boolean(target):
        return pc.equal(texts, "t")
    if pa.types.is_timestamp(target):
        try:
            values = texts.cast(target)
        except pa.ArrowInvalid:
            values = texts.cast(pa.timestamp("us", "UTC")).cast(target)
    else:
        values = texts if pa.types.is_string(target) else texts.cast(target)
    check_years(values)
    return values


def _unfit_list(texts: pa.Array, target: pa.DataType, column: pa.Array) -> Unfit:
    for index in range(len(column)):
        try:
            _values(texts.slice(index, 1).flatten(), target)
        except pa.ArrowInvalid:
            return Unfit(index, str(column[index].as_py()))
    return Unfit(0, str(column[0].as_py()))


_ELEMENT = re.compile(r'"((?:[^"\\]|\\.)*)"|([^{},"\\]+)', re.DOTALL)


def _elements(index: int, text: str | None) -> list[str | None]:
    """The elements of one array of one dimension; an empty one has none, whatever its dimensions. Raises Unfit."""
    if text is None or text == "{}":
        return []
    if not text.startswith("{") or not text.endswith("}"):
        raise Unfit(index, text)
    found: list[str | None] = []
    at = 1
    while True:
        match = _ELEMENT.match(text, at)
        if match is None:  # a nested array
            raise Unfit(index, text)
        quoted, bare = match.groups()
        found.append(re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL) if quoted is not None else None if bare.upper() == "NULL" else bare)
        at = match.end()
        if text[at] == "}" and at == len(text) - 1:
            return found
        if text[at] != ",":
            raise Unfit(index, text)
        at += 1
