"""How far two rankings of rows agree, and how good one is by judgments; pure.

A ranking is the rows of a search's hits, each once, by its best hit: models cut texts differently, so that chunks cannot be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from math import log2

import numpy as np


def ranking(keys: Iterable[str]) -> list[str]:
    """keys: of hits, best first. Each row once, by its best hit."""
    return list(dict.fromkeys(keys))


def overlap(one: Sequence[str], other: Sequence[str]) -> float | None:
    """The share of the longer ranking's rows that both have, in [0, 1]; None where both are empty."""
    longest = max(len(one), len(other))
    return len(set(one) & set(other)) / longest if longest else None


def rank_correlation(one: Sequence[str], other: Sequence[str]) -> float | None:
    """Kendall's tau-b over the rows that either has, in [-1, 1]: 1 for the same order, -1 for the reverse. A row that one of them lacks
    stands behind all that it has, tied with the others that it lacks. None where either ranking ties all of them, as an empty one does.

    Source: Kendall, "The treatment of ties in ranking problems", Biometrika 33 (1945); the place of rows that are not there as in Fagin,
    Kumar, Sivakumar, "Comparing top k lists" (2003). In the memory of the square of the rows, a byte each.
    """
    rows = ranking([*one, *other])
    signs = []
    for ranked in (one, other):
        place = {row: at for at, row in enumerate(ranked)}
        places = np.array([place.get(row, len(ranked)) for row in rows], np.int32)
        signs.append(np.sign(places[:, np.newaxis] - places[np.newaxis, :]).astype(np.int8))
    untied = [int(np.count_nonzero(sign)) for sign in signs]
    if not all(untied):
        return None
    agreeing = int(np.einsum("ij,ij->", signs[0], signs[1], dtype=np.int64))
    return float(agreeing / np.sqrt(float(untied[0]) * float(untied[1])))


def ndcg(ranked: Sequence[str], relevant: Set[str], k: int) -> float:
    """Normalised discounted cumulative gain of the first k, in [0, 1], where a row is relevant or not; `relevant` is not empty.

    Source: Järvelin, Kekäläinen, "Cumulated gain-based evaluation of IR techniques", ACM TOIS 20 (2002), with the logarithm of base 2.
    """
    gained = sum(1 / log2(place + 1) for place, row in enumerate(ranked[:k], 1) if row in relevant)
    return gained / sum(1 / log2(place + 1) for place in range(1, min(k, len(relevant)) + 1))
