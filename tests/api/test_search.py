from __future__ import annotations

from math import log2
from typing import Any

import pytest

from api.search import SearchAnswer, SearchComparison, SearchSetComparison
from engines import comparing, errors
from engines.ranking import Ranking, Stage
from engines.reading import Reader
from engines.search_answer import SearchRequest, SearchResult
from engines.sql.facets import Facet

pytestmark = pytest.mark.anyio


async def test_hits_say_what_found_them(client: Any, world: Any) -> None:
    response = await client.post("/search", json={"index": "resumes", "text": "java", "k": 3, "filter": "city = 'Chicago'", "model": "m"})
    assert await response.json() == {
        "hits": [{"key": '["C-1"]', "chunk": 0, "text": "Java and Kafka", "score": 0.75}],
        "mode": "vector",
        "index": "resumes",
        "model": "builtin",
        "generation": "resumes-g1",
        "versions": {"candidates": 3},
    }
    asked = world.searches.asked[0]
    assert (asked.index, asked.text, asked.vector, asked.k, asked.filter, asked.model) == (
        "resumes", "java", None, 3, "city = 'Chicago'", "m",
    )  # fmt: skip


async def test_a_vector_is_asked_as_given(client: Any, world: Any) -> None:
    await client.post("/search", json={"index": "resumes", "vector": [0.5, 1, -2]})
    assert tuple(world.searches.asked[0].vector) == (0.5, 1.0, -2.0)
    assert world.searches.asked[0].k == 10


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"index": "resumes"}, "Exactly one of `text` and `vector` is needed."),
        ({"index": "resumes", "text": "a", "vector": [1.0]}, "Exactly one of `text` and `vector` is needed."),
        ({"index": "resumes", "text": "a", "k": 1_001}, "k: must be at most 1000"),
        ({"index": "resumes", "text": "a", "k": 0}, "greater than or equal to 1"),
        ({"index": "resumes", "texts": "a"}, "did you mean `text`?"),
        ({"index": "resumes", "vector": []}, "at least 1 item"),
        ({"text": "a"}, "index: is missing"),
        ({"index": "resumes", "text": "a", "mode": "fuzzy"}, "'vector', 'lexical' or 'hybrid'"),
        ({"index": "resumes", "text": "a", "weights": {"vector": -1}}, "greater than or equal to 0"),
        ({"index": "resumes", "text": "a", "weights": {"words": 1}}, "weights.words"),
        ({"index": "resumes", "text": "a", "threshold": {"beats": 1}}, "less than 1"),
        ({"index": "resumes", "text": "a", "groupBy": "file"}, "'row'"),
        ({"index": "resumes", "text": "a", "diversity": 2}, "must be at most 1"),
        ({"index": "resumes", "text": "a", "rerank": "cohere"}, "'builtin'"),
        ({"index": "resumes", "text": "a", "ab": ["builtin"]}, "at least 2 items"),
        ({"index": "resumes", "text": "a", "ab": ["a", "b", "c"]}, "at most 2 items"),
        ({"index": "resumes", "text": "a", "ab": ["a", "a"]}, "`ab` names two different models or generations"),
        ({"index": "resumes", "text": "a", "ab": ["a", "b"], "model": "a"}, "in the place of `model`"),
        ({"index": "resumes", "evalSet": "e"}, "`evalSet` goes with `ab`"),
        ({"index": "resumes", "evalSet": "e", "ab": ["a", "b"], "text": "a"}, "in the place of `text`, `vector` and `filter`"),
        ({"index": "resumes", "text": "a", "ab": ["a", "b"], "facets": ["city"]}, "leave them out, or `ab`"),
        ({"index": "resumes", "text": "a", "facets": ["a"] * 9}, "at most 8 items"),
        ({"index": "resumes", "text": "a", "facets": [""]}, "facets.0"),
        ({"index": "resumes", "text": "a", "facets": "city"}, "facets"),
        ({"index": "resumes", "evalSet": "e", "ab": ["a", "b"], "filter": "a"}, "in the place of `text`, `vector` and `filter`"),
    ],
)
async def test_requests_that_contradict_themselves_are_named(client: Any, world: Any, body: object, words: str) -> None:
    response = await client.post("/search", json=body)
    problem = await response.json()
    assert response.status == 422
    assert words in " ".join([problem["detail"], *(str(entry) for entry in problem["errors"])])
    assert not world.searches.asked


async def test_how_candidates_become_hits_is_passed_on(client: Any, world: Any) -> None:
    ranking = {"mode": "hybrid", "weights": {"lexical": 0.5}, "threshold": {"beats": 0.99}, "groupBy": "row", "diversity": 0.2}
    await client.post("/search", json={"index": "resumes", "text": "java", **ranking, "rerank": "builtin", "explain": True})
    assert world.searches.asked[0].ranking == Ranking("hybrid", 1.0, 0.5, None, 0.99, True, 0.2, "builtin", True)
    await client.post("/search", json={"index": "resumes", "text": "java", "threshold": 0.3})
    assert world.searches.asked[1].ranking == Ranking(threshold=0.3)


