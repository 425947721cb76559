"""What clients send that is damaged, compressed, or said in headers: each a problem document, none a defect."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from functools import partial
from typing import Any

import pytest

from api.encodings import decompressed
from api.errors import ApiError, BodyMalformed, BodyTooLarge, CodingUnsupported

pytestmark = pytest.mark.anyio

BODY = b'{"sql": "SELECT 1"}'
squeezed = partial(gzip.compress, mtime=0)
"""The same bytes in every process."""
LIMIT = 1 << 20


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("", BODY),
        ("identity", BODY),
        ("gzip", squeezed(BODY)),
        (" GZIP ", squeezed(BODY)),
        ("deflate", zlib.compress(BODY)),
    ],
)
async def test_bodies_may_be_compressed(client: Any, world: Any, coding: str, body: bytes) -> None:
    response = await client.post("/query", data=body, headers={"Content-Type": "application/json", "Content-Encoding": coding})
    assert response.status == 200
    assert world.queries.asked[0].sql == "SELECT 1"


@pytest.mark.parametrize(
    ("coding", "body", "error"),
    [
        ("gzip", b"no gzip at all", BodyMalformed),
        ("gzip", b"", BodyMalformed),
        ("gzip", squeezed(BODY)[:-9], BodyMalformed),
        ("gzip", squeezed(BODY)[:-1] + b"?", BodyMalformed),
        ("gzip", squeezed(BODY) + b"more", BodyMalformed),
        ("deflate", squeezed(BODY), BodyMalformed),
        ("gzip", squeezed(b" " * (LIMIT + 1)), BodyTooLarge),
        ("gzip", squeezed(b" " * (64 << 20)), BodyTooLarge),
        ("br", BODY, CodingUnsupported),
        ("zstd", BODY, CodingUnsupported),
        ("gzip, gzip", squeezed(squeezed(BODY)), CodingUnsupported),
    ],
)
async def test_what_cannot_be_decompressed_is_a_problem(client: Any, world: Any, coding: str, body: bytes, error: type[ApiError]) -> None:
    response = await client.post("/query", data=body, headers={"Content-Type": "application/json", "Content-Encoding": coding})
    problem = await response.json(content_type="application/problem+json")
    assert (response.status, problem["type"]) == (error.status, f"urn:lakehouse:problem:{error.slug}")
    assert response.headers.get("Accept-Encoding") == ("gzip, deflate" if error is CodingUnsupported else None)
    assert not world.queries.asked


@pytest.mark.parametrize("size", [LIMIT - 1, LIMIT])
async def test_a_body_as_large_as_the_limit_is_decompressed(size: int) -> None:
    assert len(decompressed(squeezed(b" " * size), "gzip", LIMIT)) == size


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("text/csv;q=nan, application/json;q=0.5", "application/json"),
        ("text/csv;q=inf, application/json;q=0.5", "application/json"),
        ("text/csv;q=-1, application/json;q=0.1", "application/json"),
        ("text/csv;q=1e0, application/json;q=0.1", "application/json"),
        ("text/csv;q=2, application/json;q=0.1", "application/json"),
        ("text/csv;q=1.000, application/json;q=0.999", "text/csv"),
        ("text/csv;q=nan, */*", "application/json"),
        ("", "application/json"),
    ],
)
async def test_weights_that_are_none_want_nothing(client: Any, accept: str, expected: str) -> None:
    response = await client.post("/query", data=BODY, headers={"Content-Type": "application/json", "Accept": accept})
    assert (response.status, response.headers["Content-Type"]) == (200, expected)


async def test_an_accept_in_several_lines_is_one_list(client: Any) -> None:
    headers = [("Content-Type", "application/json"), ("Accept", "text/html"), ("Accept", "text/csv")]
    assert (await client.post("/query", data=BODY, headers=headers)).headers["Content-Type"] == "text/csv"


async def raw(client: Any, request: bytes) -> tuple[int, bytes, bytes]:
    """Status, headers and body of the answer to bytes that no client library would send. The connection is closed by the server."""
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(request)
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 100 "):
        head, _, body = body.partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), head, body


HEAD = b"POST /query HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("rest", "status", "slug"),
    [
        (b"Expect: tea\r\nContent-Length: 0\r\n\r\n", 417, b"expectation-refused"),
        (b"Expect: \xff\r\nContent-Length: 0\r\n\r\n", 417, b"expectation-refused"),
        (b"Accept: \xff\xfe\r\nContent-Length: 0\r\n\r\n", 406, b"not-acceptable"),
        (b"Origin: \xff\xfe\r\nContent-Length: 0\r\n\r\n", 403, b"host-refused"),
        (b"Content-Encoding: \xff\r\nContent-Length: 0\r\n\r\n", 415, b"coding-unsupported"),
    ],
)
async def test_headers_that_are_refused_are_problems(client: Any, rest: bytes, status: int, slug: bytes) -> None:
    answered, head, body = await raw(client, HEAD + rest)
    assert (answered, slug in body) == (status, True), body
    assert b"Content-Type: application/problem+json" in head


async def test_a_body_comes_once_it_may(client: Any) -> None:
    status, _, _ = await raw(client, HEAD + b"Expect: 100-Continue\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)
    assert status == 200


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_defect(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(HEAD + b"Expect: 100-continue\r\nContent-Length: 100\r\n\r\n{")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.close()
    await writer.wait_closed()
    while 'route="/query",status="499"' not in await (await client.get("/metrics")).text():
        pass
    assert not caplog.records


async def test_of_many_faults_the_first_are_told(client: Any) -> None:
    response = await client.post("/query", json={f"field{number}": 1 for number in range(5_000)})
    problem = await response.json()
    assert response.status == 422
    assert "and 5000 more" in problem["detail"]
    assert len(problem["errors"]) == 20
