"""What each route gives a reader who is no operator: every route says so, and what a reader may not know of is as if it were not there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from api import reader as api_reader
from api.app import endpoints
from api.threads import RequestThreads
from engines.audited import AuditedQueries, AuditedSearches
from engines.errors import QueryInvalid, SearchInvalid
from engines.policies.governed import Governed, Mask, MaskRule, PolicyRules, RowRule
from engines.reading import Binding, Reader
from engines.sql.query_request import QueryRequest
from state.catalog.fold import Inventory, ObjectState
from state.catalog.indexes import IndexRecord
from state.status import Status

pytestmark = pytest.mark.anyio

WHOM = {
    "all": {"GET /healthz", "GET /readyz", "GET /openapi.json"},
    "scoped": {
        "POST /query", "POST /search", "GET /status", "GET /catalog/datasets", "GET /catalog/datasets/{name}",
        "GET /hnsw/trials/{index}", "GET /hnsw/trials/{index}/best", "GET /access/audit",
        "GET /models", "GET /models/{id:.+}", "GET /models/{id:.+}/audit",
    },
    "operators": {
        "GET /events", "GET /metrics", "GET /catalog/cache", "GET /hnsw/cache/stats", "GET /storage/buckets", "GET /storage/bucket-health",
        "GET /storage/errors", "GET /storage/buckets/{bucket}/objects/{key:.+}", "POST /storage/buckets/{bucket}/notify",
        "GET /access/explain", "POST /policies/test",
    },
}  # fmt: skip
"""Each route by what it answers a reader from whom something may be hidden. A new one belongs here, with tests of what it hides."""
GIVES = {
    "POST /query", "POST /search", "GET /catalog/datasets/{name}", "GET /storage/buckets/{bucket}/objects/{key:.+}", "POST /policies/test",
}  # fmt: skip
"""Routes that give rows, values or bytes."""
BODIES = {"/query": {"sql": "SELECT 1"}, "/search": {"index": "jobs", "text": "java"}, "/policies/test": {}}

STRANGE = ("*", "%25", "..%2F..%2Fjob-orders", "%22job-orders%22", "JOB-ORDERS", "job_orders", "job-orders%20", "%00", "job-orders%2F")
PART = Governed((PolicyRules("kept", (RowRule(frozenset({"clerk"}), "rate < 9"),)),))
MASKED = Governed((PolicyRules("masked", (), (MaskRule(frozenset({"rate"}), Mask("null")),)),))


@dataclass
class Rules:
    known: Mapping[str, Governed] = field(default_factory=dict)

    def governed(self, dataset: str) -> Governed | None:
        return self.known.get(dataset)


@dataclass
class Catalog:
    """The table of `world`, an index of it, and others that nobody binds."""

    tables: Mapping[str, Any]

    def objects(self, kind: str) -> dict[str, ObjectState]:
        return {name: state for name, state in self._all().items() if name.startswith(f"{kind}/")}

    def get(self, name: str) -> ObjectState | None:
        return self._all().get(name)

    def _all(self) -> dict[str, ObjectState]:
        table = self.tables["job-orders"]
        about = Inventory("d", "delete", about={"dataset": "job-orders"})
        return {
            "Dataset/job-orders": ObjectState("Dataset/job-orders", table=table),
            "Dataset/secret": ObjectState("Dataset/secret", table=replace(table, name="secret")),
            "Index/jobs": ObjectState("Index/jobs", managed=about, index=IndexRecord("jobs")),
            "Index/secrets": ObjectState("Index/secrets", managed=about, index=IndexRecord("secrets")),
        }


def reader(datasets: tuple[str, ...] = (), indexes: tuple[str, ...] = (), *, governed: Governed | None = None, **more: Any) -> Reader:
    rules = Rules({} if governed is None else {"job-orders": governed})
    return Reader(profile="desk", role="clerk", binding=Binding(frozenset(datasets), frozenset(indexes)), rules=rules, **more)


BOUND = reader(("job-orders",), ("jobs",))
NOTHING = reader()


@pytest.fixture
def ask(opened: Any, world: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Status, headers and document of a request of a reader."""

    async def get(who: Reader, path: str, method: str = "GET", **more: Any) -> tuple[int, dict[str, str], Any]:
        monkeypatch.setattr(api_reader, "authenticate", lambda request, directory, buckets: who)
        names = ("Dataset/job-orders", "Dataset/secret", "Index/jobs", "Index/secrets", "Profile/desk", "Profile/other", "Bucket/lake")
        world.statuses.rows = [Status(name, "True", "Ready", f"12 rows of {name}.", "abc") for name in names]
        async with opened(catalog=Catalog(world.catalog.tables), registry=CollectorRegistry()) as client:
            response = await client.request(method, path, **more)
            headers = {name: value for name, value in response.headers.items() if name not in ("Date", "Content-Length")}
            content = await response.json() if "json" in response.headers.get("Content-Type", "") and method != "HEAD" else None
            return response.status, headers, content

    return get


