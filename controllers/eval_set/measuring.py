"""How a trial comes about: the job that measures, and the rows that are made of what it found. Shared by whoever wants trials.

A trial is named by its inputs, and its job by those of all its searches: one that was measured is not measured again, whoever asks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from controllers.jobs import job_weight
from engines.jobs.job import Job
from engines.trials.measure import MeasureTask
from engines.vectors.builds import build_digest
from specs.digests import digest
from state.buckets import Buckets
from state.catalog.indexes import Build, Corpus, EvalTruth, ServingManifest
from state.reader import ObjectReader
from state.trials import Trial, trial_id

_KEPT_IN_COLUMNS = frozenset({
    "recall_at_1", "recall_at_10", "recall_low", "p50_us", "p95_us", "p99_us", "qps", "build_seconds", "build_cpu_seconds", "load_seconds",
    "memory_bytes", "disk_bytes",
})  # fmt: skip
_MEASURE_BYTES = 16 << 20
"""A trial takes a process of its own however small the index is: what else runs in this one would be measured with it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be measured: a recipe over a corpus of an index, searched in several ways, by an eval set's answers.

    build: recorded, over that corpus; None for a share of it (`fidelity`), which is built for the trial alone.
    """

    index: str
    truth: EvalTruth
    corpus: Corpus
    engine: str
    parameters: Mapping[str, Any] = field(hash=False)
    searches: Sequence[Mapping[str, Any]] = field(hash=False)
    proposed_by: str
    build: Build | None = None
    generation: str | None = None
    fidelity: float = 1.0

    @property
    def built(self) -> str:
        """The name that the build has, or would have."""
        return build_digest(self.engine, self.parameters, self.corpus.digest)

    def trial(self, search: Mapping[str, Any]) -> str:
        """The trial's name."""
        return trial_id(self.built, search, self.truth.digest, self.fidelity)


def measure_job(wanted: Wanted, kind: str, owner: str, objects: ObjectReader, buckets: Buckets) -> Job:
    """kind: "measure" for what is measured by itself, "trial" for what somebody asked for. owner: "Kind/name". Blocking.

    Raises what reading an object raises.
    """
    build = wanted.build
    task = MeasureTask(
        truth_path=str(objects.path(wanted.truth.ref)),
        engine=wanted.engine,
        parameters=dict(wanted.parameters),
        searches=[dict(search) for search in wanted.searches],
        target=buckets.configs()[wanted.corpus.ref.bucket],
        build=build,
        paths=None if build is None else {role: str(objects.path(ref)) for role, ref in build.files.items()},
        corpus_path="" if build is not None else str(objects.path(wanted.corpus.ref)),
        fidelity=wanted.fidelity,
    )
    name = digest([wanted.trial(search) for search in wanted.searches])
    vectors = wanted.corpus.chunks * wanted.corpus.dimension * 4
    weight = job_weight(max(vectors, _MEASURE_BYTES), buckets.configs()[wanted.corpus.ref.bucket])
    return Job(f"{kind}-{name}", kind, "engines.trials.jobs:measure", task.to_dict(), weight, owner)


def trials_from(wanted: Wanted, result: Mapping[str, Any], serving: ServingManifest | None) -> list[Trial]:
    """result: what the job gave, one set of figures for each search. serving: what does now, whose trial says so."""
    now = None if serving is None else (serving.build, dict(serving.search))
    pairs = zip(wanted.searches, result["measured"], strict=True)
    return [_trial(wanted, search, found, serves=now == (wanted.built, dict(search))) for search, found in pairs]


def _trial(wanted: Wanted, search: Mapping[str, Any], found: Mapping[str, Any], *, serves: bool) -> Trial:
    about = {
        "build": wanted.built,
        "search": dict(search),
        "truth": wanted.truth.digest,
        "corpus": wanted.corpus.digest,
        "chunks": wanted.corpus.chunks,
        "dimension": wanted.corpus.dimension,
        "k": wanted.truth.k,
    }
    return Trial(
        trial=wanted.trial(search),
        index=wanted.index,
        generation=wanted.generation,
        engine=wanted.engine,
        params={**wanted.parameters, **search},
        fidelity=wanted.fidelity,
        eval_set=wanted.truth.eval_set,
        snapshot=wanted.corpus.snapshot,
        **{name: found[name] for name in _KEPT_IN_COLUMNS},
        proposed_by=wanted.proposed_by,
        model=wanted.corpus.model,
        promoted=serves and wanted.fidelity >= 1,
        detail={**about, **{name: value for name, value in found.items() if name not in _KEPT_IN_COLUMNS and value is not None}},
    )
