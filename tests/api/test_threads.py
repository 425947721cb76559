"""Requests that end before the work they began: their threads are counted until they end, and end early."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from api.limits import Limits
from api.threads import RequestThreads, Threads

pytestmark = pytest.mark.anyio

STORAGE = 8
"""Threads that wait for storage, of one app."""


class StuckEvents:
    """A bucket that does not answer until the gate opens."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.asked = 0

    def records(self, stream: str, **_: Any) -> Iterator[tuple[str, bytes]]:
        self.asked += 1
        self.gate.wait(60)
        return iter(())


class EndlessEvents:
    """A stream that never comes to an end, and notices when its reader goes."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def records(self, stream: str, **_: Any) -> Iterator[tuple[str, bytes]]:
        try:
            while True:
                yield "01J00000000000000000000000", b'{"id":"01J00000000000000000000000","object":"Dataset/a"}'
        finally:
            self.closed.set()


@pytest.fixture
def stuck() -> Iterator[StuckEvents]:
    events = StuckEvents()
    yield events
    events.gate.set()


async def test_requests_whose_time_is_up_start_no_further_threads(opened: Any, stuck: StuckEvents) -> None:
    async with opened(events=stuck, limits=Limits(seconds=0.05)) as client:
        for _ in range(3):
            responses = await asyncio.gather(*(client.get("/events") for _ in range(STORAGE)))
            assert {response.status for response in responses} == {504}
        assert stuck.asked == STORAGE
        assert (await client.get("/status")).status == (await client.get("/metrics")).status == 200
        stuck.gate.set()
    assert stuck.asked == STORAGE, "what was not begun by then must not begin"


async def test_a_page_that_nobody_waits_for_is_not_read_to_its_end(opened: Any) -> None:
    events = EndlessEvents()
    async with opened(events=events, limits=Limits(seconds=0.05)) as client:
        assert (await client.get("/events?object=Dataset/none")).status == 504
        assert await asyncio.to_thread(events.closed.wait, 60)


async def test_closing_waits_for_what_runs_and_drops_what_does_not() -> None:
    threads, gate, begun, ran = Threads("test", 1), threading.Event(), threading.Event(), list[str]()

    def work(name: str) -> Callable[[Any], None]:
        def run(wanted: Callable[[], bool]) -> None:
            begun.set()
            gate.wait(60)
            ran.append(name)

        return run

    first, second = (asyncio.create_task(threads.run(work(name))) for name in ("first", "second"))
    await asyncio.to_thread(begun.wait, 60)
    closing = asyncio.create_task(threads.close())
    with pytest.raises(asyncio.CancelledError):
        await second
    assert not closing.done()
    gate.set()
    await closing
    await first
    assert ran == ["first"]


async def test_work_gives_what_it_returns_and_raises() -> None:
    threads = RequestThreads(storage=1, memory=1)
    assert await threads.memory.run(lambda wanted: wanted()) is True
    with pytest.raises(ZeroDivisionError):
        await threads.storage.run(lambda wanted: 1 // 0)
    await threads.close()
