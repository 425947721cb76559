"""How an index's corpora and builds come about: digests of what is wanted, jobs for what is missing, entries for what is done.

Shared by Index, which embeds and may build the recommended recipe, and IndexGeneration, which builds its own.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

from controllers.index.plan import Candidate
from controllers.jobs import job_weight, run_job
from controllers.step import Started
from engines.embedding.chunking import Chunking
from engines.embedding.registry import fingerprint
from engines.jobs.executor import Executor
from engines.jobs.job import Job
from engines.sql.tables import sql_name
from engines.sql.views import make_view
from engines.vectors.builds import BuildTask, build_digest
from engines.vectors.corpus import CorpusTask, corpus_digest
from engines.vectors.engine import Recipe
from engines.vectors.registry import open_engine
from specs.kinds.index import IndexSpec
from specs.kinds.index_generation import IndexGenerationSpec
from specs.model import dump
from specs.resource import Resource
from state import reasons
from state.buckets import Buckets
from state.catalog.catalog import Catalog
from state.catalog.entry import BuildAdded, Change, CorpusAdded
from state.catalog.records import Build, Corpus, Table
from state.failpoints import declare, hit
from state.objects import ObjectRef
from state.reader import ObjectReader

_BEFORE_CORPUS = declare("index.before-corpus-entry")
_BEFORE_BUILD = declare("index.before-build-entry")
_AFTER_BUILD = declare("index.after-build-entry")
_ROW_BYTES = 256


def wanted_corpus(spec: IndexSpec, table: Table) -> str:
    """Digest of the corpus that the present rows ask for."""
    return corpus_digest(spec.dataset, table.snapshot, spec.text, _chunking(spec), fingerprint(_model(spec)))


def text_weight(table: Table) -> int:
    """Bytes of text that embedding reads, about: what Parquet holds may be a tenth of it."""
    return max(table.size, table.rows * _ROW_BYTES)


class Builds:
    """Blocking; used by both controllers, for one index at a time each."""

    def __init__(self, catalog: Catalog, buckets: Buckets, objects: ObjectReader, executor: Executor, cache: Path) -> None:
        """cache: a local folder for views of tables and for checkpoints of jobs."""
        self._catalog = catalog
        self._buckets = buckets
        self._objects = objects
        self._executor = executor
        self._cache = cache

    def candidate(self, name: str, spec: IndexGenerationSpec, corpus: str, recommended_engine: str) -> Candidate:
        """A generation's recipe over a corpus. Raises EngineUnsupported."""
        engine = next(option for option in spec.one_of if getattr(spec, option) is not None)
        recipe = open_engine(engine).recipe(dump(getattr(spec, engine)))
        return _candidate(name, recipe, corpus, engine == recommended_engine)

    def recommended(self, recipe: Recipe, corpus: str) -> Candidate:
        """The recommended recipe over a corpus."""
        return _candidate(None, recipe, corpus, True)

    def whole(self, refs: Iterable[ObjectRef]) -> bool:
        """Whether all objects are there, with the size that was recorded; contents are verified by whoever opens them."""
        return all(self._objects.whole(ref) for ref in refs)

    def embed(self, index: Resource, revision: str) -> Started | None:
        """Makes the corpus of the present rows: the job, then the entry. Raises what the job raised."""
        spec = index.spec_as(IndexSpec)
        table = self._catalog.table(spec.dataset)
        assert table is not None
        record = self._catalog.index(index.key.name)
        former = [corpus for corpus in record.corpora.values() if self.whole([corpus.ref])] if record is not None else []
        task = CorpusTask(
            index=index.key.name,
            dataset=spec.dataset,
            source=make_view(table, self._cache / "views", self._objects, sql_name(spec.dataset)).table.to_dict(),
            snapshot=table.snapshot,
            table_version=table.version,
            rows=table.rows,
            text=tuple(spec.text),
            chunk=_chunking(spec),
            model=_model(spec),
            target=self._buckets.configs()[spec.bucket or table.bucket],
            key_prefix=f"indexes/{index.key.name}/corpora",
            work=str(self._work(index.key.name)),
            reuse=tuple(str(self._objects.path(corpus.ref)) for corpus in former),
        )
        weight = job_weight(text_weight(table), task.target)
        job = Job(f"embed-{wanted_corpus(spec, table)}", "embed", "engines.vectors.jobs:embed", task.to_dict(), weight, str(index.key))
        result = run_job(self._executor, job, reasons.EMBEDDING, "embedding")
        if isinstance(result, Started):
            return result
        hit(_BEFORE_CORPUS)
        self._record(CorpusAdded(str(index.key), Corpus.from_dict(result)), job, "texts were embedded", revision)
        return None

    def build(self, index: Resource, candidate: Candidate, weight: int, wanted_by: str, revision: str) -> Started | None:
        """Builds a recipe over the index's corpus: the job, then the entry. Raises what the job raised."""
        record = self._catalog.index(index.key.name)
        corpus = next((c for c in record.corpora.values() if _digest(candidate, c.digest) == candidate.build), None) if record else None
        if corpus is None:
            return None
        task = BuildTask(
            corpus=corpus,
            corpus_path=str(self._objects.path(corpus.ref)),
            generation=candidate.generation,
            engine=candidate.engine,
            parameters=dict(candidate.parameters),
            target=self._buckets.configs()[corpus.ref.bucket],
            key_prefix=f"indexes/{index.key.name}/builds",
        )
        weight = job_weight(weight, task.target)
        job = Job(f"build-{task.digest}", "build", "engines.vectors.jobs:build", task.to_dict(), weight, wanted_by)
        result = run_job(self._executor, job, reasons.BUILDING, f"building {candidate.engine}")
        if isinstance(result, Started):
            return result
        hit(_BEFORE_BUILD)
        self._record(BuildAdded(str(index.key), Build.from_dict(result)), job, f"{candidate.engine} was built", revision)
        hit(_AFTER_BUILD)
        return None

    def abandon(self, name: str) -> None:
        """Ends the jobs of an object that nobody wants any more."""
        self._executor.keep_only(name, frozenset())

    def forget(self, index: str) -> None:
        """Removes what unfinished embedding of an index of this name has left here."""
        shutil.rmtree(self._work(index), ignore_errors=True)

    def _work(self, index: str) -> Path:
        return self._cache / "corpora" / index

    def _record(self, change: Change, job: Job, why: str, revision: str) -> None:
        self._catalog.commit((change,), actor="daemon", reason=why, revision=revision)
        self._executor.forget(job.id)


def _candidate(name: str | None, recipe: Recipe, corpus: str, preferred: bool) -> Candidate:
    return Candidate(name, recipe.engine, recipe.build, recipe.search, build_digest(recipe.engine, recipe.build, corpus), preferred)


def _digest(candidate: Candidate, corpus: str) -> str:
    return build_digest(candidate.engine, candidate.parameters, corpus)


def _model(spec: IndexSpec) -> str | dict[str, str]:
    return spec.embed.model if isinstance(spec.embed.model, str) else {"ollama": spec.embed.model.ollama}


def _chunking(spec: IndexSpec) -> Chunking:
    return Chunking(spec.chunk.tokens, spec.chunk.overlap)
