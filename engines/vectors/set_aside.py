"""Chunks that have no vector of use: kept out of a corpus, and told of in `system.quarantine` with their texts.

While a job runs they are among the others, with what is wrong in a column `fault` (`work_schema`), so that a checkpoint holds both. At the
end they become a ledger beside the corpus or the tail, in the form of a dataset's quarantine with the row's key besides. A tail's ledger
tells of all rows up to its version: what the one before it told of rows that have not changed since is taken over.
Next: `soundness.py` judges vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engines.files.quarantine import SCHEMA
from engines.vectors.corpus_file import Facts
from engines.vectors.publication import publish
from engines.vectors.soundness import DIMENSION, NOT_FINITE, ZERO
from state.catalog.indexes import Aside
from state.objects import ObjectStore

FAULT = "fault"
LEDGER = SCHEMA.append(pa.field("key", pa.string()))
_PIECE = "The vector of piece {} of row "
_REASONS: Mapping[str, str] = {
    NOT_FINITE: "has a number that is not finite",
    ZERO: "has length 0",
    DIMENSION: "is not of the model's dimension",
}


def work_schema(corpus: pa.Schema) -> pa.Schema:
    """A corpus' columns, and what is wrong with the vector: null where nothing is."""
    return corpus.append(pa.field(FAULT, pa.string()))


def all_good(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Entries of a corpus under `work_schema`."""
    return batch.append_column(FAULT, pa.nulls(len(batch), pa.string()))


def good(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The chunks of a batch of `work_schema` that belong into the corpus, under its schema."""
    kept = batch if not batch.column(FAULT).null_count < len(batch) else batch.filter(batch.column(FAULT).is_null())
    return pa.RecordBatch.from_arrays([kept.column(name) for name in schema.names], schema=schema)


def bad(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The others."""
    return batch.filter(batch.column(FAULT).is_valid())


def first_pieces(chunks: pa.RecordBatch) -> int:
    """How many rows begin in these entries of a corpus: each that has a text has one first piece."""
    return pc.sum(pc.equal(chunks.column("number"), 0)).as_py() or 0


def first_pieces_told(ledger: pa.RecordBatch) -> int:
    """The same of a ledger's rows, which tell the number in words alone."""
    return pc.sum(pc.starts_with(ledger.column("reason"), _PIECE.format(0))).as_py() or 0


def ledger_rows(chunks: pa.RecordBatch, facts: Facts, at: datetime) -> pa.RecordBatch:
    """Chunks that `bad` gave, as rows of a ledger. facts: of the corpus or tail that they are kept out of."""
    count = len(chunks)
    keys, numbers, faults = (chunks.column(name).to_pylist() for name in ("key", "number", FAULT))
    columns = [
        pa.repeat(facts.dataset, count),
        pa.repeat(f"Index/{facts.index}", count),
        pa.nulls(count, pa.int64()),
        pa.array([f"vector: {fault}" for fault in faults], pa.string()),
        pa.array([_reason(*row, facts) for row in zip(keys, numbers, faults, strict=True)], pa.string()),
        chunks.column("text"),
        pa.repeat(pa.scalar(at.replace(tzinfo=None), LEDGER.field("at").type), count),
        chunks.column("key"),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=LEDGER)


def still_told(path: Path, changed: pa.ChunkedArray) -> Iterator[pa.RecordBatch]:
    """The rows of a ledger whose keys are not among the changed ones. Blocking."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches():
            yield batch.filter(pc.invert(pc.is_in(batch.column("key"), value_set=changed))).cast(LEDGER)


def publish_ledger(store: ObjectStore, key: str, rows: Iterable[pa.RecordBatch]) -> Aside | None:
    """Store what is told; None where nothing is. Blocking. Raises OSError, DiskFull, BucketUnavailable."""
    staged, count = store.stage(), 0
    try:
        with pq.ParquetWriter(staged, LEDGER, compression="zstd") as writer:
            for batch in rows:
                writer.write_batch(batch)
                count += len(batch)
        return Aside(publish(store, key, staged), count) if count else None
    finally:
        staged.unlink(missing_ok=True)


def _reason(key: str, number: int, fault: str, facts: Facts) -> str:
    return f"{_PIECE.format(number)}{key} {_REASONS[fault]}; the model is {facts.fingerprint}."
