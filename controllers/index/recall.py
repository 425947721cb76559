"""What an Index says of the recall of its searches, and the gate that it is held against; pure. Next: `engines/live_recall.py`."""

from collections.abc import Iterable

from controllers.outcome import Also, Aspect
from engines.live_recall import Live
from engines.trials.choice import GATE
from specs.kinds.trial_budget import TrialBudgetSpec
from specs.resource import Resource
from state import reasons


def gate_of(budgets: Iterable[Resource]) -> float:
    """The greatest of the gates of an index's budgets; what promotions are held to where it has none."""
    return max((budget.spec_as(TrialBudgetSpec).gate.recall_at_10 for budget in budgets), default=GATE)


def aspects(live: Live | None) -> Also:
    """Whether recall is below the gate; None where nothing is told, so that what was known stands."""
    if live is None:
        return None
    if live.estimate is None:
        message = f"another build serves, or is searched otherwise, since; the gate is {live.gate:g}"
    else:
        value, low, high = live.estimate
        beside = "under the gate of" if live.below else "at a gate of"
        message = f"recall of searches is {value:.3f} ({low:.3f} to {high:.3f}, by {live.samples} of them), {beside} {live.gate:g}"
    return (Aspect("RecallBelowGate", live.below, reasons.RECALL_BELOW_GATE if live.below else reasons.RECALL_RECOVERED, message),)


def figures(live: Live | None) -> dict[str, object]:
    """For the status's detail."""
    if live is None or live.estimate is None:
        return {}
    value, low, high = (round(number, 3) for number in live.estimate)
    return {"liveRecall": {"recall": value, "low": low, "high": high, "searches": live.samples}}
