"""GET /openapi.json: the API described, from the values that route and the models that validate; nothing is written twice.

Next: `endpoints.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api import problems
from api.bodies import JSON, encoded
from api.endpoints import Endpoint
from api.reader import BUCKET

PATH = "/openapi.json"
_REFERENCES = "#/components/schemas/{model}"
_ANYWHERE = (403, 404, 405, 417, 500, 503, 504)
"""Statuses that any route may end as."""
_SCOPE = {
    "name": BUCKET,
    "in": "header",
    "required": False,
    "description": "The only bucket whose tables, indexes and objects the request sees. It then sees no system table.",
    "schema": {"type": "string"},
}


def endpoint(others: Sequence[Endpoint], version: str) -> Endpoint:
    """The route that describes the others and itself. The document is made once."""
    described = orjson.dumps({})

    async def handle(request: web.Request) -> web.StreamResponse:
        return encoded(described)

    itself = Endpoint("GET", PATH, "This document", handle, {JSON: None}, readers="all")
    described = orjson.dumps(describe((*others, itself), version))
    return itself


def describe(endpoints: Iterable[Endpoint], version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    routes = tuple(endpoints)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(_without_patterns(route.path), {})[route.method.lower()] = _operation(route)
    title = "Lakehouse"
    summary = "Versioned datasets and vector indexes, declared in git: read by SQL and by search."
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "summary": summary, "version": version, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "paths": paths,
        "components": {"parameters": {"bucket": _SCOPE}, "schemas": _schemas(routes)},
    }


def _operation(route: Endpoint) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": _operation_id(route),
        "parameters": [*_path_parameters(route), *_query_parameters(route), {"$ref": "#/components/parameters/bucket"}],
        "responses": _responses(route),
    }
    if route.body is not None:
        operation["requestBody"] = {"required": not route.body_optional, "content": {JSON: {"schema": _reference(route.body)}}}
    return operation


def _without_patterns(path: str) -> str:
    """aiohttp's `{key:.+}` is `{key}`."""
    return re.sub(r"{(\w+):[^}]*}", r"{\1}", path)


def _operation_id(route: Endpoint) -> str:
    words = re.findall(r"[a-z0-9]+", _without_patterns(route.path))
    return "_".join((route.method.lower(), *words))


def _path_parameters(route: Endpoint) -> list[dict[str, Any]]:
    names = re.findall(r"{(\w+)}", _without_patterns(route.path))
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _query_parameters(route: Endpoint) -> list[dict[str, Any]]:
    if route.parameters is None:
        return []
    schema = route.parameters.model_json_schema(by_alias=True)
    required = schema.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in required, "description": part.get("description", ""), "schema": _present(part)}
        for name, part in schema["properties"].items()
    ]


def _present(part: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a parameter that is there: in a query string, null is absence and cannot be written."""
    kept = {
        word: value for word, value in part.items() if word not in {"title", "description", "anyOf"} and (word, value) != ("default", None)
    }
    for choice in part.get("anyOf", ()):
        if choice != {"type": "null"}:
            kept |= choice
    return kept


def _responses(route: Endpoint) -> dict[str, Any]:
    content = {kind: {} if model is None else {"schema": _reference(model)} for kind, model in route.answers.items()}
    done: dict[str, Any] = {"description": "The answer.", "content": content}
    if route.headers:
        done["headers"] = {name: {"description": text, "schema": {"type": "string"}} for name, text in route.headers.items()}
    problem = {problems.MEDIA_TYPE: {"schema": _reference(problems.Problem)}}
    failures = {
        str(status): {"description": HTTPStatus(status).phrase, "content": problem} for status in sorted({*route.problems, *_ANYWHERE})
    }
    return {"200": done, **failures}


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REFERENCES.format(model=model.__name__)}


def _schemas(routes: Sequence[Endpoint]) -> dict[str, Any]:
    bodies = {route.body for route in routes if route.body is not None}
    answers = {model for route in routes for model in route.answers.values() if model is not None} | {problems.Problem}
    wanted = [(model, "validation") for model in bodies] + [(model, "serialization") for model in answers]
    wanted.sort(key=lambda pair: pair[0].__name__)
    _, schema = models_json_schema(wanted, by_alias=True, ref_template=_REFERENCES)  # type: ignore[arg-type]
    found: dict[str, Any] = schema["$defs"]
    return found
