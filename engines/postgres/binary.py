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
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from engines.postgres.columns import Unfit

_HEADER = 19
_DAYS, _MICROSECONDS = 10_957, 946_684_800_000_000
"""From 1970 to 2000, from which PostgreSQL counts."""
_POWERS = 10 ** np.arange(19)
_MOST_DIGITS = 18
_NEGATIVE, _SPECIAL = 0x4000, {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}
_NEAR = 4
"""Groups of a numeric that are read at once: as many as 64 bits hold."""
_HEX = np.frombuffer(b"".join(b"%02x%02x" % (value & 255, value >> 8) for value in range(1 << 16)), np.uint32)
"""The four digits of each pair of bytes, which are read as a number with the first of them as its lower half."""
_GROUPS = ((0, 8), (9, 13), (14, 18), (19, 23), (24, 36))
_NUMERIC = re.compile(r"numeric\((\d+),(\d+)\)")
_TEXT = re.compile(r"text|json|character( varying)?(\(\d+\))?")
_TIMESTAMP = re.compile(r"timestamp(\(\d\))? with(out)? time zone")

Places = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Fields:
    """A column's fields in a block: where each begins, how many bytes it has (0 for null), and which are null. apart: bytes from each
    beginning to the next, where these are equal; else 0."""

    block: bytearray | npt.NDArray[np.void]
    starts: Places
    sizes: Places
    nulls: Flags
    apart: int = 0

    def read(self, kind: str, offset: int = 0) -> npt.NDArray[np.int64]:
        """A number of numpy's type, so many bytes behind the beginnings. Of nulls, anything."""
        if self.apart:
            return np.ndarray((len(self.starts),), kind, self.block, int(self.starts[0]) + offset if len(self.starts) else 0, (self.apart,))
        size = np.dtype(kind).itemsize
        everywhere: npt.NDArray[np.int64] = np.ndarray((len(self.block) - size + 1,), kind, self.block, 0, (1,))
        return everywhere[self.starts + offset]

    def near(self, width: int) -> Fields:
        """The same, but for what is more than so many bytes behind the beginnings: copied, so that all are equally far from each other.
        It costs what reading one number does, and numbers are read from it at a fifth of that."""
        everywhere: npt.NDArray[np.void] = np.ndarray((len(self.block) - width + 1,), f"V{width}", self.block, 0, (1,))
        return Fields(everywhere[self.starts], np.arange(0, width * len(self.starts), width), self.sizes, self.nulls, width)

    def array(self, values: npt.NDArray[np.generic]) -> pa.Array:
        """With nulls."""
        return pa.array(values, mask=self.nulls if self.nulls.any() else None)


@dataclass(frozen=True, slots=True)
class Decoder:
    """What makes Arrow's values of fields. width: bytes of each that is not null; None where they differ."""

    array: Callable[[Fields], pa.Array]
    width: int | None = None


def decoders(columns: Mapping[str, str]) -> Mapping[str, Decoder] | None:
    """Of columns by name, as PostgreSQL writes their types; None where there is none for one of them. What they give are our types."""
    found = {name: _decoder(kind) for name, kind in columns.items()}
    known = {name: decoder for name, decoder in found.items() if decoder is not None}
    return known if len(known) == len(found) else None


def decoded(block: bytearray, sizes: Sequence[int], decoders: Mapping[str, Decoder], *, first: bool) -> pa.RecordBatch:
    """sizes: of the messages that the block consists of, in bytes; it gets longer. first: it begins with the header. Raises Unfit."""
    stretches = _stretches(decoders)
    # what is read of a null at the end lies outside
    block += bytes(8 + 2 * _NEAR + max(map(_width, stretches), default=0))
    place, columns = _rows(block, np.asarray(sizes, np.int64), first=first), []
    for stretch in stretches:
        fields, place = _fields(block, place, stretch)
        for (name, decoder), field in zip(stretch, fields, strict=True):
            try:
                columns.append(decoder.array(field))
            except Unfit as unfit:
                raise Unfit(unfit.index, unfit.value, name) from None
    return pa.RecordBatch.from_arrays(columns, names=list(decoders))


Stretch: TypeAlias = Sequence[tuple[str, Decoder]]
"""Columns side by side whose sizes are known, and one behind them whose values tell theirs."""


def _rows(block: bytearray, sizes: Places, *, first: bool) -> Places:
    """Where the first field of each row begins."""
    ends = np.cumsum(sizes)
    starts = ends - sizes
    starts[:1] += _HEADER if first else 0
    counts = Fields(block, starts, sizes, starts < 0).read(">i2")
    # what says that rows end is a count of -1
    rows = (starts < ends) & (counts >= 0)
    return (starts if rows.all() else starts[rows]) + 2


def _stretches(decoders: Mapping[str, Decoder]) -> list[Stretch]:
    found: list[list[tuple[str, Decoder]]] = [[]]
    for name, decoder in decoders.items():
        found[-1].append((name, decoder))
        if decoder.width is None:
            found.append([])
    return [stretch for stretch in found if stretch]


