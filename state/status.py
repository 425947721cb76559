"""Statuses: what is known of each object, as conditions in the Kubernetes convention, folded from the stream `status`.

A status is a value that the loop computes; the book compares it with the last one and writes only a difference, so that
an unchanged world writes nothing. `observed_at` is no difference. A condition's `last_transition` moves only when its
`status` does. What was never observed is Unknown, never Ready. The stream is the truth; `status_checkpoint.py` spares
reading all of it. The reasons are in `reasons.py`. Who may write (the loop alone) is not decided here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from threading import Lock
from typing import Any, Literal, NamedTuple

import orjson

from state import reasons, status_checkpoint
from state.status_checkpoint import StatusCheckpoint
from state.streams import ids
from state.streams.reading import id_of
from state.streams.stream import Streams
from state.streams.wal import WalRecord
from state.timestamps import Clock, iso

STREAM = "status"
CHECKPOINT_CHANGES = 1000
"""A checkpoint is due after so many changes, or after a quarter of the objects changed, whichever is more."""
BATCH = 5000
"""Statuses that share a sync in `put_many`."""
OVERLAP = timedelta(seconds=10)
"""How far `refresh` looks back: an id may become durable after a higher one of another thread."""

Truth = Literal["True", "False", "Unknown"]
ConditionType = Literal["Ready", "Reconciling", "Stalled"]


@dataclass(frozen=True, slots=True)
class Condition:
    """One aspect of an object. `last_transition` is ISO text; left empty, the book fills it in.

    `observed_digest` and `revision` are those of the spec that was looked at.
    """

    type: ConditionType
    status: Truth
    reason: str
    message: str = ""
    last_transition: str = ""
    observed_digest: str | None = None
    revision: str | None = None

    def to_document(self) -> dict[str, Any]:
        """As shown by `describe`, in camelCase."""
        return {
            "type": self.type,
            "status": self.status,
            "reason": self.reason,
            "message": self.message,
            "lastTransitionTime": self.last_transition,
            "observedDigest": self.observed_digest,
            "revision": self.revision,
        }


@dataclass(frozen=True, slots=True)
class Status:
    """What is known of `object` ("Dataset/candidates").

    `ready`, `reason` and `message` repeat the condition Ready for one-line views. `revision` is the commit of the spec
    that was observed, `applied_revision` the last one that became Ready, `digest` that of the observed spec.
    `observed_at` is ISO text, None if nobody looked. `detail` is JSON-able.
    """

    object: str
    ready: Truth
    reason: str
    message: str = ""
    revision: str | None = None
    applied_revision: str | None = None
    observed_at: str | None = None
    digest: str | None = None
    conditions: tuple[Condition, ...] = ()
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The part before the slash."""
        return self.object.partition("/")[0]

    @property
    def name(self) -> str:
        """The part after the slash."""
        return self.object.partition("/")[2]

    def condition(self, type_: ConditionType) -> Condition | None:
        """The condition of this type, if there is one."""
        return next((c for c in self.conditions if c.type == type_), None)

    def to_document(self) -> dict[str, Any]:
        """The row of `lakectl status -o json` and GET /status: these nine fields, no others."""
        return {
            "kind": self.kind,
            "name": self.name,
            "ready": self.ready,
            "reason": self.reason,
            "message": self.message,
            "revision": self.revision,
            "appliedRevision": self.applied_revision,
            "observedAt": self.observed_at,
            "digest": self.digest,
        }

    def describe(self) -> dict[str, Any]:
        """`to_document` with "conditions" and "detail"."""
        return self.to_document() | {"conditions": [c.to_document() for c in self.conditions], "detail": dict(self.detail)}


class Glance(NamedTuple):
    """What every object is asked for at a start, told in a fraction of the time of a whole `Status`: see its fields and its conditions."""

    ready: Truth
    stalled: bool
    revision: str | None
    digest: str | None


