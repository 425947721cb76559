"""Statuses: what is known of each object, as conditions in the Kubernetes convention, and their form in the stream `status`.

A status is a value that the loop computes. `observed_at` is no difference between two. A condition's `last_transition`
moves only when its `status` does. What was never observed is Unknown, never Ready. The reasons are in `reasons.py`.

Read next: `status_book.py`, which keeps the newest of each object.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import orjson

from state import reasons

Truth = Literal["True", "False", "Unknown"]
ConditionType = Literal[
    "Ready",
    "Reconciling",
    "Stalled",
    "Stale",
    "RecallBelowGate",
    "MasksUnfit",
    "TestsFailing",
    "TablesBound",
    "IndexesBound",
    "Readable",
    "Warm",
    "ModelReady",
]


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


def carried(old: Status | None, new: Status, now: str) -> Status:
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


def to_event(status: Status) -> dict[str, Any]:
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


def from_line(line: bytes) -> Status:
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


def glance(line: bytes) -> Glance:
    """The part of a line that every object is asked for at a start."""
    event = orjson.loads(line)
    ready = event["ready"]
    return Glance(ready, ready == "False" and _stalled(event["conditions"]), event["revision"], event["digest"])


def _stalled(conditions: str) -> bool:
    return any(document["type"] == "Stalled" and document["status"] == "True" for document in orjson.loads(conditions))
