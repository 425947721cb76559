"""Exact search for many queries at once: the ground truth of an eval set, by products of a block of vectors with all queries.

It is bound by arithmetic, not by memory: 64 queries take some eight times as long as one. Scores are those of `matrix.nearest`, bit for
bit, and so are the ids: what reaches the k-th score of its query within rounding is computed again by itself.
"""

from __future__ import annotations

import numpy as np

from engines.vectors.engine import Ids, Mask, Vectors
from engines.vectors.matrix import ROUNDING

_SCORES = 1 << 22  # in a block: few products are made, since BLAS's threads wait for each other at the end of each
_LEAST_ROWS = 2048
_NONE = np.iinfo(np.int64).max  # an id that comes after all others


def nearest_many(matrix: Vectors, queries: Vectors, k: int, allowed: Mask | None = None) -> tuple[Ids, Vectors]:
    """The k best rows for each query, as `nearest` has them: ids int64 and scores float32, each (queries, k or what is allowed, if fewer).

    queries: float32 (queries, dimension), of length 1. A tie for the last place is known by its score: whatever reaches `scores[:, -1]` is
    as near. Blocking.
    """
    ids = None if allowed is None else np.flatnonzero(allowed)
    count = len(matrix) if ids is None else len(ids)
    width = min(k, count)
    best = _Best(len(queries), width)
    rows = max(_LEAST_ROWS, _SCORES // max(len(queries), 1))
    for start in range(0, count if width and len(queries) else 0, rows):
        taken = np.arange(start, min(start + rows, count)) if ids is None else ids[start : start + rows]
        block = matrix[start : start + rows] if ids is None else matrix.take(taken, axis=0)
        scores = queries @ block.T
        floor = best.scores[:, -1]
        if start == 0 and width < len(taken):
            floor = np.partition(scores, len(taken) - width, axis=1)[:, len(taken) - width]
        of, at = np.divmod(np.flatnonzero(scores >= (floor - ROUNDING)[:, None]), len(taken))
        best.add(of, taken[at], np.vecdot(block.take(at, axis=0), queries.take(of, axis=0)))
    return best.ids, best.scores


class _Best:
    """The best of each query so far, best first, ties by id."""

    def __init__(self, queries: int, width: int) -> None:
        self.ids = np.full((queries, width), _NONE, dtype=np.int64)
        self.scores = np.full((queries, width), -np.inf, dtype=np.float32)

    def add(self, of: Ids, ids: Ids, scores: Vectors) -> None:
        """More rows. of: each one's query, ascending."""
        width = self.ids.shape[1]
        queries = np.unique(of)
        all_of = np.concatenate((np.repeat(queries, width), of))
        all_ids = np.concatenate((self.ids[queries].ravel(), ids))
        all_scores = np.concatenate((self.scores[queries].ravel(), scores))
        order = np.lexsort((all_ids, -all_scores, all_of))
        first = np.searchsorted(all_of[order], queries)  # of each query's own, of which there are `width` at least
        kept = order[(first[:, None] + np.arange(width)).ravel()]
        self.ids[queries] = all_ids[kept].reshape(-1, width)
        self.scores[queries] = all_scores[kept].reshape(-1, width)
