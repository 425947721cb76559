"""The matrix of a build: vectors as raw little-endian float32, row after row, memory-mapped.

It has no header: the build's record says how many rows of which dimension there are, and opening checks that against the file's size. The
operating system decides how much of it stays in memory, and several processes share the same pages.

A score is the inner product of one row with the query, computed by itself and by one thread (`numpy.vecdot`): so equal vectors have equal
scores, whoever found them. The product of the matrix with the query is no faster once a core reads as fast as the memory gives, rounds a
row by its place among the others, and OpenBLAS's threads wait for each other for 20 ms where other work has the cores. Next:
`nearest_many.py`, `flat.py`.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np

from engines.errors import BuildFailed
from engines.vectors.engine import Ids, Mask, Vectors

FLOAT = np.dtype("<f4")
ROUNDING = 1e-5
"""More than two ways to add up an inner product of vectors of length 1 differ by, in float32."""

_GATHERED = 512  # rows at once: they stay in the cache, and ask the system for no memory
_SORTED_AT_ONCE = 256  # scores that are sorted as soon as partitioned
GATHERED_UP_TO = 4  # one of so many rows: beyond, a scan of all is cheaper than gathering


def open_matrix(path: Path, count: int, dimension: int) -> Vectors:
    """float32 (count, dimension), read-only, mapped from the file. Raises BuildFailed if the file is of another size."""
    size = count * dimension * FLOAT.itemsize
    mapped = map_file(path, size, f"{count} vectors of dimension {dimension}")
    return np.frombuffer(mapped, dtype=FLOAT).reshape(count, dimension)


def map_file(path: Path, size: int, contents: str) -> Any:
    """The bytes of the file, read-only, as a buffer. contents: what they are, for people. Raises BuildFailed if there are not `size`."""
    found = path.stat().st_size
    if found != size:
        remedy = "Reconcile the index: it is built again from its corpus."
        raise BuildFailed(f"{path.name} has {found} bytes, not those of {contents}.", remedy=remedy)
    if size == 0:  # nothing to map
        return b""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)


def nearest(matrix: Vectors, query: Vectors, k: int, allowed: Mask | None = None) -> tuple[Ids, Vectors]:
    """The exact k best rows by inner product with query, among those allowed: ids and scores, best first, ties by id.

    Gathers the allowed rows while they are few; scans everything once gathering would cost more. query: float32, of length 1.
    """
    if allowed is not None and np.count_nonzero(allowed) * GATHERED_UP_TO <= len(matrix):
        return best_of(matrix, query, k, allowed.nonzero()[0])
    scores = np.vecdot(matrix, query)
    if allowed is None:
        return _best(scores, k, None)
    scores[~allowed] = -np.inf
    ids, scores = _best(scores, k, None)
    found = allowed[ids]  # where fewer than k are allowed, anything reaches the k-th
    return ids[found], scores[found]


def best_of(matrix: Vectors, query: Vectors, k: int, ids: Ids) -> tuple[Ids, Vectors]:
    """The same among rows given by their ids, ascending."""
    if len(ids) <= _GATHERED:  # slices of one block would take a tenth more
        return _best(np.vecdot(matrix.take(ids, axis=0), query), k, ids)
    scores = np.empty(len(ids), np.float32)
    for start in range(0, len(ids), _GATHERED):
        rows = ids[start : start + _GATHERED]
        np.vecdot(matrix.take(rows, axis=0), query, out=scores[start : start + len(rows)])
    return _best(scores, k, ids)


def _best(scores: Vectors, k: int, ids: Ids | None) -> tuple[Ids, Vectors]:
    if ids is None or len(scores) > _SORTED_AT_ONCE:
        reaching = (scores >= kth_best(scores, k)).nonzero()[0]  # so that ids decide between equal ones, not the partition
        ids, scores = reaching if ids is None else ids[reaching], scores[reaching]
    order = np.negative(scores).argsort(kind="stable")[:k]
    return ids[order], scores[order]


def kth_best(scores: Vectors, k: int) -> float:
    """The k-th greatest of the scores, -inf where there are no more than k."""
    if not 0 < k < len(scores):
        return -np.inf
    parted = scores.copy()  # np.partition does the same, and half as much again
    parted.partition(len(scores) - k)
    return float(parted[len(scores) - k])
