"""What a vector engine is: it builds an index over a matrix of vectors, opens it, and an open index answers.

All vectors have length 1 (or 0), so the inner product is the cosine, and that is the score of every engine: higher is better. A vector's
id is its row in the matrix. The matrix itself is kept beside every build, as `matrix.py` writes it: it is the ground truth, what exact
search scans, and what a filtered search falls back to; an engine adds the files that it needs beyond.

No engine knows texts, keys or tables: `chunk_table.py` turns ids into chunks, `engines/search_answer.py` asks both.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]
Progress = Callable[[int, int], None]
"""Called with what is done and the total, in the same unit."""


class VectorIndex(Protocol):
    """A build that is open for search. Thread-safe: any number of threads may search at once."""

    @property
    def size(self) -> int:
        """How many vectors it holds."""

    @property
    def dimension(self) -> int:
        """Numbers in each of them."""

    def search(self, query: Vectors, k: int, allowed: Mask | None = None) -> tuple[Ids, Vectors]:
        """The k vectors nearest to query: ids int64 and cosines float32, best first.

        query: float32 (dimension,), of length 1. allowed: bool (size,), True where a vector may be found; None allows all. Gives fewer
        than k only where fewer are allowed. k >= 1.
        """

    def tune(self, search: Mapping[str, Any]) -> None:
        """Search from now on with these parameters; those that are not named get their default. Needs no new build."""

    def beside(self, search: Mapping[str, Any]) -> VectorIndex:
        """The same build, searched with these parameters while this one goes on with its own. Nothing is read again."""

    def quick(self, k: int) -> bool:
        """Whether an unfiltered search for k is short enough to be done on an event loop: some 0.3 ms."""

    def describe(self) -> Mapping[str, Any]:
        """JSON-able: engine, size, dimension, search parameters, memory_bytes (resident by its own), disk_bytes."""


def temporary_folder() -> Path:
    """A new folder among the system's temporary files."""
    return Path(tempfile.mkdtemp(prefix="lakehouse-index-"))


@dataclass(frozen=True, slots=True)
class Parts:
    """What a build is opened from: the matrix, the engine's own files by role, and the parameters it is searched with.

    folder: gives a new folder, for an engine that wants its files to lie in some way; the index removes it when it is let go of.
    """

    matrix: Path
    count: int
    dimension: int
    files: Mapping[str, Path] = field(default_factory=dict)
    search: Mapping[str, Any] = field(default_factory=dict)
    folder: Callable[[], Path] = temporary_folder


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to build and to search. Parameters as a spec names them: `build` are part of a build's identity, `search` are not."""

    engine: str
    build: Mapping[str, Any] = field(default_factory=dict)
    search: Mapping[str, Any] = field(default_factory=dict)


class VectorEngine(Protocol):
    """One way to index vectors."""

    @property
    def name(self) -> str:
        """As an IndexGeneration names it."""

    def recipe(self, parameters: Mapping[str, Any]) -> Recipe:
        """A spec's parameters, completed by defaults and split into those of the build and those of the search. Raises BuildFailed."""

    def build(
        self, vectors: Vectors, parameters: Mapping[str, Any], stage: Callable[[], Path], *, threads: int, progress: Progress
    ) -> Mapping[str, Path]:
        """Index the vectors, float32 (count, dimension); gives the files made, by role, each written into a path that stage() gave.

        Blocking, for minutes. Raises BuildFailed, and OSError for what the disk refuses.
        """

    def open(self, parts: Parts) -> VectorIndex:
        """Blocking. Raises BuildFailed for files that are no such build."""
