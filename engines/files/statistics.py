"""What a catalog keeps about the columns of a data file: least, greatest, nulls; and the range of its primary keys.

The figures come from the Parquet footer, which the writer has computed anyway. Long texts are cut so that the range only grows: the
least is a prefix, the greatest a prefix moved up by one; where there is none, it is unknown. Next: `table_writer.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from state.catalog.data_files import ColumnStats, Scalar

KEPT_CHARACTERS = 64

Key = tuple[Scalar, ...]


def column_stats(footer: pq.FileMetaData, names: Sequence[str]) -> Mapping[str, ColumnStats]:
    """Statistics of the named columns over all row groups; of a list, nothing is known, so it is left out."""
    found: dict[str, ColumnStats] = {}
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    positions = {footer.schema.column(position).path: position for position in range(footer.num_columns)}
    for name in names:
        if (position := positions.get(name)) is not None:
            found[name] = _merge([group.column(position).statistics for group in groups])
    return found


def _merge(parts: Sequence[Any]) -> ColumnStats:
    nulls = sum(part.null_count for part in parts if part is not None and part.has_null_count)
    ranged = [part for part in parts if part is not None and part.has_min_max]
    # A row group of nulls alone has no range and takes none away; one without statistics leaves the range unknown.
    if any(part is None or (not part.has_min_max and part.num_values) for part in parts) or not ranged:
        return ColumnStats(None, None, nulls)
    low, high = min(part.min for part in ranged), max(part.max for part in ranged)
    return ColumnStats(_at_most(low), _at_least(high), nulls)


def _at_most(value: Any) -> Scalar:
    return value[:KEPT_CHARACTERS] if isinstance(value, str) else scalar(value)


def _at_least(value: Any) -> Scalar:
    if not isinstance(value, str) or len(value) <= KEPT_CHARACTERS:
        return scalar(value)
    for end in range(KEPT_CHARACTERS, 0, -1):
        following = ord(value[end - 1]) + 1
        if following < 0x110000 and not 0xD800 <= following <= 0xDFFF:
            return value[: end - 1] + chr(following)
    return None


def scalar(value: Any) -> Scalar:
    """A value as the catalog's JSON has it; None for what JSON cannot order (bytes, NaN, infinities)."""
    if isinstance(value, float):
        return value + 0.0 if math.isfinite(value) else None  # -0.0 is 0.0
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else None


class KeyRange:
    """Least and greatest primary key of the rows seen, column by column in the key's order."""

    def __init__(self, key: Sequence[str]) -> None:
        """key: the primary key's columns; none of their values may be null."""
        self._key = tuple(key)
        self._low: tuple[Any, ...] | None = None
        self._high: tuple[Any, ...] | None = None

    def add(self, rows: pa.Table, *, sorted_by_key: bool) -> None:
        """Widens the range by some rows, at least one."""
        if not self._key:
            return
        low, high = (
            (_row(rows, 0, self._key), _row(rows, -1, self._key))
            if sorted_by_key
            else (self._extreme(rows, "min"), self._extreme(rows, "max"))
        )
        self._low = low if self._low is None else min(self._low, low)
        self._high = high if self._high is None else max(self._high, high)

    @property
    def low(self) -> Key | None:
        """JSON-able; None without rows or key."""
        return None if self._low is None else tuple(map(scalar, self._low))

    @property
    def high(self) -> Key | None:
        """JSON-able; None without rows or key."""
        return None if self._high is None else tuple(map(scalar, self._high))

    def _extreme(self, rows: pa.Table, end: str) -> tuple[Any, ...]:
        """The least or greatest key: of the first column, then among its rows of the second, and so on."""
        found = []
        for position, name in enumerate(self._key):
            value = pc.min_max(rows[name])[end]
            found.append(value.as_py())
            if position + 1 < len(self._key):
                rows = rows.select(self._key).filter(pc.equal(rows[name], value))
        return tuple(found)


def _row(rows: pa.Table, index: int, key: Sequence[str]) -> tuple[Any, ...]:
    return tuple(rows[name][index].as_py() for name in key)