def test_every_route_says_whom_it_answers(world: Any) -> None:
    described = endpoints(replace(world.parts, registry=CollectorRegistry()), RequestThreads())
    said: dict[str | None, set[str]] = {}
    for endpoint in described:
        said.setdefault(endpoint.readers, set()).add(f"{endpoint.method} {endpoint.path}")
    assert None not in said, f"say whom these answer, `readers` of Endpoint: {said[None]}"
    assert said == WHOM


class Cases:
    """One case, which asks."""

    async def test(self, policy: str | None, queries: Any, asked_by: str | None) -> Mapping[str, Any]:
        with contextlib.suppress(QueryInvalid):
            await queries.run(QueryRequest("SELECT 1"), Reader(role="clerk"))
        return {"policies": [], "cases": 1, "failed": 0}


async def test_every_route_that_gives_data_leaves_a_row_of_the_audit(opened: Any, world: Any) -> None:
    world.queries.error, world.searches.error = QueryInvalid("no"), SearchInvalid("no")
    audit = world.parts.audit
    queries, searches = AuditedQueries(world.queries, audit), AuditedSearches(world.searches, audit)
    changes = {"queries": queries, "searches": searches, "access": Cases(), "registry": CollectorRegistry()}
    described = endpoints(replace(world.parts, registry=CollectorRegistry()), RequestThreads())
    assert {f"{one.method} {one.path}" for one in described if one.audited} == GIVES

    def rows() -> int:
        return len(list(world.streams.read("audit")))

    async with opened(**changes) as client:
        for endpoint in described:
            path = endpoint.path
            for name, value in (("{bucket}", "lake"), ("{key:.+}", "a/b"), ("{name}", "job-orders"), ("{index}", "jobs"), ("{id:.+}", "m")):
                path = path.replace(name, value)
            before = await asyncio.to_thread(rows)
            response = await client.request(endpoint.method, path, json=BODIES.get(path))
            assert response.status != 401
            after = await asyncio.to_thread(rows)
            assert (after > before) == endpoint.audited, path


@pytest.mark.parametrize("route", sorted(WHOM["operators"]))
async def test_a_route_for_operators_is_not_there_for_others(ask: Any, route: str) -> None:
    method, _, path = route.partition(" ")
    path = path.replace("{bucket}", "lake").replace("{key:.+}", "a/b.parquet")
    for who in (BOUND, NOTHING, Reader(role="clerk"), replace(BOUND, bucket="lake", trusted=True)):
        found = await ask(who, path, method)
        nothing = await ask(who, "/nothing-at-all", method)
        assert found[0] == 404
        assert found[1] == nothing[1]
        assert {**found[2], "detail": ""} == {**nothing[2], "detail": ""}
        assert found[2]["detail"] == nothing[2]["detail"].replace("/nothing-at-all", path)
    if method == "GET":
        assert (await ask(BOUND, path, "HEAD"))[0] == 404


