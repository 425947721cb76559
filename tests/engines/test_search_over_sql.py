"""From a file to a filtered answer with nothing faked: ingest, scan, embed, build, catalog, query worker, search."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread

from engines.at import at_from
from engines.embedding.chunking import Chunking
from engines.errors import FilterInvalid, SearchInvalid, VersionUnknown
from engines.files.ingest import run
from engines.ranking import Ranking
from engines.search import SearchService
from engines.search_answer import SearchRequest
from engines.search_at import Coverage, choose
from engines.sql.facets import Facet
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
from state.catalog.entry import TableCommit
from state.catalog.index_changes import BuildAdded, CorpusAdded, Served
from state.catalog.indexes import Build, Corpus, IndexRecord, ServingManifest
from state.catalog.log import WriterId
from state.catalog.tables import Former, Table
from state.local_store import LocalStore
from state.objects import ObjectRef
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
    asked = SearchRequest("resumes", "java engineer", k=1, facets=("city", "resume"), ranking=Ranking(explain=True))
    counted = await service.search(asked)
    assert counted.facets is not None
    assert counted.facets["city"] == Facet((("Chicago", 2), ("Boston", 1)), 3, 2), "one has no text, so nobody finds it"
    assert counted.facets["resume"].distinct == 3
    assert counted.stages is not None
    assert (counted.stages[-1].name, counted.stages[-1].facts["columns"]) == ("facets", ["city", "resume"])
    both = await service.search(replace(asked, k=9, filter="city = 'Chicago'"))
    assert both.facets is not None
    assert (len(both.hits), both.facets["city"].values, both.given) == (2, (("Chicago", 2),), 2 + 1 + 2)
    with pytest.raises(FilterInvalid, match="nonsense"):
        await service.search(SearchRequest("resumes", "java", filter="nonsense = 1"))

    await to_thread.run_sync(made.ingest, "id,city,resume\nC-1,Chicago,retired\n")
    reuse = str(made.files.path(first.ref))
    second = await to_thread.run_sync(made.serve, (reuse,))
    assert (second.chunks, second.digest == first.digest) == (3, False)
    while (result := await service.search(SearchRequest("resumes", "retired", k=1))).versions != {"candidates": 2}:
        await to_thread.run_sync(lambda: None)
    assert [(hit.key, hit.text) for hit in result.hits] == [('["C-1"]', "retired")]
    with pytest.raises(SearchInvalid, match="There is no column `town`"):
        await service.search(replace(asked, facets=("town",)))
    with pytest.raises(SearchInvalid, match="at most 8"):
        await service.search(replace(asked, facets=tuple("abcdefghi")))


async def test_a_former_version_is_searched_in_the_build_of_it(stage: tuple[Stage, SearchService]) -> None:
    made, service = stage
    await to_thread.run_sync(made.ingest, CANDIDATES)
    first = await to_thread.run_sync(made.serve)
    await to_thread.run_sync(made.ingest, "id,city,resume\nC-1,Denver,pastry chef now\nC-5,Chicago,java developer at sea\n")
    await to_thread.run_sync(made.serve, (str(made.files.path(first.ref)),))

    async def found(at: object, filter_sql: str | None = None) -> tuple[list[tuple[str, str]], int, Coverage | None]:
        request = SearchRequest("resumes", "java developer", k=3, filter=filter_sql, at=None if at is None else at_from(at))
        result = await service.search(request)
        return [(hit.key, hit.text) for hit in result.hits], result.versions["candidates"], result.coverage

    now, version, none = await found(None)
    assert (version, none, ('["C-5"]', "java developer at sea") in now) == (2, None, True)
    hits, version, coverage = await found(1)
    assert {key for key, _ in hits} == {'["C-1"]', '["C-2"]', '["C-3"]'}
    assert ('["C-1"]', "java developer with kafka") in hits
    assert (version, coverage) == (1, Coverage(1, 0))
    counted = await service.search(SearchRequest("resumes", "java developer", at=at_from(1), facets=("city",)))
    present = await service.search(SearchRequest("resumes", "java developer", facets=("city",)))
    assert counted.facets == {"city": Facet((("Chicago", 2), ("Boston", 1)), 3, 2)}
    assert present.facets == {"city": Facet((("Chicago", 2), ("Boston", 1), ("Denver", 1)), 4, 3)}
    hits, _, _ = await found({"candidates": 1}, "city = 'Chicago'")
    assert {key for key, _ in hits} == {'["C-1"]', '["C-3"]'}
    assert (await found(2))[2] == Coverage(2, 0)
    with pytest.raises(VersionUnknown):
        await found(9)
    with pytest.raises(SearchInvalid, match="the index is of candidates"):
        await found({"others": 1})


async def test_a_version_without_a_build_is_searched_in_the_nearest(stage: tuple[Stage, SearchService]) -> None:
    made, service = stage
    for text in (CANDIDATES, "id,city,resume\nC-1,Denver,pastry chef now\n", "id,city,resume\nC-2,Boston,java no more\n"):
        await to_thread.run_sync(made.ingest, text)
        if text is CANDIDATES:
            await to_thread.run_sync(made.serve)

    async def found(at: int) -> tuple[set[str], Coverage | None]:
        result = await service.search(SearchRequest("resumes", "java developer", at=at_from(at)))
        return {hit.key for hit in result.hits}, result.coverage

    assert await found(2) == ({'["C-2"]', '["C-3"]'}, Coverage(1, 1))
    counted = await service.search(SearchRequest("resumes", "java", at=at_from(2), facets=("id",)))
    assert counted.facets == {"id": Facet((("C-2", 1), ("C-3", 1)), 2, 2)}, "as many as can be found"
    assert await found(3) == ({'["C-3"]'}, Coverage(1, 2))
    await to_thread.run_sync(made.ingest, "id,city,resume\nC-1,Denver,java developer with kafka\n")
    assert await found(4) == ({'["C-1"]', '["C-3"]'}, Coverage(1, 1))


def test_which_build_answers_for_a_version() -> None:
    ref = ObjectRef("b", "k", 1, "s")

    def at(version: int) -> str:
        return f"2026-01-{version:02d}T00:00:00.000Z"

    former = tuple(Former(version, at(version), 0, ()) for version in range(3, 8))
    table = Table("candidates", 8, at=at(8), former=former)
    held = {f"c{version}": Corpus(f"c{version}", ref, 1, 1, f"s{version}", version, "f", 1) for version in (1, 4, 6)}
    builds = {f"b{version}": Build(f"b{version}", None, "flat", {}, f"c{version}", {}, 1, 1, 0.1) for version in (1, 4, 6)}
    record = IndexRecord("resumes", held, builds, ServingManifest("b6", None))
    assert [choose(record, table, version, "f").corpus.table_version for version in (3, 4, 5, 6, 8)] == [4, 4, 4, 6, 6]
    assert choose(record, table, at(5), "f").table.version == 5
    only = IndexRecord("resumes", {"c1": held["c1"]}, {"b1": builds["b1"]}, ServingManifest("b1", None))
    with pytest.raises(VersionUnknown, match=r"its builds are of version 1, and versions 3 to 8 are kept"):
        choose(only, table, 5, "f")
