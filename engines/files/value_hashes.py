"""Values of columns -> numbers of 128 bits that stand for them, for looking up whether a value occurs elsewhere.

Values are compared by their text, so that 7 and "7" are the same whatever a file's type for them is; floats and whole numbers meet
(7.0 is "7"), decimals keep their scale. A hash is a pair of uint64, computed from the text eight bytes at a time over whole columns:
about 40 ms a million short values. That two of a billion values share one has a probability of 1e-21. Nobody's secret depends on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Words: TypeAlias = npt.NDArray[np.uint64]
Hashes: TypeAlias = tuple[Words, Words]
"""The two halves, one element a row."""

_LONG = 1024
"""Bytes from which a value is digested by itself."""
_FACTORS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))
_SHIFT = np.uint64(32)
_WORD = 8


def hash_rows(columns: Sequence[pa.Array]) -> tuple[Hashes, npt.NDArray[np.bool_]]:
    """Hashes of the rows' values in these columns together, and which rows have a value in each of them.

    Hashes of the other rows mean nothing. Raises pa.ArrowException for columns without a text form (lists).
    """
    whole = np.ones(len(columns[0]), np.bool_)
    first, second = (np.zeros(len(columns[0]), np.uint64) for _ in _FACTORS)
    for column in columns:
        text = _text(column)
        if text.null_count:
            whole &= pc.is_valid(text).to_numpy(zero_copy_only=False)
        one, other = _hash_texts(text)
        first, second = _mixed(first, one, _FACTORS[0]), _mixed(second, other, _FACTORS[1])
    return (first, second), whole


def _text(column: pa.Array) -> pa.Array:
    """As strings with offsets of 32 bits."""
    if pa.types.is_binary(column.type):
        return column
    return column if column.type == pa.string() else pc.cast(column, pa.string())


def _hash_texts(column: pa.Array) -> Hashes:
    count = len(column)
    offsets = (
        np.frombuffer(column.buffers()[1], np.int32, count + 1, column.offset * 4).astype(np.int64) if count else np.zeros(1, np.int64)
    )
    lengths = np.diff(offsets)
    if column.null_count:
        lengths = np.where(pc.is_valid(column).to_numpy(zero_copy_only=False), lengths, 0)
    # each half begins elsewhere, and in the high bits: a length by itself would be undone by the first byte of a control character
    first, second = (lengths.astype(np.uint64) * factor for factor in _FACTORS)
    buffer = column.buffers()[2]
    if buffer is None or not lengths.any():
        return _mixed(first, first, _FACTORS[0]), _mixed(second, second, _FACTORS[1])
    low, high = int(offsets[0]), int(offsets[-1])
    data = np.zeros(high - low + _WORD, np.uint8)
    data[: high - low] = np.frombuffer(buffer, np.uint8)[low:high]
    words = np.ndarray((high - low + 1,), np.dtype("<u8"), data, strides=(1,))  # the eight bytes that begin at each byte
    starts = offsets[:-1] - low
    rows: npt.NDArray[np.int64] | slice = slice(None)
    at, left = starts, lengths
    longest = int(lengths.max())
    for taken in range(0, min(longest, _LONG), _WORD):
        if taken:
            rows = np.flatnonzero(lengths > taken)
            at, left = starts[rows] + taken, lengths[rows] - taken
        word = words[at]
        short = left < _WORD
        if short.any():
            word = np.where(
                short, word & ((np.uint64(1) << (np.minimum(left, _WORD - 1).astype(np.uint64) * np.uint64(8))) - np.uint64(1)), word
            )
        first[rows] = _mixed(first[rows], word, _FACTORS[0])
        second[rows] = _mixed(second[rows], word, _FACTORS[1])
    if longest > _LONG:
        for row in np.flatnonzero(lengths > _LONG).tolist():
            digest = hashlib.blake2b(data[starts[row] : starts[row] + lengths[row]].tobytes(), digest_size=16).digest()
            first[row], second[row] = np.frombuffer(digest, np.uint64)
    return first, second


def _mixed(state: Words, word: Words, factor: np.uint64) -> Words:
    """Both into one. Multiplication carries a difference upwards, the shift brings it down again."""
    mixed = (state ^ word) * factor
    mixed ^= mixed >> _SHIFT
    mixed *= factor
    mixed ^= mixed >> np.uint64(29)
    return mixed
