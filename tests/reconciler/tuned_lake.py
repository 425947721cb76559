"""What tests of budgets start from: an index that is measured, a budget in its spec, and visits until it has nothing more to do."""

from __future__ import annotations

import json
from typing import Any

from measured_lake import FLAT, KEYED, eval_set, rows
from small_lake import BUCKET, Bench, dataset, index

from controllers.outcome import Outcome, Waiting
from specs.resource import Key
from state import reasons
from state.requests import Request
from state.tuning import Note

SMALL = "space: {m: [4, 16], efConstruction: [16, 64], efSearch: [10, 100]}, limits: {trials: 12}"
"""Fifty seconds of a test are better spent elsewhere."""
MOST_VISITS = 100


def budget(more: str = SMALL, name: str = "t", of: str = "i", by: str = "e") -> str:
    return f"apiVersion: lakehouse/v1\nkind: TrialBudget\nmetadata: {{name: {name}}}\nspec: {{index: {of}, evalSet: {by}, {more}}}\n"


def specs(*more: str, spec: str = "") -> tuple[str, ...]:
    return (BUCKET, dataset("x", KEYED), index("i", "x", more=spec), FLAT, eval_set("e"), *more)


def tuned(bench: Bench, *more: str, count: int = 600, spec: str = "") -> Outcome:
    """The lake with a budget, until that is done."""
    bench.write("data/x/1.csv", rows(count))
    bench.commit(*specs(*more, spec=spec))
    bench.settle()
    return spend(bench)


def spend(bench: Bench, name: str = "t") -> Outcome:
    """Visits the budget, and what its trials would wake, until it waits for nothing of its own."""
    for _ in range(MOST_VISITS):
        outcome = visit(bench, name)
        for other in ("EvalSet/e", "Index/i"):
            bench.reconciler.visit(Key.parse(other))
        if not isinstance(outcome, Waiting) or outcome.reason != reasons.TUNING:
            return outcome
    raise AssertionError("it goes on for ever")


def visit(bench: Bench, name: str = "t") -> Outcome:
    found = bench.reconciler.visit(Key.parse(f"TrialBudget/{name}"))
    assert found is not None
    return found.outcome


def notes(bench: Bench, *steps: str) -> list[Note]:
    found = [Note.from_row(row) for row in bench.streams.read("tuning")]
    return [note for note in found if not steps or note.step in steps]


def proposed(bench: Bench, name: str = "t") -> list[dict[str, Any]]:
    """Trials of a budget."""
    return [row for row in bench.streams.read("trials") if row["proposed_by"] == f"TrialBudget/{name}" and not row["promoted"]]


def params(row: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(row["params"])
    return found


def restart(bench: Bench) -> None:
    bench.close()
    bench.open()
    bench.follower.advance()


def ask(bench: Bench, verb: str, of: str = "Index/i", **payload: Any) -> dict[str, Any]:
    bench.requests.submit(Request(bench.streams.ids(), verb, of, "ann", "a test", payload))
    for key in bench.operator.answer():
        bench.reconciler.visit(key)
    return list(bench.streams.read("requests"))[-1]
