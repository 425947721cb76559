"""GET /hnsw/trials/{index} and …/best, over trials in a stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from state.catalog.fold import ObjectState
from state.catalog.indexes import Corpus, EvalTruth, IndexRecord
from state.objects import ObjectRef
from state.streams.schemas import TRIALS
from state.trials import Trial, TrialBook
from state.tuning import Note, TuningBook

pytestmark = pytest.mark.anyio
CORPUS = Corpus("c", ObjectRef("lake", "k", 1, "0" * 64), 1, 1, "s", 1, "f", 4)


def trial(name: str, recall: float = 0.95, p95: float = 100.0, **more: Any) -> Trial:
    values: dict[str, Any] = {"index": "resumes", "generation": None, "engine": "hnsw", "params": {"m": 8}, "fidelity": 1.0}
    values |= {"eval_set": "e", "snapshot": "s", "recall_at_1": recall, "recall_low": recall - 0.01, "p50_us": 1.0, "p99_us": 3.0}
    values |= {
        "qps": None,
        "build_seconds": 1.0,
        "build_cpu_seconds": None,
        "load_seconds": 0.1,
        "memory_bytes": 10 << 20,
        "disk_bytes": 20,
    }
    values |= {"proposed_by": "spec", "detail": {"truth": "t"}}
    return Trial(trial=name, recall_at_10=recall, p95_us=p95, **{**values, **more})


@dataclass
class Catalog:
    """One index, in bucket lake, and one that was dropped."""

    def objects(self, kind: str) -> dict[str, ObjectState]:
        return self._known() if kind == "Index" else {}

    def get(self, name: str) -> ObjectState | None:
        return self._known().get(name)

    def _known(self) -> dict[str, ObjectState]:
        record = IndexRecord("resumes", {"c": CORPUS}, truths={"e": EvalTruth("e", "t", "c", CORPUS.ref, 10, 500)})
        return {"Index/resumes": ObjectState("Index/resumes", index=record), "Index/gone": ObjectState("Index/gone")}


@pytest.fixture
def ask(opened: Any, streams: Any) -> Any:
    """The status and the document of a path, of these trials."""
    TrialBook(streams).add(
        [
            trial("bad", 0.5, 10.0),
            trial("fast", 0.92, 50.0),
            trial("good", 0.98, 100.0, memory_bytes=5 << 20),
            trial("slow", 0.97, 200.0),
            trial("share", 0.99, 1.0, fidelity=0.1),
            trial("other", 0.99, 1.0, index="other"),
        ]
    )

    async def get(path: str, **headers: str) -> tuple[int, Any]:
        async with opened(catalog=Catalog(), registry=CollectorRegistry()) as client:
            response = await client.get(path, headers=headers)
            return response.status, await response.json()

    return get


def names(content: Any) -> list[str]:
    return [row["trial"] for row in content["trials"]]


async def test_a_row_has_the_names_of_the_stream(ask: Any) -> None:
    status, content = await ask("/hnsw/trials/resumes")
    assert (status, content["next"], content["cursor"]) == (200, None, None)
    assert names(content) == ["share", "slow", "good", "fast", "bad"]
    assert set(content["trials"][0]) == {column.name for column in TRIALS.columns} - {"id"}
    assert content["trials"][0]["params"] == {"m": 8}
    assert content["trials"][0]["at"] == "2026-11-22T00:00:00.000Z"


async def test_pages(ask: Any) -> None:
    found, cursor = [], ""
    while cursor is not None:
        _, content = await ask(f"/hnsw/trials/resumes?limit=2{cursor and f'&cursor={cursor}'}")
        found.append(names(content))
        cursor = content["cursor"]
    assert found == [["share", "slow"], ["good", "fast"], ["bad"]]
    assert names((await ask("/hnsw/trials/resumes?evalSet=e&limit=1"))[1]) == ["share"]
    assert names((await ask("/hnsw/trials/resumes?cursor=none"))[1]) == []


@pytest.mark.parametrize(
    ("parameters", "best", "front"),
    [
        ("", "fast", None),
        ("gate=0.95", "good", None),
        ("gate=1", None, None),
        ("objective=memory", "good", None),
        ("objective=latencyP95:1,memory:2", "good", None),
        ("objective=latencyP95:3,memory:1", "fast", None),
        ("pareto=true", "fast", ["bad", "fast", "good"]),
        ("evalSet=e", "fast", None),
    ],
)
async def test_the_best(ask: Any, parameters: str, best: str | None, front: list[str] | None) -> None:
    status, content = await ask(f"/hnsw/trials/resumes/best?{parameters}")
    assert status == 200
    assert (content["best"] and content["best"]["trial"]) == best
    assert (content["front"] and [row["trial"] for row in content["front"]]) == front


async def test_the_best_says_by_what(ask: Any) -> None:
    _, content = await ask("/hnsw/trials/resumes/best")
    assert {name: content[name] for name in ("evalSets", "model", "compared", "above")} == {
        "evalSets": ["e"], "model": None, "compared": 4, "above": 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "status", "remedy"),
    [("?evalSet=f", 400, "Those of the index are e."), ("/best?model=f", 422, "The index answers by none yet.")],
)
async def test_names_that_are_none(ask: Any, path: str, status: int, remedy: str) -> None:
    found, problem = await ask(f"/hnsw/trials/resumes{path}")
    assert (found, problem["remedy"]) == (status, remedy)


@pytest.mark.parametrize("path", ["/hnsw/trials/resume", "/hnsw/trials/gone", "/hnsw/trials/resume/best"])
async def test_there_is_no_such_index(ask: Any, path: str) -> None:
    status, problem = await ask(path)
    assert (status, problem["type"]) == (404, "urn:lakehouse:problem:index-unknown")
    assert ("did you mean `resumes`?" in problem["detail"]) == ("gone" not in path)
    hidden = await ask(path, **{"X-Lakehouse-Bucket": "far"})
    assert "resumes`" not in str(hidden[1])


async def test_a_profile_that_has_none_of_its_own_is_answered_as_one_that_is_none(ask: Any) -> None:
    for path in ("/hnsw/trials/resumes?profile=nobody", "/hnsw/trials/resumes/best?profile=nobody"):
        status, problem = await ask(path)
        assert (status, problem["detail"]) == (404, "Profile 'nobody' has nothing of an index 'resumes' for itself.")
        assert "without `profile`" in problem["remedy"]


async def test_a_hidden_index_is_none(ask: Any) -> None:
    hidden, shown = [await ask("/hnsw/trials/resumes", **{"X-Lakehouse-Bucket": name}) for name in ("far", "lake")]
    assert (hidden[0], shown[0]) == (404, 200)


@pytest.mark.parametrize("parameters", ["objective=speed", "objective=memory:0", "gate=2", "pareto=maybe", "limit=0", "gat=1"])
async def test_parameters_that_do_not_fit(ask: Any, parameters: str) -> None:
    path = "/hnsw/trials/resumes" + ("" if parameters.startswith("limit") else "/best")
    status, problem = await ask(f"{path}?{parameters}")
    assert (status, problem["type"]) == (400, "urn:lakehouse:problem:parameters-invalid")


async def test_what_a_budget_measures_next(ask: Any, streams: Any) -> None:
    book, about = TuningBook(streams), {"engine": "hnsw", "params": {"m": 8}, "searches": ({"efSearch": 40},), "fidelity": 1.0}
    for index, trials in (("resumes", ("good",)), ("resumes", ("soon",)), ("other", ("else",))):
        book.add(Note("TrialBudget/b", index, "s", "t", "proposed", "it looks good", trials=trials, **about))  # type: ignore[arg-type]
    _, content = await ask("/hnsw/trials/resumes")
    assert content["next"] == {
        "budget": "TrialBudget/b", "engine": "hnsw", "params": {"m": 8}, "searches": [{"efSearch": 40}], "fidelity": 1.0,
        "trials": ["soon"], "why": "it looks good", "at": "2026-11-22T00:00:00.000Z",
    }  # fmt: skip
    book.add(Note("TrialBudget/c", "resumes", "s", "former", "proposed", "it looks good", trials=("late",), **about))  # type: ignore[arg-type]
    assert (await ask("/hnsw/trials/resumes"))[1]["next"] is None, "by answers that are no more"
    book.add(Note("TrialBudget/b", "resumes", "s", "t", "failed", "it broke", trials=("soon",)))
    assert (await ask("/hnsw/trials/resumes"))[1]["next"] is None


async def test_trials_of_a_profile_are_those_of_its_own(ask: Any, streams: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    TrialBook(streams).add([trial("mine", index="resumes@p", eval_set="e@p")])
    record = IndexRecord("resumes@p", {"c": CORPUS}, truths={"e@p": EvalTruth("e@p", "t", "c", CORPUS.ref, 10, 500)})
    known = {"Index/resumes@p": ObjectState("Index/resumes@p", index=record)}
    monkeypatch.setattr(Catalog, "get", lambda self, name: known.get(name))
    assert names((await ask("/hnsw/trials/resumes?profile=p"))[1]) == ["mine"]
    assert names((await ask("/hnsw/trials/resumes?profile=p&evalSet=e"))[1]) == ["mine"]
    status, best = await ask("/hnsw/trials/resumes/best?profile=p&evalSet=e")
    assert (status, best["best"]["trial"], best["evalSets"]) == (200, "mine", ["e@p"])
    assert (await ask("/hnsw/trials/resumes?profile=q"))[0] == 404
