"""The one choke point of reading: who asks, for what, to do what -> may they, and which rows and values of it.

Every read passes `decide`: SQL, search, filters, listings, an offline `lakectl`. Pure data and code, so that it holds wherever a read is
made. An operator, who holds the machine, sees all; everybody else sees what a profile binds, less what policies hide, and whatever nobody
thought of is hidden. It refuses to know how a table is found (`sql/tables.py`), how a filter is applied (`sql/barrier.py`), and who a
request speaks for. Next: `policies/governed.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from engines.policies.governed import Governed, Mask
from specs.resource import MARK

Action: TypeAlias = Literal["read", "search", "describe"]
"""read: rows of a table, objects of a bucket; describe: that it exists, its columns and figures; search: hits of an index, and of a table
the rows that an index which the reader may search has of it."""


class Rules(Protocol):
    """The policies in force at an instant."""

    def governed(self, dataset: str) -> Governed | None:
        """What governs a Dataset; None where nothing does, and nothing ever did. From memory."""


class _NoRules:
    def governed(self, dataset: str) -> Governed | None:
        return None


NO_RULES: Rules = _NoRules()


@dataclass(frozen=True, slots=True)
class Binding:
    """What a profile binds, by resource names. Nothing is bound by an empty one."""

    datasets: frozenset[str] = frozenset()
    indexes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads.

    Args:
        token: its id, never the secret.
        profile: by name; `binding`: what it binds, None for a reader that is bound to nothing by name, and sees whatever policies leave.
        role: by which policies know it; `attributes`: what policies may compare with, such as a region.
        bucket: the only one whose tables, indexes and objects it sees, None for every one.
        operator: of this machine, from whom nothing is hidden. Never set by what a spec says.
        rules: the policies that were in force when it came.
        at: the version or the instant of its world, None for the present.
        trusted: whether it has the wider limits.
        asked_by: the token of the operator who reads as this one, for the audit alone: nothing is decided by it.
    """

    token: str | None = None
    profile: str | None = None
    role: str | None = None
    bucket: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)
    operator: bool = False
    binding: Binding | None = None
    rules: Rules = field(default=NO_RULES, compare=False, repr=False)
    at: int | str | None = None
    trusted: bool = False
    asked_by: str | None = None


ANONYMOUS = Reader(operator=True, trusted=True)
"""Whoever comes without a token to a lake that asks for none, and an offline `lakectl`: the operator of this machine."""


@dataclass(frozen=True, slots=True, order=True)
class TableName:
    """A table as SQL calls it: `job_orders` for the Dataset job-orders, `system.events` for a system table.

    bucket: where its rows lie; None for a system table, which is of all of them, and for one that is not there.
    """

    name: str
    bucket: str | None = field(default=None, compare=False)

    @property
    def dataset(self) -> str:
        """The Dataset that SQL means."""
        return self.name.replace("_", "-")

    @property
    def system(self) -> bool:
        """Whether it is of the lake itself."""
        return self.name.startswith("system.")

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
    """What a reader may do. Whoever cannot apply a filter or a mask must refuse the read.

    Args:
        row_filter: one boolean SQL expression that every row shown satisfies, None for all rows.
        masks: by column.
        values: of the `$names` in filter and masks; what they name besides is null.
        policies: whose rules these are.
        closed: why nothing of it may be read though it may be known to be there; None where it is not to be known.
    """

    allowed: bool
    row_filter: str | None = None
    masks: Mapping[str, Mask] = field(default_factory=dict, hash=False)
    values: Mapping[str, str] = field(default_factory=dict, hash=False)
    policies: tuple[str, ...] = ()
    closed: str | None = None

    @property
    def whole(self) -> bool:
        """Allowed, with all rows and values."""
        return self.allowed and self.row_filter is None and not self.masks


_ALL = Decision(allowed=True)
_NOTHING = Decision(allowed=False)


def decide(reader: Reader, name: Readable, action: Action) -> Decision:
    """What this reader may do with this table, index or bucket. Pure; asked once per name and request."""
    if reader.bucket not in (None, name.bucket):
        return _NOTHING
    if reader.operator:
        return _ALL
    match name:
        case TableName():
            bound = reader.binding is None or action == "search" or name.dataset in reader.binding.datasets
            return _under_policies(reader, name.dataset) if bound and not name.system else _NOTHING
        case IndexName():
            index, _, owner = name.name.partition(MARK)
            theirs = owner in ("", reader.profile)  # what a profile has for itself is nobody else's
            return _ALL if theirs and (reader.binding is None or index in reader.binding.indexes) else _NOTHING
        case BucketName():
            return _NOTHING


def _under_policies(reader: Reader, dataset: str) -> Decision:
    governed = reader.rules.governed(dataset)
    if governed is None:
        return _ALL
    if governed.closed is not None:
        return Decision(allowed=False, closed=governed.closed)
    shown = governed.shown_to(reader.role)
    who = {"role": reader.role, "profile": reader.profile}
    values = {**reader.attributes, **{name: value for name, value in who.items() if value is not None}}
    return Decision(True, shown.row_filter, shown.masks, values, shown.policies)
