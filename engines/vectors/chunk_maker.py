"""Rows into chunks with vectors, for whoever writes them: a corpus of all rows, or the tail of those that changed since.

No text is embedded twice: what the memory knows is taken from there, then what the EmbeddingCache knows. A chunk whose vector is of no use
says so beside it, and is not remembered. Next: `corpus.py`, `tail.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import compress

import numpy as np
import pyarrow as pa

from engines.embedding import structure
from engines.embedding.chunking import Chunk, Chunking, chunks, join
from engines.embedding.registry import Embedder
from engines.errors import BuildFailed
from engines.vectors.as_markdown import as_markdown
from engines.vectors.corpus_file import text_hashes, vector_array, vectors_of
from engines.vectors.embedding_cache import Recalled
from engines.vectors.engine import Ids, Vectors
from engines.vectors.set_aside import work_schema
from engines.vectors.soundness import embed, sound
from engines.vectors.vector_memory import VectorMemory

BLOCK = 1024  # chunks embedded at once


class ChunkMaker:
    """Turns rows into batches of embedded chunks. Not thread-safe."""

    def __init__(
        self, text: Sequence[str], chunk: Chunking, model: Embedder, memory: VectorMemory, schema: pa.Schema, recalled: Recalled
    ) -> None:
        """text: the columns; schema: that of the corpus; recalled: what any index has had embedded by the model."""
        self.schema = work_schema(schema)
        self._text = text
        self._chunking = chunk
        self._model = model
        self._memory = memory
        self._recalled = recalled
        self._fresh: list[tuple[Sequence[bytes], Ids]] = []

    def batches(self, rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """The chunks of these rows with their vectors under `schema`, BLOCK at a time."""
        block: list[Chunk] = []
        for chunk in self._chunks(rows):
            block.append(chunk)
            if len(block) == BLOCK:
                yield self._batch(block)
                block = []
        if block:
            yield self._batch(block)

    def fresh(self) -> Iterator[tuple[Sequence[bytes], Vectors]]:
        """What the model was asked for since this was called last: the hashes of texts, and their vectors, some thousand at a time."""
        made, self._fresh = self._fresh, []
        return ((hashes, self._memory.take(rows)) for hashes, rows in made)

    def _chunks(self, rows: pa.RecordBatch) -> Iterator[Chunk]:
        columns = [_strings(rows, name) for name in self._text]
        by_structure = self._chunking.by == "structure"
        cut = structure.chunks if by_structure else chunks
        for key, *values in zip(_strings(rows, "key"), *columns, strict=True):
            text = join(map(as_markdown, values) if by_structure else values)
            yield from cut(key or "", text, self._chunking, self._model)

    def _batch(self, block: Sequence[Chunk]) -> pa.RecordBatch:
        texts = [chunk.text for chunk in block]
        hashes = text_hashes(texts)
        vectors, faults = self._vectors(texts, hashes)
        columns = (
            pa.array([chunk.row_key for chunk in block], pa.string()),
            pa.array([chunk.number for chunk in block], pa.int32()),
            pa.array([chunk.start for chunk in block], pa.int32()),
            pa.array(texts, pa.string()),
            pa.array(hashes, self.schema.field("text_hash").type),
            vector_array(vectors),
            pa.array([faults.get(value) for value in hashes], pa.string()),
        )
        return pa.RecordBatch.from_arrays(list(columns), schema=self.schema)

    def _vectors(self, texts: Sequence[str], hashes: Sequence[bytes]) -> tuple[Vectors, dict[bytes, str]]:
        """float32 (n, dimension): remembered where the text is known, embedded and remembered where it is not. And the faults of those
        that are of no use, which are zero."""
        text_of = dict(zip(hashes, texts, strict=True))
        unique = list(text_of)
        rows = self._memory.find(unique)
        new = [unique[at] for at in (rows < 0).nonzero()[0]]
        faults = self._embed(new, [text_of[value] for value in new]) if new else {}
        if faults:
            found = np.zeros((len(unique), self._model.dimension), np.float32)
            good = [at for at, value in enumerate(unique) if value not in faults]
            found[good] = self._memory.take(self._memory.find([unique[at] for at in good]))
        else:
            found = self._memory.take(self._memory.find(unique) if new else rows)
        row_of = {value: row for row, value in enumerate(unique)}
        return found.take([row_of[value] for value in hashes], axis=0), faults

    def _embed(self, hashes: Sequence[bytes], texts: Sequence[str]) -> dict[bytes, str]:
        """Embed texts that the memory does not know, and remember their vectors; gives the faults of those that have none of use."""
        known, vectors = self._recalled.find(hashes)
        self._memory.add(list(compress(hashes, known)), vectors)
        hashes, texts = list(compress(hashes, ~known)), list(compress(texts, ~known))
        if not texts:
            return {}
        vectors, faults = embed(self._model, texts)
        good = [row for row in range(len(texts)) if row not in faults]
        made = [hashes[row] for row in good]
        self._fresh.append((made, self._memory.add(made, vectors[good] if faults else vectors)))
        return {hashes[row]: fault for row, fault in faults.items()}


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
    """Remembers the vectors of a batch with `text_hash` and `vector`, but for those that are of no use: such a text is embedded again."""
    vectors = vectors_of(batch)
    of_use = sound(vectors).tolist()
    first = {value: row for row, value in reversed(list(enumerate(batch.column("text_hash").to_pylist()))) if of_use[row]}
    hashes = list(first)
    unknown = [value for value, row in zip(hashes, memory.find(hashes).tolist(), strict=True) if row < 0]
    memory.add(unknown, vectors.take([first[value] for value in unknown], axis=0))
