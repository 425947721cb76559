"""What a budget found serves, or is proposed: moved once, by its word, and kept."""

from __future__ import annotations

import pytest
from measured_lake import record, rows, trials
from small_lake import Bench
from tuned_lake import SMALL, ask, budget, notes, proposed, restart, specs, spend, tuned, visit

from controllers.outcome import Ready
from state import failpoints, reasons


class TestPromoting:
    def test_the_better_serves_and_the_search_goes_on(self, slow: Bench) -> None:
        tuned(slow, budget())
        serving, choice = record(slow).serving, record(slow).choice
        assert serving is not None
        assert choice is not None
        assert serving.generation is not None
        assert serving.generation.startswith("t-")
        assert (choice.by, choice.generation) == ("TrialBudget/t", serving.generation)
        steps = [note.step for note in notes(slow)]
        assert "proposed" in steps[steps.index("chosen") :], "it went on afterwards"
        status = slow.by_object()["Index/i"]
        assert status.ready == "True"
        assert f"{serving.generation} serves" in status.message
        assert "chosen by TrialBudget/t" in status.message
        assert any(row["promoted"] and row["generation"] == serving.generation for row in trials(slow))
        (promoted, *_) = [event for event in slow.events(reasons.PROMOTED) if "TrialBudget/t" in event["message"]]
        assert promoted["object"] == "Index/i"

    def test_it_stays_when_all_is_settled_and_after_a_restart(self, slow: Bench) -> None:
        tuned(slow, budget())
        before = record(slow).serving
        for _ in range(2):
            slow.settle()
            restart(slow)
        slow.settle()
        assert record(slow).serving == before

    def test_a_rollback_is_a_persons_word(self, slow: Bench) -> None:
        tuned(slow, budget())
        chosen = record(slow).serving
        assert chosen is not None
        former = record(slow).previous
        assert ask(slow, "rollback")["outcome"] == "done"
        slow.settle()
        spend(slow)
        assert record(slow).serving == former
        assert record(slow).choice is not None
        assert ask(slow, "promote", generation=chosen.generation)["outcome"] == "done"
        slow.settle()
        serving = record(slow).serving
        assert serving is not None
        assert serving.generation == chosen.generation

    def test_propose_leaves_it_to_a_person(self, slow: Bench) -> None:
        outcome = tuned(slow, budget(f"{SMALL}, promote: propose"))
        serving = record(slow).serving
        assert serving is not None
        assert serving.generation == "exact"
        assert isinstance(outcome, Ready)
        advised = notes(slow, "advised")
        assert advised
        assert f"`lakectl promote i {advised[-1].name}`" in outcome.message
        assert slow.events(reasons.PROMOTION_PROPOSED)
        said = ask(slow, "promote", generation=advised[-1].name)
        assert said["outcome"] == "done", said
        slow.settle()
        serving = record(slow).serving
        assert serving is not None
        assert (serving.generation, serving.search) == (advised[-1].name, advised[-1].searches[0])
        count = len(notes(slow))
        spend(slow)
        assert len(notes(slow)) == count, "what was said is not said again"

    def test_what_the_spec_says_goes_first(self, slow: Bench) -> None:
        outcome = tuned(slow, budget(), spec=", serve: {generation: exact}")
        serving = record(slow).serving
        assert serving is not None
        assert serving.generation == "exact"
        assert "the spec of Index/i says what serves" in outcome.message

    def test_nothing_that_fails_the_gate_serves(self, slow: Bench) -> None:
        outcome = tuned(
            slow, budget("space: {m: [2, 2], efConstruction: [2, 2], efSearch: [1, 2]}, limits: {trials: 12}, gate: {recallAt10: 0.9}")
        )
        serving = record(slow).serving
        assert serving is not None
        assert serving.generation == "exact"
        assert isinstance(outcome, Ready), "exact search passes"
        assert notes(slow, "chosen") == []

    @pytest.mark.parametrize("point", ["trial-budget.after-choice", "index.before-serve", "index.after-serve"])
    def test_a_promotion_that_breaks_off_is_gone_on_with(self, slow: Bench, point: str) -> None:
        slow.write("data/x/1.csv", rows(600))
        slow.commit(*specs(budget()))
        slow.settle()
        failpoints.arm({point: "error"})
        try:
            for _ in range(30):
                visit(slow)
        finally:
            failpoints.disarm()
        restart(slow)
        slow.settle()
        spend(slow)
        slow.settle()
        serving = record(slow).serving
        assert serving is not None
        assert serving.generation is not None
        assert serving.generation.startswith("t-")


def test_a_recipe_whose_build_was_let_go_of_is_built_again(slow: Bench) -> None:
    """It was proposed; its budget went, and with it the hold on the build; then the budget came back with a word of its own."""
    spec = ", keep: 1"
    tuned(slow, budget(f"{SMALL}, promote: propose"), spec=spec)
    advised = notes(slow, "advised")[-1]
    assert advised.detail["build"] in record(slow).builds
    slow.commit(*specs(spec=spec))
    slow.settle()
    slow.settle()
    assert notes(slow)[-1].step == "removed"
    assert advised.detail["build"] not in record(slow).builds
    count = len(proposed(slow))
    slow.commit(*specs(budget(SMALL), spec=spec))
    spend(slow)
    slow.settle()
    serving = record(slow).serving
    assert serving is not None
    assert (serving.build, serving.generation) == (advised.detail["build"], advised.name)
    assert len(proposed(slow)) == count, "it was measured already"
