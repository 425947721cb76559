"""Boundary duplicates: rows that an incremental read brings once more, since it begins where the last one ended.

A row is dropped if the table has one that is equal in every column, as often as it has it: a source may hold two equal rows. Only rows
whose cursor is within what was read before are looked at; the rest passes as it is. Memory is one digest a row of the window.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc


class Window:
    """The rows at the boundary that are in the table."""

    def __init__(self, rows: Iterable[pa.RecordBatch] = (), cursor: str = "", until: pa.Scalar | None = None) -> None:
        """rows: with all columns of the table. until: the greatest cursor value that was read before; None: any row may be known."""
        self._cursor = cursor
        self._until = until
        self._names: list[str] = []
        self._known: Counter[bytes] = Counter()
        for batch in rows:
            self._names = batch.schema.names
            self._known.update(_digests(batch, self._names))

    def fresh(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows that are not known."""
        if not self._known:
            return batch
        suspects = pc.less_equal(batch.column(self._cursor), self._until) if self._until is not None else None
        if suspects is not None and not pc.any(suspects).as_py():
            return batch
        rows = pa.array(range(batch.num_rows)) if suspects is None else pc.indices_nonzero(suspects)
        drop: list[int] = []
        for row, mark in zip(rows.to_pylist(), _digests(batch.take(rows), self._names), strict=True):
            if self._known[mark] > 0:
                self._known[mark] -= 1
                drop.append(row)
        if not drop:
            return batch
        keep = pa.array([True] * batch.num_rows).to_numpy(zero_copy_only=False).copy()
        keep[drop] = False
        return batch.filter(pa.array(keep))


def _digests(batch: pa.RecordBatch, names: list[str]) -> Iterator[bytes]:
    """Of each row, its values by the table's columns (null where it has none): equal for equal rows."""
    present = set(batch.schema.names)
    others = [name for name in batch.schema.names if name not in names]
    columns = [batch.column(name).to_pylist() if name in present else [None] * batch.num_rows for name in names]
    # a column that the table does not have yet makes a row another, unless it is null
    columns += [batch.column(name).to_pylist() for name in others if batch.column(name).null_count < batch.num_rows]
    for row in zip(*columns, strict=True):
        yield hashlib.blake2b(repr(row).encode("utf-8", "surrogatepass"), digest_size=16).digest()
