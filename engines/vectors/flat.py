"""The exact engine: compares the query with every vector. Nothing to tune, recall 1.

It reads the whole matrix for each query: 100 000 vectors of 256 numbers take some 3 ms while they are in the page cache, so it is the
better engine for small indexes and the judge of all others. With `precision: int8` it reads a quarter of that, and gives the same answer
(`codes.py`). Next: `hnsw.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.vectors.engine import Ids, Mask, Parts, Progress, Recipe, Vectors
from engines.vectors.matrix import nearest, open_matrix
from engines.vectors.parameters import read
from specs.kinds.index_generation import Flat

if TYPE_CHECKING:
    from engines.vectors.codes import Codes

_QUICK_BYTES = 8_000_000  # that are compared within 0.3 ms


class FlatIndex:
    """An open matrix. Thread-safe: it is only read."""

    def __init__(self, matrix: Vectors, codes: Codes | None = None) -> None:
        """matrix: float32 (size, dimension), rows of length 1. codes: of its rows, None for those that are compared as they are."""
        self._matrix = matrix
        self._codes = codes
        self.size, self.dimension = matrix.shape

    def search(self, query: Vectors, k: int, allowed: Mask | None = None) -> tuple[Ids, Vectors]:
        """See VectorIndex.search."""
        return nearest(self._matrix, query, k, allowed) if self._codes is None else self._codes.nearest(self._matrix, query, k, allowed)

    def tune(self, search: Mapping[str, Any]) -> None:
        """Nothing to tune."""

    def beside(self, search: Mapping[str, Any]) -> FlatIndex:
        """See VectorIndex.beside."""
        return self

    def quick(self, k: int) -> bool:
        """See VectorIndex.quick."""
        return (self._matrix.nbytes if self._codes is None else self._codes.nbytes) <= _QUICK_BYTES

    def describe(self) -> Mapping[str, Any]:
        """See VectorIndex.describe."""
        return {
            "engine": "flat",
            "precision": "float32" if self._codes is None else "int8",
            "size": self.size,
            "dimension": self.dimension,
            "search": {},
            "memory_bytes": 0,
            "disk_bytes": self._matrix.nbytes + (0 if self._codes is None else self._codes.nbytes),
        }


class FlatEngine:
    """Opens matrices, and makes codes of them."""

    name = "flat"

    def recipe(self, parameters: Mapping[str, Any]) -> Recipe:
        """See VectorEngine.recipe: int8 is of the build; float32, which the matrix is anyway, is no parameter."""
        precision = read(self.name, Flat, parameters).precision
        return Recipe(self.name, {} if precision == "float32" else {"precision": precision})

    def build(
        self, vectors: Vectors, parameters: Mapping[str, Any], stage: Callable[[], Path], *, threads: int, progress: Progress
    ) -> Mapping[str, Path]:
        """See VectorEngine.build. For float32, the matrix is all it needs."""
        if parameters.get("precision") != "int8":
            progress(len(vectors), len(vectors))
            return {}
        from engines.vectors.codes import write_codes  # float32 needs no NumKong

        path = stage()
        write_codes(path, vectors, progress)
        return {"codes": path}

    def open(self, parts: Parts) -> FlatIndex:
        """See VectorEngine.open."""
        matrix = open_matrix(parts.matrix, parts.count, parts.dimension)
        if "codes" not in parts.files:
            return FlatIndex(matrix)
        from engines.vectors.codes import open_codes

        return FlatIndex(matrix, open_codes(parts.files["codes"], parts.count, parts.dimension))
