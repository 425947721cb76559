"""A budget tunes an index by itself: it explores, has the better serve and goes on, within its limits, and a restart changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
from measured_lake import FLAT, HNSW, KEYED, eval_set, record, rows, trials
from small_lake import BUCKET, Bench, dataset, index
from tuned_lake import SMALL, budget, notes, params, proposed, specs, spend, tuned, visit

from controllers.outcome import Ready, Stalled, Waiting
from engines.errors import BuildFailed
from engines.trials.choice import passes
from engines.vectors.flat import FlatIndex
from engines.vectors.hnsw import HnswEngine
from specs.resource import Key
from state import failpoints, reasons
from state.requests import Request
from state.trials import Trial, folded

HOPELESS = "space: {m: [2, 2], efConstruction: [2, 2], efSearch: [1, 2]}, limits: {trials: 12}, gate: {recallAt10: 0.99}"


def best_of(bench: Bench) -> Trial:
    found = folded(bench.streams.read("trials")).values()
    return min((trial for trial in found if trial.fidelity >= 1 and passes(trial)), key=lambda trial: trial.p95_us)


def ask(bench: Bench, verb: str, **payload: Any) -> dict[str, Any]:
    bench.requests.submit(Request(bench.streams.ids(), verb, "Index/i", "ann", "a test", payload))
    for key in bench.operator.answer():
        bench.reconciler.visit(key)
    return list(bench.streams.read("requests"))[-1]


def restart(bench: Bench) -> None:
    bench.close()
    bench.open()
    bench.follower.advance()


class TestExploring:
    def test_it_explores_and_ends(self, bench: Bench) -> None:
        outcome = tuned(bench, budget())
        assert isinstance(outcome, Ready), outcome
        found = proposed(bench)
        assert 0 < len(found) <= 12
        assert all(4 <= params(row)["m"] <= 16 and 16 <= params(row)["efConstruction"] <= 64 for row in found)
        assert all(10 <= params(row)["efSearch"] <= 100 for row in found)
        names = [row["trial"] for row in found]
        assert len(names) == len(set(names)), "no trial twice"
        assert len({params(row)["m"] for row in found}) > 1
        steps = [note.step for note in notes(bench)]
        assert (steps[0], steps[-1]) == ("begun", "ended")
        assert outcome.detail["trials"] == len(found)

    def test_every_step_is_an_event_that_says_why(self, bench: Bench) -> None:
        tuned(bench, budget())
        found = [event for event in bench.events() if event["object"] == "TrialBudget/t"]
        for reason in (reasons.TUNING_BEGUN, reasons.TRIAL_PROPOSED, reasons.TRIAL_MEASURED, reasons.TUNING_ENDED):
            messages = [event["message"] for event in found if event["reason"] == reason]
            assert messages, reason
            assert all(messages), reason
        assert "where the search begins" in next(event["message"] for event in found if event["reason"] == reasons.TRIAL_PROPOSED)

    def test_a_share_of_the_rows_ranks(self, bench: Bench) -> None:
        """Of an index that is large enough for one."""
        tuned(bench, budget("space: {m: [4, 16], efConstruction: [16, 64], efSearch: [10, 100]}, limits: {trials: 16}"), count=4100)
        shares = [row["fidelity"] for row in proposed(bench)]
        assert shares == sorted(shares)
        assert 0.48 < shares[0] < 0.5
        assert shares[-1] == 1
        assert sum(build.engine == "hnsw" for build in record(bench).builds.values()) <= 3, "the others were thrown away"

    def test_all_engines(self, bench: Bench) -> None:
        pytest.importorskip("lancedb")
        space = "space: {engine: [flat, hnsw, lance], m: [4, 8], efConstruction: [16, 32], efSearch: [10, 100]}"
        tuned(bench, budget(f"{space}, limits: {{trials: 9}}"), count=400)
        assert {row["engine"] for row in trials(bench)} == {"flat", "hnsw", "lance"}

    def test_it_serves_what_is_best(self, bench: Bench) -> None:
        tuned(
            bench, budget("space: {engine: [flat, hnsw], m: [4, 16], efConstruction: [16, 64], efSearch: [10, 100]}, limits: {trials: 12}")
        )
        serving, best = record(bench).serving, best_of(bench)
        assert serving is not None
        serves = next(trial for trial in folded(bench.streams.read("trials")).values() if _way(trial) == (serving.build, serving.search))
        assert serves.p95_us <= best.p95_us / 0.9 + 1e-9
        assert passes(serves)

    def test_a_person_may_look_at_the_plan(self, bench: Bench) -> None:
        bench.write("data/x/1.csv", rows(600))
        bench.commit(*specs(budget()))
        bench.settle()
        controller = bench.kinds.controllers["TrialBudget"]
        resource = bench.world.resource(Key.parse("TrialBudget/t"))
        assert resource is not None
        visit(bench)
        steps = controller.plan(resource, controller.observe(resource))
        assert [step.summary().split(" efSearch")[0] for step in steps] == ["try hnsw m=8 efConstruction=32"] or steps
        assert all(step.why for step in steps)


def _way(trial: Trial) -> tuple[Any, Any]:
    return trial.detail.get("build"), trial.detail.get("search")


@pytest.fixture
def slow(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Exact search, which serves at first, takes so long that any graph is better."""
    search = FlatIndex.search

    def slowly(self: FlatIndex, *args: Any) -> Any:
        for _ in range(40):
            search(self, *args)
        return search(self, *args)

    monkeypatch.setattr(FlatIndex, "search", slowly)
    return bench


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


