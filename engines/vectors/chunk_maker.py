"""Rows into chunks with vectors, for whoever writes them: a corpus of all rows, or the tail of those that changed since.

No text is embedded twice: what the memory knows is taken from there. Next: `corpus.py`, `tail.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from engines.embedding.chunking import Chunk, Chunking, chunks, join
from engines.embedding.registry import Embedder
from engines.errors import BuildFailed
from engines.vectors.corpus_file import text_hashes, vector_array, vectors_of
from engines.vectors.engine import Vectors
from engines.vectors.vector_memory import VectorMemory

BLOCK = 1024  # chunks embedded at once


class ChunkMaker:
    """Turns rows into batches of embedded chunks. Not thread-safe."""

    def __init__(self, text: Sequence[str], chunk: Chunking, model: Embedder, memory: VectorMemory, schema: pa.Schema) -> None:
        """text: the columns; schema: that of the corpus."""
        self.schema = schema
        self._text = text
        self._chunking = chunk
        self._model = model
        self._memory = memory

    def batches(self, rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """The chunks of these rows with their vectors, BLOCK at a time."""
        block: list[Chunk] = []
        for chunk in self._chunks(rows):
            block.append(chunk)
            if len(block) == BLOCK:
                yield self._batch(block)
                block = []
        if block:
            yield self._batch(block)

    def _chunks(self, rows: pa.RecordBatch) -> Iterator[Chunk]:
        columns = [_strings(rows, name) for name in self._text]
        for key, *values in zip(_strings(rows, "key"), *columns, strict=True):
            yield from chunks(key or "", join(values), self._chunking, self._model)

    def _batch(self, block: Sequence[Chunk]) -> pa.RecordBatch:
        texts = [chunk.text for chunk in block]
        hashes = text_hashes(texts)
        columns = (
            pa.array([chunk.row_key for chunk in block], pa.string()),
            pa.array([chunk.number for chunk in block], pa.int32()),
            pa.array([chunk.start for chunk in block], pa.int32()),
            pa.array(texts, pa.string()),
            pa.array(hashes, self.schema.field("text_hash").type),
            vector_array(self._vectors(texts, hashes)),
        )
        return pa.RecordBatch.from_arrays(list(columns), schema=self.schema)

    def _vectors(self, texts: Sequence[str], hashes: Sequence[bytes]) -> Vectors:
        """float32 (n, dimension): remembered where the text is known, embedded and remembered where it is not."""
        text_of = dict(zip(hashes, texts, strict=True))
        unique = list(text_of)
        rows = self._memory.find(unique)
        unknown = (rows < 0).nonzero()[0]
        if len(unknown):
            new = [unique[at] for at in unknown]
            rows[unknown] = self._memory.add(new, self._model.embed([text_of[value] for value in new]))
        row_of = dict(zip(unique, rows.tolist(), strict=True))
        return self._memory.take(np.array([row_of[value] for value in hashes], dtype=np.int64))


def _strings(rows: pa.RecordBatch, name: str) -> list[str | None]:
    """The column as text, whatever its type. Raises BuildFailed if there is none of this name."""
    try:
        values: list[str | None] = rows.column(name).cast(pa.string()).to_pylist()
    except KeyError as error:
        names = ", ".join(found for found in rows.schema.names if found != "key")
        raise BuildFailed(f"The dataset has no column `{name}`, only {names}.", remedy="Name its text columns in the Index.") from error
    except pa.ArrowInvalid as error:
        raise BuildFailed(f"Column `{name}` cannot be read as text: {error}.") from error
    return values


def learn(memory: VectorMemory, batch: pa.RecordBatch) -> None:
    """Remembers the vectors of a batch with `text_hash` and `vector`."""
    first = {value: row for row, value in reversed(list(enumerate(batch.column("text_hash").to_pylist())))}
    hashes = list(first)
    unknown = [value for value, row in zip(hashes, memory.find(hashes).tolist(), strict=True) if row < 0]
    memory.add(unknown, vectors_of(batch).take([first[value] for value in unknown], axis=0))
