"""Intervals against values that are known, and against what they promise: the truth is inside 95 times of 100."""

from __future__ import annotations

import numpy as np
import pytest

from engines.trials.intervals import fewest_queries, paired, recall, wilson


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [  # Newcombe (1998), "Two-sided confidence intervals for the single proportion", table I, score method without correction
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_as_published(successes: int, trials: int, low: float, high: float) -> None:
    found = wilson(successes, trials)
    assert found.value == successes / trials
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 0.95, 0.97, 0.99, 0.999])
def test_the_fewest_queries_are_just_enough(share: float) -> None:
    def shown(queries: int) -> float:
        return recall(np.full(queries // 2, 10), np.full(queries // 2, 10)).low

    few = fewest_queries(share)
    assert shown(few) >= share
    assert few == 2 or shown(few - 2) < share


def test_recall_is_the_mean_over_queries() -> None:
    found = recall(np.array([10, 9, 0, 3]), np.array([10, 10, 10, 4]))
    assert found.value == pytest.approx((1 + 0.9 + 0 + 0.75) / 4)
    assert found.low < found.value < found.high


def test_queries_without_an_answer_do_not_count() -> None:
    assert recall(np.array([5, 0]), np.array([5, 0])).value == 1
    with pytest.raises(ValueError, match="no query"):
        recall(np.array([0]), np.array([0]))


def test_perfect_recall_is_not_certain() -> None:
    found = recall(np.full(20, 10), np.full(20, 10))
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(wilson(200, 200).low)


def test_equal_queries_give_equal_bounds() -> None:
    hits, widths = np.array([3, 7, 9, 10] * 50), np.full(200, 10)
    assert recall(hits, widths) == recall(hits[::-1], widths)


@pytest.mark.parametrize(("queries", "half"), [(20, 0.045), (500, 0.009)])
def test_how_wide_it_is(queries: int, half: float) -> None:
    """As measured on documentation: a standard deviation of 0.1 between queries leaves ±.045 of 20 queries, ±.009 of 500."""
    draw = np.random.default_rng(3)
    widths = []
    for _ in range(20):
        hits = np.clip(np.round(10 * draw.normal(0.9, 0.1, queries)), 0, 10).astype(np.int64)
        found = recall(hits, np.full(queries, 10))
        widths.append((found.high - found.low) / 2)
    assert np.mean(widths) == pytest.approx(half, rel=0.25)


def test_the_truth_is_inside() -> None:
    """Queries are good or bad as a whole: an interval of independent hits would be too narrow by half."""
    draw = np.random.default_rng(5)
    inside = 0
    for _ in range(300):
        share = np.where(draw.random(100) < 0.8, 0.95, 0.4)
        found = recall(draw.binomial(10, share), np.full(100, 10))
        inside += found.low <= 0.8 * 0.95 + 0.2 * 0.4 <= found.high
    assert inside >= 300 * 0.92


def test_paired_differences_are_surer_than_single_ones() -> None:
    draw = np.random.default_rng(7)
    theirs = draw.integers(2, 9, 300)
    ours = theirs + (draw.random(300) < 0.3)
    found = paired(ours, theirs, np.full(300, 10))
    assert found.value == pytest.approx(np.mean(ours - theirs) / 10)
    assert 0 < found.low < found.value < found.high
    assert found.low > 0.02
    with pytest.raises(ValueError, match="no query"):
        paired(np.array([0]), np.array([0]), np.array([0]))
