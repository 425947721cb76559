"""Retention: months of a stream that are wholly older than it is to be kept are removed, and said to be.

    told -> where chains begin now is noted -> objects are deleted

A crash in between is a repetition, which may tell it twice. Only the holder of the lease removes; `status` is never asked about, since
what is newest of an object may be old. Who decides how long is `reconciler/settings.py`. Read next: `chains.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from state.failpoints import declare, hit
from state.streams import ids, reading, segments
from state.streams.chains import Head, Link, heads_in
from state.streams.schemas import schema_of
from state.streams.segments import Segment
from state.streams.stream import Streams
from state.streams.wal import WalRecord

TOLD = declare("retention.told")
NOTED = declare("retention.noted")
REMOVED = declare("retention.removed")


@dataclass(frozen=True, slots=True)
class Removal:
    """One month of a stream that is to go."""

    stream: str
    month: str
    objects: int
    bytes: int
    events: int


class Retention:
    """Of one state. Blocking."""

    def __init__(self, streams: Streams, check: Callable[[], None], tell: Callable[[Removal], None]) -> None:
        """check: raises LeaseLost once somebody else may remove. tell: makes a removal known, durably, before it begins."""
        self._streams = streams
        self._check = check
        self._tell = tell

    def run(self, stream: str, keep: timedelta) -> list[Removal]:
        """Removes the months whose last instant is longer ago than `keep`."""
        now = ids.instant(self._streams.ids())
        oldest = ids.first_at(now - min(keep, now - ids.instant(ids.LOWEST)))
        store, removed = self._streams.store, []
        for month in segments.months(store, stream):
            found = segments.listed(store, stream, month)
            if found and ids.month_bounds(month)[1] < oldest:
                removed.append(self._remove(stream, month, found))
        return removed

    def _remove(self, stream: str, month: str, found: Sequence[Segment]) -> Removal:
        """The order matters: see above."""
        size, events = sum(segment.size for segment in found), sum(segment.count for segment in found)
        removal = Removal(stream, month, len(found), size, events)
        chained = schema_of(stream).chained
        last = self._last_links(stream, found) if chained else {}  # first: what cannot be read stays, and is not told to be gone
        self._check()
        self._tell(removal)
        hit(TOLD)
        if chained:
            self._streams.heads.begin_after(stream, last)
            hit(NOTED)
        for segment in found:
            self._streams.store.delete(segment.key)
            hit(REMOVED)
        return removal

    def _last_links(self, stream: str, found: Sequence[Segment]) -> Head:
        """The last one of each writer, one object at a time."""
        last: dict[str, Link] = {}
        for head in self._heads(stream, found):
            last |= {writer: link for writer, link in head.items() if link.number > last.get(writer, Link()).number}
        return last

    def _heads(self, stream: str, found: Sequence[Segment]) -> Iterator[Head]:
        for segment in found:
            records = [WalRecord(stream, id_, line) for id_, line in reading.load(self._streams.store, segment)]
            yield heads_in(records).get(stream, {})
