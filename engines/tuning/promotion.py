"""Whether what was found is to serve: above the gate beyond doubt, and better than what serves by enough. Pure.

1. **The gate.** The lower bound of recall, in both halves of the queries: the winner was chosen by one, the other confirms it.
2. **Beside what serves**, at the same queries: the recall of what serves, and what the other gains over it at the least, by a bootstrap of
   the differences, are above the gate together. Queries that both find easy say nothing then.
3. **Hysteresis.** It costs at most `FASTER` of what serves does; unless that is below the gate.
4. **Of one build** the narrowest search that passes all of this, whatever a disturbed clock said of a broader one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from engines.trials.choice import FASTER, narrower, narrowest, passes, sure_recall
from engines.trials.intervals import paired
from engines.trials.measure import AT
from engines.trials.objective import LEAST, Weights, score
from state.trials import Trial


class Verdict(NamedTuple):
    """What is to serve instead; None: nothing else. why: in words, of either."""

    trial: Trial | None
    why: str


def judge(trials: Sequence[Trial], incumbent: Trial | None, gate: float, weights: Weights) -> Verdict:
    """trials: comparable, by the same answers as the incumbent, which is what serves; None for nothing."""
    passing = sorted((trial for trial in trials if passes(trial, gate)), key=lambda trial: score(trial, weights))
    if not passing:
        return Verdict(None, f"nothing that was measured has a recall of {gate:g} beyond doubt")
    cheapest = min(narrowest(passing, weights), key=lambda trial: score(trial, weights))
    if incumbent is None:
        return Verdict(cheapest, f"nothing serves yet; {_recall(cheapest)}")
    if not passes(incumbent, gate):
        low = sure_recall(incumbent.recall_low, incumbent.detail)
        return Verdict(cheapest, f"what serves is below the gate of {gate:g} ({low:.3f}); {_recall(cheapest)}")
    now, refused = max(LEAST, score(incumbent, weights)), ""

    def falls_short(trial: Trial) -> float | None:
        gain = _gain(trial, incumbent)
        return None if gain is None or incumbent.recall_at_10 + gain >= gate else -gain

    for trial in passing:
        if trial.trial == incumbent.trial or max(LEAST, score(trial, weights)) > FASTER * now:
            break
        if (less := falls_short(trial)) is not None:
            refused = refused or f"; {trial.trial[:8]} would be, and may find {less:.3f} less at the same queries, which is below the gate"
        elif all(falls_short(other) is not None for other in narrower(trial, passing, weights)):
            return Verdict(trial, f"it costs {score(trial, weights) / now:.0%} of what serves, by the objective; {_recall(trial)}")
        else:
            refused = refused or f"; {trial.trial[:8]} was measured to be, but a narrower search of its build, which passes too, was not"
    return Verdict(None, f"nothing is better than what serves by a tenth{refused}")


def _gain(trial: Trial, incumbent: Trial) -> float | None:
    """The least that the recall of one is above the other's; None where the hits of queries were not told, or of none with an answer."""
    ours, theirs = trial.detail.get("hits"), incumbent.detail.get("hits")
    if not ours or not theirs or len(ours) != len(theirs):
        return None
    widths = trial.detail.get("widths") or [AT] * len(ours)
    if not any(widths):
        return None
    return paired(np.array(ours, dtype=np.int64), np.array(theirs, dtype=np.int64), np.array(widths, dtype=np.int64)).low


def _recall(trial: Trial) -> str:
    return f"its recall is {sure_recall(trial.recall_low, trial.detail):.3f} at least in both halves of the queries"
