"""What went wrong in buckets: every failed operation is one row of the stream `errors`, and the newest ones are in memory.

A read that fails may yet be answered from a rescue bucket: whoever tries that opens a `trying` block, in which rows are held back until it
is known. Whoever keeps what a rescue bucket gave, and answers by it once more, has the failure repeated. Next: `watched_store.py` and
`reader.py`, which meet them.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Self

from state.errors import (
    BucketUnavailable,
    DiskFull,
    ObjectCorrupt,
    ObjectMissing,
    SecretFieldMissing,
    SecretMissing,
    SecretsFileRefused,
    StateError,
)
from state.streams.ids import Ulids
from state.timestamps import Clock, from_iso, iso

KEPT = 10_000
"""Failures in memory."""

OPERATIONS = ("put", "get", "head", "list", "delete", "stage")
FAULTS: tuple[type[StateError], ...] = (
    BucketUnavailable, DiskFull, ObjectMissing, ObjectCorrupt, SecretMissing, SecretFieldMissing, SecretsFileRefused,
)  # fmt: skip
"""What ends an operation as a failed one. A missing object is one only for who knows that it must be there."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BucketFailure:
    """One operation that failed.

    Args:
        id: a ULID, given when it is noted.
        op: what was tried, one of OPERATIONS.
        kind: the error's slug, of one of FAULTS. message: without secrets.
        duration_ms: of all attempts; attempt: how many there were, 0 where the bucket was not asked since it had just failed, and
            another answered.
        rescue_bucket: which bucket answered in its place, None if none did.
    """

    at: datetime
    bucket: str
    op: str
    key: str
    kind: str
    message: str
    duration_ms: float
    attempt: int
    rescue_bucket: str | None = None
    id: str = ""

    def to_row(self) -> Mapping[str, object]:
        """As a row of the stream `errors`."""
        return {
            "id": self.id,
            "at": iso(self.at),
            "bucket": self.bucket,
            "op": self.op,
            "key": self.key,
            "class": self.kind,
            "message": self.message,
            "duration_ms": round(self.duration_ms, 3),
            "attempt": self.attempt,
            "rescued": self.rescue_bucket is not None,
            "rescue_bucket": self.rescue_bucket,
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """The inverse of `to_row`."""
        return cls(
            from_iso(row["at"]),
            row["bucket"],
            row["op"],
            row["key"],
            row["class"],
            row["message"],
            row["duration_ms"],
            row["attempt"],
            row["rescue_bucket"],
        )


@dataclass(slots=True)
class Trial:
    """A read under way. failures: so far, and after it as they were told; rescue: to be set to the bucket that answered in the end."""

    failures: list[BucketFailure] = field(default_factory=list)
    rescue: str | None = None

    def noted(self, bucket: str) -> bool:
        """Whether a failure of this bucket is among them."""
        return any(failure.bucket == bucket for failure in self.failures)


class Failures:
    """The failures of one process, its jobs in other processes included. Thread-safe."""

    def __init__(self, clock: Clock = lambda: datetime.now(UTC), ids: Ulids | None = None) -> None:
        """Nobody listens at first. ids: of a stream that these join, if they do."""
        self._clock = clock
        self._ids = ids or Ulids(clock)
        self._lock = threading.Lock()
        self._newest: deque[BucketFailure] = deque(maxlen=KEPT)
        self._last: dict[str, BucketFailure] = {}
        self._listeners: tuple[Callable[[BucketFailure], object], ...] = ()
        self._held = threading.local()

    def listen(self, listener: Callable[[BucketFailure], object]) -> None:
        """Tells each failure from now on, in the thread in which it happened. A StateError of the listener is logged, nothing else."""
        self._listeners += (listener,)

    def record(self, bucket: str, op: str, key: str, error: StateError, *, duration_ms: float = 0.0, attempt: int = 1) -> None:
        """Notes a failure; within `trying`, at its end. What was not even tried (attempt 0) is a row only if another bucket answered."""
        failure = BucketFailure(self._clock(), bucket, op, key, error.slug, str(error), duration_ms, attempt)
        trial: Trial | None = getattr(self._held, "trial", None)
        if trial is not None:
            trial.failures.append(failure)
        elif attempt:
            self.tell(failure)

    @contextmanager
    def trying(self) -> Iterator[Trial]:
        """Holds back what this thread records."""
        if getattr(self._held, "trial", None) is not None:
            raise RuntimeError("a read within a read")
        trial = self._held.trial = Trial()
        try:
            yield trial
        finally:
            self._held.trial = None
            told = [failure for failure in trial.failures if trial.rescue is not None or failure.attempt]
            trial.failures = [self.tell(replace(failure, rescue_bucket=trial.rescue)) for failure in told]

    def repeat(self, failure: BucketFailure) -> None:
        """What its rescue bucket gave then answers once more; its own was not asked again."""
        self.tell(replace(failure, at=self._clock(), duration_ms=0.0, attempt=0))

    def newest(self) -> list[BucketFailure]:
        """The newest ones, newest first."""
        with self._lock:
            return list(reversed(self._newest))

    def last(self, bucket: str) -> BucketFailure | None:
        """The bucket's newest failure in this process."""
        with self._lock:
            return self._last.get(bucket)

    def tell(self, failure: BucketFailure) -> BucketFailure:
        """Notes one under a new id, such as one that a job in another process told of; returns it with that."""
        with self._lock:
            failure = replace(failure, id=self._ids())
            self._newest.append(failure)
            self._last[failure.bucket] = failure
        for listener in self._listeners:
            try:
                listener(failure)
            except StateError as error:
                _log.warning("a failure of bucket %s is not in the journal: %s", failure.bucket, error.explain())
        return failure


_here: ContextVar[Failures] = ContextVar("failures")


@contextmanager
def noted_by(failures: Failures) -> Iterator[None]:
    """What the block calls has its stores' failures noted here."""
    token = _here.set(failures)
    try:
        yield
    finally:
        _here.reset(token)


def failures_here() -> Failures:
    """Of whoever called this, by `noted_by`; nobody's otherwise."""
    return _here.get(None) or Failures()
