"""What makes things happen: workers that take keys from the queue, and everything that puts keys in.

Keys come from commits, from data files, from finished jobs, from what the catalog committed, from requests, and from
time. All of it lives on one event loop; every blocking call runs in a thread. The first error that the loop cannot
survive (the lease is lost) ends the driver; everything else has become a status long before.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread

from controllers.outcome import Failed, Outcome, Ready, Stalled, Waiting
from reconciler.backoff import Backoff
from reconciler.data_watch import DataWatch
from reconciler.follow import Follower
from reconciler.loop import Reconciler, Visit
from reconciler.operator import Operator
from reconciler.queue import WorkQueue
from reconciler.sources.source import Source
from reconciler.visit_tally import VisitTally
from reconciler.watch import Aim, FolderWatch, source_folders
from reconciler.world import World
from specs.errors import LakehouseError
from specs.resource import Key
from state.errors import LeaseLost

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_REQUESTS_EVERY = 2.0
_HEARTBEAT_EVERY = 5.0
_RESYNC_TICK = 1.0
_UPKEEP_EVERY = 300.0
_AFTER_ANSWER = 0.1
"""Seconds after which an object is visited that a request changed: whoever waits for the change reads it with no visit beside."""
_WATCHED_WITHIN = 1.0
"""Seconds that the first visits wait for the folders of data to be watched: one that hangs holds up nobody."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a driver drives; put together by `reconciler.assembly`."""

    source: Source
    world: World
    follower: Follower
    reconciler: Reconciler
    queue: WorkQueue
    backoff: Backoff
    operator: Operator
    data_watch: DataWatch
    heartbeat: Callable[[str | None, datetime | None], None]
    tidy: Callable[[], None]
    upkeep: Callable[[Callable[[], bool]], None]
    clock: Callable[[], datetime]


