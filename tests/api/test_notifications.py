"""Notifications of buckets over HTTP: what S3 and MinIO send, nothing at all, and what is none."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from aiohttp.test_utils import TestClient

if TYPE_CHECKING:
    from conftest import Open, World

pytestmark = pytest.mark.anyio

Client = TestClient[Any, Any]
PATH = "/storage/buckets/lake/notify"

S3 = {
    "Records": [
        {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": "us-east-1",
            "eventTime": "2026-01-02T03:04:05.000Z",
            "eventName": "ObjectCreated:Put",
            "s3": {
                "s3SchemaVersion": "1.0",
                "bucket": {"name": "landing", "arn": "arn:aws:s3:::landing"},
                "object": {"key": "incoming/J%C3%BCrgen+M%2B1.csv", "size": 12, "eTag": "abc", "sequencer": "0055AED6DCD90281E5"},
            },
        },
        {"eventName": "ObjectRemoved:Delete", "s3": {"object": {"key": "incoming/old.csv"}}},
    ]
}
MINIO = {
    "EventName": "s3:ObjectCreated:Put",
    "Key": "landing/incoming/a.csv",
    "Records": [
        {"eventSource": "minio:s3", "s3": {"bucket": {"name": "landing"}, "object": {"key": "incoming%2Fa.csv", "userMetadata": {}}}}
    ],
}


async def notify(client: Client, body: bytes, status: int = 200, path: str = PATH, **headers: str) -> Any:
    named = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.post(path, data=BytesIO(body), headers=named) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json(content_type=None)


@pytest.mark.parametrize(
    ("body", "keys"),
    [
        (S3, {"incoming/Jürgen M+1.csv", "incoming/old.csv"}),
        (MINIO, {"incoming/a.csv"}),
        ({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "landing"}, None),
        ({"message": {"attributes": {"bucketId": "landing", "objectId": "incoming/a.csv"}}, "subscription": "s"}, None),
    ],
    ids=["s3", "minio", "a first test", "another format"],
)
async def test_what_services_send(client: Client, world: World, body: dict[str, Any], keys: set[str] | None) -> None:
    assert await notify(client, orjson.dumps(body)) == {"datasets": ["items"]}
    assert world.notified == [("lake", keys)]


async def test_nothing_asks_to_look_at_all(client: Client, world: World) -> None:
    async with client.post(PATH) as answer:
        assert (answer.status, await answer.json()) == (200, {"datasets": ["items"]})
    assert world.notified == [("lake", None)]


@pytest.mark.parametrize(
    ("body", "status", "slug"),
    [
        (b"{", 400, "body-malformed"),
        (b"\xff\xfe", 400, "body-malformed"),
        (b"[]", 422, "body-invalid"),
        (b'{"Records": 3}', 422, "body-invalid"),
        (b'{"Records": [{}]}', 422, "body-invalid"),
        (b'{"Records": [{"s3": {"object": {"key": 7}}}]}', 422, "body-invalid"),
        (b'{"Records": [{"s3": {"object": {"key": ""}}}]}', 422, "body-invalid"),
        (b'{"x": "' + b"x" * (1 << 20) + b'"}', 413, "body-too-large"),
    ],
)
async def test_what_is_no_notification(client: Client, world: World, body: bytes, status: int, slug: str) -> None:
    assert (await notify(client, body, status))["type"] == f"urn:lakehouse:problem:{slug}"
    assert world.notified == []


async def test_another_type_of_body(client: Client, world: World) -> None:
    assert (await notify(client, b"<a/>", 415, Content_Type="text/xml"))["type"].endswith("body-unsupported")
    assert world.notified == []


async def test_no_such_bucket(client: Client, world: World) -> None:
    assert (await notify(client, b"", 404, "/storage/buckets/nowhere/notify"))["type"].endswith("bucket-not-found")
    assert (await notify(client, b"", 404, X_Lakehouse_Bucket="mirror"))["type"].endswith("bucket-not-found")
    assert world.notified == []


async def test_a_page_of_another_site(client: Client, world: World) -> None:
    assert (await notify(client, b"", 403, Origin="https://example.org"))["type"].endswith("host-refused")
    assert world.notified == []


async def test_a_bucket_that_is_declared_and_not_open_yet(opened: Open, world: World) -> None:
    async with opened() as client:
        assert await notify(client, b"", path="/storage/buckets/primary/notify") == {"datasets": ["items"]}
