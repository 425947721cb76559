"""Threads that readers share: a flood of one waits for others, and nobody waits for the flood."""

from __future__ import annotations

import asyncio
import threading

import pytest

from engines.fair_shares import FairThreads

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Calls:
    """Calls by share; one of a share ends when it is let."""

    def __init__(self, most: int) -> None:
        self.threads = FairThreads(most)
        self.begun: list[str | None] = []
        self._go = {share: threading.Semaphore(0) for share in ("a", "b", "c", "d", None)}
        self._came = asyncio.Semaphore(0)
        self._loop = asyncio.get_running_loop()

    def ask(self, share: str | None) -> asyncio.Task[None]:
        return asyncio.create_task(self.threads.run(share, self._call, share))

    async def have_begun(self, count: int) -> None:
        for _ in range(count):
            await self._came.acquire()

    def let(self, *shares: str | None) -> None:
        for share in shares:
            self._go[share].release()

    def _call(self, share: str | None) -> None:
        self.begun.append(share)
        self._loop.call_soon_threadsafe(self._came.release)
        self._go[share].acquire()


async def test_a_thread_that_becomes_free_goes_to_the_share_that_has_the_fewest() -> None:
    calls = Calls(2)
    flood = [calls.ask("a") for _ in range(4)]
    await calls.have_begun(2)
    others = [calls.ask("b"), calls.ask(None)]
    await asyncio.sleep(0)  # both wait
    for share in ("a", "b", "a", None):
        calls.let(share)
        await calls.have_begun(1)
    calls.let("a", "a")
    await asyncio.gather(*flood, *others)
    assert calls.begun == ["a", "a", "b", None, "a", "a"]


async def test_whoever_leaves_gives_up_the_place_and_none_is_lost() -> None:
    calls = Calls(1)
    first = calls.ask("a")
    await calls.have_begun(1)
    leaving, staying = calls.ask("b"), calls.ask("c")
    await asyncio.sleep(0)
    leaving.cancel()
    calls.let("a", "c")
    await asyncio.gather(first, leaving, staying, return_exceptions=True)
    assert calls.begun == ["a", "c"]
    calls.let("d")
    await calls.ask("d")


async def test_one_that_leaves_as_its_turn_comes_passes_it_on() -> None:
    calls = Calls(1)
    first = calls.ask("a")
    await calls.have_begun(1)
    leaving, staying = calls.ask("b"), calls.ask("c")
    await asyncio.sleep(0)
    first.add_done_callback(lambda _: leaving.cancel())  # which has its turn by now, and has not begun
    calls.let("a", "b", "c")
    await asyncio.gather(first, staying)
    assert leaving.cancelled()
    assert calls.begun == ["a", "c"]


async def test_a_call_that_fails_frees_its_thread() -> None:
    threads = FairThreads(1)
    with pytest.raises(ValueError, match="invalid literal"):
        await threads.run("a", int, "x")
    assert await threads.run("a", int, "7") == 7
