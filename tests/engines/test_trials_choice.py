"""Which trial is best, which are on the front, and which may be compared at all."""

from __future__ import annotations

from typing import Any

import pytest

from engines.trials.choice import best, comparable, front, passes, sure_recall
from state.trials import Trial


def trial(name: str, recall: float, p95: float, *, low: float | None = None, truth: str = "t", **more: Any) -> Trial:
    bound = recall - 0.01 if low is None else low
    halves = more.pop("halves", [{"recall": recall, "low": bound}, {"recall": recall, "low": bound}])
    values: dict[str, Any] = {"generation": None, "engine": "hnsw", "params": {}, "fidelity": 1.0, "eval_set": "e", "snapshot": "s"}
    values |= {"recall_at_1": recall, "p50_us": p95 / 2, "p99_us": p95 * 2, "qps": 1.0, "build_seconds": 1.0, "build_cpu_seconds": 1.0}
    values |= {"load_seconds": 0.1, "memory_bytes": 10, "disk_bytes": 20, "proposed_by": "spec"}
    detail = {"truth": truth, "halves": halves}
    return Trial(trial=name, index="i", recall_at_10=recall, recall_low=bound, p95_us=p95, detail=detail, **{**values, **more})


def names(trials: list[Trial]) -> list[str]:
    return [one.trial for one in trials]


FAST, GOOD, SLOW, BAD = trial("fast", 0.92, 50), trial("good", 0.97, 100), trial("slow", 0.96, 200), trial("bad", 0.6, 10)
ALL = [FAST, GOOD, SLOW, BAD]


def test_the_cheapest_above_the_gate() -> None:
    assert best(ALL) == FAST
    assert best(ALL, gate=0.95) == GOOD
    assert best(ALL, gate=0.99) is None
    assert best([trial("a", 0.95, 9, build_cpu_seconds=9.0), trial("b", 0.95, 10, build_cpu_seconds=2.0)], "buildSeconds") == trial(
        "b", 0.95, 10, build_cpu_seconds=2.0
    )
    assert best([trial("a", 0.95, 9, memory_bytes=9), trial("b", 0.95, 10, memory_bytes=2)], "memory").trial == "b"  # type: ignore[union-attr]
    assert best([trial("a", 0.95, 9, build_cpu_seconds=None), trial("b", 0.95, 10)], "buildSeconds").trial == "b"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("halves", "sure"),
    [
        ([{"recall": 1, "low": 0.98}, {"recall": 0.9, "low": 0.85}], 0.85),
        ([{"recall": 1, "low": 0.98}, None], 0.0),
        ([], 0.94),
    ],
)
def test_both_halves_stand_for_it(halves: list[Any], sure: float) -> None:
    lucky = trial("lucky", 0.95, 1, halves=halves)
    assert sure_recall(lucky.recall_low, lucky.detail) == pytest.approx(sure)
    assert passes(lucky) == (sure >= 0.9)


def test_the_front_is_what_nobody_beats() -> None:
    assert names(front(ALL)) == ["bad", "fast", "good"]
    assert front([]) == []
    assert names(front([trial("a", 0.9, 5), trial("b", 0.9, 5), trial("c", 0.9, 6)])) == ["a"]


def test_what_compares() -> None:
    old, share = trial("old", 0.99, 1, truth="u"), trial("share", 0.99, 1, fidelity=0.1)
    other = trial("other", 0.9, 1, truth="v", eval_set="f")
    assert names(comparable([old, FAST, share, GOOD])) == ["fast", "good"]
    assert names(comparable([FAST, GOOD, other])) == ["other"]
    assert names(comparable([FAST, GOOD, other], "e")) == ["fast", "good"]
    assert comparable([share]) == []
