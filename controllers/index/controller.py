"""Index's hands: embeds the corpus, builds the recommended recipe, moves the pointer, lets go of what is old.

Both kinds of job are named by the digest of their inputs; their results are recorded in the catalog when they are there.
`Builds`, shared with the generations' controller, knows how a recipe becomes a build.
"""

from collections.abc import Callable, Iterable, Iterator

from controllers.events import Events
from controllers.index import plan as planning
from controllers.index.builds import Builds, text_weight, wanted_corpus
from controllers.index.following import current_tail
from controllers.index.plan import BuildRecommended, Candidate, Embed, Follow, Forget, IndexStep, Observed, Serve
from controllers.outcome import Outcome, Stalled, Waiting
from controllers.step import Started
from engines.errors import EngineError
from engines.vectors.recommend import recommend
from specs.kinds.index import IndexSpec
from specs.kinds.index_generation import IndexGenerationSpec
from specs.resource import Key, Resource
from state import reasons
from state.buckets import Buckets
from state.catalog.catalog import Catalog
from state.catalog.entry import Dropped, Forgotten, Served
from state.catalog.fold import ObjectState, served
from state.catalog.records import Corpus, IndexRecord, Table
from state.discards import Discards
from state.failpoints import declare, hit
from state.objects import ObjectRef
from state.references import Place

_BEFORE_SERVE = declare("index.before-serve")
_AFTER_SERVE = declare("index.after-serve")


