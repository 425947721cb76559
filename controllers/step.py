"""What a plan is made of: steps that are pure data, the same for `lakectl plan`, `lakectl why` and the daemon.

Each kind defines its own closed union of frozen steps. All have what a reader of a plan needs: what would be done, why,
and a measure of its work by which past jobs tell the cost.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Work:
    """A measure of work: `kind` as jobs are counted (`ingest`, `embed`, `build`), `weight` in bytes of input."""

    kind: str
    weight: int


class Step(Protocol):
    """One thing to do."""

    @property
    def why(self) -> str:
        """The difference between spec and world that asks for it."""
        ...

    @property
    def work(self) -> Work | None:
        """The measure of its work; None where it is a matter of milliseconds."""
        ...

    def summary(self) -> str:
        """What is done, in a few words, beginning with a verb."""
        ...


@dataclass(frozen=True, slots=True)
class Started:
    """A step goes on without the worker: as a job, whose end enqueues the object again, or until others are ready (`blocked_by` one).
    `seconds` asks for another look then at the latest."""

    reason: str
    message: str
    progress: float | None = None
    blocked_by: str | None = None
    seconds: float | None = None
