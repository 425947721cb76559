"""What a plan says: objects with their steps, what would be pruned, and faults of specs. Data, shown by `lakectl plan`.

Made by `reconciler.planning`, which looks at the state, or by `reconciler.checking`, which looks at the specs alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step: what, why, and the seconds that past jobs of its kind took for as much; None where nobody knows."""

    summary: str
    why: str
    seconds: float | None


@dataclass(frozen=True, slots=True)
class PlannedObject:
    """One object: its steps, or the ending that it would have without any (`state` is ready, waiting, stalled or failed)."""

    object: str
    steps: tuple[PlannedStep, ...]
    state: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class PlannedPrune:
    """An object that no spec asks for: what becomes of it, and why that would be held, if it would."""

    object: str
    words: str
    held: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done. `errors` are faults of specs, with their places; they make a plan unfit to be committed.

    `folders` are those of local buckets, by the spec's place and the bucket, as in `specs/lake.yaml:3: Bucket/lake`.
    """

    revision: str
    objects: tuple[PlannedObject, ...] = ()
    prune: tuple[PlannedPrune, ...] = ()
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    folders: Mapping[str, Path] = field(default_factory=dict)

    @property
    def changes(self) -> bool:
        """Whether anything would be done."""
        return bool(self.prune) or any(planned.steps for planned in self.objects)

    def to_document(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "revision": self.revision,
            "changes": self.changes,
            "errors": list(self.errors),
            "warnings": list(self.warnings),
            "objects": [
                {
                    "object": planned.object,
                    "steps": [{"summary": step.summary, "why": step.why, "seconds": step.seconds} for step in planned.steps],
                    "state": planned.state,
                    "reason": planned.reason,
                    "message": planned.message,
                }
                for planned in self.objects
            ],
            "prune": [{"object": item.object, "becomes": item.words, "held": item.held} for item in self.prune],
        }