def unknown(object_: str) -> Status:
    """The status of an object that nobody has observed."""
    return Status(object_, "Unknown", reasons.NOT_OBSERVED, "Not observed yet.")


def same(old: Status, new: Status) -> bool:
    """Whether writing `new` over `old` would tell nobody anything: all but the instants are equal."""
    return (
        old.ready == new.ready
        and old.reason == new.reason
        and old.message == new.message
        and old.digest == new.digest
        and old.revision == new.revision
        and old.applied_revision == new.applied_revision
        and old.object == new.object
        and len(old.conditions) == len(new.conditions)
        and all(_same_condition(a, b) for a, b in zip(old.conditions, new.conditions, strict=True))
        and old.detail == new.detail
    )


def _same_condition(old: Condition, new: Condition) -> bool:
    return (
        old.type == new.type
        and old.status == new.status
        and old.reason == new.reason
        and old.message == new.message
        and old.observed_digest == new.observed_digest
        and old.revision == new.revision
    )


def _carried(old: Status | None, new: Status, now: str) -> Status:
    """`new`, its conditions with their instants of transition: the old one where the condition's status stayed."""
    before = {c.type: c for c in old.conditions} if old else {}
    conditions = []
    for c in new.conditions:
        earlier = before.get(c.type)
        at = earlier.last_transition if earlier is not None and earlier.status == c.status else c.last_transition or now
        # Constructors, not `replace`, which takes three times as long: this runs for every object of a bootstrap.
        conditions.append(Condition(c.type, c.status, c.reason, c.message, at, c.observed_digest, c.revision))
    return Status(
        new.object,
        new.ready,
        new.reason,
        new.message,
        new.revision,
        new.applied_revision,
        new.observed_at,
        new.digest,
        tuple(conditions),
        new.detail,
    )


def _event(status: Status) -> dict[str, Any]:
    """The row of the stream, but for `id` and `at`."""
    return {
        "kind": status.kind,
        "name": status.name,
        "object": status.object,
        "ready": status.ready,
        "reason": status.reason,
        "message": status.message,
        "revision": status.revision,
        "applied_revision": status.applied_revision,
        "observed_at": status.observed_at,
        "digest": status.digest,
        "conditions": [condition.to_document() for condition in status.conditions],
        "detail": status.detail,
    }


def _status(line: bytes) -> Status:
    """The status in a line of the stream."""
    event = orjson.loads(line)
    return Status(
        event["object"],
        event["ready"],
        event["reason"],
        event["message"],
        event["revision"],
        event["applied_revision"],
        event["observed_at"],
        event["digest"],
        tuple([_condition(document) for document in orjson.loads(event["conditions"])]),
        orjson.loads(event["detail"]),
    )


def _condition(document: Mapping[str, Any]) -> Condition:
    return Condition(
        document["type"],
        document["status"],
        document["reason"],
        document["message"],
        document["lastTransitionTime"],
        document["observedDigest"],
        document["revision"],
    )


