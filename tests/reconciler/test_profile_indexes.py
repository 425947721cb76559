"""What a profile has of an index for itself: built, kept apart or shared, searched by its reader, and gone with its spec."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from small_lake import BUCKET, Bench, dataset, generation, index
from test_embedding_versions import Keys

from engines.embedding.registry import open_embedder
from engines.errors import IndexUnknown, ModelMismatch
from engines.index_memory import Room, held_bytes
from engines.open_builds import OpenBuilds
from engines.reading import ANONYMOUS, Binding, Reader
from engines.search import SearchService
from engines.search_answer import SearchRequest, SearchResult
from engines.serving import Serving

KEYED = ", primaryKey: [id], write: upsert"
ROWS = "id,text\n1,java developer with kafka\n2,pastry chef and baker\n3,nurse on a night shift\n"
MINE = BUCKET.replace("primary", "mine").replace("path: lake", "path: mine")


def profile(name: str, more: str = "", indexes: str = "[i]") -> str:
    return f"apiVersion: lakehouse/v1\nkind: Profile\nmetadata: {{name: {name}}}\nspec: {{datasets: [x], indexes: {indexes}{more}}}\n"


@pytest.fixture
def lake(bench: Bench) -> Bench:
    bench.write("data/x/1.csv", ROWS)
    return bench


def settle(bench: Bench, *specs: str) -> dict[str, str]:
    bench.commit(BUCKET, dataset("x", KEYED), index("i", "x"), *specs)
    return {name: f"{status.ready} {status.message}" for name, status in bench.settle().items()}


def test_another_model_is_embedded_apart_in_the_profiles_bucket(lake: Bench) -> None:
    said = settle(lake, MINE, profile("p", ", bucket: mine, embed: {model: {builtin: {dimensions: 64}}}"))
    assert said["Index/i@p"] == "True the recommended flat build serves 3 chunks of 3 rows"
    own, base = lake.catalog.index("i@p"), lake.catalog.index("i")
    assert own is not None
    assert base is not None
    assert (own.bucket, base.bucket) == ("mine", "primary")
    assert [corpus.dimension for corpus in own.corpora.values()] == [64]


def test_what_is_searched_otherwise_only_shares_all_files(lake: Bench) -> None:
    recipe = generation("g", "i", "hnsw: {m: 8}")
    said = settle(lake, recipe, profile("p", ", engine: {hnsw: {efSearch: 99}}"), profile("q", ", engine: {hnsw: {efSearch: 98}}"))
    assert said["Index/i@p"] == "True i@p serves 3 chunks of 3 rows"
    own, base = lake.catalog.index("i@p"), lake.catalog.index("i")
    assert own is not None
    assert base is not None
    assert [build.files for build in own.builds.values()] == [build.files for build in base.builds.values()]
    assert own.corpora == base.corpora
    assert own.serving is not None
    assert (own.serving.generation, own.serving.search) == ("i@p", {"efSearch": 99})
    assert not [info.key for info in lake.store.list("indexes/i@")]
    settle(lake, recipe, profile("q", ", engine: {hnsw: {efSearch: 98}}"))
    assert lake.catalog.index("i@p") is None
    assert ask(lake, reader_of("q")).hits[0].key == "[1]"


def ask(bench: Bench, reader: Reader, text: str = "java", **given: Any) -> SearchResult:
    async def search() -> SearchResult:
        service = SearchService(bench.catalog, bench.state.objects, Keys())
        try:
            return await service.search(SearchRequest("i", text, k=1, **given), reader)
        finally:
            service.close()

    return asyncio.run(search())


def reader_of(name: str, bucket: str = "primary", *indexes: str) -> Reader:
    return Reader(profile=name, bucket=bucket, binding=Binding(frozenset({"x"}), frozenset(indexes or ("i",))))


def test_a_profiles_reader_is_answered_by_its_own(lake: Bench) -> None:
    settle(lake, MINE, profile("p", ", bucket: mine, embed: {model: {builtin: {dimensions: 64}}}"), profile("q", ", engine: {flat: {}}"))
    found = ask(lake, reader_of("p", "mine"))
    assert (found.index, found.model, found.generation, found.hits[0].key) == ("i", "builtin-64", "i@p", "[1]")
    assert ask(lake, reader_of("q")).generation == "i@q"
    assert ask(lake, reader_of("r")).generation is None
    assert ask(lake, ANONYMOUS).model == "builtin"
    with pytest.raises(ModelMismatch, match=r"Index i@p answers by builtin-64, not by builtin\."):
        ask(lake, reader_of("p", "mine"), model="builtin")
    for other in ("q", "r"):  # a model that only another profile has of the index is as one that nobody has
        told = []
        for model in ("builtin-64", "builtin-32"):
            with pytest.raises(ModelMismatch) as error:
                ask(lake, reader_of(other), model=model)
            told.append(str(error.value))
        assert told[0].replace("builtin-64", "builtin-32") == told[1]


@pytest.mark.parametrize("name", ["i@p", "i@q", "i@", "@p", "i@p@p", "I@P"])
def test_what_is_a_profiles_own_is_nobody_elses(lake: Bench, name: str) -> None:
    settle(lake, profile("p", ", engine: {flat: {}}"))
    for reader in (reader_of("q"), reader_of("q", "primary", name), Reader(role="recruiter")):
        with pytest.raises(IndexUnknown) as error:
            asyncio.run(_named(lake, name, reader))
        assert str(error.value) == f"There is no index {name!r}."
        assert "@p" not in (error.value.remedy or "")


async def _named(bench: Bench, name: str, reader: Reader) -> SearchResult:
    service = SearchService(bench.catalog, bench.state.objects, Keys())
    try:
        return await service.search(SearchRequest(name, "java"), reader)
    finally:
        service.close()


def test_it_goes_with_its_profile_and_takes_no_file_that_the_index_has(lake: Bench) -> None:
    graphs = [profile(name, f", engine: {{hnsw: {{efSearch: {ef}}}}}") for name, ef in (("p", 99), ("q", 98), ("r", 97))]
    recipe = generation("g", "i", "hnsw: {m: 8}")
    settle(lake, recipe, *graphs)
    settle(lake, recipe)  # three of five indexes at once: none is held for an approval
    assert [name for name, state in lake.catalog.objects("Index").items() if not state.gone] == ["Index/i"]
    assert not [name for name in lake.by_object() if "@" in name]
    assert ask(lake, ANONYMOUS).hits[0].key == "[1]"


def test_what_both_share_stays_until_the_last_lets_go(lake: Bench) -> None:
    mine = profile("p", ", engine: {hnsw: {m: 8, efConstruction: 80, efSearch: 99}}")

    def declared(recipe: str, *more: str) -> None:
        lake.commit(BUCKET, dataset("x", KEYED), index("i", "x", more=", keep: 1"), generation("g", "i", recipe), *more)
        lake.settle()

    declared("hnsw: {m: 8}", mine)
    graph = next(iter(lake.catalog.index("i@p").builds.values())).files["graph"]  # type: ignore[union-attr]
    assert graph.key.startswith("indexes/i/")
    for recipe in ("flat: {}", "hnsw: {m: 9}", "hnsw: {m: 10}", "hnsw: {m: 11}"):
        declared(recipe, mine)
    assert all(graph not in build.files.values() for build in lake.catalog.index("i").builds.values())  # type: ignore[union-attr]
    assert ask(lake, reader_of("p")).generation == "i@p"
    assert lake.store.get(graph.key)
    declared("flat: {}")
    assert graph.key not in {info.key for info in lake.store.list("indexes/")}
    assert ask(lake, ANONYMOUS).generation == "g"


def test_back_to_the_indexs_parameters_shares_again(lake: Bench) -> None:
    settle(lake, profile("p", ", embed: {model: {builtin: {dimensions: 64}}}"))
    assert ask(lake, reader_of("p")).model == "builtin-64"
    settle(lake, profile("p"))
    assert ask(lake, reader_of("p")).model == "builtin"
    assert not list(lake.store.list("indexes/i@p/"))


def test_rows_that_come_are_found_by_all(lake: Bench) -> None:
    specs = (generation("g", "i", "hnsw: {m: 8}"), profile("p", ", engine: {hnsw: {efSearch: 99}}"))
    settle(lake, *specs)
    lake.write("data/x/2.csv", "id,text\n4,lawyer for tenants\n")
    settle(lake, *specs)
    for reader in (reader_of("p"), ANONYMOUS):
        found = ask(lake, reader, "lawyer")
        assert (found.hits[0].key, found.versions) == ("[4]", {"x": 2})


def test_one_graph_is_in_memory_once(lake: Bench) -> None:
    settle(lake, generation("g", "i", "hnsw: {m: 8}"), profile("p", ", engine: {hnsw: {efSearch: 99}}"))

    async def both() -> tuple[Serving, Serving]:
        builds = OpenBuilds(lake.catalog, lake.state.objects, open_embedder, time.monotonic, Room())
        try:
            found = []
            for name in ("i", "i@p"):
                record = lake.catalog.index(name)
                assert record is not None
                assert record.serving is not None
                found.append(await builds.answering(name, record, record.serving, named=False))
            return found[0], found[1]
        finally:
            builds.close()

    base, own = asyncio.run(both())
    assert own.table is base.table
    assert own.index._graph is base.index._graph  # type: ignore[attr-defined]
    assert [one.index.describe()["search"] for one in (base, own)] == [{"efSearch": 64}, {"efSearch": 99}]
    assert held_bytes([base, own], []) == base.index.describe()["memory_bytes"]
