"""Reading a stream: write-ahead files first, then the bucket, merged by id, each id once.

The order matters. An event moves from a write-ahead file into the bucket and never back, so whoever reads the files
first misses nothing; what moved in between is seen twice and given once. Segments are opened as the merge reaches them:
the newest ten events open the newest segments only, a month nobody asks for is not even listed. One that was folded
into another after it was listed is looked for again. Reading needs no lease and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from zlib import crc32

import orjson

from state.errors import ObjectMissing, StreamCorrupt
from state.objects import ObjectStore
from state.streams import ids, segments
from state.streams.schemas import StreamColumn, StreamInvalid
from state.streams.segments import Batch, Form, Segment
from state.streams.wal import read_wal, wal_paths
from state.timestamps import from_iso

if TYPE_CHECKING:
    import pyarrow as pa

_T = TypeVar("_T")
Bound = str | datetime | None
Record = tuple[str, bytes]
"""An event's id and its JSON."""


@dataclass(frozen=True, slots=True)
class Run:
    """Some events between two ids, read when needed; ordered by id."""

    first: str
    last: str
    load: Callable[[], list[Record]]


Month = Callable[["Span"], list[Run]]
"""The runs of one month that may have events of a span, looked for anew by each call."""


@dataclass(frozen=True, slots=True)
class Span:
    """Ids from `first` on and below `until`."""

    first: str = ids.LOWEST
    until: str = ids.ABOVE

    def touches(self, first: str, last: str) -> bool:
        """Whether ids from first to last, both included, may lie in the span."""
        return last >= self.first and first < self.until

    def beyond(self, id_: str, *, newest_first: bool) -> Span:
        """What is left of it once this id was read; all of it for no id."""
        if not id_:
            return self
        return Span(self.first, min(self.until, id_)) if newest_first else Span(max(self.first, ids.following(id_)), self.until)


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


def months(store: ObjectStore, folder: Path, stream: str, within: Span, *, newest_first: bool) -> Iterator[Month]:
    """The stream's events by month, in order; what waits in write-ahead files is in its month. Blocking."""
    waiting: dict[str, list[Batch]] = {}
    for batch in pending(folder, stream):
        waiting.setdefault(batch.segment.month, []).append(batch)
    for month in sorted({*segments.months(store, stream), *waiting}, reverse=newest_first):
        if within.touches(*ids.month_bounds(month)):
            yield partial(_runs, store, stream, month, waiting.get(month, ()))


def _runs(store: ObjectStore, stream: str, month: str, held: Sequence[Batch], within: Span) -> list[Run]:
    stored = [Run(segment.first, segment.last, partial(load, store, segment)) for segment in segments.listed(store, stream, month)]
    waiting = [Run(batch.segment.first, batch.segment.last, partial(_held, batch)) for batch in held]
    return [run for run in (*stored, *waiting) if within.touches(run.first, run.last)]


def _held(batch: Batch) -> list[Record]:
    return [(record.id, record.json) for record in batch.records]


def load(store: ObjectStore, segment: Segment) -> list[Record]:
    """The events of one object. Raises StreamCorrupt if they are not those that its name speaks of. Blocking."""
    return _decoded(store, segment, partial(parsed, form=segment.form))


def load_rows(store: ObjectStore, segment: Segment, columns: Sequence[StreamColumn]) -> pa.Table:
    """The events of a Parquet object as an Arrow table of these columns. Raises StreamCorrupt. Blocking."""
    from state.streams import parquet

    return _decoded(store, segment, partial(parquet.rows, columns=columns))


def _decoded(store: ObjectStore, segment: Segment, decode: Callable[[bytes], _T]) -> _T:
    data = store.get(segment.key)
    if crc32(data) != segment.crc:
        raise _corrupt(store, segment, f"its content has the checksum {crc32(data):08x}, its name says {segment.crc:08x}")
    try:
        return decode(data)
    except ValueError as error:
        raise _corrupt(store, segment, f"it cannot be read as events ({error})") from error


def parsed(data: bytes, form: Form) -> list[Record]:
    """The events of an object's bytes. Raises ValueError."""
    if form == "parquet":
        from state.streams import parquet  # here, since few readers come to an object that needs pyarrow

        return parquet.records(data)
    lines = data.split(b"\n")
    lines.pop()
    return [(id_of(line), line) for line in lines]


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


def merged(found: Iterable[Month], within: Span, *, newest_first: bool) -> Iterator[Record]:
    """The events of the months in order of their ids, each id once, those outside the span left out."""
    previous = ""
    for record in every(found, within, newest_first=newest_first):
        if record[0] != previous:
            yield record
        previous = record[0]


def every(found: Iterable[Month], within: Span, *, newest_first: bool) -> Iterator[Record]:
    """As `merged`, each event as often as it is there. Raises ObjectMissing for a segment that is gone, and listed still."""
    previous = ""
    for month in found:
        gone: set[str] = set()
        rest: Span | None = within
        while rest is not None:
            try:
                for record in _ordered(month(rest), newest_first=newest_first):
                    if rest.first <= record[0] < rest.until:
                        yield record
                        previous = record[0]
                rest = None
            except ObjectMissing as error:  # folded into another since it was listed
                if error.key in gone:
                    raise
                gone.add(error.key)
                rest = within.beyond(previous, newest_first=newest_first)


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
