"""Threads that requests may occupy: a fixed number of them, whatever becomes of the requests.

A thread cannot be stopped, and the request that waits for it may end first: its time is up, its client left. Giving the place to another
request at that instant would start a second thread beside the one that runs on, and a third, while a bucket is slow. Here a thread is free
when its work ended, not before; what was not begun by then never begins; and long work asks now and then whether anybody still wants it.

It refuses to bound how many wait for a thread: `limits.py` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TypeAlias, TypeVar

Wanted: TypeAlias = Callable[[], bool]
"""Whether the request still waits. What is returned after it does not is thrown away."""

_T = TypeVar("_T")


class Threads:
    """At most `most` threads, begun as they are needed. Used on one event loop; close it at the end."""

    def __init__(self, name: str, most: int) -> None:
        self._pool = ThreadPoolExecutor(most, thread_name_prefix=name)

    async def run(self, work: Callable[[Wanted], _T]) -> _T:
        """What the work returns or raises. Cancelled, it ends at once, and `wanted` answers False from then on."""
        left = Event()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, lambda: not left.is_set())
        except asyncio.CancelledError:
            left.set()
            raise

    async def close(self) -> None:
        """Waits for what runs: it reads what is about to be closed."""
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)


class RequestThreads:
    """The threads of one app. What waits for storage does not hold up what is told from memory."""

    def __init__(self, *, storage: int = 8, memory: int = 2) -> None:
        self.storage = Threads("api-storage", storage)
        self.memory = Threads("api-memory", memory)

    async def close(self) -> None:
        """See `Threads.close`."""
        await self.storage.close()
        await self.memory.close()
