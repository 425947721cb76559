"""What follows when searches find less than a budget's gate, though its trial promised more: another account, with a stricter gate. Pure.

The EvalSet's queries are easier than those that are asked, by what the trial of the recipe that serves found above the searches. A recipe
is to find so much more of the EvalSet's answers, then. There is one such account for each recipe that dropped over each state of the rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from specs.digests import digest
from state.catalog.indexes import IndexRecord
from state.trials import Trial
from state.tuning import Account, Note


class Drop(NamedTuple):
    """Which account it opens, why, and what recall that one asks for."""

    account: Account
    why: str
    gate: float


def drop(found: float | None, incumbent: Trial | None, record: IndexRecord, base: Account, gate: float) -> Drop | None:
    """found: the recall of searches by what serves, where it is known to be below the gate; None elsewhere. incumbent: the trial of what
    serves. base: of the spec and the present answers. None where nothing dropped, or it is not known from where."""
    if found is None or incumbent is None or record.serving is None or found >= gate:
        return None
    recipe = digest([record.serving.build, dict(record.serving.search)])
    stricter = min(1.0, round(gate + max(0.0, incumbent.recall_at_10 - found), 4))
    why = f"searches find {found:.3f}, and {incumbent.recall_at_10:.3f} was measured: a gate of {stricter:g} makes up for that"
    return Drop(base._replace(spec=f"{base.spec}/{recipe[:16]}"), why, stricter)


def account_in_use(base: Account, notes: Iterable[Note]) -> Account:
    """The one that was begun last of this spec and these answers, be it by a drop. notes: of the budget, oldest first."""
    begun = (note.account for note in notes if note.step == "begun" and (note.budget, note.truth) == (base.budget, base.truth))
    own = [account for account in begun if account.spec == base.spec or account.spec.startswith(f"{base.spec}/")]
    return own[-1] if own else base


def gate_of(notes: Iterable[Note], gate: float) -> float:
    """Which an account asks for. gate: its spec's."""
    return max((note.detail.get("gate", gate) for note in notes if note.step == "begun"), default=gate)