class Driver:
    """Runs until stopped, on one event loop; `wake` may be called from any thread."""

    def __init__(self, parts: Parts, loop: asyncio.AbstractEventLoop, *, reconcilers: int) -> None:
        self._parts = parts
        self._threads = CapacityLimiter(reconcilers + 4)
        self._reconcilers = reconcilers
        self._loop = loop
        self._stopping = asyncio.Event()
        self._look = asyncio.Event()
        self._asked = asyncio.Event()
        self._aimed = asyncio.Event()
        self._data_folders = FolderWatch(self._aim_at_data, self._data_changed, partial(self._data_changed, resync=True))
        self._visiting = threading.local()
        self._relisted_at: datetime | None = None
        self._refused: dict[Callable[[], Coroutine[Any, Any, None]], str] = {}
        self._unvisited: set[Key] = set()
        self._awaited: dict[Key, list[asyncio.Future[None]]] = {}
        self._behind: list[asyncio.Future[None]] = []
        self.ready: set[Key] = set()
        self.stalled: set[Key] = set()
        self.tally = VisitTally()
        self.first_pass = asyncio.Event()
        self.looked = asyncio.Event()
        """Set once every object of the first pass was visited."""
        self._obeyed = False
        self._woken_later = 0

    @property
    def unvisited(self) -> int:
        """Objects of the first pass that no worker has looked at yet."""
        return len(self._unvisited)

    @property
    def obeyed(self) -> bool:
        """Whether requests that waited when this began were looked at, and all that they concern is queued or visited."""
        return self._obeyed and not self._woken_later

    def failures(self, key: Key) -> int:
        """Failed visits of an object in a row."""
        return self._parts.backoff.failures(key)

    async def run(self) -> None:
        """Follows, visits and watches until `stop`. Raises LeaseLost when another writer took over."""
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(work) for work in self._activities()]
                await self._stopping.wait()
                self._parts.queue.close()
                for task in running:
                    task.cancel()
        except* LeaseLost as lost:
            raise lost.exceptions[0] from None
        # the last word of this writer is what it saw last
        await self._despite_storage(self._heartbeat)

    def stop(self) -> None:
        """Ends `run`; visits under way are finished first."""
        self._stopping.set()

    def poke(self) -> None:
        """The ref may have moved, or a request may wait. From the event loop only."""
        self._look.set()
        self._asked.set()

    def wake(self, names: Iterable[str]) -> None:
        """Objects whose world changed: a job ended, the catalog committed. From any thread."""
        keys = [Key.of(name) for name in names]
        # whoever commits to the object that it visits looks again by itself
        own = getattr(self._visiting, "key", None)
        later = keys if getattr(self._visiting, "answering", False) else []
        self._loop.call_soon_threadsafe(self._wake, [key for key in keys if key != own and key not in later], keys)
        if later:
            self._loop.call_soon_threadsafe(self._wake_later, later)

    def _wake_later(self, keys: list[Key]) -> None:
        self._woken_later += 1
        self._loop.call_later(_AFTER_ANSWER, self._wake_at_last, keys)

    def _wake_at_last(self, keys: list[Key]) -> None:
        self._woken_later -= 1
        self._wake(keys, [])

    def look(self, names: Iterable[str]) -> None:
        """Objects that somebody found damaged. From any thread; whoever visits one meanwhile sees it by itself."""
        own = getattr(self._visiting, "key", None)
        keys = [key for key in map(Key.of, names) if key != own]
        self._loop.call_soon_threadsafe(self._wake, keys, [])

    async def visited(self, name: str) -> None:
        """Has an object visited now, and returns when a visit left nothing to wait for, such as a job; at once if nobody wants it.

        On the event loop.
        """
        key = Key.of(name)
        if key in self._parts.world.objects:
            done = self._loop.create_future()
            self._awaited.setdefault(key, []).append(done)
            self._parts.queue.add(key)
            await done

    async def followed(self) -> None:
        """Has the ref looked at now, and returns when that was done, whatever came of it. On the event loop."""
        done = self._loop.create_future()
        self._behind.append(done)
        self._look.set()
        await done

    def enqueue(self, keys: Iterable[Key], *, resync: bool = False) -> None:
        """Asks for visits. From the event loop only."""
        for key in keys:
            self._parts.queue.add(key, resync=resync)

    async def advance(self) -> None:
        """Looks at the ref and enqueues what changed."""
        pending = await self._in_thread(self._parts.follower.advance)
        moved: bool = await self._in_thread(partial(self._parts.data_watch.aim, pending.globs))
        if moved:
            self._data_folders.look_again()
        first = self._parts.world.revision is not None and not self.first_pass.is_set()
        if first:
            # what is visited before its folder is watched has to be visited again
            self._aimed.set()
            await self._wait(self._data_folders.settled, _WATCHED_WITHIN)
            self._unvisited.update(pending.changed)
        self.enqueue(pending.changed)
        self.enqueue(pending.quiet, resync=True)
        if first:
            self.first_pass.set()
            self._check_looked()

    def _check_looked(self) -> None:
        if self.first_pass.is_set() and not self._unvisited:
            self.looked.set()

    def _activities(self) -> Iterable[Coroutine[Any, Any, None]]:
        yield self._follow()
        yield self._obey()
        yield self._watch_source()
        yield self._watch_data()
        yield self._relist()
        yield self._resync()
        yield self._beat()
        yield self._keep_up()
        for _ in range(self._reconcilers):
            yield self._work()

    async def _work(self) -> None:
        """One worker: a key at a time, for ever."""
        queue = self._parts.queue
        while True:
            key = await queue.get()
            begun, awaited = self._loop.time(), [done for done in self._awaited.pop(key, []) if not done.done()]
            outcome: Outcome | None = None
            try:
                visit = await self._in_thread(partial(self._visit, key))
                if visit is None:
                    self._forget(key)
                else:
                    outcome = visit.outcome
                    self._settle(key, outcome)
                    self.tally.count(key.kind, outcome, self._loop.time() - begun)
            finally:
                queue.done(key)
                self._unvisited.discard(key)
                self._check_looked()
                self._tell(key, awaited, outcome)

    def _tell(self, key: Key, awaited: list[asyncio.Future[None]], outcome: Outcome | None) -> None:
        """Those who wait for a visit, unless it left something that will bring the object back."""
        if isinstance(outcome, Waiting):
            self._awaited.setdefault(key, []).extend(awaited)
            return
        for done in awaited:
            if not done.done():  # else whoever waited for it gave up
                done.set_result(None)

    def _visit(self, key: Key) -> Visit | None:
        self._visiting.key = key
        try:
            return self._parts.reconciler.visit(key)
        finally:
            self._visiting.key = None

    def _forget(self, key: Key) -> None:
        self.ready.discard(key)
        self.stalled.discard(key)
        self._parts.backoff.forget(key)
        self._parts.queue.forget(key)

    def _settle(self, key: Key, outcome: Outcome) -> None:
        queue, backoff = self._parts.queue, self._parts.backoff
        (self.ready.add if isinstance(outcome, Ready) else self.ready.discard)(key)
        (self.stalled.add if isinstance(outcome, Stalled) else self.stalled.discard)(key)
        if isinstance(outcome, Failed):
            queue.add_after(key, backoff.next_delay(key))
            return
        backoff.forget(key)
        queue.forget(key)
        if outcome.seconds is not None:
            queue.add_after(key, outcome.seconds)

    def _wake(self, changed: list[Key], causes: list[Key]) -> None:
        """Objects that changed under others' hands, one that is visited right now among them, and those that refer to any."""
        if not self.first_pass.is_set():  # which visits everything
            return
        queue, world = self._parts.queue, self._parts.world
        for key in changed:
            if key in world.objects:
                queue.add(key)
        for key in causes:
            for other in world.dependents(key):
                queue.add(other)

    async def _follow(self) -> None:
        """A commit was announced, or might have been missed."""
        while True:
            self._look.clear()
            behind, self._behind = self._behind, []
            await self._despite_storage(self.advance)
            for done in behind:
                if not done.done():  # else whoever waited for it gave up
                    done.set_result(None)
            await self._wait(self._look, self._parts.follower.settings.work.relist)

    async def _obey(self) -> None:
        """Requests of operators, announced or found, once it is known what there is to ask about."""
        await self.first_pass.wait()
        while True:
            self._asked.clear()
            await self._despite_storage(self._answer)
            await self._wait(self._asked, _REQUESTS_EVERY)

    async def _answer(self) -> None:
        keys = await self._in_thread(self._answer_all)
        self.enqueue(keys)
        self._obeyed = True
        if keys:
            self._look.set()

    def _answer_all(self) -> tuple[Key, ...]:
        self._visiting.answering = True
        try:
            return self._parts.operator.answer()
        finally:
            self._visiting.answering = False

    async def _despite_storage(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """What storage or a folder refuses now (a full disk, a bucket that is away) is told once and tried again with each turn."""
        try:
            await work()
        except LeaseLost:
            raise
        except (LakehouseError, OSError) as error:
            refusal = error.explain() if isinstance(error, LakehouseError) else str(error)
            if self._refused.get(work) != refusal:
                _log.warning("%s", refusal)
            self._refused[work] = refusal
        else:
            self._refused.pop(work, None)

    async def _watch_source(self) -> None:
        await FolderWatch(self._source_folders, lambda _: self._look.set(), lambda _: self._look.set()).run()

    async def _source_folders(self) -> Aim:
        return await self._in_thread(partial(source_folders, self._parts.source))

    async def _watch_data(self) -> None:
        await self._aimed.wait()
        await self._data_folders.run()

    async def _aim_at_data(self) -> Aim:
        return await self._in_thread(self._parts.data_watch.folders)

    def _data_changed(self, paths: Iterable[Path], *, resync: bool = False) -> None:
        if self.first_pass.is_set():  # which visits everything
            self.enqueue(self._parts.data_watch.concerned(paths), resync=resync)

    async def _relist(self) -> None:
        """What a lost notification left behind, once in a while."""
        while True:
            await asyncio.sleep(self._parts.follower.settings.work.resync)
            await self._despite_storage(self._relist_once)

    async def _relist_once(self) -> None:
        self.enqueue(await self._in_thread(self._parts.follower.relist))
        self._relisted_at = self._parts.clock()
        await self._in_thread(self._parts.tidy)

    async def _resync(self) -> None:
        """Every object once per `resync`, evenly spread: what was changed behind our back is found, at no visible cost."""
        owed = 0.0
        waiting: list[Key] = []
        while True:
            await asyncio.sleep(_RESYNC_TICK)
            objects = self._parts.world.objects
            owed += len(objects) * _RESYNC_TICK / self._parts.follower.settings.work.resync
            while owed >= 1:
                waiting = waiting or list(objects)
                if not waiting:
                    break
                self.enqueue([waiting.pop()], resync=True)
                owed -= 1

    async def _beat(self) -> None:
        """Tells readers that this writer lives, and what it has seen.

        Once that fails, the buckets are looked at; once it works again, so is all that failed meanwhile.
        """
        while True:
            refused = self._heartbeat in self._refused
            await self._despite_storage(self._heartbeat)
            if refused != (self._heartbeat in self._refused):
                if refused:
                    _log.info("buckets and catalog are there again")
                self.enqueue(key for key in self._parts.world.objects if key.kind == "Bucket" or key not in self.ready)
            await asyncio.sleep(_HEARTBEAT_EVERY)

    async def _keep_up(self) -> None:
        """Streams: not at once, since a foreground run may be over soon."""
        while True:
            await asyncio.sleep(_UPKEEP_EVERY)
            await self._despite_storage(self._upkeep)

    async def _upkeep(self) -> None:
        await self._in_thread(partial(self._parts.upkeep, lambda: not self._stopping.is_set()))

    async def _heartbeat(self) -> None:
        await self._in_thread(partial(self._parts.heartbeat, self._parts.world.revision, self._relisted_at))

    async def _wait(self, event: asyncio.Event, seconds: float) -> None:
        # not `wait_for`, which forgets in Python 3.11 that it was cancelled when what it waits for comes in the same moment
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        """A thread cannot be stopped: whoever is cancelled waits for it, lest it writes when all is closed and the lease is given back."""
        running = asyncio.ensure_future(to_thread.run_sync(work, limiter=self._threads))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait((running,))
            running.exception()  # told by the next start, which looks again
            raise
