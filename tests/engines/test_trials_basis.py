"""By which EvalSets and model trials compare."""

from __future__ import annotations

from typing import Any

import pytest

from engines.errors import ModelMismatch, SearchInvalid
from engines.trials.basis import basis
from engines.trials.choice import Word
from state.catalog.indexes import Build, Corpus, EvalTruth, IndexRecord, ServingManifest
from state.objects import ObjectRef
from state.trials import Trial

REF = ObjectRef("lake", "k", 1, "0" * 64)
CORPUS = Corpus("c", REF, 1, 1, "s", 1, "builtin/1", 4)
SERVING = ServingManifest("b", None)
BUILD = Build("b", None, "flat", {}, "c", {}, 1, 4, 1.0)


def trial(name: str, eval_set: str, model: str | None = "builtin", **more: Any) -> Trial:
    values: dict[str, Any] = {"index": "i", "generation": None, "engine": "flat", "params": {}, "fidelity": 1.0, "snapshot": "s"}
    values |= {"recall_at_1": 1.0, "recall_at_10": 1.0, "recall_low": 0.99, "p50_us": 1.0, "p95_us": 2.0, "p99_us": 3.0, "qps": None}
    values |= {"build_seconds": 1.0, "build_cpu_seconds": 1.0, "load_seconds": 0.1, "memory_bytes": 1, "disk_bytes": 1}
    values |= {"proposed_by": "spec", "detail": {"truth": f"{eval_set} {model}"}}
    return Trial(trial=name, eval_set=eval_set, model=model, **{**values, **more})


def record(**queries: int) -> IndexRecord:
    truths = {name: EvalTruth(name, f"{name} builtin", "c", REF, 10, count) for name, count in queries.items()}
    return IndexRecord("i", {"c": CORPUS}, {"b": BUILD}, SERVING, truths=truths)


LARGE, SMALL, OTHER = trial("large", "large"), trial("small", "small"), trial("other", "large", "minilm")
TUNED = trial("tuned", "small", proposed_by="TrialBudget/t")
BY_LARGE = trial("by-large", "large", detail={"truth": "large builtin", "build": "b", "search": {}})
BY_SMALL = trial("by-small", "small", detail={"truth": "small builtin", "build": "b", "search": {}}, recall_low=0.9)


@pytest.mark.parametrize(
    ("trials", "queries", "found"),
    [
        ([LARGE, SMALL], {"large": 500, "small": 6}, (["large", "small"], [])),
        ([BY_LARGE, BY_SMALL, LARGE], {"large": 500, "small": 6}, (["large", "small"], ["by-small"])),
        ([LARGE, SMALL], {"small": 6}, (["small"], ["small"])),
        ([LARGE, SMALL], {}, (["small"], ["small"])),
        ([SMALL, TUNED, LARGE], {"large": 500, "small": 6}, (["small"], ["small", "tuned"])),
        ([LARGE, TUNED], {"large": 500}, (["large"], ["large"])),
        ([SMALL], {"large": 500, "small": 6}, (["small"], ["small"])),
        ([LARGE, OTHER], {"large": 500}, (["large"], ["large"])),
        ([trial("share", "large", fidelity=0.1)], {"large": 500}, ([], [])),
        ([], {}, ([], [])),
    ],
)
def test_nobody_names_any(trials: list[Trial], queries: dict[str, int], found: tuple[list[str], list[str]]) -> None:
    by = basis(trials, record(**queries))
    assert (by.eval_sets, [word.weakest.trial for word in by.words]) == found
    assert by.model == "builtin", "which serves"


def test_they_are_named() -> None:
    by = basis([LARGE, OTHER, SMALL], record(large=500, small=6), "large", "minilm")
    assert by == (["large"], "minilm", [Word((OTHER,))])
    assert basis([LARGE, OTHER], IndexRecord("i")).model == "minilm", "of the newest, where nothing serves"
    assert basis([trial("old", "large", None)], record(large=1)).words, "of before models were told"


def test_names_that_are_none() -> None:
    with pytest.raises(SearchInvalid, match="'nope'") as caught:
        basis([LARGE, SMALL], record(new=1), "nope")
    assert caught.value.remedy == "Those of the index are large, new, small."
    with pytest.raises(ModelMismatch, match="'nope'") as caught:
        basis([LARGE, OTHER], record(), model="nope")
    assert caught.value.remedy == "Those of the index are builtin, minilm."
    with pytest.raises(SearchInvalid) as caught:
        basis([], IndexRecord("i"), "nope")
    assert "declare an EvalSet" in caught.value.remedy
