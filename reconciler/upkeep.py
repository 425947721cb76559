"""What streams need now and then, from whoever holds the lease: segments folded into Parquet objects, months past their time removed.

A stream that cannot be read holds up no other; it is tried again with the next turn. Next: `state/streams/compaction.py`.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from reconciler.status_writer import StatusWriter
from state import reasons
from state.errors import LeaseLost, StateError
from state.streams.compaction import Compaction
from state.streams.retention import Removal, Retention
from state.streams.schemas import STREAMS

DAEMON = "Daemon/lakehouse"
"""The object of the daemon's own events."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Upkeep:
    """Of all streams. Blocking. keep: how long a stream is kept now, None for ever."""

    compaction: Compaction
    retention: Retention
    keep: Callable[[str], timedelta | None]

    def run(self, wanted: Callable[[], bool]) -> None:
        """One turn, ended early when it is not wanted any more. Raises LeaseLost."""
        for stream in STREAMS:
            if not wanted():
                return
            try:
                self._tend(stream, wanted)
            except LeaseLost:
                raise
            except StateError as error:
                _log.warning("stream %s is left as it is for now: %s", stream, error.explain())

    def _tend(self, stream: str, wanted: Callable[[], bool]) -> None:
        keep = self.keep(stream)
        if keep is not None:
            self.retention.run(stream, keep)
        for month in self.compaction.run_due(stream, wanted):
            _log.info("stream %s, %s: %d objects became %d", stream, month.month, *month.objects)


def tell(statuses: StatusWriter, removal: Removal) -> None:
    """As an event."""
    size = f"{removal.events} events in {removal.objects} objects, {removal.bytes} bytes"
    message = f"{removal.stream} of {removal.month} is older than it is to be kept and is removed: {size}"
    statuses.record_event(DAEMON, "Normal", reasons.EVENTS_EXPIRED, message)
