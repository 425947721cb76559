"""Agreement of two rankings: known values, bounds and symmetry."""

from __future__ import annotations

from math import log2, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.rank_agreement import ndcg, overlap, rank_correlation, ranking

rankings = st.lists(st.sampled_from("abcdefgh"), unique=True)


def test_a_row_counts_by_its_best_hit() -> None:
    assert ranking(["b", "a", "b", "c", "a"]) == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("one", "other", "share", "tau"),
    [
        ("abcd", "abcd", 1.0, 1.0),
        ("abcd", "dcba", 1.0, -1.0),
        ("abcd", "abdc", 1.0, 4 / 6),  # 5 pairs agree, 1 does not
        ("ab", "ac", 0.5, 1 / 3),  # a before b and c; b before c, c before b
        ("ab", "cd", 0.0, -4 / 5),  # each pair across is reversed; those within one list are tied in the other
        ("abc", "ab", 2 / 3, 1.0),
        ("ab", "", 0.0, None),
        ("", "", None, None),
        ("a", "a", 1.0, None),
        ("a", "b", 0.0, -1.0),
    ],
)
def test_known_values(one: str, other: str, share: float | None, tau: float | None) -> None:
    assert overlap(list(one), list(other)) == share
    assert rank_correlation(list(one), list(other)) == (None if tau is None else pytest.approx(tau))


@given(rankings, rankings)
def test_it_is_tau_b_by_its_definition(one: list[str], other: list[str]) -> None:
    rows = sorted({*one, *other})
    pairs = [(a, b) for at, a in enumerate(rows) for b in rows[at + 1 :]]

    def sign(ranked: list[str], a: str, b: str) -> int:
        first, second = (ranked.index(row) if row in ranked else len(ranked) for row in (a, b))
        return (first > second) - (first < second)

    total = sum(sign(one, *pair) * sign(other, *pair) for pair in pairs)
    untied = [sum(sign(ranked, *pair) != 0 for pair in pairs) for ranked in (one, other)]
    expected = total / sqrt(untied[0] * untied[1]) if all(untied) else None
    found = rank_correlation(one, other)
    assert found == (None if expected is None else pytest.approx(expected))
    assert found == rank_correlation(other, one)
    share = overlap(one, other)
    assert share is None or 0 <= share <= 1


def test_gain_is_discounted_by_the_place() -> None:
    assert ndcg(["a", "b", "c"], {"a", "b"}, 3) == 1
    assert ndcg(["c", "a", "b"], {"a", "b"}, 3) == pytest.approx((1 / log2(3) + 1 / 2) / (1 + 1 / log2(3)))
    assert ndcg(["c", "a"], {"a"}, 1) == 0
    assert ndcg(["a"], {"a", "b", "c"}, 1) == 1, "no more than k can be found"
    assert ndcg([], {"a"}, 10) == 0


@given(rankings, st.sets(st.sampled_from("abcdefgh"), min_size=1), st.integers(1, 10))
def test_gain_is_a_share(ranked: list[str], relevant: set[str], k: int) -> None:
    assert 0 <= ndcg(ranked, relevant, k) <= 1 + 1e-12
