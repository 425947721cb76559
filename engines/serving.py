"""An open build of an index: its vectors, its chunks, its embedder, and the files that it reads from where they lie.

It refuses to know what serves: that is `search.py`, which holds builds and asks them.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from engines.embedding.expected import ExpectedModel
from engines.embedding.registry import Embedder, Model, by_server
from engines.errors import EngineError, ModelMismatch
from engines.lexical.bm25 import LexicalIndex, Statistics, Words, open_lexical_index
from engines.lexical.tail_words import TailWords
from engines.lexical.terms import terms
from engines.vectors.builds import open_build
from engines.vectors.chunk_table import ChunkTable
from engines.vectors.corpus_file import Facts
from engines.vectors.engine import Ids, Mask, VectorIndex, Vectors
from engines.vectors.matrix import open_matrix
from engines.vectors.tail_index import TailIndex, open_tail
from state.catalog.indexes import Build, Lexical, ServingManifest, model_of
from state.failures import BucketFailure
from state.objects import Found, ObjectRef

QUICK_TAIL = 4_096
"""Chunks of a tail that are compared in some 0.1 ms."""


Mapped = tuple[tuple[mmap.mmap, int], ...]
"""Files that are read from where they lie, with their sizes in bytes."""


class Files(Protocol):
    """The one reader of objects."""

    def find(self, ref: ObjectRef) -> Found:
        """A verified local file. Blocking."""

    def again(self, failure: BucketFailure) -> None:
        """Tells that a file which was found with this failure answers once more. Returns at once."""

    def folder(self) -> Path:
        """A new folder on the filesystem of the files that are no bucket's own. Blocking."""


@dataclass(frozen=True, slots=True)
class Serving:
    """An open build.

    Args:
        tail: what became of the rows since; None where nothing did.
        lexical: the keyword index of its corpus, if there is one; tail_words: the same of the tail.
        vectors: the matrix that the index is over, mapped.
        model: its embedder, or why there is none.
        mapped: the files that are read from where they lie, with their sizes.
        failures: of the bucket of its files, one for each that answered in its place when it was looked at, in seconds.
        stands_in: whether it has let its own index go for another build to be loaded, and answers without; see `index_memory.py`.
        judged_by: places of the vectors by whose pairs a threshold is judged; None for all.
        by_key: whether equal scores are ordered by key and number, wherever chunks lie.
        permitted: of the build's chunks, those that a reader may find; None for all.
    """

    manifest: ServingManifest
    build: Build
    index: VectorIndex
    table: ChunkTable
    tail: TailIndex | None
    lexical: Words | None
    tail_words: TailWords | None
    vectors: Vectors
    model: Embedder | EngineError
    versions: Mapping[str, int]
    mapped: Mapped
    failures: tuple[BucketFailure, ...]
    looked_at: float
    stands_in: bool = False
    judged_by: Ids | None = None
    by_key: bool = False
    permitted: Mask | None = None
    measured: dict[float, float] = field(default_factory=dict, hash=False, compare=False)

    @property
    def model_name(self) -> str:
        """Whose vectors it holds, with which their fingerprint begins."""
        return model_of(self.table.facts.fingerprint)

    @property
    def rescues(self) -> tuple[str, ...]:
        """Buckets that gave files in another's place."""
        return tuple(sorted({str(failure.rescue_bucket) for failure in self.failures}))

    @property
    def refs(self) -> tuple[ObjectRef, ...]:
        """Of the files that are read from where they lie."""
        lexical = self.manifest.lexical
        return (*self.build.files.values(), *(() if lexical is None else lexical.files.values()))

    def is_of(self, manifest: ServingManifest, build: Build | None) -> bool:
        """Whether this is what the catalog says: a build that was made again has the same name, and other files."""
        return (self.manifest is manifest or self.manifest == manifest) and self.has(build)

    def has(self, build: Build | None) -> bool:
        """Whether it is this build, with the index of its own."""
        return not self.stands_in and (self.build is build or self.build == build)

    def quick(self, k: int) -> bool:
        """Whether an unfiltered search is short enough for an event loop, see `VectorIndex.quick`."""
        return self.index.quick(k) and (self.tail is None or self.tail.size <= QUICK_TAIL)

    def embeds_quickly(self) -> bool:
        """Whether a short text is, see `Embedder.quick`; a model that is not there is told of as quickly."""
        return isinstance(self.model, EngineError) or self.model.quick

    def unrelated(self, share: float, measure: Callable[[Vectors, float], float]) -> float:
        """The cosine that this share of pairs of its vectors stays under, measured once."""
        if share not in self.measured:
            self.measured[share] = measure(self.vectors if self.judged_by is None else self.vectors[self.judged_by], share)
        return self.measured[share]

    def whole(self) -> bool:
        """Whether no file was cut."""
        return uncut(self.mapped)


def uncut(mapped: Mapped) -> bool:
    """Whether none of the files was cut: reading beyond the end of a mapped one would end the process."""
    return all(file.size() >= size for file, size in mapped)


def open_serving(build: Build, manifest: ServingManifest, files: Files, open_model: Callable[[Model], Embedder], now: float) -> Serving:
    """The build, searched as the manifest says, warm. Blocking. Raises what finding its files and opening it raise."""
    return with_tail(open_alone(build, manifest, files, open_model, now), manifest, files)


