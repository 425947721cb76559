"""Events that many coroutines wait for, on a disk that takes them, or not."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from state.errors import DiskFull, StateError
from state.failpoints import arm, disarm
from state.kept_keys import BYTES, kept_key
from state.local_store import LocalStore
from state.streams.committer import Committer
from state.streams.schemas import StreamInvalid
from state.streams.stream import Streams

pytestmark = pytest.mark.anyio
ROW = {"reader": "anonymous", "action": "query", "outcome": "done"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def streams(tmp_path: Path) -> Streams:
    return Streams(LocalStore(tmp_path / "state"), tmp_path / "wal", lambda: datetime(2026, 11, 22, tzinfo=UTC))


async def test_they_are_there_when_their_writing_has_ended(streams: Streams) -> None:
    committer = Committer(streams)
    added = [committer.append("audit", ROW) for _ in range(100)]
    assert await asyncio.gather(*[written for _, written in added]) == [None] * 100
    assert [row["id"] for row in streams.read("audit")] == sorted(id_ for id_, _ in added)
    await asyncio.to_thread(committer.close)


async def test_each_hears_of_a_disk_that_takes_nothing(streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    committer = Committer(streams)
    monkeypatch.setattr("os.fdatasync", full)
    faults = await asyncio.gather(*[committer.append("audit", ROW)[1] for _ in range(3)])
    assert [type(fault) for fault in faults] == [DiskFull] * 3
    monkeypatch.undo()
    assert await committer.append("audit", ROW)[1] is None
    await asyncio.to_thread(committer.close)


async def test_a_surprise_is_told_too(streams: Streams) -> None:
    committer = Committer(streams)
    arm({"streams.wal-written": "error"})
    try:
        fault = await committer.append("audit", ROW)[1]
    finally:
        disarm()
    assert isinstance(fault, StateError)
    await asyncio.to_thread(committer.close)


async def test_what_is_no_event_is_told_at_once(streams: Streams) -> None:
    committer = Committer(streams)
    with pytest.raises(StreamInvalid):
        committer.append("audit", {"colour": "red"})
    await asyncio.to_thread(committer.close)


async def test_what_waits_is_written_before_it_is_closed(streams: Streams) -> None:
    committer = Committer(streams)
    added = [committer.append("audit", ROW)[0] for _ in range(100)]
    await asyncio.to_thread(committer.close)
    assert [row["id"] for row in streams.read("audit")] == added
    await asyncio.to_thread(committer.close)
    with pytest.raises(StateError, match="closed"):
        committer.append("audit", ROW)


def test_a_key_is_made_once(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "state")
    assert kept_key(store, "texts", create=False) is None
    made = kept_key(store, "texts", create=True)
    assert made is not None
    assert len(made) == BYTES
    assert kept_key(store, "texts", create=True) == kept_key(store, "texts", create=False) == made
    assert kept_key(store, "others", create=True) != made
