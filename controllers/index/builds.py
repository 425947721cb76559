"""How an index's corpora and builds come about: digests of what is wanted, jobs for what is missing, entries for what is done.

Shared by Index, which embeds and may build the recommended recipe, and IndexGeneration, which builds its own. Next: `jobs.py` for what a
job is given.
"""

import logging
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from controllers.index.following import Lag, current_tail, lag, most_told, near
from controllers.index.jobs import IndexJobs, digest_of, model_of, wanted_corpus
from controllers.index.model_turns import ModelTurns
from controllers.index.sharing import Sharing
from controllers.index.steps import Base, Candidate
from controllers.jobs import Bounds, run_job
from controllers.step import Started
from engines.embedding.registry import fingerprint
from engines.errors import AuditUnavailable, CorpusUnsound, EngineError, ModelUnavailable
from engines.jobs.executor import Executor
from engines.jobs.job import Job
from engines.lexical.job import lexical_digest
from engines.vectors.builds import BuildTask, build_digest
from engines.vectors.embedding_cache import EmbeddingCache
from engines.vectors.engine import Recipe
from engines.vectors.recommend import recommend, recommend_graph
from engines.vectors.registry import open_engine
from specs.errors import LakehouseError
from specs.kinds.index import IndexSpec
from specs.kinds.index_generation import IndexGenerationSpec
from specs.model import dump
from specs.resource import MARK, Key, Resource, base_name
from state import reasons
from state.buckets import Buckets
from state.catalog.catalog import Catalog
from state.catalog.entry import Change
from state.catalog.index_changes import BuildAdded, CorpusAdded, Forgotten
from state.catalog.indexes import Build, Corpus, IndexRecord, Lexical, ServingManifest, Tail
from state.catalog.tables import Table
from state.discards import Discards
from state.failpoints import declare, hit
from state.objects import ObjectRef
from state.reader import ObjectReader
from state.references import Place

_BEFORE_CORPUS = declare("index.before-corpus-entry")
_BEFORE_LEXICAL = declare("index.before-lexical-entry")
_BEFORE_BUILD = declare("index.before-build-entry")
_AFTER_BUILD = declare("index.after-build-entry")

_log = logging.getLogger(__name__)


def _nobody(_: Sequence[str]) -> None:
    return None


