"""What failed in which bucket: narrowed, counted, page by page."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from anyio import to_thread

from state.streams.stream import Streams

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
    assert await get(client) == {"errors": [], "next": None}
    assert await get(client, "?group=bucket") == {"groups": []}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?bucket=far", [2, 1, 0]),
        ("?op=put", [3, 2]),
        ("?class=disk-full", [3]),
        ("?key=datasets/a/", [1, 0]),
        ("?bucket=far&op=put&key=datasets/", [2]),
        ("?bucket=nowhere", []),
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
        ]
    }
    assert [group["count"] for group in (await get(client, "?group=op&bucket=far"))["groups"]] == [2, 1]


@pytest.mark.parametrize("query", ["?group=message", "?group=bucket,", "?limit=0", "?since=yesterday", "?bukket=far"])
async def test_what_cannot_be_asked(client: Client, query: str) -> None:
    await get(client, query, 400)
