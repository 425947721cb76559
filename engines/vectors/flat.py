"""The exact engine: compares the query with every vector. No build, nothing to tune, recall 1.

It reads the whole matrix for each query: 100 000 vectors of 256 numbers take some 2 ms on two cores while they are in the page cache,
so it is the better engine for small indexes and the judge of all others. Next: `hnsw.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engines.errors import BuildFailed, EngineUnsupported
from engines.vectors.engine import Ids, Mask, Parts, Progress, Recipe, Vectors
from engines.vectors.matrix import nearest, open_matrix

_QUICK = 2_000_000  # floats that are compared within 0.3 ms


class FlatIndex:
    """An open matrix. Thread-safe: it is only read."""

    def __init__(self, matrix: Vectors) -> None:
        """matrix: float32 (size, dimension), rows of length 1."""
        self._matrix = matrix
        self.size, self.dimension = matrix.shape

    def search(self, query: Vectors, k: int, allowed: Mask | None = None) -> tuple[Ids, Vectors]:
        """See VectorIndex.search."""
        return nearest(self._matrix, query, k, allowed)

    def tune(self, search: Mapping[str, Any]) -> None:
        """Nothing to tune."""

    def quick(self, k: int) -> bool:
        """See VectorIndex.quick."""
        return self._matrix.size <= _QUICK

    def describe(self) -> Mapping[str, Any]:
        """See VectorIndex.describe."""
        return {
            "engine": "flat",
            "size": self.size,
            "dimension": self.dimension,
            "search": {},
            "memory_bytes": 0,
            "disk_bytes": self._matrix.nbytes,
        }


class FlatEngine:
    """Opens matrices."""

    name = "flat"

    def recipe(self, parameters: Mapping[str, Any]) -> Recipe:
        """See VectorEngine.recipe: it takes the precision it has, float32."""
        if parameters.get("precision", "float32") != "float32":
            raise EngineUnsupported("flat.precision is not supported yet.", remedy="Leave it out: vectors are held as float32.")
        if unknown := parameters.keys() - {"precision"}:
            raise BuildFailed(f"No parameters of flat: {', '.join(sorted(unknown))}.")
        return Recipe(self.name)

    def build(
        self, vectors: Vectors, parameters: Mapping[str, Any], stage: Callable[[], Path], *, threads: int, progress: Progress
    ) -> Mapping[str, Path]:
        """The matrix is all it needs."""
        progress(len(vectors), len(vectors))
        return {}

    def open(self, parts: Parts) -> FlatIndex:
        """See VectorEngine.open."""
        return FlatIndex(open_matrix(parts.matrix, parts.count, parts.dimension))