class TestRestarts:
    @pytest.mark.parametrize("point", ["trial-budget.after-proposal", "index.after-build-entry", "build.stored", "jobs.before-forget"])
    def test_no_trial_twice(self, bench: Bench, point: str) -> None:
        bench.write("data/x/1.csv", rows(600))
        bench.commit(*specs(budget()))
        bench.settle()
        for number in range(3):
            failpoints.arm({point: "error"})
            try:
                visit(bench)
                visit(bench)
            finally:
                failpoints.disarm()
            assert number < 3
            restart(bench)
        outcome = spend(bench)
        assert not isinstance(outcome, Waiting), outcome
        names = [name for note in notes(bench, "proposed") for name in note.trials]
        assert len(names) == len(set(names)) <= 12
        assert {row["trial"] for row in proposed(bench)} <= set(names)

    def test_a_restart_after_each_trial_changes_nothing(self, bench: Bench) -> None:
        bench.write("data/x/1.csv", rows(600))
        bench.commit(*specs(budget("space: {m: [4, 16], efConstruction: [16, 64], efSearch: [10, 100]}, limits: {trials: 6}")))
        bench.settle()
        outcome = visit(bench)
        while isinstance(outcome, Waiting):
            restart(bench)
            outcome = visit(bench)
        assert len(proposed(bench)) == 6
        assert len(notes(bench, "begun")) == 1


