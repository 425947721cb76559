"""The matrix of a build: vectors as raw little-endian float32, row after row, memory-mapped.

It has no header: the build's record says how many rows of which dimension there are, and opening checks that against the file's size. The
operating system decides how much of it stays in memory, and several processes share the same pages. Next: `flat.py` scans it.
"""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np

from engines.errors import BuildFailed
from engines.vectors.engine import Ids, Mask, Vectors

FLOAT = np.dtype("<f4")


def open_matrix(path: Path, count: int, dimension: int) -> Vectors:
    """float32 (count, dimension), read-only, mapped from the file. Raises BuildFailed if the file is of another size."""
    size = path.stat().st_size
    if size != count * dimension * FLOAT.itemsize:
        raise BuildFailed(
            f"{path.name} has {size} bytes, not those of {count} vectors of dimension {dimension}.",
            remedy="Reconcile the index: it is built again from its corpus.",
        )
    if size == 0:  # nothing to map
        return np.empty((count, dimension), dtype=FLOAT)
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
    return np.frombuffer(mapped, dtype=FLOAT).reshape(count, dimension)


def nearest(matrix: Vectors, query: Vectors, k: int, allowed: Mask | None = None) -> tuple[Ids, Vectors]:
    """The exact k best rows by inner product with query, among those allowed: ids and scores, best first, ties by id.

    Gathers the allowed rows while they are few; scans everything once gathering would cost more.
    """
    if allowed is None:
        return _best(matrix @ query, k, None)
    ids = np.flatnonzero(allowed)
    if len(ids) * 4 <= len(matrix):
        return _best(matrix.take(ids, axis=0) @ query, k, ids)
    scores = matrix @ query
    return _best(scores.take(ids), k, ids)


def _best(scores: Vectors, k: int, ids: Ids | None) -> tuple[Ids, Vectors]:
    if k < len(scores):
        # All that reach the k-th score, so that the ids decide between equal ones, not the partition.
        threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
        found = np.flatnonzero(scores >= threshold)
    else:
        found = np.arange(len(scores))
    found = found[np.lexsort((found, -scores[found]))][:k]
    best = scores[found].astype(np.float32, copy=False)
    return (found if ids is None else ids[found]), best
