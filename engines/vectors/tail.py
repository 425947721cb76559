"""What became of a table since the corpus that an index is built over: a tail, so that a change is found at once and nothing is built anew.

A tail is a file in the form of a corpus (`corpus_file.py`). It holds the chunks of every row that is new, or has other texts, and for every
row that is gone or has no text any more one entry with the number GONE and no text. All keys in it go before those of the base: a reader
leaves their rows out of the build, and compares the query with the tail's vectors one by one (`tail_index.py`).

Each tail goes on from the one before it: what changed since is read (`engines/sql/diff.py`), and of the rest the former entries are taken
over. It is a job: blocking, in the memory of what changed. Texts, chunking and model are those of the base.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engines.embedding.registry import open_embedder
from engines.errors import ModelMismatch
from engines.sql.diff import IS, WAS, changed_rows
from engines.sql.version_pair import Pair
from engines.vectors.chunk_maker import ChunkMaker, learn
from engines.vectors.corpus_file import HASH_BYTES, Facts, read_corpus_file, read_facts, schema_of, vector_array, write_corpus_file
from engines.vectors.embedding_cache import NO_CACHE, EmbeddingCache
from engines.vectors.engine import Progress
from engines.vectors.publication import publish, storing
from engines.vectors.set_aside import (
    all_good,
    bad,
    first_pieces,
    first_pieces_told,
    good,
    ledger_rows,
    publish_ledger,
    still_told,
)
from engines.vectors.vector_memory import VectorMemory
from specs.digests import digest
from state.buckets import job_store
from state.catalog.indexes import Corpus, Tail
from state.failpoints import declare, hit
from state.objects import ObjectRef, ObjectStore
from state.places import BucketConfig
from state.timestamps import Clock

FORMAT = 1  # raise it when equal inputs would give another tail
GONE = -1
"""The number of an entry that says that its row has no chunk."""

STORED = declare("tail.stored")


def tail_digest(base: str, snapshot: str) -> str:
    """The name of the tail that leads from a corpus to a table's snapshot."""
    return digest({"format": FORMAT, "base": base, "snapshot": snapshot})


