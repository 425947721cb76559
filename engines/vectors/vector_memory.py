"""What is known already: vectors by the hash of their text, so that no text is embedded twice by one model.

The hashes are in memory (24 bytes a text), in sorted runs that are merged as they grow; the vectors are in one scratch file beside the job,
in the order in which they came, and mapped to be read. It lives as long as one run: what lasts is the corpus. Next: `corpus.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engines.vectors.engine import Ids, Vectors

Halves = NDArray[np.uint64]


class Run(NamedTuple):
    """Sorted by high: the halves of each hash, and its vector's row."""

    high: Halves
    low: Halves
    row: Ids

    def find(self, high: Halves, low: Halves) -> Ids:
        """int64 (n,): the rows of these hashes; -1 where one is not in the run."""
        at = np.searchsorted(self.high, high)
        at[at == len(self.high)] = 0
        # Two texts whose first halves are equal (never seen) cost one embedding too many, not a wrong vector.
        there = (self.high[at] == high) & (self.low[at] == low)
        return np.where(there, self.row[at], -1)


class VectorMemory:
    """Vectors of one model, by text hash. Not thread-safe. Close it to remove its file."""

    def __init__(self, scratch: Path, dimension: int) -> None:
        """scratch: a file for the vectors, made anew."""
        self._path = scratch
        self._dimension = dimension
        self._file = scratch.open("w+b")
        self._rows = 0
        self._mapped: Vectors = np.empty((0, dimension), dtype=np.float32)
        self._runs: list[Run] = []

    def __enter__(self) -> VectorMemory:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget everything."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def find(self, hashes: Sequence[bytes]) -> Ids:
        """int64 (n,): where each text's vector is, for `take`; -1 where it is not known."""
        high, low = halves(hashes)
        rows = np.full(len(hashes), -1, dtype=np.int64)
        for run in self._runs:
            rows = np.where(rows < 0, run.find(high, low), rows)
        return rows

    def take(self, rows: Ids) -> Vectors:
        """float32 (n, dimension) at rows that `find` or `add` gave."""
        if len(self._mapped) < self._rows:
            self._file.flush()
            self._mapped = np.memmap(self._path, np.float32, mode="r", shape=(self._rows, self._dimension))
        return np.asarray(self._mapped.take(rows, axis=0))

    def add(self, hashes: Sequence[bytes], vectors: Vectors) -> Ids:
        """Keep the vectors of texts that were not known; gives where they are. hashes: without duplicates."""
        self._file.write(np.ascontiguousarray(vectors, dtype=np.float32).data)
        rows = np.arange(self._rows, self._rows + len(hashes), dtype=np.int64)
        self._rows += len(hashes)
        if len(hashes):
            self._runs.append(sorted_run(*halves(hashes), rows))
        while len(self._runs) > 1 and len(self._runs[-2].row) < 4 * len(self._runs[-1].row):
            last, before = self._runs.pop(), self._runs.pop()
            self._runs.append(sorted_run(*(np.concatenate(pair) for pair in zip(before, last, strict=True))))
        return rows


def halves(hashes: Sequence[bytes]) -> tuple[Halves, Halves]:
    """uint64 (n,) each, of hashes of 16 bytes."""
    pairs = np.frombuffer(b"".join(hashes), dtype=np.uint64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def sorted_run(high: Halves, low: Halves, row: Ids) -> Run:
    """Of hashes in any order."""
    order = np.argsort(high, kind="stable")
    return Run(high[order], low[order], row[order])