async def test_stages_are_told_where_they_are_asked_for(client: Any, world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stages = (Stage("filter", {"chunks": 3}), Stage("vector", {"weight": 1.0}, (('["C-1"]', 0, 0.75),)))

    async def search(request: SearchRequest, reader: Reader) -> SearchResult:
        return SearchResult((), "resumes", None, {}, mode="hybrid", stages=stages)

    monkeypatch.setattr(world.searches, "search", search)
    response = await client.post("/search", json={"index": "resumes", "text": "java", "explain": True})
    answer = await response.json()
    SearchAnswer.model_validate(answer)
    assert answer["mode"] == "hybrid"
    assert answer["stages"] == [
        {"stage": "filter", "chunks": 3, "candidates": []},
        {"stage": "vector", "weight": 1.0, "candidates": [{"key": '["C-1"]', "chunk": 0, "rank": 1, "score": 0.75}]},
    ]


async def test_facets_are_told_where_they_are_asked_for(client: Any, world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await client.post("/search", json={"index": "resumes", "text": "java", "facets": ["city", "open", "city"]})
    assert world.searches.asked[0].facets == ("city", "open")
    facets = {"city": Facet((("Berlin", 12), (None, 2)), 15, 3)}

    async def search(request: SearchRequest, reader: Reader) -> SearchResult:
        return SearchResult((), "resumes", None, {}, facets=facets)

    monkeypatch.setattr(world.searches, "search", search)
    answer = await (await client.post("/search", json={"index": "resumes", "text": "java", "facets": ["city"]})).json()
    SearchAnswer.model_validate(answer)
    values = [{"value": "Berlin", "count": 12}, {"value": None, "count": 2}]
    assert answer["facets"] == {"city": {"values": values, "rows": 15, "distinct": 3}}


async def test_two_versions_answer_side_by_side(client: Any, world: Any) -> None:
    response = await client.post("/search", json={"index": "resumes", "text": "java", "k": 3, "ab": ["builtin", "minilm"]})
    answer = await response.json()
    SearchComparison.model_validate_json(await response.read())
    assert [one["model"] for one in answer["ab"]] == ["builtin", "minilm"]
    assert [request.version for request in world.searches.asked] == ["builtin", "minilm"]
    gain = round(1 / (1 + 1 / log2(3)), 9)
    agreement = answer["agreement"]
    assert (agreement["k"], agreement["overlap"], agreement["rankCorrelation"]) == (3, 1.0, None), "one row has no order"
    assert [round(one, 9) for one in agreement["ndcg"]["resumes-eval"]] == [gain, gain]


async def test_two_versions_answer_all_queries_of_a_set(client: Any, world: Any) -> None:
    response = await client.post("/search", json={"index": "resumes", "k": 3, "ab": ["builtin", "minilm"], "evalSet": "resumes-eval"})
    answer = await response.json()
    SearchSetComparison.model_validate_json(await response.read())
    assert answer == {
        "evalSet": "resumes-eval", "ab": ["builtin", "minilm"], "k": 3, "queries": 2, "judged": 1,
        "overlap": 1.0, "rankCorrelation": None, "ndcg": [1.0, 1.0], "better": [0, 0],
    }  # fmt: skip
    asked = [(request.text, request.filter, request.version) for request in world.searches.asked]
    assert asked == [
        ("java", None, "builtin"), ("java", None, "minilm"),
        ("kafka", "city = 'Chicago'", "builtin"), ("kafka", "city = 'Chicago'", "minilm"),
    ]  # fmt: skip


async def test_a_comparison_has_a_bound(client: Any, world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "MOST_COMPARED", 2)
    response = await client.post("/search", json={"index": "resumes", "text": "java", "k": 3, "ab": ["builtin", "minilm"]})
    assert (response.status, (await response.json())["detail"]) == (400, "k must be at most 2 in a comparison, not 3.")
    assert not world.searches.asked


async def test_an_infinite_vector_is_refused(client: Any) -> None:
    body = b'{"index": "resumes", "vector": [1e999]}'
    response = await client.post("/search", data=body, headers={"Content-Type": "application/json"})
    assert response.status == 422


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.IndexUnknown("No index x."), 404),
        (errors.IndexNotServing("It is being built."), 503),
        (errors.ModelMismatch("Another model."), 422),
        (errors.FilterInvalid("No such column."), 400),
    ],
)
async def test_engine_errors_are_problems(client: Any, world: Any, error: errors.EngineError, status: int) -> None:
    world.searches.error = error
    response = await client.post("/search", json={"index": "x", "text": "a"})
    problem = await response.json()
    assert (response.status, problem["type"], problem["detail"]) == (status, f"urn:lakehouse:problem:{error.slug}", str(error))
    assert ("Retry-After" in response.headers) == (status == 503)


async def test_the_model_may_stand_in_the_address(client: Any, world: Any) -> None:
    body = {"index": "resumes", "text": "java"}
    assert (await client.post("/search?model=minilm", json=body)).status == 200
    assert (await client.post("/search?model=minilm", json={**body, "model": "minilm"})).status == 200
    assert [asked.model for asked in world.searches.asked] == ["minilm", "minilm"]


@pytest.mark.parametrize(
    ("query", "more"),
    [("model=a", {"model": "b"}), ("model=a", {"ab": ["a", "b"]}), ("model=", {}), ("models=a", {}), ("model=a&model=b", {})],
)
async def test_a_model_in_the_address_that_contradicts_the_body_is_refused(client: Any, world: Any, query: str, more: Any) -> None:
    response = await client.post(f"/search?{query}", json={"index": "resumes", "text": "java", **more})
    assert response.status in (400, 422)
    assert not world.searches.asked
