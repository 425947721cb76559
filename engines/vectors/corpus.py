"""A dataset's texts as a corpus: cut into chunks, embedded, kept as one Parquet file. A job: blocking, resumable, in constant memory.

The corpus is named by its inputs (`corpus_digest`): the table's snapshot, the text columns, the chunking and the model's fingerprint. The
order is that of the scan, by row key. No text is embedded twice by one model: vectors come from former corpora (`reuse`), from parts that
killed runs left (`checkpoints.py`), from an equal text earlier in this run, or from what any index has had embedded
(`embedding_cache.py`); only what is left goes to the model.

It does not judge rows: a null or blank text gives no chunk, and such rows are counted. A chunk that has no vector of use is set aside
(`set_aside.py`), and embedded again with the next corpus. It does not record anything: the caller puts the Corpus into the catalog.
Next: `corpus_file.py` for the form, `vector_memory.py` for what is known, `builds.py` for what comes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from engines.embedding.chunking import Chunking
from engines.embedding.registry import Embedder, Model, open_embedder
from engines.vectors.checkpoints import Checkpoints
from engines.vectors.chunk_maker import ChunkMaker, learn
from engines.vectors.corpus_file import (
    Facts,
    read_corpus_file,
    read_facts,
    schema_of,
    write_corpus_file,
)
from engines.vectors.embedding_cache import NO_CACHE, EmbeddingCache
from engines.vectors.engine import Progress
from engines.vectors.publication import publish, storing
from engines.vectors.set_aside import FAULT, bad, first_pieces, good, ledger_rows, publish_ledger
from engines.vectors.vector_memory import VectorMemory
from specs.digests import digest
from state.buckets import job_store
from state.catalog.indexes import Aside, Corpus
from state.failpoints import declare, hit
from state.objects import ObjectRef, ObjectStore
from state.places import BucketConfig
from state.timestamps import Clock

FORMAT = 1  # raise it when equal inputs would give another corpus
SLICE = 256  # rows between two looks at the checkpoint
CHECKPOINT = 4096  # chunks in a part

PART_KEPT = declare("corpus.part-kept")
STORED = declare("corpus.stored")


def corpus_digest(dataset: str, snapshot: str, text: Sequence[str], chunk: Chunking, fingerprint: str) -> str:
    """The name of the corpus that these inputs give. A renamed table keeps its snapshot; the corpus, which names it, is another."""
    return digest(
        {
            "format": FORMAT,
            "dataset": dataset,
            "snapshot": snapshot,
            "text": list(text),
            "tokens": chunk.tokens,
            "overlap": chunk.overlap,
            "fingerprint": fingerprint,
            **({} if chunk.by == "tokens" else {"by": chunk.by}),
        }
    )


@dataclass(frozen=True, slots=True)
class CorpusTask:
    """What a corpus is made of, and where it goes. JSON-able.

    source: the table's snapshot, as `engines/sql/scan.py` reads it. rows: in it, for the progress. work: a local folder of this index
    alone, for checkpoints. reuse: local files of former corpora, any model's. The object's key is `<key_prefix>/<digest>.parquet`.
    table_at: when the version was committed. cache: the EmbeddingCache.
    """

    index: str
    dataset: str
    source: Mapping[str, Any]
    snapshot: str
    table_version: int
    rows: int
    text: tuple[str, ...]
    chunk: Chunking
    model: Model
    target: BucketConfig
    key_prefix: str
    work: str
    reuse: tuple[str, ...] = ()
    table_at: str = ""
    cache: EmbeddingCache = NO_CACHE

    def to_dict(self) -> dict[str, Any]:
        """The inverse of `from_dict`."""
        return {**asdict(self), "text": list(self.text), "reuse": list(self.reuse), "cache": self.cache.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CorpusTask:
        """Raises KeyError where a field is missing, BuildFailed for an impossible chunking."""
        changed = {
            "text": tuple(data["text"]),
            "chunk": Chunking(**data["chunk"]),
            "target": BucketConfig.from_dict(data["target"]),
            "reuse": tuple(data["reuse"]),
            "cache": EmbeddingCache.from_dict(data["cache"]),
        }
        return cls(**{**data, **changed})


def make_corpus(
    task: CorpusTask,
    rows: Iterable[pa.RecordBatch],
    progress: Progress,
    *,
    store: ObjectStore | None = None,
    clock: Clock = lambda: datetime.now(UTC),
) -> Corpus:
    """Embed the rows and store the corpus. Blocking.

    rows: batches with a string column `key` and the text columns, the same rows in the same order each time. progress: in rows. store: the
    target, if the caller has it open. clock: says when chunks were set aside. Raises BuildFailed, ModelUnavailable, EngineUnsupported,
    DiskFull, BucketUnavailable.
    """
    model = open_embedder(task.model)
    facts = _facts(task, model)
    store = store or job_store(task.target)
    checkpoints = Checkpoints(Path(task.work), facts.digest)
    with storing(store.name, checkpoints.folder), VectorMemory(checkpoints.folder / "known.f32", model.dimension) as memory:
        _recall(memory, task.reuse, facts, checkpoints)
        recalled = task.cache.of(facts.fingerprint, facts.dimension)
        maker = ChunkMaker(task.text, task.chunk, model, memory, schema_of(facts), recalled)

        def keep(pending: Sequence[pa.RecordBatch], covered: int) -> None:
            # the cache first: what has a part is not asked for again by the run after a killed one, and so not kept by it either
            task.cache.keep(facts.fingerprint, maker.fresh(), recalled)
            checkpoints.add(pending, maker.schema, covered)

        total = _embed_rows(maker, rows, task.rows, checkpoints, keep, progress)
    reference, count, aside = _store(task, facts, checkpoints, store, clock())
    hit(STORED)
    with_text = sum(map(first_pieces, checkpoints.batches()))
    checkpoints.remove()
    return Corpus(
        digest=facts.digest,
        ref=reference,
        rows=total,
        chunks=count,
        snapshot=task.snapshot,
        table_version=task.table_version,
        fingerprint=facts.fingerprint,
        dimension=facts.dimension,
        table_at=task.table_at,
        aside=aside,
        textless=total - with_text,
    )


def _store(
    task: CorpusTask, facts: Facts, checkpoints: Checkpoints, store: ObjectStore, at: datetime
) -> tuple[ObjectRef, int, Aside | None]:
    """All parts as one object, the number of its chunks, and the ledger of those that were set aside, if any were."""
    staged, schema = store.stage(), schema_of(facts)
    try:
        with storing(store.name, staged):
            count = write_corpus_file(staged, facts, (good(part, schema) for part in checkpoints.batches()))
            told = (ledger_rows(bad(part), facts, at) for part in checkpoints.batches() if part.column(FAULT).null_count < len(part))
            aside = publish_ledger(store, f"{task.key_prefix}/{facts.digest}.quarantine.parquet", told)
        return publish(store, f"{task.key_prefix}/{facts.digest}.parquet", staged), count, aside
    finally:
        staged.unlink(missing_ok=True)


def _facts(task: CorpusTask, model: Embedder) -> Facts:
    return Facts(
        digest=corpus_digest(task.dataset, task.snapshot, task.text, task.chunk, model.fingerprint),
        index=task.index,
        dataset=task.dataset,
        snapshot=task.snapshot,
        table_version=task.table_version,
        text=task.text,
        tokens=task.chunk.tokens,
        overlap=task.chunk.overlap,
        model=task.model,
        fingerprint=model.fingerprint,
        dimension=model.dimension,
        by=task.chunk.by,
    )


def _recall(memory: VectorMemory, corpora: Iterable[str], facts: Facts, checkpoints: Checkpoints) -> None:
    """Learn the vectors of the same model: of former corpora, of corpora that were not finished, and of this one's own parts."""
    for path in map(Path, corpora):
        if read_facts(path).fingerprint == facts.fingerprint:
            for batch in read_corpus_file(path, ["text_hash", "vector"]):
                learn(memory, batch)
    for batch in checkpoints.others():
        if Facts.from_metadata(batch.schema.metadata).fingerprint == facts.fingerprint:
            learn(memory, batch)
    for batch in checkpoints.batches():
        learn(memory, batch)


