"""The jobs of an index: what each is given, and the name that its inputs give it. Next: `builds.py`, which runs them."""

from pathlib import Path

from controllers.index.following import Lag
from controllers.index.steps import Candidate
from controllers.jobs import job_weight
from engines.embedding.chunking import Chunking
from engines.embedding.registry import fingerprint, for_job
from engines.errors import QueryInvalid
from engines.jobs.job import Job
from engines.lexical.job import LexicalTask, lexical_digest
from engines.sql.tables import sql_name
from engines.sql.version_pair import Pair, scopes
from engines.sql.version_pair import weight as comparison_weight
from engines.sql.views import make_view
from engines.vectors.builds import BuildTask
from engines.vectors.corpus import CorpusTask, corpus_digest
from engines.vectors.corpus_file import read_facts
from engines.vectors.embedding_cache import EmbeddingCache
from engines.vectors.tail import TailTask
from specs.kinds.index import IndexSpec, ModelObject, model_name
from specs.resource import MARK, Resource
from state.buckets import Buckets
from state.catalog.catalog import Catalog
from state.catalog.indexes import Corpus
from state.catalog.tables import Table
from state.reader import ObjectReader

_ROW_BYTES = 256


def wanted_corpus(spec: IndexSpec, table: Table) -> str:
    """Digest of the corpus of the present rows."""
    return digest_of(spec, table.snapshot)


def digest_of(spec: IndexSpec, snapshot: str) -> str:
    """Digest of the corpus of these rows."""
    return corpus_digest(spec.dataset, snapshot, spec.text, _chunking(spec), fingerprint(model_of(spec)))


def trial_owner(index: str) -> str:
    """Whose jobs those of trials are that somebody asked for: of no object, since each visit of one ends the jobs that it does not want."""
    return f"TrialRun/{index}"


def text_weight(table: Table) -> int:
    """Bytes of text that embedding reads, about: what Parquet holds may be a tenth of it."""
    return max(table.size, table.rows * _ROW_BYTES)


