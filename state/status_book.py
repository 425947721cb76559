"""The newest status of every object, folded from the stream `status`.

The book compares a status with the last one and writes only a difference, so that an unchanged world writes nothing. The
stream is the truth; `status_checkpoint.py` spares reading all of it. Who may write (the loop alone) is not decided here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from threading import Lock

import orjson

from state import reasons, status_checkpoint
from state.status import Glance, Status, carried, from_line, glance, same, to_event, unknown
from state.status_checkpoint import StatusCheckpoint
from state.streams import ids
from state.streams.reading import id_of
from state.streams.stream import Streams
from state.streams.wal import WalRecord
from state.timestamps import Clock, iso

STREAM = "status"
CHECKPOINT_CHANGES = 1000
"""A checkpoint is due after so many changes, or after a quarter of the objects changed, whichever is more."""


def _fitting(line: bytes) -> bytes:
    """A copy: what orjson returns keeps the buffer it was written into, 16 KiB for a line of one."""
    return bytes(memoryview(line))


class StatusBook:
    """The newest status of every object. Thread-safe; writing blocks.

    Kept as the lines of the stream, decoded when asked for: 100 000 objects load in a fraction of a second. The puts of
    one object must not overlap (the work queue sees to it); those of different objects share their syncs.
    """

    def __init__(self, streams: Streams, clock: Clock) -> None:
        """An empty book; see `load`."""
        self._streams = streams
        self._clock = clock
        self._lock = Lock()
        self._lines: dict[str, bytes] = {}
        self._shown: dict[str, bytes] = {}  # what could not be made durable, over what is
        self._unsettled: set[str] = set()  # ids that are given and not yet durable
        self._last = ids.LOWEST
        self._changes = 0
        self._version = 0

    @classmethod
    def load(cls, streams: Streams, clock: Clock) -> StatusBook:
        """The newest checkpoint and what the stream has since; later ids of `streams` are above all of it. Blocking."""
        book = cls(streams, clock)
        checkpoint = status_checkpoint.newest(streams.store)
        if checkpoint is not None:
            book._lines = dict(checkpoint.lines)
            book._last = checkpoint.through
        book._fold(ids.following(book._last))
        streams.ids.floor(book._last)
        return book

    @property
    def version(self) -> int:
        """Grows whenever something in this book changed, were it only an `observed_at`."""
        return self._version

    def get(self, object_: str) -> Status:
        """The newest status; Unknown for an object that nobody has observed."""
        line = self._line(object_)
        return unknown(object_) if line is None else from_line(line)

    def glance(self, object_: str) -> Glance | None:
        """The part of the newest status that every object is asked for at a start; None for one that nobody has observed."""
        line = self._line(object_)
        return None if line is None else glance(line)

    def __contains__(self, object_: str) -> bool:
        return self._line(object_) is not None

    def __len__(self) -> int:
        return len(self._every())

    def names(self) -> list[str]:
        """Every object that has a status; nothing is decoded."""
        with self._lock:
            return sorted(self._every())

    def all(self, kind: str | None = None, name: str | None = None) -> list[Status]:
        """Every status, or those of a kind and of a name, by object."""
        if kind is not None and name is not None:
            line = self._line(f"{kind}/{name}")
            return [] if line is None else [from_line(line)]
        start, end = f"{kind or ''}/", f"/{name or ''}"
        with self._lock:
            every = list(self._every().items())
        wanted = [(key, line) for key, line in every if (kind is None or key.startswith(start)) and (name is None or key.endswith(end))]
        return [from_line(line) for _, line in sorted(wanted)]

    def lines(self) -> list[bytes]:
        """Every status as its line in the stream, for tables."""
        with self._lock:
            return list(self._every().values())

    def put(self, status: Status, told: Sequence[WalRecord] = ()) -> bool:
        """Whether the status differs from the last one but for its instants; if so it is durable on return, and `told` with it.

        An equal one renews `observed_at` in memory only. Raises what `Streams.append` raises; then the book is unchanged.
        """
        with self._lock:
            record = self._prepare(status)
        if record is None:
            return False
        self._write(record, status.object, told)
        return True

    def show(self, status: Status) -> None:
        """As `put`, but in memory only, for what cannot be made durable now: lost with the process, and gone with the next `put`."""
        with self._lock:
            new = carried(self._known(status.object), status, status.observed_at or iso(self._clock()))
            self._shown[status.object] = _fitting(self._streams.encode(STREAM, to_event(new)).json)
            self._version += 1

    def remove(self, object_: str, told: Sequence[WalRecord] = ()) -> bool:
        """Closes the status of an object that is gone for good, and writes `told` with it; False if there is none. Durable on return."""
        with self._lock:
            shown = self._shown.pop(object_, None)
            self._version += shown is not None
            if object_ not in self._lines:
                return False
            last = replace(
                from_line(self._lines[object_]), ready="Unknown", reason=reasons.REMOVED, message="Removed.", conditions=(), detail={}
            )
            record = self._streams.encode(STREAM, to_event(last) | {"removed": True})
            self._unsettled.add(record.id)
        self._write(record, object_, told, removed=True)
        return True

    def checkpoint(self, *, if_due: bool = False) -> bool:
        """Writes a checkpoint if anything was written since the last one; at shutdown, and now and then with if_due. Blocking.

        if_due: only after many changes (CHECKPOINT_CHANGES). For the holder of the lease.
        """
        with self._lock:
            changes = self._changes
            if not changes or (if_due and changes <= max(CHECKPOINT_CHANGES, len(self._lines) // 4)):
                return False
            # Ids given but not durable yet are later than the checkpoint, whatever was folded beyond them.
            through = ids.preceding(min(self._unsettled)) if self._unsettled else self._last
            lines = dict(self._lines)
        status_checkpoint.write(self._streams.store, StatusCheckpoint(through, lines))
        with self._lock:
            self._changes -= changes
        return True

    def _line(self, object_: str) -> bytes | None:
        return self._shown.get(object_) or self._lines.get(object_)

    def _every(self) -> Mapping[str, bytes]:
        return {**self._lines, **self._shown} if self._shown else self._lines

    def _known(self, object_: str) -> Status | None:
        line = self._lines.get(object_)
        return None if line is None else from_line(line)

    def _prepare(self, status: Status) -> WalRecord | None:
        """The line of the status as it will be; None if it is as it was. `_lock` is held."""
        line, old = self._lines.get(status.object), self._known(status.object)
        new = carried(old, status, status.observed_at or iso(self._clock()))
        if self._shown.pop(status.object, None) is not None:
            self._version += 1
        if old is None or line is None or not same(old, new):
            record = self._streams.encode(STREAM, to_event(new))
            self._unsettled.add(record.id)
            return record
        if new.observed_at != old.observed_at:
            event = orjson.loads(line)
            self._lines[status.object] = _fitting(orjson.dumps(event | {"observed_at": new.observed_at}))
            self._version += 1
        return None

    def _write(self, record: WalRecord, object_: str, told: Sequence[WalRecord], *, removed: bool = False) -> None:
        """Durable first, then known. `told` goes before the record in the same write: no crash keeps this and loses that."""
        try:
            self._streams.commit([*told, record])
        except BaseException:
            with self._lock:
                self._unsettled.discard(record.id)
            raise
        with self._lock:
            self._apply(object_, record.id, None if removed else record.json)
            self._unsettled.discard(record.id)

    def _apply(self, object_: str, id_: str, line: bytes | None) -> None:
        """`_lock` is held. line: None removes."""
        if line is None:
            self._lines.pop(object_, None)
        else:
            self._lines[object_] = _fitting(line)
        self._last = max(self._last, id_)
        self._changes += 1
        self._version += 1

    def _fold(self, since: str) -> None:
        """Events up to what is known already change nothing."""
        for id_, line in self._streams.records(STREAM, since=since):
            event = orjson.loads(line)
            with self._lock:
                known = self._lines.get(event["object"])
                if known is None or id_of(known) < id_:
                    self._apply(event["object"], id_, None if event.get("removed") else line)
