"""Lists become one by their ranks; near-copies give way; a share becomes the cosine that it stands for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.fusion import SAMPLED, diversified, fuse, unrelated_cosine

LISTS = st.lists(st.tuples(st.floats(0.1, 5), st.lists(st.integers(0, 9), unique=True, max_size=8)), min_size=1, max_size=3)


def test_what_is_in_both_lists_goes_first() -> None:
    found = fuse([(1.0, [1, 2, 3]), (1.0, [4, 2, 5])])
    assert [place for place, _ in found] == [2, 1, 4, 3, 5]
    assert found[0][1] == pytest.approx(61 / 62)


def test_weights_decide_between_the_lists() -> None:
    assert [place for place, _ in fuse([(0.5, [1]), (1.0, [2])])] == [2, 1]


@given(LISTS)
def test_every_candidate_is_there_once_with_a_score_up_to_1(lists: list[tuple[float, list[int]]]) -> None:
    found = fuse(lists)
    assert {place for place, _ in found} == {place for _, places in lists for place in places}
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 + 1e-9 for score in scores)
    first = {places[0] if places else None for _, places in lists}
    if len(first) == 1 and None not in first:
        assert found[0] == (first.pop(), pytest.approx(1))


class TestDiversity:
    vectors = np.array([[1, 0], [1, 0], [0, 1], [0.8, 0.6]], np.float32)
    scores = (0.9, 0.89, 0.5, 0.4)

    def test_a_copy_gives_way_to_what_is_unlike(self) -> None:
        assert diversified(self.scores, self.vectors, 3, 0.5) == [0, 2, 1]

    def test_none_keeps_the_order(self) -> None:
        assert diversified(self.scores, self.vectors, 4, 0.0) == [0, 1, 2, 3]

    def test_of_equal_scores_and_of_nothing(self) -> None:
        assert diversified((0.5, 0.5, 0.5), self.vectors[:3], 9, 0.3) == [0, 2, 1]
        assert diversified((), np.empty((0, 2), np.float32), 3, 0.5) == []


class TestUnrelated:
    def test_the_share_of_pairs_stays_under(self) -> None:
        vectors = np.random.default_rng(1).normal(size=(SAMPLED, 16)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        cosine = unrelated_cosine(vectors, 0.99)
        pairs = (vectors @ vectors.T)[np.triu_indices(SAMPLED, 1)]
        assert (pairs < cosine).mean() == pytest.approx(0.99, abs=1e-3)

    @pytest.mark.parametrize("count", [0, 1])
    def test_without_pairs_nothing_is_kept_away(self, count: int) -> None:
        assert unrelated_cosine(np.ones((count, 4), np.float32), 0.9) == -1
