"""`system.*` as Arrow IPC files, which query workers map: every stream, the newest statuses, the catalog and its log.

A file is named by what it covers: the segments of a stream, the version of the book, the number of a log entry. Asking for a
table first determines that, from names alone, and writes only if no such file is there; an unchanged stream costs a
listing. A stream that grew keeps the rows of the former file and parses the new segments only. Files that were
superseded are unlinked once nobody can be about to open them; those that map one keep it. All of it is a cache.

pyarrow is imported here, so that nothing else of the streams costs its start-up. Who may read a table is not decided here.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Protocol

import pyarrow as pa

from state.catalog.entry import Entry
from state.catalog.fold import ObjectState
from state.catalog.log import Unreadable
from state.descriptions import Describe
from state.errors import ObjectMissing
from state.local_files import storage_error
from state.status_book import StatusBook
from state.streams import ids, reading
from state.streams.arrow import distinct, from_lines, from_rows, joined
from state.streams.catalog_tables import CATALOG_TABLES, LOG_COLUMNS, Row, log_rows
from state.streams.schemas import STATUS, STREAMS, StreamColumn, columns
from state.streams.segments import Segment
from state.streams.stream import StreamExtent, Streams
from state.timestamps import iso

GRACE_SECONDS = 60.0
"""How long after it was last handed out a superseded file stays, for whoever was told its name and has not opened it."""

STATUS_COLUMNS = tuple(column for column in STATUS.columns if column.name != "removed")
EXTENT_COLUMNS = columns("stream summary events:int64 segments:int64 waiting:int64 first:timestamp last:timestamp")

SUMMARIES: Mapping[str, str] = {
    **{name: schema.summary for name, schema in STREAMS.items()},
    "status": "The newest status of every object.",
    "status_history": STATUS.summary,
    **{name: table.summary for name, table in CATALOG_TABLES.items()},
    "catalog": "Every change of the catalog's log, with who made it and why.",
    "streams": "How much each stream holds, and how much of it waits to be moved to the bucket.",
}
"""Every table, by its name in the schema `system`."""

COLUMNS: Mapping[str, tuple[StreamColumn, ...]] = {
    **{name: schema.columns for name, schema in STREAMS.items()},
    "status": STATUS_COLUMNS,
    "status_history": STATUS.columns,
    **{name: table.columns for name, table in CATALOG_TABLES.items()},
    "catalog": LOG_COLUMNS,
    "streams": EXTENT_COLUMNS,
}
"""Of each of them."""


class CatalogSource(Protocol):
    """What is asked of the catalog; `seq` numbers the newest entry."""

    @property
    def seq(self) -> int: ...

    def objects(self, kind: str | None = None) -> Mapping[str, ObjectState]: ...

    def readable(self, after: int = 0) -> Iterator[Entry | Unreadable]: ...


@dataclass(frozen=True, slots=True)
class _Written:
    """A file of a growing table: its first `rows` rows are what `covers` gave, and stay first in its successor."""

    path: Path
    covers: frozenset[str]
    rows: int


class SystemTables:
    """The tables of one state, written to `folder` when asked for. Thread-safe, blocking.

    `statuses` and `catalog` are asked anew each time, so that they may move on in between.
    """

    def __init__(self, streams: Streams, catalog: CatalogSource, statuses: StatusBook, describe: Describe, folder: Path) -> None:
        self._streams = streams
        self._describe = describe
        self._statuses = statuses
        self._catalog = catalog
        self._folder = folder
        self._session = streams.ids()  # versions and numbers mean something within this process only
        self._locks = {name: Lock() for name in SUMMARIES}
        self._written: dict[str, _Written] = {}
        self._log_rows: list[Row] = []
        self._verified: set[Path] = set()

    def names(self) -> tuple[str, ...]:
        """Every table, sorted."""
        return tuple(sorted(SUMMARIES))

    def path(self, name: str) -> Path | None:
        """The Arrow IPC file of `system.<name>` as it is now; None if there is no such table.

        The file never changes and stays for at least GRACE_SECONDS. Raises DiskFull or BucketUnavailable if the folder
        cannot take it, and what reading the state raises.
        """
        lock = self._locks.get(name)
        if lock is None:
            return None
        with lock:
            if name in STREAMS and name != STATUS.name:
                return self._stream(name, name)
            match name:
                case "status_history":
                    return self._stream(name, STATUS.name)
                case "status":
                    return self._status()
                case "catalog":
                    return self._entries()
                case "streams":
                    return self._extents()
                case _:
                    return self._objects(name)

    def table(self, name: str) -> pa.Table | None:
        """The table itself, mapped."""
        path = self.path(name)
        return None if path is None else _read(path)

    def _status(self) -> Path:
        cover = (self._session, str(self._statuses.version))
        return self._keep("status", STATUS_COLUMNS, cover, lambda: from_lines(self._statuses.lines(), STATUS_COLUMNS))

    def _objects(self, name: str) -> Path:
        table = CATALOG_TABLES[name]
        cover = (self._session, str(self._catalog.seq))

        def build() -> pa.Table:
            states = self._catalog.objects(table.kind).values()
            return from_rows([row for state in states for row in table.rows(state, self._describe)], table.columns)

        return self._keep(name, table.columns, cover, build)

    def _entries(self) -> Path:
        known = self._log_rows[-1][0] if self._log_rows else 0
        self._log_rows += [row for entry in self._catalog.readable(known) for row in log_rows(entry)]
        cover = (self._session, str(len(self._log_rows)))
        return self._keep("catalog", LOG_COLUMNS, cover, lambda: from_rows(self._log_rows, LOG_COLUMNS))

    def _extents(self) -> Path:
        extents = {name: self._streams.extent(name) for name in STREAMS}
        cover = [key for extent in extents.values() for key in sorted(extent.keys)]
        cover += [batch.segment.key for extent in extents.values() for batch in extent.held]
        rows = [_extent_row(name, extent) for name, extent in extents.items()]
        return self._keep("streams", EXTENT_COLUMNS, cover, lambda: from_rows(rows, EXTENT_COLUMNS))

    def _stream(self, name: str, stream: str) -> Path:
        gone: set[str] = set()
        while True:
            try:
                return self._stream_of(name, stream, self._streams.extent(stream))
            except ObjectMissing as error:  # folded into another since it was listed
                if error.key in gone:
                    raise
                gone.add(error.key)

    def _stream_of(self, name: str, stream: str, extent: StreamExtent) -> Path:
        declared = STREAMS[stream].columns

        def build() -> pa.Table:
            stored, table = self._grown(name, declared, extent)
            self._written[name] = _Written(self._file(name, declared, sorted(extent.keys)), stored, table.num_rows)
            held = [record.json for batch in extent.held for record in batch.records]
            return distinct(joined([table, from_lines(held, declared)]))

        return self._keep(name, declared, sorted(extent.keys), build)

    def _grown(self, name: str, declared: tuple[StreamColumn, ...], extent: StreamExtent) -> tuple[frozenset[str], pa.Table]:
        """What is in the bucket, each event once: the rows of the former file, if they are all still wanted, and new ones."""
        stored = frozenset([segment.key for segment in extent.stored])
        former = self._written.get(name)
        parts: list[pa.Table] = []
        known: frozenset[str] = frozenset()
        if former is not None and former.covers <= stored and former.path.exists():
            parts.append(_read(former.path).slice(0, former.rows))
            known = former.covers
        new = [segment for segment in extent.stored if segment.key not in known]
        parts += self._loaded(new, declared)
        return stored, distinct(joined(parts))

    def _loaded(self, new: Sequence[Segment], declared: tuple[StreamColumn, ...]) -> Iterator[pa.Table]:
        """Rows of segments; the lines of small ones are parsed together. Raises ObjectMissing where one was folded meanwhile."""
        lines: list[bytes] = []
        for segment in new:
            if segment.form == "parquet":
                yield reading.load_rows(self._streams.store, segment, declared)
            else:
                lines += [line for _, line in reading.load(self._streams.store, segment)]
        yield from_lines(lines, declared)

    def _keep(self, name: str, declared: Sequence[StreamColumn], cover: Iterable[str], build: Callable[[], pa.Table]) -> Path:
        """The file of this cover, written if it is not there."""
        path = self._file(name, declared, cover)
        try:
            if not self._whole(path):
                _write(path, build(), self._session)
                self._verified.add(path)
            os.utime(path)
            self._sweep(name, path)
        except OSError as error:
            raise storage_error(error, bucket="cache", operation="write", path=self._folder) from error
        return path

    def _file(self, name: str, declared: Sequence[StreamColumn], cover: Iterable[str]) -> Path:
        digest = hashlib.sha256()
        for column in declared:
            digest.update(f"{column.name}:{column.type}\n".encode())
        for part in cover:
            digest.update(f"{part}\n".encode())
        return self._folder / f"{name}-{digest.hexdigest()[:24]}.arrow"

    def _whole(self, path: Path) -> bool:
        """Whether the file is there and can be opened; a power cut may have left an empty one."""
        if not path.exists():
            return False
        if path not in self._verified:
            try:
                _read(path)
            except (pa.ArrowInvalid, OSError):
                return False
            self._verified.add(path)
        return True

    def _sweep(self, name: str, current: Path) -> None:
        """Removes the files of this table that nobody was told of for a while."""
        newest = current.stat().st_mtime
        for path in self._folder.glob(f"{name}-*.arrow"):
            if path.name.rpartition("-")[0] == name and path != current:
                try:
                    if newest - path.stat().st_mtime > GRACE_SECONDS:
                        path.unlink()
                        self._verified.discard(path)
                except FileNotFoundError:  # another process sweeps too
                    continue


def _extent_row(name: str, extent: StreamExtent) -> Row:
    segments = [*extent.stored, *(batch.segment for batch in extent.held)]
    first = iso(ids.instant(min(segment.first for segment in segments))) if segments else None
    last = iso(ids.instant(max(segment.last for segment in segments))) if segments else None
    waiting = sum(batch.segment.count for batch in extent.held)
    return (name, STREAMS[name].summary, extent.count, len(extent.stored), waiting, first, last)


def _read(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def _write(path: Path, table: pa.Table, session: str) -> None:
    """Aside, then renamed: a file is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{session}")
    try:
        with pa.OSFile(str(aside), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=1 << 17)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
