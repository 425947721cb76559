"""Streams: append an event, durable when acknowledged; read events, each once, whoever wrote them.

    append -> write-ahead file (fdatasync, shared) -> flush -> segments in the bucket -> the file is unlinked

Every process appends to files of its own, without the lease; `adopt` moves what dead processes left. All of it may be
repeated from any point: names derive from content, and readers know an event by its id. Appending refuses columns that
the stream does not have, since SQL would silently lose them. Compaction and retention are the holder's of the lease.

Read next: `wal.py` (durability), `segments.py` (names), `reading.py` (merge), `schemas.py` (columns), `tables.py` (SQL),
`compaction.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Event, Lock
from typing import Any

import orjson

from state.errors import ObjectExists, StateError
from state.failpoints import declare, hit
from state.local_files import storage_error
from state.objects import ObjectStore
from state.streams import reading, segments
from state.streams.chains import Chains, Heads, heads_in
from state.streams.ids import Ulids, is_id
from state.streams.reading import Bound
from state.streams.schemas import STREAMS, StreamInvalid, schema_of
from state.streams.segments import Batch, Segment
from state.streams.wal import Line, WalFile, WalRecord, WriteAhead, orphans
from state.timestamps import Clock, iso

BEFORE_PUT = declare("streams.before-put")
AFTER_PUT = declare("streams.after-put")
BEFORE_REMOVE = declare("streams.before-remove")
ADOPTING = declare("streams.adopting")

SYNC_SECONDS = 1.0
"""The longest that a lazy append waits for its sync."""
FLUSH_BEATS = 5
"""Events move to the bucket every so many syncs."""


@dataclass(frozen=True, slots=True)
class StreamExtent:
    """Where a stream's events are: `stored` in the bucket, `held` in write-ahead files only."""

    stored: tuple[Segment, ...]
    held: tuple[Batch, ...]

    @property
    def keys(self) -> frozenset[str]:
        """What identifies the content: equal keys, equal events, before a flush as after it."""
        return frozenset([segment.key for segment in self.stored] + [batch.segment.key for batch in self.held])

    @property
    def count(self) -> int:
        """Events in all; those appended twice under one id count twice."""
        return sum(segment.count for segment in self.stored) + sum(batch.segment.count for batch in self.held)


