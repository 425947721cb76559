"""Boundary duplicates: rows that an incremental read brings once more, since it begins where the last one ended.

A row is dropped if the table has one that is equal in every column: without a key as often as it has it, since a source may hold two equal
rows. Only rows
whose cursor is within what was read before are looked at; the rest passes as it is. Memory is one digest a row of the window.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_NONE: npt.NDArray[np.int64] = np.empty(0, np.int64)


class Window:
    """The rows at the boundary that are in the table."""

    def __init__(
        self, rows: Iterable[pa.RecordBatch] = (), cursor: str = "", until: pa.Scalar | None = None, *, keyed: bool = False
    ) -> None:
        """rows: with all columns of the table. until: the greatest cursor value that was read before; None: any row may be known. keyed:
        each row is there once, and may be asked for again."""
        self._taken = 0 if keyed else 1
        self._cursor = cursor
        self._until = until
        self._names: list[str] = []
        self._known: Counter[bytes] = Counter()
        for batch in rows:
            self._names = batch.schema.names
            self._known.update(_digests(batch, self._names))

    def known(self, batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
        """The rows that the table has, ascending."""
        if not self._known:
            return _NONE
        suspects = pc.less_equal(batch.column(self._cursor), self._until) if self._until is not None else None
        if suspects is not None and not pc.any(suspects).as_py():
            return _NONE
        rows = pa.array(range(batch.num_rows)) if suspects is None else pc.indices_nonzero(suspects)
        found: list[int] = []
        for row, mark in zip(rows.to_pylist(), _digests(batch.take(rows), self._names), strict=True):
            if self._known[mark] > 0:
                self._known[mark] -= self._taken
                found.append(row)
        return np.array(found, np.int64)


def _digests(batch: pa.RecordBatch, names: list[str]) -> Iterator[bytes]:
    """Of each row, its values by the table's columns (null where it has none): equal for equal rows."""
    present = set(batch.schema.names)
    others = [name for name in batch.schema.names if name not in names]
    columns = [batch.column(name).to_pylist() if name in present else [None] * batch.num_rows for name in names]
    # a column that the table does not have yet makes a row another, unless it is null
    columns += [batch.column(name).to_pylist() for name in others if batch.column(name).null_count < batch.num_rows]
    for row in zip(*columns, strict=True):
        yield hashlib.blake2b(repr(row).encode("utf-8", "surrogatepass"), digest_size=16).digest()