class IndexJobs:
    """Makes jobs; runs none. Blocking: views of tables are made for them."""

    def __init__(self, catalog: Catalog, buckets: Buckets, objects: ObjectReader, cache: Path, embeddings: EmbeddingCache) -> None:
        """cache: a local folder for views of tables and for checkpoints of jobs. embeddings: what all indexes share."""
        self._catalog = catalog
        self._buckets = buckets
        self._objects = objects
        self._cache = cache
        self._embeddings = embeddings

    def embed(self, index: Resource, spec: IndexSpec) -> Job:
        """Embeds all present rows; the dataset has a table."""
        table = self._catalog.table(spec.dataset)
        assert table is not None
        record = self._catalog.index(index.key.name)
        refs = [] if record is None else [corpus.ref for corpus in record.corpora.values()] + [tail.ref for tail in record.tails]
        known = [ref for ref in refs if self._objects.whole(ref)]
        task = CorpusTask(
            index=index.key.name,
            dataset=spec.dataset,
            source=make_view(table, self._cache / "views", self._objects, sql_name(spec.dataset)).table.to_dict(),
            snapshot=table.snapshot,
            table_version=table.version,
            rows=table.rows,
            text=tuple(spec.text),
            chunk=_chunking(spec),
            model=model_of(spec),
            target=self._buckets.configs()[spec.bucket or table.bucket],
            key_prefix=f"indexes/{index.key.name}/corpora",
            work=str(self.work(index.key.name) / model_name(spec.embed.model)),  # one that is interrupted by another goes on later
            reuse=tuple(str(self._objects.path(ref)) for ref in known),
            table_at=table.at,
            cache=self._embeddings,
        )
        weight = job_weight(text_weight(table), task.target)
        job_id = _job_id("embed", wanted_corpus(spec, table), index.key.name)
        return Job(job_id, "embed", "engines.vectors.jobs:embed", for_job(task.to_dict()), weight, str(index.key))

    def embeds(self, job: Job, spec: IndexSpec) -> bool:
        """Whether a job embeds for this index as it is specified now, of whatever version of the rows."""
        return job.id == _job_id("embed", digest_of(spec, job.arguments["snapshot"]), job.arguments["index"])

    def follow(self, index: Resource, table: Table, behind: Lag) -> Job | None:
        """Embeds what became of the rows since; None where the two versions cannot be compared."""
        base, former, name = behind.base, behind.former, sql_name(index.spec_as(IndexSpec).dataset)
        base_path = self._objects.path(base.ref)
        try:
            sides = scopes(table.as_of(behind.version), table)
            comparable = {column.name for column in table.columns}.issuperset(read_facts(base_path).text)
        except QueryInvalid:  # its key is another one now
            comparable = False
        if not comparable:
            return None
        aside = base.aside if former is None else former.aside
        former_view, view = (make_view(side, self._cache / "views", self._objects, name).table for side in sides)
        task = TailTask(
            base=base,
            base_path=str(base_path),
            pair=Pair(former_view, view, table.primary_key, distinct=table.write == "upsert" or not table.primary_key),
            snapshot=table.snapshot,
            table_version=table.version,
            table_at=table.at,
            most=behind.most,
            target=self._buckets.configs()[base.ref.bucket],
            key_prefix=f"indexes/{index.key.name}/tails",
            work=str(self.work(index.key.name)),
            former=former,
            former_path=None if former is None else str(self._objects.path(former.ref)),
            aside_path=None if aside is None else str(self._objects.path(aside.ref)),
            cache=self._embeddings,
        )
        weight = job_weight(comparison_weight(*sides), task.target)
        job_id = _job_id("tail", task.digest, index.key.name)
        return Job(job_id, "tail", "engines.vectors.jobs:follow", for_job(task.to_dict()), weight, str(index.key))

    def build(self, index: Resource, candidate: Candidate, corpus: Corpus, weight: int, wanted_by: str) -> Job:
        """Builds a recipe over a corpus. wanted_by: whose job it is."""
        task = BuildTask(
            corpus=corpus,
            corpus_path=str(self._objects.path(corpus.ref)),
            generation=candidate.generation,
            engine=candidate.engine,
            parameters=dict(candidate.parameters),
            target=self._buckets.configs()[corpus.ref.bucket],
            key_prefix=f"indexes/{index.key.name}/builds",
        )
        job_id = _job_id("build", task.digest, index.key.name)
        return Job(job_id, "build", "engines.vectors.jobs:build", task.to_dict(), job_weight(weight, task.target), wanted_by)

    def index_words(self, index: Resource, corpus: Corpus, weight: int) -> Job:
        """Makes a corpus's keyword index."""
        task = LexicalTask(
            corpus=corpus.digest,
            corpus_path=str(self._objects.path(corpus.ref)),
            chunks=corpus.chunks,
            target=self._buckets.configs()[corpus.ref.bucket],
            key_prefix=f"indexes/{index.key.name}/lexical",
        )
        job_id = _job_id("lexical", lexical_digest(corpus.digest), index.key.name)
        return Job(job_id, "lexical", "engines.lexical.job:run", task.to_dict(), job_weight(weight, task.target), str(index.key))

    def work(self, index: str) -> Path:
        """What unfinished embedding of an index leaves here."""
        return self._cache / "corpora" / index


def _job_id(kind: str, inputs: str, index: str) -> str:
    """By the digest of its inputs; what a profile makes for itself of the same inputs lies elsewhere, and is a job of its own."""
    profile = index.partition(MARK)[2]
    return f"{kind}-{inputs}-{profile}" if profile else f"{kind}-{inputs}"


def model_of(spec: IndexSpec) -> str | dict[str, str]:
    """The model that embeds, as jobs name it."""
    model = spec.embed.model
    return {"ollama": model.ollama} if isinstance(model, ModelObject) and model.ollama is not None else model_name(model)


def _chunking(spec: IndexSpec) -> Chunking:
    return Chunking(spec.chunk.tokens, spec.chunk.overlap, spec.chunk.by)
