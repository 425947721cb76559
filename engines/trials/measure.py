"""A trial: one build, searched with several parameters, at the queries of an eval set. A job: blocking, in a process of its own.

A build that is recorded is opened as a search opens it. At a lower fidelity a share of the chunks, the same for every recipe, is built over
here, and thrown away: it ranks recipes for a part of the cost, and its recall is that of fewer vectors.

Recall counts a hit that is as near as the last right one as right (`TIE`): chunks of one text are one answer. By id it is told as well.
Each query is timed alone, several times, and its shortest time counts, since what comes between from elsewhere only makes it longer; then
all of them by several threads at once. The job has its priority lowered like all jobs: on a busy machine every figure is worse, for every
trial alike. A job that is kept to a share of the processors is not stopped while it loads, nor while several threads ask: it owes that
time. A stop lengthens no shortest time. It does lengthen a build, whose CPU seconds are told as well.
Next: `truth_file.py`, `intervals.py`.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.jobs.timed import timed
from engines.peak_memory import forget_peak, peak
from engines.trials.intervals import Counts, recall, wilson
from engines.trials.sample import Sample, sampled
from engines.trials.truth_file import Truth, read_truth
from engines.vectors.builds import open_build
from engines.vectors.chunk_table import ChunkTable
from engines.vectors.engine import Ids, Mask, Parts, Progress, VectorIndex, Vectors
from engines.vectors.matrix import open_matrix
from engines.vectors.publication import storing
from engines.vectors.registry import open_engine
from state.buckets import job_store
from state.catalog.indexes import Build
from state.objects import ObjectStore
from state.places import BucketConfig
from state.staging import scratch

TIE = 1e-6
"""Cosines that differ by less are equal."""
AT = 10
ROUNDS = 3
_TIMED = 1000  # queries at most
_BAD = 0.5  # a query is in the tail where so much of it is found, or less
_MOST_HITS = 2_000  # queries whose hits are told one by one, to compare two trials by; of more, so many at random, for every trial the same
_SEED = 1
_THREADS = max(2, min(8, os.cpu_count() or 1))
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class MeasureTask:
    """What is measured by what. JSON-able.

    build: recorded, with its files at `paths` by role; None where a share (`fidelity`) of the corpus at `corpus_path` is to be built over
    by this recipe. searches: parameters, each measured. target: the bucket of the index; what is needed for a while is staged where it
    stages, and swept with that after a kill.
    """

    truth_path: str
    engine: str
    parameters: Mapping[str, Any]
    searches: Sequence[Mapping[str, Any]]
    target: BucketConfig
    build: Build | None = None
    paths: Mapping[str, str] | None = None
    corpus_path: str = ""
    fidelity: float = 1.0

    def to_dict(self) -> dict[str, Any]:
        """The inverse of `from_dict`."""
        return {**asdict(self), "searches": list(self.searches), "build": None if self.build is None else self.build.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> MeasureTask:
        """Raises KeyError where a field is missing."""
        build = None if data["build"] is None else Build.from_dict(data["build"])
        return cls(**{**data, "build": build, "target": BucketConfig.from_dict(data["target"])})


@dataclass(frozen=True, slots=True)
class _Opened:
    """What is searched. facts: of its making, as a trial's row has them. table: whose chunks they are; None for a share of them."""

    index: VectorIndex
    matrix: Vectors
    truth: Truth
    facts: Mapping[str, float | int | None]
    table: ChunkTable | None = None


def run(task: MeasureTask, progress: Progress, clock: Clock = time.perf_counter) -> list[dict[str, Any]]:
    """A trial's figures for each of the searches, in their order. progress: in searches.

    Blocking. Raises BuildFailed, EngineUnsupported, DiskFull.
    """
    truth = read_truth(Path(task.truth_path))
    with _opened(task, truth, clock) as opened:
        found = []
        for done, search in enumerate(task.searches):
            progress(done, len(task.searches))
            opened.index.tune(search)
            found.append({**opened.facts, **_measured(opened, clock)})
        progress(len(task.searches), len(task.searches))
        return found