class Builds:
    """Blocking; used by both controllers, for one index at a time each."""

    def __init__(
        self,
        catalog: Catalog,
        buckets: Buckets,
        discards: Discards,
        objects: ObjectReader,
        executor: Executor,
        cache: Path,
        embeddings: EmbeddingCache,
        models: ModelTurns,
    ) -> None:
        """cache, embeddings: see IndexJobs. models: whose turn it is to have one in memory."""
        self._catalog = catalog
        self._buckets = buckets
        self._discards = discards
        self._objects = objects
        self._executor = executor
        self._jobs = IndexJobs(catalog, buckets, objects, cache, embeddings)
        self.sharing = Sharing(catalog, self.whole)
        self._models = models
        self._embedding: dict[str, Job] = {}
        self._far: set[tuple[str, int]] = set()
        """Corpora since which more rows have changed than these. What is far comes near again only where the table goes back to it."""
        self.failed: frozenset[str] = frozenset()
        """Builds, by digest, whose last attempt failed in this process: nobody waits for them."""
        self.wake: Callable[[Sequence[str]], None] = _nobody
        """Called with the Index ("Index/name") that one of its builds failed of."""

    def tell(self, index: Key, build: str, *, failed: bool) -> None:
        """How an attempt ended that a generation made."""
        if failed and build not in self.failed:
            self.failed |= {build}
            self.wake([str(index)])
        elif not failed:
            self.failed -= {build}

    def candidate(self, name: str, spec: IndexGenerationSpec, bases: Sequence[Base]) -> Candidate:
        """A generation's recipe over these corpora, one at least. Raises EngineUnsupported."""
        return _candidate(name, self._recipe(spec, bases), bases, declared=True)

    def _recipe(self, spec: IndexGenerationSpec, bases: Sequence[Base]) -> Recipe:
        """What a profile leaves out of its graph's parameters is as the index has it that serves, or would have one."""
        if spec.hnsw is None or MARK not in spec.index:
            return recipe_of(spec)
        record = self._catalog.index(base_name(spec.index))
        serving = None if record is None else record.serving
        build = None if record is None or serving is None else record.builds.get(serving.build)
        usual = recommend_graph(bases[0].corpus.chunks)
        has = {**usual.build, **usual.search}
        if build is not None and serving is not None and build.engine == "hnsw":
            has = {**build.parameters, **serving.search}
        return open_engine("hnsw").recipe({**has, **spec.hnsw.model_dump(by_alias=True, exclude_unset=True)})

    def own(self, recipe: Recipe, bases: Sequence[Base], name: str | None = None) -> Candidate:
        """A recipe that no generation sees to. name: what it was called."""
        return _candidate(name, recipe, bases, declared=False)

    def whole(self, refs: Iterable[ObjectRef]) -> bool:
        """Whether all objects are there, with the size that was recorded; contents are verified by whoever opens them."""
        return all(self._objects.whole(ref) for ref in refs)

    def sound(self, record: IndexRecord | None) -> tuple[Tail, ...]:
        """The tails of an index that are there."""
        return tuple(tail for tail in record.tails if self.whole(tail.refs)) if record is not None else ()

    def bases(self, spec: IndexSpec, table: Table, record: IndexRecord | None) -> tuple[Base, ...]:
        """The corpora that can stand for the present rows, newest first."""
        if record is None:
            return ()
        tails, share = self.sound(record), spec.rebuild_share
        own = [corpus for corpus in record.corpora.values() if corpus.digest == digest_of(spec, corpus.snapshot)]
        self._far.difference_update([(corpus.digest, most_told(corpus, share)) for corpus in own if corpus.snapshot == table.snapshot])
        here = (corpus for corpus in own if (corpus.digest, most_told(corpus, share)) not in self._far and self.whole(corpus.own_refs))
        found = sorted((corpus for corpus in here if near(corpus, table, tails, share)), key=lambda corpus: -corpus.table_version)
        return tuple(
            Base(corpus, lag(corpus, table, tails, share), current_tail(corpus, table, tails), self._lexical(spec, corpus))
            for corpus in found
        )

    def _lexical(self, spec: IndexSpec, corpus: Corpus) -> Lexical | None:
        """The keyword index of a corpus, if one is wanted and there."""
        held = corpus.lexical if spec.lexical else None
        return held if held is not None and held.digest == lexical_digest(corpus.digest) and self.whole(held.files.values()) else None

    def lag(self, spec: IndexSpec, table: Table, record: IndexRecord) -> Lag | None:
        """What the corpus that serves lacks of the present rows, if that can be made up for: with another model than its own it cannot.

        What serves until another model is ready is of the former one.
        """
        base = None if record.serving is None else record.corpus_of(record.serving)
        if base is None or not opens(base) or not self.whole(base.own_refs):
            return None
        found = lag(base, table, self.sound(record), spec.rebuild_share)
        return None if found is None or (base.digest, found.most) in self._far else found

    def embed(self, index: Resource, spec: IndexSpec, revision: str) -> Started | None:
        """Makes a corpus of all rows, spec: by which model, the job, then the entry. One that has begun is finished, though the table has
        moved on by then: what changes faster than it is embedded would else never be. Raises what the job raised."""
        name = str(index.key)
        if (shared := self._shared(index, spec)) is not None:
            why = "the index that it is of has these texts embedded"
            self._catalog.commit((CorpusAdded(name, shared),), actor="daemon", reason=why, revision=revision)
            return None
        job = self._embedding.get(name)
        if job is None or not self._executor.has(job.id) or not self._jobs.embeds(job, spec):
            job = self._embedding[name] = self._jobs.embed(index, spec)
        run = partial(run_job, self._executor, job, reasons.EMBEDDING, "embedding", beside=("tail",), unit="texts")
        try:
            result = self._models.run(job, model_of(spec), run, begun=self._executor.has(job.id))
        except LakehouseError:
            del self._embedding[name]
            raise
        if isinstance(result, Started):
            return result
        del self._embedding[name]
        hit(_BEFORE_CORPUS)
        corpus, record = Corpus.from_dict(result), self._catalog.index(index.key.name)
        if record is not None and corpus.digest in record.corpora:  # made again: the same texts, so their keyword index stays
            corpus = replace(corpus, lexical=record.corpora[corpus.digest].lexical)
        self._record(CorpusAdded(name, corpus), job, "texts were embedded", revision)
        return None

    def _shared(self, index: Resource, spec: IndexSpec) -> Corpus | None:
        """The corpus of the present rows that the index has which this one is of."""
        table = self._catalog.table(spec.dataset)
        return None if table is None else self.sharing.corpus(index.key.name, wanted_corpus(spec, table), spec.bucket or table.bucket)

    def follow(self, index: Resource, behind: Lag, manifest: ServingManifest) -> Started | ServingManifest | None:
        """What became of the rows since, embedded: the manifest with it. None where too much did, or the table moved on since: the next
        visit sees to it. Raises what the job raised."""
        table, base = self._catalog.table(index.spec_as(IndexSpec).dataset), behind.base
        if table is None or behind.version not in dict(table.versions):
            return None
        job = self._jobs.follow(index, table, behind)
        if job is None:
            self._far.add((base.digest, behind.most))
            return None
        doing, beside = "embedding what changed", ("embed", "build")
        run = partial(run_job, self._executor, job, reasons.EMBEDDING, doing, beside=beside, unit="texts")
        try:
            result = self._models.run(job, base.model, run, begun=self._executor.has(job.id))
        except (ModelUnavailable, AuditUnavailable):
            raise
        except EngineError as error:  # whatever cannot be compared or embedded as it was, can be embedded anew
            _log.warning("%s does not follow its rows beside its build: %s", index.key, error.explain())
            result = {}
        if isinstance(result, Started):
            return result
        self._executor.forget(job.id)
        if not result:
            self._far.add((base.digest, behind.most))
            return None
        return replace(manifest, tail=Tail.from_dict(result))

    def build(
        self,
        index: Resource,
        candidate: Candidate,
        weight: int,
        wanted_by: str,
        revision: str,
        beside: Collection[str] = (),
        bounds: Bounds | None = None,
    ) -> Started | None:
        """Builds a recipe over the index's corpus: the job, then the entry. Raises what the job raised.

        wanted_by: whose other jobs end, but for those of the kinds `beside`. bounds: of the job. A corpus that turns out to be of no use is
        forgotten, and so made again.
        """
        record = self._catalog.index(index.key.name)
        corpus = next((c for c in record.corpora.values() if _build_of(candidate, c.digest) == candidate.build), None) if record else None
        if corpus is None:
            return None
        shared = self.sharing.build(index.key.name, candidate, corpus)
        if isinstance(shared, Started):
            return shared
        if shared is not None:
            added = BuildAdded(str(index.key), replace(shared, generation=candidate.generation))
            why = f"the index that it is of has this {candidate.engine} build"
            self._catalog.commit((added,), actor="daemon", reason=why, revision=revision)
            return None
        job = self._jobs.build(index, candidate, corpus, weight, wanted_by)
        job = job if bounds is None else bounds.around(job)
        try:
            result = run_job(self._executor, job, reasons.BUILDING, f"building {candidate.engine}", beside=("tail", *beside))
        except CorpusUnsound as error:  # it can never be built over; what is embedded anew has each vector checked
            _log.warning("%s embeds its texts anew: %s", index.key, error)
            self._record(Forgotten(str(index.key), (corpus.digest,)), job, "its corpus holds vectors of no use", revision)
            return None
        if isinstance(result, Started):
            return result
        hit(_BEFORE_BUILD)
        build = Build.from_dict(result)
        others = set(self._others(BuildTask.from_dict(job.arguments), build)) - self.sharing.kept_by_others(index.key.name)
        with self._discards.after(str(index.key), others):
            self._record(BuildAdded(str(index.key), build), job, f"{candidate.engine} was built", revision)
        hit(_AFTER_BUILD)
        return None

    def _others(self, task: BuildTask, build: Build) -> Iterator[Place]:
        """What lies in a build's folder and is not of it; see `BuildTask.folder`. A job has no lease, and must not remove anything."""
        own = {ref.key for ref in build.files.values()}
        for info in self._buckets.store(task.target.name).list(f"{task.folder}/"):
            if info.key not in own:
                yield task.target.name, info.key

    def index_words(self, index: Resource, corpus: Corpus, weight: int, revision: str) -> Started | None:
        """Makes a corpus's keyword index: the job, then the entry. Raises what the job raised."""
        job = self._jobs.index_words(index, corpus, weight)
        result = run_job(self._executor, job, reasons.BUILDING, "building the keyword index", beside=("tail", "build"))
        if isinstance(result, Started):
            return result
        hit(_BEFORE_LEXICAL)
        with_words = replace(corpus, lexical=Lexical.from_dict(result))
        self._record(CorpusAdded(str(index.key), with_words), job, "words were indexed", revision)
        return None

    def abandon(self, name: str) -> None:
        """Ends the jobs of an object that nobody wants any more."""
        self._embedding.pop(name, None)
        self._models.let_go(name)
        self._executor.keep_only(name, frozenset())

    def rest(self, name: str) -> None:
        """Nothing is embedded for this object now."""
        self._models.let_go(name)

    def forget(self, index: str) -> None:
        """Removes what unfinished embedding of an index of this name has left here."""
        shutil.rmtree(self._jobs.work(index), ignore_errors=True)

    def _record(self, change: Change, job: Job, why: str, revision: str) -> None:
        self._catalog.commit((change,), actor="daemon", reason=why, revision=revision)
        self._executor.forget(job.id)


