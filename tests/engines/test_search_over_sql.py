"""From a file to a filtered answer with nothing faked: ingest, scan, embed, build, catalog, query worker, search."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread

from engines.embedding.chunking import Chunking
from engines.errors import FilterInvalid
from engines.files.ingest import run
from engines.search import SearchRequest, SearchService
from engines.sql.pool import WorkerPool
from engines.sql.service import QueryService
from engines.sql.tables import CatalogTables
from engines.sql.views import make_view
from engines.vectors import jobs
from engines.vectors.builds import BuildTask
from engines.vectors.corpus import CorpusTask
from engines.vectors.recommend import recommend
from state.buckets import Buckets
from state.catalog.catalog import Catalog
from state.catalog.entry import BuildAdded, CorpusAdded, Served, TableCommit
from state.catalog.log import WriterId
from state.catalog.records import Build, Corpus, ServingManifest
from state.local_store import LocalStore
from state.reader import ObjectReader

pytestmark = pytest.mark.anyio

CANDIDATES = """id,city,resume
C-1,Chicago,java developer with kafka
C-2,Boston,java developer with spring
C-3,Chicago,pastry chef and baker
C-4,Boston,
"""


class NoSystem:
    def names(self) -> tuple[str, ...]:
        return ()

    def path(self, name: str) -> Path | None:
        return None


@dataclass
class Stage:
    """Everything between a file and an answer."""

    lake: Any
    root: Path

    def __post_init__(self) -> None:
        buckets = Buckets()
        buckets.attach(self.lake.config)
        self.files = ObjectReader(buckets, self.root / "cache", 1 << 20)
        self.catalog = Catalog.open(LocalStore(self.root / "state"), writer=WriterId("w", 1))

    def ingest(self, content: str) -> None:
        known = self.catalog.table("candidates")
        task = self.lake.task("candidates.csv", content, primary_key=("id",), write="upsert", schema=known.schema if known else None)
        result = run(replace(task, key_prefix="datasets/candidates"), store=self.lake.store)
        sequence = known.next_sequence if known else 1
        files = tuple(replace(file, sequence=sequence) for file in result.files)
        schema = None if known else result.schema
        commit = TableCommit("Dataset/candidates", "t1", "primary", ("id",), "upsert", schema=schema, add=files)
        self.catalog.commit([commit], actor="test", reason="ingested")

    def serve(self, reuse: tuple[str, ...] = ()) -> Corpus:
        table = self.catalog.table("candidates")
        assert table is not None
        source = make_view(table, self.root / "views", self.files, "candidates").table.to_dict()
        work = str(self.root / "work")
        embed = CorpusTask(
            "resumes", "candidates", source, table.snapshot, table.version, table.rows, ("resume",), Chunking(), "builtin",
            self.lake.config, "indexes/resumes/corpora", work, reuse,
        )  # fmt: skip
        corpus = Corpus.from_dict(self.job("embed", embed.to_dict()))
        recipe = recommend(corpus.chunks)
        path = str(self.files.path(corpus.ref))
        task = BuildTask(corpus, path, None, recipe.engine, recipe.build, self.lake.config, "indexes/resumes/builds")
        build = Build.from_dict(self.job("build", task.to_dict()))
        changes = [
            CorpusAdded("Index/resumes", corpus),
            BuildAdded("Index/resumes", build),
            Served("Index/resumes", ServingManifest(build.digest, None, recipe.search)),
        ]
        self.catalog.commit(changes, actor="test", reason="built")
        return corpus

    def job(self, name: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        result = vars(jobs)[name](json.loads(json.dumps(arguments)), lambda done, total: None)
        return dict(json.loads(json.dumps(result)))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def stage(lake: Any, tmp_path: Path) -> AsyncIterator[tuple[Stage, SearchService]]:
    made = await to_thread.run_sync(Stage, lake, tmp_path)
    pool = WorkerPool(tmp_path / "scratch")
    queries = QueryService(CatalogTables(made.catalog, made.files, NoSystem(), tmp_path / "views"), pool)
    service = SearchService(made.catalog, made.files, queries)
    try:
        yield made, service
    finally:
        service.close()
        await pool.close()


async def test_a_file_is_found_by_meaning_and_by_sql(stage: tuple[Stage, SearchService]) -> None:
    made, service = stage
    await to_thread.run_sync(made.ingest, CANDIDATES)
    first = await to_thread.run_sync(made.serve)
    assert (first.rows, first.chunks) == (4, 3)

    result = await service.search(SearchRequest("resumes", "java engineer", k=2))
    assert {hit.key for hit in result.hits} == {'["C-1"]', '["C-2"]'}
    assert result.versions == {"candidates": 1}
    filtered = await service.search(SearchRequest("resumes", "java engineer", filter="city = 'Chicago' AND resume IS NOT NULL"))
    assert [(hit.key, hit.text) for hit in filtered.hits] == [
        ('["C-1"]', "java developer with kafka"),
        ('["C-3"]', "pastry chef and baker"),
    ]
    assert (await service.search(SearchRequest("resumes", "java", filter="city = 'Nowhere'"))).hits == ()
    with pytest.raises(FilterInvalid, match="nonsense"):
        await service.search(SearchRequest("resumes", "java", filter="nonsense = 1"))

    await to_thread.run_sync(made.ingest, "id,city,resume\nC-1,Chicago,retired\n")
    reuse = str(made.files.path(first.ref))
    second = await to_thread.run_sync(made.serve, (reuse,))
    assert (second.chunks, second.digest == first.digest) == (3, False)
    while (result := await service.search(SearchRequest("resumes", "retired", k=1))).versions != {"candidates": 2}:
        await to_thread.run_sync(lambda: None)
    assert [(hit.key, hit.text) for hit in result.hits] == [('["C-1"]', "retired")]
