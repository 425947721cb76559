"""What the catalog keeps of a table's Parquet files. Records as in `tables.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Self, TypeAlias

from state.objects import ObjectRef

Role: TypeAlias = Literal["base", "delta"]


Scalar: TypeAlias = str | int | float | bool | None
"""A value as JSON has it: dates and timestamps in ISO 8601, decimals as text; never NaN or infinite, integers within 64 bits."""


EDIT, EDITS, COMPACTION = "edit:", "edits:", "compaction:"
"""How the source of a data file begins that was not read from one content: a row changed by hand, several of them, a fold of files."""


def is_content(source: str) -> bool:
    """Whether it is the digest of a content that was read."""
    return not source.startswith((EDIT, EDITS, COMPACTION))


class ColumnStats(NamedTuple):
    """Least and greatest non-null value of a column in one file (None: unknown, or there is none), and its number of nulls."""

    min: Scalar
    max: Scalar
    nulls: int


@dataclass(frozen=True, slots=True)
class DataFile:
    """One Parquet file of a table.

    `source` is the content digest of the input it was made of; `first_row` the ordinal in that input of its first row; `sequence` says
    which file's rows win when a key is in several (the greatest). `key_min` and `key_max` are the least and greatest primary key, one
    value per key column, or None without a primary key. `deletes` counts those of its rows that are tombstones: they delete the row of
    their key. `lost`: nobody has the object any more; readers do without its rows.
    """

    ref: ObjectRef
    role: Role
    sequence: int
    rows: int
    source: str
    first_row: int
    schema_id: int
    key_min: tuple[Scalar, ...] | None = None
    key_max: tuple[Scalar, ...] | None = None
    columns: Mapping[str, ColumnStats] = field(default_factory=dict, hash=False)
    deletes: int = 0
    lost: bool = False

    @property
    def key(self) -> str:
        return self.ref.key

    def to_dict(self) -> dict[str, Any]:
        return {
            "ref": self.ref.to_dict(),
            "role": self.role,
            "sequence": self.sequence,
            "rows": self.rows,
            "source": self.source,
            "first_row": self.first_row,
            "schema_id": self.schema_id,
            "key_min": None if self.key_min is None else list(self.key_min),
            "key_max": None if self.key_max is None else list(self.key_max),
            "columns": {name: {"min": low, "max": high, "nulls": nulls} for name, (low, high, nulls) in self.columns.items()},
            **({"deletes": self.deletes} if self.deletes else {}),
            **({"lost": True} if self.lost else {}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        low, high = data["key_min"], data["key_max"]
        changed = {
            "ref": ObjectRef.from_dict(data["ref"]),
            "key_min": None if low is None else tuple(low),
            "key_max": None if high is None else tuple(high),
            "columns": {name: ColumnStats(**stats) for name, stats in data["columns"].items()},
        }
        return cls(**{**data, **changed})
