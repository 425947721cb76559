"""An eval set's truth: its queries, embedded, and their exact answers in one corpus. A job: blocking, in the memory of one row group.

The corpus is read from its file, 16 384 chunks at a time: each block is compared with all queries at once, and the best so far are kept.
In the same pass every text is compared with the queries: one that is a text of the corpus, or all of it below its headings, or a whole row
(`whole_rows.py`), has leaked, and would be found by any index.
Given queries are refused then, with the line; made ones are left out, as are those whose vector is the one of a text.

A filter is answered by SQL, as in a search, on the rows that the corpus is of; whoever makes the task has asked `decide`.
Next: `queries.py` and `perturbing.py` for where queries come from, `truth_file.py` for what is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from engines.embedding.headings import below_headings
from engines.embedding.registry import Embedder, open_asker
from engines.errors import FileRefused, FilterInvalid, ModelMismatch
from engines.sql.scan import keys_where
from engines.trials.perturbing import Source, chosen, normal, perturbed, place
from engines.trials.queries import Query, key_forms, read_queries
from engines.trials.truth_file import Truth, TruthFacts, halves, write_truth
from engines.trials.whole_rows import WholeRows
from engines.vectors.corpus_file import read_corpus_file, read_facts, vectors_of
from engines.vectors.engine import Ids, Mask, Progress, Vectors
from engines.vectors.nearest_many import nearest_many
from engines.vectors.publication import publish, storing
from engines.vectors.soundness import sound
from specs.digests import digest
from state.buckets import job_store
from state.catalog.indexes import Corpus, EvalTruth
from state.failpoints import declare, hit
from state.objects import ObjectStore
from state.places import BucketConfig

FORMAT = 1  # raise it when equal inputs would give another truth
AT_10 = 10
"""Answers that are kept at least: recall@10 is measured whatever hits count."""
SAME = 0.9999
"""A cosine from which on a vector is another's own."""
METRIC = "cosine"

STORED = declare("truth.stored")


def truth_digest(eval_set: str, corpus: str, queries: Mapping[str, Any], k: int) -> str:
    """The name of the truth that these inputs give. queries: `Asked.identity`."""
    return digest({"format": FORMAT, "eval_set": eval_set, "corpus": corpus, "metric": METRIC, "queries": dict(queries), "k": k})


@dataclass(frozen=True, slots=True)
class Asked:
    """Where queries come from: a file (path, shown to people as `shown`, of this digest), or so many made of the corpus by a seed."""

    path: str = ""
    shown: str = ""
    digest: str = ""
    queries: int = 0
    seed: int = 0

    @property
    def identity(self) -> Mapping[str, Any]:
        """What the queries depend on."""
        return {"digest": self.digest} if self.path else {"queries": self.queries, "seed": self.seed}


