"""A stream of batches -> one Arrow IPC stream, cut at a number of rows or bytes. Reads no further than it must.

What becomes large goes on in memory that is shared (`shared.py`), where there is somebody to share it with.

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
from engines.sql.shared import LARGE, Shared
from engines.sql.text_size import row_sizes

FEW_ROWS = 1024
"""Up to which small batches are encoded as one: each costs as much as a thousand rows."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """An Arrow IPC stream, its rows, about how many bytes they are as text, and whether there were more.

    shared: what holds the stream instead of `ipc`, for whoever gets it to close; size: of the stream in bytes.
    """

    ipc: bytes
    rows: int
    text: int
    truncated: bool
    size: int = 0
    shared: Shared | None = None


class _Stream:
    """An Arrow IPC stream that moves from this process's memory into shared memory once it is large."""

    def __init__(self, schema: pa.Schema, *, share: bool) -> None:
        self._schema = schema
        self._share = share
        self._first: list[pa.RecordBatch] = []
        self._shared: Shared | None = None
        self._sink: pa.NativeFile = pa.BufferOutputStream()
        self._writer = pa.ipc.new_stream(self._sink, schema)

    def write(self, batch: pa.RecordBatch) -> None:
        if self._share and self._shared is None:
            self._first.append(batch)
            if self.size + batch.nbytes >= LARGE:
                self._shared = Shared()
                self._sink = self._shared.sink
                self._writer = pa.ipc.new_stream(self._sink, self._schema)
                for held in self._first:
                    self._writer.write_batch(held)
                self._first.clear()
                return
        self._writer.write_batch(batch)

    @property
    def size(self) -> int:
        return int(self._sink.tell())

    def discard(self) -> None:
        if self._shared is not None:
            self._shared.close()

    def end(self, rows: int, text: int, truncated: bool) -> Encoded:
        self._writer.close()
        size = self.size
        if self._shared is None:
            return Encoded(self._sink.getvalue().to_pybytes(), rows, text, truncated, size)
        self._sink.close()
        return Encoded(b"", rows, text, truncated, size, self._shared)


def encode(schema: pa.Schema, batches: Iterable[pa.RecordBatch], rows: int, size: int, *, share: bool = False) -> Encoded:
    """At most `rows` rows in about `size` bytes; share: whether a large one may be in shared memory. Raises QueryProblem if not even the
    first row fits."""
    plain = plain_schema(schema)
    stream = _Stream(plain, share=share)
    written, text, truncated = 0, 0, False
    try:
        for raw in _gathered(batches, min(rows, FEW_ROWS)):
            batch = _cast(raw, plain)
            texts = np.cumsum(row_sizes(batch))
            fitting = min(
                batch.num_rows, rows - written, _rows_within(batch, size - stream.size), int(np.searchsorted(texts, size - text, "right"))
            )
            truncated = fitting < batch.num_rows
            if fitting:
                stream.write(batch.slice(0, fitting))
                written += fitting
                text += int(texts[fitting - 1])
            if truncated:
                break
        if truncated and not written and rows:
            raise QueryProblem("too-large", f"The first row alone is larger than a result may be ({size} bytes).", "Select fewer columns.")
        return stream.end(written, text, truncated)
    except BaseException:
        stream.discard()
        raise


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
