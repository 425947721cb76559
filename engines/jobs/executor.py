"""The executor: heavy steps run beside the daemon, once each, and the caller never waits for them.

`ensure(job)` says how it stands with a job, and starts it where that is needed: a small one at once in the calling thread, any other in
a niced worker process, at most `workers` of them, in the order of asking. Results outlive the process until `forget`; failures do not.
When a job ends, `on_finished(object)` is called.
Refuses to decide on retries: a Failed job stays so until its caller says otherwise. One lock guards all entries; nothing blocks
while holding it but a look at the results' folder.
Next: `job.py` for what is returned, `entry.py` for the stages, `crew.py` for the processes.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from engines.errors import JobCancelled, JobCrashed
from engines.jobs.crew import Crew
from engines.jobs.durations import Durations
from engines.jobs.entry import Entry
from engines.jobs.failure import Failure
from engines.jobs.function import call
from engines.jobs.job import Done, Ended, Job, JobInfo, JobState
from engines.jobs.process import WorkerProcess
from engines.jobs.results import JobResults
from state.failpoints import declare, hit
from state.failures import BucketFailure, Failures
from state.timestamps import Clock

_log = logging.getLogger(__name__)

ENDED = declare("jobs.ended")
BEFORE_FORGET = declare("jobs.before-forget")


@dataclass(frozen=True, slots=True)
class JobLimits:
    """`workers`: processes at once; 0: every job runs where it is asked for. `inline_limit`: bytes from which a job is worth one.
    `idle_seconds`: before a worker is ended."""

    workers: int = os.cpu_count() or 1
    inline_limit: int = 8 * 1024 * 1024
    idle_seconds: float = 30.0


def _tell_nobody(_: Ended) -> None:
    return None


def _nothing() -> None:
    return None


class Executor:
    """Thread-safe. Blocking only for inline jobs and in `shutdown`."""

    def __init__(
        self,
        directory: Path,
        limits: JobLimits | None = None,
        on_finished: Callable[[Ended], None] = _tell_nobody,
        *,
        clock: Clock = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
        failures: Failures | None = None,
    ) -> None:
        """directory: for results and durations. on_finished: called from a thread of ours; must not raise. Not told of small
        jobs that nobody else waited for. failures: notes those of buckets in jobs."""
        limits = limits or JobLimits()
        self._inline_limit = limits.inline_limit
        self._alone = limits.workers == 0
        self._on_finished = on_finished
        self._clock = clock
        self._monotonic = monotonic
        self._failures = failures or Failures()
        self._results = JobResults(directory)
        self._durations = Durations(directory)
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        self._closed = False
        self._crew = Crew(limits.workers, limits.idle_seconds, directory, _Desk(self), monotonic)

    def ensure(self, job: Job, *, retry: bool = False) -> JobState:
        """How it stands with the job; starts it if it is unknown, or failed and `retry` is set. Never runs one id twice at once.

        A small job that nobody runs yet has been run when this returns Done or Failed; its result is not kept. Raises TypeError
        or ValueError for an id or arguments that cannot be, JobCancelled after `shutdown`.
        """
        arguments = json.dumps(job.arguments, allow_nan=False)
        with self._lock:
            if self._closed:
                raise JobCancelled("The executor has been shut down.")
            entry = self._entries.get(job.id)
            if entry is None:
                stored = self._results.read(job.id)
                entry = self._entries[job.id] = Entry(job, arguments)
                if stored is not None:
                    entry.stage, entry.result = "done", stored.value
                    return Done(stored.value)
            elif entry.stage != "failed" or not retry:
                entry.wanted = True
                return self._state(entry)
            if (job.apart or job.weight >= self._inline_limit) and not self._alone:
                entry.requeue()
                self._crew.submit(entry)
                return self._state(entry)
            entry.inline, entry.wanted = True, False
            entry.start(self._clock(), self._monotonic())
        return self._run_inline(entry)

    def cancel(self, job_id: str) -> bool:
        """Drops a job that waits, or kills its process; False if it has ended, is unknown, or runs in a caller's thread.

        Does not call on_finished. Asked for again, it begins anew once the old process is dead.
        """
        with self._lock:
            entry = self._entries.get(job_id)
            if entry is None or entry.inline or entry.stage not in ("queued", "running"):
                return False
            if self._crew.withdraw(entry):
                del self._entries[job_id]
                return True
            entry.stage, entry.wanted = "cancelled", False
            if entry.worker is not None:
                entry.worker.kill()
            return True

    def keep_only(self, name: str, wanted: Set[str], beside: Collection[str] = ()) -> int:
        """Cancel what runs or waits for the object of this name under other ids than the wanted ones, and forget what has ended.
        Jobs of the kinds `beside` go on.

        Returns how many were cancelled.
        """
        with self._lock:
            own = (entry.job for entry in self._entries.values() if entry.job.object == name)
            stale = [job.id for job in own if job.id not in wanted and job.kind not in beside]
        cancelled = 0
        for job_id in stale:
            if self.cancel(job_id):
                cancelled += 1
            else:
                self.forget(job_id)
        return cancelled

    def forget(self, job_id: str) -> None:
        """Drop the result or the failure, once it is used. A job that runs or waits is left alone."""
        hit(BEFORE_FORGET)
        with self._lock:
            entry = self._entries.get(job_id)
            if entry is None or entry.stage in ("done", "failed"):
                self._entries.pop(job_id, None)
                self._results.forget(job_id)

    def jobs(self) -> tuple[JobInfo, ...]:
        """What runs, by start, then what waits, in the order of the queue."""
        with self._lock:
            now = self._monotonic()
            running = sorted((entry for entry in self._entries.values() if entry.stage == "running"), key=lambda entry: entry.began)
            found = [entry.info(now, self._estimate(entry)) for entry in (*running, *self._crew.waiting())]
        return tuple(info for info in found if info is not None)

    def has(self, job_id: str) -> bool:
        """Whether it waits, runs, or has ended and was not forgotten, as far as this process knows."""
        with self._lock:
            return job_id in self._entries

    def has_work(self, kinds: Set[str]) -> bool:
        """Whether a job for an object of these kinds ("Dataset") waits, runs, or has a result that nobody came for."""
        with self._lock:
            return any(entry.job.object.partition("/")[0] in kinds and entry.stage != "failed" for entry in self._entries.values())

    def works_on(self, object_: str) -> bool:
        """The same for one object, but for compactions, which let others change the object meanwhile."""
        with self._lock:
            found = [entry for entry in self._entries.values() if entry.job.object == object_ and entry.job.kind != "compact"]
            return any(entry.stage != "failed" for entry in found)

    def estimate(self, kind: str, weight: int) -> float | None:
        """Seconds that a job of this kind and weight will take, by the experience of past ones; None without any."""
        return self._durations.estimate(kind, weight)

    def worker_pids(self) -> tuple[int, ...]:
        """Of the worker processes that live, for whoever measures memory."""
        return self._crew.pids()

    def sweep(self, older_than: float) -> int:
        """Remove results that nobody has used in `older_than` seconds, and what dead processes left; returns how many results."""
        return self._results.sweep(older_than, lambda: self._clock().timestamp())

    def shutdown(self) -> None:
        """Kills what runs in processes, forgets what waits, and returns when all are dead. Jobs in callers' threads go on."""
        with self._lock:
            self._closed = True
        self._crew.shutdown()
        self._save_durations()

    def _run_inline(self, entry: Entry) -> JobState:
        outcome: Done | Failure | None = None
        try:
            outcome = call(entry.job.function, entry.arguments, partial(self._progressed, entry), self._failures)
        finally:
            with self._lock:
                entry.inline = False
                match outcome:
                    case Done(result=result):
                        self._finish(entry, result)
                    case Failure():
                        entry.stage, entry.failure = "failed", outcome
                state = self._state(entry)
                # Kept only for those who were told that it runs: they will come for it.
                if outcome is None or (isinstance(outcome, Done) and not entry.wanted):
                    del self._entries[entry.job.id]
                told = entry.wanted
        if told:
            self._announce(entry)
        return state

    def _progressed(self, entry: Entry, done: int, total: int) -> None:
        entry.progress(done, total, self._monotonic())

    def _finish(self, entry: Entry, result: Any) -> None:
        entry.stage, entry.result = "done", result
        self._durations.record(entry.job.kind, entry.job.weight, self._monotonic() - entry.began)

    def _announce(self, entry: Entry) -> None:
        try:
            hit(ENDED)
            self._on_finished(Ended(entry.job, entry.attempts, self._monotonic() - entry.began, entry.failure))
        except Exception:  # noqa: BLE001  (a caller's mistake must not end the thread that listens to a worker)
            _log.exception("Telling %s that its job ended failed; the next relist will find it.", entry.job.object)

    def _state(self, entry: Entry) -> JobState:
        waiting = self._crew.waiting() if entry.stage == "queued" else ()
        ahead = waiting.index(entry) if entry in waiting else 0
        return entry.state(ahead, self._monotonic(), self._estimate(entry))

    def _estimate(self, entry: Entry) -> float | None:
        return self._durations.estimate(entry.job.kind, entry.job.weight)

    def _save_durations(self) -> None:
        try:
            self._durations.save()
        except OSError as error:
            _log.warning("How long jobs took cannot be saved: %s", error)

    # -- what the crew tells, through `_Desk`

    def _started(self, entry: Entry, worker: WorkerProcess) -> bool:
        with self._lock:
            if entry.stage == "cancelled":
                self._drop_or_requeue(entry)
                return False
            entry.worker = worker
            entry.start(self._clock(), self._monotonic())
            return True

    def _ended(self, entry: Entry, failure: Failure | None) -> Callable[[], None]:
        # A process that died after its result was written, and before it said so, has done its work.
        stored = self._results.read(entry.job.id) if failure is None or failure.slug == JobCrashed.slug else None
        with self._lock:
            entry.worker = None
            if entry.stage == "cancelled":
                self._drop_or_requeue(entry)
                return _nothing
            if entry.stage == "queued":
                entry.attempts += 1  # no process could be started: an attempt all the same
            if stored is not None:
                self._finish(entry, stored.value)
            else:
                entry.stage = "failed"
                entry.failure = failure or Failure.crashed(f"The result of {entry.job.kind} job {entry.job.id} has vanished.")
            if self._closed:
                return _nothing

        def announce() -> None:
            self._save_durations()
            self._announce(entry)

        return announce

    def _drop_or_requeue(self, entry: Entry) -> None:
        if entry.wanted and not self._closed:
            entry.requeue()
            self._crew.submit(entry)
        else:
            del self._entries[entry.job.id]


class _Desk:
    """The executor's ears: `News` for the crew, and not among the methods for callers."""

    def __init__(self, executor: Executor) -> None:
        self.started = executor._started
        self.ended = executor._ended
        self.progressed = executor._progressed
        self._failures = executor._failures

    def bucket_failed(self, row: Mapping[str, Any]) -> None:
        self._failures.tell(BucketFailure.from_row(row))