def _stalled(conditions: str) -> bool:
    return any(document["type"] == "Stalled" and document["status"] == "True" for document in orjson.loads(conditions))


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
        line = self._lines.get(object_)
        return unknown(object_) if line is None else _status(line)

    def glance(self, object_: str) -> Glance | None:
        """The part of the newest status that every object is asked for at a start; None for one that nobody has observed."""
        line = self._lines.get(object_)
        if line is None:
            return None
        event = orjson.loads(line)
        ready = event["ready"]
        return Glance(ready, ready == "False" and _stalled(event["conditions"]), event["revision"], event["digest"])

    def __contains__(self, object_: str) -> bool:
        return object_ in self._lines

    def __len__(self) -> int:
        return len(self._lines)

    def names(self) -> list[str]:
        """Every object that has a status; nothing is decoded."""
        with self._lock:
            return sorted(self._lines)

    def all(self, kind: str | None = None, name: str | None = None) -> list[Status]:
        """Every status, or those of a kind and of a name, by object."""
        if kind is not None and name is not None:
            line = self._lines.get(f"{kind}/{name}")
            return [] if line is None else [_status(line)]
        start, end = f"{kind or ''}/", f"/{name or ''}"
        with self._lock:
            every = list(self._lines.items())
        wanted = [(key, line) for key, line in every if (kind is None or key.startswith(start)) and (name is None or key.endswith(end))]
        return [_status(line) for _, line in sorted(wanted)]

    def lines(self) -> list[bytes]:
        """Every status as its line in the stream, for tables."""
        with self._lock:
            return list(self._lines.values())

    def put(self, status: Status) -> bool:
        """Whether the status differs from the last one but for its instants; if so it is durable on return.

        An equal one renews `observed_at` in memory only. Raises what `Streams.append` raises; then the book is unchanged.
        """
        return bool(self.put_many([status]))

    def put_many(self, statuses: Iterable[Status]) -> tuple[Status, ...]:
        """As `put`, with one sync for thousands; the last of several for one object counts. Returns what was written."""
        newest = list({status.object: status for status in statuses}.values())
        written: list[Status] = []
        for start in range(0, len(newest), BATCH):
            with self._lock:
                prepared = [pair for status in newest[start : start + BATCH] if (pair := self._prepare(status)) is not None]
            self._write([record for _, record in prepared], {record.id: status.object for status, record in prepared})
            written += [status for status, _ in prepared]
        return tuple(written)

    def show(self, status: Status) -> None:
        """As `put`, but in memory only, for what cannot be made durable now: lost with the process. The next `put` that differs is
        written."""
        with self._lock:
            new = _carried(self._known(status.object), status, status.observed_at or iso(self._clock()))
            self._lines[status.object] = _fitting(self._streams.encode(STREAM, _event(new)).json)
            self._version += 1

    def remove(self, object_: str) -> bool:
        """Closes the status of an object that is gone for good; False if there is none. Durable on return."""
        with self._lock:
            if object_ not in self._lines:
                return False
            last = replace(
                _status(self._lines[object_]), ready="Unknown", reason=reasons.REMOVED, message="Removed.", conditions=(), detail={}
            )
            record = self._streams.encode(STREAM, _event(last) | {"removed": True})
            self._unsettled.add(record.id)
        self._write([record], {record.id: object_}, removed=True)
        return True

    def refresh(self) -> None:
        """Reads on in the stream: for processes that do not write it. Blocking."""
        self._fold(ids.first_at(ids.instant(self._last) - OVERLAP) if self._last > ids.LOWEST else ids.LOWEST)

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

    def _known(self, object_: str) -> Status | None:
        line = self._lines.get(object_)
        return None if line is None else _status(line)

    def _prepare(self, status: Status) -> tuple[Status, WalRecord] | None:
        """The status as it will be and its line; None if it is as it was. `_lock` is held."""
        line, old = self._lines.get(status.object), self._known(status.object)
        new = _carried(old, status, status.observed_at or iso(self._clock()))
        if old is None or line is None or not same(old, new):
            record = self._streams.encode(STREAM, _event(new))
            self._unsettled.add(record.id)
            return new, record
        if new.observed_at != old.observed_at:
            event = orjson.loads(line)
            self._lines[status.object] = _fitting(orjson.dumps(event | {"observed_at": new.observed_at}))
            self._version += 1
        return None

    def _write(self, records: list[WalRecord], objects: Mapping[str, str], *, removed: bool = False) -> None:
        """Durable first, then known."""
        try:
            self._streams.commit(records)
        except BaseException:
            with self._lock:
                self._unsettled.difference_update(objects)
            raise
        with self._lock:
            for record in records:
                self._apply(objects[record.id], record.id, None if removed else record.json)
            self._unsettled.difference_update(objects)

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
