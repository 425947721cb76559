from __future__ import annotations

from typing import Any

import pytest

from engines import errors

pytestmark = pytest.mark.anyio


async def test_hits_say_what_found_them(client: Any, world: Any) -> None:
    response = await client.post("/search", json={"index": "resumes", "text": "java", "k": 3, "filter": "city = 'Chicago'", "model": "m"})
    assert await response.json() == {
        "hits": [{"key": '["C-1"]', "chunk": 0, "text": "Java and Kafka", "score": 0.75}],
        "index": "resumes",
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
    ],
)
async def test_requests_that_contradict_themselves_are_named(client: Any, world: Any, body: object, words: str) -> None:
    response = await client.post("/search", json=body)
    problem = await response.json()
    assert response.status == 422
    assert words in " ".join([problem["detail"], *(str(entry) for entry in problem["errors"])])
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
