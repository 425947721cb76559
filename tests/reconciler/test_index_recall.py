"""What searches are found to miss is said by their Index: in its status, as a condition, by an event when that begins or ends."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from measured_lake import eval_set
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from small_lake import BUCKET, Bench, dataset, generation, index
from test_driver import Running, live

from controllers.index.recall import gate_of, lowered, outlived
from controllers.trial_budget.in_force import in_force
from engines.live_recall import Live
from engines.trials.intervals import Interval
from reconciler.metrics import watch_recall
from specs.resource import Key
from state import reasons
from state.catalog.indexes import IndexRecord, ServingManifest
from state.status import Condition, Status

GOOD = Live(Interval(0.97, 0.96, 0.98), 50, 0.9, below=False)
BAD = Live(Interval(0.8, 0.78, 0.82), 60, 0.9, below=True)
BUDGET = """\
apiVersion: lakehouse/v1
kind: TrialBudget
metadata: {{name: {name}}}
spec: {{index: i, evalSet: e, gate: {{recallAt10: {gate}}}}}
"""


@pytest.fixture
def served(bench: Bench) -> Bench:
    bench.write("data/x/1.csv", "id,text\n1,java developer\n2,pastry chef\n")
    bench.commit(BUCKET, dataset("x"), index("i", "x"))
    bench.settle()
    return bench


def condition(bench: Bench) -> tuple[str, str] | None:
    found = bench.settle()["Index/i"].condition("RecallBelowGate")
    return None if found is None else (found.status, found.message)


def heard(bench: Bench) -> list[tuple[str, str]]:
    return [(event["type"], event["reason"]) for event in bench.events() if event["reason"].startswith("Recall")]


def test_nothing_is_said_before_anybody_looked(served: Bench) -> None:
    assert condition(served) is None
    assert "liveRecall" not in served.by_object()["Index/i"].detail


def test_a_drop_is_a_condition_and_an_event_and_so_is_its_end(served: Bench) -> None:
    told: list[Any] = []
    served.statuses.hear = told.append
    served.live["i"] = GOOD
    assert condition(served) == ("False", "recall of searches is 0.970 (0.960 to 0.980, by 50 of them), at a gate of 0.9")
    status = served.by_object()["Index/i"]
    assert (status.ready, status.detail["liveRecall"]) == ("True", {"recall": 0.97, "low": 0.96, "high": 0.98, "searches": 50})
    assert heard(served) == []
    served.live["i"] = BAD
    assert condition(served) == ("True", "recall of searches is 0.800 (0.780 to 0.820, by 60 of them), under the gate of 0.9")
    assert served.by_object()["Index/i"].ready == "True", "it answers, worse than it should"
    served.live["i"] = GOOD
    condition(served)
    assert heard(served) == [("Warning", reasons.RECALL_BELOW_GATE), ("Normal", reasons.RECALL_RECOVERED)]
    assert [event["reason"] for event in told] == [reasons.RECALL_BELOW_GATE, reasons.RECALL_RECOVERED]


def test_the_same_again_writes_no_status(served: Bench) -> None:
    served.live["i"] = BAD
    condition(served)
    written = len(list(served.streams.read("status")))
    served.live["i"] = replace(BAD)
    condition(served)
    assert len(list(served.streams.read("status"))) == written


def drop_and_restart(served: Bench) -> None:
    """The next process has measured nothing yet."""
    served.live["i"] = BAD
    condition(served)
    served.live.clear()
    served.close()
    served.open()
    served.follower.advance()


def test_a_drop_is_remembered_by_the_next_process_and_told_once(served: Bench) -> None:
    drop_and_restart(served)
    found = condition(served)
    assert found is not None
    assert found[0] == "True"
    served.live["i"] = Live(None, 0, 0.9, below=False)
    assert condition(served) == ("False", "another build serves, or is searched otherwise, since; the gate is 0.9")
    assert len(heard(served)) == 2


@pytest.mark.parametrize(
    ("now", "over"),
    [
        (None, False),
        (ServingManifest("b1", "g", {"efSearch": 10}), False),
        (ServingManifest("b1", "g"), True),
        (ServingManifest("b2", "g"), True),
    ],
)
def test_what_an_earlier_process_found_ends_with_the_build_it_was_found_on(now: ServingManifest | None, over: bool) -> None:
    condition = Condition("RecallBelowGate", "True", reasons.RECALL_BELOW_GATE)
    detail = {"build": "b1", "search": {"efSearch": 10}}
    status = Status("Index/i", "True", "Ready", conditions=(condition,), detail=detail)
    record = IndexRecord("i", serving=now)
    assert outlived(status, record, 0.9) == (Live(None, 0, 0.9, below=False) if over else None)
    assert outlived(replace(status, conditions=()), record, 0.9) is None
    assert outlived(replace(status, conditions=(replace(condition, status="False"),)), record, 0.9) is None
    assert outlived(status, None, 0.9) is None


def test_another_build_after_a_restart_is_not_held_for_the_one_before(served: Bench) -> None:
    drop_and_restart(served)
    served.commit(BUCKET, dataset("x"), index("i", "x"), generation("g", "i", "hnsw: {m: 8}"))
    found = condition(served)
    assert found is not None
    assert found[0] == "False"
    assert heard(served)[-1] == ("Normal", reasons.RECALL_RECOVERED)


def test_the_gate_is_that_of_the_budget_in_force(served: Bench) -> None:
    def gate() -> float:
        budgets = served.world.of("TrialBudget", Key("Index", "i"))
        return gate_of(in_force(budgets, served.catalog, served.tuning, served.world.resource, served.clock()))

    assert gate() == 0.9
    both = (BUDGET.format(name="b", gate=0.8), BUDGET.format(name="c", gate=0.95))
    served.commit(BUCKET, dataset("x"), index("i", "x"), *both)
    assert gate() == 0.9, "their EvalSet is not there"
    served.commit(BUCKET, dataset("x"), index("i", "x"), eval_set("e"), *both)
    assert gate() == 0.8
    assert Key("TrialBudget", "b") in served.world.dependents(Key("Index", "i")), "so that it is woken with its index"


def test_what_is_lowered_is_below_the_gate() -> None:
    found = Interval(0.8, 0.75, 0.85)
    assert lowered(Live(found, 100, 0.9, below=True)) == 0.8
    assert lowered(Live(found, 100, 0.7, below=False)) is None
    assert lowered(Live(None, 0, 0.9, below=False)) is None
    assert lowered(None) is None


def test_what_is_told_has_the_index_and_its_budgets_looked_at(tmp_path: Path) -> None:
    async def scenario(at_work: Running) -> None:
        tally = at_work.assembly.driver.tally.visits

        def visits(kind: str) -> int:
            return sum(count for (of, _), count in tally.items() if of == kind)

        await at_work.until_ready("Index/i")
        await at_work.until(
            lambda: visits("TrialBudget") > 0 and not at_work.assembly.queue.depth and not at_work.assembly.queue.processing
        )
        before = (visits("Index"), visits("TrialBudget"))
        await asyncio.to_thread(at_work.assembly.recall.told, "i")
        await at_work.until(lambda: visits("Index") > before[0] and visits("TrialBudget") > before[1])

    (tmp_path / "data/x").mkdir(parents=True)
    (tmp_path / "data/x/1.csv").write_text("id,text\n1,java developer\n")
    live(tmp_path, scenario, dataset("x"), index("i", "x"), eval_set("e"), BUDGET.format(name="b", gate=0.95))


def test_what_is_measured_can_be_scraped() -> None:
    class Recall:
        def figures(self) -> tuple[dict[tuple[str, str], Interval], dict[tuple[str, str, str], int]]:
            return {("i", "minilm"): Interval(0.9, 0.8, 1.0)}, {("i", "minilm", "judged"): 7, ("i", "builtin", "dropped"): 2}

    registry = CollectorRegistry()
    watch_recall(registry, Recall())  # type: ignore[arg-type]
    lines = generate_latest(registry).decode().splitlines()
    assert 'lakehouse_live_recall{bound="low",index="i",model="minilm"} 0.8' in lines
    assert 'lakehouse_live_recall{bound="value",index="i",model="minilm"} 0.9' in lines
    assert 'lakehouse_live_recall_searches_total{index="i",model="minilm",outcome="judged"} 7.0' in lines
    assert 'lakehouse_live_recall_searches_total{index="i",model="builtin",outcome="dropped"} 2.0' in lines
