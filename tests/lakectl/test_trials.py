"""`lakectl trials` and `trial run`: a table, a picture, a request."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.lakectl.trial_plot import plot
from state import reasons
from state.catalog.catalog import Catalog
from state.catalog.index_changes import CorpusAdded, TruthMade
from state.catalog.indexes import Corpus, EvalTruth
from state.catalog.log import WriterId
from state.objects import ObjectRef
from state.trials import Trial, TrialBook

if TYPE_CHECKING:
    from conftest import Lakehouse, Said

    Lakectl = Callable[..., Said]

BUCKET = """
apiVersion: lakehouse/v1
kind: Bucket
metadata: {name: primary}
spec: {local: {path: lake}}
"""
CORPUS = Corpus("c", ObjectRef("primary", "k", 1, "0" * 64), 1, 1, "s", 1, "f", 4)


def trial(name: str, recall: float, p95: float, **more: Any) -> Trial:
    values: dict[str, Any] = {"index": "about", "generation": None, "engine": "hnsw", "params": {"m": 8, "seed": 1, "efSearch": 40}}
    values |= {"fidelity": 1.0, "eval_set": "e", "snapshot": "s", "recall_at_1": recall, "recall_low": recall - 0.008, "p50_us": 1.0}
    values |= {"p99_us": 3.0, "qps": 9_000.4, "build_seconds": 12.34, "build_cpu_seconds": None, "load_seconds": 0.1}
    values |= {"memory_bytes": 126_000_000, "disk_bytes": 20, "proposed_by": "spec", "detail": {"truth": "t"}}
    return Trial(trial=name, recall_at_10=recall, p95_us=p95, **{**values, **more})


@pytest.fixture
def here(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> Lakehouse:
    monkeypatch.chdir(lakehouse.root)
    (lakehouse.root / "specs" / "bucket.yaml").write_text(BUCKET)
    catalog = Catalog.open(lakehouse.store, writer=WriterId("w", 2), clock=lakehouse.clock)
    catalog.commit((CorpusAdded("Index/about", CORPUS),), actor="a", reason="r")
    return lakehouse


@pytest.fixture
def measured(here: Lakehouse) -> Lakehouse:
    TrialBook(here.streams_).add(
        [
            trial("share", 0.99, 20.0, fidelity=0.1),
            trial("a", 0.876, 41.0, params={"m": 8, "efConstruction": 80, "seed": 1, "efSearch": 20}),
            trial("b", 0.941, 60.0, params={"m": 16, "efConstruction": 80, "seed": 1, "efSearch": 30}),
            trial("c", 0.987, 130.0, generation="about-g1", promoted=True),
            trial("d", 0.97, 310.0, engine="lance", params={"type": "IVF_RQ", "partitions": None}, qps=None),
            trial("exact", 1.0, 3_010.0, engine="flat", params={}, memory_bytes=0, build_seconds=0.2),
        ]
    )
    return here


def test_a_table_and_a_picture(measured: Lakehouse, lakectl: Lakectl, golden: Any) -> None:
    said = lakectl("trials", "about")
    assert max(map(len, said.out.splitlines())) <= 80
    golden.check("trials.txt", said.all + lakectl("trials", "about", "--gate", "0.95", "--objective", "memory", unicode=False).all)


def test_as_documents(measured: Lakehouse, lakectl: Lakectl) -> None:
    document = lakectl("trials", "Index/about", "-o", "json").document
    assert [row["trial"] for row in document["trials"]] == ["share", "a", "b", "c", "d", "exact"]
    assert document["best"] == "b"
    assert (document["evalSets"], document["model"]) == (["e"], None)
    assert lakectl("trials", "about", "--objective", "latencyP95:3,memory:1", "-o", "json").document["best"] == "b"
    assert lakectl("trials", "about", "--objective", "latencyP95,memory:2", "-o", "json").document["best"] == "exact"
    said = lakectl("trials", "about", "--objective", "latencyP95:3,memry")
    assert (said.code, "did you mean `memory`?" in said.err) == (2, True)


def test_trials_by_other_queries_and_of_other_vectors_are_told_apart(here: Lakehouse, lakectl: Lakectl) -> None:
    few, other = {"truth": "u"}, {"truth": "v"}
    TrialBook(here.streams_).add([
        trial("a", 0.95, 60.0, model="builtin"),
        trial("b", 0.99, 70.0, model="minilm", detail=other, engine="flat"),
        trial("few", 0.999, 1.0, model="minilm", detail=few, eval_set="small", engine="lance"),
    ])  # fmt: skip
    shown = lakectl("trials", "about", "--model", "builtin")
    assert "hnsw m=8" in shown.out
    assert not {"flat", "lance"} & set(shown.out.split())
    footer = " ".join(shown.out.split())
    assert "1 trial of 1 by the newest answers of e with builtin above 0.9" in footer
    assert "more with --eval small or --model minilm" in footer
    assert lakectl("trials", "about", "--eval", "small", "-o", "json").document["best"] == "few"
    assert lakectl("trials", "about", "--eval", "e", "--model", "minilm", "-o", "json").document["best"] == "b"


def test_of_several_eval_sets_the_worst_counts(here: Lakehouse, lakectl: Lakectl) -> None:
    catalog = Catalog.open(here.store, writer=WriterId("w", 3), clock=here.clock)
    truths = [TruthMade("Index/about", EvalTruth(name, name, "c", CORPUS.ref, 10, 500)) for name in ("large", "small")]
    catalog.commit(truths, actor="a", reason="r")

    def said(name: str, by: str, recall: float, p95: float, engine: str) -> Trial:
        detail = {"truth": by, "build": name, "search": {}}
        return trial(f"{name} {by}", recall, p95, engine=engine, params={}, eval_set=by, detail=detail)

    TrialBook(here.streams_).add([
        said("a", "large", 0.99, 10.0, "lance"), said("b", "large", 0.97, 60.0, "flat"), said("c", "large", 0.99, 1.0, "hnsw"),
        said("a", "small", 0.70, 12.0, "lance"), said("b", "small", 0.96, 66.0, "flat"),
    ])  # fmt: skip
    document = lakectl("trials", "about", "-o", "json").document
    assert (document["evalSets"], document["best"]) == (["large", "small"], "b small")
    shown = " ".join(lakectl("trials", "about").out.split())
    assert "1 trial of 2 by the newest answers of large and small above 0.9; best: flat, p95 66 us" in shown, (
        "hnsw is not measured by small"
    )
    assert lakectl("trials", "about", "--eval", "large", "-o", "json").document["best"] == "c large"


@pytest.mark.parametrize(
    ("option", "word", "remedy"), [("--eval", "an EvalSet 'nope'", "are e."), ("--model", "a model 'nope'", "by none yet")]
)
def test_a_name_that_is_none(measured: Lakehouse, lakectl: Lakectl, option: str, word: str, remedy: str) -> None:
    said = lakectl("trials", "about", option, "nope")
    assert said.code == 2
    assert word in said.err
    assert remedy in " ".join(said.err.split())


def test_the_half_that_stands_in_the_way_is_told(here: Lakehouse, lakectl: Lakectl) -> None:
    halves = [{"recall": 1.0, "low": 0.93}, {"recall": 1.0, "low": 0.886}]
    TrialBook(here.streams_).add([trial("b", 1.0, 60.0, detail={"truth": "t", "halves": halves})])
    footer = " ".join(lakectl("trials", "about").out.split())
    assert "0 trials of 1" in footer
    assert "none is above the gate in both halves of the queries: hnsw m=8 efS=40 has 1.000, at least 0.886 in the second half" in footer


def test_nothing_was_measured(here: Lakehouse, lakectl: Lakectl) -> None:
    assert lakectl("trials", "about").all == "--- stderr\nno trials\n--- exit 0\n"
    said = lakectl("trials", "abuot")
    assert said.code != 0
    assert "There is no index 'abuot'; did you mean `about`?" in said.err


def test_a_single_trial_has_a_picture(here: Lakehouse, lakectl: Lakectl) -> None:
    TrialBook(here.streams_).add([trial("b", 0.941, 60.0)])
    said = lakectl("trials", "about")
    assert said.code == 0
    assert "best: hnsw m=8 efS=40, p95 60 us" in " ".join(said.out.split())


def test_every_point_is_inside(lakectl: Lakectl) -> None:
    import io

    from reconciler.lakectl.terminal import Terminal

    terminal = Terminal(io.StringIO(), io.StringIO(), width=60)
    points = [(10.0**power, recall / 20, power == 2, power == 3) for power in range(1, 6) for recall in range(21)]
    lines = plot(points, terminal)
    assert max(map(len, lines)) <= 60
    assert plot([], terminal) == []


@pytest.mark.parametrize(
    ("owner", "said"),
    [
        ("desk", "Profile/desk has no builds of Index/about of its own: it shares the index's."),
        ("dsek", "nothing is known of Profile/dsek; did you mean `Profile/desk`?"),
    ],
)
def test_a_profile_that_has_none_of_its_own(here: Lakehouse, lakectl: Lakectl, owner: str, said: str) -> None:
    for name in ("Index/about", "Profile/desk"):
        here.put(name, reasons.SUCCEEDED, "there")
    found = lakectl("trials", "about", "--profile", owner)
    assert (found.code, said in found.err) == (2, True)


def test_a_request_is_left(here: Lakehouse, lakectl: Lakectl) -> None:
    words = ["--engine", "hnsw", "--set", "m=16", "efConstruction=80", "--ef", "40,80,160", "--eval", "e", "--fidelity", "0.5"]
    said = lakectl("trial", "run", "about", *words)
    assert said.code == 1, "nothing is measured yet"
    assert "queued, not done: nobody is reconciling now" in " ".join(said.out.split())
    (request,) = here.requests.pending()
    assert (request.verb, request.object) == ("trial-run", "Index/about")
    assert request.payload == {
        "engine": "hnsw",
        "parameters": {"m": 16, "efConstruction": 80},
        "fidelity": 0.5,
        "evalSet": "e",
        "searches": [{"efSearch": 40}, {"efSearch": 80}, {"efSearch": 160}],
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--engine", "hnsw", "--set", "m"], "`m` is no parameter"),
        (["--engine", "hnsw", "--ef", "40,x"], "`x` is no whole number"),
        (["--engine", "flat", "--ef", "40"], "flat has no breadth"),
        (["--engine", "hnsw", "--fidelity", "1.5"], "no share"),
        ([], "--engine"),
    ],
)
def test_mistakes(here: Lakehouse, lakectl: Lakectl, words: list[str], message: str) -> None:
    said = lakectl("trial", "run", "about", *words)
    assert said.code == 2
    assert message in said.err