def _embed_rows(
    maker: ChunkMaker,
    rows: Iterable[pa.RecordBatch],
    expected: int,
    checkpoints: Checkpoints,
    keep: Callable[[Sequence[pa.RecordBatch], int], None],
    progress: Progress,
) -> int:
    """Embed the rows that no part covers yet, part by part; gives the number of all rows. keep: the chunks of the next rows, as a part."""
    pending: list[pa.RecordBatch] = []
    pending_rows = 0
    progress(checkpoints.rows, max(expected, checkpoints.rows))
    for piece in _slices(rows, checkpoints.rows):
        pending.extend(maker.batches(piece))
        pending_rows += len(piece)
        progress(checkpoints.rows + pending_rows, max(expected, checkpoints.rows + pending_rows))
        if sum(map(len, pending)) >= CHECKPOINT:
            keep(pending, pending_rows)
            hit(PART_KEPT)
            pending, pending_rows = [], 0
    if pending_rows:
        keep(pending, pending_rows)
    return checkpoints.rows


def _slices(rows: Iterable[pa.RecordBatch], skip: int) -> Iterator[pa.RecordBatch]:
    for batch in rows:
        passed = min(skip, len(batch))
        skip -= passed
        for start in range(passed, len(batch), SLICE):
            yield batch.slice(start, SLICE)
