"""Status, events, datasets, probes and figures: all that is read with GET."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest
from anyio import to_thread
from blockbuster import BlockingError

from api.datasets import DatasetRoutes
from api.events import EventParameters, EventRoute
from api.threads import Threads
from engines.audit import Facts
from engines.reading import ANONYMOUS

pytestmark = pytest.mark.anyio


async def test_status_lists_every_object_and_the_daemon(client: Any) -> None:
    content = await (await client.get("/status")).json()
    assert content["revision"] == "abc123"
    assert [(row["kind"], row["name"]) for row in content["objects"]] == [
        ("Bucket", "primary"), ("Dataset", "candidates"), ("Index", "resumes"),
    ]  # fmt: skip
    assert set(content["objects"][0]) == {
        "kind", "name", "ready", "reason", "message", "revision", "appliedRevision", "observedAt", "digest",
    }  # fmt: skip
    assert content["daemon"] == {"since": "2026-11-22T15:00:00.000Z", "listen": "127.0.0.1:8484", "pid": 42}


@pytest.mark.parametrize(
    ("parameters", "names"),
    [("kind=Dataset", ["candidates"]), ("name=resumes", ["resumes"]), ("kind=Index&name=candidates", []), ("kind=Nothing", [])],
)
async def test_status_is_narrowed_by_kind_and_name(client: Any, parameters: str, names: list[str]) -> None:
    content = await (await client.get(f"/status?{parameters}")).json()
    assert [row["name"] for row in content["objects"]] == names


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/status?kin=Dataset", "did you mean `kind`?"),
        ("/status?kind=A&kind=B", "is given more than once"),
        ("/events?limit=many", "valid integer"),
        ("/events?limit=0", "greater than or equal to 1"),
        ("/events?limit=5000", "must be at most 1000"),
        ("/events?type=warning", "should be 'Normal' or 'Warning'"),
        ("/events?kin=Dataset", "did you mean `kind`?"),
        ("/catalog/datasets?verbose=1", "verbose: is not a known field"),
    ],
)
async def test_parameters_that_do_not_fit_are_named(client: Any, path: str, words: str) -> None:
    response = await client.get(path)
    problem = await response.json()
    assert (response.status, problem["type"]) == (400, "urn:lakehouse:problem:parameters-invalid")
    assert words in problem["detail"]


async def _append(world: Any, count: int, **event: Any) -> tuple[str, ...]:
    events = [{"type": "Normal", "object": "Dataset/a", "kind": "Dataset", **event, "message": str(n)} for n in range(count)]
    ids: tuple[str, ...] = await to_thread.run_sync(world.streams.append_many, "events", events)
    return ids


async def test_events_come_newest_first_page_by_page(client: Any, world: Any) -> None:
    ids = await _append(world, 5)
    seen: list[str] = []
    cursor = ""
    for expected in (2, 2, 1):
        page = await (await client.get(f"/events?limit=2{cursor}")).json()
        assert len(page["events"]) == expected
        seen += [event["id"] for event in page["events"]]
        cursor = f"&cursor={page['next']}"
    assert page["next"] is None
    assert tuple(seen) == ids[::-1]


async def test_events_are_narrowed(client: Any, world: Any) -> None:
    await _append(world, 2)
    (wanted,) = await _append(world, 1, object="Index/b", kind="Index", type="Warning", reason="FileRefused", detail={"line": 7})
    for parameters in ("object=Index/b", "kind=Index", "type=Warning", "reason=FileRefused", f"since={wanted}", "kind=Index&type=Warning"):
        (event,) = (await (await client.get(f"/events?{parameters}")).json())["events"]
        assert event["id"] == wanted
        assert event["detail"] == {"line": 7}
    for parameters in ("since=2030-01-01", "kind=Index&type=Normal", "kind=index", "kind=Ind"):
        assert (await (await client.get(f"/events?{parameters}")).json())["events"] == []


async def test_a_time_that_is_none_is_a_problem(client: Any) -> None:
    response = await client.get("/events?since=yesterday")
    problem = await response.json()
    assert (response.status, problem["type"]) == (400, "urn:lakehouse:problem:stream-invalid")


async def test_datasets_are_listed_with_figures(client: Any) -> None:
    (row,) = (await (await client.get("/catalog/datasets")).json())["datasets"]
    assert {name: row[name] for name in ("name", "table", "version", "rows", "bytes", "fileCount", "primaryKey", "write")} == {
        "name": "job-orders", "table": "job_orders", "version": 4, "rows": 12, "bytes": 900, "fileCount": 1, "primaryKey": ["job_id"],
        "write": "upsert",
    }  # fmt: skip
    assert row["columns"] == [{"id": 1, "name": "job_id", "type": "string"}, {"id": 2, "name": "rate", "type": "float64"}]
    assert (row["owner"], row["drafted"]) == (None, True)
    assert row["description"] == "2 columns, 12 rows from 1 file: job_id (key), rate"


async def test_a_dataset_is_shown_in_full(client: Any) -> None:
    content = await (await client.get("/catalog/datasets/job-orders")).json()
    assert [file["key"] for file in content["files"]] == ["job-orders/1-0000.parquet"]
    assert content["bindings"] == [{"path": "data/a.csv", "digest": "c0ffee", "size": 1000, "present": True}]
    assert content["refusals"] == [{"path": "data/b.csv", "line": 7, "reason": "a ragged row"}]
    assert [schema["schemaId"] for schema in content["schemas"]] == [1, 2]
    edges = [(edge["fromKind"], edge["fromName"], edge["toKind"], edge["toName"]) for edge in content["lineage"]]
    assert edges == [("file", "data/a.csv", "content", "c0ffee"), ("content", "c0ffee", "dataset", "job-orders")]


def test_an_answer_is_kept_for_the_state_that_it_is_of(world: Any) -> None:
    states = dict(world.catalog.objects("Dataset"))
    threads: Any = None  # `one` runs in the caller's
    routes, read = DatasetRoutes(Stated(states), world.parts.describe, world.parts.audit, world.parts.quotas, threads), Facts()
    first = routes.one("job-orders", ANONYMOUS, read)
    assert routes.one("job-orders", ANONYMOUS, read) is first
    state = states["Dataset/job-orders"]
    states["Dataset/job-orders"] = replace(state, table=replace(state.table, version=5))
    assert [json.loads(answer)["version"] for answer in (first, routes.one("job-orders", ANONYMOUS, read))] == [4, 5]
    assert (read.tables, read.versions) == (("job_orders",), {"job-orders": 5})


@dataclass
class Stated:
    """A catalog of these states."""

    states: dict[str, Any]

    def objects(self, kind: str) -> dict[str, Any]:
        return self.states

    def get(self, name: str) -> Any:
        return self.states.get(name)


async def test_an_unknown_dataset_is_a_problem(client: Any) -> None:
    response = await client.get("/catalog/datasets/nothing")
    problem = await response.json()
    assert (response.status, problem["type"]) == (404, "urn:lakehouse:problem:dataset-unknown")


async def test_readiness_gives_reasons_until_there_are_none(client: Any, world: Any) -> None:
    world.missing.append("Dataset/candidates was not looked at yet.")
    response = await client.get("/readyz")
    problem = await response.json()
    assert (response.status, problem["type"]) == (503, "urn:lakehouse:problem:not-ready")
    assert problem["reasons"] == world.missing
    world.missing.clear()
    assert (await client.get("/readyz")).status == 200
    assert await (await client.get("/healthz")).json() == {"status": "ok"}


async def test_metrics_count_by_route_method_and_status(client: Any) -> None:
    await client.get("/catalog/datasets/job-orders")
    await client.get("/catalog/datasets/nothing")
    await client.get("/no/such/path")
    response = await client.get("/metrics")
    assert response.headers["Content-Type"].startswith("text/plain")
    lines = (await response.text()).splitlines()
    assert 'lakehouse_http_requests_total{method="GET",route="/catalog/datasets/{name}",status="200"} 1.0' in lines
    assert 'lakehouse_http_requests_total{method="GET",route="/catalog/datasets/{name}",status="404"} 1.0' in lines
    assert 'lakehouse_http_requests_total{method="GET",route="unknown",status="404"} 1.0' in lines
    assert 'lakehouse_http_request_seconds_count{route="/catalog/datasets/{name}"} 2.0' in lines


@pytest.mark.parametrize("path", ["/status", "/events", "/catalog/datasets", "/healthz", "/readyz", "/metrics", "/openapi.json"])
async def test_head_gives_the_headers_of_get(client: Any, path: str) -> None:
    head, get = await client.head(path), await client.get(path)
    assert head.status == get.status == 200
    assert head.headers["Content-Type"] == get.headers["Content-Type"]
    assert await head.read() == b""


async def test_reading_streams_in_the_loop_would_be_noticed(client: Any, world: Any) -> None:
    route = EventRoute(world.streams, EventParameters, Threads("unused", 1))
    with pytest.raises(BlockingError):
        route.document(EventParameters(), lambda: True)