@contextmanager
def _opened(task: MeasureTask, truth: Truth, clock: Clock) -> Iterator[_Opened]:
    store = job_store(task.target)  # what it stages goes with it
    if task.build is not None and task.paths is not None:
        paths = {role: Path(path) for role, path in task.paths.items()}
        with timed():
            started = clock()
            index, table = open_build(task.build, paths, task.searches[0], partial(_folder, store))
            load_seconds = clock() - started
        facts = {
            "build_seconds": task.build.seconds,
            "build_cpu_seconds": task.build.cpu_seconds or None,
            "load_seconds": load_seconds,
            "peak_bytes": task.build.peak_bytes or None,
        }
        yield _Opened(index, open_matrix(paths["vectors"], task.build.count, task.build.dimension), truth, facts, table)
        return
    with scratch(store) as folder:
        with storing(store.name, folder):
            sample = sampled(Path(task.corpus_path), folder, truth, task.fidelity)
            opened = _built(task, sample, folder, clock)
        yield opened


def _folder(store: ObjectStore) -> Path:
    return Path(tempfile.mkdtemp(dir=store.stage().parent))


def _built(task: MeasureTask, sample: Sample, folder: Path, clock: Clock) -> _Opened:
    engine = open_engine(task.engine)

    def stage() -> Path:
        handle, name = tempfile.mkstemp(dir=folder)
        os.close(handle)
        return Path(name)

    started, cpu, held = clock(), time.process_time(), forget_peak()
    files = engine.build(sample.matrix, task.parameters, stage, threads=1, progress=lambda done, total: None)
    taken = {"build_seconds": clock() - started, "build_cpu_seconds": time.process_time() - cpu, "peak_bytes": max(0, peak() - held)}
    count, dimension = sample.matrix.shape
    with timed():
        started = clock()
        index = engine.open(Parts(sample.path, count, dimension, files, task.searches[0]))
        taken["load_seconds"] = clock() - started
    return _Opened(index, sample.matrix, sample.truth, taken)


def _measured(opened: _Opened, clock: Clock) -> dict[str, Any]:
    index, truth = opened.index, opened.truth
    allowed = [None if name is None else truth.allowed[name] for name in truth.filters]
    k = truth.facts.k
    found = [index.search(vector, k, mask)[0] for vector, mask in zip(truth.vectors, allowed, strict=True)]
    at_k, by_id = _hits(opened, found, k), _by_id(truth, found)
    at_10 = at_k
    if k != AT:
        found_10 = [index.search(vector, AT, mask)[0] for vector, mask in zip(truth.vectors, allowed, strict=True)]
        at_10 = _hits(opened, found_10, AT)
    alone = _alone(index, truth.vectors, allowed, k, clock)
    described = index.describe()
    return {
        "memory_bytes": int(described["memory_bytes"]),
        "disk_bytes": int(described["disk_bytes"]),
        **_recalls(opened, found, at_k, at_10, by_id),
        **{f"p{share}_us": float(np.percentile(alone, share)) for share in (50, 95, 99)},
        **_together(index, truth.vectors, allowed, k, clock),
        "filters": _by_filter(truth, at_k, by_id, alone),
    }


def _hits(opened: _Opened, found: Sequence[Ids], k: int) -> Counts:
    """int64 (queries,): hits among the first k that are as near as the k-th nearest, ties included."""
    hits = []
    for vector, ids, scores in zip(opened.truth.vectors, found, opened.truth.scores, strict=True):
        width = min(k, len(scores))
        near = np.vecdot(opened.matrix.take(ids[:width], axis=0), vector) if width else np.empty(0)
        hits.append(int(np.count_nonzero(near >= scores[width - 1] - TIE)) if width else 0)
    return np.array(hits, dtype=np.int64)


def _by_id(truth: Truth, found: Sequence[Ids]) -> Counts:
    """int64 (queries,): hits among the first k that are the very answers."""
    k = truth.facts.k
    return np.array([len(np.intersect1d(ids, right[:k])) for ids, right in zip(found, truth.ids, strict=True)], dtype=np.int64)


def _recalls(opened: _Opened, found: Sequence[Ids], at_k: Counts, at_10: Counts, by_id: Counts) -> dict[str, Any]:
    truth = opened.truth
    widths, widths_10 = truth.widths(truth.facts.k), truth.widths(AT)
    first = _hits(opened, found, 1)
    answered = widths > 0
    bounds, at_first = recall(at_10, widths_10), wilson(int(first[answered].sum()), int(answered.sum()))
    halves = [_half(at_10, widths_10, truth.half == number) for number in (0, 1)]
    told = _told(len(at_10))
    return {
        "recall_at_1": at_first.value,
        "recall_at_10": bounds.value,
        "recall_low": bounds.low,
        "recall_high": bounds.high,
        "recall_at_1_low": at_first.low,
        **_at_k("recall_at_k", at_k, by_id, widths),
        "halves": halves,
        "queries": len(truth.texts),
        "hits": at_10[told].tolist(),
        "widths": widths_10[told].tolist() if (widths_10[told] != AT).any() else None,
        **_judged(opened, found),
    }


