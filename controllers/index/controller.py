"""Index's hands: embeds the corpus, builds what no generation sees to, moves the pointer, lets go of what is old.

Both kinds of job are named by the digest of their inputs; their results are recorded in the catalog when they are there.
`Builds`, shared with the generations' controller, knows how a recipe becomes a build.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import assert_never

from controllers.events import Events
from controllers.index import plan as planning
from controllers.index.builds import Builds, fault_of, unopened
from controllers.index.jobs import text_weight, trial_owner, wanted_corpus
from controllers.index.measured import Measured, measured
from controllers.index.models import beside, former, in_force, kept
from controllers.index.pointer import Cause, Pointer, cause_of
from controllers.index.promotions import Promotions
from controllers.index.steps import (
    Base,
    Beside,
    BuildOwn,
    Candidate,
    Embed,
    Follow,
    Forget,
    IndexStep,
    IndexWords,
    Making,
    Observed,
    Serve,
    Unchoose,
    Version,
    Withdraw,
)
from controllers.outcome import Outcome, Stalled, Waiting
from controllers.step import Started
from engines.errors import EngineError, ModelUnavailable
from engines.live_recall import Live
from engines.vectors.engine import Recipe
from engines.vectors.recommend import recommend
from specs.kinds.index import IndexSpec, ServeGeneration, model_name
from specs.kinds.index_generation import IndexGenerationSpec
from specs.resource import MARK, Key, Resource, base_name
from state import reasons
from state.buckets import Buckets
from state.catalog.catalog import Catalog
from state.catalog.entry import Dropped
from state.catalog.fold import ObjectState
from state.catalog.index_changes import Chosen, Forgotten
from state.catalog.indexes import IndexRecord
from state.catalog.tables import Table
from state.discards import Discards
from state.objects import ObjectRef
from state.references import Place
from state.trials import TrialBook
from state.tuning import TuningBook


class IndexController:
    """See `controllers.controller.Controller`.

    Args:
        wanted: the spec in force of another object, None if nobody wants it.
        generations: the specs in force of an index's generations.
        trials: what was measured of builds. tuning: what budgets did.
        live: what is told of an index's searches.
    """

    def __init__(
        self,
        catalog: Catalog,
        buckets: Buckets,
        discards: Discards,
        builds: Builds,
        events: Events,
        wanted: Callable[[Key], Resource | None],
        generations: Callable[[Key], Iterable[Resource]],
        trials: TrialBook,
        tuning: TuningBook,
        live: Callable[[str], Live | None],
    ) -> None:
        self._catalog = catalog
        self._buckets = buckets
        self._discards = discards
        self._builds = builds
        self._pointer = Pointer(catalog, discards, events, trials)
        self.promotions = Promotions(catalog, builds, self._pointer, generations, tuning)
        self._wanted = wanted
        self._generations = generations
        self._trials = trials
        self._tuning = tuning
        self._live = live

    def observe(self, resource: Resource) -> Observed:
        """The dataset's table, the index's record, and every recipe over the corpus that is wanted, of each of its models."""
        spec = resource.spec_as(IndexSpec)
        record = self._catalog.index(resource.key.name)
        serving = in_force(spec, record)
        seen = self._seen(resource, serving, record)
        if seen.wanted is None:
            return seen
        answer = planning.choose(serving, seen)
        way = None if answer is None else answer.candidate
        found: list[Version] = []
        unavailable: dict[str, str] = {}
        for model in kept(spec, record):
            if why := unopened(model):
                unavailable[model] = why
            else:
                found.append(self._version(resource, model, record, way))
        if back := former(spec, record):
            found.append(replace(self._version(resource, back, record, way), former=True))
        return replace(seen, versions=tuple(found), unavailable=unavailable)

    def _version(self, resource: Resource, model: str, record: IndexRecord | None, way: Candidate | None) -> Version:
        """An index by a model beside the one that serves; way: the recipe of that one, by which this one is built as well."""
        view = None if record is None else record.by_model(model)
        return Version(model, self._seen(resource, beside(resource.spec_as(IndexSpec), model), view, (way,) if way is not None else ()))

    def _seen(self, resource: Resource, spec: IndexSpec, record: IndexRecord | None, ways: Sequence[Candidate] | None = None) -> Observed:
        """By one model. ways: recipes that are built; None for those that are declared, chosen or recommended."""
        table = self._catalog.table(spec.dataset)
        bucket = spec.bucket or (table.bucket if table is not None else "")
        problem, wrong = self._problem(spec, table, record, bucket), self._not_its_own(resource) or self._before_base(resource, spec)
        if problem is not None or table is None or not table.columns:
            return Observed(table, record, None, 0, (), (), bucket, problem=wrong or problem)
        lag = self._builds.lag(spec, table, record) if record is not None else None
        if (fault := fault_of(model_name(spec.embed.model))) is not None:
            wrong = _unembedded(spec, fault, record)
        if wrong is not None:
            return Observed(table, record, None, 0, (), (), bucket, lag=lag, problem=wrong)
        bases = self._builds.bases(spec, table, record)
        candidates: tuple[Candidate, ...] = ()
        unbuilt: tuple[str, ...] = ()
        if record is not None and bases and ways is None:
            candidates, unbuilt = self._candidates(resource, record, bases)
        elif bases:
            recipes = [(Recipe(way.engine, way.parameters, way.search), way.generation) for way in ways or ()]
            candidates = tuple(self._builds.own(recipe, bases, name) for recipe, name in recipes)
        return Observed(
            table=table,
            record=record,
            wanted=wanted_corpus(spec, table),
            corpus_weight=text_weight(table),
            bases=bases,
            candidates=candidates,
            bucket=bucket,
            lag=lag,
            damaged=self._damaged(record, spec) if record is not None else frozenset(),
            unbuilt=unbuilt,
            measured=self._measured(record) if record is not None else {},
            held=self._tuning.held(resource.key.name),
            given_up=self._builds.failed | self._suspended(candidates),
            live=self._live(resource.key.name),
        )

    def drift(self, observed: Observed) -> tuple[str, ...]:
        """Corpora and builds, by what they are named by."""
        corpora = observed.record.corpora if observed.record is not None else {}
        builds = observed.record.builds if observed.record is not None else {}
        kinds = {digest: "corpus" if digest in corpora else "build" if digest in builds else "keyword index" for digest in observed.damaged}
        return tuple(sorted(f"{kind} {digest}" for digest, kind in kinds.items()))

    def plan(self, resource: Resource, observed: Observed) -> tuple[IndexStep, ...]:
        """See `plan.plan`."""
        return planning.plan(resource, observed)

    def conclude(self, resource: Resource, observed: Observed) -> Outcome:
        """See `plan.conclude`."""
        self._builds.rest(str(resource.key))
        return planning.conclude(resource, observed)

    def act(self, resource: Resource, step: IndexStep, revision: str) -> Started | None:
        """Raises JobFailed and state errors: all are retried."""
        match step:
            case Beside(model=model, step=making):
                return self._make(resource, making, revision, model)
            case Withdraw(model=model):
                self._pointer.withdraw(str(resource.key), model, Cause("daemon", step.why, revision))
            case Unchoose():
                self._catalog.commit((Chosen(str(resource.key), None),), actor="daemon", reason=step.why, revision=revision)
            case Forget():
                self._forget(resource, step, revision)
            case _:
                return self._make(resource, step, revision, None)
        return None

    def _make(self, resource: Resource, step: Making, revision: str, model: str | None) -> Started | None:
        """model: beside the one that is to serve; None for that one."""
        match step:
            case Embed():
                spec = resource.spec_as(IndexSpec)
                by = in_force(spec, self._catalog.index(resource.key.name)) if model is None else beside(spec, model)
                return self._made_by_base(resource, by) or self._builds.embed(resource, by, revision)
            case IndexWords(corpus=corpus, weight=weight):
                return self._builds.index_words(resource, corpus, weight, revision)
            case BuildOwn(candidate=candidate, weight=weight):
                return self._builds.build(resource, candidate, weight, str(resource.key), revision)
            case Follow(lag=lag, manifest=manifest):
                found = self._builds.follow(resource, lag, manifest)
                if isinstance(found, Started):
                    return found
                if found is not None:
                    self._serve(resource, Serve(step.why, found), revision, model)
            case Serve():
                self._serve(resource, step, revision, model)
            case _:
                assert_never(step)
        return None

    def retire(self, record: ObjectState) -> str:
        """Everything about an index is derived."""
        return "its vectors and builds are removed; they can be made again"

    def remove(self, record: ObjectState, revision: str) -> None:
        """Ends its jobs and drops the record, then deletes what was made for it, recorded or not."""
        self._builds.abandon(record.object)
        self._builds.abandon(trial_owner(record.name))
        self._builds.forget(record.name)
        going = set(self._everything(record)) - self._builds.sharing.kept_by_others(record.name)
        with self._discards.after(record.object, going):
            self._catalog.commit((Dropped(record.object),), actor="daemon", reason="no spec asks for it", revision=revision)

    def _not_its_own(self, resource: Resource) -> Outcome | None:
        """Whether the spec says that a generation of another index serves."""
        serve = resource.spec_as(IndexSpec).serve
        generation = self._wanted(Key("IndexGeneration", serve.generation)) if isinstance(serve, ServeGeneration) else None
        of = None if generation is None else generation.spec_as(IndexGenerationSpec).index
        if generation is None or of == resource.key.name:
            return None
        message = f"`serve` names {generation.key}, which is of Index/{of}, not of {resource.key}; name one of its own"
        return Stalled(reasons.INVALID_SPEC, message)

    def _before_base(self, resource: Resource, spec: IndexSpec) -> Waiting | None:
        """What a profile has for itself comes after the index that it is of, where it can share with it."""
        key = Key("Index", base_name(resource.key.name))
        record = self._catalog.index(key.name)
        if self._wanted_by_base(resource, spec) is None or (record is not None and record.serving is not None):
            return None
        return Waiting(reasons.DEPENDENCY_NOT_READY, f"{key} does not serve yet, with which it shares", blocked_by=str(key))

    def _made_by_base(self, resource: Resource, spec: IndexSpec) -> Started | None:
        """Whether the index that this one is of is about to embed the same texts."""
        key, wanted = Key("Index", base_name(resource.key.name)), self._wanted_by_base(resource, spec)
        if wanted is None or self._builds.sharing.corpus(resource.key.name, *wanted) is not None:
            return None
        return Started(reasons.EMBEDDING, f"{key} embeds the same texts", blocked_by=str(key))

    def _wanted_by_base(self, resource: Resource, spec: IndexSpec) -> tuple[str, str] | None:
        """The corpus that the index which this one is of is to have as well, and its bucket; None where it is another, or elsewhere."""
        key = Key("Index", base_name(resource.key.name))
        base = self._wanted(key) if MARK in resource.key.name else None
        table = self._catalog.table(spec.dataset)
        if base is None or table is None or not table.columns:
            return None
        theirs = in_force(base.spec_as(IndexSpec), self._catalog.index(key.name))
        try:
            ours, other = ((wanted_corpus(one, table), one.bucket or table.bucket) for one in (spec, theirs))
        except EngineError:  # a model that cannot be opened
            return None
        return ours if ours == other else None

    def _problem(self, spec: IndexSpec, table: Table | None, record: IndexRecord | None, bucket: str) -> Outcome | None:
        """What stands in the way of embedding, other than that the table is still empty."""
        dataset = Key("Dataset", spec.dataset)
        if table is None and self._wanted(dataset) is None:
            return Waiting(reasons.REFERENCE_MISSING, f"{dataset} is not there; declare it", blocked_by=str(dataset))
        if table is None or not table.columns:
            return None
        has = {column.name: column.type for column in table.columns}
        for name in spec.text:
            if has.get(name) != "string":
                found = f"is {has[name]}, not string" if name in has else f"does not exist; it has {', '.join(list(has)[:12])}"
                return Stalled(reasons.INVALID_SPEC, f"text column `{name}` of {dataset} {found}")
        kept = {corpus.ref.bucket for corpus in record.corpora.values()} - {bucket} if record is not None else ()
        if kept:
            message = (
                f"its vectors are kept in Bucket/{min(kept)} and cannot move to Bucket/{bucket}: declare an index of another name there"
            )
            return Stalled(reasons.STATE_IMMUTABLE, message)
        return self._closed(Key("Bucket", bucket))

    def _closed(self, bucket: Key) -> Outcome | None:
        if bucket.name in self._buckets.configs():
            return None
        if self._wanted(bucket) is not None:
            return Waiting(reasons.DEPENDENCY_NOT_READY, f"{bucket} is not open", blocked_by=str(bucket))
        return Waiting(reasons.REFERENCE_MISSING, f"{bucket} is not there; declare it, or name another bucket", blocked_by=str(bucket))

    def _candidates(self, resource: Resource, record: IndexRecord, bases: Sequence[Base]) -> tuple[tuple[Candidate, ...], tuple[str, ...]]:
        """The recipes over these corpora, and the generations whose recipe cannot be built; those say so in their own status."""
        found: list[Candidate] = []
        unbuilt: list[str] = []
        choice = record.choice
        for generation in self._generations(resource.key):
            name = generation.key.name
            try:
                candidate = self._builds.candidate(name, generation.spec_as(IndexGenerationSpec), bases)
            except EngineError:
                unbuilt.append(name)
            else:
                own = choice is not None and choice.engine is None and choice.generation == name
                found.append(replace(candidate, chosen=own, chooser=choice.by if choice is not None and own else ""))
        if choice is not None and choice.engine is not None:
            recipe = Recipe(choice.engine, choice.parameters, choice.search)
            found.append(replace(self._builds.own(recipe, bases, choice.generation), chosen=True, chooser=choice.by))
        if not (found or unbuilt):
            found.append(self._builds.own(recommend(bases[0].corpus.chunks), bases))
        return tuple(found), tuple(unbuilt)

    def _suspended(self, candidates: Iterable[Candidate]) -> frozenset[str]:
        """Builds that a generation sees to which somebody suspended."""
        states = {one.build: self._catalog.get(f"IndexGeneration/{one.generation}") for one in candidates if one.declared}
        return frozenset(build for build, state in states.items() if state is not None and state.suspended is not None)

    def _measured(self, record: IndexRecord) -> dict[str, Measured]:
        """Nothing is read for an index that no EvalSet measures."""
        return measured(self._trials.of(record.name), record.truths.values(), record.builds) if record.truths else {}

    def _damaged(self, record: IndexRecord, spec: IndexSpec) -> frozenset[str]:
        broken = {digest for digest, corpus in record.corpora.items() if not self._builds.whole(corpus.own_refs)}
        words = [corpus.lexical for corpus in record.corpora.values() if corpus.lexical is not None and spec.lexical]
        broken |= {lexical.digest for lexical in words if not self._builds.whole(lexical.files.values())}
        return frozenset(broken | {digest for digest, build in record.builds.items() if not self._builds.whole(build.files.values())})

    def _serve(self, resource: Resource, step: Serve, revision: str, model: str | None) -> None:
        record = self._catalog.index(resource.key.name)
        moved_by = cause_of(resource, self._generations(resource.key), record.choice if record is not None else None)
        cause = Cause("daemon", step.why, revision, moved_by)
        serving = record.serving if record is not None else None
        serves = record is not None and serving is not None and record.corpus_of(serving).model == model
        if model is None or serves:  # it does so until its successor is ready
            self._pointer.move(str(resource.key), step.manifest, cause, f"{step.summary()}, since {step.why}")
        else:
            self._pointer.move_beside(str(resource.key), model, step.manifest, cause)

    def _forget(self, resource: Resource, step: Forget, revision: str) -> None:
        record = self._catalog.index(resource.key.name)
        refs = _objects(record, step.corpora, step.builds) if record is not None else []
        change = Forgotten(str(resource.key), step.corpora, step.builds)
        going = {(ref.bucket, ref.key) for ref in refs} - self._builds.sharing.kept_by_others(resource.key.name)
        with self._discards.after(str(resource.key), going):
            self._catalog.commit((change,), actor="daemon", reason=step.why, revision=revision)

    def _everything(self, record: ObjectState) -> Iterator[Place]:
        """All objects below the index's own folder, wherever it has one, and those of others that it shares."""
        index = record.index
        refs = [] if index is None else _objects(index, index.corpora, index.builds)
        yield from ((ref.bucket, ref.key) for ref in refs)
        for bucket in {ref.bucket for ref in refs}:
            for info in self._buckets.store(bucket).list(f"indexes/{record.name}/"):
                yield bucket, info.key


def _objects(record: IndexRecord, corpora: Iterable[str], builds: Iterable[str]) -> list[ObjectRef]:
    refs = [ref for digest in corpora if digest in record.corpora for ref in record.corpora[digest].refs]
    return refs + [ref for digest in builds if digest in record.builds for ref in record.builds[digest].files.values()]


def _unembedded(spec: IndexSpec, fault: EngineError, record: IndexRecord | None) -> Outcome:
    """Without a model. One of a server is looked for again, and what was built before serves meanwhile."""
    said = f"it cannot be embedded: {fault.explain()}"
    if not planning.served(spec.embed.model) or not isinstance(fault, ModelUnavailable):
        return Stalled(reasons.NOT_SUPPORTED, said)
    serves = record is not None and record.serving is not None
    message = f"{said.rstrip('.')}; what was built before goes on serving" if serves else said
    return Waiting(reasons.MODEL_UNAVAILABLE, message, seconds=planning.LOOK_AGAIN)
