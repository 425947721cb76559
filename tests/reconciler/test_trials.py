"""An index is measured by its eval sets, what is measured chooses what serves, and requests measure more."""

from __future__ import annotations

import json
from typing import Any

import pytest
from measured_lake import FLAT, HNSW, KEYED, ask, eval_set, lake, record, rows, trials, truth
from small_lake import BUCKET, Bench, dataset, generation, index

from engines.trials.choice import passes
from specs.resource import Key
from state import failpoints, reasons
from state.requests import Request
from state.streams.catalog_tables import CATALOG_TABLES
from state.trials import Trial

COLUMNS = [column.name for column in CATALOG_TABLES["eval_sets"].columns]


def test_every_build_is_measured(bench: Bench) -> None:
    status = lake(bench, FLAT, HNSW, eval_set("e"))["EvalSet/e"]
    assert (status.ready, status.message) == ("True", "60 queries; 2 builds measured"), status
    assert status.detail["queries"] == 60
    found = {trial["generation"]: trial for trial in trials(bench)}
    assert found.keys() == {"exact", "graph"}
    exact, graph = found["exact"], found["graph"]
    assert (exact["recall_at_1"], exact["recall_at_10"], exact["memory_bytes"]) == (1, 1, 0)
    assert 0.9 < exact["recall_low"] < 1, "60 queries say that much, and no more"
    assert json.loads(graph["params"]) == {"m": 8, "efConstruction": 40, "seed": 100, "efSearch": 40}
    assert all(graph[name] > 0 for name in ("p50_us", "p95_us", "p99_us", "qps", "build_seconds", "load_seconds", "disk_bytes"))
    assert graph["p50_us"] <= graph["p95_us"] <= graph["p99_us"]
    assert (graph["proposed_by"], graph["eval_set"], graph["fidelity"]) == ("spec", "e", 1)
    assert json.loads(graph["detail"])["truth"] == truth(bench).digest


def test_nothing_is_measured_twice(bench: Bench) -> None:
    lake(bench, HNSW, eval_set("e"))
    before = trials(bench)
    bench.settle()
    bench.close()
    bench.open()
    bench.follower.advance()
    bench.settle()
    assert trials(bench) == before


@pytest.mark.parametrize("point", ["truth.stored", "eval-set.before-truth-entry", "eval-set.before-trials", "eval-set.after-trials"])
def test_what_breaks_off_is_gone_on_with(bench: Bench, point: str) -> None:
    failpoints.arm({point: "error"})
    try:
        assert lake(bench, FLAT)["Index/i"].ready == "True"
        bench.commit(BUCKET, dataset("x", KEYED), index("i", "x"), FLAT, eval_set("e"))
        bench.reconciler.visit(Key.parse("EvalSet/e"))
        assert bench.by_object()["EvalSet/e"].ready == "False"
        bench.close()
        bench.open()
        bench.follower.advance()
        assert bench.settle()["EvalSet/e"].ready == "True"
    finally:
        failpoints.disarm()
    assert len(trials(bench)) == 1
    assert len(list((bench.folder / "lake/indexes/i/evals").iterdir())) == 1


def test_trials_choose(bench: Bench) -> None:
    """By the rule a small index is served exactly; measured, by whatever is fastest above the gate."""
    bad = generation("bad", "i", "hnsw: {m: 2, efConstruction: 2, efSearch: 1}")
    lake(bench, FLAT, bad, count=1500)
    serving = record(bench).serving
    assert serving is not None
    assert serving.generation == "exact"
    bench.commit(BUCKET, dataset("x", KEYED), index("i", "x"), FLAT, bad, HNSW, eval_set("e"))
    bench.settle()
    bench.settle()  # a trial is no commit: it wakes the index of a daemon
    found = {trial["generation"]: trial for trial in trials(bench)}
    assert found.keys() == {"exact", "bad", "graph"}
    assert found["bad"]["recall_low"] < 0.9
    serving = record(bench).serving
    assert serving is not None
    passing = {name: trial["p95_us"] for name, trial in found.items() if passes(Trial.from_row(trial))}
    assert serving.generation in passing
    assert passing[serving.generation] <= min(passing.values()) / 0.9
    assert bench.by_object()["Index/i"].detail["p95Us"] > 0


