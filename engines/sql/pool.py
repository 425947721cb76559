"""Query workers: some warm, more on demand up to a bound, a bounded queue of those who wait, and a new one for each that died.

A worker belongs to one conversation at a time. If the conversation ends while the worker still works on it, because of time, memory, or a
caller that left, the worker is killed: nothing short of that stops a query for certain. One that has grown is let go as well.

Callers of a share have all workers but one at most, and half of the queue, so that no flood is in the way of somebody else; to whom a
worker goes that becomes free is said in `engines/fair_shares.py`. The operator, who is of no share, may have them all.

It refuses to know what is said: that is `service.py`. Next: `process.py` for one worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.errors import EngineError, QueryCancelled, WorkersBusy
from engines.fair_shares import Shares
from engines.sql.limits import MIB
from engines.sql.process import WorkerProcess


@dataclass(frozen=True, slots=True)
class PoolSize:
    """most: workers at once. warm: kept even when idle. queue: callers who may wait. idle: seconds until a worker beyond `warm` is let go.

    memory: bytes that a worker's operators may hold before they spill or give up. retire: bytes held while idle that end a worker.
    """

    most: int = 2
    warm: int = 1
    queue: int = 64
    idle: float = 60.0
    memory: int = 640 * MIB
    retire: int = 256 * MIB


@dataclass(slots=True, eq=False)
class _Waiting:
    """A caller that waits."""

    future: asyncio.Future[WorkerProcess]
    share: str | None


class WorkerPool:
    """Used on one event loop. `start` is optional: the first query starts a worker otherwise."""

    def __init__(self, scratch: Path, size: PoolSize = PoolSize()) -> None:
        """scratch: a folder of this pool alone, for spilling."""
        self._scratch = scratch
        self._size = size
        self._idle: list[WorkerProcess] = []
        self._live: set[WorkerProcess] = set()
        self._starting = 0
        self._waiting: list[_Waiting] = []
        self._shares = Shares()
        self._tasks: set[asyncio.Task[None]] = set()
        self._trim: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def pids(self) -> tuple[int, ...]:
        """Of the workers that live, for figures and tests."""
        return tuple(sorted(worker.pid for worker in self._live))

    @property
    def idle(self) -> int:
        """Workers that wait for a query."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """Callers that wait for a worker."""
        return sum(not waiting.future.done() for waiting in self._waiting)

    async def start(self) -> None:
        """Warm workers are up on return. Raises WorkerCrashed if they cannot be."""
        missing = max(self._size.warm - len(self._live) - self._starting, 0)
        self._starting += missing
        await asyncio.gather(*(self._add() for _ in range(missing)))

    async def close(self) -> None:
        """No worker lives on return; who waits gets QueryCancelled."""
        self._closed = True
        if self._trim is not None:
            self._trim.cancel()
        for waiting in self._waiting:
            if not waiting.future.done():
                waiting.future.set_exception(_stopping())
        for worker in tuple(self._live):
            self._discard(worker)
        while self._tasks:
            await asyncio.wait(self._tasks)

    @asynccontextmanager
    async def worker(self, wait: float, share: str | None = None) -> AsyncIterator[WorkerProcess]:
        """A worker for one conversation. share: whose it is counted as; None for the operator.

        Raises WorkersBusy after `wait` seconds or when too many wait already, WorkerCrashed, QueryCancelled.
        """
        worker = await self._take(wait, share)
        try:
            yield worker
        finally:
            self._give_back(worker, share)

    async def tell(self, about: str, header: Mapping[str, Any]) -> None:
        """Have idle workers do what helps the next query. See `WorkerProcess.tell`."""
        if telling := [worker.tell(about, header) for worker in self._idle]:
            await asyncio.wait(telling)

    async def dig(self, worker: WorkerProcess) -> str:
        """How a worker that ended by itself died, in words."""
        self._discard(worker)
        while worker in self._live:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        return worker.cause_of_death

    async def _take(self, wait: float, share: str | None) -> WorkerProcess:
        """Counted as its share's from here on, and taken from it by `_give_back`."""
        if self._closed:
            raise _stopping()
        while self._idle and self._may_have_more(share):
            worker = self._idle.pop()
            if worker.alive:
                return self._handed(worker, share)
            self._discard(worker)
        self._check_queue(share)
        waiting = _Waiting(asyncio.get_running_loop().create_future(), share)
        self._waiting.append(waiting)
        self._provide()
        try:
            async with asyncio.timeout(wait):
                return await waiting.future
        except (TimeoutError, asyncio.CancelledError) as error:
            if waiting.future.done() and not waiting.future.cancelled() and waiting.future.exception() is None:
                self._give_back(waiting.future.result(), share)  # it came in the very moment in which this caller gave up
            if isinstance(error, TimeoutError):
                message = f"No query worker became free within {wait:g} seconds."
                raise WorkersBusy(message, remedy="Try again in a moment.") from error
            raise
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)

    def _check_queue(self, share: str | None) -> None:
        """Raises WorkersBusy."""
        waiting, most = self.waiting, self._size.queue
        if share is not None:
            most = max(most // 2, min(most, 1))
            waiting = sum(not other.future.done() and other.share == share for other in self._waiting)
        if waiting >= most or self.waiting >= self._size.queue:
            raise WorkersBusy(f"All query workers are busy and {waiting} queries wait already.", remedy="Try again in a moment.")

    def _may_have_more(self, share: str | None) -> bool:
        return share is None or self._shares.held(share) < max(self._size.most - 1, 1)

    def _handed(self, worker: WorkerProcess, share: str | None) -> WorkerProcess:
        self._shares.take(share)
        if share is not None:
            self._provide()  # one more to be there for somebody else
        return worker

    def _give_back(self, worker: WorkerProcess, share: str | None) -> None:
        self._shares.give_back(share)
        if worker.busy or worker.ended or self._closed or worker.memory() > self._size.retire:
            self._discard(worker)
            self._serve()
            self._provide()
        else:
            self._keep(worker)

    def _keep(self, worker: WorkerProcess) -> None:
        self._idle.append(worker)
        self._serve()
        if len(self._idle) > self._size.warm and self._trim is None:
            self._trim = asyncio.get_running_loop().call_later(self._size.idle, self._let_go)

    def _serve(self) -> None:
        """Idle workers go to those who wait and may have one."""
        while self._idle:
            able = (waiting for waiting in self._waiting if not waiting.future.done() and self._may_have_more(waiting.share))
            first = self._shares.first(able)
            if first is None:
                return
            worker = self._idle.pop()
            if not worker.alive:
                self._discard(worker)
                continue
            self._waiting.remove(first)
            first.future.set_result(self._handed(worker, first.share))

    def _let_go(self) -> None:
        self._trim = None
        while len(self._idle) > self._size.warm:
            self._discard(self._idle[0])

    def _provide(self) -> None:
        """Start as many workers as are asked for and allowed; beside those of shares one that nobody has."""
        live = len(self._live) + self._starting
        spare = 1 if not self._idle and self._shares.by_readers() else 0
        wanted = max(self.waiting - self._starting, self._size.warm - live, spare - self._starting, 0)
        for _ in range(0 if self._closed else min(wanted, self._size.most - live)):
            self._starting += 1
            self._run(self._add_for_others())

    async def _add_for_others(self) -> None:
        try:
            await self._add()
        except EngineError as error:
            # Not tried again by itself, since it would fail again: the next query does.
            for waiting in tuple(self._waiting):
                if not waiting.future.done():
                    waiting.future.set_exception(error)

    async def _add(self) -> None:
        """One of those counted in `_starting`."""
        try:
            worker = await WorkerProcess.start(self._scratch, self._size.memory)
        finally:
            self._starting -= 1
        self._live.add(worker)
        if self._closed:
            self._discard(worker)
        else:
            self._keep(worker)

    def _discard(self, worker: WorkerProcess) -> None:
        if worker in self._idle:
            self._idle.remove(worker)
        if worker in self._live and not worker.discarded:
            worker.discarded = True
            worker.kill("stopped")
            self._run(self._bury(worker))

    async def _bury(self, worker: WorkerProcess) -> None:
        await asyncio.to_thread(worker.bury)
        self._live.discard(worker)
        self._provide()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _stopping() -> QueryCancelled:
    return QueryCancelled("The daemon is stopping.", remedy="Try again when it is back.")
