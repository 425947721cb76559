"""The keyword index of a corpus: built once, whatever is built over the vectors. A job: blocking.

It is named by its inputs (`lexical_digest`). Files are written aside and moved to their keys when all are finished; the record refers to
them by size and SHA-256. A killed job begins again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engines.lexical.bm25 import ROLES, write_lexical_index
from engines.lexical.terms import terms
from engines.vectors.corpus_file import read_corpus_file
from engines.vectors.engine import Progress
from engines.vectors.publication import publish, storing
from specs.digests import digest
from state.buckets import job_store
from state.catalog.indexes import Lexical
from state.failpoints import declare, hit
from state.objects import ObjectStore
from state.places import BucketConfig

FORMAT = 1  # raise it when equal corpora would give another index

STORED = declare("lexical.stored")


def lexical_digest(corpus: str) -> str:
    """The name of the keyword index of a corpus."""
    return digest({"format": FORMAT, "corpus": corpus})


@dataclass(frozen=True, slots=True)
class LexicalTask:
    """Over which corpus, and where the index goes. JSON-able. Objects are `<key_prefix>/<digest>/<role>`. chunks: in it, for the
    progress."""

    corpus: str
    corpus_path: str
    chunks: int
    target: BucketConfig
    key_prefix: str

    def to_dict(self) -> dict[str, Any]:
        """The inverse of `from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LexicalTask:
        """Raises KeyError where a field is missing."""
        return cls(**{**data, "target": BucketConfig.from_dict(data["target"])})


def make_lexical(task: LexicalTask, progress: Progress, *, store: ObjectStore | None = None) -> Lexical:
    """Index and store. Blocking. store: the target, if the caller has it open. Raises DiskFull, BucketUnavailable."""
    store = store or job_store(task.target)
    name = lexical_digest(task.corpus)
    staged = {role: store.stage() for role in ROLES}
    try:
        with storing(store.name, staged["scores"]):
            found = write_lexical_index(_texts(task, progress), staged)
        files = {role: publish(store, f"{task.key_prefix}/{name}/{role}", path) for role, path in staged.items()}
    finally:
        for path in staged.values():
            path.unlink(missing_ok=True)
    hit(STORED)
    return Lexical(name, files, found.chunks, found.terms)


def run(arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """What the executor runs: a `LexicalTask` in, a `Lexical` out."""
    return make_lexical(LexicalTask.from_dict(arguments), progress).to_dict()


def _texts(task: LexicalTask, progress: Progress) -> Iterator[list[str]]:
    done = 0
    for batch in read_corpus_file(Path(task.corpus_path), ["text"]):
        yield from (terms(text) for text in batch.column("text").to_pylist())
        done += len(batch)
        progress(done, max(task.chunks, done))
