"""Buckets over HTTP: the list, how each is, and their objects in whole and in part, also from a rescue bucket."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientPayloadError
from aiohttp.test_utils import TestClient
from anyio import to_thread
from yarl import URL

from engines.audit import Audit
from state.buckets import Buckets
from state.errors import BucketUnavailable, DiskFull
from state.objects import PIECE, OpenObject
from state.streams.wal import WalRecord

if TYPE_CHECKING:
    from conftest import Open, World

pytestmark = pytest.mark.anyio

Client = TestClient[Any, Any]
CONTENT = bytes(range(256)) * 4


async def get(client: Client, path: str, status: int = 200, **headers: str) -> Any:
    async with client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()}) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json(content_type=None)


async def test_the_buckets(client: Client) -> None:
    document = await get(client, "/storage/buckets")
    plain = {"bucket": None, "endpoint": None, "prefix": "", "rescue": None}
    assert document == {
        "buckets": [
            {"name": "far", "backend": "memory", **plain, "prefix": "p"},
            {"name": "lake", "backend": "local", **plain, "rescue": "mirror"},
            {"name": "mirror", "backend": "local", **plain},
        ]
    }


class TestHealth:
    async def test_all_is_well(self, client: Client, world: World) -> None:
        found = (await get(client, "/storage/bucket-health"))["buckets"]
        assert [(row["name"], row["state"], row["problem"], row["lastError"]) for row in found] == [
            (name, "ok", None, None) for name in ("far", "lake", "mirror")
        ]
        assert all(row["reachable"] and row["writable"] and row["conditionalPut"] and row["latencyMs"] > 0 for row in found)
        assert await to_thread.run_sync(lambda: list(world.buckets.store("lake").list())) == []

    async def test_what_fails_is_named_and_a_rescue_bucket_makes_a_difference(
        self, client: Client, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("lake", "far"):
            store = world.buckets.store(name)

            def down(*_: object, name: str = name, **__: object) -> None:
                raise BucketUnavailable(name, "list", "down")

            monkeypatch.setattr(store, "list", down)
        world.buckets.failures.record("lake", "get", "a/b", BucketUnavailable("lake", "get", "cut off"))
        rows = {row["name"]: row for row in (await get(client, "/storage/bucket-health"))["buckets"]}
        assert {name: row["state"] for name, row in rows.items()} == {"lake": "degraded", "far": "failed", "mirror": "ok"}
        (alone,) = (await get(client, "/storage/bucket-health", X_Lakehouse_Bucket="lake"))["buckets"]
        assert alone["state"] == "degraded", "also for who may see no other"
        assert rows["lake"]["problem"] == "Bucket lake did not answer (list): down."
        last = rows["lake"]["lastError"]
        assert (last["op"], last["key"], last["class"], last["rescued"]) == ("get", "a/b", "bucket-unavailable", False)

    async def test_a_look_is_shared(self, client: Client, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        store, puts = world.buckets.store("mirror"), []
        real = store.put

        def counted(key: str, data: bytes, *, if_absent: bool = False) -> None:
            puts.append(key)
            real(key, data, if_absent=if_absent)

        monkeypatch.setattr(store, "put", counted)
        for _ in range(3):
            await get(client, "/storage/bucket-health")
        assert len(puts) == 2, "one probe: a put, and one that must lose"


@pytest.fixture(params=["lake", "far"])
def bucket(request: pytest.FixtureRequest, world: World) -> str:
    world.buckets.store(request.param).put("a/b.bin", CONTENT)
    return str(request.param)


class TestObjects:
    async def test_whole(self, client: Client, bucket: str) -> None:
        async with client.get(f"/storage/buckets/{bucket}/objects/a/b.bin") as answer:
            assert (answer.status, await answer.read()) == (200, CONTENT)
            headers = answer.headers
            assert (headers["Content-Type"], headers["Content-Length"]) == ("application/octet-stream", str(len(CONTENT)))
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert "X-Lakehouse-Rescue-Used" not in headers
        async with client.get(f"/storage/buckets/{bucket}/objects/a/b.bin", headers={"If-None-Match": headers["ETag"]}) as answer:
            assert (answer.status, await answer.read()) == (304, b"")
        async with client.head(f"/storage/buckets/{bucket}/objects/a/b.bin") as answer:
            assert (answer.status, answer.headers["Content-Length"], answer.headers["ETag"]) == (200, str(len(CONTENT)), headers["ETag"])

    async def test_all_of_one_takes_one_request(self, client: Client, bucket: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(world.objects, "head", None)
        async with client.get(f"/storage/buckets/{bucket}/objects/a/b.bin") as answer:
            assert (answer.status, await answer.read()) == (200, CONTENT)

    @pytest.mark.parametrize(
        ("asked", "start", "stop"),
        [
            ("bytes=0-9", 0, 10),
            ("bytes=1000-", 1000, 1024),
            ("bytes=-24", 1000, 1024),
            ("bytes=1020-2000", 1020, 1024),
            ("bytes=5-5", 5, 6),
        ],
    )
    async def test_a_part(self, client: Client, bucket: str, asked: str, start: int, stop: int) -> None:
        async with client.get(f"/storage/buckets/{bucket}/objects/a/b.bin", headers={"Range": asked}) as answer:
            assert (answer.status, await answer.read()) == (206, CONTENT[start:stop])
            assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(CONTENT)}"
            assert answer.headers["Content-Length"] == str(stop - start)

    async def test_a_part_of_what_was_replaced_since_is_all_of_it(self, client: Client, bucket: str) -> None:
        headers = {"Range": "bytes=0-9", "If-Range": '"another"'}
        async with client.get(f"/storage/buckets/{bucket}/objects/a/b.bin", headers=headers) as answer:
            assert (answer.status, await answer.read()) == (200, CONTENT)

    @pytest.mark.parametrize("asked", ["bytes=1024-", "bytes=9-3", "bytes=a-b", "lines=1-2", "bytes=0-1,3-4"])
    async def test_no_part(self, client: Client, bucket: str, asked: str) -> None:
        async with client.get(f"/storage/buckets/{bucket}/objects/a/b.bin", headers={"Range": asked}) as answer:
            assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{len(CONTENT)}")
            assert (await answer.json(content_type=None))["type"] == "urn:lakehouse:problem:range-invalid"

    async def test_an_empty_one(self, client: Client, world: World) -> None:
        await to_thread.run_sync(world.buckets.store("lake").put, "empty", b"")
        async with client.get("/storage/buckets/lake/objects/empty") as answer:
            assert (answer.status, await answer.read(), answer.headers["Content-Length"]) == (200, b"", "0")

    async def test_a_large_one(self, client: Client, world: World) -> None:
        content = CONTENT * (5 * PIECE // len(CONTENT)) + b"end"
        await to_thread.run_sync(world.buckets.store("lake").put, "large", content)
        async with client.get("/storage/buckets/lake/objects/large") as answer:
            assert await answer.read() == content

    @pytest.mark.parametrize(("sent", "status", "kind"), [(0, 503, BucketUnavailable), (1, 200, BucketUnavailable), (5, 200, ValueError)])
    async def test_one_that_breaks_off_is_cut_and_not_ended_by_something_else(
        self, client: Client, bucket: str, world: World, monkeypatch: pytest.MonkeyPatch, sent: int, status: int, kind: type[Exception]
    ) -> None:
        """Before anything was sent, it is a problem document."""
        real = world.objects.open

        def broken(*asked: Any) -> tuple[OpenObject, None]:
            opened, _ = real(*asked)

            def pieces() -> Generator[bytes, None, None]:
                yield from (CONTENT[:10] for _ in range(sent))
                raise BucketUnavailable(bucket, "get", "cut off") if kind is BucketUnavailable else kind("a defect")

            return OpenObject(opened.info, pieces()), None

        monkeypatch.setattr(world.objects, "open", broken)
        async with client.get(f"/storage/buckets/{bucket}/objects/a/b.bin") as answer:
            assert answer.status == status
            if status == 200:
                with pytest.raises(ClientPayloadError):
                    await answer.read()

    async def test_one_connection_answers_again_after_a_large_one(self, client: Client, world: World) -> None:
        content = CONTENT * (3 * PIECE // len(CONTENT))
        await to_thread.run_sync(world.buckets.store("lake").put, "large", content)
        reader, writer = await asyncio.open_connection(client.host, client.port)
        for _ in range(2):
            writer.write(b"GET /storage/buckets/lake/objects/large HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK")
            assert await reader.readexactly(len(content)) == content
        writer.close()

    async def test_clients_that_do_not_read_hold_no_thread(self, client: Client, world: World) -> None:
        await to_thread.run_sync(world.buckets.store("lake").put, "large", CONTENT * (32 * PIECE // len(CONTENT)))
        await to_thread.run_sync(world.buckets.store("lake").put, "small", CONTENT)
        idle = [await asyncio.open_connection(client.host, client.port) for _ in range(20)]
        for _, writer in idle:
            writer.write(b"GET /storage/buckets/lake/objects/large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(30), client.get("/storage/buckets/lake/objects/small") as answer:
            assert await answer.read() == CONTENT
        for _, writer in idle:
            writer.close()

    async def test_a_client_that_leaves_ends_the_reading(
        self, client: Client, bucket: str, world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        real, closed = world.objects.open, threading.Event()

        def endless(*asked: Any) -> tuple[OpenObject, None]:
            opened, _ = real(*asked)

            def pieces() -> Generator[bytes, None, None]:
                try:
                    while True:
                        yield CONTENT * 100
                finally:
                    closed.set()

            return OpenObject(opened.info, pieces()), None

        monkeypatch.setattr(world.objects, "open", endless)
        reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(f"GET /storage/buckets/{bucket}/objects/a/b.bin HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await reader.readexactly(1_000)
        writer.transport.abort()
        assert await asyncio.to_thread(closed.wait, 30)
        assert "incident" not in caplog.text

    @pytest.mark.parametrize(
        ("path", "status", "slug"),
        [
            ("/storage/buckets/nowhere/objects/a", 404, "bucket-not-found"),
            ("/storage/buckets/lake/objects/nothing", 404, "object-not-found"),
            ("/storage/buckets/lake/objects/a%2F..%2F..%2Fmirror%2Fx", 400, "key-refused"),
            ("/storage/buckets/lake/objects/%2Fetc%2Fpasswd", 400, "key-refused"),
            ("/storage/buckets/lake/objects/.tmp/x", 400, "key-refused"),
            ("/storage/buckets/lake/objects/a%00b", 400, "key-refused"),
        ],
    )
    async def test_what_there_is_not(self, client: Client, path: str, status: int, slug: str) -> None:
        async with client.get(URL(path, encoded=True)) as answer:
            assert (answer.status, (await answer.json(content_type=None))["type"]) == (status, f"urn:lakehouse:problem:{slug}")

    async def test_a_link_out_is_not_followed(self, client: Client, world: World, tmp_path: Path) -> None:
        await to_thread.run_sync(world.buckets.store("lake").put, "a", b"1")
        (tmp_path / "secret").write_text("x")
        (tmp_path / "lake" / "link").symlink_to(tmp_path / "secret")
        assert (await get(client, "/storage/buckets/lake/objects/link", 400))["type"].endswith("key-refused")


class TestRescue:
    @pytest.fixture
    def buckets(self, world: World, tmp_path: Path) -> Buckets:
        for name in ("lake", "mirror"):
            world.buckets.store(name).put("a/b.bin", CONTENT)
        shutil.rmtree(tmp_path / "lake/a")
        return world.buckets

    @pytest.mark.parametrize(
        ("method", "headers", "op"),
        [("GET", {}, "get"), ("GET", {"Range": "bytes=0-9"}, "head"), ("GET", {"If-None-Match": '"x"'}, "head"), ("HEAD", {}, "head")],
    )
    async def test_answers_and_says_so(self, client: Client, buckets: Buckets, method: str, headers: dict[str, str], op: str) -> None:
        async with client.request(method, "/storage/buckets/lake/objects/a/b.bin", headers=headers) as answer:
            assert answer.status in (200, 206)
            assert (answer.headers["X-Lakehouse-Rescue-Used"], answer.headers["X-Lakehouse-Rescue-Bucket"]) == ("true", "mirror")
            assert await answer.read() == (b"" if method == "HEAD" else CONTENT[:10] if "Range" in headers else CONTENT)
        told = [(failure.bucket, failure.op, failure.kind, failure.rescue_bucket) for failure in buckets.failures.newest()]
        assert told == [("lake", op, "object-missing", "mirror")], "one request, one failed operation"

    async def test_has_it_neither(self, client: Client, buckets: Buckets) -> None:
        await get(client, "/storage/buckets/lake/objects/other", 404)
        assert buckets.failures.newest() == []

    async def test_queries_and_searches_say_so_too(self, opened: Open, world: World) -> None:
        world.queries.result.rescues = ("mirror",)
        async with opened() as client, client.post("/query", json={"sql": "SELECT 1"}) as answer:
            assert (answer.status, answer.headers["X-Lakehouse-Rescue-Bucket"]) == (200, "mirror")
            assert (await answer.json())["rescues"] == ["mirror"]


async def audited(world: World) -> list[dict[str, Any]]:
    return await to_thread.run_sync(lambda: list(world.streams.read("audit")))


async def test_every_read_of_an_object_is_in_the_audit(opened: Open, world: World) -> None:
    world.buckets.store("lake").put("a/b.bin", CONTENT)
    async with opened() as client:
        for key, headers in (("a/b.bin", {}), ("a/b.bin", {"Range": "bytes=0-9"}), ("gone", {})):
            async with client.get(f"/storage/buckets/lake/objects/{key}", headers=headers) as answer:
                await answer.read()
        async with client.head("/storage/buckets/lake/objects/a/b.bin") as answer:
            assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(CONTENT)))
    assert [
        (row["action"], row["bucket"], row["key"], row["outcome"], row.get("bytes"), row.get("reason")) for row in await audited(world)
    ] == [
        ("object", "lake", "a/b.bin", "done", len(CONTENT), None),
        ("object", "lake", "a/b.bin", "done", 10, None),
        ("object", "lake", "gone", "refused", None, "object-not-found"),
        ("object", "lake", "a/b.bin", "done", None, None),
    ]


async def test_an_object_in_pieces_has_a_row_before_the_first_and_one_at_the_end(opened: Open, world: World) -> None:
    content = bytes(2 * PIECE + 1)
    await to_thread.run_sync(world.buckets.store("lake").put, "large", content)
    async with opened() as client, client.get("/storage/buckets/lake/objects/large") as answer:
        first = (await audited(world))[0]  # the sockets may have taken all of it by now, and the last row be there
        assert first["outcome"] == "begun"
        assert await answer.read() == content
        while len(rows := await audited(world)) < 2:
            pass  # the client is still there
    begun, done = rows
    assert (done["outcome"], done["bytes"], done["request"]) == ("done", len(content), begun["id"])


class FullJournal:
    """A disk that takes nothing."""

    def encode(self, stream: str, event: Mapping[str, Any]) -> WalRecord:
        return WalRecord(stream, "", b"{}")

    def commit(self, records: Iterable[WalRecord]) -> None:
        raise DiskFull("write-ahead", "/wal")

    def append(self, stream: str, event: Mapping[str, Any]) -> str:
        raise DiskFull("write-ahead", "/wal")


@pytest.mark.parametrize("size", [10, 2 * PIECE])
async def test_no_byte_is_given_that_leaves_no_trace(opened: Open, world: World, size: int) -> None:
    await to_thread.run_sync(world.buckets.store("lake").put, "any", bytes(size))
    async with opened(audit=Audit(FullJournal())) as client:
        problem = await get(client, "/storage/buckets/lake/objects/any", 503)
        assert problem["type"] == "urn:lakehouse:problem:audit-unavailable"
        assert "Make room" in problem["remedy"]
        assert (await get(client, "/storage/buckets/lake/objects/gone", 503))["type"] == problem["type"]
