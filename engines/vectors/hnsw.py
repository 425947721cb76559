"""The approximate engine: a navigable graph by hnswlib, held in memory.

What hnswlib 0.8 leaves to its caller is settled here. `ef` belongs to the whole graph, so it is set when the build is opened and never by
a search; a k beyond it raises it for that search by itself. Where several are over one graph, `ef` is the least of theirs, and a search by
a greater one asks for so many and keeps the best k, which are the same. Asking for more than can be found raises: k is cut to the size,
and whatever still comes back short is answered exactly from the matrix. Its writer ignores a full disk: the file's size is compared with
the promised one. It never searches while it adds, deletes or replaces: a build is immutable.

A filter is no callback: `filtering.py`. Next: `matrix.py`, `builds.py`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import hnswlib
import numpy as np

from engines.errors import BuildFailed
from engines.vectors.engine import Ids, Mask, Parts, Progress, Recipe, Vectors
from engines.vectors.filtering import Costs, measure, search_filtered
from engines.vectors.graph_file import read_graph
from engines.vectors.matrix import nearest, open_matrix
from engines.vectors.parameters import read
from specs.kinds.index_generation import Hnsw

_SEARCH = frozenset({"efSearch"})  # the parameters that need no new build
_BLOCK = 1024  # vectors added between two reports of progress
_LOADED_AT_ONCE = 4 << 20  # bytes of a graph that hnswlib loads in some 3 ms, in which no other thread runs
_QUICK = 200  # results that the graph gives within 0.3 ms


class Graph:
    """A graph and all that is open over it, each with the breadth of its searches. Thread-safe."""

    def __init__(self, graph: hnswlib.Index) -> None:
        self.graph = graph
        self._breadths: WeakKeyDictionary[HnswIndex, int] = WeakKeyDictionary()
        self._lock = Lock()

    def tune(self, index: HnswIndex, breadth: int) -> None:
        with self._lock:
            self._breadths[index] = breadth
            self.graph.set_ef(min(self._breadths.values()))


class HnswIndex:
    """An open graph and its matrix. Thread-safe: nothing is added to it."""

    def __init__(self, shared: Graph, matrix: Vectors, disk_bytes: int, search: Mapping[str, Any]) -> None:
        """shared: a graph over the rows of matrix, float32 (size, dimension), labelled by row."""
        self._shared = shared
        self._graph = shared.graph
        self._matrix = matrix
        self._disk_bytes = disk_bytes
        self._breadth = 1
        self.tune(search)
        self._measured: Costs | None = None
        self.size, self.dimension = matrix.shape

    def search(self, query: Vectors, k: int, allowed: Mask | None = None) -> tuple[Ids, Vectors]:
        """See VectorIndex.search."""
        if allowed is not None:
            return search_filtered(self._matrix, query, k, allowed, fetch=self.search, costs=self._costs(), breadth=self._breadth)
        if k > self.size:
            k = self.size
        if k == 0:
            return nearest(self._matrix, query, 0)
        wanted = k if self._breadth <= self._graph.ef else min(max(k, self._breadth), self.size)
        try:
            labels, distances = self._graph.knn_query(query, wanted, 1)
        except RuntimeError:  # fewer than that were reachable
            return nearest(self._matrix, query, k)
        return labels[0, :k].view(np.int64), 1 - distances[0, :k]

    def tune(self, search: Mapping[str, Any]) -> None:
        """See VectorIndex.tune: efSearch."""
        self._breadth = read("hnsw", Hnsw, search).ef_search
        self._shared.tune(self, self._breadth)

    def beside(self, search: Mapping[str, Any]) -> HnswIndex:
        """See VectorIndex.beside."""
        return HnswIndex(self._shared, self._matrix, self._disk_bytes, search)

    def quick(self, k: int) -> bool:
        """See VectorIndex.quick."""
        return max(k, self._breadth) <= _QUICK

    def describe(self) -> Mapping[str, Any]:
        """See VectorIndex.describe."""
        return {
            "engine": "hnsw",
            "size": self.size,
            "dimension": self.dimension,
            "search": {"efSearch": self._breadth},
            "memory_bytes": self._graph.index_file_size(),
            "disk_bytes": self._disk_bytes,
        }

    def _costs(self) -> Costs:
        """Measured by the first search with a filter. By two at once, if they come at once: either is as good."""
        if self._measured is None:
            self._measured = measure(self._matrix, self.search, breadth=self._breadth)
        return self._measured


class HnswEngine:
    """Builds and opens graphs."""

    name = "hnsw"

    def recipe(self, parameters: Mapping[str, Any]) -> Recipe:
        """See VectorEngine.recipe: m, efConstruction and seed are of the build, efSearch of the search."""
        values = read(self.name, Hnsw, parameters).model_dump(by_alias=True)
        search = {name: values.pop(name) for name in _SEARCH}
        return Recipe(self.name, values, search)

    def build(
        self, vectors: Vectors, parameters: Mapping[str, Any], stage: Callable[[], Path], *, threads: int, progress: Progress
    ) -> Mapping[str, Path]:
        """See VectorEngine.build. One thread and one seed give the same graph each time; more threads give another one each time."""
        given = read(self.name, Hnsw, parameters)
        count, dimension = vectors.shape
        graph = hnswlib.Index(space="ip", dim=dimension)
        graph.init_index(max_elements=max(count, 1), M=given.m, ef_construction=given.ef_construction, random_seed=given.seed)
        for start in range(0, count, _BLOCK):
            end = min(start + _BLOCK, count)
            graph.add_items(vectors[start:end], np.arange(start, end), num_threads=threads)
            progress(end, count)
        path = stage()
        graph.save_index(str(path))
        if path.stat().st_size != graph.index_file_size():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return {"graph": path}

    def open(self, parts: Parts) -> HnswIndex:
        """See VectorEngine.open."""
        matrix = open_matrix(parts.matrix, parts.count, parts.dimension)
        path = parts.files["graph"]
        graph = _load(path, parts.dimension)
        if graph.element_count != parts.count:
            raise _no_graph(path, f"it has {graph.element_count} vectors, not {parts.count}")
        return HnswIndex(Graph(graph), matrix, path.stat().st_size + parts.matrix.stat().st_size, parts.search)


def _load(path: Path, dimension: int) -> hnswlib.Index:
    """Raises BuildFailed."""
    graph = read_graph(path, dimension) if path.stat().st_size > _LOADED_AT_ONCE else None
    if graph is not None:
        return graph
    graph = hnswlib.Index(space="ip", dim=dimension)
    try:
        graph.load_index(str(path))
    except RuntimeError as error:
        raise _no_graph(path, str(error)) from error
    return graph


def _no_graph(path: Path, reason: str) -> BuildFailed:
    remedy = "Reconcile the index: it is built again from its corpus."
    return BuildFailed(f"{path.name} cannot be opened as a graph: {reason}.", remedy=remedy)
