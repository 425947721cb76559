"""Trials that somebody asks for, one recipe and several ways to search it, by a request or by a budget.

At full fidelity what is measured is a build of the index like any other: recorded, kept as long as `keep` allows, and ready to serve. What
was built or measured before is taken as it is, so that a request which is carried out again after a crash goes on where it was.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from controllers.eval_set.measuring import Wanted, measure_job, trials_from
from controllers.index.builds import Builds
from controllers.index.jobs import trial_owner
from controllers.index.models import in_force
from controllers.jobs import Bounds
from controllers.step import Started
from engines.errors import BuildFailed, EngineUnsupported
from engines.jobs.executor import Executor
from engines.jobs.job import Done, Failed
from engines.vectors.engine import Recipe
from engines.vectors.registry import open_engine
from specs.errors import LakehouseError
from specs.kinds.index import IndexSpec
from specs.resource import Resource
from state.buckets import Buckets
from state.catalog.catalog import Catalog
from state.catalog.indexes import Corpus, EvalTruth, IndexRecord, ServingManifest
from state.reader import ObjectReader
from state.requests import Request
from state.trials import Trial, TrialBook

_BESIDE = ("build", "trial")
"""Jobs of other trials of the index."""


@dataclass(frozen=True, slots=True)
class Party:
    """Who asks. owner: whose jobs they are, of which no other goes on; None: those of anybody who asks by hand. name: of what is built.
    bounds: of the jobs, if they have any."""

    actor: str
    owner: str | None = None
    name: str | None = None
    bounds: Bounds | None = None


class TrialRefused(LakehouseError):
    """It cannot be measured as it is asked for."""

    slug = "trial-refused"


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be tried: an engine's parameters, and the ways to search what is built. eval_set: None for the only one."""

    engine: str
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)
    searches: Sequence[Mapping[str, Any]] = field(default=({},), hash=False)
    eval_set: str | None = None
    fidelity: float = 1.0

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> "Asked":
        """Raises TrialRefused for what no client of ours sends."""
        searches = payload.get("searches", [{}])
        fits = (
            isinstance(payload.get("engine"), str)
            and isinstance(payload.get("parameters", {}), dict)
            and isinstance(searches, list)
            and searches
            and all(isinstance(search, dict) for search in searches)
            and isinstance(payload.get("evalSet"), str | None)
            and isinstance(payload.get("fidelity", 1.0), int | float)
            and 0 < payload.get("fidelity", 1.0) <= 1
        )
        if not fits:
            raise TrialRefused("That is no trial.", remedy="Name an `engine`, its `parameters`, `searches`, a `fidelity` in (0, 1].")
        fidelity = float(payload.get("fidelity", 1.0))
        return cls(payload["engine"], payload.get("parameters", {}), searches, payload.get("evalSet"), fidelity)


