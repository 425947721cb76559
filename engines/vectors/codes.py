"""Vectors as int8: a quarter of the bytes to read, and the same answer.

A vector x is held as s * c: c of whole numbers from -127 to 127, s its own scale. Beside s stands the length e of what that loses, x - s *
c. The query is held likewise, with an e of its own. So the cosine that the codes give is at most e(x) + e(query) from the exact one (by
Cauchy and Schwarz), and every row that may be among the best is known: some hundreds of 100 000, which are computed again from the float32
matrix. Nothing is missed, whatever the data; where the bound tells too little, the whole matrix is scanned.

The file has no header: the scales, float32 (count,); the losses, float32 (count,); the codes, int8 (count, dimension). Products of int8 are
NumKong's. Next: `flat.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numkong
import numpy as np
from numpy.typing import NDArray

from engines.vectors.engine import Ids, Mask, Progress, Vectors
from engines.vectors.matrix import best_of, kth_best, map_file, nearest

Int8 = NDArray[np.int8]

_MOST = 127
_BLOCK = 8192  # vectors encoded at once
_ROUNDING = 1e-6  # of the losses, and of products of codes as float32
_GATHERED_UP_TO = 16  # one of so many rows: beyond, a scan of all codes is cheaper than gathering vectors
_TELLS_LITTLE = 4  # more candidates than one of so many rows


@dataclass(frozen=True, slots=True)
class Codes:
    """scales, losses: float32 (count,). codes: (count, dimension)."""

    scales: Vectors
    losses: Vectors
    codes: Int8

    @property
    def nbytes(self) -> int:
        """Of the file."""
        return self.scales.nbytes + self.losses.nbytes + self.codes.nbytes

    def nearest(self, matrix: Vectors, query: Vectors, k: int, allowed: Mask | None = None) -> tuple[Ids, Vectors]:
        """What `matrix.nearest` gives, from a quarter of its reading. matrix: that these are the codes of."""
        if allowed is not None and np.count_nonzero(allowed) * _GATHERED_UP_TO <= len(matrix):
            return nearest(matrix, query, k, allowed)
        scale, loss, coded = _encoded(query[None])
        scores = np.empty((1, len(matrix)), np.float32)
        if len(matrix):
            numkong.cdist(coded, self.codes, "dot", out=scores)
        about = scores[0]
        about *= self.scales * scale[0]
        bound = self.losses * (1 + loss[0]) + loss[0]  # a vector's s * c is at most 1 + its loss long
        if allowed is not None:
            about[~allowed] = -np.inf
        candidates = np.flatnonzero(about + bound >= kth_best(about - bound, k))
        if allowed is not None:
            candidates = candidates[allowed[candidates]]  # where fewer than k are allowed, anything reaches the k-th
        if len(candidates) * _TELLS_LITTLE > len(matrix):
            return nearest(matrix, query, k, allowed)
        return best_of(matrix, query, k, candidates)


def write_codes(path: Path, vectors: Vectors, progress: Progress) -> None:
    """Encode float32 (count, dimension) into a file. Blocking. Raises OSError."""
    count = len(vectors)
    scales, losses = np.empty(count, np.float32), np.empty(count, np.float32)
    with path.open("wb") as file:
        file.seek(scales.nbytes + losses.nbytes)
        for start in range(0, count, _BLOCK):
            end = min(start + _BLOCK, count)
            scales[start:end], losses[start:end], codes = _encoded(vectors[start:end])
            file.write(codes.data)
            progress(end, count)
        file.seek(0)
        file.write(scales.data)
        file.write(losses.data)


def open_codes(path: Path, count: int, dimension: int) -> Codes:
    """Mapped from the file. Raises BuildFailed if the file is of another size."""
    mapped = map_file(path, count * (8 + dimension), f"{count} codes of dimension {dimension}")
    floats = np.frombuffer(mapped, np.dtype("<f4"), 2 * count)
    codes = np.frombuffer(mapped, np.int8, offset=8 * count).reshape(count, dimension)
    return Codes(floats[:count], floats[count:], codes)


def _encoded(vectors: Vectors) -> tuple[Vectors, Vectors, Int8]:
    """Scales, losses, codes."""
    scales = np.abs(vectors).max(axis=1, initial=0) / np.float32(_MOST)
    divisors = np.where(scales == 0, 1, scales)[:, None]
    codes = np.rint(vectors / divisors)
    losses = np.linalg.norm(vectors - codes * divisors, axis=1) * (1 + _ROUNDING) + _ROUNDING
    return scales, cast(Vectors, losses.astype(np.float32)), codes.astype(np.int8)