def recipe_of(spec: IndexGenerationSpec) -> Recipe:
    """Raises EngineUnsupported."""
    engine = next(option for option in spec.one_of if getattr(spec, option) is not None)
    return open_engine(engine).recipe(dump(getattr(spec, engine)))


def _candidate(name: str | None, recipe: Recipe, bases: Sequence[Base], *, declared: bool) -> Candidate:
    builds = {base.corpus.digest: build_digest(recipe.engine, recipe.build, base.corpus.digest) for base in bases}
    newest = bases[0].corpus
    preferred = recipe.engine == recommend(newest.chunks).engine
    build = builds.pop(newest.digest)
    return Candidate(name, recipe.engine, recipe.build, recipe.search, build, preferred, builds, declared)


def _build_of(candidate: Candidate, corpus: str) -> str:
    return build_digest(candidate.engine, candidate.parameters, corpus)


def unopened(model: str) -> str | None:
    """Why the model of this name cannot be opened here; None where it can."""
    error = fault_of(model)
    return None if error is None else error.explain()


def fault_of(model: str) -> EngineError | None:
    """The same as an error. A model of a server may be there in a moment."""
    try:
        fingerprint(model)
    except EngineError as error:
        return error
    return None


def opens(corpus: Corpus) -> bool:
    """Whether the model that made these vectors is here: one that changed under the same name is another."""
    return unopened(corpus.model) is None and fingerprint(corpus.model) == corpus.fingerprint