def test_answers_follow_the_rows(bench: Bench) -> None:
    lake(bench, FLAT, eval_set("e"), spec=", rebuildShare: 0")
    before = truth(bench)
    bench.write("data/x/2.csv", rows(300, 2, 1000))
    bench.settle()
    after = truth(bench)
    assert after.corpus != before.corpus
    assert after.corpus in record(bench).corpora
    assert (bench.folder / "lake" / after.ref.key).exists()
    assert not (bench.folder / "lake" / before.ref.key).exists()
    assert {json.loads(trial["detail"])["truth"] for trial in trials(bench)} == {before.digest, after.digest}


def test_answers_are_no_garbage(bench: Bench) -> None:
    lake(bench, FLAT, eval_set("e"))
    bench.clock.advance(10**7)
    assert bench.collect().total.objects == 0
    assert (bench.folder / "lake" / truth(bench).ref.key).exists()
    bench.commit(BUCKET, dataset("x", KEYED))
    bench.settle()
    assert not list((bench.folder / "lake").glob("indexes/i/*/*.parquet")), "they go with the index as well"


def test_what_is_promoted_by_hand_says_so(bench: Bench) -> None:
    lake(bench, FLAT, HNSW, eval_set("e"))
    serving = record(bench).serving
    assert serving is not None
    other = "graph" if serving.generation == "exact" else "exact"
    bench.requests.submit(Request("01J00000000000000000000001", "promote", "Index/i", "ann", "a test", {"generation": other}))
    bench.operator.answer()
    assert {trial["generation"] for trial in trials(bench) if trial["promoted"]} == {"exact", "graph"}


def test_a_tail_changes_nothing(bench: Bench) -> None:
    lake(bench, FLAT, eval_set("e"))
    before, measured = truth(bench), trials(bench)
    bench.write("data/x/2.csv", "id,text\n1000,a lawyer\n")
    bench.settle()
    assert (truth(bench), trials(bench)) == (before, measured)


def test_answers_that_are_lost_are_computed_again(bench: Bench) -> None:
    lake(bench, FLAT, eval_set("e"))
    before = truth(bench)
    (bench.folder / "lake" / before.ref.key).unlink()
    bench.settle()
    assert truth(bench) == before
    assert (bench.folder / "lake" / before.ref.key).exists()
    assert [event["message"] for event in bench.events(reasons.DRIFT_DETECTED)] != []


def test_an_eval_set_goes_with_its_answers(bench: Bench) -> None:
    lake(bench, FLAT, eval_set("e"))
    before = truth(bench)
    bench.commit(BUCKET, dataset("x", KEYED), index("i", "x"), FLAT)
    bench.settle()
    assert record(bench).truths == {}
    assert not (bench.folder / "lake" / before.ref.key).exists()
    assert trials(bench), "what was measured is history"
    assert "EvalSet/e" not in bench.catalog.objects("EvalSet") or bench.catalog.get("EvalSet/e").gone  # type: ignore[union-attr]


def test_two_eval_sets_on_one_index(bench: Bench) -> None:
    lake(bench, HNSW, eval_set("e"), eval_set("f", "generate: {queries: 50, seed: 8}", k=5))
    assert record(bench).truths.keys() == {"e", "f"}
    assert sorted(trial["eval_set"] for trial in trials(bench)) == ["e", "f"]
    assert ask(bench, {"engine": "flat"})["outcome"] == "refused"
    assert ask(bench, {"engine": "flat", "evalSet": "f"})["outcome"] == "done"


