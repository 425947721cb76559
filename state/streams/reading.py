"""Reading a stream: write-ahead files first, then the bucket, merged by id, each id once.

The order matters. An event moves from a write-ahead file into the bucket and never back, so whoever reads the files
first misses nothing; what moved in between is seen twice and given once. Segments are opened as the merge reaches them:
the newest ten events open the newest segments only, a month nobody asks for is not even listed. Reading needs no lease
and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zlib import crc32

import orjson

from state.errors import StreamCorrupt
from state.objects import ObjectStore
from state.streams import ids, segments
from state.streams.schemas import StreamInvalid
from state.streams.segments import Batch, Segment
from state.streams.wal import read_wal, wal_paths
from state.timestamps import from_iso

Bound = str | datetime | None
Record = tuple[str, bytes]
"""An event's id and its JSON."""


@dataclass(frozen=True, slots=True)
class Run:
    """Some events between two ids, read when needed; ordered by id."""

    first: str
    last: str
    load: Callable[[], list[Record]]


@dataclass(frozen=True, slots=True)
class Span:
    """Ids from `first` on and below `until`."""

    first: str = ids.LOWEST
    until: str = ids.ABOVE

    def touches(self, first: str, last: str) -> bool:
        """Whether ids from first to last, both included, may lie in the span."""
        return last >= self.first and first < self.until


def span(since: Bound, until: Bound) -> Span:
    """Bounds as ids. Raises StreamInvalid for text that is neither an id nor ISO 8601."""
    return Span(ids.LOWEST if since is None else _bound(since), ids.ABOVE if until is None else _bound(until))


def _bound(bound: str | datetime) -> str:
    if isinstance(bound, datetime):
        return ids.first_at(bound)
    if ids.is_id(bound):
        return bound
    try:
        return ids.first_at(from_iso(bound))
    except ValueError:
        message = f"{bound!r} is neither an event's id nor a time."
        raise StreamInvalid(message, remedy="Say a time as 2026-11-22 or 2026-11-22T15:51:52Z.") from None


def pending(folder: Path, stream: str | None = None) -> list[Batch]:
    """What the write-ahead files of all processes hold, as the segments that it will become. Blocking."""
    contents = [read_wal(path, stream) for path in wal_paths(folder)]
    return [batch for content in contents if content is not None for batch in segments.batches(content)]


def runs(store: ObjectStore, folder: Path, stream: str, within: Span, *, newest_first: bool) -> Iterator[list[Run]]:
    """The stream's events in groups such that no later group has an id before (newest_first: after) an earlier one's.

    One group a month; what waits in write-ahead files is in the group of its month. Blocking.
    """
    waiting: dict[str, list[Batch]] = {}
    for batch in pending(folder, stream):
        waiting.setdefault(batch.segment.month, []).append(batch)
    months = sorted({*segments.months(store, stream), *waiting}, reverse=newest_first)
    for month in months:
        if not within.touches(*ids.month_bounds(month)):
            continue
        stored = [_stored(store, segment) for segment in segments.listed(store, stream, month)]
        held = [_held(batch) for batch in waiting.get(month, ())]
        yield [run for run in (*stored, *held) if within.touches(run.first, run.last)]


def _stored(store: ObjectStore, segment: Segment) -> Run:
    return Run(segment.first, segment.last, lambda: load(store, segment))


def _held(batch: Batch) -> Run:
    return Run(batch.segment.first, batch.segment.last, lambda: [(record.id, record.json) for record in batch.records])


def load(store: ObjectStore, segment: Segment) -> list[Record]:
    """The events of one object. Raises StreamCorrupt if they are not those that its name speaks of. Blocking."""
    data = store.get(segment.key)
    if crc32(data) != segment.crc:
        raise _corrupt(store, segment, f"its content has the checksum {crc32(data):08x}, its name says {segment.crc:08x}")
    lines = data.split(b"\n")
    lines.pop()
    try:
        records = [(id_of(line), line) for line in lines]
    except ValueError as error:
        raise _corrupt(store, segment, f"a line is no event ({error})") from error
    return records


def _corrupt(store: ObjectStore, segment: Segment, fault: str) -> StreamCorrupt:
    return StreamCorrupt(f"{store.name}/{segment.key} is damaged: {fault}.", remedy="Restore it from a copy, or remove it to do without.")


_HEAD = b'{"id":"'


def id_of(line: bytes) -> str:
    """The id of an event without parsing it: events are written with `id` first. Raises ValueError."""
    if line[: len(_HEAD)] == _HEAD:
        return line[len(_HEAD) : len(_HEAD) + ids.LENGTH].decode("ascii")
    try:
        return str(orjson.loads(line)["id"])
    except (TypeError, KeyError) as error:
        raise ValueError(str(error)) from error


def merged(groups: Iterator[list[Run]], within: Span, *, newest_first: bool) -> Iterator[Record]:
    """The events of the runs in order of their ids, each id once, those outside the span left out."""
    previous = ""
    for group in groups:
        for record in _ordered(group, newest_first=newest_first):
            if record[0] != previous and within.first <= record[0] < within.until:
                yield record
            previous = record[0]


def _ordered(group: list[Run], *, newest_first: bool) -> Iterator[Record]:
    """Loads a run only when an event of it may be the next one. What is next stands at the end of each list."""
    unread = sorted(group, key=lambda run: run.last if newest_first else run.first, reverse=not newest_first)
    read: list[Record] = []
    while unread or read:
        while unread and not (read and _settled(read[-1][0], unread[-1], newest_first=newest_first)):
            read += unread.pop().load()
            read.sort(reverse=not newest_first)
        if read:
            yield read.pop()


def _settled(id_: str, run: Run, *, newest_first: bool) -> bool:
    return id_ > run.last if newest_first else id_ < run.first


def matching(records: Iterator[Record], where: Mapping[str, Any] | None) -> Iterator[dict[str, Any]]:
    """The events whose columns equal `where`. Text is looked for in the bytes first: most lines are never parsed."""
    wanted = dict(where or {})
    needles = [orjson.dumps(value) for value in wanted.values() if isinstance(value, str)]
    for _, line in records:
        if all(needle in line for needle in needles):
            event = orjson.loads(line)
            if all(event.get(column) == value for column, value in wanted.items()):
                yield event
