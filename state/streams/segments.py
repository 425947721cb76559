"""Segments: the write-once JSONL objects of a stream, and what their names say.

    streams/<stream>/<yyyy-mm>/<first id>-<last id>-<write-ahead file>-<count>-<crc32>.jsonl

The name derives from the events and from the write-ahead file that held them, so that moving a file twice puts the same
objects twice, and the second put finds them there. It also says what a reader wants to know before it opens one: which
ids and how many, and after: whether it is whole. Lines are ordered by id. Read next: `reading.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from zlib import crc32

from state.objects import ObjectStore
from state.streams import ids
from state.streams.wal import WalContent, WalRecord

PREFIX = "streams/"

_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")
_KEY = re.compile(
    r"streams/(?P<stream>[a-z_]+)/(?P<month>\d{4}-(?:0[1-9]|1[0-2]))/(?P<first>[0-9A-Z]{26})-(?P<last>[0-9A-Z]{26})-(?P<source>[^/]+)-(?P<count>\d+)-(?P<crc>[0-9a-f]{8})\.jsonl"
)


@dataclass(frozen=True, slots=True)
class Segment:
    """Events of one stream, one month and one write-ahead file: `count` of them, from id `first` to id `last`; `crc` is of its bytes."""

    stream: str
    month: str
    first: str
    last: str
    source: str
    count: int
    crc: int

    @property
    def key(self) -> str:
        """Where it is, or will be, in the bucket."""
        return f"{PREFIX}{self.stream}/{self.month}/{self.first}-{self.last}-{self.source}-{self.count}-{self.crc:08x}.jsonl"


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


def parse_key(key: str) -> Segment | None:
    """The segment that a key names; None for what is no JSONL segment."""
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    return Segment(
        match["stream"], match["month"], match["first"], match["last"], match["source"], int(match["count"]), int(match["crc"], 16)
    )


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
    segment = Segment(records[0].stream, ids.month(first), first, last, source, len(records), crc32(_encoded(records)))
    return Batch(segment, tuple(records))


def months(store: ObjectStore, stream: str) -> list[str]:
    """The months that a stream has objects of, oldest first, whatever the number of objects. Blocking."""
    # others' folders may lie there, too
    return [name for name in store.folders(f"{PREFIX}{stream}/") if _MONTH.fullmatch(name)]


def listed(store: ObjectStore, stream: str, month: str) -> list[Segment]:
    """The segments of one month, by first id. Blocking."""
    infos = store.list(f"{PREFIX}{stream}/{month}/")
    return [segment for info in infos if (segment := parse_key(info.key)) is not None]
