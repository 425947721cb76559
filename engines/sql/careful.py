"""What is shown of rows in memory, where a policy fails on some: a row whose filter fails is hidden, a value whose mask fails is null.

A statement is stopped by one failing row, and that it fails would tell of rows that are hidden. Here a batch that fails is halved until
the rows are found. It refuses policies that fail on many rows of a batch: those are told to whoever reads. Next: `barrier.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import pyarrow as pa
from datafusion import DataFrame, SessionContext, column
from datafusion.catalog import Table

from engines.sql.barrier import guarded, permitted, shown_columns
from engines.sql.problems import QueryProblem
from engines.sql.shown import Masked, ShownAs

MOST_FAILURES = 400
"""Evaluations that fail before a policy is given up: each costs some milliseconds, and a failing row about 16 of them."""


class Careful:
    """Applies what is shown to batches of one table. failures are counted over all of them."""

    def __init__(self, name: str, shown: ShownAs) -> None:
        """name: by which policies may call the table."""
        self._name = name
        self._shown = shown
        self._failures = 0

    def rows(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """What is shown of each, in their columns. Raises QueryProblem where the policy cannot be applied."""
        for batch in batches:
            yield from self._rows(batch)

    def _rows(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        found = self._tried(batch, self._shown)
        if found is not None:
            yield from found
        elif batch.num_rows > 1:
            half = batch.num_rows // 2
            yield from self._rows(batch.slice(0, half))
            yield from self._rows(batch.slice(half))
        else:
            yield from self._row(batch)

    def _row(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """One row that fails: first its filter alone, then without the masks that fail."""
        hidden = tuple(Masked(mask.column, "null") for mask in self._shown.masks)
        if self._tried(batch, replace(self._shown, masks=hidden)) is None:
            return
        masks = tuple(
            mask if self._tried(batch, replace(self._shown, masks=(*hidden[:number], mask, *hidden[number + 1 :]))) is not None else null
            for number, (mask, null) in enumerate(zip(self._shown.masks, hidden, strict=True))
        )
        yield from self._tried(batch, replace(self._shown, masks=masks)) or ()

    def _tried(self, batch: pa.RecordBatch, shown: ShownAs) -> list[pa.RecordBatch] | None:
        """None where it fails. Raises QueryProblem where it failed too often, or for want of memory."""
        try:
            with guarded(shown):
                rows = permitted(table_of(batch), self._name, shown)
                return [part for part in _columns(rows, batch.schema, shown).collect() if part.num_rows]
        except QueryProblem as problem:
            self._failures += 1
            if problem.problem != "policy" or self._failures > MOST_FAILURES:
                raise
            return None


def _columns(rows: DataFrame, schema: pa.Schema, shown: ShownAs) -> DataFrame:
    return rows.select(*shown_columns(schema, shown)).select(*(column(f'"{name}"') for name in schema.names))


def table_of(batch: pa.RecordBatch) -> Table:
    """The batch, to be read by DataFusion."""
    context = SessionContext()
    context.register_record_batches("t", [[batch]])
    return context.catalog().schema().table("t")
