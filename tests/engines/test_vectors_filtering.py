"""Which way a filtered search takes, by what the ways cost; and that none of them loses what is near."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from engines.vectors.engine import Ids, Vectors
from engines.vectors.filtering import Costs, Line, fetched_for, listed_if_few, measure, search_filtered
from engines.vectors.matrix import nearest

DEAR = Line(1e9, 0)
FREE = Line(0, 0)
FETCHING = Costs(gather=DEAR, scan=DEAR, fetch=Line(0, 1))
COMPARING = Costs(gather=FREE, scan=FREE, fetch=Line(0, 1))


def unit(rows: int, seed: int = 0) -> Vectors:
    vectors = np.random.default_rng(seed).standard_normal((rows, 16)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Index:
    """An exact one that knows no filter, and what it was asked for."""

    def __init__(self, vectors: Vectors) -> None:
        self.vectors = vectors
        self.asked: list[int] = []

    def fetch(self, query: Vectors, k: int) -> tuple[Ids, Vectors]:
        self.asked.append(k)
        return nearest(self.vectors, query, k)

    def find(self, query: Vectors, allowed: np.ndarray, costs: Costs, *, breadth: int = 10, k: int = 10) -> list[int]:
        ids, scores = search_filtered(self.vectors, query, k, allowed, fetch=self.fetch, costs=costs, breadth=breadth)
        assert scores.tolist() == [float(np.vecdot(self.vectors[at], query)) for at in ids]
        return [int(at) for at in ids]


@pytest.mark.parametrize("share", [0.01, 0.2, 0.9])
@pytest.mark.parametrize(("costs", "fetches"), [(FETCHING, True), (COMPARING, False)])
def test_the_cheaper_way_is_taken(costs: Costs, fetches: bool, share: float) -> None:
    index = Index(unit(5000))
    allowed = np.random.default_rng(1).random(5000) < share
    query = unit(1, seed=1)[0]
    assert index.find(query, allowed, costs, k=5) == nearest(index.vectors, query, 5, allowed)[0].tolist()
    assert bool(index.asked) is fetches


def test_a_filter_that_passes_all_is_none() -> None:
    index = Index(unit(100))
    index.find(unit(1)[0], np.ones(100, np.bool_), COMPARING)
    assert index.asked == [10]


@pytest.mark.parametrize("passing", [0, 1, 10])
def test_what_is_no_more_than_k_is_compared(passing: int) -> None:
    index = Index(unit(5000))
    allowed = np.arange(5000) < passing
    assert len(index.find(unit(1)[0], allowed, FETCHING)) == passing
    assert index.asked == []


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 4001, 50_000])
@pytest.mark.parametrize("share", [0, 0.001, 0.004, 0.02])
def test_what_few_pass_is_listed_as_numpy_has_it(size: int, share: float) -> None:
    allowed = np.random.default_rng(3).random(size) < share
    allowed[-1:] = True  # of a last word that is not whole
    for mask in (allowed, np.repeat(allowed, 2)[::2]):
        listed = listed_if_few(mask)
        assert listed is None or (listed.dtype, listed.tolist()) == (np.int64, np.flatnonzero(mask).tolist())
        assert listed is not None or size < 4001


def test_what_many_pass_is_not_listed() -> None:
    assert listed_if_few(np.arange(50_000) % 8 == 1) is None


def test_breadth_is_paid_for_whatever_is_fetched() -> None:
    index = Index(unit(5000))
    allowed = np.arange(5000) % 2 == 0
    costs = Costs(gather=Line(0, 1), scan=Line(100, 0), fetch=Line(0, 1))
    index.find(unit(1)[0], allowed, costs, breadth=99)
    assert index.asked == [fetched_for(10, 0.5)]
    index.find(unit(1)[0], allowed, costs, breadth=101)
    assert len(index.asked) == 1


def test_where_a_filter_passes_less_of_what_is_near_more_is_fetched() -> None:
    index = Index(unit(20_000))
    query = unit(1, seed=1)[0]
    order = np.argsort(-(index.vectors @ query))
    allowed = np.ones(20_000, np.bool_)
    allowed[order[:200]] = False
    assert index.find(query, allowed, FETCHING) == order[200:210].tolist()
    assert index.asked == [12, 229]  # none of twelve: so a twelfth may pass, at most


def test_where_a_filter_passes_nothing_near_all_is_compared() -> None:
    index = Index(unit(20_000))
    query = unit(1, seed=1)[0]
    order = np.argsort(-(index.vectors @ query))
    allowed = np.ones(20_000, np.bool_)
    allowed[order[:15_000]] = False
    assert index.find(query, allowed, FETCHING) == order[15_000:15_010].tolist()
    assert len(index.asked) <= 3


@pytest.mark.parametrize(("k", "share"), [(1, 0.5), (10, 0.1), (10, 0.9), (100, 0.3)])
def test_enough_is_fetched_of_a_filter_that_ignores_the_query(k: int, share: float) -> None:
    random = np.random.default_rng(7)
    short = sum((random.random(fetched_for(k, share)) < share).sum() < k for _ in range(2000))
    assert short <= 60


def ticking(*microseconds: float) -> Iterator[float]:
    now = 0.0
    for taken in microseconds:
        yield now
        now += taken / 1e6
        yield now


def test_costs_are_measured_by_the_shortest_of_each() -> None:
    gathered = [26, 27, 28, 410, 420, 430]  # 256, then 4096 rows: 0.1 microseconds each
    clock = ticking(*[10 * taken for taken in gathered], *gathered, 30, 31, 29, 70, 64, 80, 256, 300, 270)
    index = Index(unit(8192))
    costs = measure(index.vectors, index.fetch, breadth=10, clock=lambda: next(clock))
    assert costs.gather.at(256) == pytest.approx(26)
    assert costs.gather.each == pytest.approx(0.1)
    assert costs.scan.each == pytest.approx(29 / (8192 // 12))
    assert (costs.fetch.start, costs.fetch.each) == (pytest.approx(0), pytest.approx(1))
    assert index.asked == [64] * 3 + [256] * 3


def test_what_comes_from_the_disk_counts_as_it_comes() -> None:
    from_disk = [25_600, 25_600, 25_600, 409_600, 409_600, 409_600]
    clock = ticking(*from_disk, 26, 26, 26, 410, 410, 410, 1, 1, 1, 64, 64, 64, 256, 256, 256)
    index = Index(unit(8192))
    assert measure(index.vectors, index.fetch, breadth=10, clock=lambda: next(clock)).gather.each == pytest.approx(100)


def test_of_few_vectors_nothing_is_measured() -> None:
    index = Index(unit(100))
    assert measure(index.vectors, index.fetch, breadth=10, clock=lambda: 1 / 0).compare(50, 100) == 0