def _told(queries: int) -> Ids:
    """int64: of which queries the hits are told one by one, ascending."""
    if queries <= _MOST_HITS:
        return np.arange(queries)
    return np.sort(np.random.default_rng(_SEED).choice(queries, _MOST_HITS, replace=False))


def _at_k(name: str, at_k: Counts, by_id: Counts, widths: Counts) -> dict[str, float | None]:
    """Recall at the k of the eval set, ties included, under this name, and by id; and the share of queries of which half or less is found.

    Nothing but None where no query has an answer.
    """
    if not (widths > 0).any():
        return {name: None}
    near, exact, answered = recall(at_k, widths), recall(by_id, widths), widths > 0
    return {
        name: near.value,
        f"{name}_low": near.low,
        f"{name}_high": near.high,
        "recall_by_id": exact.value,
        "recall_by_id_low": exact.low,
        "recall_by_id_high": exact.high,
        "tail": float((at_k[answered] <= _BAD * widths[answered]).mean()),
    }


def _half(hits: Counts, widths: Counts, of: NDArray[np.bool_]) -> dict[str, float] | None:
    """None for a half without a query that counts."""
    if not (widths[of] > 0).any():
        return None
    bounds = recall(hits[of], widths[of])
    return {"recall": bounds.value, "low": bounds.low}


def _judged(opened: _Opened, found: Sequence[Ids]) -> dict[str, Any]:
    """Of judged queries: the share of relevant rows that are found, and the same by exact search."""
    truth, k = opened.truth, opened.truth.facts.k
    shares, exact = [], []
    for ids, keys, relevant in zip(found, truth.keys, truth.relevant, strict=True):
        if relevant and opened.table is not None:
            most = min(k, len(relevant))
            shares.append(len(set(relevant) & {key for key, _, _ in opened.table.rows(ids[:k])}) / most)
            exact.append(len(set(relevant) & set(keys[:k])) / most)
    return {"relevant_found": float(np.mean(shares)), "relevant_by_exact": float(np.mean(exact))} if shares else {}


def _alone(index: VectorIndex, vectors: Vectors, allowed: Sequence[Mask | None], k: int, clock: Clock) -> NDArray[np.float64]:
    """Microseconds of each query, one after the other."""
    asked = list(zip(vectors, allowed, strict=True))[:_TIMED]
    shortest = np.full(len(asked), np.inf)
    for _ in range(ROUNDS):
        for at, (vector, mask) in enumerate(asked):
            started = clock()
            index.search(vector, k, mask)
            shortest[at] = min(shortest[at], (clock() - started) * 1e6)
    return shortest


def _together(index: VectorIndex, vectors: Vectors, allowed: Sequence[Mask | None], k: int, clock: Clock) -> dict[str, Any]:
    """By several threads at once: what they answer in a second, and how long each query takes then."""
    asked = list(zip(vectors, allowed, strict=True))[:_TIMED]

    def work(part: Sequence[tuple[Vectors, Mask | None]]) -> list[float]:
        taken = []
        for vector, mask in part:
            started = clock()
            index.search(vector, k, mask)
            taken.append((clock() - started) * 1e6)
        return taken

    with timed(), ThreadPoolExecutor(_THREADS) as pool:
        parts = [asked[start::_THREADS] for start in range(_THREADS)]
        started = clock()
        taken = [one for part in pool.map(work, parts) for one in part]
        seconds = clock() - started
    shares = {f"p{share}_us": float(np.percentile(taken, share)) for share in (50, 95, 99)}
    return {"qps": len(asked) / seconds if seconds else None, "concurrent": {"threads": _THREADS, **shares}}


def _by_filter(truth: Truth, at_k: Counts, by_id: Counts, alone: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Recall and time for each filter, by the share of chunks that it passes; of queries without one as well, where others have one."""
    if not truth.allowed:
        return []
    widths, found = truth.widths(truth.facts.k), []
    names = np.array([name if name is not None else "" for name in truth.filters])
    for name in sorted({*truth.filters}, key=lambda name: name or ""):
        of = names == (name or "")
        times = alone[of[: len(alone)]]
        found.append(
            {
                "filter": name,
                "selectivity": 1.0 if name is None else float(truth.allowed[name].mean()),
                "queries": int(of.sum()),
                **_at_k("recall", at_k[of], by_id[of], widths[of]),
                "p50_us": float(np.percentile(times, 50)) if len(times) else None,
            }
        )
    return found
