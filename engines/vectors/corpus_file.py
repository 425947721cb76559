"""The form of a corpus: one Parquet file of chunks with their vectors, in the order of the table's rows.

    key        string                the source row
    number     int32                 the chunk within it, from 0
    start      int32                 where the chunk begins in the row's joined text, in characters
    text       string
    text_hash  binary(16)            BLAKE2b of the text's UTF-8
    vector     list<float32>[d]      of length 1

Row groups have 16 384 rows. The footer says of what it was made (`Facts`), so that vectors are found again by model and text hash without
the catalog. Texts are compressed; vectors, in which nothing repeats, are not. Next: `corpus.py` makes one, `builds.py` reads it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engines.embedding.chunking import By, Chunking
from engines.embedding.registry import Model
from engines.errors import BuildFailed, CorpusUnsound
from engines.vectors.engine import Vectors

ROW_GROUP = 16_384
HASH_BYTES = 16
_METADATA_KEY = b"lakehouse.corpus"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a corpus was made of. `digest` is its inputs' (see `corpus.corpus_digest`), `dimension` its vectors'."""

    digest: str
    index: str
    dataset: str
    snapshot: str
    table_version: int
    text: tuple[str, ...]
    tokens: int
    overlap: int
    model: Model
    fingerprint: str
    dimension: int
    by: By = "tokens"

    def to_metadata(self) -> dict[bytes, bytes]:
        """As key-value metadata of an Arrow schema."""
        told = {name: value for name, value in asdict(self).items() if (name, value) != ("by", "tokens")}
        return {_METADATA_KEY: json.dumps(told, sort_keys=True).encode()}

    @property
    def chunking(self) -> Chunking:
        """How its texts were cut."""
        return Chunking(self.tokens, self.overlap, self.by)

    @classmethod
    def from_metadata(cls, metadata: Mapping[bytes, bytes] | None) -> Facts:
        """Raises KeyError if the metadata has none."""
        data: dict[str, Any] = json.loads((metadata or {})[_METADATA_KEY])
        return cls(**{**data, "text": tuple(data["text"])})


def schema_of(facts: Facts) -> pa.Schema:
    """The columns above, with the facts as metadata."""
    columns = [
        ("key", pa.string()),
        ("number", pa.int32()),
        ("start", pa.int32()),
        ("text", pa.string()),
        ("text_hash", pa.binary(HASH_BYTES)),
        ("vector", pa.list_(pa.float32(), facts.dimension)),
    ]
    return pa.schema(columns, metadata=facts.to_metadata())


def text_hashes(texts: Sequence[str]) -> list[bytes]:
    """16 bytes for each text: equal for equal texts only."""
    return [hashlib.blake2b(text.encode(), digest_size=HASH_BYTES).digest() for text in texts]


def vector_array(vectors: Vectors) -> pa.FixedSizeListArray:
    """float32 (n, dimension) as the column `vector`."""
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])


def vectors_of(batch: pa.RecordBatch) -> Vectors:
    """The column `vector` as float32 (n, dimension), without a copy."""
    column = batch.column("vector")
    values: Vectors = column.flatten().to_numpy()
    return values.reshape(len(batch), column.type.list_size)


def write_corpus_file(path: Path, facts: Facts, batches: Iterable[pa.RecordBatch]) -> int:
    """Write batches of any length as one corpus; gives the number of chunks. Blocking, in the memory of one row group."""
    compression = {"key": "zstd", "text": "zstd", "number": "zstd", "start": "zstd", "text_hash": "none", "vector.list.element": "none"}
    schema = schema_of(facts)
    count = 0
    with pq.ParquetWriter(path, schema, compression=compression, use_dictionary=False, write_statistics=False) as writer:
        for group in regrouped(batches, ROW_GROUP):
            writer.write_batch(group.cast(schema), row_group_size=ROW_GROUP)
            count += len(group)
    return count


def read_facts(path: Path) -> Facts:
    """Raises BuildFailed for a file that is no corpus."""
    try:
        return Facts.from_metadata(pq.read_schema(path).metadata)
    except (pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
        raise BuildFailed(f"{path.name} is no corpus: {error}.") from error


def read_corpus_file(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The corpus in batches of ROW_GROUP chunks, the last shorter. Blocking, in the memory of one row group."""
    with pq.ParquetFile(path, memory_map=True, pre_buffer=False) as file:
        for number in range(file.num_row_groups):
            table = file.read_row_group(number, columns=columns, use_threads=False).combine_chunks()
            yield from table.to_batches()


def regrouped(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of exactly so many, the last shorter."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        waiting.append(batch)
        count += len(batch)
        while count >= rows:
            table = pa.Table.from_batches(waiting)
            yield _one(table.slice(0, rows))
            waiting = table.slice(rows).to_batches()
            count -= rows
    if count:
        yield _one(pa.Table.from_batches(waiting))


def _one(table: pa.Table) -> pa.RecordBatch:
    return table.combine_chunks().to_batches()[0]


def check_finite(vectors: Vectors, first: int) -> None:
    """Raises CorpusUnsound if a number is NaN or infinite, naming the chunk; first: the id of the first vector."""
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        chunk = first + int(np.flatnonzero(~finite)[0])
        raise CorpusUnsound(f"The vector of chunk {chunk} has a number that is not finite.", remedy="Embed the corpus again.")
