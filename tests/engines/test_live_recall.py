"""Searches are judged after they were answered: one at a time, by what serves, within a bound, and told when it matters."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from engines import live_recall
from engines.live_recall import AT, LEAST, REST, WINDOW, LiveRecall, Sample, below, judge
from engines.serving import Serving
from engines.trials.intervals import Interval, recall
from engines.vectors.engine import Ids, Mask, Vectors
from engines.vectors.matrix import nearest
from state.catalog.indexes import ServingManifest

SIZE, DIMENSION = 400, 16


def unit(rows: int, seed: int = 0) -> Vectors:
    vectors = np.random.default_rng(seed).standard_normal((rows, DIMENSION)).astype(np.float32)
    return cast(Vectors, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


@dataclass
class Tail:
    """Compared one by one; can be held up, and can fail."""

    vectors: Vectors
    error: Exception | None = None
    gate: threading.Event = field(default_factory=threading.Event)

    def search(self, query: Vectors, k: int, keys: object = None) -> tuple[Ids, Vectors]:
        assert self.gate.wait(30)
        if self.error is not None:
            raise self.error
        return nearest(self.vectors, query, k)


def tail(vectors: Vectors) -> Tail:
    made = Tail(vectors)
    made.gate.set()
    return made


def serving(manifest: ServingManifest, engine: str = "hnsw") -> Serving:
    build = SimpleNamespace(engine=engine)
    return cast(Serving, SimpleNamespace(manifest=manifest, model_name="builtin", build=build, stands_in=engine == "none"))


@dataclass
class World:
    """An index that is searched, misses as many of the best as it is to, and what is heard of it."""

    misses: int = 0
    now: float = 0.0
    gate: float = 0.9
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.matrix = unit(SIZE)
        self.tail = tail(unit(0))
        self.manifest: ServingManifest | None = ServingManifest("b1", "g", {"efSearch": 10})
        self.recall = LiveRecall(1.0, lambda name: self.manifest, lambda name: self.gate, draw=lambda: 0.5, clock=lambda: self.now)
        self.recall.told = self.told.append

    @property
    def serving(self) -> Serving:
        assert self.manifest is not None
        return serving(self.manifest)

    def sample(self, seed: int = 1, k: int = AT, allowed: Mask | None = None, tail: Tail | None = None) -> Sample:
        assert self.manifest is not None
        query = unit(1, seed)[0]
        ids = nearest(self.matrix, query, k + self.misses, allowed)[0][self.misses :]
        beside: Any = tail or self.tail
        return Sample("i", self.manifest, "builtin", ids, k, query, self.matrix, (), beside, allowed, None)

    def search(self, times: int = 1) -> None:
        """Searches that are judged, one after the other."""
        for seed in range(times):
            self.now += 1e6
            self.recall.offer(self.sample(seed))
            self.settle()

    def settle(self) -> None:
        """All that was offered is judged: the one thread does what it is given in order."""
        self.recall._thread.submit(lambda: None).result(30)


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.tail.gate.set()
    made.recall.close()


@pytest.mark.parametrize(
    ("misses", "k", "expected"), [(0, 10, (10, 10)), (3, 10, (7, 10)), (1, 1, (0, 1)), (2, 100, (8, 10)), (0, 4, (4, 4))]
)
def test_hits_are_counted_among_the_best_ten(misses: int, k: int, expected: tuple[int, int]) -> None:
    assert judge(World(misses).sample(k=k)) == expected


def test_the_tail_is_searched_beside_the_build_in_both() -> None:
    world = World(misses=2)
    query = unit(1, 1)[0]
    assert judge(world.sample(tail=tail(np.tile(query, (4, 1))))) == (8, 10)
    assert judge(world.sample(tail=tail(np.tile(query, (10, 1))))) == (10, 10)


def test_only_what_is_allowed_counts() -> None:
    world = World(misses=1)
    few = np.zeros(SIZE, np.bool_)
    few[:3] = True
    assert judge(world.sample(allowed=few)) == (2, 3)
    assert judge(world.sample(allowed=np.zeros(SIZE, np.bool_))) == (0, 0)


@pytest.mark.parametrize(
    ("estimate", "was", "expected"),
    [
        (Interval(0.88, 0.86, 0.91), False, False),
        (Interval(0.88, 0.86, 0.89), False, True),
        (Interval(0.89, 0.87, 0.91), True, True),
        (Interval(0.90, 0.88, 0.92), True, False),
    ],
)
def test_it_takes_more_to_fall_below_the_gate_than_to_stay(estimate: Interval, was: bool, expected: bool) -> None:
    assert below(estimate, 0.9, was=was) is expected


def test_nothing_is_told_of_a_few_and_then_what_is_known(world: World) -> None:
    world.search(LEAST - 1)
    assert (world.recall.of("i"), world.told) == (None, [])
    world.search()
    live = world.recall.of("i")
    assert live is not None
    assert live.estimate is not None
    assert (live.estimate.value, live.samples, live.below, world.told) == (1.0, LEAST, False, ["i"])
    world.search(20)
    assert world.told == ["i"], "the same again is no news"
    assert world.recall.figures()[1] == {("i", "builtin", "judged"): LEAST + 20}


def test_a_drop_is_told_and_so_is_its_end(world: World) -> None:
    world.search(LEAST)
    world.misses = 5
    world.search(LEAST)
    live = world.recall.of("i")
    assert live is not None
    assert live.below
    world.misses = 0
    world.search(WINDOW)
    live = world.recall.of("i")
    assert live is not None
    assert not live.below
    assert live.estimate is not None
    assert live.estimate.value == pytest.approx(1, abs=0.011)


def test_another_gate_is_judged_by_the_next_search(world: World) -> None:
    world.misses = 1
    world.search(LEAST)
    live = world.recall.of("i")
    assert live is not None
    assert not live.below
    world.gate = 0.97
    world.search()
    live = world.recall.of("i")
    assert live is not None
    assert (live.gate, live.below) == (0.97, True)


def test_another_build_begins_anew_and_ends_what_was_said_of_the_one_before(world: World) -> None:
    world.misses = 5
    world.search(LEAST)
    live = world.recall.of("i")
    assert live is not None
    assert live.below
    world.manifest = ServingManifest("b2", "g2", {"efSearch": 10})
    world.search()
    live = world.recall.of("i")
    assert live is not None
    assert (live.estimate, live.below, world.told) == (None, False, ["i", "i"])
    assert world.recall.figures()[0] == {}


def test_a_search_of_what_serves_no_more_says_nothing(world: World) -> None:
    world.tail.gate.clear()
    world.recall.offer(world.sample())
    world.manifest = ServingManifest("b2", "g2")
    world.tail.gate.set()
    world.settle()
    assert world.recall.figures()[1] == {("i", "builtin", "dropped"): 1}
    world.manifest = None
    assert world.recall.figures() == ({}, {}), "of an index that is gone nothing is told"


def test_one_at_a_time_and_a_rest_after_it(world: World) -> None:
    sample = world.sample()
    assert world.recall.wants("i", world.serving)
    world.tail.gate.clear()
    world.recall.offer(sample)
    assert not world.recall.wants("i", world.serving)
    world.recall.offer(sample)
    world.now += 2
    world.tail.gate.set()
    world.settle()
    assert world.recall.figures()[1] == {("i", "builtin", "judged"): 1, ("i", "builtin", "dropped"): 2}
    assert not world.recall.wants("i", world.serving)
    world.now += 2 * REST
    assert world.recall.wants("i", world.serving)


def test_what_nobody_foresaw_is_logged_and_the_next_search_is_judged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.tail.error = ZeroDivisionError("by what?")
    world.recall.offer(world.sample())
    world.settle()
    assert [(record.levelname, record.message) for record in caplog.records] == [("ERROR", "A search of Index i could not be judged.")]
    assert "by what?" in caplog.text
    world.tail.error = None
    world.search()
    assert world.recall.figures()[1] == {("i", "builtin", "judged"): 1}


@pytest.mark.parametrize("now", [ServingManifest("b2", "g2"), ServingManifest("b1", "g", {"efSearch": 200}), None])
def test_what_was_measured_says_nothing_of_what_serves_now_and_something_again_of_what_it_was_measured_on(
    world: World, now: ServingManifest | None
) -> None:
    world.misses = 5
    world.search(LEAST)
    measured, before = world.recall.of("i"), world.manifest
    assert measured is not None
    assert measured.below
    world.manifest = now  # and nobody searches: an exact engine is never judged
    live = world.recall.of("i")
    assert live is not None
    assert (live.estimate, live.below) == (None, False)
    assert world.recall.figures()[0] == {}
    world.manifest = before
    assert world.recall.of("i") == measured


def test_a_search_by_another_model_or_by_what_served_before_is_none_of_the_share(world: World) -> None:
    assert world.recall.wants("i", world.serving)
    assert not world.recall.wants("i", serving(ServingManifest("b2", "g2")))
    assert world.recall.figures() == ({}, {})


def test_all_that_judging_takes_is_rested_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*counts: Any) -> Interval:
        world.now += 3
        return recall(*counts)

    monkeypatch.setattr(live_recall, "recall", slow)
    world.search(LEAST)
    assert not world.recall.wants("i", world.serving)
    world.now += 3 * REST - 1
    assert not world.recall.wants("i", world.serving)
    world.now += 1
    assert world.recall.wants("i", world.serving)


def test_the_end_waits_no_longer_than_a_bound(world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(live_recall, "CLOSE", 0.01)
    world.tail.gate.clear()
    world.recall.offer(world.sample())
    world.recall.close()
    assert "still being judged" in caplog.text


@pytest.mark.parametrize(
    ("share", "drawn", "engine", "expected"),
    [(0.01, 0.009, "hnsw", True), (0.01, 0.01, "hnsw", False), (0, 0, "hnsw", False), (1, 0.5, "flat", False), (1, 0.5, "none", False)],
)
def test_a_share_of_searches_by_approximate_engines_is_wanted(share: float, drawn: float, engine: str, expected: bool) -> None:
    manifest = ServingManifest("b", None)
    judges = LiveRecall(share, lambda name: manifest, lambda name: 0.9, draw=lambda: drawn, clock=lambda: 0.0)
    assert judges.wants("i", serving(manifest, engine)) is expected
    judges.close()


def test_after_the_end_nothing_is_judged(world: World) -> None:
    world.recall.close()
    world.recall.offer(world.sample())
    assert world.recall.figures()[1] == {}
