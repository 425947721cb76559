"""What stands beside a budget: others of its index, what it refers to, rows that come, builds that it needs."""

from __future__ import annotations

import pytest
from measured_lake import FLAT, HNSW, KEYED, eval_set, record, rows, trials
from small_lake import BUCKET, Bench, dataset, index
from tuned_lake import SMALL, ask, budget, notes, proposed, specs, spend, tuned, visit

from controllers.outcome import Ready, Stalled, Waiting
from state import reasons


class TestStanding:
    def test_two_budgets_on_one_index(self, bench: Bench) -> None:
        bench.write("data/x/1.csv", rows(400))
        few = "limits: {trials: 2}"
        bench.commit(*specs(budget(few, "b"), budget(few, "a")))
        bench.settle()
        second = visit(bench, "b")
        assert isinstance(second, Stalled)
        assert (second.reason, second.blocked_by) == (reasons.TUNED_ALREADY, "TrialBudget/a")
        spend(bench, "a")
        assert {row["proposed_by"] for row in proposed(bench, "a")} == {"TrialBudget/a"}
        assert proposed(bench, "b") == []
        bench.commit(*specs(budget(few, "b")))
        spend(bench, "b")
        assert len(proposed(bench, "b")) == 2

    @pytest.mark.parametrize("first", ["profile: p", "limits: {trials: 2}"])
    def test_a_budget_that_can_do_nothing_is_in_nobodys_way(self, bench: Bench, first: str) -> None:
        """One asks for what is not built, or is suspended; the other is measured by what is not there."""
        few = "limits: {trials: 2}"
        bench.write("data/x/1.csv", rows(400))
        bench.commit(*specs(budget(few, "c"), budget(few, "b", by="f"), budget(first, "a")))
        bench.settle()
        if first == few:
            assert ask(bench, "suspend", "TrialBudget/a")["outcome"] == "done"
            assert visit(bench, "a").reason == reasons.SUSPENDED
        assert isinstance(spend(bench, "c"), Ready)
        assert len(proposed(bench, "c")) == 2
        if first == few:
            assert ask(bench, "resume", "TrialBudget/a")["outcome"] == "done"
            assert visit(bench, "c").blocked_by == "TrialBudget/a", "it began first"

    def test_a_budget_that_began_keeps_the_word(self, bench: Bench) -> None:
        few = "limits: {trials: 2}"
        tuned(bench, budget(few, "t"))
        both = (budget(few, "a"), budget(few, "t"))
        bench.commit(*specs(*both))
        assert visit(bench, "a").blocked_by == "TrialBudget/t"
        assert isinstance(visit(bench, "t"), Ready)
        bench.commit(*specs(budget(few, "a")))
        bench.settle()
        spend(bench, "a")
        bench.commit(*specs(*both))
        bench.settle()
        assert visit(bench, "t").blocked_by == "TrialBudget/a", "it was removed, and begins anew"

    @pytest.mark.parametrize(
        ("text", "kind", "reason", "message"),
        [
            (budget("limits: {trials: 2}", of="j"), Waiting, reasons.REFERENCE_MISSING, "Index/j is not there"),
            (budget("limits: {trials: 2}", by="f"), Waiting, reasons.REFERENCE_MISSING, "EvalSet/f is not there"),
            (budget("profile: p"), Waiting, reasons.REFERENCE_MISSING, "Profile/p is not there"),
        ],
    )
    def test_what_is_missing(self, bench: Bench, text: str, kind: type, reason: str, message: str) -> None:
        bench.write("data/x/1.csv", rows(300))
        bench.commit(*specs(text))
        bench.settle()
        outcome = visit(bench)
        assert isinstance(outcome, kind)
        assert outcome.reason == reason
        assert message in outcome.message

    def test_queries_that_cannot_show_the_gate(self, bench: Bench) -> None:
        bench.write("data/x/1.csv", rows(300))
        few = eval_set("e", "generate: {queries: 20, seed: 7}")
        gate = "gate: {recallAt10: 0.97}, limits: {trials: 2}"
        bench.commit(BUCKET, dataset("x", KEYED), index("i", "x"), FLAT, few, budget(gate))
        bench.settle()
        outcome = visit(bench)
        assert isinstance(outcome, Stalled)
        assert outcome.message == "EvalSet/e has 20 queries, which cannot show a recall of 0.97: 26 are needed"
        bench.commit(*specs(budget(gate)))
        bench.settle()
        assert not isinstance(visit(bench), Stalled)

    def test_an_eval_set_of_another_index(self, bench: Bench) -> None:
        bench.write("data/x/1.csv", rows(300))
        bench.commit(*specs(index("j", "x"), budget("limits: {trials: 2}", of="j")))
        bench.settle()
        outcome = visit(bench)
        assert isinstance(outcome, Stalled)
        assert "EvalSet/e measures Index/i, not Index/j" in outcome.message

    def test_answers_that_are_not_there_yet(self, bench: Bench) -> None:
        bench.commit(*specs(budget()))
        bench.settle()
        outcome = visit(bench)
        assert isinstance(outcome, Waiting)
        assert outcome.blocked_by == "EvalSet/e"

    def test_it_goes_and_what_it_chose_stays(self, bench: Bench) -> None:
        tuned(bench, budget("limits: {trials: 2}"))
        before = record(bench).serving
        bench.commit(*specs())
        bench.settle()
        assert record(bench).serving == before
        assert len(proposed(bench)) == 2, "what was measured is history"
        assert "TrialBudget/t" not in {name for name, state in bench.catalog.objects("TrialBudget").items() if not state.gone}


