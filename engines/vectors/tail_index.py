"""An open tail: its chunks, compared one by one, and which of the build's do not count any more. Next: `tail.py`, which makes one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engines.errors import BuildFailed
from engines.vectors.chunk_table import ChunkTable, Row
from engines.vectors.corpus_file import Facts, read_corpus_file, read_facts, vectors_of
from engines.vectors.engine import Ids, Mask, Vectors
from engines.vectors.matrix import nearest
from engines.vectors.tail import GONE


@dataclass(frozen=True, slots=True)
class TailIndex:
    """Thread-safe: it is only read.

    Args:
        current: bool (size of the build,): False for chunks whose rows the tail tells of; None where it is of none of them.
    """

    facts: Facts
    current: Mask | None
    vectors: Vectors
    _keys: pa.Array
    _numbers: pa.Array
    texts: pa.Array

    @property
    def size(self) -> int:
        """Chunks."""
        return len(self._keys)

    def search(self, query: Vectors, k: int, keys: pa.Array | None = None) -> tuple[Ids, Vectors]:
        """The exact k best as `VectorIndex.search` gives them, of the rows with these keys; None allows all."""
        return nearest(self.vectors, query, k, self.of_rows(keys))

    @property
    def keys(self) -> pa.Array:
        """Of the rows of its chunks, a string for each chunk."""
        return self._keys

    def of_rows(self, keys: pa.Array | None) -> Mask | None:
        """bool (size,): True for the chunks of the rows with one of these keys; None, for all, without keys."""
        if keys is None:
            return None
        allowed: Mask = pc.is_in(self._keys, value_set=keys).to_numpy(zero_copy_only=False)
        return allowed

    def only(self, permitted: pa.Array, *, ordered: bool) -> TailIndex:
        """The chunks of the rows with one of these keys alone; ordered: by key and number."""
        of_rows = pc.indices_nonzero(pc.is_in(self._keys, value_set=permitted)).to_pylist()
        if ordered:
            keys, numbers = self._keys.to_pylist(), self._numbers.to_pylist()
            of_rows.sort(key=lambda at: (keys[at], numbers[at]))
        places = np.array(of_rows, np.int64)
        taken = (column.take(pa.array(places)) for column in (self._keys, self._numbers, self.texts))
        return TailIndex(self.facts, self.current, self.vectors[places], *taken)

    def rows(self, ids: Ids) -> list[Row]:
        """The chunks of these ids, in their order."""
        return [(self._keys[at].as_py(), self._numbers[at].as_py(), self.texts[at].as_py()) for at in ids.tolist()]


def open_tail(path: Path, table: ChunkTable) -> TailIndex:
    """table: of the build. Blocking. Raises BuildFailed for a file that is no tail of it."""
    facts = read_facts(path)
    if facts.fingerprint != table.facts.fingerprint:
        raise BuildFailed(
            f"{path.name} holds vectors of {facts.fingerprint}, not of {table.facts.fingerprint}.",
            remedy="Reconcile the index: it is made again.",
        )
    try:
        batches = list(read_corpus_file(path, ["key", "number", "text", "vector"]))
    except (OSError, pa.ArrowException) as error:
        raise BuildFailed(f"{path.name} cannot be read: {error}.", remedy="Reconcile the index: it is made again.") from error
    keys = pa.chunked_array([batch.column("key") for batch in batches], pa.string()).combine_chunks()
    told = table.of_rows(keys)
    chunks = [batch.filter(pc.not_equal(batch.column("number"), GONE)) for batch in batches]
    vectors = np.concatenate([vectors_of(batch) for batch in chunks]) if chunks else np.empty((0, facts.dimension), np.float32)
    columns = (pa.chunked_array([batch.column(name) for batch in chunks], kind).combine_chunks() for name, kind in _COLUMNS)
    return TailIndex(facts, ~told if told.any() else None, vectors, *columns)


_COLUMNS = (("key", pa.string()), ("number", pa.int32()), ("text", pa.string()))
