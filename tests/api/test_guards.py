"""Hosts, origins, concurrency and time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from api.limits import Limits
from api.reader import Listener, hostname, is_loopback


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True), ("LOCALHOST.", True), ("127.0.0.1", True), ("127.9.9.9", True), ("[::1]", True), ("::1", True),
        ("evil.example", False), ("localhost.evil.example", False), ("127.0.0.1.evil.example", False), ("10.0.0.1", False), ("", False),
        ("0.0.0.0", False),
    ],
)  # fmt: skip
def test_loopback_names(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    ("authority", "expected"), [("a:80", "a"), ("a", "a"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("", ""), ("[", "[]")]
)
def test_hostname_of_an_authority(authority: str, expected: str) -> None:
    assert hostname(authority) == expected


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/status", "/metrics", "/healthz"])
async def test_a_rebound_name_is_refused_on_loopback(client: Any, path: str) -> None:
    response = await client.get(path, headers={"Host": "evil.example:8484"})
    assert (response.status, (await response.json())["type"]) == (403, "urn:lakehouse:problem:host-refused")
    assert (await client.get(path, headers={"Host": "localhost:8484"})).status == 200


NAMES = frozenset({"lake.example", "box"})


@pytest.mark.parametrize(
    ("listens", "host", "expected"),
    [
        ("127.0.0.1", "localhost", True), ("127.0.0.1", "box", True), ("127.0.0.1", "Lake.Example.", True),
        ("127.0.0.1", "10.0.0.1", False), ("127.0.0.1", "evil.example", False), ("127.0.0.1", "", False),
        ("0.0.0.0", "localhost", True), ("0.0.0.0", "box", True), ("0.0.0.0", "lake.example", True), ("0.0.0.0", "10.0.0.1", True),
        ("0.0.0.0", "[fd00::1]", True), ("0.0.0.0", "evil.example", False), ("0.0.0.0", "box.evil.example", False), ("0.0.0.0", "", True),
        ("0.0.0.0", "10.0.0.1.evil.example", False), ("::", "[::1]", True), ("", "evil.example", False), ("here.lan", "here.lan", True),
    ],
)  # fmt: skip
def test_names_that_a_listener_answers_to(listens: str, host: str, expected: bool) -> None:
    assert Listener(listens, f"{listens}:8484", NAMES).answers(host) is expected


@pytest.mark.parametrize(
    ("listens", "bound", "words"),
    [
        ("127.0.0.1", "127.0.0.1:9", "Use http://127.0.0.1:9, or"),
        ("::1", "[::1]:9", "Use http://[::1]:9, or"),
        ("0.0.0.0", "0.0.0.0:9", "Use an address instead of a name, or"),
    ],
)
def test_a_refusal_says_where_to_ask(listens: str, bound: str, words: str) -> None:
    refusal = Listener(listens, bound).refusal("evil.example")
    assert words in str(refusal.remedy)
    assert "`hosts` in lakehouse.yaml" in str(refusal.remedy)


@pytest.mark.anyio
@pytest.mark.parametrize(("host", "status"), [("lake.example", 200), ("10.0.0.1:8484", 200), ("evil.example:8484", 403)])
async def test_a_rebound_name_is_refused_on_a_public_listener(opened: Any, host: str, status: int) -> None:
    async with opened(listen_host="0.0.0.0", hosts=NAMES) as client:
        assert (await client.get("/status", headers={"Host": host})).status == status


@pytest.mark.anyio
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1"])
async def test_a_page_of_another_origin_is_refused(client: Any, world: Any, origin: str) -> None:
    response = await client.post("/query", json={"sql": "SELECT 1"}, headers={"Origin": origin})
    assert (response.status, (await response.json())["type"]) == (403, "urn:lakehouse:problem:host-refused")
    assert not world.queries.asked


@pytest.mark.anyio
async def test_the_own_origin_is_answered(client: Any) -> None:
    origin = str(client.make_url("/").origin())
    assert (await client.post("/query", json={"sql": "SELECT 1"}, headers={"Origin": origin})).status == 200


@pytest.mark.anyio
async def test_more_requests_than_allowed_are_refused_and_probes_are_not(opened: Any, world: Any) -> None:
    world.queries.gate = asyncio.Event()
    async with opened(limits=Limits(in_flight=1)) as client:
        first = asyncio.create_task(client.post("/query", json={"sql": "SELECT 1"}))
        await world.queries.begun.wait()
        refused = await client.get("/status")
        assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
        assert (await refused.json())["type"] == "urn:lakehouse:problem:too-busy"
        assert (await client.get("/healthz")).status == 200
        world.queries.gate.set()
        assert (await first).status == 200
        assert (await client.get("/status")).status == 200


@pytest.mark.anyio
async def test_a_request_that_takes_too_long_is_ended(opened: Any, world: Any) -> None:
    world.queries.gate = asyncio.Event()
    async with opened(limits=Limits(seconds=0.05)) as client:
        response = await client.post("/query", json={"sql": "SELECT 1"})
        assert (response.status, (await response.json())["type"]) == (504, "urn:lakehouse:problem:request-timeout")
        assert world.queries.cancelled.is_set()


@pytest.mark.anyio
async def test_a_timeout_inside_a_handler_is_not_taken_for_the_limit(client: Any, world: Any) -> None:
    world.queries.error = TimeoutError("somebody else's")
    response = await client.post("/query", json={"sql": "SELECT 1"})
    assert (await response.json())["type"] == "urn:lakehouse:problem:internal-error"
