"""Index's hands: embeds the corpus, builds the recommended recipe, moves the pointer, lets go of what is old.

Both kinds of job are named by the digest of their inputs; their results are recorded in the catalog when they are there.
`Builds`, shared with the generations' controller, knows how a recipe becomes a build.
"""

from collections.abc import Callable, Iterable, Iterator

from controllers.events import Events
from controllers.index import plan as planning
from controllers.index.builds import Builds, text_weight, wanted_corpus
from controllers.index.plan import BuildRecommended, Candidate, Embed, Forget, IndexStep, Observed, Serve
from controllers.outcome import Outcome
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
from state.catalog.fold import ObjectState
from state.catalog.records import IndexRecord, Table
from state.discards import Discards, Place
from state.failpoints import declare, hit
from state.objects import ObjectRef

_BEFORE_SERVE = declare("index.before-serve")
_AFTER_SERVE = declare("index.after-serve")


class IndexController:
    """See `controllers.controller.Controller`.

    Args:
        generations: the specs in force of an index's generations.
    """

    def __init__(
        self,
        catalog: Catalog,
        buckets: Buckets,
        discards: Discards,
        builds: Builds,
        events: Events,
        generations: Callable[[Key], Iterable[Resource]],
    ) -> None:
        self._catalog = catalog
        self._buckets = buckets
        self._discards = discards
        self._builds = builds
        self._events = events
        self._generations = generations

    def observe(self, resource: Resource) -> Observed:
        """The dataset's table, the index's record, and every recipe over the corpus that is wanted."""
        spec = resource.spec_as(IndexSpec)
        table = self._catalog.table(spec.dataset)
        record = self._catalog.index(resource.key.name)
        bucket = spec.bucket or (table.bucket if table is not None else "")
        if planning.not_built(spec) or table is None or not table.columns:
            return Observed(table, record, None, 0, (), bucket)
        problem = self._problem(spec, table, bucket)
        corpus = wanted_corpus(spec, table) if problem is None else None
        return Observed(
            table=table,
            record=record,
            corpus=corpus,
            corpus_weight=text_weight(table),
            candidates=tuple(self._candidates(resource, record, corpus)) if corpus is not None else (),
            bucket=bucket,
            damaged=self._damaged(record) if record is not None else frozenset(),
            problem=problem,
        )

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

    def _problem(self, spec: IndexSpec, table: Table, bucket: str) -> tuple[str, str] | None:
        has = {column.name: column.type for column in table.columns}
        for name in spec.text:
            if has.get(name) != "string":
                found = f"is {has[name]}, not string" if name in has else f"does not exist; it has {', '.join(list(has)[:12])}"
                return reasons.INVALID_SPEC, f"text column `{name}` of Dataset/{spec.dataset} {found}"
        if bucket not in self._buckets.configs():
            return reasons.REFERENCE_MISSING, f"Bucket/{bucket} is not there; declare it, or name another bucket"
        return None

    def _candidates(self, resource: Resource, record: IndexRecord | None, corpus: str) -> Iterable[Candidate]:
        known = record.corpora.get(corpus) if record is not None else None
        recommended = recommend(known.chunks if known is not None else 0)
        named = False
        for generation in self._generations(resource.key):
            spec = generation.spec_as(IndexGenerationSpec)
            named = True
            try:
                yield self._builds.candidate(generation.key.name, spec, corpus, recommended.engine)
            except EngineError:
                # an engine that is not built says so in the generation's own status
                continue
        if not named and known is not None:
            yield self._builds.recommended(recommended, corpus)

    def _damaged(self, record: IndexRecord) -> frozenset[str]:
        broken = {digest for digest, corpus in record.corpora.items() if not self._builds.whole([corpus.ref])}
        return frozenset(broken | {digest for digest, build in record.builds.items() if not self._builds.whole(build.files.values())})

    def _serve(self, resource: Resource, step: Serve, revision: str) -> None:
        hit(_BEFORE_SERVE)
        self._catalog.commit((Served(str(resource.key), step.manifest),), actor="daemon", reason=step.why, revision=revision)
        hit(_AFTER_SERVE)
        self._events.record_event(str(resource.key), "Normal", reasons.PROMOTED, step.summary(), revision)

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
