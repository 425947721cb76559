"""Errors of every room end as problem documents, and only as those."""

from __future__ import annotations

import importlib
import logging
from collections import Counter
from typing import Any

import pytest

from api import problems
from api.errors import ApiError
from engines import errors as engine
from specs.errors import LakehouseError

ROOMS = ("specs.errors", "state.errors", "state.streams.schemas", "state.catalog.fold", "engines.errors", "api.errors")


def every_error() -> list[type[LakehouseError]]:
    for room in ROOMS:
        importlib.import_module(room)
    found, waiting = list[type[LakehouseError]](), [LakehouseError]
    while waiting:
        kind = waiting.pop()
        found.append(kind)
        waiting += kind.__subclasses__()
    return [kind for kind in found if kind.__module__ in ROOMS]


def test_every_error_has_a_slug_of_its_own_and_a_status() -> None:
    kinds = every_error()
    repeated = [slug for slug, count in Counter(kind.slug for kind in kinds).items() if count > 1]
    assert not repeated
    for kind in kinds:
        error = kind.__new__(kind, "what happened")
        assert 400 <= problems.status_of(error) <= 599, kind


def test_a_document_carries_the_remedy() -> None:
    error = engine.TableUnknown("There is no table x.", remedy="SHOW TABLES lists them.")
    assert problems.document(error) == {
        "type": "urn:lakehouse:problem:table-unknown",
        "title": "Table unknown",
        "status": 404,
        "detail": "There is no table x.",
        "remedy": "SHOW TABLES lists them.",
    }


def test_every_error_of_this_room_says_its_own_status() -> None:
    assert all("status" in vars(kind) or kind.__base__ is not ApiError or kind.status == 400 for kind in ApiError.__subclasses__())


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (engine.QueryInvalid("line 1: expected an expression"), 400),
        (engine.VersionUnknown("`x` has no version 9."), 404),
        (engine.QueryForbidden("INSERT is not reading."), 403),
        (engine.TableUnknown("There is no table x."), 404),
        (engine.QueryTooLarge("The text has 2 MB."), 422),
        (engine.QueryTimeout("It took longer than 30 s."), 504),
        (engine.WorkersBusy("All workers are busy."), 503),
        (engine.WorkerCrashed("The worker died."), 422),
        (LakehouseError("Something else."), 500),
    ],
)
async def test_errors_of_a_service_are_problems(client: Any, world: Any, error: LakehouseError, status: int) -> None:
    world.queries.error = error
    response = await client.post("/query", json={"sql": "SELECT 1"})
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = await response.json()
    assert (response.status, problem["status"], problem["detail"]) == (status, status, str(error))


@pytest.mark.anyio
async def test_a_defect_tells_the_log_and_not_the_client(client: Any, world: Any, caplog: pytest.LogCaptureFixture) -> None:
    world.queries.error = ZeroDivisionError("password=hunter2")
    with caplog.at_level(logging.ERROR):
        response = await client.post("/query", json={"sql": "SELECT 1"})
    text = await response.text()
    assert response.status == 500
    assert "internal-error" in text
    assert "hunter2" not in text
    incident = (await response.json())["remedy"].split()[-1].rstrip(".")
    assert incident in caplog.text
    assert "hunter2" in caplog.text


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/", "/nothing", "/query/", "/catalog", "/catalog/datasets/"])
async def test_unknown_paths_are_problems(client: Any, path: str) -> None:
    response = await client.get(path)
    assert (response.status, (await response.json())["type"]) == (404, "urn:lakehouse:problem:route-unknown")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "/query", "POST"), ("HEAD", "/search", "POST"), ("DELETE", "/status", "GET,HEAD"), ("PUT", "/query", "POST")],
)
async def test_other_methods_are_problems_that_say_which_are_allowed(client: Any, method: str, path: str, allowed: str) -> None:
    response = await client.request(method, path)
    assert (response.status, response.headers["Allow"]) == (405, allowed)
    if method != "HEAD":
        assert (await response.json())["type"] == "urn:lakehouse:problem:method-refused"
