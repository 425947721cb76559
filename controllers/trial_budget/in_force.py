"""Which of several budgets of an index tunes it, and has the gate that its searches are held against: one does, for whoever asks.

That is the one whose search began first, and while none has begun the first by name, of those that can do anything: none that is suspended,
or is measured by an EvalSet that is not there or is another index's. One that has ended, whatever it found, goes on having the word.
"""

from collections.abc import Callable, Iterable
from datetime import datetime

from specs.kinds.eval_set import EvalSetSpec
from specs.own import tuned
from specs.resource import Key, Resource
from state.catalog.catalog import Catalog
from state.tuning import TuningBook


def in_force(
    budgets: Iterable[Resource], catalog: Catalog, tuning: TuningBook, wanted: Callable[[Key], Resource | None], now: datetime
) -> Resource | None:
    """The one of an index's budgets that counts; None where none can. wanted: the spec in force of an object."""
    able = {budget.key: budget for budget in budgets if _can(budget, catalog, wanted, now)}
    began = {key: at for key in able if (at := tuning.began(str(key))) is not None}
    first = min(began, key=lambda key: (began[key], key), default=None) or min(able, default=None)
    return None if first is None else able[first]


def _can(budget: Resource, catalog: Catalog, wanted: Callable[[Key], Resource | None], now: datetime) -> bool:
    spec, state = tuned(budget), catalog.get(str(budget.key))
    if state is not None and state.suspended is not None and state.suspended.holds(now):
        return False
    measured_by = wanted(Key("EvalSet", spec.eval_set))
    return measured_by is not None and measured_by.spec_as(EvalSetSpec).index == spec.index