class Streams:
    """All streams of one state bucket, as one process appends and reads them. Thread-safe, blocking.

    `folder` is the write-ahead area that the processes of one machine share, on a local disk. `ids` is by default a
    source of its own on the same clock. A process that only reads creates nothing.
    """

    def __init__(self, store: ObjectStore, folder: Path, clock: Clock, ids: Ulids | None = None) -> None:
        self.store = store
        self.ids = ids or Ulids(clock)
        self.folder = folder
        self._clock = clock
        self._second: tuple[datetime | None, str] = (None, "")
        name = self.ids()
        self._chains = Chains(name)
        self._wal = WriteAhead(folder, name, self._chains.settle)
        self.heads = Heads(store, folder / "heads")
        self._flushing = Lock()

    def append(self, stream: str, event: Mapping[str, Any]) -> str:
        """Returns the event's id once it is durable on the local disk.

        `id` and `at` are added unless given; an event appended again under its id counts once. Values of json columns
        may be JSON-able instead of text. Raises StreamInvalid before anything is written, DiskFull or
        BucketUnavailable if the write-ahead folder cannot take it; then it is not acknowledged.
        """
        record = self.encode(stream, event)
        self.commit([record])
        return record.id

    def append_many(self, stream: str, events: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
        """As `append`, with one sync for all. A crash in the middle may keep some of them."""
        records = [self.encode(stream, event) for event in events]
        self.commit(records)
        return tuple(record.id for record in records)

    def append_lazy(self, stream: str, event: Mapping[str, Any]) -> str:
        """Returns at once; durable with the next sync, within a second where `run` runs. For what may be lost."""
        record = self.encode(stream, event)
        self._wal.append_lazy(self._line(record))
        return record.id

    def encode(self, stream: str, event: Mapping[str, Any]) -> WalRecord:
        """An event ready to commit, with its id. Raises StreamInvalid."""
        schema = STREAMS.get(stream) or schema_of(stream)
        if not schema.names.issuperset(event):
            unknown = ", ".join(sorted(event.keys() - schema.names))
            raise StreamInvalid(f"Stream {stream} has no column {unknown}.", remedy=f"It has {', '.join(c.name for c in schema.columns)}.")
        given = event.get("id")
        if given is not None and not is_id(given):
            raise StreamInvalid(f"{given!r} is no event id: ids are ULIDs of 26 capitals and digits.")
        id_ = given or self.ids()
        record = {"id": None, "at": None, **event}  # id first: readers find it without parsing
        record["id"] = id_
        if record["at"] is None:
            record["at"] = self._now()
        for column in schema.json:
            value = record.get(column)
            if value is not None and not isinstance(value, str):
                record[column] = self._json(stream, value).decode()
        return WalRecord(stream, id_, self._json(stream, record))

    def _now(self) -> str:
        """As `iso`, in a fourth of the time: the second is seldom another one."""
        at = self._clock()
        second, text = self._second
        if at.replace(microsecond=0) != second:
            second, text = self._second = at.replace(microsecond=0), iso(at)[:20]
        return f"{text}{at.microsecond // 1000:03d}Z"

    def _json(self, stream: str, value: object) -> bytes:
        try:
            return orjson.dumps(value, option=orjson.OPT_UTC_Z)
        except TypeError as error:
            raise StreamInvalid(f"An event of stream {stream} is not JSON: {error}.") from error

    def commit(self, records: Iterable[WalRecord]) -> None:
        """Makes encoded events durable, of several streams together if need be, with one sync."""
        lines = [self._line(record) for record in records]
        if lines:
            self._wal.append(*lines)

    def _line(self, record: WalRecord) -> Line:
        return partial(self._chains.line, record) if STREAMS[record.stream].chained else record.encode()

    def sync(self) -> None:
        """Makes lazy appends durable, and keeps the heads of chains on this machine."""
        self._wal.sync()
        try:
            self.heads.keep(self._chains.heads())
        except OSError as error:
            raise storage_error(error, bucket="write-ahead", operation="append", path=self.folder) from error

    def flush(self) -> int:
        """Moves what is in this process's write-ahead files to the bucket; returns how many objects were put.

        If the bucket fails, its error is raised, the files stay, and the next flush goes on.
        """
        moved = 0
        with self._flushing:
            for file in self._wal.seal():
                moved += self._move(file)
                self._wal.drop(file)
        return moved

    def adopt(self) -> int:
        """Moves the write-ahead files of dead processes to the bucket; returns how many files. Any process may."""
        adopted = 0
        for file in orphans(self.folder):
            try:
                hit(ADOPTING)
                self._move(file)
            except StateError:
                file.release()
                raise
            adopted += 1
        return adopted

    def _move(self, file: WalFile) -> int:
        """Objects first, then the file: a crash in between is a repetition, which finds its objects there."""
        content = file.content()
        found = segments.batches(content)
        for batch in found:
            hit(BEFORE_PUT)
            with suppress(ObjectExists):
                self.store.put(batch.segment.key, batch.encode(), if_absent=True)
            hit(AFTER_PUT)
        self.heads.store(heads_in(content.records))
        hit(BEFORE_REMOVE)
        file.remove(keep=content.damaged > 0)
        return len(found)

    def read(
        self,
        stream: str,
        *,
        since: Bound = None,
        until: Bound = None,
        where: Mapping[str, Any] | None = None,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """Events in order of their ids, each once: those of the bucket and of all write-ahead files on this machine.

        since: from this id or instant on; until: before it; both go by the time of the id. where: columns that must
        equal these values (json columns as text). Reads no more segments than the answer needs. Blocking while
        iterated. Raises StreamInvalid at once; StreamCorrupt and bucket errors while iterating.
        """
        records = self.records(stream, since=since, until=until, newest_first=newest_first)
        return islice(reading.matching(records, where), limit)

    def records(self, stream: str, *, since: Bound = None, until: Bound = None, newest_first: bool = False) -> Iterator[tuple[str, bytes]]:
        """As `read`, each event as its id and its JSON, unparsed."""
        schema_of(stream)
        within = reading.span(since, until)
        months = reading.months(self.store, self.folder, stream, within, newest_first=newest_first)
        return reading.merged(months, within, newest_first=newest_first)

    def extent(self, stream: str) -> StreamExtent:
        """Where the stream's events are now; lists names, opens no segment. Blocking."""
        schema_of(stream)
        held = reading.pending(self.folder, stream)  # before the bucket is listed: events only move that way
        stored = segments.all_listed(self.store, stream)
        keys = {segment.key for segment in stored}
        return StreamExtent(tuple(stored), tuple(batch for batch in held if batch.segment.key not in keys))

    def run(self, stop: Event, failed: Callable[[StateError], None]) -> None:
        """Syncs, flushes and adopts until `stop` is set; a process that appends gives this a thread of its own. Ends for no error.

        `failed` hears of errors; the work is tried again with the next beat.
        """
        beats = 0
        while not stop.wait(SYNC_SECONDS):
            beats += 1
            try:
                self.sync()
                if beats % FLUSH_BEATS == 0:
                    self.flush()
                    self.adopt()
            except StateError as error:
                failed(error)
            except (OSError, ValueError) as error:
                failed(StateError(f"{self.folder}: {type(error).__name__}: {error}."))

    def close(self) -> None:
        """Flushes and lets go. What cannot be moved stays in its file, for `adopt`; the error is raised."""
        try:
            self.flush()
        finally:
            self._wal.close()