async def test_a_route_that_says_nothing_is_for_operators(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from api import health

    monkeypatch.setattr(health, "endpoints", lambda missing, real=health.endpoints: [replace(one, readers=None) for one in real(missing)])
    assert (await ask(BOUND, "/healthz"))[0] == 404
    assert (await ask(Reader(operator=True), "/healthz"))[0] == 200


async def test_datasets_are_those_that_a_profile_binds(ask: Any) -> None:
    for who, names in ((BOUND, ["job-orders"]), (NOTHING, []), (reader(("*", "%", "Job-Orders", "job_orders")), [])):
        _, _, content = await ask(who, "/catalog/datasets")
        assert [row["name"] for row in content["datasets"]] == names
    whole = (await ask(BOUND, "/catalog/datasets/job-orders"))[2]
    assert (whole["rows"], whole["bytes"], whole["fileCount"]) == (12, 900, 1)
    assert [whole[name] for name in ("files", "bindings", "refusals", "lineage")] == [[], [], [], []]


@pytest.mark.parametrize("governed", [PART, MASKED])
async def test_a_dataset_of_which_some_is_hidden_has_no_figures(ask: Any, governed: Governed) -> None:
    who = reader(("job-orders",), governed=governed)
    (row,) = (await ask(who, "/catalog/datasets"))[2]["datasets"]
    one = (await ask(who, "/catalog/datasets/job-orders"))[2]
    for told in (row, one):
        assert [told[name] for name in ("rows", "bytes", "fileCount", "snapshot", "description")] == [None, None, None, None, ""]
    assert [column["name"] for column in one["columns"]] == ["job_id", "rate"]
    for column in one["columns"]:
        assert [column[name] for name in ("nullShare", "distinct", "min", "max", "examples", "entities")] == [
            None,
            None,
            None,
            None,
            [],
            [],
        ]


async def test_a_closed_dataset_is_not_listed(ask: Any) -> None:
    who = reader(("job-orders",), governed=Governed(closed="Nobody says who may read it."))
    assert (await ask(who, "/catalog/datasets"))[2] == {"datasets": []}
    assert (await ask(who, "/catalog/datasets/job-orders"))[0] == 404


@pytest.mark.parametrize("name", [*STRANGE, "secret", "nothing"])
async def test_what_may_not_be_known_of_looks_like_what_is_not_there(ask: Any, name: str) -> None:
    for who in (BOUND, NOTHING):
        found = await ask(who, f"/catalog/datasets/{name}")
        nothing = await ask(who, "/catalog/datasets/xyz")
        assert found[:2] == nothing[:2]
        assert found[2].keys() == nothing[2].keys()
        assert {**found[2], "detail": ""} == {**nothing[2], "detail": ""}


@pytest.mark.parametrize("name", ["*", "%25", "JOBS", "..%2Fjobs", "%22jobs%22", "secrets", "nothing", "jobs%40desk"])
@pytest.mark.parametrize("end", ["", "/best"])
async def test_trials_of_another_index_look_like_none(ask: Any, name: str, end: str) -> None:
    _, mark, owner = name.partition("%40")
    found, nothing = await ask(BOUND, f"/hnsw/trials/{name}{end}"), await ask(BOUND, f"/hnsw/trials/xyz{mark}{owner}{end}")
    assert found[0] == nothing[0] == 404
    assert found[1] == nothing[1]
    assert {**found[2], "detail": ""} == {**nothing[2], "detail": ""}


async def test_trials_are_for_those_who_see_all_rows(ask: Any) -> None:
    assert (await ask(BOUND, "/hnsw/trials/jobs"))[0] == 200
    assert (await ask(reader((), ("jobs",)), "/hnsw/trials/jobs/best"))[0] == 200
    for governed in (PART, MASKED, Governed(closed="Nobody may.")):
        status, _, content = await ask(reader(("job-orders",), ("jobs",), governed=governed), "/hnsw/trials/jobs")
        assert (status, content["type"]) == (403, "urn:lakehouse:problem:read-refused")


async def test_statuses_are_those_of_what_a_reader_sees(ask: Any) -> None:
    _, _, content = await ask(BOUND, "/status")
    assert (content["revision"], content["daemon"]) == (None, None)
    assert [(row["kind"], row["name"]) for row in content["objects"]] == [
        ("Dataset", "job-orders"), ("Index", "jobs"), ("Profile", "desk"),
    ]  # fmt: skip
    assert all(row["message"] for row in content["objects"])
    part = (await ask(reader(("job-orders",), ("jobs",), governed=PART), "/status"))[2]["objects"]
    assert [row["message"] for row in part] == ["", "", "12 rows of Profile/desk."]
    assert [row["name"] for row in (await ask(NOTHING, "/status"))[2]["objects"]] == ["desk"]
    assert (await ask(NOTHING, "/status?kind=Profile&name=other"))[2]["objects"] == []
    assert (await ask(replace(BOUND, bucket="far"), "/status?kind=Dataset"))[2]["objects"] == []


async def test_what_something_waits_for_is_for_operators(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [Status(name, "False", "Waiting", "It waits for Dataset/secret.", "abc") for name in ("Dataset/job-orders", "Profile/desk")]
    monkeypatch.setattr("tests.api.conftest.Statuses.all", lambda self, kind=None, name=None: rows)
    told = (await ask(BOUND, "/status"))[2]["objects"]
    assert [(row["ready"], row["reason"], row["message"]) for row in told] == [("False", "Waiting", "")] * 2
    told = (await ask(Reader(operator=True), "/status"))[2]["objects"]
    assert {row["message"] for row in told} == {"It waits for Dataset/secret."}


async def test_an_answer_of_an_operator_is_given_to_no_other(ask: Any) -> None:
    assert (await ask(Reader(operator=True), "/catalog/datasets/job-orders"))[2]["files"]
    assert not (await ask(BOUND, "/catalog/datasets/job-orders"))[2]["files"]
