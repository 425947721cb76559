"""Compaction: many small segments of a month become few Parquet objects, and no reader notices.

    fold -> Parquet objects durable -> the marker moves -> what was folded is deleted

A crash between any two of these leaves events twice, never none, and readers know an event by its id; the next run finds
segments and the Parquet object that has them overlapping, folds both into the very same object, and deletes the rest. So
nothing is remembered of a run, and one that wakes after its lease was taken deletes only what durable objects hold.

A month is read as a stream and written an object at a time, whatever its size. Large objects that nothing overlaps are left
alone. Only the holder of the lease compacts. Read next: `segments.py` (names, the marker), `parquet.py`, `retention.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock
from zlib import crc32

import orjson

from state.errors import ObjectExists, ObjectMissing, StreamCorrupt
from state.failpoints import declare, hit
from state.streams import ids, reading, segments
from state.streams.reading import Record, Run, Span
from state.streams.schemas import StreamSchema, schema_of
from state.streams.segments import FOLDED, Segment
from state.streams.stream import Streams

MOST_EVENTS = 20_000
MOST_BYTES = 16 << 20
"""Of one object, before it is encoded."""
FEW_EVENTS = MOST_EVENTS // 4
"""A Parquet object of fewer is folded once more when its neighbour is."""
MANY_SEGMENTS = 200
"""By itself the current month is compacted when it has more."""

BEFORE_PUT = declare("compaction.before-put")
AFTER_PUT = declare("compaction.after-put")
MARKED = declare("compaction.marked")
DELETED = declare("compaction.deleted")


@dataclass(frozen=True, slots=True)
class Folded:
    """What became of one month of a stream: objects, their bytes and events, before and after."""

    stream: str
    month: str
    objects: tuple[int, int]
    bytes: tuple[int, int]
    events: tuple[int, int]


class Compaction:
    """Thread-safe: one run at a time, others wait. Blocking."""

    def __init__(self, streams: Streams, check: Callable[[], None]) -> None:
        """check: raises LeaseLost once somebody else may compact."""
        self._streams = streams
        self._store = streams.store
        self._check = check
        self._running = Lock()

    def run(self, stream: str, wanted: Callable[[], bool] = lambda: True) -> list[Folded]:
        """Compacts every month of it, as far as there is anything to do and it is wanted.

        A month that cannot be read holds up no other; then the first error is raised at the end. Raises StreamInvalid.
        """
        schema_of(stream)
        return self._months(stream, segments.months(self._store, stream), wanted)

    def run_due(self, stream: str, wanted: Callable[[], bool]) -> list[Folded]:
        """As `run`, for past months, and for the current one when it has many segments."""
        now = ids.month(self._streams.ids())
        months = segments.months(self._store, stream)
        return self._months(stream, [month for month in months if month < now or self._crowded(stream, month)], wanted)

    def _crowded(self, stream: str, month: str) -> bool:
        return sum(segment.form == "jsonl" for segment in segments.listed(self._store, stream, month)) > MANY_SEGMENTS

    def _months(self, stream: str, months: Iterable[str], wanted: Callable[[], bool]) -> list[Folded]:
        done: list[Folded] = []
        damage: StreamCorrupt | None = None
        with self._running:
            for month in months:
                try:
                    done += self._month(schema_of(stream), month, wanted)
                except StreamCorrupt as error:
                    damage = damage or error
        if damage is not None:
            raise damage
        return done

    def _month(self, schema: StreamSchema, month: str, wanted: Callable[[], bool]) -> Iterator[Folded]:
        before = segments.listed(self._store, schema.name, month)
        after = list(before)
        for group in groups(before):
            try:
                made = self._fold(schema, month, group, wanted)
            except (
                ObjectMissing
            ):  # a deletion of a former run, or of a holder that was fenced, took its time: the next run sees what is left
                break
            if made is None:
                break
            gone = {segment.key for segment in group}
            after = [segment for segment in after if segment.key not in gone] + made
        if after != before:
            objects, sizes = (len(before), len(after)), (_sum(before, "size"), _sum(after, "size"))
            yield Folded(schema.name, month, objects, sizes, (_sum(before, "count"), _sum(after, "count")))

    def _fold(self, schema: StreamSchema, month: str, group: Sequence[Segment], wanted: Callable[[], bool]) -> list[Segment] | None:
        """The order matters: see above. None if it was not wanted any more: what is made by then is found by the next run."""
        made = []
        for chunk in chunks(self._events(group)):
            if not wanted():
                return None
            segment, data = _encoded(schema, month, chunk)
            hit(BEFORE_PUT)
            self._put(segment, data)
            hit(AFTER_PUT)
            made.append(segment)
        self._check()
        marker = {"id": self._streams.ids(), "month": month, "folded": len(group), "objects": len(made)}
        self._store.put(segments.marker_key(schema.name), orjson.dumps(marker))
        hit(MARKED)
        kept = {segment.key for segment in made}
        for segment in group:
            if segment.key not in kept:
                self._store.delete(segment.key)
                hit(DELETED)
        return made

    def _put(self, segment: Segment, data: bytes) -> None:
        """One that is there already is what a run left that did not come to its end, unless it was damaged since."""
        try:
            self._store.put(segment.key, data, if_absent=True)
        except ObjectExists:
            if self._store.get(segment.key) != data:
                self._store.put(segment.key, data)

    def _events(self, group: Sequence[Segment]) -> Iterator[Record]:
        def month(within: Span) -> list[Run]:
            return [Run(segment.first, segment.last, partial(reading.load, self._store, segment)) for segment in group]

        return reading.merged([month], Span(), newest_first=False)


def groups(listed: Sequence[Segment]) -> list[tuple[Segment, ...]]:
    """What is to be folded together: neighbours in order of their ids, of which no other segment lies in between.

    That is every segment of lines, whatever overlaps another, and small Parquet objects beside these.
    """
    clusters = _clusters(listed)
    dirty = [len(cluster) > 1 or cluster[0].form == "jsonl" for cluster in clusters]
    for order in (range(1, len(clusters)), range(len(clusters) - 2, -1, -1)):
        step = order.step
        for at in order:
            dirty[at] = dirty[at] or (dirty[at - step] and clusters[at][0].count < FEW_EVENTS)
    found: list[list[Segment]] = []
    for at, cluster in enumerate(clusters):
        if dirty[at]:
            if at == 0 or not dirty[at - 1]:
                found.append([])
            found[-1] += cluster
    return [tuple(group) for group in found]


def _clusters(listed: Sequence[Segment]) -> list[tuple[Segment, ...]]:
    """Segments in order of their first ids, those that overlap together."""
    found: list[list[Segment]] = []
    last = ""
    for segment in sorted(listed, key=lambda segment: (segment.first, segment.last, segment.key)):
        if found and segment.first <= last:
            found[-1].append(segment)
        else:
            found.append([segment])
        last = max(last, segment.last)
    return [tuple(cluster) for cluster in found]


def chunks(events: Iterable[Record]) -> Iterator[list[Record]]:
    """The events of one object after the other."""
    chunk: list[Record] = []
    size = 0
    for record in events:
        chunk.append(record)
        size += len(record[1])
        if len(chunk) >= MOST_EVENTS or size >= MOST_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _encoded(schema: StreamSchema, month: str, chunk: Sequence[Record]) -> tuple[Segment, bytes]:
    from state.streams import parquet  # here: whoever opens a state would wait for pyarrow

    data = parquet.encode([line for _, line in chunk], schema.columns)
    return Segment(schema.name, month, chunk[0][0], chunk[-1][0], FOLDED, len(chunk), crc32(data), "parquet", len(data)), data


def _sum(listed: Iterable[Segment], what: str) -> int:
    return sum(segment.size if what == "size" else segment.count for segment in listed)
