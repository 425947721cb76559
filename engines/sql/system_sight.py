"""A reader and a name in SQL -> what it may see of that table, system tables included: a decision as any other.

`decide` knows no catalog, and so nothing of `system.*` but for operators; what of it is about Datasets and Indexes that a reader may know
of is found out here, by asking `decide` of each. Next: `engines/policies/system_tables.py`, which says what of their rows is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from engines.policies.system_tables import SHOWN, Known, part_of
from engines.reading import Decision, IndexName, Reader, TableName, decide


class Listing(Protocol):
    """What there is. From memory, or nearly so."""

    def names(self) -> Sequence[TableName]:
        """Every table."""

    def indexes(self) -> Sequence[IndexName]:
        """Every index."""

    def named(self, name: str) -> TableName:
        """The name with the bucket of its table."""

    def columns(self, name: TableName) -> tuple[Mapping[str, frozenset[str]], tuple[str, ...]]:
        """Every name that each present column of a Dataset has had, by the present one; and its primary key. Of nothing, nothing."""


def decision_of(reader: Reader, name: TableName, listing: Listing) -> Decision:
    """What the reader may read of the table. Blocking where it is one of `system.*` and the reader no operator."""
    decision = decide(reader, name, "read")
    if reader.operator or name.name not in SHOWN:
        return decision
    told = [(table, decide(reader, table, "read")) for table in _datasets(reader, listing) if decide(reader, table, "describe").allowed]
    known = [_known(table, shown, listing) for table, shown in told if shown.allowed]
    indexes = [index.name for index in listing.indexes() if decide(reader, index, "describe").allowed]
    part = part_of(name.name, known, indexes)
    if part is None:
        return decision
    policies = sorted({policy for _, shown in told for policy in shown.policies})
    return Decision(True, part.row_filter, part.masks, part.values, tuple(policies))


def _datasets(reader: Reader, listing: Listing) -> Sequence[TableName]:
    """Those that it may be asked of: what a profile binds is far less than there is."""
    if reader.binding is None:
        return [name for name in listing.names() if not name.system]
    return [listing.named(name.replace("-", "_")) for name in sorted(reader.binding.datasets) if "." not in name]


def _known(table: TableName, shown: Decision, listing: Listing) -> Known:
    if shown.whole:
        return Known(table.dataset)
    columns, key = listing.columns(table)
    return Known(table.dataset, shown.row_filter is not None, frozenset(shown.masks), columns, key)
