"""The description is complete, and what is answered is what it describes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from anyio import to_thread
from jsonschema import Draft202012Validator
from prometheus_client import CollectorRegistry

from api.app import build_app
from api.limits import Limits
from engines.errors import (
    EngineUnsupported,
    FilterInvalid,
    IndexNotServing,
    IndexUnknown,
    ModelMismatch,
    ModelUnavailable,
    QueryTimeout,
    SearchInvalid,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def document(client: Any) -> dict[str, Any]:
    content: dict[str, Any] = await (await client.get("/openapi.json")).json()
    return content


async def test_every_route_is_described(document: dict[str, Any], world: Any) -> None:
    app = build_app(replace(world.parts, registry=CollectorRegistry()))
    routes = {(route.method, route.resource.canonical) for route in app.router.routes() if route.method != "HEAD"}
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert routes == described


async def test_the_document_is_openapi_without_loose_ends(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    references = set(_references(document))
    assert references
    parts = {f"#/components/{kind}/{name}" for kind, named in document["components"].items() for name in named}
    assert references <= parts
    operations = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert len(operations) == len(set(operations))


def _references(node: object) -> list[str]:
    match node:
        case dict():
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [reference for value in node.values() for reference in _references(value)]
        case list():
            return [reference for value in node for reference in _references(value)]
        case _:
            return []


def check(document: dict[str, Any], path: str, method: str, status: int, media_type: str, content: object) -> None:
    response = document["paths"][path][method]["responses"][str(status)]
    schema = response["content"][media_type].get("schema", {})
    Draft202012Validator({**schema, "components": document["components"]}).validate(content)


@pytest.mark.parametrize(
    ("path", "described"),
    [
        ("/status", "/status"),
        ("/events", "/events"),
        ("/catalog/datasets", "/catalog/datasets"),
        ("/catalog/datasets/job-orders", "/catalog/datasets/{name}"),
        ("/catalog/datasets/nothing", "/catalog/datasets/{name}"),
        ("/status?what=1", "/status"),
        ("/hnsw/cache/stats", "/hnsw/cache/stats"),
        ("/healthz", "/healthz"),
        ("/readyz", "/readyz"),
        ("/openapi.json", "/openapi.json"),
    ],
)
async def test_answers_of_get_are_as_described(client: Any, world: Any, document: dict[str, Any], path: str, described: str) -> None:
    event = {"object": "Dataset/a", "kind": "Dataset", "name": "a", "type": "Normal", "reason": "R", "message": "m", "detail": {"n": 1}}
    await to_thread.run_sync(world.streams.append, "events", event)
    response = await client.get(path)
    check(document, described, "get", response.status, response.content_type, await response.json())


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/query", {"sql": "SELECT 1"}),
        ("/query", {"sq": "SELECT 1"}),
        ("/search", {"index": "resumes", "text": "java"}),
        ("/search", {"index": "resumes"}),
    ],
)
async def test_answers_of_post_are_as_described(client: Any, document: dict[str, Any], path: str, body: object) -> None:
    response = await client.post(path, json=body)
    check(document, path, "post", response.status, response.content_type, await response.json())


async def test_bodies_are_described_as_they_are_validated(document: dict[str, Any]) -> None:
    body = document["components"]["schemas"]["QueryBody"]
    assert set(body["properties"]) == {"sql", "params", "at", "schema", "maxRows"}
    assert body["required"] == ["sql"]
    assert body["additionalProperties"] is False


async def test_parameters_are_described_as_they_are_validated(document: dict[str, Any]) -> None:
    events = {parameter["name"]: parameter for parameter in document["paths"]["/events"]["get"]["parameters"] if "name" in parameter}
    assert set(events) == {"object", "kind", "type", "reason", "since", "limit", "cursor"}
    assert events["limit"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}
    assert events["type"]["schema"] == {"type": "string", "enum": ["Normal", "Warning"]}
    assert all(parameter["description"] for parameter in events.values())
    assert events["since"]["schema"] == {"type": "string"}


@pytest.mark.parametrize(
    ("question", "valid"),
    [
        ({"text": "a"}, True), ({"vector": [1.0]}, True), ({"text": "a", "vector": None}, True), ({"text": None, "vector": [1.0]}, True),
        ({"text": "a", "k": 1_000}, True), ({}, False), ({"text": None}, False), ({"text": "a", "vector": [1.0]}, False),
        ({"text": ""}, False), ({"vector": []}, False), ({"text": "a", "k": 1_001}, False), ({"text": "a", "k": 0}, False),
    ],
)  # fmt: skip
async def test_searches_are_described_as_they_are_validated(
    client: Any, document: dict[str, Any], question: dict[str, Any], valid: bool
) -> None:
    body = {"index": "resumes", **question}
    reference = document["paths"]["/search"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    described = Draft202012Validator({**reference, "components": document["components"]})
    assert described.is_valid(body) is valid
    assert ((await client.post("/search", json=body)).status == 200) is valid


@pytest.mark.parametrize("limit", [3, 5_000])
async def test_defaults_keep_to_the_limits(opened: Any, limit: int) -> None:
    async with opened(limits=Limits(search_k=limit, page=limit)) as client:
        described = await (await client.get("/openapi.json")).json()
        (schema,) = (part["schema"] for part in described["paths"]["/events"]["get"]["parameters"] if part.get("name") == "limit")
        k = described["components"]["schemas"]["SearchBody"]["properties"]["k"]
        assert (schema["maximum"], schema["default"], k["maximum"], k["default"]) == (limit, min(100, limit), limit, min(10, limit))
        assert (await client.get("/events")).status == 200
        assert (await client.post("/search", json={"index": "resumes", "text": "a"})).status == 200


async def test_every_ending_of_a_search_is_described(client: Any, world: Any, document: dict[str, Any]) -> None:
    described = document["paths"]["/search"]["post"]["responses"]
    for error in (
        EngineUnsupported,
        IndexUnknown,
        IndexNotServing,
        SearchInvalid,
        ModelMismatch,
        FilterInvalid,
        ModelUnavailable,
        QueryTimeout,
    ):
        world.searches.error = error("It could not.")
        response = await client.post("/search", json={"index": "resumes", "text": "a"})
        assert str(response.status) in described, error
