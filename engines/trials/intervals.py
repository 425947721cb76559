"""How sure a measured recall is: intervals of 95 %, from the queries that were asked.

Queries differ, and the hits of one have to do with each other, so the interval is that of a bootstrap over queries. Where all queries are
alike it would be no interval at all; then, and wherever it is wider, Wilson's stands, as of that many independent hits.
Source: E. B. Wilson (1927), "Probable inference"; B. Efron (1979), "Bootstrap methods".
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Z = 1.959963984540054
"""Of a standard normal distribution, 2.5 % is beyond it."""
_RESAMPLES = 4000
_SEED = 1
_QUANTILES = (0.025, 0.975)

Counts = NDArray[np.int64]


class Interval(NamedTuple):
    """An estimate, and the bounds it lies between."""

    value: float
    low: float
    high: float


def wilson(successes: int, trials: int) -> Interval:
    """Of a share. trials >= 1."""
    share, square = successes / trials, Z * Z
    middle = (share + square / (2 * trials)) / (1 + square / trials)
    half = Z / (1 + square / trials) * math.sqrt(share * (1 - share) / trials + square / (4 * trials * trials))
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))


def recall(hits: Counts, widths: Counts) -> Interval:
    """The mean over queries of hits / widths. Both int64 (queries,); a query of width 0 has no answer and does not count.

    Raises ValueError where no query counts. Equal for equal input.
    """
    counts = widths > 0
    if not counts.any():
        raise ValueError("no query has an answer")
    values, often = np.unique(hits[counts] / widths[counts], return_counts=True)
    total = int(often.sum())
    drawn = np.random.default_rng(_SEED).multinomial(total, often / total, size=_RESAMPLES)
    low, high = np.quantile(drawn @ values / total, _QUANTILES)
    independent = wilson(int(hits[counts].sum()), int(widths[counts].sum()))
    value = float(values @ often / total)
    return Interval(value, max(0.0, min(float(low), independent.low)), min(1.0, max(float(high), independent.high)))


def fewest_queries(share: float, hits: int = 10) -> int:
    """How many queries can show at least this recall, in [0, 1): of fewer the lower bound of one half is below it even where all is found.

    hits: answers of a query.
    """
    needed = max(1, math.ceil(share * Z * Z / (1 - share) / hits))
    return 2 * (needed if wilson(needed * hits, needed * hits).low >= share else needed + 1)  # what is rounded away counts


def paired(ours: Counts, theirs: Counts, widths: Counts) -> Interval:
    """The mean over queries of (ours - theirs) / widths: how much better one is than the other at the same queries, by a bootstrap."""
    counts = widths > 0
    values, often = np.unique((ours[counts] - theirs[counts]) / widths[counts], return_counts=True)
    total = int(often.sum())
    if not total:
        raise ValueError("no query has an answer")
    drawn = np.random.default_rng(_SEED).multinomial(total, often / total, size=_RESAMPLES)
    low, high = np.quantile(drawn @ values / total, _QUANTILES)
    return Interval(float(values @ often / total), float(low), float(high))
