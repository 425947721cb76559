"""Where a graph reaches the gate: by few points, and never by more than bisection needs."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.tuning.curve import RESOLUTION, Point, at_gate, least_passing, most_failing, next_breadth, reaches

BOUNDS = (10, 400)


def points(*pairs: tuple[int, float]) -> list[Point]:
    return [Point(breadth, recall, 10.0 + breadth) for breadth, recall in pairs]


@pytest.mark.parametrize(
    ("known", "guess", "expected"),
    [
        ((), None, 63),  # the middle
        ((), 100, 100),
        ((), 1, 10),
        ((), 1000, 400),
        (((400, 0.8),), None, None),  # it fails at the greatest
        (((10, 0.95),), None, None),  # it passes at the least
        (((100, 0.95),), None, 50),
        (((100, 0.8),), None, 200),
        (((300, 0.8),), None, 400),
        (((10, 0.8), (11, 0.801)), None, 44),  # four times the breadth is the most at once
        (((50, 0.8), (51, 0.95)), None, None),
        (((100, 0.8), (105, 0.95)), None, None),
        (((10, 0.8), (11, 0.81)), None, 37),  # where the line through both says
    ],
)
def test_the_next_breadth(known: tuple[tuple[int, float], ...], guess: int | None, expected: int | None) -> None:
    assert next_breadth(points(*known), 0.9, BOUNDS, guess) == expected


@given(
    st.floats(0.5, 60), st.floats(0.4, 2), st.sampled_from([0.8, 0.9, 0.97, 0.99]), st.tuples(st.integers(1, 50), st.integers(60, 2000)),
    st.one_of(st.none(), st.integers(1, 3000)),
)  # fmt: skip
def test_the_least_passing_breadth_is_found_in_few_steps(
    missed: float, power: float, gate: float, bounds: tuple[int, int], guess: int | None
) -> None:
    """Whatever the curve, as long as recall grows with the breadth."""

    def recall(breadth: int) -> float:
        return max(0.0, 1 - missed / breadth**power)

    known: list[Point] = []
    while (breadth := next_breadth(known, gate, bounds, guess)) is not None:
        assert bounds[0] <= breadth <= bounds[1]
        assert breadth not in [point.breadth for point in known]
        known.append(Point(breadth, recall(breadth), float(breadth)))
        assert len(known) <= 20
    least = next((breadth for breadth in range(bounds[0], bounds[1] + 1) if recall(breadth) >= gate), None)
    found = least_passing(known, gate)
    if least is None:
        assert found is None
        assert any(point.breadth == bounds[1] for point in known), "it is only given up at the greatest"
    else:
        assert found is not None
        assert found.breadth <= max(least + 1, math.ceil(least * RESOLUTION))


def test_a_power_law_is_found_in_a_few_points() -> None:
    known: list[Point] = []
    while (breadth := next_breadth(known, 0.97, BOUNDS, 60)) is not None:
        known.append(Point(breadth, 1 - 4.2 / breadth**1.1, float(breadth)))
    assert len(known) <= 5
    assert least_passing(known, 0.97) is not None


def test_two_points_say_what_the_gate_costs() -> None:
    known = [Point(40, 1 - 2 / 40, 40.0), Point(160, 1 - 2 / 160, 160.0)]
    assert at_gate(known, 0.98) == pytest.approx(100)
    assert reaches(known, 0.98, BOUNDS) == pytest.approx((100, 100), abs=1)
    assert reaches(known, 0.999, BOUNDS) is None, "2 000 are beyond the bounds"
    assert reaches(known[:1], 0.97, BOUNDS) is None, "one point is no curve"
    low = reaches(known, 0.5, BOUNDS)
    assert low is not None
    assert low.breadth == 10
    flat = [Point(40, 0.95, 40.0), Point(160, 0.95, 160.0)]
    assert at_gate(flat, 0.97) is None, "a recall that does not grow tells nothing"
    assert reaches(flat, 0.9, BOUNDS) == (40, 40.0), "but what passes passes"


def test_a_failing_breadth_above_a_passing_one_is_noise() -> None:
    known = points((50, 0.95), (80, 0.89))
    assert least_passing(known, 0.9) == known[0]
    assert most_failing(known, 0.9) is None
