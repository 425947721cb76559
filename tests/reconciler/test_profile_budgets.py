"""A budget of a profile tunes what that has of the index for itself, by trials of its own, and leaves the index as it is."""

from __future__ import annotations

from measured_lake import KEYED, eval_set, rows
from small_lake import BUCKET, Bench, dataset, index
from test_profile_indexes import profile
from tuned_lake import budget, visit

from controllers.outcome import Outcome, Stalled, Waiting
from specs.resource import Key
from state import reasons

FEW = "space: {m: [16, 16], efConstruction: [100, 100], efSearch: [200, 300]}, limits: {trials: 4}, gate: {recallAt10: 0.8}, profile: p"
OWN = ", engine: {hnsw: {m: 2, efConstruction: 1, efSearch: 1}}"
"""Finds next to nothing."""


def commit(bench: Bench, *more: str) -> None:
    bench.commit(BUCKET, dataset("x", KEYED), index("i", "x"), eval_set("e"), budget(FEW), *more)
    bench.settle()


def spend(bench: Bench) -> Outcome:
    for _ in range(60):
        outcome = visit(bench)
        for name in ("Index/i", "EvalSet/e", "EvalSet/e@p", "Index/i@p", "IndexGeneration/i@p"):
            if Key.parse(name) in bench.world.objects:
                bench.reconciler.visit(Key.parse(name))
        if not isinstance(outcome, Waiting) or outcome.reason != reasons.TUNING:
            return outcome
    raise AssertionError("it goes on for ever")


def test_it_tries_and_promotes_the_profiles_own(bench: Bench) -> None:
    bench.write("data/x/1.csv", rows(300))
    commit(bench, profile("p", OWN))
    before = bench.catalog.index("i")
    spend(bench)
    own = bench.catalog.index("i@p")
    assert own is not None
    assert own.serving is not None
    tried = [row for row in bench.streams.read("trials") if row["proposed_by"] == "TrialBudget/t"]
    assert {(row["index"], row["eval_set"]) for row in tried} == {("i@p", "e@p")}
    assert own.choice is not None
    assert own.choice.by == "TrialBudget/t"
    assert bench.catalog.index("i") == before
    of_index = [row for row in bench.streams.read("trials") if row["index"] == "i"]
    assert {row["proposed_by"] for row in of_index} == {"recommended"}  # its own history, which no profile adds to


def test_without_builds_of_its_own_there_is_nothing_to_tune(bench: Bench) -> None:
    bench.write("data/x/1.csv", rows(60))
    commit(bench, profile("p"))
    outcome = visit(bench)
    assert isinstance(outcome, Stalled)
    assert "Profile/p has no builds of Index/i of its own" in outcome.message
    commit(bench)
    outcome = visit(bench)
    assert isinstance(outcome, Waiting)
    assert (outcome.reason, outcome.blocked_by) == (reasons.REFERENCE_MISSING, "Profile/p")


def test_it_holds_up_no_budget_of_the_index(bench: Bench) -> None:
    bench.write("data/x/1.csv", rows(60))
    whole = budget(FEW.replace(", profile: p", ""), "whole")
    commit(bench, profile("p", OWN), whole)
    for name in ("t", "whole"):
        outcome = visit(bench, name)
        assert outcome.reason != reasons.TUNED_ALREADY