def beside(serving: Serving, build: Build, manifest: ServingManifest) -> Serving:
    """A build of the very same files as one that is open, searched as the manifest says: nothing is read again. As `open_alone`."""
    return replace(
        without_tail(serving),
        manifest=replace(manifest, tail=None, lexical=None),
        build=build,
        index=serving.index.beside(manifest.search),
        lexical=None,
    )


def find_files(build: Build, files: Files) -> Mapping[str, Found]:
    """The files of a build, by role. Blocking: they may have to be fetched. Raises what finding them raises."""
    return {role: files.find(ref) for role, ref in build.files.items()}


def open_alone(build: Build, manifest: ServingManifest, files: Files, open_model: Callable[[Model], Embedder], now: float) -> Serving:
    """The build, warm, with neither tail nor keyword index, which `with_tail` adds. Blocking. Raises as `open_serving`."""
    found = find_files(build, files)
    paths = {role: file.path for role, file in found.items()}
    index, table = open_build(build, paths, manifest.search, files.folder)
    model = _open_model(table.facts, open_model)
    _warm(index, table, model)
    return Serving(
        manifest=replace(manifest, tail=None, lexical=None),
        build=build,
        index=index,
        table=table,
        tail=None,
        lexical=None,
        tail_words=None,
        vectors=open_matrix(paths["vectors"], build.count, build.dimension),
        model=model,
        versions=_versions(table, None),
        mapped=tuple((_hold(path), build.files[role].size) for role, path in paths.items() if build.files[role].size),
        failures=failures_of(found.values()),
        looked_at=now,
    )


def _open_model(facts: Facts, open_model: Callable[[Model], Embedder]) -> Embedder | EngineError:
    if by_server(facts.model):
        return ExpectedModel(facts.model, facts.fingerprint, facts.dimension, open_model)
    try:
        model = open_model(facts.model)
    except EngineError as error:
        return error
    if model.fingerprint != facts.fingerprint:
        return ModelMismatch(
            f"Index {facts.index} holds vectors of {facts.fingerprint}; the model {model.name} here is {model.fingerprint}.",
            remedy="Reconcile the index, which embeds its texts again, or search by a vector of its own model.",
        )
    return model


def with_tail(serving: Serving, manifest: ServingManifest, files: Files) -> Serving:
    """The same build, searched as another manifest says, with its tail and keyword index. Blocking. Raises what opening these raises."""
    tail = _open_tail(manifest, files, serving.table)
    lexical, held, failures = serving.lexical, tuple[tuple[mmap.mmap, int], ...](), serving.failures
    if manifest.lexical != serving.manifest.lexical:
        words = _find_words(manifest.lexical, files)
        lexical, held = _open_words(manifest.lexical, words)
        failures = tuple({failure.rescue_bucket: failure for failure in (*failures, *failures_of(words.values()))}.values())
    serving.index.tune(manifest.search)
    return replace(
        serving,
        manifest=manifest,
        tail=tail,
        lexical=lexical,
        tail_words=_words_of(tail, lexical),
        versions=_versions(serving.table, tail),
        mapped=serving.mapped + held,
        failures=failures,
    )


def without_tail(serving: Serving) -> Serving:
    """The build alone: the rows as they were when it was made."""
    return replace(serving, tail=None, tail_words=None, versions=_versions(serving.table, None))


def _open_tail(manifest: ServingManifest, files: Files, table: ChunkTable) -> TailIndex | None:
    return None if manifest.tail is None else open_tail(files.find(manifest.tail.ref).path, table)


def _find_words(lexical: Lexical | None, files: Files) -> Mapping[str, Found]:
    return {} if lexical is None else {role: files.find(ref) for role, ref in lexical.files.items()}


def _open_words(lexical: Lexical | None, found: Mapping[str, Found]) -> tuple[LexicalIndex | None, Mapped]:
    """The keyword index, and what is mapped for it."""
    if lexical is None:
        return None, ()
    index = open_lexical_index({role: file.path for role, file in found.items()}, Statistics(lexical.chunks, lexical.terms))
    return index, tuple((_hold(found[role].path), ref.size) for role, ref in lexical.files.items() if ref.size)


def _words_of(tail: TailIndex | None, lexical: Words | None) -> TailWords | None:
    if tail is None or lexical is None:
        return None
    return TailWords([terms(text) for text in tail.texts.to_pylist()], lexical)


def _versions(table: ChunkTable, tail: TailIndex | None) -> Mapping[str, int]:
    facts = table.facts if tail is None else tail.facts
    return {facts.dataset: facts.table_version}


def failures_of(found: Iterable[Found]) -> tuple[BucketFailure, ...]:
    """One for each bucket that answered in another's place."""
    return tuple({file.rescue: file.failure for file in found if file.failure is not None}.values())


def _hold(path: Path) -> mmap.mmap:
    """A way to ask for the size of this very file, whatever its path comes to lead to: a mapping knows it, and ends with its last use."""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 1, access=mmap.ACCESS_READ)


def _warm(index: VectorIndex, table: ChunkTable, model: Embedder | EngineError) -> None:
    """Two searches, so that the first of a client finds pages mapped, libraries ready, and known what a filter costs."""
    if not isinstance(model, EngineError | ExpectedModel):  # a server's model is not loaded for it
        model.embed(["warm"])
    probe = np.full(index.dimension, index.dimension**-0.5, dtype=np.float32)
    ids, _ = index.search(probe, 10)
    index.search(probe, 10, np.arange(index.size) % 2 == 0)
    table.rows(ids)
