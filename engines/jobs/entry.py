"""What the executor remembers of one job, and what it says of it. No locks, no processes: the executor's lock guards every field
but progress.

    queued -> running -> done | failed        then forgotten; failed -> queued again by ensure(retry=True)
              running -> cancelled -> gone    or queued again, if it was asked for meanwhile

Next: `executor.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from engines.jobs.failure import Failure
from engines.jobs.job import Done, Failed, Job, JobInfo, JobState, Queued, Running
from engines.jobs.process import WorkerProcess

Stage = Literal["queued", "running", "cancelled", "done", "failed"]


@dataclass(slots=True, eq=False)
class Entry:
    """`arguments`: the job's, as JSON text. `began`: monotonic seconds. `worker`: None while inline, or not yet started."""

    job: Job
    arguments: str
    stage: Stage = "queued"
    inline: bool = False
    attempts: int = 0
    done: int = 0
    total: int = 0
    since: datetime | None = None
    began: float = 0.0
    first: tuple[int, float] | None = None
    """What was done when it told of it first, and when: a job that goes on from a former run begins with much."""
    worker: WorkerProcess | None = None
    result: Any = None
    failure: Failure | None = None
    wanted: bool = False
    """Somebody was told that it runs, and waits to be called; or, of a cancelled one, wants it after all."""

    def start(self, since: datetime, began: float) -> None:
        """From queued, or failed, to running."""
        self.stage, self.since, self.began = "running", since, began
        self.done = self.total = 0
        self.first = self.failure = None
        self.attempts += 1

    def requeue(self) -> None:
        """Back to the beginning; attempts are kept."""
        self.stage, self.worker, self.wanted, self.since = "queued", None, False, None

    def progress(self, done: int, total: int, now: float) -> None:
        """now: monotonic seconds. Without the lock: a reader that sees one number of two is wrong for an instant."""
        self.done, self.total = done, total
        self.first = self.first or (done, now)

    def state(self, ahead: int, now: float, estimate: float | None) -> JobState:
        """ahead: jobs before it in the queue. estimate: seconds that jobs like this take."""
        match self.stage:
            case "done":
                return Done(self.result)
            case "failed":
                assert self.failure is not None
                return Failed(self.failure, self.attempts)
            case "running":
                assert self.since is not None
                rate, eta = self._pace(now, estimate)
                return Running(self.done, self.total, self.since, rate, eta)
            case _:
                return Queued(ahead)

    def info(self, now: float, estimate: float | None) -> JobInfo | None:
        """None once it has ended."""
        job = self.job
        if self.stage == "running":
            rate, eta = self._pace(now, estimate)
            return JobInfo(job.id, job.kind, job.object, "running", self.done, self.total, self.since, rate, eta)
        if self.stage == "queued":
            return JobInfo(job.id, job.kind, job.object, "queued", 0, 0, None, None, estimate)
        return None

    def _pace(self, now: float, estimate: float | None) -> tuple[float | None, float | None]:
        """Units a second and seconds left: by its own progress since its first report if there is any, else by what others took."""
        done, since = self.first or (self.done, now)
        elapsed = now - since
        if self.done > done and elapsed > 0:
            rate = (self.done - done) / elapsed
            return rate, max(self.total - self.done, 0) / rate if self.total > 0 else None
        return None, None if estimate is None else max(estimate - (now - self.began), 0.0)
