"""The arithmetic of ranking: lists become one, near-copies give way, and a cosine is judged by those of unrelated texts. Pure.

Sources: reciprocal rank fusion, Cormack, Clarke and Büttcher 2009, with their k of 60; maximal marginal relevance, Carbonell and Goldstein
1998. Next: `ranking.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engines.vectors.engine import Vectors

RANKS_ADDED = 60
"""How much the first ranks of a list are levelled."""

SAMPLED = 512
"""Vectors of a build that are compared with each other: 130 816 pairs."""


def fuse(lists: Sequence[tuple[float, Sequence[int]]]) -> list[tuple[int, float]]:
    """Candidates by reciprocal ranks, best first, ties in the order they come in. lists: each its weight, and its candidates, best first.

    A score is at most 1: that of what is first in every list that weighs something.
    """
    scores: dict[int, float] = {}
    for weight, places in lists:
        for rank, place in enumerate(places, 1):
            scores[place] = scores.get(place, 0.0) + weight / (RANKS_ADDED + rank)
    most = sum(weight for weight, _ in lists) / (RANKS_ADDED + 1)
    return sorted(((place, score / most) for place, score in scores.items()), key=lambda item: -item[1])


def diversified(scores: Sequence[float], vectors: Vectors, count: int, diversity: float) -> list[int]:
    """Up to `count` positions by maximal marginal relevance: each next is relevant, and unlike those that were taken.

    vectors: float32 (len(scores), dimension), of length 1. diversity: the weight of unlikeness, from 0 (the scores alone) to 1.
    """
    relevance = np.asarray(scores, np.float64)
    spread = float(np.ptp(relevance)) if len(relevance) else 0.0
    relevance = (relevance - relevance.min()) / spread if spread else np.ones(len(relevance))
    likeness = np.zeros(len(relevance))
    taken: list[int] = []
    left = np.ones(len(relevance), np.bool_)
    while len(taken) < min(count, len(relevance)):
        worth = np.where(left, (1 - diversity) * relevance - diversity * likeness, -np.inf)
        best = int(worth.argmax())
        taken.append(best)
        left[best] = False
        similar = np.vecdot(vectors, vectors[best])
        likeness = similar if len(taken) == 1 else np.maximum(likeness, similar)
    return taken


def unrelated_cosine(vectors: Vectors, share: float) -> float:
    """The cosine that this share of pairs of vectors stays under, from an even sample; -1 where there are no pairs."""
    if len(vectors) < 2:
        return -1.0
    ids = np.linspace(0, len(vectors) - 1, min(SAMPLED, len(vectors))).astype(np.int64)
    sample = vectors[ids]
    pairs = (sample @ sample.T)[np.triu_indices(len(sample), 1)]
    return float(np.quantile(pairs, share))
