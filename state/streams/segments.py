"""Segments: the write-once objects of a stream, and what their names say.

    streams/<stream>/<yyyy-mm>/<first id>-<last id>-<write-ahead file>-<count>-<crc32>.jsonl
    streams/<stream>/<yyyy-mm>/<first id>-<last id>-folded-<count>-<crc32>.parquet
    streams/<stream>/compacted.json         changes with every compaction, before it deletes what it folded

The name derives from the events and from the write-ahead file that held them, so that moving a file twice puts the same
objects twice, and the second put finds them there. It also says what a reader wants to know before it opens one: which
ids and how many, and after: whether it is whole. Lines are ordered by id. Read next: `reading.py`, `compaction.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeVar, cast
from zlib import crc32

from state.errors import ObjectMissing
from state.objects import ObjectStore
from state.streams import ids
from state.streams.wal import WalContent, WalRecord

PREFIX = "streams/"
FOLDED = "folded"
"""In the place of a write-ahead file: made of other segments."""

Form = Literal["jsonl", "parquet"]
_T = TypeVar("_T")

_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")
_KEY = re.compile(
    r"streams/(?P<stream>[a-z_]+)/(?P<month>\d{4}-(?:0[1-9]|1[0-2]))/(?P<first>[0-9A-Z]{26})-(?P<last>[0-9A-Z]{26})-(?P<source>[^/]+)-(?P<count>\d+)-(?P<crc>[0-9a-f]{8})\.(?P<form>jsonl|parquet)"
)


@dataclass(frozen=True, slots=True)
class Segment:
    """Events of one stream and one month: `count` of them, from id `first` to id `last`; `crc` is of its bytes, `size` their number.

    source: the write-ahead file that held them, or FOLDED.
    """

    stream: str
    month: str
    first: str
    last: str
    source: str
    count: int
    crc: int
    form: Form = "jsonl"
    size: int = field(default=0, compare=False)

    @property
    def key(self) -> str:
        """Where it is, or will be, in the bucket."""
        return f"{PREFIX}{self.stream}/{self.month}/{self.first}-{self.last}-{self.source}-{self.count}-{self.crc:08x}.{self.form}"


@dataclass(frozen=True, slots=True)
class Batch:
    """A segment with its events, ordered by id, each id once."""

    segment: Segment
    records: tuple[WalRecord, ...]

    def encode(self) -> bytes:
        """The object's bytes; they depend on the records alone."""
        return _encoded(self.records)


def _encoded(records: Iterable[WalRecord]) -> bytes:
    return b"".join([record.json + b"\n" for record in records])


def parse_key(key: str, size: int = 0) -> Segment | None:
    """The segment that a key names; None for what is none."""
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    count, crc, form = int(match["count"]), int(match["crc"], 16), cast(Form, match["form"])
    return Segment(match["stream"], match["month"], match["first"], match["last"], match["source"], count, crc, form, size)


def batches(content: WalContent) -> tuple[Batch, ...]:
    """The segments that a write-ahead file becomes, by stream and month. Depends on the file's name and records only."""
    groups: dict[str, dict[str, WalRecord]] = {}
    for record in content.records:
        groups.setdefault(record.stream, {})[record.id] = record
    return tuple(_batch(content.name, run) for stream in sorted(groups) for run in _by_month(groups[stream]))


def _by_month(records: dict[str, WalRecord]) -> Iterator[list[WalRecord]]:
    """Runs of one month; decoding an id is slow, so that all are decoded only if the ends differ."""
    ordered = [records[id_] for id_ in sorted(records)]
    if ids.month(ordered[0].id) == ids.month(ordered[-1].id):
        yield ordered
        return
    months: dict[str, list[WalRecord]] = {}
    for record in ordered:
        months.setdefault(ids.month(record.id), []).append(record)
    yield from months.values()


def _batch(source: str, records: list[WalRecord]) -> Batch:
    first, last = records[0].id, records[-1].id
    data = _encoded(records)
    segment = Segment(records[0].stream, ids.month(first), first, last, source, len(records), crc32(data), size=len(data))
    return Batch(segment, tuple(records))


def months(store: ObjectStore, stream: str) -> list[str]:
    """The months that a stream has objects of, oldest first, whatever the number of objects. Blocking."""
    # others' folders may lie there, too
    return [name for name in store.folders(f"{PREFIX}{stream}/") if _MONTH.fullmatch(name)]


def listed(store: ObjectStore, stream: str, month: str) -> list[Segment]:
    """The segments of one month, by first id; whole, though a compaction may run meanwhile. Blocking."""
    return settled(store, stream, lambda: _listed(store, stream, month))


def all_listed(store: ObjectStore, stream: str) -> list[Segment]:
    """Those of all months, as `listed`. Blocking."""
    return settled(store, stream, lambda: [found for month in months(store, stream) for found in _listed(store, stream, month)])


def settled(store: ObjectStore, stream: str, look: Callable[[], _T]) -> _T:
    """What `look` sees of the stream's names, looked at again if a compaction was under way.

    A listing is no instant: it may pass the place of a new object before that is there, and come to a folded one after that is
    gone. The marker moves between the two, so that a look during which it stood still missed nothing.
    """
    before = _marker(store, stream)
    while True:
        found = look()
        after = _marker(store, stream)
        if after == before:
            return found
        before = after


def marker_key(stream: str) -> str:
    """The object that every compaction of the stream replaces."""
    return f"{PREFIX}{stream}/compacted.json"


def _marker(store: ObjectStore, stream: str) -> str | None:
    try:
        return store.head(marker_key(stream)).etag
    except ObjectMissing:
        return None


def _listed(store: ObjectStore, stream: str, month: str) -> list[Segment]:
    infos = store.list(f"{PREFIX}{stream}/{month}/")
    return [segment for info in infos if (segment := parse_key(info.key, info.size)) is not None]
