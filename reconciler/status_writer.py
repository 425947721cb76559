"""The one writer of statuses: turns an ending into conditions, and a change of ending into an event.

Conditions follow the Kubernetes convention. Nothing is written where nothing but the time of observation changed; the
book keeps that time in memory, for a running daemon to tell.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from controllers.outcome import Aspect, Failed, Outcome, Ready, Stalled, Waiting
from reconciler.world import Desired
from specs.resource import Key
from state import reasons
from state.status import Condition, ConditionType, Status, Truth
from state.status_book import StatusBook
from state.streams.stream import Streams
from state.timestamps import iso

_log = logging.getLogger(__name__)

_PASSING = frozenset({"progress", "blockedBy", "refused"})
"""Details that speak of one ending alone."""
_TURNS: Mapping[ConditionType, tuple[str, str, str]] = {
    "Stale": (reasons.STALE, reasons.FRESH, "`freshness` asks for nothing any more"),
    "RecallBelowGate": (reasons.RECALL_BELOW_GATE, reasons.RECALL_RECOVERED, "recall is not measured any more"),
}
"""Conditions that somebody should hear of: the reasons by which they begin and end, and what to say where they are told of no more."""
_HOLDS: Mapping[Truth, bool | None] = {"True": True, "False": False, "Unknown": None}
_TRUTHS: Mapping[bool | None, Truth] = {holds: truth for truth, holds in _HOLDS.items()}
_OWN = 3
"""Conditions that every ending makes."""


class StatusWriter:
    """Blocking and thread-safe; one object is recorded by one thread at a time. `hear` is told what somebody should hear of."""

    def __init__(self, book: StatusBook, streams: Streams, clock: Callable[[], datetime]) -> None:
        self._book = book
        self._streams = streams
        self._clock = clock
        self.hear: Callable[[Mapping[str, Any]], None] = _nobody

    def record(self, desired: Desired, outcome: Outcome) -> None:
        """Writes status and event if anything but the time changed. Durable on return."""
        name, now = str(desired.key), self._clock()
        before = self._book.get(name) if name in self._book else None
        status = _status(desired, outcome, before, now)
        normal = isinstance(outcome, Ready | Waiting) and status.reason != reasons.STALE
        self._put(before, status, "Normal" if normal else "Warning", self._turned(before, status))

    def show(self, desired: Desired, outcome: Outcome) -> None:
        """Tells the ending from memory only, while nothing can be written."""
        name = str(desired.key)
        before = self._book.get(name) if name in self._book else None
        self._book.show(_status(desired, outcome, before, self._clock()))

    def remove(self, name: str, message: str, revision: str | None) -> None:
        """The object is gone for good; an event says what became of it. Nothing happens if it has no status."""
        event = self._event(name, "Normal", reasons.REMOVED, message, revision)
        if self._book.remove(name, (self._streams.encode("events", event),)):
            _tell(event)

    def record_event(self, object: str, type: str, reason: str, message: str, revision: str | None = None) -> None:  # noqa: A002
        """An event that is no change of status; see `controllers.events.Events`."""
        event = self._event(object, type, reason, message, revision)
        self._streams.append("events", event)
        _tell(event)

    def mention(self, object: str, type: str, reason: str, message: str) -> None:  # noqa: A002
        """An event that may be lost with the machine, for whoever must not wait for the disk."""
        event = self._event(object, type, reason, message, None)
        self._streams.append_lazy("events", event)
        _tell(event)

    def names(self) -> list[str]:
        """Of all objects that have a status."""
        return self._book.names()

    def known_revision(self, key: Key, digest: str) -> str | None:
        """Since which revision this digest of the object has been wanted, as far as recorded."""
        status = self._book.glance(str(key))
        return status.revision if status is not None and status.digest == digest else None

    def settled(self, desired: Desired) -> bool:
        """Whether exactly this spec ended as Ready or Stalled when it was last looked at, by whichever process."""
        status = self._book.glance(str(desired.key))
        return status is not None and status.digest == desired.digest and (status.ready == "True" or status.stalled)

    def recorded(self, desired: Desired) -> bool:
        """Whether the newest status speaks of exactly this spec."""
        status = self._book.glance(str(desired.key))
        return status is not None and status.digest == desired.digest

    def note(self, name: str, ready: Truth, reason: str, message: str, revision: str | None) -> None:
        """The status of an object that no spec asks for: retained, or held back from pruning."""
        before = self._book.get(name) if name in self._book else None
        status = Status(
            object=name, ready=ready, reason=reason, message=message, revision=revision,
            applied_revision=before.applied_revision if before else None, observed_at=iso(self._clock()), digest="",
            conditions=_conditions(ready, False, ready == "False", reason, message, "", revision, ()),
        )  # fmt: skip
        self._put(before, status, "Normal" if ready == "True" else "Warning")

    def _turned(self, before: Status | None, status: Status) -> list[dict[str, str | None]]:
        """What to tell of conditions that may begin or end under any ending."""
        events = []
        for type_, (begun, ended, no_more) in _TURNS.items():
            was, is_ = (known.condition(type_) if known is not None else None for known in (before, status))
            held, holds = (condition is not None and condition.status == "True" for condition in (was, is_))
            if held != holds:
                message = is_.message if is_ is not None else no_more
                kind, reason = ("Warning", begun) if holds else ("Normal", ended)
                events.append(self._event(status.object, kind, reason, message, status.revision))
        return events

    def _put(self, before: Status | None, status: Status, kind: str, turned: Sequence[Mapping[str, str | None]] = ()) -> None:
        """The status, and in the same write an event if its words are others than before; `turned` instead if that says the same."""
        events = list(turned)
        changed = before is None or (before.ready, before.reason, before.message) != (status.ready, status.reason, status.message)
        if changed and not any(event["reason"] == status.reason for event in turned):
            events.append(self._event(status.object, kind, status.reason, status.message, status.revision))
        records = [self._streams.encode("events", event) for event in events]
        if self._book.put(status, records):
            for event in events:
                _tell(event)
            for record, _ in zip(records, turned, strict=False):
                self.hear(orjson.loads(record.json))

    def _event(self, name: str, kind: str, reason: str, message: str, revision: str | None) -> dict[str, str | None]:
        object_kind, _, object_name = name.partition("/")
        return {
            "object": name, "kind": object_kind, "name": object_name, "type": kind, "reason": reason,
            "message": message, "revision": revision, "actor": "daemon",
        }  # fmt: skip


def _tell(event: Mapping[str, str | None]) -> None:
    level = logging.INFO if event["type"] == "Normal" else logging.WARNING
    _log.log(level, "%s  %s: %s", event["object"], event["reason"], event["message"])


def _status(desired: Desired, outcome: Outcome, before: Status | None, now: datetime) -> Status:
    ready: Truth = "True" if isinstance(outcome, Ready) else "False"
    applied = desired.revision if ready == "True" else (before.applied_revision if before else None)
    also = None if isinstance(outcome, Failed) else outcome.also
    detail = {**_facts(outcome, before), **outcome.detail}
    if isinstance(outcome, Waiting | Stalled) and outcome.blocked_by is not None:
        detail["blockedBy"] = outcome.blocked_by

    return Status(
        object=str(desired.key),
        ready=ready,
        reason=outcome.reason,
        message=outcome.message,
        revision=desired.revision,
        applied_revision=applied,
        observed_at=iso(now),
        digest=desired.digest,
        conditions=_conditions(
            ready, not isinstance(outcome, Ready | Stalled), isinstance(outcome, Stalled), outcome.reason, outcome.message,
            desired.digest, desired.revision, _besides(before) if also is None else also,
        ),
        detail=detail,
    )  # fmt: skip


def _facts(outcome: Outcome, before: Status | None) -> dict[str, object]:
    """What was good before goes on serving while the object is held, works or fails: its rows and version are told on."""
    if isinstance(outcome, Ready) or before is None:
        return {}
    return {name: value for name, value in before.detail.items() if name not in _PASSING}


def _besides(before: Status | None) -> tuple[Aspect, ...]:
    """The conditions of before that no ending makes by itself."""
    others = before.conditions[_OWN:] if before is not None else ()
    return tuple(Aspect(each.type, _HOLDS[each.status], each.reason, each.message) for each in others)


def _conditions(
    ready: Truth, reconciling: bool, stalled: bool, reason: str, message: str, digest: str, revision: str | None, also: Sequence[Aspect]
) -> tuple[Condition, ...]:
    """Ready, Reconciling and Stalled, and what holds besides; the book fills in since when each holds."""

    def condition(kind: ConditionType, truth: Truth) -> Condition:
        return Condition(kind, truth, reason, message, "", digest, revision)

    return (
        condition("Ready", ready),
        condition("Reconciling", "True" if reconciling else "False"),
        condition("Stalled", "True" if stalled else "False"),
        *(Condition(each.type, _TRUTHS[each.holds], each.reason, each.message, "", digest, revision) for each in also),
    )


def _nobody(_: Mapping[str, Any]) -> None:
    """Hears nothing."""
