"""Which trial is best: pure, the same for whoever promotes, shows or proposes.

Trials compare while they are by the same answers: of one eval set, over one corpus, at full fidelity. The gate is recall's lower bound. A
winner is chosen by one half of the queries and confirmed by the other, since the luckiest of many looks better than it is: both halves
have to be above the gate, each by its own lower bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from state.trials import Trial

Objective = Literal["latencyP95", "buildSeconds", "memory"]
OBJECTIVES: Mapping[Objective, str] = {"latencyP95": "p95_us", "buildSeconds": "build_cpu_seconds", "memory": "memory_bytes"}
"""What is made small, and the column that has it. Of a build its CPU seconds count: one that is kept to a share of the processors, or is
built beside others, takes longer and costs the same."""
GATE = 0.9
FASTER = 0.9
"""What another may cost beside what serves, at most: two measurements of one build differ by less, and a change costs every searcher
something."""


def cost(trial: Trial, objective: Objective) -> float:
    """The smaller the better; infinite where it was not measured."""
    value = getattr(trial, OBJECTIVES[objective])
    return float("inf") if value is None else float(value)


def sure_recall(recall_low: float, detail: Mapping[str, Any]) -> float:
    """The recall that both halves of the queries stand for; a half without an answer stands for none."""
    halves = [half["low"] if half is not None else 0.0 for half in detail.get("halves", ())]
    return min([recall_low, *halves])


def passes(trial: Trial, gate: float = GATE) -> bool:
    """Whether it may serve."""
    return sure_recall(trial.recall_low, trial.detail) >= gate


def comparable(trials: Sequence[Trial], eval_set: str | None = None) -> list[Trial]:
    """Those at full fidelity that are by the same answers as the newest one. eval_set: by which; None for the newest one's."""
    whole = [trial for trial in trials if trial.fidelity >= 1 and eval_set in (None, trial.eval_set)]
    newest = whole[-1].detail.get("truth") if whole else None
    return [trial for trial in whole if trial.detail.get("truth") == newest]


def best(trials: Iterable[Trial], objective: Objective = "latencyP95", gate: float = GATE) -> Trial | None:
    """Of comparable trials the cheapest that passes the gate; None where none does."""
    return min((trial for trial in trials if passes(trial, gate)), key=lambda trial: cost(trial, objective), default=None)


def front(trials: Iterable[Trial], objective: Objective = "latencyP95") -> list[Trial]:
    """Of comparable trials those that no other beats in recall and cost together, cheapest first."""
    found: list[Trial] = []
    for trial in sorted(trials, key=lambda trial: (cost(trial, objective), -trial.recall_at_10)):
        if not found or trial.recall_at_10 > found[-1].recall_at_10:
            found.append(trial)
    return found
