"""Which trial is best, which are on the front, and which may be compared at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engines.trials.choice import Word, best, front, newest_words, passes, sure_recall, words
from engines.trials.objective import LATENCY, weights_of
from state.trials import Trial


def trial(name: str, recall: float, p95: float, *, low: float | None = None, truth: str = "t", **more: Any) -> Trial:
    bound = recall - 0.01 if low is None else low
    halves = more.pop("halves", [{"recall": recall, "low": bound}, {"recall": recall, "low": bound}])
    values: dict[str, Any] = {"generation": None, "engine": "hnsw", "params": {}, "fidelity": 1.0, "eval_set": "e", "snapshot": "s"}
    values |= {"recall_at_1": recall, "p50_us": p95 / 2, "p99_us": p95 * 2, "qps": 1.0, "build_seconds": 1.0, "build_cpu_seconds": 1.0}
    values |= {"load_seconds": 0.1, "memory_bytes": 10, "disk_bytes": 20, "proposed_by": "spec"}
    detail = {"truth": truth, "halves": halves}
    return Trial(trial=name, index="i", recall_at_10=recall, recall_low=bound, p95_us=p95, detail=detail, **{**values, **more})


def alone(*trials: Trial) -> list[Word]:
    """Of one eval set."""
    return [Word((one,)) for one in trials]


def names(words: list[Word]) -> list[str]:
    return [one.weakest.trial for one in words]


FAST, GOOD, SLOW, BAD = trial("fast", 0.92, 50), trial("good", 0.97, 100), trial("slow", 0.96, 200), trial("bad", 0.6, 10)
ALL = alone(FAST, GOOD, SLOW, BAD)


@pytest.mark.parametrize(
    ("trials", "objective", "gate", "name"),
    [
        ([FAST, GOOD, SLOW, BAD], "latencyP95", 0.9, "fast"),
        ([FAST, GOOD, SLOW, BAD], "latencyP95", 0.95, "good"),
        ([FAST, GOOD, SLOW, BAD], "latencyP95", 0.99, None),
        ([trial("a", 0.95, 9, build_cpu_seconds=9.0), trial("b", 0.95, 10, build_cpu_seconds=2.0)], "buildSeconds", 0.9, "b"),
        ([trial("a", 0.95, 9, memory_bytes=9), trial("b", 0.95, 10, memory_bytes=2)], "memory", 0.9, "b"),
        ([trial("a", 0.95, 9, build_cpu_seconds=None), trial("b", 0.95, 10)], "buildSeconds", 0.9, "b"),
        ([trial("a", 0.95, 10, memory_bytes=30 << 20), trial("b", 0.95, 20, memory_bytes=10 << 20)], "latencyP95:1,memory:1", 0.9, "b"),
        ([trial("a", 0.95, 10, memory_bytes=30 << 20), trial("b", 0.95, 20, memory_bytes=10 << 20)], "latencyP95:3,memory", 0.9, "a"),
    ],
)
def test_the_cheapest_above_the_gate(trials: list[Trial], objective: Any, gate: float, name: str | None) -> None:
    found = best(alone(*trials), weights_of(objective), gate)
    assert (found and found.weakest.trial) == name


def searched(name: str, build: str, recall: float, p95: float, **search: int) -> Trial:
    found = trial(name, recall, p95, build_cpu_seconds=p95)
    return replace(found, detail={**found.detail, "build": build, "search": search})


@pytest.mark.parametrize(
    ("trials", "objective", "name"),
    [
        ([searched("narrow", "g", 0.95, 90, efSearch=40), searched("broad", "g", 0.97, 80, efSearch=60)], "latencyP95", "narrow"),
        ([searched("narrow", "g", 0.85, 90, efSearch=40), searched("broad", "g", 0.97, 80, efSearch=60)], "latencyP95", "broad"),
        ([searched("narrow", "g", 0.95, 90, efSearch=40), searched("broad", "h", 0.97, 80, efSearch=60)], "latencyP95", "broad"),
        ([searched("few", "g", 0.95, 90, nprobes=9, ef=9), searched("more", "g", 0.95, 80, nprobes=9, ef=10)], "latencyP95", "few"),
        ([searched("one", "g", 0.95, 90, nprobes=9, ef=9), searched("other", "g", 0.95, 80, nprobes=8, ef=10)], "latencyP95", "other"),
        ([searched("narrow", "g", 0.95, 90, efSearch=40), searched("broad", "g", 0.97, 80, efSearch=60)], "buildSeconds", "broad"),
    ],
)
def test_of_one_build_the_narrowest_that_passes_whatever_the_clock_said(trials: list[Trial], objective: str, name: str) -> None:
    for order in (trials, trials[::-1]):
        found = best(alone(*order), weights_of(objective), 0.89)
        assert found is not None
        assert found.weakest.trial == name


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
    assert names(front(alone(trial("a", 0.9, 5), trial("b", 0.9, 5), trial("c", 0.9, 6)))) == ["a"]


def by(eval_set: str, build: str, recall: float, p95: float, **more: Any) -> Trial:
    made = trial(f"{build} {eval_set}", recall, p95, eval_set=eval_set, truth=eval_set, **more)
    return replace(made, detail={**made.detail, "build": build, "search": {}})


def test_of_several_eval_sets_the_worst_counts_and_all_have_to_speak() -> None:
    fast, good = (by("e", "fast", 0.97, 50), by("f", "fast", 0.85, 40)), (by("e", "good", 0.96, 100), by("f", "good", 0.98, 120))
    said = words([*fast, *good, by("e", "half", 0.99, 1), by("f", "share", 0.99, 1, fidelity=0.1)], {"e", "f"})
    assert [word.trials for word in said] == [fast, good]
    assert [(word.weakest.trial, word.recall_at_10, word.cost(LATENCY)) for word in said] == [
        ("fast f", 0.85, 50),
        ("good e", 0.96, 120),
    ]
    assert best(said) == Word(good)
    assert names(front(said)) == ["fast f", "good e"]
    assert words([*fast, *good], set()) == []
    assert Word((by("e", "b", 0.99, 1), by("f", "b", 0.99, 1, build_cpu_seconds=None))).cost({"buildSeconds": 1}) == float("inf")


def test_what_compares() -> None:
    old, share = trial("old", 0.99, 1, truth="u"), trial("share", 0.99, 1, fidelity=0.1)
    other = trial("other", 0.9, 1, truth="v", eval_set="f")
    assert names(newest_words([old, FAST, share, GOOD, other], ["e"])) == ["fast", "good"]
    assert names(newest_words([FAST, GOOD, other], ["f"])) == ["other"]
    assert newest_words([FAST, GOOD, other], ["e", "f"]) == [], "nothing was measured by both"
    assert names(newest_words([FAST, GOOD], ["e", "f"])) == ["fast", "good"], "f has measured nothing yet"
    assert newest_words([share], ["e"]) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latency", "none of latencyP95, buildSeconds, memory; did you mean `latencyP95`"),
        ("memory:0", "`0` is no weight"),
        ("memory:x", "`x` is no weight"),
        ("memory:nan", "`nan` is no weight"),
        ("memory,memory:2", "`memory` has two weights"),
        ("", "`` is none of"),
    ],
)
def test_an_objective_that_is_none(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        weights_of(text)
