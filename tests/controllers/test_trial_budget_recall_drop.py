"""When searches find less than a gate: which account that opens, and what it asks for."""

from __future__ import annotations

from typing import Any

import pytest

from controllers.trial_budget.recall_drop import account_in_use, drop, gate_of
from state.catalog.indexes import IndexRecord, ServingManifest
from state.trials import Trial
from state.tuning import Account, Note

BASE = Account("TrialBudget/b", "s", "t")
RECORD = IndexRecord("i", serving=ServingManifest("b1", "g", {"efSearch": 40}))
TRIAL = Trial(
    "x", "i", None, "hnsw", {"m": 16}, 1.0, "e", "s", 1.0, 0.96, 0.95, 1.0, 2.0, 3.0, None, 1.0, 1.0, 1.0, 1, 1, "spec"
)  # fmt: skip


def begun(account: Account, **detail: Any) -> Note:
    return Note(account.budget, "i", account.spec, account.truth, "begun", "since", detail=detail)


def test_a_drop_asks_for_what_is_missing() -> None:
    found = drop(0.88, TRIAL, RECORD, BASE, 0.9)
    assert found is not None
    assert found.gate == 0.98
    assert found.account.spec.startswith("s/")
    assert found.why == "searches find 0.880, and 0.960 was measured: a gate of 0.98 makes up for that"
    other = drop(0.88, TRIAL, IndexRecord("i", serving=ServingManifest("b1", "g", {"efSearch": 80})), BASE, 0.9)
    assert other is not None
    assert other.account != found.account, "of another way to search"


def test_no_gate_is_beyond_all() -> None:
    found = drop(0.5, TRIAL, RECORD, BASE, 0.9)
    assert found is not None
    assert found.gate == 1


@pytest.mark.parametrize(
    ("found", "incumbent", "record"),
    [(None, TRIAL, RECORD), (0.8, None, RECORD), (0.8, TRIAL, IndexRecord("i")), (0.9, TRIAL, RECORD)],
)
def test_nothing_dropped(found: float | None, incumbent: Trial | None, record: IndexRecord) -> None:
    assert drop(found, incumbent, record, BASE, 0.9) is None


def test_the_account_in_use_is_the_one_that_was_begun_last() -> None:
    dropped = BASE._replace(spec="s/1")
    assert account_in_use(BASE, []) == BASE
    assert account_in_use(BASE, [begun(BASE), begun(dropped, gate=0.95)]) == dropped
    assert account_in_use(BASE, [begun(dropped._replace(truth="u")), begun(dropped._replace(spec="sx"))]) == BASE, "of others"
    assert gate_of([begun(dropped, gate=0.95)], 0.9) == 0.95
    assert gate_of([begun(BASE)], 0.9) == 0.9
