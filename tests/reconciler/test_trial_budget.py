"""A budget tunes an index by itself: it explores, has the better serve and goes on, within its limits, and a restart changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
from harness_tuning import World
from measured_lake import FLAT, record, rows, trials
from small_lake import Bench, generation
from tuned_lake import budget, notes, params, proposed, restart, specs, spend, tuned, visit

from controllers.outcome import Ready, Stalled, Waiting
from engines.errors import BuildFailed
from engines.trials.choice import passes
from engines.tuning.prediction import Predictor, Size
from engines.tuning.space import Graph
from engines.vectors.hnsw import HnswEngine
from specs.resource import Key
from state import failpoints, reasons
from state.trials import Trial, TrialBook, folded

HOPELESS = "space: {m: [2, 2], efConstruction: [2, 2], efSearch: [1, 2]}, limits: {trials: 12}, gate: {recallAt10: 0.98}"

GRAPH = Graph("hnsw", 16, 80)


def best_of(bench: Bench) -> Trial:
    found = folded(bench.streams.read("trials")).values()
    return min((trial for trial in found if trial.fidelity >= 1 and passes(trial)), key=lambda trial: trial.p95_us)


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

    def test_what_was_measured_by_another_eval_set_is_known(self, bench: Bench) -> None:
        """Here that a graph took a hundred times the memory that it should."""
        peak = 100 * Predictor([], Size(600, 256)).memory(GRAPH)
        known = World(600).trial(GRAPH, 40, 1.0, truth="other", eval_set="other", proposed_by="ann", detail={"peak_bytes": peak})
        TrialBook(bench.streams).add([known])
        outcome = tuned(bench, budget("limits: {memory: 2GiB}"))
        assert proposed(bench) == []
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
        poor = generation("poor", "i", "hnsw: {m: 2, efConstruction: 2, efSearch: 2}")
        bench.write("data/x/1.csv", rows(1500))
        bench.commit(*(poor if spec == FLAT else spec for spec in specs(budget(HOPELESS))))
        bench.settle()
        outcome = spend(bench)
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
