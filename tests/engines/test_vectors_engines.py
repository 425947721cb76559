"""One suite of behaviours for every vector engine, and what is hnswlib's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest

from engines.errors import BuildFailed, EngineUnsupported
from engines.vectors.engine import Parts, VectorIndex, Vectors
from engines.vectors.hnsw import Graph, HnswIndex
from engines.vectors.recommend import FLAT_UP_TO, LARGE_FROM, recommend
from engines.vectors.registry import open_engine

DIMENSION = 16
RECIPES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "flat": ("flat", {}),
    "flat of int8": ("flat", {"precision": "int8"}),
    "hnsw": ("hnsw", {}),
    "lance by a graph": ("lance", {"type": "IVF_HNSW_SQ"}),
    "lance by products": ("lance", {"type": "IVF_PQ", "refineFactor": 200}),
    "lance by rotation": ("lance", {"type": "IVF_RQ", "refineFactor": 200}),
}
with_lance = pytest.mark.skipif(find_spec("lancedb") is None, reason="LanceDB is an extra")
ENGINES = [pytest.param(name, marks=with_lance if name.startswith("lance") else ()) for name in RECIPES]
Built = Callable[..., Parts]
Make = Callable[..., VectorIndex]


def unit(rows: int, seed: int = 0, dimension: int = DIMENSION) -> Vectors:
    vectors = np.random.default_rng(seed).standard_normal((rows, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def exact(vectors: Vectors, query: Vectors, k: int, allowed: np.ndarray | None = None) -> list[int]:
    scores = vectors @ query
    ids = range(len(vectors)) if allowed is None else np.flatnonzero(allowed).tolist()
    return sorted(ids, key=lambda at: (-scores[at], at))[:k]


@pytest.fixture
def built(tmp_path: Path) -> Built:
    numbers = count()

    def stage() -> Path:
        path = tmp_path / f"staged-{next(numbers)}"
        path.touch()
        return path

    def build(name: str, vectors: Vectors, parameters: Mapping[str, Any] | None = None, threads: int = 1) -> Parts:
        engine_name, given = RECIPES[name]
        engine = open_engine(engine_name)
        recipe = engine.recipe({**given, **(parameters or {})})
        matrix = stage()
        matrix.write_bytes(vectors.tobytes())
        files = engine.build(vectors, recipe.build, stage, threads=threads, progress=lambda done, total: None)
        return Parts(matrix, *vectors.shape, files, recipe.search, lambda: Path(mkdtemp(dir=tmp_path)))

    return build


@pytest.fixture
def make(built: Built) -> Make:
    return lambda name, *given, **more: open_engine(RECIPES[name][0]).open(built(name, *given, **more))


@pytest.mark.parametrize("name", ENGINES)
def test_the_nearest_come_first_with_their_cosine(make: Make, name: str) -> None:
    vectors = unit(500)
    index = make(name, vectors)
    for query in unit(20, seed=1):
        ids, scores = index.search(query, 10)
        assert ids.dtype == np.int64
        assert scores.dtype == np.float32
        assert ids.tolist() == exact(vectors, query, 10)
        np.testing.assert_allclose(scores, vectors[ids] @ query, atol=1e-6)
        assert (np.diff(scores) <= 0).all()


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("size", [0, 1, 3])
def test_more_than_there_is_gives_what_there_is(make: Make, name: str, size: int) -> None:
    index = make(name, unit(size))
    ids, scores = index.search(unit(1, seed=1)[0], 10)
    assert sorted(ids.tolist()) == list(range(size))
    assert len(scores) == size
    assert (index.size, index.dimension) == (size, DIMENSION)


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.1, 0.5, 0.9, 1.0])
def test_a_filter_gives_k_of_those_allowed(make: Make, name: str, share: float) -> None:
    vectors = unit(3000)
    index = make(name, vectors)
    allowed = np.random.default_rng(2).random(len(vectors)) < share
    found = 0
    queries = unit(10, seed=3)
    for query in queries:
        ids, scores = index.search(query, 5, allowed)
        expected = exact(vectors, query, 5, allowed)
        assert len(ids) == len(scores) == len(expected)
        assert allowed[ids].all()
        found += len(set(ids.tolist()) & set(expected))
    assert found >= 0.9 * len(queries) * min(5, allowed.sum())


@pytest.mark.parametrize("name", ENGINES)
def test_a_filter_that_excludes_the_neighbourhood_still_gives_k(make: Make, name: str) -> None:
    vectors = unit(3000)
    query = unit(1, seed=1)[0]
    allowed = np.ones(len(vectors), dtype=np.bool_)
    allowed[exact(vectors, query, 1500)] = False
    ids, _ = make(name, vectors).search(query, 10, allowed)
    assert ids.tolist() == exact(vectors, query, 10, allowed)


@pytest.mark.parametrize("name", ENGINES)
def test_threads_search_at_once(make: Make, name: str) -> None:
    vectors = unit(1000)
    index = make(name, vectors)
    queries = unit(64, seed=1)
    expected = [index.search(query, 5)[0].tolist() for query in queries]
    with ThreadPoolExecutor(8) as threads:
        assert [ids.tolist() for ids, _ in threads.map(lambda query: index.search(query, 5), queries)] == expected


@pytest.mark.parametrize("name", ENGINES)
def test_it_describes_itself(make: Make, name: str) -> None:
    described = make(name, unit(100)).describe()
    assert (described["engine"], described["size"], described["dimension"]) == (RECIPES[name][0], 100, DIMENSION)
    assert described["disk_bytes"] >= 100 * DIMENSION * 4
    assert json.loads(json.dumps(described)) == described


@pytest.mark.parametrize("name", ENGINES[:-1])
@pytest.mark.parametrize("dimension", [1, 7, 100])
def test_any_dimension_will_do(make: Make, name: str, dimension: int) -> None:
    vectors = unit(300, dimension=dimension)
    ids, scores = make(name, vectors).search(vectors[7], 300)
    assert sorted(ids.tolist()) == list(range(300))
    np.testing.assert_allclose(scores, vectors[ids] @ vectors[7], atol=1e-6)


@pytest.mark.parametrize("name", ENGINES)
def test_a_vector_of_zeros_is_at_right_angles_to_all(make: Make, name: str) -> None:
    vectors = unit(400)
    vectors[5] = 0
    ids, scores = make(name, vectors).search(unit(1, seed=1)[0], 400)
    assert dict(zip(ids.tolist(), scores.tolist(), strict=True))[5] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("size", [0, 500])
def test_a_filter_that_nothing_passes_finds_nothing(make: Make, name: str, size: int) -> None:
    ids, scores = make(name, unit(size)).search(unit(1, seed=1)[0], 10, np.zeros(size, dtype=np.bool_))
    assert (len(ids), len(scores)) == (0, 0)


@pytest.mark.parametrize("name", ENGINES)
def test_it_searches_while_it_is_tuned(make: Make, name: str) -> None:
    vectors = unit(600)
    index = make(name, vectors)
    search = dict(index.describe()["search"])
    with ThreadPoolExecutor(4) as threads:
        found = threads.map(lambda query: index.search(query, 5), unit(40, seed=1))
        for _ in range(20):
            index.tune(search)
        assert [len(ids) for ids, _ in found] == [5] * 40


@pytest.mark.parametrize("name", ["flat", "hnsw", "lance"])
def test_unknown_parameters_are_named(name: str) -> None:
    with pytest.raises(BuildFailed, match=f"No parameters of {name}: there is no `efSerch`"):
        open_engine(name).recipe({"efSerch": 3})


def test_the_parameter_that_was_meant_is_named() -> None:
    with pytest.raises(BuildFailed, match="there is no `efconstruction`, perhaps `efConstruction`") as caught:
        open_engine("hnsw").recipe({"efconstruction": 3})
    assert caught.value.remedy == "It has m, efConstruction, efSearch, seed."


@pytest.mark.parametrize("name", ENGINES)
def test_a_matrix_of_another_size_is_refused(built: Built, name: str) -> None:
    parts = built(name, unit(300))
    parts.matrix.write_bytes(parts.matrix.read_bytes()[:-1])
    with pytest.raises(BuildFailed, match="has 19199 bytes, not those of 300 vectors of dimension 16"):
        open_engine(RECIPES[name][0]).open(parts)


@pytest.mark.parametrize("name", ENGINES[1:])
def test_a_file_that_was_cut_is_refused_before_it_answers(built: Built, name: str) -> None:
    """By size or form; a change within is found by the checksum of whoever opens a build."""
    parts = built(name, unit(600))
    path = max(parts.files.values(), key=lambda path: path.stat().st_size)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for path in (path for role, path in parts.files.items() if role.endswith(".idx")):
        path.write_bytes(b"")
    engine = open_engine(RECIPES[name][0])
    with pytest.raises(BuildFailed, match=r"not those of|cannot be opened|cannot search") as error:
        engine.open(parts).search(unit(1, seed=1)[0], 5)
    assert error.value.remedy == "Reconcile the index: it is built again from its corpus."


@pytest.mark.parametrize("name", ENGINES[1:])
def test_files_of_other_vectors_are_refused(built: Built, name: str) -> None:
    parts, other = built(name, unit(600)), built(name, unit(500))
    with pytest.raises(BuildFailed):
        open_engine(RECIPES[name][0]).open(replace(parts, files=other.files))


def test_equal_scores_are_ordered_by_id(make: Make) -> None:
    vectors = np.repeat(unit(3), 5, axis=0)
    ids, _ = make("flat", vectors).search(vectors[5], 3)
    assert ids.tolist() == [5, 6, 7]


def test_one_thread_and_one_seed_give_the_same_graph(make: Make, tmp_path: Path) -> None:
    make("hnsw", unit(500))
    make("hnsw", unit(500))
    make("hnsw", unit(500), {"seed": 3})
    first, second, third = (tmp_path / f"staged-{number}" for number in (1, 3, 5))
    assert first.read_bytes() == second.read_bytes() != third.read_bytes()


def test_threads_build_a_whole_graph(make: Make) -> None:
    vectors = unit(3000)
    index = make("hnsw", vectors, threads=2)
    assert [index.search(vector, 1)[0][0] for vector in vectors[:50]] == list(range(50))


def test_ef_is_of_the_search_and_can_be_tuned(make: Make) -> None:
    index = make("hnsw", unit(100), {"m": 8, "efSearch": 17})
    assert index.describe()["search"] == {"efSearch": 17}
    assert index.quick(10)
    index.tune({"efSearch": 500})
    assert index.describe()["search"] == {"efSearch": 500}
    assert not index.quick(10)
    index.tune({})
    assert index.describe()["search"] == {"efSearch": 64}


def test_where_the_graph_gives_too_few_the_matrix_answers(make: Make) -> None:
    class Broken:
        ef = 10

        def set_ef(self, ef: int) -> None:
            self.ef = ef

        def knn_query(self, *arguments: object) -> None:
            raise RuntimeError("Cannot return the results in a contiguous 2D array. Probably ef or M is too small")

    vectors = unit(50)
    query = unit(1, seed=1)[0]
    ids, _ = HnswIndex(Graph(Broken()), vectors, 0, {}).search(query, 5)
    assert ids.tolist() == exact(vectors, query, 5)


def test_a_damaged_graph_is_refused(tmp_path: Path) -> None:
    vectors = unit(10)
    (tmp_path / "matrix").write_bytes(vectors.tobytes())
    (tmp_path / "graph").write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(BuildFailed, match="cannot be opened as a graph"):
        open_engine("hnsw").open(Parts(tmp_path / "matrix", 10, DIMENSION, {"graph": tmp_path / "graph"}, {}))


def test_progress_ends_at_the_total(tmp_path: Path) -> None:
    reports: list[tuple[int, int]] = []
    open_engine("hnsw").build(unit(2500), {}, lambda: tmp_path / "graph", threads=1, progress=lambda *report: reports.append(report))
    assert reports == [(1024, 2500), (2048, 2500), (2500, 2500)]


@pytest.mark.parametrize(
    ("chunks", "engine", "parameters"),
    [
        (0, "flat", {}),
        (FLAT_UP_TO, "flat", {}),
        (FLAT_UP_TO + 1, "hnsw", {"m": 32, "efConstruction": 80, "seed": 100}),
        (LARGE_FROM + 1, "hnsw", {"m": 32, "efConstruction": 160, "seed": 100}),
    ],
)
def test_the_recommended_recipe_is_by_size(chunks: int, engine: str, parameters: Mapping[str, Any]) -> None:
    assert (recommend(chunks).engine, recommend(chunks).build) == (engine, parameters)


def test_engines_that_there_are_not_are_refused_by_name() -> None:
    with pytest.raises(EngineUnsupported, match="'faiss'"):
        open_engine("faiss")


def test_one_graph_is_searched_by_several_breadths(make: Make) -> None:
    vectors = unit(3_000)
    alone = {ef: make("hnsw", vectors, {"m": 4, "efConstruction": 10, "efSearch": ef}) for ef in (3, 40)}
    wide = make("hnsw", vectors, {"m": 4, "efConstruction": 10, "efSearch": 40})
    narrow = wide.beside({"efSearch": 3})
    assert [index.describe()["search"] for index in (wide, narrow)] == [{"efSearch": 40}, {"efSearch": 3}]
    for query in unit(30, seed=5):
        for index, ef in ((wide, 40), (narrow, 3)):
            found, expected = (one.search(query, 5) for one in (index, alone[ef]))
            assert found[0].tolist() == expected[0].tolist()
            assert found[1].tolist() == expected[1].tolist()
            assert found[0].shape == (5,)
    wide.tune({"efSearch": 3})
    assert wide.search(vectors[0], 5)[0].tolist() == narrow.search(vectors[0], 5)[0].tolist()


@pytest.mark.parametrize("name", ENGINES)
def test_it_answers_to_its_last_reader_whatever_becomes_of_its_files(built: Built, name: str) -> None:
    vectors, (query,) = unit(300), unit(1, seed=1)
    parts = built(name, vectors)
    index = open_engine(RECIPES[name][0]).open(parts)
    for path in (parts.matrix, *parts.files.values()):
        path.unlink()
    allowed = np.arange(300) % 2 == 0
    assert index.search(query, 10)[0].tolist() == exact(vectors, query, 10)
    assert index.search(query, 10, allowed)[0].tolist() == exact(vectors, query, 10, allowed)


@pytest.mark.parametrize("name", ENGINES)
def test_each_is_opened_once_for_several(make: Make, name: str) -> None:
    vectors = unit(300)
    index = make(name, vectors)
    beside = index.beside({})
    del index
    assert len(beside.search(vectors[7], 5)[0]) == 5
