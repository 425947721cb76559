"""Statuses: what is known of each object, as conditions in the Kubernetes convention, folded from the stream `status`.

A status is a value that the loop computes; the book compares it with the last one and writes only a difference, so that
an unchanged world writes nothing. `observed_at` is no difference. A condition's `last_transition` moves only when its
`status` does. What was never observed is Unknown, never Ready. The fold and its checkpoints are in `status_book.py`;
the reasons are in `reasons.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from state import reasons

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
