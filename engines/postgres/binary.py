"""Rows in COPY's binary format as Arrow's columns: a column of all rows at once, in numpy.

A row is a count of fields, and of each field its bytes, preceded by how many they are (-1 for null), all big-endian. Where rows begin is
known from the messages that they came in; where a column's fields begin, from the column before. It takes server and reader a quarter less
than text, and is asked for where `decoders` knows each column; whatever else there is crosses as text (`columns.py`). Source: PostgreSQL's
documentation of COPY, and the types' send functions, which are of one form since version 10. Next: `reading.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from engines.postgres.columns import Unfit

_HEADER = 19
_PADDING = bytes(16)
"""Behind a block, since what is read of a null at its end lies outside."""
_DAYS, _MICROSECONDS = 10_957, 946_684_800_000_000
"""From 1970 to 2000, from which PostgreSQL counts."""
_POWERS = 10 ** np.arange(19)
_MOST_DIGITS = 18
_NEGATIVE, _SPECIAL = 0x4000, {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}
_HEX = np.frombuffer(b"".join(b"%02x" % value for value in range(256)), np.uint16)
_GROUPS = ((0, 8), (9, 13), (14, 18), (19, 23), (24, 36))
_NUMERIC = re.compile(r"numeric\((\d+),(\d+)\)")
_TEXT = re.compile(r"text|json|character( varying)?(\(\d+\))?")
_TIMESTAMP = re.compile(r"timestamp(\(\d\))? with(out)? time zone")

Places = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Fields:
    """A column's fields in a block: where each begins, how many bytes it has (0 for null), and which are null."""

    block: bytearray
    starts: Places
    sizes: Places
    nulls: Flags

    def read(self, kind: str, offset: int = 0) -> npt.NDArray[np.int64]:
        """A number of numpy's type, so many bytes behind the beginnings. Of nulls, anything."""
        size = np.dtype(kind).itemsize
        everywhere: npt.NDArray[np.int64] = np.ndarray((len(self.block) - size + 1,), kind, self.block, 0, (1,))
        return everywhere[self.starts + offset]

    def array(self, values: npt.NDArray[np.generic]) -> pa.Array:
        """With nulls."""
        return pa.array(values, mask=self.nulls if self.nulls.any() else None)


Decoder = Callable[[Fields], pa.Array]


def decoders(columns: Mapping[str, str]) -> Mapping[str, Decoder] | None:
    """Of columns by name, as PostgreSQL writes their types; None where there is none for one of them. What they give are our types."""
    found = {name: _decoder(kind) for name, kind in columns.items()}
    known = {name: decoder for name, decoder in found.items() if decoder is not None}
    return known if len(known) == len(found) else None


def decoded(block: bytearray, sizes: Sequence[int], decoders: Mapping[str, Decoder], *, first: bool) -> pa.RecordBatch:
    """sizes: of the messages that the block consists of, in bytes; it gets longer. first: it begins with the header. Raises Unfit."""
    ends = np.cumsum(np.array(sizes, np.int64))
    starts = ends - sizes
    starts[:1] += _HEADER if first else 0
    block += _PADDING
    whole = Fields(block, starts, ends, starts < 0)
    # what says that rows end is a count of -1
    place = starts[(starts < ends) & (whole.read(">i2") >= 0)] + 2
    columns = []
    for name, decoder in decoders.items():
        sizes_here = Fields(block, place, place, place < 0).read(">i4").astype(np.int64)
        fields = Fields(block, place + 4, np.maximum(sizes_here, 0), sizes_here < 0)
        try:
            columns.append(decoder(fields))
        except Unfit as unfit:
            raise Unfit(unfit.index, unfit.value, name) from None
        place = fields.starts + fields.sizes
    return pa.RecordBatch.from_arrays(columns, names=list(decoders))


def _decoder(declared: str) -> Decoder | None:
    if match := _NUMERIC.fullmatch(declared):
        precision, scale = int(match[1]), int(match[2])
        return None if precision > _MOST_DIGITS or scale > precision else lambda fields: _decimals(fields, precision, scale)
    if _TIMESTAMP.fullmatch(declared):
        return _timestamps
    return _texts if _TEXT.fullmatch(declared) else _PLAIN.get(declared)


def _integers(kind: str) -> Decoder:
    return lambda fields: fields.array(fields.read(kind).astype(np.int64))