class IndexController:
    """See `controllers.controller.Controller`.

    Args:
        wanted: the spec in force of another object, None if nobody wants it.
        generations: the specs in force of an index's generations.
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
    ) -> None:
        self._catalog = catalog
        self._buckets = buckets
        self._discards = discards
        self._builds = builds
        self._events = events
        self._wanted = wanted
        self._generations = generations

    def observe(self, resource: Resource) -> Observed:
        """The dataset's table, the index's record, and every recipe over the corpus that is wanted."""
        spec = resource.spec_as(IndexSpec)
        table = self._catalog.table(spec.dataset)
        record = self._catalog.index(resource.key.name)
        bucket = spec.bucket or (table.bucket if table is not None else "")
        problem = self._problem(spec, table, record, bucket)
        if problem is not None or planning.not_built(spec) or table is None or not table.columns:
            return Observed(table, record, None, 0, None, (), bucket, problem=problem)
        base = self._builds.base(spec, table, record)
        candidates, unbuilt = self._candidates(resource, base) if base is not None else ((), ())
        lag, base_lag = (self._builds.lag(spec, table, record, of) if record and of else None for of in (_serving_base(record), base))
        return Observed(
            table=table,
            record=record,
            wanted=wanted_corpus(spec, table),
            corpus_weight=text_weight(table),
            base=base,
            candidates=candidates,
            bucket=bucket,
            lag=lag,
            base_lag=base_lag,
            tail=current_tail(base, table, self._builds.sound(record)) if base is not None else None,
            damaged=self._damaged(record) if record is not None else frozenset(),
            unbuilt=unbuilt,
        )

    def drift(self, observed: Observed) -> tuple[str, ...]:
        """Corpora and builds, by what they are named by."""
        corpora = observed.record.corpora if observed.record is not None else {}
        return tuple(sorted(f"{'corpus' if digest in corpora else 'build'} {digest}" for digest in observed.damaged))

    def plan(self, resource: Resource, observed: Observed) -> tuple[IndexStep, ...]:
        """See `plan.plan`."""
        return planning.plan(resource, observed)

    def conclude(self, resource: Resource, observed: Observed) -> Outcome:
        """See `plan.conclude`."""
        return planning.conclude(resource, observed)

    def act(self, resource: Resource, step: IndexStep, revision: str) -> Started | None:
        """Raises JobFailed and state errors: all are retried."""
        match step:
            case Embed():
                return self._builds.embed(resource, revision)
            case BuildRecommended(candidate=candidate, weight=weight):
                return self._builds.build(resource, candidate, weight, str(resource.key), revision)
            case Follow(lag=lag, manifest=manifest):
                found = self._builds.follow(resource, lag, manifest)
                if isinstance(found, Started):
                    return found
                if found is not None:
                    self._serve(resource, Serve(step.why, found), revision)
            case Serve():
                self._serve(resource, step, revision)
            case Forget():
                self._forget(resource, step, revision)
        return None

    def retire(self, record: ObjectState) -> str:
        """Everything about an index is derived."""
        return "its vectors and builds are removed; they can be made again"

    def remove(self, record: ObjectState, revision: str) -> None:
        """Ends its jobs and drops the record, then deletes what was made for it, recorded or not."""
        self._builds.abandon(record.object)
        self._builds.forget(record.name)
        with self._discards.after(record.object, self._everything(record)):
            self._catalog.commit((Dropped(record.object),), actor="daemon", reason="no spec asks for it", revision=revision)

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

    def _candidates(self, resource: Resource, base: Corpus) -> tuple[tuple[Candidate, ...], tuple[str, ...]]:
        """The recipes over the corpus, and the generations whose recipe cannot be built; those say so in their own status."""
        recommended = recommend(base.chunks)
        found: list[Candidate] = []
        unbuilt: list[str] = []
        for generation in self._generations(resource.key):
            spec = generation.spec_as(IndexGenerationSpec)
            try:
                found.append(self._builds.candidate(generation.key.name, spec, base.digest, recommended.engine))
            except EngineError:
                unbuilt.append(generation.key.name)
        if not (found or unbuilt):
            found.append(self._builds.recommended(recommended, base.digest))
        return tuple(found), tuple(unbuilt)

    def _damaged(self, record: IndexRecord) -> frozenset[str]:
        broken = {digest for digest, corpus in record.corpora.items() if not self._builds.whole([corpus.ref])}
        return frozenset(broken | {digest for digest, build in record.builds.items() if not self._builds.whole(build.files.values())})

    def _serve(self, resource: Resource, step: Serve, revision: str) -> None:
        name = str(resource.key)
        record = self._catalog.index(resource.key.name)
        change = Served(name, step.manifest)
        hit(_BEFORE_SERVE)
        with self._discards.after(name, _tails_let_go(record, change) if record is not None else ()):
            self._catalog.commit((change,), actor="daemon", reason=step.why, revision=revision)
        hit(_AFTER_SERVE)
        if record is None or record.serving is None or not step.manifest.answers_as(record.serving):
            self._events.record_event(name, "Normal", reasons.PROMOTED, step.summary(), revision)

    def _forget(self, resource: Resource, step: Forget, revision: str) -> None:
        record = self._catalog.index(resource.key.name)
        refs = _objects(record, step.corpora, step.builds) if record is not None else []
        change = Forgotten(str(resource.key), step.corpora, step.builds)
        with self._discards.after(str(resource.key), ((ref.bucket, ref.key) for ref in refs)):
            self._catalog.commit((change,), actor="daemon", reason=step.why, revision=revision)

    def _everything(self, record: ObjectState) -> Iterator[Place]:
        """All objects below the index's own folder, wherever it has one."""
        index = record.index
        for bucket in {ref.bucket for ref in _objects(index, index.corpora, index.builds)} if index is not None else ():
            for info in self._buckets.store(bucket).list(f"indexes/{record.name}/"):
                yield bucket, info.key


def _objects(record: IndexRecord, corpora: Iterable[str], builds: Iterable[str]) -> list[ObjectRef]:
    refs = [record.corpora[digest].ref for digest in corpora if digest in record.corpora]
    return refs + [ref for digest in builds if digest in record.builds for ref in record.builds[digest].files.values()]


def _tails_let_go(record: IndexRecord, change: Served) -> Iterator[Place]:
    """Those that nothing serves by any more after the change."""
    kept = {tail.ref for tail in served(record, change).tails}
    yield from ((tail.ref.bucket, tail.ref.key) for tail in record.tails if tail.ref not in kept)


def _serving_base(record: IndexRecord | None) -> Corpus | None:
    """The corpus of the build that serves."""
    if record is None or record.serving is None:
        return None
    return record.corpora.get(record.builds[record.serving.build].corpus)
