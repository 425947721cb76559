"""EvalSet's hands: finds its queries, has them answered, and has each build of the index measured by the answers.

What it makes is the index's: the answers lie in its folder and are recorded with it, trials are rows of the stream `trials`.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from controllers.dataset.files import SourceFiles
from controllers.eval_set import plan as planning
from controllers.eval_set.measuring import Wanted, measure_job, trials_from
from controllers.eval_set.plan import EvalSetStep, ForgetTruth, MakeTruth, Measure, Observed, Unmeasured
from controllers.index import steps as index_steps
from controllers.index.controller import IndexController
from controllers.index.model_turns import ModelTurns
from controllers.jobs import job_weight, run_job
from controllers.outcome import Outcome, Stalled, Waiting
from controllers.step import Started
from engines.embedding.registry import for_job
from engines.errors import FileRefused, TableUnknown, VersionUnknown
from engines.jobs.executor import Executor
from engines.jobs.job import Job
from engines.reading import ANONYMOUS
from engines.sql.admission import table_for
from engines.sql.tables import sql_name
from engines.sql.views import make_view
from engines.trials.truth import Asked, TruthTask, truth_digest
from specs.digests import digest
from specs.kinds.eval_set import EvalSetSpec
from specs.kinds.index import IndexSpec
from specs.resource import Key, Resource
from state import reasons
from state.buckets import Buckets
from state.catalog.catalog import Catalog
from state.catalog.entry import Dropped
from state.catalog.fold import ObjectState
from state.catalog.index_changes import Forgotten, TruthMade
from state.catalog.indexes import Corpus, EvalTruth, IndexRecord
from state.discards import Discards
from state.failpoints import declare, hit
from state.reader import ObjectReader
from state.trials import TrialBook

_BEFORE_TRUTH = declare("eval-set.before-truth-entry")
_BEFORE_TRIALS = declare("eval-set.before-trials")
_AFTER_TRIALS = declare("eval-set.after-trials")
_FORMAT = "ndjson"


class EvalSetController:
    """See `controllers.controller.Controller`.

    Args:
        index: what builds there are, and over what.
        files: lists and hashes the files of queries. views: a folder for views of tables.
        wanted: the spec in force of an object, None if nobody wants it.
        models: whose turn it is to have one in memory, by which queries are embedded.
    """

    def __init__(
        self,
        catalog: Catalog,
        buckets: Buckets,
        discards: Discards,
        executor: Executor,
        objects: ObjectReader,
        files: SourceFiles,
        index: IndexController,
        trials: TrialBook,
        views: Path,
        wanted: Callable[[Key], Resource | None],
        models: ModelTurns,
    ) -> None:
        self._catalog = catalog
        self._buckets = buckets
        self._discards = discards
        self._executor = executor
        self._objects = objects
        self._files = files
        self._index = index
        self._trials = trials
        self._views = views
        self._wanted = wanted
        self._models = models
        self._refused: dict[str, tuple[str, FileRefused]] = {}
        """Queries that were found to be none, by object, with the name of the answers that they were for: not tried again before that is
        another one. Forgotten by a restart, after which they are tried once more."""

    def observe(self, resource: Resource) -> Observed:
        """The queries, the index's newest corpus and its builds, and what was measured of them."""
        spec, name = resource.spec_as(EvalSetSpec), resource.key.name
        elsewhere = tuple(sorted(found for found, record in self._measured_by(name) if found != spec.index))
        record = self._catalog.index(spec.index)
        truth = record.truths.get(name) if record is not None else None
        index = self._wanted(Key("Index", spec.index))
        if index is None:
            message = f"Index/{spec.index} is not there; declare it"
            missing = Waiting(reasons.REFERENCE_MISSING, message, blocked_by=f"Index/{spec.index}")
            return Observed(None, None, truth, missing, elsewhere=elsewhere)
        seen = self._index.observe(index)
        asked = self._asked(spec)
        if record is None or not seen.bases or not isinstance(asked, Asked):
            problem = asked if not isinstance(asked, Asked) else seen.problem
            return Observed(None, None, truth, problem, elsewhere=elsewhere)
        corpus = seen.bases[0].corpus
        wanted = truth_digest(name, corpus.digest, asked.identity, spec.k)
        damaged = truth is not None and not self._objects.whole(truth.ref)
        current = truth is not None and truth.digest == wanted and not damaged
        built = tuple(self._built(seen, record, corpus)) if current else ()
        unmeasured = tuple(found for found in built if truth is not None and not self._has_trial(spec.index, truth, corpus, found))
        problem = _too_few(spec, corpus) or self._refusal(str(resource.key), wanted)
        return Observed(corpus, wanted, truth, problem, damaged, unmeasured, len(built) - len(unmeasured), elsewhere)

    def drift(self, observed: Observed) -> tuple[str, ...]:
        """Its answers."""
        return (f"answers {observed.truth.digest}",) if observed.damaged and observed.truth is not None else ()

    def plan(self, resource: Resource, observed: Observed) -> tuple[EvalSetStep, ...]:
        """See `plan.plan`."""
        return planning.plan(resource, observed)

    def conclude(self, resource: Resource, observed: Observed) -> Outcome:
        """See `plan.conclude`."""
        self._models.let_go(str(resource.key))
        return planning.conclude(resource, observed)

    def act(self, resource: Resource, step: EvalSetStep, revision: str) -> Started | None:
        """Raises JobFailed and state errors: all are retried."""
        match step:
            case MakeTruth():
                return self._answer(resource, step, revision)
            case Measure():
                return self._measure(resource, step)
            case ForgetTruth():
                self._forget(resource.key.name, (step.index,), step.why, revision)
        return None

    def retire(self, record: ObjectState) -> str:
        """Answers can be computed again; what was measured is history."""
        return "its answers are removed; its trials stay in system.trials"

    def remove(self, record: ObjectState, revision: str) -> None:
        """Ends its jobs, lets go of its answers."""
        self._models.let_go(record.object)
        self._executor.keep_only(record.object, frozenset())
        self._refused.pop(record.object, None)
        self._forget(record.name, tuple(name for name, _ in self._measured_by(record.name)), "no spec asks for it", revision)
        self._catalog.commit((Dropped(record.object),), actor="daemon", reason="no spec asks for it", revision=revision)

    def _asked(self, spec: EvalSetSpec) -> Asked | Stalled | Waiting:
        """Where the queries come from; or why there are none."""
        if spec.generate is not None:
            return Asked(queries=spec.generate.queries, seed=spec.generate.seed)
        assert spec.queries is not None
        listing = self._files.list([spec.queries], _FORMAT)
        if listing.unusable:
            found = listing.unusable[0]
            return Stalled(reasons.INVALID_SPEC, f"{found.path} {found.reason}")
        if len(listing.files) > 1:
            names = ", ".join(file.path for file in listing.files[:3])
            return Stalled(reasons.INVALID_SPEC, f"`queries` names several files ({names}); an eval set is one file")
        if not listing.files:
            return Waiting(reasons.SOURCE_EMPTY, f"no file matches {spec.queries} yet; write the queries there, one JSON object a line")
        file = listing.files[0]
        return Asked(str(self._files.resolve(file.path)), file.path, file.digest)

    def _refusal(self, name: str, wanted: str) -> Outcome | None:
        truth, error = self._refused.get(name, ("", None))
        return Stalled(reasons.FILE_REFUSED, error.explain()) if error is not None and truth == wanted else None

    def _built(self, seen: index_steps.Observed, record: IndexRecord, corpus: Corpus) -> Iterator[Unmeasured]:
        """The index's recipes that are built over its newest corpus."""
        for candidate in seen.candidates:
            build = record.builds.get(candidate.build)
            if build is not None and build.corpus == corpus.digest and build.digest not in seen.damaged:
                yield Unmeasured(candidate, build)

    def _has_trial(self, index: str, truth: EvalTruth, corpus: Corpus, found: Unmeasured) -> bool:
        wanted = _wanted(index, truth, corpus, found)
        return self._trials.find(wanted.trial(found.candidate.search)) is not None

    def _measured_by(self, name: str) -> list[tuple[str, IndexRecord]]:
        """The indexes that have answers of this set."""
        records = ((key.partition("/")[2], state.index) for key, state in self._catalog.objects("Index").items())
        return [(index, record) for index, record in records if record is not None and name in record.truths]

    def _answer(self, resource: Resource, step: MakeTruth, revision: str) -> Started | None:
        spec, name = resource.spec_as(EvalSetSpec), resource.key.name
        task = self._task(resource, spec)
        if task is None or task.digest != step.truth:  # the next visit sees why
            return None
        weight = job_weight(step.weight, task.target)
        job = Job(
            f"truth-{digest([spec.index, task.digest])}",
            "truth",
            "engines.trials.jobs:truth",
            for_job(task.to_dict()),
            weight,
            str(resource.key),
        )
        run = partial(run_job, self._executor, job, reasons.EVALUATING, "computing exact answers")
        try:
            result = self._models.run(job, task.corpus.model, run, begun=self._executor.has(job.id))
        except FileRefused as error:
            self._refused[str(resource.key)] = (step.truth, error)
            return None
        if isinstance(result, Started):
            return result
        truth = EvalTruth.from_dict(result)
        record = self._catalog.index(spec.index)
        former = record.truths.get(name) if record is not None else None
        gone = [(former.ref.bucket, former.ref.key)] if former is not None and former.ref.key != truth.ref.key else []
        hit(_BEFORE_TRUTH)
        with self._discards.after(f"Index/{spec.index}", gone):
            self._catalog.commit((TruthMade(f"Index/{spec.index}", truth),), actor="daemon", reason=step.why, revision=revision)
        self._executor.forget(job.id)
        return None

    def _task(self, resource: Resource, spec: EvalSetSpec) -> TruthTask | None:
        """None where the world moved on."""
        index, asked = self._wanted(Key("Index", spec.index)), self._asked(spec)
        bases = self._index.observe(index).bases if index is not None else ()
        if index is None or not bases or not isinstance(asked, Asked):
            return None
        corpus = bases[0].corpus
        return TruthTask(
            eval_set=resource.key.name,
            corpus=corpus,
            corpus_path=str(self._objects.path(corpus.ref)),
            asked=asked,
            k=spec.k,
            source=self._rows(index.spec_as(IndexSpec).dataset, corpus) if asked.path else None,
            target=self._buckets.configs()[corpus.ref.bucket],
            key_prefix=f"indexes/{spec.index}/evals",
        )

    def _rows(self, dataset: str, corpus: Corpus) -> Mapping[str, object] | None:
        """For filters: the rows that the corpus is of, as far as that version is kept, else the present ones. Passes `decide`."""
        try:
            table = table_for(self._catalog, ANONYMOUS, dataset, corpus.table_version, "search")
        except VersionUnknown:
            table = table_for(self._catalog, ANONYMOUS, dataset, None, "search")
        except TableUnknown:
            return None
        return make_view(table, self._views, self._objects, sql_name(dataset)).table.to_dict()

    def _measure(self, resource: Resource, step: Measure) -> Started | None:
        spec = resource.spec_as(EvalSetSpec)
        record = self._catalog.index(spec.index)
        truth = record.truths.get(resource.key.name) if record is not None else None
        corpus = record.corpora.get(step.unmeasured.build.corpus) if record is not None else None
        if record is None or truth is None or corpus is None:
            return None
        wanted = _wanted(spec.index, truth, corpus, step.unmeasured)
        job = measure_job(wanted, "measure", str(resource.key), self._objects, self._buckets)
        result = run_job(self._executor, job, reasons.EVALUATING, step.summary())
        if isinstance(result, Started):
            return result
        hit(_BEFORE_TRIALS)
        self._trials.add(trials_from(wanted, result, record.serving))
        hit(_AFTER_TRIALS)
        self._executor.forget(job.id)
        return None

    def _forget(self, name: str, indexes: tuple[str, ...], why: str, revision: str) -> None:
        for index in indexes:
            record = self._catalog.index(index)
            truth = record.truths.get(name) if record is not None else None
            if truth is not None:
                with self._discards.after(f"Index/{index}", [(truth.ref.bucket, truth.ref.key)]):
                    change = Forgotten(f"Index/{index}", truths=(name,))
                    self._catalog.commit((change,), actor="daemon", reason=why, revision=revision)


def _wanted(index: str, truth: EvalTruth, corpus: Corpus, found: Unmeasured) -> Wanted:
    candidate = found.candidate
    return Wanted(
        index=index,
        truth=truth,
        corpus=corpus,
        engine=candidate.engine,
        parameters=candidate.parameters,
        searches=(candidate.search,),
        proposed_by="spec" if candidate.declared else (candidate.chooser or "by hand") if candidate.chosen else "recommended",
        build=found.build,
        generation=candidate.generation,
    )


def _too_few(spec: EvalSetSpec, corpus: Corpus) -> Outcome | None:
    """Where all chunks are hits, whatever is found is right."""
    index = f"Index/{spec.index}"
    if not corpus.chunks:
        return Waiting(reasons.DEPENDENCY_NOT_READY, f"{index} has no texts yet", blocked_by=index)
    if spec.k < corpus.chunks:
        return None
    message = f"`k` is {spec.k}, and {index} has {corpus.chunks:,} chunks: all of them would be hits; take a smaller `k`"
    return Stalled(reasons.INVALID_SPEC, message)
