"""How a reconcile ends: a closed union of values. Surprises are exceptions; expected endings are these.

Ready    the world matches the spec
Waiting  something else has to happen first; that something enqueues the object again, or `until` does
Failed   an attempt failed and will be retried with backoff
Stalled  nothing will happen until the spec, or the data it names, changes, or somebody's suspension is over
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from state.status import ConditionType

Detail = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Aspect:
    """A condition beside those that an ending makes by itself, and whether it holds; None where that is not known."""

    type: ConditionType
    holds: bool | None
    reason: str
    message: str


Also = tuple[Aspect, ...] | None
"""Conditions besides; None where nobody looked, so that what was known of them is told on."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The world matches. `detail` is shown by `describe`, and by `GET /status`; `seconds` asks for another look then."""

    message: str
    detail: Detail = field(default_factory=dict)
    reason: str = "Succeeded"
    seconds: float | None = None
    also: Also = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not yet. `blocked_by` names the object waited for, if it is one; `seconds` asks for another look then."""

    reason: str
    message: str
    blocked_by: str | None = None
    seconds: float | None = None
    detail: Detail = field(default_factory=dict)
    also: Also = None


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt failed; the loop retries with backoff."""

    reason: str
    message: str
    detail: Detail = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stalled:
    """Only a changed spec or changed data helps. What was good before keeps serving. `seconds` asks for another look then."""

    reason: str
    message: str
    blocked_by: str | None = None
    detail: Detail = field(default_factory=dict)
    seconds: float | None = None
    also: Also = None


Outcome = Ready | Waiting | Failed | Stalled
"""How a reconcile ended."""