class TrialRuns:
    """Blocking; one call at a time for one index."""

    def __init__(
        self, catalog: Catalog, buckets: Buckets, objects: ObjectReader, executor: Executor, builds: Builds, trials: TrialBook
    ) -> None:
        self._catalog = catalog
        self._buckets = buckets
        self._objects = objects
        self._executor = executor
        self._builds = builds
        self._trials = trials

    def carry_out(self, index: Resource, request: Request, revision: str | None) -> str | None:
        """What was measured, in words; None while it runs. Raises TrialRefused, and what building and measuring raise."""
        found = self.run(index, Asked.from_payload(request.payload), Party(request.actor), revision)
        return None if isinstance(found, Started) else _told(found)

    def names(self, index: Resource, asked: Asked) -> tuple[str, tuple[str, ...]]:
        """The digest of the build, and the names of the trials, in the order of the searches. Raises TrialRefused."""
        _, truth, corpus = self._standing(index, asked)
        recipe, searches = _recipes(asked)
        wanted = Wanted(index.key.name, truth, corpus, recipe.engine, recipe.build, searches, "", fidelity=asked.fidelity)
        return wanted.built, tuple(wanted.trial(search) for search in searches)

    def run(self, index: Resource, asked: Asked, party: Party, revision: str | None) -> tuple[Trial, ...] | Started:
        """The trials, in the order of the searches; Started while they run. Raises as `carry_out` does."""
        record, truth, corpus = self._standing(index, asked)
        recipe, searches = _recipes(asked)
        wanted = Wanted(index.key.name, truth, corpus, recipe.engine, recipe.build, searches, party.actor, fidelity=asked.fidelity)
        known = [self._trials.find(wanted.trial(search)) for search in searches]
        if all(trial is not None for trial in known):
            return tuple(trial for trial in known if trial is not None)
        if asked.fidelity >= 1:
            build = record.builds.get(wanted.built)
            if build is None or not self._builds.whole(build.files.values()):
                return self._build(index, record, wanted, party, asked, revision)
            wanted = replace(wanted, build=build, generation=build.generation)
        return self._measure(wanted, party, record.serving)

    def _build(
        self, index: Resource, record: IndexRecord, wanted: Wanted, party: Party, asked: Asked, revision: str | None
    ) -> tuple[Trial, ...] | Started:
        bases = [
            base
            for base in self._builds.bases(in_force(index.spec_as(IndexSpec), record), *self._table(index, record))
            if base.corpus == wanted.corpus
        ]
        candidate = self._builds.own(Recipe(wanted.engine, wanted.parameters, wanted.searches[0]), bases, party.name)
        weight = wanted.corpus.chunks * wanted.corpus.dimension * 4
        owner, beside = _owner(wanted, party)
        running = self._builds.build(index, candidate, weight, owner, revision or "", beside, party.bounds)
        return running if running is not None else self.run(index, asked, party, revision)

    def _measure(self, wanted: Wanted, party: Party, serving: ServingManifest | None) -> tuple[Trial, ...] | Started:
        owner, beside = _owner(wanted, party)
        job = measure_job(wanted, "trial", owner, self._objects, self._buckets)
        job = job if party.bounds is None else party.bounds.around(job)
        self._executor.keep_only(owner, {job.id}, beside)
        match self._executor.ensure(job):
            case Done(result=result):
                self._trials.add(trials_from(wanted, result, serving))
                self._executor.forget(job.id)
                found = (self._trials.find(wanted.trial(search)) for search in wanted.searches)
                return tuple(trial for trial in found if trial is not None)
            case Failed() as failed:
                self._executor.forget(job.id)
                raise failed.error
            case running:
                return Started("Evaluating", f"measuring: {running.describe()}", running.share)

    def _standing(self, index: Resource, asked: Asked) -> tuple[IndexRecord, EvalTruth, Corpus]:
        """What the index is measured by now. Raises TrialRefused."""
        record = self._catalog.index(index.key.name)
        truths = record.truths if record is not None else {}
        if asked.eval_set is None and len(truths) > 1:
            names = ", ".join(sorted(truths))
            raise TrialRefused(f"{index.key} is measured by several eval sets: {names}.", remedy="Name one of them, with --eval.")
        truth = truths.get(asked.eval_set or next(iter(truths), ""))
        name = f"EvalSet/{asked.eval_set}" if asked.eval_set else "an EvalSet"
        if record is None or truth is None:
            raise TrialRefused(
                f"{index.key} has no answers of {name} to measure by yet.",
                remedy=f"Declare an EvalSet of {index.key}; `lakectl wait EvalSet/NAME` returns when its answers are there.",
            )
        bases = self._builds.bases(in_force(index.spec_as(IndexSpec), record), *self._table(index, record))
        if not bases or bases[0].corpus.digest != truth.corpus:
            key = f"EvalSet/{truth.eval_set}"
            raise TrialRefused(f"The answers of {key} are those of other rows by now.", remedy=f"`lakectl wait {key}`, then ask again.")
        return record, truth, bases[0].corpus

    def _table(self, index: Resource, record: IndexRecord) -> tuple[Any, IndexRecord]:
        table = self._catalog.table(index.spec_as(IndexSpec).dataset)
        if table is None:
            raise TrialRefused(f"The dataset of {index.key} is not there any more.")
        return table, record


def _owner(wanted: Wanted, party: Party) -> tuple[str, tuple[str, ...]]:
    """Whose jobs they are, and the kinds of those that go on beside one."""
    return (trial_owner(wanted.index), _BESIDE) if party.owner is None else (party.owner, ())


def _recipes(asked: Asked) -> tuple[Recipe, tuple[Mapping[str, Any], ...]]:
    """The recipe, and its ways to be searched, complete. Raises TrialRefused."""
    try:
        engine = open_engine(asked.engine)
        recipes = [engine.recipe({**asked.parameters, **search}) for search in asked.searches]
    except (BuildFailed, EngineUnsupported) as error:
        raise TrialRefused(str(error), remedy=error.remedy) from error
    if any(recipe.build != recipes[0].build for recipe in recipes):
        raise TrialRefused("The searches are of different builds.", remedy="Ask for one trial each.")
    return recipes[0], tuple({str(sorted(recipe.search.items())): recipe.search for recipe in recipes}.values())


def _told(trials: Iterable[Trial]) -> str:
    return "; ".join(f"{_searched(trial)}{_figures(trial)}" for trial in trials)


def _figures(trial: Trial) -> str:
    return f"recall@10 {trial.recall_at_10:.3f} ({trial.recall_low:.3f} at least), p95 {trial.p95_us:,.0f} µs"


def _searched(trial: Trial) -> str:
    search = trial.detail.get("search", {})
    return "".join(f"{name} {value}: " for name, value in search.items() if value is not None) if len(search) == 1 else ""
