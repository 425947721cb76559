"""The one choke point of reading: who asks, for what, to do what -> may they, and which rows and values of it.

Every read passes `decide`: SQL, search, filters, listings, an offline `lakectl`. Pure data and code, so that it holds wherever a read is
made. It allows all so far, within the bucket that a reader keeps to. It refuses to know how a table is found (`sql/tables.py`) or how a
filter is applied (`sql/service.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Action: TypeAlias = Literal["read", "search", "describe"]
"""read: rows of a table, objects of a bucket; search: hits of an index; describe: that it exists, its columns and figures."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads. token: its id, never the secret; bucket: the only one whose tables, indexes and objects it sees, None for every one;
    attributes: what policies may compare with, such as a region."""

    token: str | None = None
    profile: str | None = None
    role: str | None = None
    bucket: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)


ANONYMOUS = Reader()
"""Whoever comes without a token."""


@dataclass(frozen=True, slots=True, order=True)
class TableName:
    """A table as SQL calls it: `job_orders` for the Dataset job-orders, `system.events` for a system table.

    bucket: where its rows lie; None for a system table, which is of all of them, and for one that is not there.
    """

    name: str
    bucket: str | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, order=True)
class IndexName:
    """An Index by its resource name. bucket: where its vectors lie; None before there are any."""

    name: str
    bucket: str | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, order=True)
class BucketName:
    """A Bucket by its resource name."""

    name: str

    def __str__(self) -> str:
        return self.name

    @property
    def bucket(self) -> str:
        """Itself."""
        return self.name


Readable: TypeAlias = TableName | IndexName | BucketName


@dataclass(frozen=True, slots=True)
class Decision:
    """What a reader may do. row_filter: a SQL condition that every row shown satisfies; masks: by column, the SQL shown in its place.

    Whoever cannot apply a filter or a mask must refuse the read.
    """

    allowed: bool
    row_filter: str | None = None
    masks: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def whole(self) -> bool:
        """Allowed, with all rows and values."""
        return self.allowed and self.row_filter is None and not self.masks


_ALL = Decision(allowed=True)
_NOTHING = Decision(allowed=False)


def decide(reader: Reader, name: Readable, action: Action) -> Decision:
    """What this reader may do with this table, index or bucket. Pure; asked once per name and request."""
    return _ALL if reader.bucket in (None, name.bucket) else _NOTHING