@dataclass(frozen=True, slots=True)
class TruthTask:
    """What is asked of which corpus, and where the answers go: `<key_prefix>/<digest>.parquet`. JSON-able.

    source: the rows of the corpus, as a TableSource's `to_dict` has them, for filters; None where none can be asked.
    """

    eval_set: str
    corpus: Corpus
    corpus_path: str
    asked: Asked
    k: int
    source: Mapping[str, Any] | None
    target: BucketConfig
    key_prefix: str

    @property
    def digest(self) -> str:
        """The truth's name."""
        return truth_digest(self.eval_set, self.corpus.digest, self.asked.identity, self.k)

    def to_dict(self) -> dict[str, Any]:
        """The inverse of `from_dict`."""
        return {**asdict(self), "corpus": self.corpus.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TruthTask:
        """Raises KeyError where a field is missing."""
        changed = {
            "corpus": Corpus.from_dict(data["corpus"]),
            "asked": Asked(**data["asked"]),
            "target": BucketConfig.from_dict(data["target"]),
        }
        return cls(**{**data, **changed})


def make_truth(task: TruthTask, progress: Progress, *, store: ObjectStore | None = None) -> EvalTruth:
    """Compute and store. progress: in chunks. Blocking.

    Raises FileRefused for queries that cannot be used, FileChanged, ModelMismatch, DiskFull, BucketUnavailable.
    """
    store = store or job_store(task.target)
    corpus = Path(task.corpus_path)
    facts = read_facts(corpus)
    model = open_asker(facts.model)
    if model.fingerprint != facts.fingerprint:
        raise ModelMismatch(f"The model {model.name} here is {model.fingerprint}; the index was made by {facts.fingerprint}.")
    asked = task.asked
    queries = read_queries(Path(asked.path), asked.shown, asked.digest) if asked.path else _made(corpus, asked)
    truth, unknown = _answered(task, queries, model, corpus, progress)
    staged = store.stage()
    try:
        with storing(store.name, staged):
            write_truth(staged, truth)
        reference = publish(store, f"{task.key_prefix}/{task.digest}.parquet", staged)
    finally:
        staged.unlink(missing_ok=True)
    hit(STORED)
    return EvalTruth(
        eval_set=task.eval_set,
        digest=task.digest,
        corpus=task.corpus.digest,
        ref=reference,
        k=task.k,
        queries=len(truth.texts),
        filters=len(truth.allowed),
        judged=sum(bool(keys) for keys in truth.relevant),
        unknown=unknown,
        unanswered=sum(not len(ids) for ids in truth.ids),
    )


def _made(corpus: Path, asked: Asked) -> list[Query]:
    """More than are asked for: some will turn out to be texts of the corpus."""
    found: dict[str, Query] = {}
    for source in chosen(_sources(corpus, asked.seed), asked.queries + asked.queries // 4 + 8):
        text = perturbed(source.text, asked.seed)
        if text is not None:
            found.setdefault(text, Query(text))
    return list(found.values())


def _sources(corpus: Path, seed: int) -> Iterator[Source]:
    at = 0
    for batch in read_corpus_file(corpus, ["key", "number", "text"]):
        for key, number, text in zip(*(batch.column(name).to_pylist() for name in ("key", "number", "text")), strict=True):
            yield Source(place(seed, key, number), at, text)
            at += 1


class _Best:
    """The nearest of some queries so far: int64 and float32 (queries, up to width), best first, ties by id."""

    def __init__(self, queries: Vectors, width: int) -> None:
        self._queries, self._width = queries, width
        self.ids = np.empty((len(queries), 0), np.int64)
        self.scores = np.empty((len(queries), 0), np.float32)

    def add(self, block: Vectors, first: int, allowed: Mask | None) -> None:
        """More vectors. first: the id of the first of them; allowed: of these."""
        ids, scores = nearest_many(block, self._queries, self._width, allowed)
        ids = np.concatenate((self.ids, ids + first), axis=1)
        scores = np.concatenate((self.scores, scores), axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, : self._width]  # ids ascend from block to block, so ties stay in order
        self.ids, self.scores = np.take_along_axis(ids, order, axis=1), np.take_along_axis(scores, order, axis=1)


class _Pass:
    """What one pass over the corpus finds out.

    Args:
        leaked: queries that are texts of the corpus, normalised. present: relevant keys that are there. size: chunks so far.
    """

    def __init__(self, queries: Sequence[Query], vectors: Vectors, allowed: Mapping[str, Mask], width: int, *, structured: bool) -> None:
        """allowed: of all chunks those that each filter passes. structured: whether the corpus was cut by structure."""
        self._texts = {normal(query.text) for query in queries}
        self._whole = WholeRows(self._texts, structured=structured)
        self._wanted = {form for query in queries for written in query.relevant for form in key_forms(written)}
        self._allowed = allowed
        self._of: dict[str | None, list[int]] = {}
        for at, query in enumerate(queries):
            self._of.setdefault(query.filter, []).append(at)
        self._best = {name: _Best(vectors[ats], width) for name, ats in self._of.items()}
        self.leaked: set[str] = set()
        self.present: set[str] = set()
        self.size = 0

    def read(self, batch: Any) -> None:
        """The next chunks: key, number, start, text, vector."""
        texts = batch.column("text").to_pylist()
        self.leaked |= self._texts.intersection(map(normal, chain(texts, filter(None, map(below_headings, texts)))))
        self._whole.read(zip(*(batch.column(name).to_pylist() for name in ("key", "number", "start")), texts, strict=True))
        if self._wanted:
            self.present |= self._wanted.intersection(batch.column("key").to_pylist())
        block, end = np.ascontiguousarray(vectors_of(batch)), self.size + len(batch)
        for name, best in self._best.items():
            best.add(block, self.size, None if name is None else self._allowed[name][self.size : end])
        self.size = end

    def end(self) -> None:
        """No more chunks come."""
        self._whole.end()
        self.leaked |= self._whole.found

    def nearest(self, at: int, condition: str | None) -> tuple[Ids, Vectors]:
        """Of one query, which has this filter."""
        row = self._of[condition].index(at)
        return self._best[condition].ids[row], self._best[condition].scores[row]


def _answered(task: TruthTask, queries: Sequence[Query], model: Embedder, corpus: Path, progress: Progress) -> tuple[Truth, int]:
    """The truth, and how many relevant keys are not in the corpus."""
    vectors = model.embed([query.text for query in queries])
    width = max(task.k, AT_10)
    allowed = _allowed(task, queries, corpus)
    scan = _Pass(queries, vectors, allowed, width, structured=read_facts(corpus).by == "structure")
    for batch in read_corpus_file(corpus, ["key", "number", "start", "text", "vector"]):
        scan.read(batch)
        progress(scan.size, task.corpus.chunks)
    scan.end()
    if task.asked.path:
        _check(task.asked.shown, queries, vectors, scan.leaked)
    found = [scan.nearest(at, query.filter) for at, query in enumerate(queries)]
    kept = list(range(len(queries))) if task.asked.path else _own(queries, vectors, found, scan.leaked)[: task.asked.queries]
    if not any(len(found[at][0]) for at in kept):
        reason = "has no query with an answer: their filters pass no row" if task.asked.path else "can be made of none of the texts"
        raise FileRefused(task.asked.shown or "a query", None, reason)
    relevant, unknown = _relevant(task.asked.shown, queries, scan.present)
    rows = _keys_of(corpus, [found[at][0] for at in kept])
    truth = Truth(
        facts=TruthFacts(task.eval_set, task.digest, task.corpus.digest, task.k, width, scan.size, task.corpus.dimension),
        texts=tuple(queries[at].text for at in kept),
        filters=tuple(queries[at].filter for at in kept),
        allowed=allowed,
        relevant=tuple(relevant[at] for at in kept),
        half=halves([queries[at].text for at in kept]),
        vectors=vectors[kept],
        ids=tuple(found[at][0] for at in kept),
        keys=tuple(tuple(rows[chunk] for chunk in found[at][0].tolist()) for at in kept),
        scores=tuple(found[at][1] for at in kept),
    )
    return truth, unknown


def _own(queries: Sequence[Query], vectors: Vectors, found: Sequence[tuple[Ids, Vectors]], leaked: set[str]) -> list[int]:
    """Of made queries those that are no text of the corpus, neither by their words nor by their vector."""
    of_use = sound(vectors)
    fit = (at for at, query in enumerate(queries) if of_use[at] and normal(query.text) not in leaked)
    return [at for at in fit if found[at][1][0] < SAME]


def _check(shown: str, queries: Iterable[Query], vectors: Vectors, leaked: set[str]) -> None:
    """Raises FileRefused with the line of the first query that cannot be one."""
    for query, vector, of_use in zip(queries, vectors, sound(vectors), strict=True):
        if normal(query.text) in leaked:
            remedy = "Ask as somebody would who does not have the text: an index finds the text itself whatever its recall is."
            raise FileRefused(shown, query.line, "is a text of the dataset itself", remedy=remedy)
        if not of_use:
            fault = "whose vector is not finite" if vector.any() else "of which the model knows no word"
            raise FileRefused(shown, query.line, f"has a text {fault}, so nothing is near it")


def _allowed(task: TruthTask, queries: Iterable[Query], corpus: Path) -> dict[str, Mask]:
    """Of all chunks those that each filter passes: a byte each, where their keys may be large. One after the other.

    Raises FileRefused with the line of the first query that has a filter which cannot be.
    """
    found: dict[str, Mask] = {}
    for query in queries:
        if query.filter is None or query.filter in found:
            continue
        if task.source is None:
            raise FileRefused(task.asked.shown, query.line, "has a filter, and the rows that the index is of are not kept any more")
        try:
            keys = keys_where(task.source, query.filter)
        except FilterInvalid as error:
            raise FileRefused(task.asked.shown, query.line, f"has a filter that cannot be: {error}", remedy=error.remedy) from error
        masks = (pc.is_in(batch.column("key"), value_set=keys) for batch in read_corpus_file(corpus, ["key"]))
        found[query.filter] = np.concatenate([mask.to_numpy(zero_copy_only=False) for mask in masks])
    return found


def _relevant(shown: str, queries: Sequence[Query], present: set[str]) -> tuple[list[tuple[str, ...]], int]:
    """Those of the corpus, by query, and how many are not. Raises FileRefused where none of them all is."""
    found: list[tuple[str, ...]] = []
    unknown: list[tuple[Query, str]] = []
    for query in queries:
        forms = [(written, next((form for form in key_forms(written) if form in present), None)) for written in query.relevant]
        found.append(tuple(form for _, form in forms if form is not None))
        unknown += [(query, written) for written, form in forms if form is None]
    if unknown and not any(found):
        query, written = unknown[0]
        reason = f"says that {written} is relevant, and no row with a text has such a key; nor is any other relevant key there"
        raise FileRefused(shown, query.line, reason, remedy="A key is the primary key's value, an array where it has several columns.")
    return found, len(unknown)


def _keys_of(corpus: Path, ids: Sequence[Ids]) -> dict[int, str]:
    wanted = np.unique(np.concatenate(ids)) if ids else np.empty(0, np.int64)
    found: dict[int, str] = {}
    first = 0
    for batch in read_corpus_file(corpus, ["key"]):
        here = wanted[(wanted >= first) & (wanted < first + len(batch))]
        found |= dict(zip(here.tolist(), batch.column("key").take(here - first).to_pylist(), strict=True))
        first += len(batch)
    return found