def _width(stretch: Stretch) -> int:
    """Bytes from its beginning to that of what may be of any size."""
    return sum(4 + (decoder.width or 0) for _, decoder in stretch)


def _fields(block: bytearray, place: Places, stretch: Stretch) -> tuple[list[Fields], Places]:
    """Of each column of a stretch, and where the next one begins. Where nothing is null all are at the same distance."""
    width, at = _width(stretch), 0
    nulls = np.zeros(len(place), np.bool_)
    records = Fields(block, place, place, nulls).near(width)
    found: list[Fields] = []
    for _, decoder in stretch:
        sizes = records.read(">i4", at)
        if decoder.width is None:
            sizes = sizes.astype(np.int64)
            last = Fields(block, place + width, np.maximum(sizes, 0), sizes < 0)
            return [*found, last], last.starts + last.sizes
        if not (sizes == decoder.width).all():
            return _one_by_one(block, place, len(stretch))
        found.append(Fields(records.block, records.starts + (at + 4), sizes, nulls, width))
        at += 4 + decoder.width
    return found, place + width


def _one_by_one(block: bytearray, place: Places, count: int) -> tuple[list[Fields], Places]:
    found = []
    for _ in range(count):
        sizes = Fields(block, place, place, place < 0).read(">i4").astype(np.int64)
        found.append(Fields(block, place + 4, np.maximum(sizes, 0), sizes < 0))
        place = found[-1].starts + found[-1].sizes
    return found, place


def _decoder(declared: str) -> Decoder | None:
    if match := _NUMERIC.fullmatch(declared):
        precision, scale = int(match[1]), int(match[2])
        fits = precision <= _MOST_DIGITS and scale <= precision
        return Decoder(lambda fields: _decimals(fields, precision, scale)) if fits else None
    if _TIMESTAMP.fullmatch(declared):
        return Decoder(_timestamps, 8)
    return Decoder(_texts) if _TEXT.fullmatch(declared) else _PLAIN.get(declared)


def _integers(kind: str) -> Decoder:
    return Decoder(lambda fields: fields.array(fields.read(kind).astype(np.int64)), np.dtype(kind).itemsize)


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
    near = fields.near(8 + 2 * _NEAR)
    groups, weight, sign = (near.read(kind, at).astype(np.int64) for at, kind in ((0, ">i2"), (2, ">i2"), (4, ">u2")))
    groups[fields.nulls] = 0
    (found,) = np.nonzero((sign >= min(_SPECIAL)) & ~fields.nulls)
    if len(found):
        raise Unfit(int(found[0]), _SPECIAL.get(int(sign[found[0]]), "no number"))
    most = int(groups.max(initial=0))
    together = min(most, _NEAR)
    value = np.zeros(len(groups), np.int64)
    for number in range(together):
        value = value * 10_000 + np.where(number < groups, near.read(">i2", 8 + 2 * number), 0)
    value = _scaled(value, np.where(groups > 0, 4 * (weight - together + 1) + scale, 0))
    for number in range(_NEAR, most):
        (there,) = np.nonzero(number < groups)
        digits = Fields(fields.block, fields.starts[there], fields.sizes, fields.nulls).read(">i2", 8 + 2 * number).astype(np.int64)
        value[there] += _scaled(digits, 4 * (weight[there] - number) + scale)
    value[sign == _NEGATIVE] *= -1
    halves = np.column_stack((value, value >> 63))
    plain = pa.Array.from_buffers(pa.decimal128(precision, scale), len(value), [None, pa.py_buffer(halves)])
    return plain if not fields.nulls.any() else pc.if_else(pa.array(fields.nulls), None, plain)


def _scaled(value: Places, exponent: Places) -> Places:
    """value * 10**exponent, which is whole."""
    return value * _POWERS[np.maximum(exponent, 0)] // _POWERS[np.maximum(-exponent, 0)]


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
    digits = _HEX.take(octets.view(np.uint16)).view(np.uint8).reshape(-1, 32)
    text = np.full((len(octets), 36), ord("-"), np.uint8)
    for dashes, (begin, end) in enumerate(_GROUPS):
        text[:, begin:end] = digits[:, begin - dashes : end - dashes]
    offsets = pa.py_buffer(np.arange(0, 36 * len(text) + 1, 36, dtype=np.int32))
    plain = pa.Array.from_buffers(pa.string(), len(text), [None, offsets, pa.py_buffer(text)])
    return plain if not fields.nulls.any() else pc.if_else(pa.array(fields.nulls), None, plain)


_PLAIN: Mapping[str, Decoder] = {
    "boolean": Decoder(lambda fields: fields.array(fields.read("u1") != 0), 1),
    "smallint": _integers(">i2"),
    "integer": _integers(">i4"),
    "bigint": _integers(">i8"),
    "oid": _integers(">u4"),
    "double precision": Decoder(lambda fields: fields.array(fields.read(">f8").astype(np.float64)), 8),
    "date": Decoder(_dates, 4),
    "bytea": Decoder(lambda fields: _texts(fields, kind=pa.binary())),
    "jsonb": Decoder(lambda fields: _texts(fields, 1)),  # behind the number of its version
    "uuid": Decoder(_uuids, 16),
}
