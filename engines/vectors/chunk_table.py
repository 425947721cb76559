"""The chunks of a build, in the order of its vectors: whose they are and what they say. A memory-mapped Arrow file.

It is uncompressed Arrow IPC in batches of equal length, so that a hit costs two lookups and no decoding, and its schema's metadata carries
the facts that an answer needs (dataset, table version, model): a build can be opened from its files and its record alone.
Next: `builds.py` writes it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engines.errors import BuildFailed
from engines.vectors.corpus_file import Facts
from engines.vectors.engine import Ids, Mask

BATCH = 16_384
SCHEMA = pa.schema([("key", pa.string()), ("chunk", pa.int32()), ("text", pa.string())])
Row = tuple[str, int, str]
"""The source row's key, the chunk's number within it, its text."""


class ChunkTable:
    """An open table. Thread-safe: it is only read."""

    def __init__(self, facts: Facts, batches: list[pa.RecordBatch]) -> None:
        """batches: of SCHEMA, each of BATCH rows but the last."""
        self.facts = facts
        self._keys = [batch.column(0) for batch in batches]
        self._numbers = [batch.column(1) for batch in batches]
        self._texts = [batch.column(2) for batch in batches]
        self.size = sum(len(batch) for batch in batches)

    def rows(self, ids: Ids) -> list[Row]:
        """The chunks of these ids, in their order. Raises IndexError for an id that there is not."""
        found = []
        for at in ids.tolist():
            batch, row = divmod(at, BATCH)
            found.append((self._keys[batch][row].as_py(), self._numbers[batch][row].as_py(), self._texts[batch][row].as_py()))
        return found

    def texts(self) -> pa.ChunkedArray:
        """Of all chunks."""
        return pa.chunked_array(self._texts, pa.string())

    def keys(self, allowed: Mask | None = None) -> pa.ChunkedArray:
        """Of the rows of these chunks, a string for each chunk; None: of all."""
        found = pa.chunked_array(self._keys, pa.string())
        return found if allowed is None else found.filter(pa.array(allowed))

    def of_rows(self, keys: pa.Array) -> Mask:
        """bool (size,): True for the chunks of the source rows with one of these keys, a string array."""
        # as one column: each call makes a hash table of all keys
        found = pc.is_in(pa.chunked_array(self._keys, pa.string()), value_set=keys)
        return found.to_numpy() if self.size else np.zeros(0, dtype=np.bool_)


def write_chunk_table(path: Path, facts: Facts, batches: Iterable[pa.RecordBatch]) -> Generator[pa.RecordBatch, None, None]:
    """Write `key`, `chunk` and `text` of every batch; passes the batches on. Each but the last has BATCH rows. Blocking."""
    schema = SCHEMA.with_metadata(facts.to_metadata())
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for batch in batches:
            columns = [batch.column("key"), batch.column("number"), batch.column("text")]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
            yield batch


def open_chunk_table(path: Path) -> ChunkTable:
    """Maps the file. Blocking. Raises BuildFailed for a file that is no such table."""
    try:
        with pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_file(source)
            batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
            facts = Facts.from_metadata(reader.schema.metadata)
    except (pa.ArrowInvalid, KeyError) as error:
        remedy = "Reconcile the index: it is built again from its corpus."
        raise BuildFailed(f"{path.name} cannot be opened as a table of chunks: {error}.", remedy=remedy) from error
    return ChunkTable(facts, batches)