@dataclass(frozen=True, slots=True)
class TailTask:
    """What changed, and where it goes. JSON-able by `to_dict`.

    base_path: the corpus as a local file. former: the tail to go on from, at former_path; None begins at the base. aside_path: the ledger
    of chunks that were set aside until then, if any were. pair: the table as that
    left it, and as it is: `snapshot`, `table_version`, `table_at`. most: rows up to which a tail is made. work: a local folder.
    """

    base: Corpus
    base_path: str
    pair: Pair
    snapshot: str
    table_version: int
    table_at: str
    most: int
    target: BucketConfig
    key_prefix: str
    work: str
    former: Tail | None = None
    former_path: str | None = None
    aside_path: str | None = None
    cache: EmbeddingCache = NO_CACHE

    @property
    def digest(self) -> str:
        """The tail's name."""
        return tail_digest(self.base.digest, self.snapshot)

    def to_dict(self) -> dict[str, Any]:
        """The inverse of `from_dict`."""
        former = None if self.former is None else self.former.to_dict()
        return {
            **{name: getattr(self, name) for name in ("base_path", "snapshot", "table_version", "table_at", "most", "key_prefix", "work")},
            "base": self.base.to_dict(),
            "pair": self.pair.to_dict(),
            "target": asdict(self.target),
            "former": former,
            "former_path": self.former_path,
            "aside_path": self.aside_path,
            "cache": self.cache.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TailTask:
        """Raises KeyError where a field is missing."""
        changed = {
            "base": Corpus.from_dict(data["base"]),
            "pair": Pair.from_dict(data["pair"]),
            "target": BucketConfig.from_dict(data["target"]),
            "former": None if data["former"] is None else Tail.from_dict(data["former"]),
            "cache": EmbeddingCache.from_dict(data["cache"]),
        }
        return cls(**{**data, **changed})


def make_tail(
    task: TailTask, progress: Progress, *, store: ObjectStore | None = None, clock: Clock = lambda: datetime.now(UTC)
) -> Tail | None:
    """Embed what changed and store it; None where more rows did than a tail is made for. Blocking.

    progress: in rows that changed. store: the target, if the caller has it open. clock: says when chunks were set aside. Raises EngineError
    for tables that cannot be compared, ModelUnavailable, ModelMismatch, DiskFull, BucketUnavailable.
    """
    store = store or job_store(task.target)
    base = read_facts(Path(task.base_path))
    facts = replace(base, digest=task.digest, snapshot=task.snapshot, table_version=task.table_version)
    work = Path(task.work)
    work.mkdir(parents=True, exist_ok=True)
    with storing(store.name, work), TemporaryDirectory(dir=work) as scratch:
        rows = _changed(task, base.text, Path(scratch))
        if rows is None:
            return None
        made = list(_entries(task, facts, rows, Path(scratch), progress))
        schema = schema_of(facts)
        entries = [good(batch, schema) for batch in made]
        staged = store.stage()
        try:
            write_corpus_file(staged, facts, entries)
            reference = publish(store, f"{task.key_prefix}/{task.digest}.parquet", staged)
            told = list(_told(task, facts, made, rows, clock()))
            aside = publish_ledger(store, f"{task.key_prefix}/{task.digest}.quarantine.parquet", told)
        finally:
            staged.unlink(missing_ok=True)
    hit(STORED)
    tail = _tail(task, reference, rows, entries)
    return replace(tail, aside=aside, textless=tail.textless - sum(map(first_pieces_told, told)))


def _told(
    task: TailTask, facts: Facts, made: Iterable[pa.RecordBatch], rows: Iterable[pa.RecordBatch], at: datetime
) -> Iterator[pa.RecordBatch]:
    """What was set aside before of rows that have not changed, and what is set aside now."""
    if task.aside_path is not None:
        yield from still_told(Path(task.aside_path), _keys(rows))
    yield from (ledger_rows(bad(batch), facts, at) for batch in made)


def _keys(batches: Iterable[pa.RecordBatch]) -> pa.ChunkedArray:
    return pa.chunked_array([batch.column("key") for batch in batches], pa.string())


def _changed(task: TailTask, text: Sequence[str], scratch: Path) -> list[pa.RecordBatch] | None:
    """None where they are too many."""
    count = 0 if task.former is None else task.former.changed
    rows = []
    for batch in changed_rows(task.pair, text, scratch):
        rows.append(batch)
        count += batch.num_rows
        if count > task.most:
            return None
    return rows


def _entries(task: TailTask, facts: Facts, rows: Sequence[pa.RecordBatch], scratch: Path, progress: Progress) -> Iterator[pa.RecordBatch]:
    """Of what changed since, then those of the former tail that still hold; under `work_schema`."""
    model = open_embedder(facts.model)
    if model.fingerprint != facts.fingerprint:
        raise ModelMismatch(f"The model {model.name} here is {model.fingerprint}; the index was made by {facts.fingerprint}.")
    former = [] if task.former_path is None else list(read_corpus_file(Path(task.former_path)))
    schema, changed = schema_of(facts), _keys(rows)
    with VectorMemory(scratch / "known.f32", model.dimension) as memory:
        for batch in former:
            learn(memory, _chunks(batch))
        recalled = task.cache.of(facts.fingerprint, facts.dimension)
        maker = ChunkMaker(facts.text, facts.chunking, model, memory, schema, recalled)
        done, total = 0, sum(map(len, rows))
        for batch in rows:
            made = list(maker.batches(batch.filter(batch.column(IS))))
            yield from made
            with_chunks = _keys(good(part, schema) for part in made)
            yield all_good(_gone(batch.column("key").filter(pc.invert(pc.is_in(batch.column("key"), value_set=with_chunks))), schema))
            done += len(batch)
            progress(done, total)
        task.cache.keep(facts.fingerprint, maker.fresh(), recalled)
    for batch in former:
        yield all_good(batch.filter(pc.invert(pc.is_in(batch.column("key"), value_set=changed))).cast(schema))


def _chunks(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.filter(pc.not_equal(batch.column("number"), GONE))


def _gone(keys: pa.Array, schema: pa.Schema) -> pa.RecordBatch:
    count, dimension = len(keys), schema.field("vector").type.list_size
    numbers = pa.array(np.full(count, GONE, np.int32))
    vectors = vector_array(np.zeros((count, dimension), np.float32))
    hashes = pa.array([bytes(HASH_BYTES)] * count, schema.field("text_hash").type)
    columns = [keys, numbers, pa.array(np.zeros(count, np.int32)), pa.array([""] * count, pa.string()), hashes, vectors]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _tail(task: TailTask, reference: ObjectRef, rows: Iterable[pa.RecordBatch], entries: Sequence[pa.RecordBatch]) -> Tail:
    """Without what is set aside: those rows are among the textless."""
    keys = pc.unique(_keys(entries))
    hidden, begun = 0, sum(map(first_pieces, entries))
    for batch in read_corpus_file(Path(task.base_path), ["key", "number"]):
        shown = batch.filter(pc.invert(pc.is_in(batch.column("key"), value_set=keys)))
        hidden, begun = hidden + len(batch) - len(shown), begun + first_pieces(shown)
    more = sum(_count(batch.column(IS)) - _count(batch.column(WAS)) for batch in rows)
    total = more + (task.base.rows if task.former is None else task.former.rows)
    return Tail(
        digest=task.digest,
        ref=reference,
        base=task.base.digest,
        snapshot=task.snapshot,
        table_version=task.table_version,
        table_at=task.table_at,
        changed=len(keys),
        chunks=sum(_chunks(batch).num_rows for batch in entries),
        hidden=hidden,
        rows=total,
        textless=total - begun,
    )


def _count(flags: pa.BooleanArray) -> int:
    return pc.sum(flags).as_py() or 0
