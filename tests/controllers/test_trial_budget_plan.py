"""What a budget does next, from what it sees alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controllers.outcome import Ready, Stalled, Waiting
from controllers.trial_budget.plan import Begin, Better, End, Measure, Observed, Refuse, Settle, Spent, conclude, plan, recipe
from controllers.trial_budget.sight import _incumbent
from engines.tuning.facts import Decision, Done, Refused, Try
from engines.tuning.space import Graph
from specs.parse import parse_file
from state import reasons
from state.catalog.indexes import Build, Choice, Corpus, IndexRecord, ServingManifest
from state.objects import ObjectRef
from state.trials import Trial
from state.tuning import Account, Note

TEXT = b"apiVersion: lakehouse/v1\nkind: TrialBudget\nmetadata: {name: b}\nspec: {index: i, evalSet: e}\n"
RESOURCE = parse_file("a.yaml", TEXT).resources[0]
ACCOUNT = Account("TrialBudget/b", "s", "t")
GRAPH = Graph("hnsw", 16, 80)
TRY = Try("hnsw", GRAPH.parameters, ({"efSearch": 40},), 1.0, "it looks good")


def note(step: Any, message: str = "since", **more: Any) -> Note:
    return Note(ACCOUNT.budget, "i", ACCOUNT.spec, ACCOUNT.truth, step, message, **more)


def trial(**more: Any) -> Trial:
    values: dict[str, Any] = {
        "trial": "x", "index": "i", "generation": None, "engine": "hnsw", "params": {"m": 16, "seed": 100, "efSearch": 40}, "fidelity": 1.0,
        "eval_set": "e", "snapshot": "s", "recall_at_1": 1.0, "recall_at_10": 0.97, "recall_low": 0.95, "p50_us": 1.0, "p95_us": 20.0,
        "p99_us": 3.0, "qps": None, "build_seconds": 1.0, "build_cpu_seconds": 1.0, "load_seconds": 1.0, "memory_bytes": 1, "disk_bytes": 1,
        "proposed_by": "TrialBudget/b",
    }  # fmt: skip
    return Trial(**{**values, **more})


BEGUN = Observed(None, ACCOUNT, (note("begun"),), best=trial(), spent=Spent(3, 10, 4), seconds_left=100, weight=1000)
OPEN = note("proposed", engine="hnsw", params=GRAPH.parameters, searches=({"efSearch": 40},), fidelity=1.0, trials=("x",))
BETTER = Better(Choice("b-1", "hnsw", {"m": 16}, {"efSearch": 40}, "TrialBudget/b"), "d", trial(), "it is faster")


def test_it_begins() -> None:
    assert plan(RESOURCE, replace(BEGUN, notes=(), begin="nothing was tried yet")) == (Begin("nothing was tried yet", ACCOUNT),)


def test_nothing_while_something_is_missing() -> None:
    problem = Waiting(reasons.REFERENCE_MISSING, "Index/i is not there")
    seen = replace(BEGUN, problem=problem, better=BETTER, open=OPEN)
    assert plan(RESOURCE, seen) == ()
    assert conclude(RESOURCE, seen) == problem


def test_it_tries_what_was_decided_and_says_what_it_refuses() -> None:
    refused = Refused(Graph("hnsw", 48, 400), 1.0, "time", "it would take too long")
    steps = plan(RESOURCE, replace(BEGUN, decision=Decision(TRY, (refused,))))
    assert steps == (
        Refuse("it would take too long", refused),
        Measure("it looks good", "hnsw", GRAPH.parameters, ({"efSearch": 40},), 1.0, 1000, 100),
    )
    assert [step.summary() for step in steps] == [
        "refuse hnsw m=48 efConstruction=400",
        "try hnsw m=16 efConstruction=80 efSearch=40",
    ]
    assert steps[1].work is not None
    assert steps[1].work.weight == 1000


def test_a_share_says_so() -> None:
    move = replace(TRY, fidelity=0.1, searches=({"efSearch": 10}, {"efSearch": 20}))
    (step,) = plan(RESOURCE, replace(BEGUN, decision=Decision(move)))
    assert step.summary() == "try hnsw m=16 efConstruction=80 efSearch=10, 20 over 10% of the rows"
    assert step.work is not None
    assert step.work.weight == 100


def test_what_was_proposed_goes_on() -> None:
    (step,) = plan(RESOURCE, replace(BEGUN, open=OPEN))
    assert step == Measure("since", "hnsw", GRAPH.parameters, ({"efSearch": 40},), 1.0, 1000, 100, OPEN)


@pytest.mark.parametrize("left", [0, -5])
def test_what_runs_ends_with_the_time(left: float) -> None:
    assert plan(RESOURCE, replace(BEGUN, open=OPEN, seconds_left=left)) == (End("the time is spent", reasons.BUDGET_SPENT),)


@pytest.mark.parametrize(
    ("done", "best", "reason", "message"),
    [
        (Done("no more"), trial(), "Succeeded", "no more"),
        (Done("all spent", spent=True), trial(), reasons.BUDGET_SPENT, "all spent"),
        (Done("all spent", spent=True), None, reasons.GATE_NOT_MET, "no recipe passes the gate of 0.9: all spent"),
        (Done("no setting passes", hopeless=True), None, reasons.GATE_NOT_MET, "no setting passes"),
        (Done("no setting passes", hopeless=True), trial(), "Succeeded", "no setting passes"),
    ],
)
def test_it_ends(done: Done, best: Trial | None, reason: str, message: str) -> None:
    assert plan(RESOURCE, replace(BEGUN, best=best, decision=Decision(done))) == (End(message, reason),)


def test_where_nothing_passes_the_end_says_what_failed() -> None:
    failed = note("failed", "lance: The engine `lance` needs LanceDB, which is not installed.")
    (end,) = plan(RESOURCE, replace(BEGUN, notes=(*BEGUN.notes, failed), best=None, decision=Decision(Done("no more"))))
    assert end == End(
        "no recipe passes the gate of 0.9: no more; what failed last is lance: The engine `lance` needs LanceDB, which is not installed",
        reasons.GATE_NOT_MET,
    )


@pytest.mark.parametrize("seen", [BEGUN, replace(BEGUN, decision=Decision(TRY)), replace(BEGUN, notes=(*BEGUN.notes, note("ended")))])
def test_what_is_better_goes_first(seen: Observed) -> None:
    (step,) = plan(RESOURCE, replace(seen, better=BETTER))
    assert step == Settle("it is faster", BETTER)
    assert step.summary() == "serve b-1"
    assert Settle("", replace(BETTER, advice="so it is")).summary() == "propose to serve b-1"


def test_after_the_end_there_is_nothing() -> None:
    ended = replace(BEGUN, notes=(*BEGUN.notes, note("ended", "no more")), decision=Decision(TRY))
    assert plan(RESOURCE, ended) == ()


def test_how_it_ended() -> None:
    ended = note("ended", "no more", reason=reasons.BUDGET_SPENT)
    seen = replace(BEGUN, notes=(note("begun"), ended))
    outcome = conclude(RESOURCE, seen)
    assert isinstance(outcome, Ready)
    assert outcome.reason == reasons.BUDGET_SPENT
    assert outcome.message == (
        "hnsw m=16 efSearch=40: recall@10 0.970 (0.950 at least), p95 20 µs; 3 trials, 4 s of processor time for building; no more"
    )
    assert outcome.detail == {
        "trials": 3, "limit": 40, "cpuSeconds": 4, "best": "x", "bestRecipe": "hnsw m=16 efSearch=40", "recallLow": 0.95, "p95Us": 20.0,
    }  # fmt: skip
    stalled = conclude(RESOURCE, replace(seen, best=None))
    assert isinstance(stalled, Stalled)
    assert (stalled.reason, stalled.message) == (reasons.GATE_NOT_MET, "no more; 3 trials, 4 s of processor time for building")


def test_advice_is_told_until_it_is_taken() -> None:
    advised = note("advised", "b-1 would serve better: `lakectl promote i b-1`")
    ended = note("ended", "no more")
    assert conclude(RESOURCE, replace(BEGUN, notes=(advised, ended))).message.endswith("`lakectl promote i b-1`")
    assert conclude(RESOURCE, replace(BEGUN, notes=(advised, note("chosen"), ended))).message.endswith("no more")


def test_recipes_in_words() -> None:
    assert recipe("flat", {}) == "flat"
    assert recipe("lance", {"type": "IVF_HNSW_SQ", "partitions": None, "m": 8}, {"ef": 100}) == "lance type=IVF_HNSW_SQ m=8 ef=100"


CORPUS = Corpus("c1", ObjectRef("lake", "k", 1, "0" * 64), 1, 1, "s", 1, "one/1", 4)
BUILD = Build("b1", "g", "hnsw", {"m": 16, "seed": 100}, "c1", {}, 1, 4, 1.0)
RECORD = IndexRecord("i", {"c1": CORPUS}, {"b1": BUILD}, ServingManifest("b1", "g", {"efSearch": 40}))


def test_the_trial_of_what_serves() -> None:
    own, other = trial(), trial(trial="y", params={"m": 16, "seed": 100, "efSearch": 80})
    assert _incumbent(RECORD, CORPUS, [other, own]) == own
    assert _incumbent(RECORD, replace(CORPUS, digest="c2"), [own]) == own, "over whichever rows"
    assert _incumbent(RECORD, CORPUS, [other]) is None
    assert _incumbent(replace(RECORD, serving=None), CORPUS, [own]) is None


def test_a_trial_by_another_model_is_none_of_it() -> None:
    assert _incumbent(RECORD, replace(CORPUS, digest="c2", fingerprint="two/1"), [trial()]) is None