class TestAppending:
    """With `rebuildShare: 0`, any row is another corpus, and other answers."""

    SPEC = ", rebuildShare: 0"

    def append(self, bench: Bench) -> None:
        bench.write("data/x/2.csv", rows(100, 2, 1000))
        bench.settle()
        bench.settle()

    def test_one_trial_of_what_serves(self, bench: Bench) -> None:
        tuned(bench, budget("limits: {trials: 4}"), spec=self.SPEC)
        before = len(proposed(bench))
        self.append(bench)
        outcome = spend(bench)
        assert isinstance(outcome, Ready), outcome
        assert len(proposed(bench)) == before, "its eval set has measured what serves, and that passes"
        ended = notes(bench, "ended")
        assert len(ended) == 2
        assert ended[-1].message.startswith("what serves is above the gate with the present rows as well")
        assert ended[0].truth != ended[1].truth

    def test_below_the_gate_it_goes_on(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        tuned(bench, budget("limits: {trials: 4}, gate: {recallAt10: 0.5}"), spec=self.SPEC)
        before = len(proposed(bench))
        from controllers.trial_budget import sight

        monkeypatch.setattr(sight, "passes", lambda trial, gate: False)
        self.append(bench)
        spend(bench)
        assert len(proposed(bench)) > before

    def test_ignored(self, bench: Bench) -> None:
        tuned(bench, budget("limits: {trials: 4}, onAppend: ignore"), spec=self.SPEC)
        before = len(notes(bench))
        self.append(bench)
        outcome = spend(bench)
        assert isinstance(outcome, Ready)
        assert "onAppend: ignore" in outcome.message
        assert len(notes(bench)) == before

    def test_a_tail_is_no_matter(self, bench: Bench) -> None:
        tuned(bench, budget("limits: {trials: 4}"))
        before = notes(bench)
        bench.write("data/x/2.csv", "id,text\n1000,a lawyer\n")
        bench.settle()
        spend(bench)
        assert notes(bench) == before

    def test_what_was_chosen_is_built_over_the_rows_that_came(self, slow: Bench) -> None:
        bench = slow
        tuned(bench, budget("limits: {trials: 2}"), spec=self.SPEC)
        serving = record(bench).serving
        assert serving is not None
        assert serving.generation is not None
        assert serving.generation.startswith("t-")
        self.append(bench)
        bench.settle()
        after = record(bench).serving
        assert after is not None
        assert (after.generation, after.search) == (serving.generation, serving.search)
        assert record(bench).builds[after.build].count == 700


def test_builds_that_a_budget_needs_are_kept(bench: Bench) -> None:
    """`keep: 1`: what it tries and what it advises are not let go of meanwhile."""
    bench.write("data/x/1.csv", rows(400))
    bench.commit(
        BUCKET, dataset("x", KEYED), index("i", "x", more=", keep: 1"), FLAT, HNSW, eval_set("e"), budget(f"{SMALL}, promote: propose")
    )
    bench.settle()
    spend(bench)
    bench.settle()
    advised = notes(bench, "advised")
    if advised:
        assert advised[-1].detail["build"] in record(bench).builds
    names = [name for note in notes(bench, "proposed") for name in note.trials]
    assert len(names) == len(set(names))


class TestRecallOfSearches:
    """They find less than the gate, of what serves by the budget's own word."""

    def lower(self, bench: Bench, monkeypatch: pytest.MonkeyPatch, found: float) -> None:
        """For as long as the same serves."""
        before = record(bench).serving
        sight = bench.kinds.controllers["TrialBudget"]._sight
        monkeypatch.setattr(sight, "_lowered", lambda index: found if record(bench).serving == before else None)

    def test_the_budget_goes_on_with_a_stricter_gate(self, slow: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        small = "space: {m: [3, 3], efConstruction: [8, 8], efSearch: [10, 100]}, limits: {trials: 6}, gate: {recallAt10: 0.3}"
        tuned(slow, budget(small))
        before = record(slow).serving
        assert before is not None
        assert before.generation is not None
        assert before.generation.startswith("t-")
        self.lower(slow, monkeypatch, 0.29)
        outcome = spend(slow)
        slow.settle()
        begun = notes(slow, "begun")
        assert len(begun) == 2
        assert begun[1].message.startswith("searches find 0.290, and ")
        assert begun[1].detail["gate"] > 0.3
        (trial, *_) = (row for row in trials(slow) if row["trial"] == notes(slow, "chosen")[-1].detail["trial"])
        assert trial["recall_low"] >= begun[1].detail["gate"], "measured before, or since"
        after = record(slow).serving
        assert after is not None
        assert after != before
        assert not isinstance(outcome, Waiting)
        seen = len(notes(slow))
        spend(slow)
        assert len(notes(slow)) == seen, "once for each recipe that dropped"

    def test_a_drop_that_cannot_be_made_up_for_is_told(self, slow: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        tuned(slow, budget("limits: {trials: 3}"))
        before = record(slow).serving
        self.lower(slow, monkeypatch, 0.1)
        outcome = spend(slow)
        assert isinstance(outcome, Stalled)
        assert outcome.reason == reasons.GATE_NOT_MET
        assert record(slow).serving == before
