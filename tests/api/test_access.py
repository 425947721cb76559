"""Who read what, over HTTP: all of it to operators, to anybody else what is theirs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from anyio import to_thread
from harness_secrets import write_private

from api.access import endpoints
from api.problems import problems
from api.reader import READER
from api.threads import RequestThreads
from engines.reading import ANONYMOUS, Binding, Reader
from state.streams.stream import Streams

pytestmark = pytest.mark.anyio

Ask = Callable[..., Awaitable[Any]]
READERS = {
    "operator": ANONYMOUS,
    "desk": Reader("ann", "desk", "clerk", binding=Binding()),
    "lab": Reader("bob", "lab", binding=Binding()),
    "role": Reader("eve", None, "clerk", binding=Binding()),
    "nobody": Reader(binding=Binding()),
}


@pytest.fixture
async def ask(streams: Streams) -> AsyncIterator[Ask]:
    """Asks as one of READERS."""
    people = {"tables": ["people"], "columns": {"people": ["phone"]}, "policies": {"people": ["access"]}}
    rows: list[dict[str, Any]] = [
        {"reader": "ann", "profile": "desk", "action": "query", "outcome": "done", "duration_ms": 2.5, "rows": 3, **people},
        {"reader": "bob", "profile": "lab", "action": "model", "outcome": "done", "model": "hf.co/a/b:q4", "tokens_in": 7, "tokens_out": 9},
        {"reader": "eve", "action": "query", "outcome": "refused", "reason": "table-unknown", "tables": ["people"]},
    ]
    streams.append_many("audit", rows)

    @web.middleware
    async def guard(request: web.Request, handler: Any) -> Any:
        request[READER] = READERS[request.headers["X-As"]]
        return await handler(request)

    app, threads = web.Application(middlewares=[problems, guard]), RequestThreads()
    for endpoint in endpoints(streams, 500, threads.storage):
        app.router.add_get(endpoint.path, endpoint.handle)
    async with TestClient(TestServer(app)) as client:

        async def asked(reader: str, path: str, status: int = 200) -> Any:
            async with client.get(path, headers={"X-As": reader}) as answer:
                assert answer.status == status, await answer.text()
                return await answer.json(content_type=None)

        yield asked
    await threads.close()


@pytest.mark.parametrize(
    ("reader", "seen"),
    [("operator", ["eve", "bob", "ann"]), ("desk", ["ann"]), ("lab", ["bob"]), ("role", ["eve"]), ("nobody", [])],
)
async def test_whose_rows(ask: Ask, reader: str, seen: list[str]) -> None:
    assert [row["reader"] for row in (await ask(reader, "/access/audit"))["rows"]] == seen
    groups = (await ask(reader, "/access/audit?group=reader"))["groups"]
    assert {group["reader"] for group in groups} == set(seen)
    assert (await ask(reader, "/access/audit?reader=ann"))["rows"] == (await ask(reader, "/access/audit?profile=desk"))["rows"]


async def test_policies_are_told_to_operators(ask: Ask) -> None:
    assert (await ask("operator", "/access/audit?profile=desk"))["rows"][0]["policies"] == {"people": ["access"]}
    assert "policies" not in (await ask("desk", "/access/audit"))["rows"][0]


async def test_a_model(ask: Ask) -> None:
    (row,) = (await ask("operator", "/models/hf.co/a/b:q4/audit"))["rows"]
    assert (row["tokensIn"], row["tokensOut"], row["action"]) == (7, 9, "model")
    assert (await ask("operator", "/access/audit?model=hf.co/a/b:q4"))["rows"] == [row]
    assert (await ask("desk", "/models/hf.co/a/b:q4/audit"))["rows"] == []
    assert (await ask("desk", "/models/none/audit"))["rows"] == []
    (group,) = (await ask("lab", "/models/hf.co/a/b:q4/audit?group=action"))["groups"]
    assert (group["action"], group["count"]) == ("model", 1)


async def test_pages(ask: Ask) -> None:
    first = await ask("operator", "/access/audit?limit=2")
    assert [row["reader"] for row in first["rows"]] == ["eve", "bob"]
    last = await ask("operator", f"/access/audit?limit=2&cursor={first['next']}")
    assert ([row["reader"] for row in last["rows"]], last["next"]) == (["ann"], None)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("tabel=people", "is not a known field"),
        ("limit=0", "limit"),
        ("limit=501", "must be at most 500"),
        ("outcome=dun", "There is no outcome 'dun'."),
        ("action=reading", "There is no action 'reading'."),
        ("group=statement", "Reads cannot be counted by 'statement'."),
        ("since=soon", "'soon' is neither an event's id nor a time."),
    ],
)
async def test_what_no_read_can_have(ask: Ask, query: str, said: str) -> None:
    assert said in str(await ask("operator", f"/access/audit?{query}", 400))


async def test_an_operator_who_keeps_to_a_bucket(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(READERS, "kept", Reader(operator=True, bucket="archive"))
    assert (await ask("kept", "/access/audit", 403))["type"] == "urn:lakehouse:problem:read-refused"


async def test_whoever_is_not_let_in_has_a_row(client: TestClient[Any, Any], world: Any) -> None:
    write_private(world.secrets, '[tokens.ops]\nvalue = "ops-0123456789abcdef"\nrole = "operator"\n')
    for path in ("/status", "/nothing/zz", "/storage/buckets/zz/objects/zz"):
        async with client.get(path, headers={"Authorization": "Bearer wrong-0123456789abcdef"}) as answer:
            assert answer.status == 401
    rows = await to_thread.run_sync(lambda: list(world.streams.read("audit")))
    assert [(row["reader"], row["action"], row["outcome"], row["reason"]) for row in rows] == [
        ("anonymous", "request", "refused", "token-refused")
    ] * 3
    assert [json.loads(row["detail"]).get("route") for row in rows] == ["/status", None, "/storage/buckets/{bucket}/objects/{key}"]
    assert "zz" not in str(rows)
    assert "0123456789abcdef" not in str(rows)
