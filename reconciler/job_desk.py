"""Hears of jobs that ended in a process of their own: a row of `system.jobs` each, and another look at who wanted it."""

import logging
from collections.abc import Callable, Iterable

from engines.jobs.job import Ended
from state.errors import StateError
from state.streams.stream import Streams

_log = logging.getLogger(__name__)


def _nobody(_: Iterable[str]) -> None:
    return None


class JobDesk:
    """`wake` is set once there is a loop to wake. Called from the executor's threads; never raises."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self.wake: Callable[[Iterable[str]], None] = _nobody

    def ended(self, end: Ended) -> None:
        """Notes the end, then wakes its object. A row that cannot be written costs the row, not the work."""
        row = {
            "job": end.job.id, "kind": end.job.kind, "object": end.job.object, "state": "failed" if end.failure else "done",
            "reason": end.failure.slug if end.failure else None, "message": end.failure.message if end.failure else None,
            "attempt": end.attempts, "bytes": end.job.weight, "seconds": end.seconds,
        }  # fmt: skip
        try:
            self._streams.append_lazy("jobs", row)
        except StateError as error:
            _log.warning("job %s ended and could not be noted: %s", end.job.id, error.explain())
        self.wake((end.job.object,))
