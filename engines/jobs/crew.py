"""The crew: at most so many worker processes, started on demand, handed the jobs that wait in order, and ended when idle.

One thread hands out and starts processes; it lives as long as the crew, because the kernel ends a worker with the thread that started
it. One more per worker listens. What a job's news mean is the executor's business (`News`), which the crew calls without its own
lock; so the executor may call the crew while holding its lock, never the other way round.
Refuses to repeat a job: a process that died says so, once. Next: `process.py`, `executor.py`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from engines.jobs.entry import Entry
from engines.jobs.failure import Failure
from engines.jobs.process import Ending, WorkerProcess
from engines.jobs.throttle import Throttle


class News(Protocol):
    """What the crew tells."""

    def started(self, entry: Entry, worker: WorkerProcess) -> bool:
        """The job is about to be handed to this worker; False if nobody wants it any more."""

    def progressed(self, entry: Entry, done: int, total: int) -> None:
        """As the job said."""

    def bucket_failed(self, row: Mapping[str, Any]) -> None:
        """An operation of a bucket failed in the job; see `BucketFailure`."""

    def ended(self, entry: Entry, failure: Failure | None) -> Callable[[], None]:
        """None: its result is on disk. What is returned is called when the worker is free for the next job."""


class Crew:
    """Thread-safe. No process and no thread before the first `submit`."""

    def __init__(self, size: int, idle_seconds: float, results: Path, news: News, monotonic: Callable[[], float]) -> None:
        """size: processes at once. results: the folder where workers leave theirs."""
        self._size = size
        self._idle_seconds = idle_seconds
        self._results = results
        self._news = news
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._waiting: deque[Entry] = deque()
        self._idle: deque[tuple[WorkerProcess, float]] = deque()  # since when; the longest idle first
        self._busy: dict[WorkerProcess, Entry] = {}
        self._listeners: dict[WorkerProcess, threading.Thread] = {}
        self._throttles: dict[WorkerProcess, Throttle] = {}
        self._alive = 0  # processes, the one that is being started included
        self._dispatcher: threading.Thread | None = None
        self._closed = False

    def submit(self, entry: Entry) -> None:
        """At the end of the queue. Nothing after `shutdown`."""
        with self._changed:
            if self._closed:
                return
            self._waiting.append(entry)
            if self._dispatcher is None:
                self._dispatcher = threading.Thread(target=self._dispatch, name="jobs", daemon=True)
                self._dispatcher.start()
            self._changed.notify_all()

    def withdraw(self, entry: Entry) -> bool:
        """Whether it still waited; it does no longer."""
        with self._changed:
            if entry not in self._waiting:
                return False
            self._waiting.remove(entry)
            return True

    def waiting(self) -> tuple[Entry, ...]:
        """In the order of starting."""
        with self._changed:
            return tuple(self._waiting)

    def pids(self) -> tuple[int, ...]:
        """Of the worker processes that live."""
        with self._changed:
            return tuple(worker.pid for worker in self._listeners)

    def shutdown(self) -> None:
        """Kills all and waits for them. May be called from a listener's thread (which is not waited for)."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
            dispatcher = self._dispatcher
        if dispatcher is not None:
            dispatcher.join()  # it may be starting one more; it waits for nothing else
        with self._changed:
            listeners = dict(self._listeners)
        for worker in listeners:
            worker.kill()
        for thread in listeners.values():
            if thread is not threading.current_thread():
                thread.join()

    # -- the dispatcher's thread

    def _dispatch(self) -> None:
        while (task := self._next()) is not None:
            entry, worker = task
            if worker is None:
                try:
                    worker = self._start()
                except OSError as error:
                    with self._changed:
                        self._alive -= 1
                    self._news.ended(entry, Failure.crashed(f"No process could be started for it: {error}."))()
                    continue
            if not self._news.started(entry, worker):
                self._rest(worker)
            elif self._assign(entry, worker):
                if entry.job.cores is not None:
                    self._throttles[worker] = Throttle(worker, entry.job.cores)
                worker.send(entry.job, entry.arguments, self._results)
            else:
                self._news.ended(entry, _crash(entry, Ending("died while it was idle")))()

    def _next(self) -> tuple[Entry, WorkerProcess | None] | None:
        """Waits for a job and a place for it; the worker is None where one is to be started. None: shut down."""
        with self._changed:
            while not self._closed:
                pause = self._end_idle()
                # what a bounded job may hold is counted from the beginning: it gets a process that holds nothing of an earlier one
                fresh = bool(self._waiting) and self._waiting[0].job.memory is not None
                if fresh and self._idle and self._alive >= self._size:
                    self._idle.popleft()[0].end()  # its listener tells when it has made room
                elif self._waiting and self._idle and not fresh:
                    return self._waiting.popleft(), self._idle.pop()[0]  # the one that rested least: the others may end
                if self._waiting and self._alive < self._size:
                    self._alive += 1
                    return self._waiting.popleft(), None
                self._changed.wait(pause)
            return None

    def _assign(self, entry: Entry, worker: WorkerProcess) -> bool:
        """False if the worker has died. Its listener, which removes it under the same lock, reports the job otherwise."""
        with self._changed:
            alive = worker in self._listeners
            if alive:
                self._busy[worker] = entry
            return alive

    def _end_idle(self) -> float | None:
        """Ends workers that were idle for too long; returns seconds until the next one will have been."""
        now = self._monotonic()
        while self._idle:
            worker, since = self._idle[0]
            if self._waiting or now - since < self._idle_seconds:
                return self._idle_seconds - (now - since)
            self._idle.popleft()
            worker.end()
        return None

    def _start(self) -> WorkerProcess:
        worker = WorkerProcess()
        listener = threading.Thread(target=self._listen, args=(worker,), name=f"job-worker-{worker.pid}", daemon=True)
        with self._changed:
            self._listeners[worker] = listener
        listener.start()
        return worker

    # -- a listener's thread

    def _listen(self, worker: WorkerProcess) -> None:
        for message in worker.messages():
            with self._changed:
                entry = self._busy[worker]
            if "progress" in message:
                self._news.progressed(entry, *message["progress"])
                continue
            if "bucket_failure" in message:
                self._news.bucket_failed(message["bucket_failure"])
                continue
            if "timed" in message:
                if (throttle := self._throttles.get(worker)) is not None:
                    throttle.owe(message["timed"])
                continue
            self._unthrottle(worker)
            announce = self._news.ended(entry, Failure.from_dict(message["failed"]) if "failed" in message else None)
            self._rest(worker)
            announce()
        self._unthrottle(worker)
        ending = worker.reap()
        with self._changed:
            self._alive -= 1
            del self._listeners[worker]
            self._idle = deque(item for item in self._idle if item[0] is not worker)
            left = self._busy.pop(worker, None)
            self._changed.notify_all()
        if left is not None:
            self._news.ended(left, _crash(left, ending))()

    def _unthrottle(self, worker: WorkerProcess) -> None:
        """Its job has ended: it is free to hear of the next."""
        throttle = self._throttles.pop(worker, None)
        if throttle is not None:
            throttle.end()

    def _rest(self, worker: WorkerProcess) -> None:
        with self._changed:
            self._busy.pop(worker, None)
            if worker in self._listeners and not worker.killed:
                self._idle.append((worker, self._monotonic()))
            self._changed.notify_all()


def _crash(entry: Entry, ending: Ending) -> Failure:
    return Failure.crashed(f"The process of {entry.job.kind} job {entry.job.id} {ending.how}.", memory=ending.memory)
