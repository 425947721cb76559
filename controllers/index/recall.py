"""What an Index says of the recall of its searches, and the gate that it is held against; pure. Next: `engines/live_recall.py`."""

from controllers.outcome import Also, Aspect
from engines.live_recall import Live
from engines.trials.choice import GATE
from specs.kinds.trial_budget import TrialBudgetSpec
from specs.resource import Resource
from state import reasons
from state.catalog.indexes import IndexRecord
from state.status import Status


def gate_of(budget: Resource | None) -> float:
    """That of the budget that has the word (`controllers/trial_budget/in_force.py`); what promotions are held to where none has."""
    return GATE if budget is None else budget.spec_as(TrialBudgetSpec).gate.recall_at_10


def lowered(live: Live | None) -> float | None:
    """The recall of searches, where it is below the gate."""
    return live.estimate.value if live is not None and live.below and live.estimate is not None else None


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


def outlived(status: Status, record: IndexRecord | None, gate: float) -> Live | None:
    """What to tell where nothing is known of searches: that the condition of an earlier process is over, if what it was measured on serves
    no more; None where there is none, or it may still be so."""
    condition = status.condition("RecallBelowGate")
    if condition is None or condition.status != "True" or record is None or record.serving is None:
        return None
    serving = record.serving
    same = (status.detail.get("build"), status.detail.get("search")) == (serving.build, dict(serving.search))
    return None if same else Live(None, 0, gate, below=False)


def figures(live: Live | None) -> dict[str, object]:
    """For the status's detail."""
    if live is None or live.estimate is None:
        return {}
    value, low, high = (round(number, 3) for number in live.estimate)
    return {"liveRecall": {"recall": value, "low": low, "high": high, "searches": live.samples}}
