"""A stream of batches -> one Arrow IPC stream, cut at a number of rows or bytes. Reads no further than it must.

The bytes are those of the longer form, Arrow or JSON: what is cut here is neither held nor sent as either.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from engines.sql.problems import QueryProblem
from engines.sql.projection import plain_schema
from engines.sql.text_size import row_sizes

FEW_ROWS = 1024
"""Up to which small batches are encoded as one: each costs as much as a thousand rows."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """An Arrow IPC stream, its rows, about how many bytes they are as text, and whether there were more."""

    ipc: bytes
    rows: int
    text: int
    truncated: bool


def encode(schema: pa.Schema, batches: Iterable[pa.RecordBatch], rows: int, size: int) -> Encoded:
    """At most `rows` rows in about `size` bytes. Raises QueryProblem if not even the first row fits."""
    plain = plain_schema(schema)
    sink = pa.BufferOutputStream()
    written, text, truncated = 0, 0, False
    with pa.ipc.new_stream(sink, plain) as writer:
        for raw in _gathered(batches, min(rows, FEW_ROWS)):
            batch = _cast(raw, plain)
            texts = np.cumsum(row_sizes(batch))
            fitting = min(
                batch.num_rows, rows - written, _rows_within(batch, size - sink.tell()), int(np.searchsorted(texts, size - text, "right"))
            )
            truncated = fitting < batch.num_rows
            if fitting:
                writer.write_batch(batch.slice(0, fitting))
                written += fitting
                text += int(texts[fitting - 1])
            if truncated:
                break
    if truncated and not written and rows:
        raise QueryProblem("too-large", f"The first row alone is larger than a result may be ({size} bytes).", "Select fewer columns.")
    return Encoded(sink.getvalue().to_pybytes(), written, text, truncated)


def _gathered(batches: Iterable[pa.RecordBatch], few: int) -> Iterator[pa.RecordBatch]:
    """The batches with rows; those that follow each other as one, until they have a few rows."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        if batch.num_rows:
            waiting.append(batch)
            rows += batch.num_rows
        if rows and rows >= few:
            yield pa.concat_batches(waiting) if len(waiting) > 1 else batch
            waiting, rows = [], 0
    if waiting:
        yield pa.concat_batches(waiting)


def _cast(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """As `RecordBatch.cast`, which takes its time for columns that are of their type already, too."""
    columns = [
        column if column.type == field.type else column.cast(field.type) for column, field in zip(batch.columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _rows_within(batch: pa.RecordBatch, size: int) -> int:
    if batch.nbytes <= size:
        return int(batch.num_rows)
    bytes_of: Callable[[int], int] = lambda count: int(batch.slice(0, count).nbytes)  # noqa: E731 - bisect wants a key
    return bisect_right(range(1, batch.num_rows + 1), size, key=bytes_of)
