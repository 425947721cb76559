"""A graph that is read beside Python's lock is the one that hnswlib reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hnswlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.vectors import graph_file, hnsw
from engines.vectors.engine import Parts
from engines.vectors.graph_file import read_graph


def saved(path: Path, count: int, dimension: int = 8, *, links: int = 4, seed: int = 1, room: int = 0) -> np.ndarray:
    """A graph over random vectors, which are returned; labels count down, so that they are no numbers of vectors."""
    vectors = np.random.default_rng(seed).standard_normal((count, dimension), dtype=np.float32)
    graph = hnswlib.Index(space="ip", dim=dimension)
    graph.init_index(max_elements=count + room, M=links, ef_construction=20, random_seed=seed)
    graph.add_items(vectors, np.arange(count)[::-1], num_threads=1)
    graph.save_index(str(path))
    return vectors


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 400),
    dimension=st.sampled_from([1, 3, 8, 64]),
    links=st.integers(2, 12),
    seed=st.integers(1, 99),
)
def test_it_holds_and_finds_what_hnswlib_loads(
    tmp_path_factory: pytest.TempPathFactory, count: int, dimension: int, links: int, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("graph")
    path, again = folder / "graph.bin", folder / "again.bin"
    vectors = saved(path, count, dimension, links=links, seed=seed)
    graph = read_graph(path, dimension)
    assert graph is not None
    loaded = hnswlib.Index(space="ip", dim=dimension)
    loaded.load_index(str(path))
    for index in (graph, loaded):
        index.set_ef(50)
    k = min(count, 5)
    for ours, theirs in zip(found(graph, vectors, k), found(loaded, vectors, k), strict=True):
        assert np.array_equal(ours, theirs)
    assert (graph.element_count, graph.index_file_size()) == (count, path.stat().st_size)
    graph.save_index(str(again))
    assert again.read_bytes() == path.read_bytes()


def found(graph: hnswlib.Index, vectors: np.ndarray, k: int) -> tuple[Any, ...]:
    """Labels and distances; nothing where the graph is too thin for that many, which hnswlib refuses to answer."""
    try:
        return tuple(graph.knn_query(vectors, k, 1))
    except RuntimeError:
        return ()


def test_a_large_build_is_opened_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = saved(tmp_path / "graph", 3_000, 16)
    (tmp_path / "matrix").write_bytes(vectors[::-1].tobytes())
    monkeypatch.setattr(hnsw, "_LOADED_AT_ONCE", 1 << 16)
    monkeypatch.setattr(hnswlib, "Index", Unpickled)
    index = hnsw.HnswEngine().open(
        Parts(tmp_path / "matrix", 3_000, 16, {"graph": tmp_path / "graph"}, {"efSearch": 100}, lambda: tmp_path)
    )
    ids, _ = index.search(vectors[7] / np.linalg.norm(vectors[7]), 10)
    assert 2_992 in ids


class Unpickled(hnswlib.Index):
    """Loads nothing from a file."""

    def load_index(self, *given: object) -> None:
        raise AssertionError


@pytest.mark.parametrize("cut", [0, 50, 96, 400, 4_000, -1, -4, -21])
def test_a_file_that_was_cut_is_left_to_hnswlib(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "graph.bin"
    saved(path, 200)
    path.write_bytes(path.read_bytes()[:cut])
    assert read_graph(path, 8) is None


def test_so_is_what_is_no_such_graph(tmp_path: Path) -> None:
    path = tmp_path / "graph.bin"
    saved(path, 200)
    assert read_graph(path, 9) is None
    saved(path, 200, room=1)
    assert read_graph(path, 8) is None
    saved(path, 200)
    path.write_bytes(path.read_bytes() + bytes(4))
    assert read_graph(path, 8) is None
    path.write_bytes(bytes(range(256)) * 40)
    assert read_graph(path, 8) is None


def test_and_one_without_vectors(tmp_path: Path) -> None:
    empty = hnswlib.Index(space="ip", dim=8)
    empty.init_index(max_elements=1)
    empty.save_index(str(tmp_path / "graph.bin"))
    assert read_graph(tmp_path / "graph.bin", 8) is None


def test_where_nobody_may_look_at_memory_hnswlib_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "graph.bin", 200)
    monkeypatch.setattr(graph_file, "_MEMORY", tmp_path / "none")
    assert read_graph(tmp_path / "graph.bin", 8) is None


def test_and_where_it_keeps_vectors_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "graph.bin", 200)
    elsewhere = np.zeros(4_096, np.float32)
    monkeypatch.setattr(graph_file, "_places", lambda *given: iter([elsewhere.ctypes.data]))
    assert read_graph(tmp_path / "graph.bin", 8) is None
