"""What is shown of rows in memory, where a policy fails on some: a row whose filter fails is hidden, a value whose mask fails is null.

A statement is stopped by one failing row, and that it fails would tell of rows that are hidden. So would giving a policy up that fails on
many: however many there are, each is found. A plan runs over the slices of a batch as partitions, which fail each for itself; those that
do are sliced into single rows, at some 0.3 ms a row. Next: `barrier.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from math import isqrt

import pyarrow as pa
from datafusion import DataFrame, SessionContext, column
from datafusion.catalog import Table

from engines.sql.barrier import guarded, permitted, visible_columns, visible_schema
from engines.sql.problems import QueryProblem
from engines.sql.readings import quote
from engines.sql.shown import Masked, ShownAs

FEW = 128
"""Rows that are tried one by one at once."""


class Careful:
    """Applies what is shown to batches of one table."""

    def __init__(self, name: str, shown: ShownAs, carried: Sequence[str] = ()) -> None:
        """name: by which policies may call the table. carried: columns that are handed through unmasked besides, as by `barrier`."""
        self._name = name
        self._shown = shown
        self._carried = tuple(carried)
        self._hidden = tuple(Masked(mask.column, "null") for mask in shown.masks)

    def rows(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """What is shown of each, in their columns. Raises QueryProblem where the policy cannot be planned, or for want of memory."""
        for batch in batches:
            yield from self._rows([batch])

    def _rows(self, slices: Sequence[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Of slices of one batch, all of a single row or each of several."""
        tried = self._tried(slices, self._shown)
        if slices[0].num_rows == 1:
            fallen = [row for row, found in zip(slices, tried, strict=True) if found is None]
            mended = iter(self._fallen(fallen))
            yield from _together([one for found in tried for one in (next(mended) if found is None else found)])
            return
        for batch, found in zip(slices, tried, strict=True):
            if found is not None:
                yield from found
            elif batch.num_rows:
                size = 1 if batch.num_rows <= FEW else isqrt(batch.num_rows)
                yield from self._rows([batch.slice(start, size) for start in range(0, batch.num_rows, size)])

    def _fallen(self, rows: Sequence[pa.RecordBatch]) -> list[list[pa.RecordBatch]]:
        """Of single rows that fail: first their filter alone, then without the masks that fail."""
        if not rows:
            return []
        shown = [found is not None for found in self._tried(rows, replace(self._shown, masks=self._hidden))]
        failing: list[set[int]] = [set() for _ in rows]
        for number, mask in enumerate(self._shown.masks):
            alone = (*self._hidden[:number], mask, *self._hidden[number + 1 :])
            for place, found in enumerate(self._tried(rows, replace(self._shown, masks=alone))):
                if found is None:
                    failing[place].add(number)
        mended: list[list[pa.RecordBatch]] = [[] for _ in rows]
        for without in {frozenset(numbers) for numbers, there in zip(failing, shown, strict=True) if there}:
            places = [place for place, numbers in enumerate(failing) if shown[place] and numbers == without]
            masks = tuple(self._hidden[number] if number in without else mask for number, mask in enumerate(self._shown.masks))
            for place, found in zip(places, self._tried([rows[place] for place in places], replace(self._shown, masks=masks)), strict=True):
                mended[place] = found or []
        return mended

    def _tried(self, slices: Sequence[pa.RecordBatch], shown: ShownAs) -> list[list[pa.RecordBatch] | None]:
        """Of each slice what is shown, None where it fails."""
        with guarded(shown):
            rows = permitted(table_of(*slices), self._name, shown, partitions=1)
            streams = self._columns(rows, slices[0].schema, shown).execute_stream_partitioned()
        if len(streams) != len(slices):
            raise RuntimeError(f"{len(slices)} slices are read as {len(streams)}")
        found: list[list[pa.RecordBatch] | None] = []
        for stream in streams:
            try:
                with guarded(shown):
                    found.append([part for batch in stream if (part := batch.to_pyarrow()).num_rows])
            except QueryProblem as problem:
                if problem.problem != "policy":
                    raise
                found.append(None)
        return found

    def _columns(self, rows: DataFrame, schema: pa.Schema, shown: ShownAs) -> DataFrame:
        columns = visible_columns(schema, shown, self._carried)
        return rows.select(*columns).select(*(column(quote(name)) for name in visible_schema(schema, self._carried).names))


def _together(batches: Sequence[pa.RecordBatch]) -> Sequence[pa.RecordBatch]:
    return pa.Table.from_batches(batches).combine_chunks().to_batches() if batches else ()


def table_of(*slices: pa.RecordBatch) -> Table:
    """Batches of one schema as partitions, to be read by DataFusion."""
    context = SessionContext()
    context.register_record_batches("t", [[batch] for batch in slices])
    return context.catalog().schema().table("t")
