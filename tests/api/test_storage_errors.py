"""What failed in which bucket: narrowed, counted, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.test_utils import TestClient
from anyio import to_thread

from state.errors import BucketUnavailable
from state.streams.reading import Record
from state.streams.stream import Streams

if TYPE_CHECKING:
    from conftest import World

pytestmark = pytest.mark.anyio

Client = TestClient[Any, Any]


def failed(
    bucket: str, op: str, key: str, kind: str = "bucket-unavailable", *, rescue: str | None = None, minute: int = 0
) -> dict[str, Any]:
    return {
        "at": f"2026-11-22T00:{minute:02d}:00.000Z",
        "bucket": bucket,
        "op": op,
        "key": key,
        "class": kind,
        "message": "no answer",
        "duration_ms": 1.5,
        "attempt": 3,
        "rescued": rescue is not None,
        "rescue_bucket": rescue,
    }


@pytest.fixture
def ids(streams: Streams) -> tuple[str, ...]:
    """Oldest first."""
    rows = [
        failed("far", "get", "datasets/a/1"),
        failed("far", "get", "datasets/a/2", rescue="mirror", minute=1),
        failed("far", "put", "datasets/b/1", minute=2),
        failed("lake", "put", "catalog/log/1", "disk-full", minute=3),
    ]
    return streams.append_many("errors", rows)


async def get(client: Client, query: str = "", status: int = 200) -> Any:
    async with client.get(f"/storage/errors{query}") as answer:
        assert answer.status == status, await answer.text()
        return await answer.json(content_type=None)


async def test_the_newest_first(client: Client, ids: tuple[str, ...]) -> None:
    document = await get(client)
    assert [row["id"] for row in document["errors"]] == list(reversed(ids))
    assert document["next"] is None
    assert document["errors"][2] == {
        "id": ids[1],
        "at": "2026-11-22T00:01:00.000Z",
        "bucket": "far",
        "op": "get",
        "key": "datasets/a/2",
        "class": "bucket-unavailable",
        "message": "no answer",
        "durationMs": 1.5,
        "attempt": 3,
        "rescued": True,
        "rescueBucket": "mirror",
    }


async def test_none(client: Client) -> None:
    assert await get(client) == {"errors": [], "next": None, "incomplete": None}
    assert await get(client, "?group=bucket") == {"groups": [], "incomplete": None}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?bucket=far", [2, 1, 0]),
        ("?op=put", [3, 2]),
        ("?class=disk-full", [3]),
        ("?key=datasets/a/", [1, 0]),
        ("?bucket=far&op=put&key=datasets/", [2]),
        ("?bucket=mirror", []),
        ("?bucket=primary", []),
    ],
)
async def test_narrowed(client: Client, ids: tuple[str, ...], query: str, found: list[int]) -> None:
    assert [row["id"] for row in (await get(client, query))["errors"]] == [ids[n] for n in found]


async def test_between_two_ids(client: Client, ids: tuple[str, ...]) -> None:
    document = await get(client, f"?since={ids[1]}&until={ids[3]}")
    assert [row["id"] for row in document["errors"]] == [ids[2], ids[1]]


async def test_page_by_page(client: Client, ids: tuple[str, ...], streams: Streams) -> None:
    first = await get(client, "?limit=3")
    assert [row["id"] for row in first["errors"]] == [ids[3], ids[2], ids[1]]
    await to_thread.run_sync(streams.append, "errors", failed("far", "get", "later"))
    second = await get(client, f"?limit=3&cursor={first['next']}")
    assert ([row["id"] for row in second["errors"]], second["next"]) == ([ids[0]], None)


async def test_counted(client: Client, ids: tuple[str, ...]) -> None:
    assert await get(client, "?group=bucket,class") == {
        "groups": [
            {
                "bucket": "far",
                "class": "bucket-unavailable",
                "count": 3,
                "rescued": 1,
                "first": "2026-11-22T00:00:00.000Z",
                "last": "2026-11-22T00:02:00.000Z",
            },
            {
                "bucket": "lake",
                "class": "disk-full",
                "count": 1,
                "rescued": 0,
                "first": "2026-11-22T00:03:00.000Z",
                "last": "2026-11-22T00:03:00.000Z",
            },
        ],
        "incomplete": None,
    }
    assert [group["count"] for group in (await get(client, "?group=op&bucket=far"))["groups"]] == [2, 1]


@pytest.mark.parametrize("query", ["?group=message", "?group=bucket,", "?limit=0", "?since=yesterday", "?bukket=far"])
async def test_what_cannot_be_asked(client: Client, query: str) -> None:
    await get(client, query, 400)


@pytest.mark.parametrize(
    ("query", "detail", "remedy"),
    [
        ("?op=gte", "There is no operation 'gte'.", "Did you mean 'get'?"),
        ("?op=x", "There is no operation 'x'.", "There are put, get, head, list, delete, stage."),
        ("?class=disk_fully", "There is no class of failures 'disk_fully'.", "Did you mean 'disk-full'?"),
        ("?bucket=lke", "There is no bucket 'lke', now or in what failed before.", "Did you mean 'lake'?"),
        ("?bucket=removd&op=put", "There is no bucket 'removd', now or in what failed before.", "Did you mean 'removed'?"),
    ],
)
async def test_what_no_failure_can_have(
    client: Client, ids: tuple[str, ...], streams: Streams, query: str, detail: str, remedy: str
) -> None:
    await to_thread.run_sync(streams.append, "errors", failed("removed", "get", "a"))
    problem = await get(client, query, 400)
    assert (problem["detail"], problem["remedy"]) == (detail, remedy)
    assert (await get(client, "?bucket=removed&op=put"))["errors"] == [], "what failed once is remembered"


class TestRemembered:
    """What the process noted itself, before it is in the stream and while that cannot be read."""

    @pytest.fixture
    def keys(self, streams: Streams, world: World) -> list[str]:
        """Three in the stream, of which the process noted two; and two that are not there yet. Newest first."""
        failures = world.buckets.failures
        streams.append("errors", failed("far", "get", "of a former process"))
        failures.listen(lambda failure: journal and streams.append("errors", failure.to_row()))
        journal = True
        for number in range(4):
            journal = number < 2
            failures.record("far", "get", f"datasets/{number}", BucketUnavailable("far", "get", "down"))
        return ["datasets/3", "datasets/2", "datasets/1", "datasets/0", "of a former process"]

    async def test_each_once_and_page_by_page(self, client: Client, keys: list[str]) -> None:
        assert [row["key"] for row in (await get(client))["errors"]] == keys
        found, cursor = [], ""
        for _ in range(3):
            document = await get(client, f"?limit=2{cursor}")
            found += [row["key"] for row in document["errors"]]
            cursor = f"&cursor={document['next']}"
        assert (found, document["next"]) == (keys, None)
        assert (await get(client, "?group=op"))["groups"][0]["count"] == 5

    async def test_what_cannot_be_read_is_said(
        self, client: Client, keys: list[str], world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def down(*_: object, **__: object) -> Iterator[Record]:
            raise BucketUnavailable("primary", "list", "it did not answer")
            yield

        monkeypatch.setattr(world.streams, "records", down)
        document = await get(client)
        assert [row["key"] for row in document["errors"]] == keys[:-1]
        assert document["incomplete"].startswith("Bucket primary did not answer (list)")
        document = await get(client, "?limit=2")
        assert (len(document["errors"]), document["incomplete"]) == (2, None), "all that was asked for is known"
        assert await get(client, "?since=yesterday", 400)
