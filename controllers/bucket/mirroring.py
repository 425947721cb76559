"""Keeps rescue buckets mirrored: looks what is lacking, and has it copied in batches, each a job.

What was copied lies there, so that a daemon that starts anew looks and goes on with what is still lacking. Remembered is only what a look
cannot tell: under which etag an object was copied (the clocks of two stores may differ), and which ones are damaged.
Used by the controller only, for one bucket at a time each. Next: `state/mirrors.py`, `engines/mirroring.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from controllers.jobs import job_weight, run_job
from controllers.step import Started
from engines.jobs.executor import Executor
from engines.jobs.job import Job
from engines.mirroring import MirrorTask
from specs.digests import digest
from specs.errors import LakehouseError
from state import reasons
from state.buckets import Buckets
from state.catalog.fold import ObjectState
from state.mirrors import Copy, Lag, expected, in_order, missing

EVERY = 5.0
"""Seconds between two looks at a mirror, or more where looking takes long."""
_SHARE_OF_LOOKING = 0.02
_MOST_OBJECTS, _MOST_BYTES = 2_000, 4 << 30
_OBJECT_BYTES = 64 << 10
"""What a small object costs, counted in bytes of a large one: a batch of many is work for a process of its own."""


@dataclass(slots=True)
class _Seen:
    """What is remembered of one bucket. copied and damaged: etags by key."""

    rescue: str
    copied: dict[str, str] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    copies: list[Copy] = field(default_factory=list)
    job: tuple[Job, MirrorTask] | None = None
    lag: Lag | None = None
    overdue: bool = False
    pause: float = EVERY


@dataclass(frozen=True, slots=True)
class Look:
    """How far a mirror is behind. overdue: it lacked something at the last look already; pause: seconds until the next look."""

    lag: Lag
    overdue: bool
    pause: float


class Mirroring:
    """Blocking."""

    def __init__(
        self,
        buckets: Buckets,
        objects: Callable[[], Mapping[str, ObjectState]],
        executor: Executor,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """objects: everything in the catalog."""
        self._buckets = buckets
        self._objects = objects
        self._executor = executor
        self._clock = clock
        self._monotonic = monotonic
        self._seen: dict[str, _Seen] = {}

    def look(self, name: str, rescue: str) -> Look:
        """Both must be open. While a batch is being copied, as it was before. Raises what listing raises."""
        seen = self._seen.get(name)
        if seen is None or seen.rescue != rescue:
            seen = self._seen[name] = _Seen(rescue)
        if seen.job is None or seen.lag is None:
            self._compare(name, seen)
        assert seen.lag is not None
        return Look(seen.lag, seen.overdue, seen.pause)

    def copy(self, name: str, wanted_by: str) -> Started | None:
        """Copies what the last look found lacking, or as much as makes a batch. Raises what the job raised."""
        seen = self._seen[name]
        job, task = seen.job = seen.job or self._job(name, seen, wanted_by)
        try:
            result = run_job(self._executor, job, reasons.MIRRORING, f"copying to bucket {seen.rescue}")
        except LakehouseError:
            seen.job = None  # what is lacking by then is another batch
            raise
        if isinstance(result, Started):
            return result
        damaged = set(result["damaged"])
        seen.copied |= {copy.key: copy.etag for copy in task.copies if copy.key not in damaged}
        seen.damaged |= {copy.key: copy.etag for copy in task.copies if copy.key in damaged}
        seen.job, seen.overdue = None, False
        self._executor.forget(job.id)
        return None

    def forget(self, name: str) -> None:
        """The bucket has no mirror, or none any more."""
        self._seen.pop(name, None)
        self._buckets.mirrors.note(name, None)

    def _compare(self, name: str, seen: _Seen) -> None:
        began = self._monotonic()
        source, target = self._buckets.store(name), self._buckets.store(seen.rescue)
        copies = in_order(missing(source, target, seen.copied.get))
        broken = [copy.key for copy in copies if seen.damaged.get(copy.key) == copy.etag]
        copies = [copy for copy in copies if copy.key not in broken]
        seen.overdue, seen.copies = bool(seen.lag is not None and seen.lag.objects and copies), copies
        oldest = min((copy.modified for copy in copies), default=None)
        seen.lag = Lag(seen.rescue, len(copies), sum(copy.size for copy in copies), oldest, self._clock().timestamp(), tuple(broken))
        seen.pause = max(EVERY, (self._monotonic() - began) / _SHARE_OF_LOOKING)
        self._buckets.mirrors.note(name, seen.lag)

    def _job(self, name: str, seen: _Seen, wanted_by: str) -> tuple[Job, MirrorTask]:
        source, target = self._buckets.config(name), self._buckets.config(seen.rescue)
        task = MirrorTask(source, target, tuple(expected(_batch(seen.copies), name, self._objects())))
        weight = max(task.size, len(task.copies) * _OBJECT_BYTES)
        name, arguments = f"mirror-{digest(task.to_dict())}", task.to_dict()
        return Job(name, "mirror", "engines.mirroring:run", arguments, job_weight(weight, source, target), wanted_by), task


def _batch(copies: list[Copy]) -> list[Copy]:
    """The first of them, at least one."""
    size = 0
    for count, copy in enumerate(copies[:_MOST_OBJECTS]):
        size += copy.size
        if count and size > _MOST_BYTES:
            return copies[:count]
    return copies[:_MOST_OBJECTS]
