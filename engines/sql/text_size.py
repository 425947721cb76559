"""How long rows get as JSON text, without writing it: a short result in Arrow may be a long one in JSON, which repeats every column's
name and every value of a dictionary in each row.

About right, not exact: numbers count as their longest form, and characters that JSON escapes as single ones.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Sizes = npt.NDArray[np.int64]

_NULL = 4
_PUNCTUATION = 4  # quotes, colon and comma
_FIXED: tuple[tuple[Callable[[pa.DataType], bool], int], ...] = (
    (pa.types.is_null, _NULL),
    (pa.types.is_boolean, 5),
    (pa.types.is_integer, 20),
    (pa.types.is_floating, 24),
    (pa.types.is_date, 12),
    (pa.types.is_temporal, 36),
    (pa.types.is_decimal, 42),
)


def row_sizes(batch: pa.RecordBatch) -> Sizes:
    """Bytes of each row."""
    columns = [(column, _fixed(column.type)) for column in batch.columns]
    each = 2 + sum(len(name.encode()) + _PUNCTUATION for name in batch.schema.names) + sum(size or 0 for _, size in columns)
    sizes = np.full(batch.num_rows, each, np.int64)
    for column, size in columns:
        if size is None:
            sizes += _sizes(column)
    return sizes


@lru_cache
def _fixed(kind: pa.DataType) -> int | None:
    """Bytes of each value, None where that depends on it."""
    return next((size for test, size in _FIXED if test(kind)), None)


def _sizes(column: pa.Array) -> Sizes:
    kind = column.type
    if (size := _fixed(kind)) is not None:
        return np.full(len(column), size, np.int64)
    if pa.types.is_dictionary(kind):
        entries: Sizes = np.append(_sizes(column.dictionary), _NULL)
        indices = pc.fill_null(column.indices.cast(pa.int64()), len(entries) - 1)
        looked_up: Sizes = entries[indices.to_numpy(zero_copy_only=False)]
        return looked_up
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
        return _of_lists(column)
    if pa.types.is_struct(kind):
        names = sum(len(field.name.encode()) + _PUNCTUATION for field in kind.fields)
        return sum((_sizes(part) for part in column.flatten()), np.full(len(column), 2 + names, np.int64))
    try:
        lengths = pc.binary_length(column)
        texts: Sizes = (pc.fill_null(lengths, _NULL) if lengths.null_count else lengths).to_numpy().astype(np.int64)
    except pa.ArrowNotImplementedError:  # a type without text of its own: as large as in memory
        return np.full(len(column), 2 + 2 * column.nbytes // max(len(column), 1), np.int64)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return texts + 2
    return texts * 4 // 3 + 6  # base64


def _of_lists(column: pa.Array) -> Sizes:
    """Brackets, and what lies between two offsets."""
    elements = pa.StructArray.from_arrays([column.keys, column.items], ["", ""]) if pa.types.is_map(column.type) else column.values
    ends = np.concatenate(([0], np.cumsum(_sizes(elements) + 1)))
    offsets = column.offsets.to_numpy()
    sizes: Sizes = 2 + ends[offsets[1:]] - ends[offsets[:-1]]
    return sizes
