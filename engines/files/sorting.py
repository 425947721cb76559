"""Rows of an upsert: sorted by primary key, the last row of a key winning, however large the file.

Rows are gathered to runs, each sorted and freed of repeated keys. One run is the result. More are written to staged files of the
bucket's disk and merged: a block of each run is in memory; all rows up to the least of the blocks' last keys are complete, are sorted
together and given on. Memory is one run, or a block per run. Next: `table_writer.py`, which takes the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engines.files.table_writer import out_of_space
from state.objects import ObjectStore

RUN_ROWS = 512 * 1024
RUN_BYTES = 64 << 20
BLOCK_BYTES = 512 << 10
ORDER_COLUMN = "_order"
"""The place of a row in the file, within the runs; `ingest.py` reserves the name."""


class LastRows:
    """Takes rows in the file's order, gives the last of each key in key order. Columns and types must be the same in all batches."""

    def __init__(self, store: ObjectStore, key: Sequence[str]) -> None:
        """key: columns without nulls."""
        self._store, self._key = store, tuple(key)
        self._waiting: list[pa.RecordBatch] = []
        self._rows = self._bytes = self._taken = 0
        self._runs: list[Path] = []

    def add(self, batch: pa.RecordBatch) -> None:
        """Rows that follow the former ones. Raises DiskFull."""
        order = pa.array(np.arange(self._taken, self._taken + batch.num_rows))
        self._waiting.append(batch.append_column(ORDER_COLUMN, order))
        self._taken += batch.num_rows
        self._rows += batch.num_rows
        self._bytes += batch.nbytes
        if self._rows >= RUN_ROWS or self._bytes >= RUN_BYTES:
            self._spill()

    def sorted(self) -> Iterator[pa.RecordBatch]:
        """The rows, once. Removes its files at the end; `discard` does, if it is not reached."""
        if not self._runs:
            if self._waiting:
                yield from self._last(pa.Table.from_batches(self._waiting)).drop_columns([ORDER_COLUMN]).to_batches()
            return
        if self._waiting:
            self._spill()
        for table in _merge([_Run(path, self._key) for path in self._runs]):
            yield from self._last(table).drop_columns([ORDER_COLUMN]).to_batches()
        self.discard()

    def discard(self) -> None:
        """Removes the files of the runs."""
        while self._runs:
            self._runs.pop().unlink(missing_ok=True)
        self._waiting = []

    def _last(self, rows: pa.Table) -> pa.Table:
        return last_rows(rows, self._key, ORDER_COLUMN)

    def _spill(self) -> None:
        table = self._last(pa.Table.from_batches(self._waiting))
        self._waiting, self._rows, self._bytes = [], 0, 0
        path = self._store.stage()
        self._runs.append(path)
        block = max(1, min(table.num_rows, table.num_rows * BLOCK_BYTES // max(table.nbytes, 1)))
        with out_of_space(self._store, path), pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=block)


def last_rows(rows: pa.Table, key: Sequence[str], order: str) -> pa.Table:
    """rows sorted by key, of each key the one with the greatest `order` (a column that is unique)."""
    rows = rows.combine_chunks()
    if rows.num_rows < 2:
        return rows
    if not _ascending(rows, key):
        keys = [(name, "ascending") for name in (*key, order)]
        rows = rows.take(pc.sort_indices(rows, sort_keys=keys)).combine_chunks()
    ends = _differs_from_next(rows, key)
    return rows if ends.all() else rows.filter(pa.array(ends))


def _ascending(rows: pa.Table, key: Sequence[str]) -> bool:
    """Whether the first key column alone is strictly ascending already, as in most exports."""
    column = rows[key[0]]
    return bool(pc.all(pc.less(column.slice(0, len(column) - 1), column.slice(1))).as_py())


def _differs_from_next(rows: pa.Table, key: Sequence[str]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    differs = np.zeros(rows.num_rows, bool)
    differs[-1] = True
    for name in key:
        column = rows[name]
        unequal = pc.not_equal(column.slice(0, len(column) - 1), column.slice(1))
        differs[:-1] |= unequal.to_numpy()
    return differs


class _Run:
    """A sorted file of unique keys, with one block in memory."""

    def __init__(self, path: Path, key: Sequence[str]) -> None:
        self._file = pa.OSFile(str(path))
        self._reader = pa.ipc.open_file(self._file)
        self._key, self._next = key, 0
        self.block = pa.Table.from_batches([], self._reader.schema)
        self.refill()

    def refill(self) -> None:
        """The next block, if this one is used up."""
        if self.block.num_rows == 0 and self._next < self._reader.num_record_batches:
            self.block = pa.Table.from_batches([self._reader.get_batch(self._next)])
            self._next += 1
        elif self.block.num_rows == 0:
            self._file.close()

    def last(self) -> tuple[Any, ...]:
        """The greatest key in memory."""
        return self._at(self.block.num_rows - 1)

    def take_up_to(self, bound: tuple[Any, ...]) -> pa.Table:
        """The rows in memory whose key is not above bound."""
        low, high = 0, self.block.num_rows
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self._at(middle) <= bound else (low, middle)
        taken, self.block = self.block.slice(0, low), self.block.slice(low)
        return taken

    def _at(self, index: int) -> tuple[Any, ...]:
        return tuple(self.block[name][index].as_py() for name in self._key)


def _merge(runs: list[_Run]) -> Iterator[pa.Table]:
    """Rows of all runs in steps: no key of a step occurs in another, and steps ascend."""
    while runs := [run for run in runs if run.block.num_rows]:
        bound = min(run.last() for run in runs)
        parts = [run.take_up_to(bound) for run in runs]
        for run in runs:
            run.refill()
        yield pa.concat_tables(part for part in parts if part.num_rows)