def _dates(fields: Fields) -> pa.Array:
    return fields.array(_finite(fields, ">i4").astype(np.int32) + np.int32(_DAYS)).view(pa.date32())


def _timestamps(fields: Fields) -> pa.Array:
    return fields.array(_finite(fields, ">i8").astype(np.int64) + _MICROSECONDS).view(pa.timestamp("us"))


def _finite(fields: Fields, kind: str) -> npt.NDArray[np.int64]:
    """The least and the greatest number stand for endless times. Raises Unfit for these."""
    values, limits = fields.read(kind), np.iinfo(kind)
    (found,) = np.nonzero(((values == limits.min) | (values == limits.max)) & ~fields.nulls)
    if len(found):
        raise Unfit(int(found[0]), "infinity" if values[found[0]] > 0 else "-infinity")
    return values


def _decimals(fields: Fields, precision: int, scale: int) -> pa.Array:
    """Groups of four digits, the first of them worth 10000**weight; none that the scale has no room for is other than 0."""
    groups, weight, sign = (fields.read(kind, at).astype(np.int64) for at, kind in ((0, ">i2"), (2, ">i2"), (4, ">u2")))
    groups[fields.nulls] = 0
    for mark, name in _SPECIAL.items():
        (found,) = np.nonzero((sign == mark) & ~fields.nulls)
        if len(found):
            raise Unfit(int(found[0]), name)
    value = np.zeros(len(groups), np.int64)
    for number in range(int(groups.max(initial=0))):
        there = np.nonzero(number < groups)[0] if (groups <= number).any() else slice(None)
        exponent = 4 * (weight[there] - number) + scale
        digits = Fields(fields.block, fields.starts[there], fields.sizes, fields.nulls).read(">i2", 8 + 2 * number).astype(np.int64)
        value[there] += digits * _POWERS[np.maximum(exponent, 0)] // _POWERS[np.maximum(-exponent, 0)]
    value[sign == _NEGATIVE] *= -1
    halves = np.column_stack((value, value >> 63))
    plain = pa.Array.from_buffers(pa.decimal128(precision, scale), len(value), [None, pa.py_buffer(halves)])
    return plain if not fields.nulls.any() else pc.if_else(pa.array(fields.nulls), None, plain)


def _texts(fields: Fields, skipped: int = 0, kind: pa.DataType = pa.string()) -> pa.Array:  # noqa: B008 - a constant
    """Every other value of an array over the whole block, whose values between are what lies between."""
    count = len(fields.starts)
    offsets = np.zeros(2 * count + 1, np.int32)
    offsets[: 2 * count : 2] = fields.starts + np.where(fields.nulls, 0, skipped)
    offsets[1::2] = fields.starts + fields.sizes
    offsets[-1] = offsets[-2] if count else 0
    everything = pa.Array.from_buffers(kind, 2 * count, [None, pa.py_buffer(offsets), pa.py_buffer(fields.block)])
    return everything.take(fields.array(np.arange(0, 2 * count, 2)))


def _uuids(fields: Fields) -> pa.Array:
    octets = np.column_stack((fields.read("<u8"), fields.read("<u8", 8)))
    digits = _HEX[octets.view(np.uint8).reshape(-1, 16)].view(np.uint8).reshape(-1, 32)
    text = np.full((len(octets), 36), ord("-"), np.uint8)
    for dashes, (begin, end) in enumerate(_GROUPS):
        text[:, begin:end] = digits[:, begin - dashes : end - dashes]
    offsets = pa.py_buffer(np.arange(0, 36 * len(text) + 1, 36, dtype=np.int32))
    plain = pa.Array.from_buffers(pa.string(), len(text), [None, offsets, pa.py_buffer(text)])
    return plain if not fields.nulls.any() else pc.if_else(pa.array(fields.nulls), None, plain)


_PLAIN: Mapping[str, Decoder] = {
    "boolean": lambda fields: fields.array(fields.read("u1") != 0),
    "smallint": _integers(">i2"),
    "integer": _integers(">i4"),
    "bigint": _integers(">i8"),
    "oid": _integers(">u4"),
    "double precision": lambda fields: fields.array(fields.read(">f8").astype(np.float64)),
    "date": _dates,
    "bytea": lambda fields: _texts(fields, kind=pa.binary()),
    "jsonb": lambda fields: _texts(fields, 1),  # behind the number of its version
    "uuid": _uuids,
}
