"""Search behind a filter in an approximate index, which knows of none: by comparing what is allowed, or by fetching more than k.

Comparing is exact, and costs by the vector allowed; fetching costs by the result, of which a filter of a share p passes one in 1/p. Which
is cheaper depends on machine, dimension and graph, so both are measured when an index is opened (`measure`), in some milliseconds.

A filter may have to do with the query: it selects what is far away, and passes less than its share of what is near. Then too few are left
of what was fetched; more is fetched as long as that is cheaper than comparing, which answers otherwise. No filter is a callback: one that
is asked in Python about each vector costs 3 ms at 10 % of 100 000.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np

from engines.vectors.engine import Ids, Mask, Vectors
from engines.vectors.matrix import GATHERED_UP_TO, best_of, nearest

_SIGMAS = 3  # above its mean, so that one search in several hundred fetches too few of a filter that ignores the query
_ROUNDS = 3
_STRIDE = 241  # of the sample that tells whether few pass: one of _FEW at most, or one of _VERY_FEW
_FEW, _VERY_FEW = 32, 200
_TURNS = 3  # others each time: what was looked at before is nearer to the processor than it will be
_SAMPLES = (256, 4096)  # vectors gathered
_FETCHES = (64, 256)  # results fetched
_FROM_DISK = 10.0  # microseconds a vector, above which it is read from the disk and not from memory


class Fetch(Protocol):
    """Search without a filter."""

    def __call__(self, query: Vectors, k: int) -> tuple[Ids, Vectors]:
        """The k nearest; see VectorIndex.search."""


@dataclass(frozen=True, slots=True)
class Line:
    """Microseconds for n of something: start + each * n."""

    start: float
    each: float

    def at(self, n: float) -> float:
        """For so many."""
        return self.start + self.each * n


@dataclass(frozen=True, slots=True)
class Costs:
    """What an index takes on this machine to gather and compare a vector, to compare it where it lies, and to give one more result."""

    gather: Line
    scan: Line
    fetch: Line

    def compare(self, count: int, size: int) -> float:
        """Of `matrix.nearest` with so many of all vectors allowed."""
        return self.gather.at(count) if count * GATHERED_UP_TO <= size else self.scan.at(size)

    def to_dict(self) -> dict[str, float]:
        """For `describe`."""
        return {"compared_us": round(self.gather.each, 4), "fetched_us": round(self.fetch.each, 4)}


def search_filtered(
    matrix: Vectors, query: Vectors, k: int, allowed: Mask, *, fetch: Fetch, costs: Costs, breadth: int
) -> tuple[Ids, Vectors]:
    """See VectorIndex.search. breadth: results that cost as much as fewer do, or more."""
    size = len(matrix)
    ids = listed_if_few(allowed)
    count = int(np.count_nonzero(allowed)) if ids is None else len(ids)
    if ids is not None and costs.compare(count, size) <= costs.fetch.at(breadth):  # than which no fetching is cheaper
        return best_of(matrix, query, k, ids)
    if count == size:
        return fetch(query, k)
    compared = costs.compare(count, size)
    wanted = fetched_for(k, count / size) if count else size
    for _ in range(_ROUNDS):
        if count <= k or wanted >= size or costs.fetch.at(max(wanted, breadth)) >= compared:
            break
        found, scores = fetch(query, wanted)
        passed = np.flatnonzero(allowed[found])
        if len(passed) >= k:
            return found[passed[:k]], scores[passed[:k]]
        compared -= costs.fetch.at(max(wanted, breadth))
        wanted = max(4 * wanted, fetched_for(k, max(len(passed), 1) / wanted))
    return nearest(matrix, query, k, allowed) if ids is None else best_of(matrix, query, k, ids)


def listed_if_few(allowed: Mask) -> Ids | None:
    """The ids that pass, ascending, where a sample says that few do: counting all takes a third of comparing a hundred vectors.

    A mask of which hardly anything passes is read by words of eight, which takes two thirds of numpy's time for it.
    """
    passing = np.count_nonzero(allowed[::_STRIDE]) * _STRIDE
    if passing * _FEW > len(allowed):
        return None
    if passing * _VERY_FEW > len(allowed):
        return allowed.nonzero()[0]
    whole = len(allowed) & ~7
    words = np.ascontiguousarray(allowed[:whole]).view(np.uint64)
    some = (words != 0).nonzero()[0]
    at = words[some].view(np.bool_).nonzero()[0]
    ids = (some[at >> 3] << 3) + (at & 7)
    return np.append(ids, allowed[whole:].nonzero()[0] + whole) if np.count_nonzero(allowed[whole:]) else ids


def fetched_for(k: int, share: float) -> int:
    """How many to fetch, so that k of them are allowed: the mean of a negative binomial distribution and some deviations."""
    return math.ceil((k + _SIGMAS * math.sqrt(k * (1 - share))) / share)


def measure(matrix: Vectors, fetch: Fetch, *, breadth: int, clock: Callable[[], float] = time.perf_counter) -> Costs:
    """Try both on a few rows of the matrix. fetch: with this breadth. Blocking, for some milliseconds.

    Vectors are gathered once before that counts: what is in memory is mapped by its first search. Those that come from the disk count as
    they come: there are more of them than the memory holds.
    """
    size = len(matrix)
    if size < 2 * _SAMPLES[-1]:
        return Costs(Line(0, 0), Line(0, 0), Line(0, 1))  # comparing them is cheaper than finding out
    queries = [np.array(matrix[size * turn // _TURNS]) for turn in range(_TURNS)]
    spread = [[np.linspace(turn, size - _TURNS + turn, sample).astype(np.int64) for turn in range(_TURNS)] for sample in _SAMPLES]

    def least(calls: Iterable[Callable[[], object]]) -> float:
        """Microseconds of the shortest: what comes between from elsewhere only makes it longer."""
        found = []
        for call in calls:
            started = clock()
            call()
            found.append((clock() - started) * 1e6)
        return min(found)

    def gathering() -> tuple[float, ...]:
        return tuple(least(partial(best_of, matrix, queries[0], 1, ids) for ids in samples) for samples in spread)

    first, again = gathering(), gathering()
    gather = _line(_SAMPLES, first if first[-1] > _FROM_DISK * _SAMPLES[-1] else again)
    part = size // _TURNS // 4
    scan = least(partial(np.vecdot, matrix[part * turn : part * (turn + 1)], queries[0]) for turn in range(_TURNS)) / part
    few = min(max(_FETCHES[0], breadth), size)
    many = min(few * _FETCHES[1] // _FETCHES[0], size)
    fetched = tuple(least(partial(fetch, query, n) for query in queries) for n in (few, many))
    return Costs(gather, Line(0, scan), _line((few, many), fetched))


def _line(numbers: tuple[int, int], taken: tuple[float, ...]) -> Line:
    """Through two points."""
    (low, high), (short, long) = numbers, taken
    each = max(long - short, 0) / (high - low) if high > low else 0.0
    return Line(max(short - each * low, 0), each)
