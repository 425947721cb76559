"""The description is complete, and what is answered is what it describes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from anyio import to_thread
from jsonschema import Draft202012Validator
from prometheus_client import CollectorRegistry

from api.app import build_app

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
    assert {reference.removeprefix("#/components/schemas/") for reference in references} <= set(document["components"]["schemas"])
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
    assert set(body["properties"]) == {"sql", "params", "maxRows"}
    assert body["required"] == ["sql"]
    assert body["additionalProperties"] is False


async def test_parameters_are_described_as_they_are_validated(document: dict[str, Any]) -> None:
    events = {parameter["name"]: parameter for parameter in document["paths"]["/events"]["get"]["parameters"]}
    assert set(events) == {"object", "type", "reason", "since", "limit", "cursor"}
    assert events["limit"]["schema"] == {"type": "integer", "minimum": 1}
    assert events["since"]["schema"] == {"type": "string"}
