"""One graph, searched with several breadths: where it reaches the gate, and what that costs. Pure.

Recall grows with the breadth, and so does the time; so the least breadth that passes is what counts of a graph, and is found by bisection.
How to guess it: what is missed falls as a power of the breadth, and time grows in proportion to it, as far as measured curves show
(`python -m bench.tuner` prints some). A guess only chooses the next point; whatever is decided is decided by points that were measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

RESOLUTION = 1.06
"""Two breadths whose ratio is less are not told apart: their times differ by less than what two measurements of one do."""
_LEAST_MISS = 1e-4
_INSIDE = 0.15
"""A guess between two breadths keeps this share of their distance from both, by the logarithm: else bisection could take for ever."""


class Point(NamedTuple):
    """recall: what it is sure to be. score: the smaller the better."""

    breadth: int
    recall: float
    score: float


class Reached(NamedTuple):
    """Where a graph reaches the gate, as far as two points tell."""

    breadth: int
    score: float


def least_passing(points: Sequence[Point], gate: float) -> Point | None:
    """The passing point of least breadth."""
    return min((point for point in points if point.recall >= gate), key=lambda point: point.breadth, default=None)


def most_failing(points: Sequence[Point], gate: float) -> Point | None:
    """The failing point of greatest breadth, below the least that passes."""
    passing = least_passing(points, gate)
    failing = (point for point in points if point.recall < gate and (passing is None or point.breadth < passing.breadth))
    return max(failing, key=lambda point: point.breadth, default=None)


def next_breadth(points: Sequence[Point], gate: float, bounds: tuple[int, int], guess: int | None = None) -> int | None:
    """The next breadth to measure on the way to the least that passes; None where that is found, or there is none.

    guess: where it may be, before anything is measured.
    """
    low, high = bounds
    passing, failing = least_passing(points, gate), most_failing(points, gate)
    if passing is None and failing is None:
        return min(high, max(low, guess if guess is not None else round(math.sqrt(low * high))))
    reached = at_gate(points, gate)
    if passing is None:
        assert failing is not None
        if failing.breadth >= high:
            return None
        aim = 2.0 * failing.breadth if reached is None else max(1.2 * failing.breadth, min(reached, 4.0 * failing.breadth))
        return min(high, max(failing.breadth + 1, math.ceil(aim)))
    if failing is None:
        if passing.breadth <= low:
            return None
        aim = passing.breadth / 2 if reached is None else min(passing.breadth / 1.2, reached)
        return max(low, min(passing.breadth - 1, math.floor(aim)))
    if passing.breadth - failing.breadth <= 1 or passing.breadth / failing.breadth < RESOLUTION:
        return None
    return _inside(failing.breadth, passing.breadth, reached)


def _inside(low: int, high: int, aim: float | None) -> int:
    span = math.log(high / low)
    share = 0.5 if aim is None else min(1 - _INSIDE, max(_INSIDE, math.log(max(aim, 1) / low) / span))
    return min(high - 1, max(low + 1, round(low * math.exp(share * span))))


def at_gate(points: Sequence[Point], gate: float) -> float | None:
    """The breadth at which what is missed falls to what the gate allows, by the two points nearest to it; None where they do not tell."""
    if len({point.breadth for point in points}) < 2:
        return None
    near = sorted(points, key=lambda point: abs(_log_miss(point.recall) - _log_miss(gate)))[:2]
    one, other = sorted(near, key=lambda point: point.breadth)
    fall = _log_miss(one.recall) - _log_miss(other.recall)
    if one.breadth == other.breadth or fall <= 1e-9:
        return None
    slope = fall / math.log(other.breadth / one.breadth)
    exponent = (_log_miss(one.recall) - _log_miss(gate)) / slope
    return one.breadth * math.exp(min(20.0, max(-20.0, exponent)))


def reaches(points: Sequence[Point], gate: float, bounds: tuple[int, int]) -> Reached | None:
    """What the graph costs at the gate, from two points or more; None where it is not within the bounds, or they do not tell."""
    breadth = at_gate(points, gate)
    passing = least_passing(points, gate)
    if breadth is None or breadth > bounds[1] * RESOLUTION:
        return None if passing is None else Reached(passing.breadth, passing.score)
    breadth = min(bounds[1], max(bounds[0], math.ceil(breadth)))
    one, other = min(points, key=lambda point: point.breadth), max(points, key=lambda point: point.breadth)
    slope = max(0.0, (other.score - one.score) / (other.breadth - one.breadth))
    least = min(point.score for point in points) / 4
    return Reached(breadth, max(least, one.score + slope * (breadth - one.breadth)))


def _log_miss(recall: float) -> float:
    return math.log(max(_LEAST_MISS, 1 - recall))
