"""What trials say of builds, and whom they prefer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controllers.index.measured import Measured, measured, preferred
from engines.trials.choice import way
from state.catalog.indexes import Build, EvalTruth
from state.objects import ObjectRef
from state.trials import Trial

REF = ObjectRef("lake", "k", 1, "0" * 64)
TRUTH = EvalTruth("e", "t1", "c1", REF, 10, 500)
BUILD = Build("b1", "g", "hnsw", {"m": 8}, "c1", {}, 10, 4, 1.0)
HALVES = [{"low": 0.95}, {"low": 0.94}]
TRIAL = Trial(
    trial="x", index="i", generation="g", engine="hnsw", params={}, fidelity=1.0, eval_set="e", snapshot="s", recall_at_1=1.0,
    recall_at_10=0.97, recall_low=0.96, p50_us=1.0, p95_us=20.0, p99_us=3.0, qps=1.0, build_seconds=1.0, build_cpu_seconds=1.0,
    load_seconds=1.0, memory_bytes=1, disk_bytes=1, proposed_by="spec",
    detail={"build": "b1", "search": {"efSearch": 40}, "truth": "t1", "halves": HALVES},
)  # fmt: skip
WAY = way("b1", {"efSearch": 40})


def test_a_build_is_as_good_as_its_worst_half() -> None:
    assert measured([TRIAL], [TRUTH], {"b1": BUILD}) == {WAY: Measured(0.94, 20.0)}


def test_what_does_not_count() -> None:
    builds = {"b1": BUILD}
    assert measured([replace(TRIAL, fidelity=0.1)], [TRUTH], builds) == {}
    assert measured([TRIAL], [replace(TRUTH, digest="t2")], builds) == {}, "the answers are others now"
    assert measured([TRIAL], [replace(TRUTH, corpus="c2")], builds) == {}, "it is over other rows"
    assert measured([TRIAL], [TRUTH], {}) == {}, "it is gone"


def test_several_eval_sets_have_to_agree() -> None:
    other = replace(TRUTH, eval_set="f", digest="t2")
    assert measured([TRIAL], [TRUTH, other], {"b1": BUILD}) == {}, "one has not measured it yet"
    again = replace(TRIAL, trial="y", p95_us=30.0, recall_low=0.91, detail={**TRIAL.detail, "truth": "t2"})
    assert measured([TRIAL, again], [TRUTH, other], {"b1": BUILD}) == {WAY: Measured(0.91, 30.0)}


FAST, GOOD, BAD = Measured(0.92, 50), Measured(0.99, 100), Measured(0.7, 10)


@pytest.mark.parametrize(
    ("known", "serving", "chosen"),
    [
        ({"a": FAST, "b": GOOD, "c": BAD}, None, "a"),
        ({"a": FAST, "b": GOOD, "c": BAD}, "b", "a"),
        ({"a": FAST, "b": Measured(0.99, 54)}, "b", "b"),  # not faster by a tenth
        ({"a": FAST, "b": Measured(0.99, 56)}, "b", "a"),
        ({"a": FAST, "c": BAD}, "c", "a"),  # what serves is below the gate
        ({"c": BAD, "a": Measured(0.8, 50)}, "c", "a"),  # none is above it: the best recall
        ({"a": FAST}, "b", "b"),  # what serves is not measured yet
        ({"z": FAST}, None, None),
        ({}, None, None),
    ],
)
def test_whom_they_prefer(known: dict[str, Measured], serving: str | None, chosen: str | None) -> None:
    assert preferred(known, ["a", "b", "c"], serving) == chosen
