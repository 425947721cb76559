"""Notifications of buckets: whom they concern, and that a storm of them makes few looks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from small_lake import Bench, dataset
from test_bucket_sources import LOCAL, items

from reconciler.bucket_watch import GAP, BucketWatch
from specs.resource import Key
from state.places import BucketConfig


class Watch:
    """A watch whose seconds the test counts."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.now = 0.0
        self.looks: Counter[str] = Counter()
        self.timers: list[tuple[float, Callable[[Key], None], Key]] = []
        self.watch = BucketWatch(bench.world, bench.buckets, lambda key: self.looks.update([key.name]), self.later)

    def later(self, seconds: float, call: Callable[[Key], None], key: Key) -> None:
        self.timers.append((self.now + seconds, call, key))

    def pass_(self, seconds: float) -> None:
        self.now += seconds
        due, self.timers = [one for one in self.timers if one[0] <= self.now], [one for one in self.timers if one[0] > self.now]
        for _, call, key in due:
            call(key)


@pytest.fixture
def watch(bench: Bench) -> Watch:
    return Watch(bench)


def test_whom_it_concerns(watch: Watch) -> None:
    others = items(source="bucket: other, prefix: incoming/", name="others")
    unwatched = items(", refresh: {watch: false}", name="unwatched")
    watch.bench.commit(LOCAL, items(), items(source="bucket: landing", name="all"), others, unwatched, dataset("files"))
    told = watch.watch.notified
    assert told("landing", {"incoming/a.csv", "elsewhere/b.csv"}) == ["all", "items"]
    assert told("landing", {"elsewhere/b.csv"}) == ["all"]
    assert told("landing", None) == ["all", "items"], "who reads there, and watches"
    assert told("other", None) == ["others"]
    assert (told("landing", set()), told("nowhere", None)) == ([], [])
    watch.bench.commit(LOCAL, items(source="bucket: landing, prefix: moved/"))
    assert (told("landing", {"incoming/a.csv"}), told("landing", {"moved/a.csv"})) == ([], ["items"])


def test_keys_begin_with_the_prefix_of_the_bucket(watch: Watch, tmp_path: Path) -> None:
    watch.bench.buckets.attach(BucketConfig("landing", "local", str(tmp_path / "landing"), prefix="team/a"))
    watch.bench.commit(LOCAL, items())
    assert watch.watch.notified("landing", {"team/a/incoming/x.csv"}) == ["items"]
    assert watch.watch.notified("landing", {"incoming/x.csv", "team/b/incoming/x.csv"}) == []


def test_a_storm_is_few_looks_and_its_last_one_is_not_lost(watch: Watch) -> None:
    watch.bench.commit(LOCAL, items())
    for _ in range(1000):
        watch.watch.notified("landing", {"incoming/a.csv"})
    assert watch.looks == {"items": 1}, "the first at once"
    watch.pass_(GAP)
    assert watch.looks == {"items": 2}, "the others together"
    watch.pass_(GAP)
    watch.pass_(GAP)
    assert (watch.looks, watch.timers) == ({"items": 2}, []), "and then it is quiet"
    watch.watch.notified("landing", None)
    assert watch.looks == {"items": 3}