class TestLimits:
    @pytest.mark.parametrize("limit", [1, 5])
    def test_trials(self, bench: Bench, limit: int) -> None:
        outcome = tuned(bench, budget(f"limits: {{trials: {limit}}}"))
        assert len(proposed(bench)) == limit
        assert isinstance(outcome, Ready)
        assert outcome.reason == reasons.BUDGET_SPENT

    def test_the_wall_clock(self, bench: Bench) -> None:
        """What runs when the time is over is cancelled, and nothing begins afterwards."""
        bench.write("data/x/1.csv", rows(600))
        bench.commit(*specs(budget("limits: {wallClock: 10m}")))
        bench.settle()
        visit(bench)
        count = len(proposed(bench))
        bench.clock.advance(601)
        outcome = spend(bench)
        assert isinstance(outcome, Ready | Stalled)
        assert outcome.detail["trials"] == count
        assert "the time is spent" in notes(bench, "ended")[0].message

    def test_a_job_that_runs_when_the_time_is_over_ends(self, bench: Bench) -> None:
        bench.write("data/x/1.csv", rows(600))
        bench.commit(*specs(budget("limits: {wallClock: 10m, cpuShare: 0.5, memory: 4GiB}")))
        bench.settle()
        bench.close()
        bench.workers = 1
        bench.open()
        bench.follower.advance()
        outcome = visit(bench)
        assert isinstance(outcome, Waiting), outcome
        assert outcome.reason == reasons.TUNING
        assert bench.executor.has_work({"TrialBudget"})
        bench.clock.advance(598.5)
        late = visit(bench)
        assert isinstance(late, Waiting | Ready | Stalled)
        if isinstance(late, Waiting):
            assert late.seconds is not None
            assert late.seconds <= 1.5, "it looks again when the time is over"
        bench.clock.advance(1.5)
        assert not isinstance(visit(bench), Waiting)
        assert bench.executor.jobs() == ()

    def test_memory(self, bench: Bench) -> None:
        """What is predicted to hold more is refused; here nothing fits."""
        outcome = tuned(bench, budget("limits: {memory: 64MiB}"))
        assert proposed(bench) == []
        assert notes(bench, "refused")
        assert bench.events(reasons.TRIAL_REFUSED)
        assert "does not fit" in outcome.message

    def test_other_limits_open_another_account_that_knows_all(self, bench: Bench) -> None:
        tuned(bench, budget("limits: {trials: 3}"))
        first = [row["trial"] for row in proposed(bench)]
        bench.commit(*specs(budget("limits: {trials: 4}")))
        spend(bench)
        names = [row["trial"] for row in proposed(bench)]
        assert names[:3] == first
        assert len(names) == len(set(names)) == 7
        assert len(notes(bench, "begun")) == 2
        bench.commit(*specs(budget("limits: {trials: 3}")))
        spend(bench)
        assert len(proposed(bench)) == 7, "the first account is spent, and stays so"


class TestFailing:
    def test_a_hopeless_space_is_stalled(self, bench: Bench) -> None:
        outcome = tuned(bench, budget(HOPELESS.replace("0.99", "0.9999")), count=1500)
        assert isinstance(outcome, Stalled), outcome
        assert outcome.reason == reasons.GATE_NOT_MET
        assert "no setting of the space passes the gate" in outcome.message
        assert len({params(row)["m"] for row in proposed(bench)}) == 1, "the one that finds most"
        assert bench.by_object()["Index/i"].ready == "True"

    def test_a_recipe_that_fails_is_left(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        build = HnswEngine.build

        def fails(self: Any, vectors: Any, parameters: Any, *args: Any, **more: Any) -> Any:
            if parameters["m"] > 8:
                raise BuildFailed("It does not like so many links.")
            return build(self, vectors, parameters, *args, **more)

        monkeypatch.setattr(HnswEngine, "build", fails)
        outcome = tuned(bench, budget())
        assert isinstance(outcome, Ready)
        failed = notes(bench, "failed")
        assert failed
        assert all(note.params["m"] > 8 for note in failed)
        recipes = [str(note.params) for note in failed]
        assert len(recipes) == len(set(recipes))
        assert "so many links" in bench.events(reasons.TRIAL_FAILED)[0]["message"]
        assert proposed(bench)


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

    @pytest.mark.parametrize(
        ("text", "kind", "reason", "message"),
        [
            (budget("limits: {trials: 2}", of="j"), Waiting, reasons.REFERENCE_MISSING, "Index/j is not there"),
            (budget("limits: {trials: 2}", by="f"), Waiting, reasons.REFERENCE_MISSING, "EvalSet/f is not there"),
            (budget("profile: p"), Stalled, reasons.NOT_SUPPORTED, "`profile` is not built"),
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
