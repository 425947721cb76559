"""A corpus as a build: the vectors as a matrix, the chunks as a table, and what the engine makes of them. A job: blocking.

A build is named by its inputs (`build_digest`): the engine, its build parameters and the corpus. Its bytes differ from run to run. Every
file is written aside, and moved to its key only when all are finished; the record that the caller keeps refers to them by size and SHA-256,
so that a build either is whole or is not there. A killed build begins again. Next: `engine.py`, `chunk_table.py`, `matrix.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from engines.peak_memory import forget_peak, peak
from engines.vectors.chunk_table import ChunkTable, open_chunk_table, write_chunk_table
from engines.vectors.corpus_file import check_finite, read_corpus_file, read_facts, vectors_of
from engines.vectors.engine import Parts, Progress, VectorIndex, temporary_folder
from engines.vectors.matrix import FLOAT, open_matrix
from engines.vectors.publication import publish, storing
from engines.vectors.registry import open_engine
from specs.digests import digest
from state.buckets import job_store
from state.catalog.indexes import Build, Corpus
from state.failpoints import declare, hit
from state.objects import ObjectStore
from state.places import BucketConfig

FORMAT = 1  # raise it when equal inputs would give another build
FILE_NAMES = {"vectors": "vectors.f32", "chunks": "chunks.arrow", "graph": "graph.bin", "codes": "codes.i8"}
"""What a role's file is called below the build's folder; any other is called as its role."""

INDEXED = declare("build.indexed")
STORED = declare("build.stored")


def build_digest(engine: str, parameters: Mapping[str, Any], corpus: str) -> str:
    """The name of the build that these inputs give; parameters: those of `Recipe.build`, complete."""
    return digest({"format": FORMAT, "engine": engine, "parameters": dict(parameters), "corpus": corpus})


@dataclass(frozen=True, slots=True)
class BuildTask:
    """What is built, and where it goes. JSON-able.

    corpus_path: the corpus as a local file. parameters: those of `Recipe.build`. threads: more than one is faster, and gives another graph
    each time. Objects are `<key_prefix>/<digest>/<file>`.
    """

    corpus: Corpus
    corpus_path: str
    generation: str | None
    engine: str
    parameters: Mapping[str, Any]
    target: BucketConfig
    key_prefix: str
    threads: int = 1

    @property
    def digest(self) -> str:
        """The build's name."""
        return build_digest(self.engine, self.parameters, self.corpus.digest)

    @property
    def folder(self) -> str:
        """The prefix of its objects' keys. What lies there under other names was left by a run that was killed, or is of a build that was
        damaged since; whoever records this one has it removed."""
        return f"{self.key_prefix}/{self.digest}"

    def to_dict(self) -> dict[str, Any]:
        """The inverse of `from_dict`."""
        return {**asdict(self), "corpus": self.corpus.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> BuildTask:
        """Raises KeyError where a field is missing."""
        changed = {"corpus": Corpus.from_dict(data["corpus"]), "target": BucketConfig.from_dict(data["target"])}
        return cls(**{**data, **changed})


def run(task: BuildTask, progress: Progress, *, store: ObjectStore | None = None, clock: Callable[[], float] = time.monotonic) -> Build:
    """Build and store. progress: in vectors. store: the target, if the caller has it open.

    Blocking. Raises BuildFailed, EngineUnsupported, DiskFull, BucketUnavailable.
    """
    started, cpu, held = clock(), time.process_time(), forget_peak()
    engine = open_engine(task.engine)
    store = store or job_store(task.target)
    made: list[Path] = []

    def stage() -> Path:
        made.append(store.stage())
        return made[-1]

    try:
        staged = {"vectors": stage(), "chunks": stage()}
        with storing(store.name, staged["vectors"]):
            _write_matrix_and_chunks(task, staged["vectors"], staged["chunks"])
            matrix = open_matrix(staged["vectors"], task.corpus.chunks, task.corpus.dimension)
            staged |= engine.build(matrix, task.parameters, stage, threads=task.threads, progress=progress)
        hit(INDEXED)
        files = {role: publish(store, f"{task.folder}/{FILE_NAMES.get(role, role)}", path) for role, path in staged.items()}
    finally:
        for path in made:
            path.unlink(missing_ok=True)
    hit(STORED)
    return Build(
        digest=task.digest,
        generation=task.generation,
        engine=task.engine,
        parameters=dict(task.parameters),
        corpus=task.corpus.digest,
        files=files,
        count=task.corpus.chunks,
        dimension=task.corpus.dimension,
        seconds=clock() - started,
        cpu_seconds=time.process_time() - cpu,
        peak_bytes=max(0, peak() - held),
    )


def open_build(
    build: Build, paths: Mapping[str, Path], search: Mapping[str, Any], folder: Callable[[], Path] = temporary_folder
) -> tuple[VectorIndex, ChunkTable]:
    """The index and the chunks of a build, from local files by role. folder: see Parts, best on the filesystem of the files.

    Blocking. Raises BuildFailed for files that do not fit the record, EngineUnsupported where the engine's library is not installed.
    """
    others = {role: path for role, path in paths.items() if role not in ("vectors", "chunks")}
    parts = Parts(paths["vectors"], build.count, build.dimension, others, search, folder)
    return open_engine(build.engine).open(parts), open_chunk_table(paths["chunks"])


def _write_matrix_and_chunks(task: BuildTask, vectors: Path, chunks: Path) -> None:
    corpus = Path(task.corpus_path)
    # closed here, and not by whoever collects garbage: what its end cannot write is an error like any other
    with vectors.open("wb") as matrix, closing(write_chunk_table(chunks, read_facts(corpus), _read(corpus))) as written:
        first = 0
        for batch in written:
            block = vectors_of(batch)
            check_finite(block, first)
            matrix.write(block.astype(FLOAT, copy=False).data)
            first += len(batch)


def _read(corpus: Path) -> Iterator[pa.RecordBatch]:
    yield from read_corpus_file(corpus, ["key", "number", "text", "vector"])
