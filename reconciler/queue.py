"""The work queue: keys only, in the manner of client-go's.

Three sets and their invariants: `dirty` are keys that need work, `processing` keys in some worker's hands, and the
order in which dirty keys that nobody processes wait. A key added while it is processed becomes dirty and is queued
again when the worker is done; so one key is never worked on twice at once, and additions coalesce. Losing an addition
costs latency, never correctness: a relist stands behind it.

Two lanes: changes go before resyncs, but a resync that waited `max_age` seconds goes first, so that a busy daemon still
looks after what is quiet. Only retries are delayed (`add_after`).
"""

import asyncio
import heapq
from collections import OrderedDict
from collections.abc import Callable
from itertools import count

from specs.resource import Key


class WorkQueue:
    """Lives on one event loop; from other threads use `loop.call_soon_threadsafe(queue.add, key)`.

    Args:
        clock: monotonic seconds.
        max_age: seconds after which a waiting resync overtakes changes.
    """

    def __init__(self, clock: Callable[[], float], max_age: float = 10.0) -> None:
        self._clock = clock
        self._max_age = max_age
        self._changes: OrderedDict[Key, None] = OrderedDict()
        self._resyncs: OrderedDict[Key, float] = OrderedDict()
        self._dirty_while_processing: dict[Key, bool] = {}
        self._processing: set[Key] = set()
        self._delayed: list[tuple[float, int, Key]] = []
        self._due: dict[Key, float] = {}
        self._ticket = count()
        self._waiters: set[asyncio.Future[None]] = set()
        self._closed = False

    def add(self, key: Key, *, resync: bool = False) -> None:
        """Asks for work on a key; a change overtakes a resync of the same key."""
        if self._closed:
            return
        if key in self._processing:
            self._dirty_while_processing[key] = self._dirty_while_processing.get(key, True) and resync
            return
        if resync:
            if key not in self._changes:
                self._resyncs.setdefault(key, self._clock())
        else:
            self._resyncs.pop(key, None)
            self._changes.setdefault(key, None)
        self._notify()

    def add_after(self, key: Key, seconds: float) -> None:
        """Asks for work on a key later; the earliest request for a key wins."""
        due = self._clock() + seconds
        if self._closed or self._due.get(key, due + 1) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._delayed, (due, next(self._ticket), key))
        self._notify()

    async def get(self) -> Key:
        """The next key, now in processing; its taker calls `done`. Raises asyncio.CancelledError when closed."""
        while True:
            self._promote_due()
            key = self._next()
            if key is not None:
                self._processing.add(key)
                return key
            if self._closed:
                raise asyncio.CancelledError
            await self._wait()

    def done(self, key: Key) -> None:
        """The worker is finished; a key that became dirty meanwhile is queued again."""
        self._processing.discard(key)
        resync = self._dirty_while_processing.pop(key, None)
        if resync is not None:
            self.add(key, resync=resync)
        self._notify()

    def forget(self, key: Key) -> None:
        """Drops a delayed retry: the key succeeded, or is gone."""
        self._due.pop(key, None)

    def close(self) -> None:
        """Wakes everybody who waits; nothing is handed out any more."""
        self._closed = True
        self._changes.clear()
        self._resyncs.clear()
        self._notify()

    @property
    def depth(self) -> int:
        """Keys that wait now (retries not counted)."""
        return len(self._changes) + len(self._resyncs)

    @property
    def changes(self) -> int:
        """Keys that wait because something changed."""
        return len(self._changes)

    @property
    def processing(self) -> frozenset[Key]:
        """Keys in workers' hands."""
        return frozenset(self._processing)

    @property
    def delayed(self) -> frozenset[Key]:
        """Keys whose retry is not due yet."""
        return frozenset(self._due)

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is being worked on; delayed retries may be outstanding."""
        return not (self._changes or self._resyncs or self._processing)

    def _next(self) -> Key | None:
        if self._closed:
            return None
        if self._resyncs:
            key, since = next(iter(self._resyncs.items()))
            if not self._changes or self._clock() - since >= self._max_age:
                del self._resyncs[key]
                return key
        return self._changes.popitem(last=False)[0] if self._changes else None

    def _promote_due(self) -> None:
        now = self._clock()
        while self._delayed and self._delayed[0][0] <= now:
            due, _, key = heapq.heappop(self._delayed)
            # an entry that was forgotten or overtaken by an earlier one is stale
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)

    async def _wait(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        timeout = max(0.0, self._delayed[0][0] - self._clock()) if self._delayed else None
        try:
            await asyncio.wait((waiter,), timeout=timeout)
        finally:
            self._waiters.discard(waiter)

    def _notify(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