class TestRequests:
    @pytest.fixture
    def measured(self, bench: Bench) -> Bench:
        lake(bench, FLAT, eval_set("e"), count=600)
        return bench

    def test_one_build_and_several_searches(self, measured: Bench) -> None:
        payload = {"engine": "hnsw", "parameters": {"m": 6, "efConstruction": 30}, "searches": [{"efSearch": 10}, {"efSearch": 60}]}
        ended = ask(measured, payload)
        assert ended["outcome"] == "done", ended
        assert ended["message"].startswith("efSearch 10: recall@10 0.")
        found = [trial for trial in trials(measured) if trial["engine"] == "hnsw"]
        assert [json.loads(trial["params"])["efSearch"] for trial in found] == [10, 60]
        assert found[0]["recall_at_10"] <= found[1]["recall_at_10"]
        assert [trial["proposed_by"] for trial in found] == ["ann", "ann"]
        assert sum(build.engine == "hnsw" for build in record(measured).builds.values()) == 1, "a build like any other"
        before = trials(measured)
        assert ask(measured, payload)["message"] == ended["message"]
        assert trials(measured) == before
        measured.settle()
        serving = record(measured).serving
        assert serving is not None
        assert serving.generation == "exact", "a trial serves nothing by itself"

    def test_it_runs_beside_everything_else(self, measured: Bench) -> None:
        """Visits of the index and its eval set end jobs that they do not want: not this one's."""
        measured.close()
        measured.workers = 1
        measured.open()
        measured.follower.advance()
        payload = {"engine": "hnsw", "parameters": {"m": 9}}
        measured.requests.submit(Request("01J00000000000000000009999", "trial-run", "Index/i", "ann", "a test", payload))
        ended: list[dict[str, Any]] = []
        while not ended:
            measured.ended.clear()
            measured.operator.answer()
            for name in ("EvalSet/e", "Index/i"):
                measured.reconciler.visit(Key.parse(name))
            ended = [row for row in measured.streams.read("requests") if row["request"].endswith("9999")]
            assert ended or measured.ended.wait(60)
        assert ended[0]["outcome"] == "done", ended
        assert trials(measured)[-1]["engine"] == "hnsw"

    def test_a_share_of_the_rows_is_built_over_and_thrown_away(self, measured: Bench) -> None:
        ended = ask(measured, {"engine": "hnsw", "parameters": {"m": 6}, "fidelity": 0.6})
        assert ended["outcome"] == "done", ended
        trial = trials(measured)[-1]
        assert (trial["fidelity"], trial["engine"]) == (0.6, "hnsw")
        assert len(record(measured).builds) == 1
        assert ask(measured, {"engine": "hnsw", "fidelity": 0.1})["outcome"] == "failed"

    @pytest.mark.parametrize(
        ("payload", "message"),
        [
            ({"engine": "hsnw"}, "There is no vector engine 'hsnw'"),
            ({"engine": "hnsw", "parameters": {"mm": 3}}, "No parameters of hnsw"),
            ({"engine": "hnsw", "searches": [{"m": 3}, {"m": 4}]}, "different builds"),
            ({"engine": "hnsw", "searches": []}, "That is no trial"),
            ({"engine": "hnsw", "fidelity": 0}, "That is no trial"),
            ({}, "That is no trial"),
            ({"engine": "hnsw", "evalSet": "f"}, "no answers of EvalSet/f"),
        ],
    )
    def test_what_cannot_be_tried(self, measured: Bench, payload: dict[str, Any], message: str) -> None:
        ended = ask(measured, payload)
        assert ended["outcome"] == "refused"
        assert message in ended["message"]

    def test_builds_of_trials_are_kept_by_number(self, measured: Bench) -> None:
        for m in range(4, 10):
            assert ask(measured, {"engine": "hnsw", "parameters": {"m": m}})["outcome"] == "done"
        measured.settle()
        kept = [build.parameters["m"] for build in record(measured).builds.values() if build.engine == "hnsw"]
        assert kept == [7, 8, 9], "`keep: 3`, the newest"


def test_answers_are_a_table(bench: Bench) -> None:
    lake(bench, FLAT, eval_set("e"))
    state = bench.catalog.get("Index/i")
    assert state is not None
    (row,) = CATALOG_TABLES["eval_sets"].rows(state, bench.state.describe)
    told = dict(zip(COLUMNS, row, strict=True))
    assert (told["index"], told["eval_set"], told["queries"], told["k"]) == ("i", "e", 60, 10)
