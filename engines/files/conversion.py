"""Columns of text -> columns of values, whole columns at a time.

pyarrow's own CSV conversion would take `007` as 7, `0x10` as 16, `1e400` as infinity and drop digits beyond the seventeenth. Here every
column arrives as text (which is also faster: 0.15 s against 0.33 s for 1M timesheets, as no type is tried in vain), is cast by one
kernel, and is first checked by arithmetic on its offsets and first bytes, which costs a few ms a million values. Only columns that fail
this sufficient test are matched against the exact patterns of `shapes.py`.

An override in the spec is the operator's word: then whatever the cast accepts is taken. Raises `Unfit` with the position of the first
value that is none of the type; `csv.py` turns that into a line number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from engines.errors import EngineUnsupported
from engines.files import shapes
from engines.files.types import arrow_type

_NINE, _ZERO, _MINUS, _PLUS, _POINT = (ord(character) for character in "90-+.")
_TIMESTAMP_SHORTEST = len("2024-01-01 00:00")


class Unfit(Exception):
    """index: of the first value in the column, from 0, that is none of the type."""

    def __init__(self, index: int, value: str) -> None:
        super().__init__(index, value)
        self.index = index
        self.value = value


@dataclass(frozen=True, slots=True)
class _Texts:
    """The buffers of a string column. starts, lengths: of the non-empty values only; data: uint8, everything."""

    data: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int32]
    lengths: npt.NDArray[np.int32]

    @property
    def firsts(self) -> npt.NDArray[np.uint8]:
        return self.data[self.starts]

    def has_leading_zero(self, unless: int | None = None) -> bool:
        """A zero before another character, other than the byte `unless`; a minus before a zero counts, to be looked at closely."""
        firsts = self.firsts
        zeros = (firsts == _ZERO) & (self.lengths > 1)
        if zeros.any() and (unless is None or (self.data[self.starts[zeros] + 1] != unless).any()):
            return True
        negative = firsts == _MINUS
        if not negative.any():
            return False
        starts, lengths = self.starts[negative], self.lengths[negative]
        return bool((lengths < 2).any() or (self.data[starts + 1] == _ZERO).any())


def salvage(
    count: int, fitted: Callable[[int, int], pa.Array], kind: pa.DataType, misfits: tuple[type[Exception], ...]
) -> tuple[pa.Array, list[int]]:
    """A column of `kind` with null where a value does not fit, and the places of these, found by halving.

    fitted: the column from a place on, so many values of it, or one of `misfits` if any of them does not fit.
    """
    parts, unfit = [], []
    waiting = [(0, count)]
    while waiting:
        first, number = waiting.pop()
        try:
            parts.append(fitted(first, number))
        except misfits:
            if number > 1:
                half = number // 2
                waiting += [(first + half, number - half), (first, half)]
                continue
            unfit.append(first)
            parts.append(pa.nulls(1, kind))
    return pa.concat_arrays(parts), unfit


def has_nul(column: pa.Array) -> bool:
    """Whether any value of a string column contains a NUL byte."""
    return b"\0" in _data(column).tobytes()


def convert(column: pa.Array, kind: str, *, strict: bool) -> pa.Array:
    """A string column as one of our types; an empty text is null unless kind is string.

    strict: only what `shapes.fits` accepts; otherwise whatever the cast accepts. Raises Unfit, EngineUnsupported (lists).
    """
    if kind == "string":
        return column
    target = arrow_type(kind)
    if pa.types.is_list(target):
        raise EngineUnsupported(f"a delimited file has no {kind}", remedy="Keep the column a string.")
    column = _empty_as_null(column)
    if strict and kind in shapes.PATTERNS and not _surely(column, kind):
        _check_each(column, kind)
    try:
        result = _cast(column, target)
    except pa.ArrowInvalid:
        raise _first_unfit(column, target) from None
    if not strict and kind in ("date", "timestamp") and not _surely_dated(_texts(column)):
        _check_years(column)
    return result


def _surely(column: pa.Array, kind: str) -> bool:
    """A cheap test that is sufficient (with the cast's own) for every value to fit."""
    if len(column) == column.null_count:
        return True
    texts = _texts(column)
    if kind == "int64":
        return bool(texts.lengths.max() <= 18 and texts.data.max() <= _NINE and not texts.has_leading_zero())
    if kind == "float64":
        plain = texts.lengths.max() <= shapes.EXACT_DIGITS and texts.data.max() <= _NINE and not (texts.firsts == _PLUS).any()
        return bool(plain and not texts.has_leading_zero(unless=_POINT))
    if kind == "date":
        return _surely_dated(texts)
    if kind == "timestamp":
        return bool(texts.lengths.min() >= _TIMESTAMP_SHORTEST) and _surely_dated(texts)
    return False


def _surely_dated(texts: _Texts) -> bool:
    """No year begins with a zero: Arrow knows a year 0, Python and Parquet readers do not."""
    return not (texts.firsts == _ZERO).any()


def _check_each(column: pa.Array, kind: str) -> None:
    """Every value against the exact pattern, and where a pattern is not enough (precision, days that exist) against `shapes.fits`."""
    misses = pc.indices_nonzero(pc.invert(pc.match_substring_regex(column, shapes.PATTERNS[kind])))
    limit = misses[0].as_py() if len(misses) else len(column)
    for index in _suspects(column.slice(0, limit), kind):
        text = column[index].as_py()
        if not shapes.fits(text, kind):
            raise Unfit(index, text)
    if limit < len(column):
        raise Unfit(limit, column[limit].as_py())


def _suspects(column: pa.Array, kind: str) -> list[int]:
    """Positions of values that match the pattern and still need a closer look."""
    if kind == "float64":
        odd = pc.or_(pc.greater(pc.binary_length(column), shapes.EXACT_DIGITS), pc.match_substring_regex(column, "[eE]"))
        # What a program wrote as the shortest form of its float64 comes back letter by letter; only the rest is slow.
        odd = pc.and_(odd, pc.not_equal(pc.cast(pc.cast(column, pa.float64()), pa.string()), column))
    elif kind in ("date", "timestamp"):
        odd = pc.starts_with(column, "0")
    else:
        return []
    found: list[int] = pc.indices_nonzero(odd).to_pylist()
    return found


def _check_years(column: pa.Array) -> None:
    zero = pc.indices_nonzero(pc.starts_with(column, "0000"))
    if len(zero):
        index = zero[0].as_py()
        raise Unfit(index, column[index].as_py())


def _cast(column: pa.Array, target: pa.DataType) -> pa.Array:
    if not pa.types.is_timestamp(target):
        return pc.cast(column, target)
    try:
        return pc.cast(column, target)
    except pa.ArrowInvalid:  # zoned, all of them or it is no one kind of time
        return pc.cast(pc.cast(column, pa.timestamp(target.unit, "UTC")), target)


def _first_unfit(column: pa.Array, target: pa.DataType) -> Unfit:
    """Halving: the first position at which the cast of what lies before it fails."""
    low, high = 0, len(column)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            _cast(column.slice(0, middle), target)
        except pa.ArrowInvalid:
            high = middle
        else:
            low = middle
    return Unfit(low, column[low].as_py())


def _empty_as_null(column: pa.Array) -> pa.Array:
    """Exports that quote everything write a missing number as "". Empty unquoted cells are null already."""
    if len(column) == 0:
        return column
    lengths = np.diff(_offsets(column))
    if int((lengths == 0).sum()) == column.null_count:
        return column
    return pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)


def _offsets(column: pa.Array) -> npt.NDArray[np.int32]:
    return np.frombuffer(column.buffers()[1], np.int32, len(column) + 1, column.offset * 4)


def _data(column: pa.Array) -> npt.NDArray[np.uint8]:
    buffer = column.buffers()[2]
    if buffer is None or len(column) == 0:
        return np.zeros(0, np.uint8)
    offsets = _offsets(column)
    return np.frombuffer(buffer, np.uint8)[offsets[0] : offsets[-1]]


def _texts(column: pa.Array) -> _Texts:
    offsets = _offsets(column)
    starts, lengths = offsets[:-1] - offsets[0], np.diff(offsets)
    if lengths.size and not lengths.min():
        kept = lengths > 0
        starts, lengths = starts[kept], lengths[kept]
    return _Texts(_data(column), starts, lengths)
