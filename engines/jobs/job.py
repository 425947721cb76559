"""What a job is, and the four things that can be said of it. Facts only.

A job is named by the digest of its inputs, so that asking twice is asking once, and its result can be found by a later process. Its
function is named, not passed: `module:function`, called as `function(arguments, progress)` and returning what JSON can hold.
Next: `executor.py`, which runs them; `failure.py` for how errors travel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from engines.jobs.failure import Failure
from specs.errors import LakehouseError

Progress = Callable[[int, int], None]
"""Called with (done, total) in any unit, as often as convenient; total 0 if unknown. Cheap: most calls are dropped."""


@dataclass(frozen=True, slots=True)
class Job:
    """`id`: digest of the inputs, usable as a file's name. `arguments`: JSON. `weight`: estimated bytes to be worked on.

    `kind` groups jobs of similar cost ("ingest"); `object` is who wants it ("Dataset/candidates"). `apart`: it gets a process whatever its
    weight, since it may wait for others, or take its process along. `memory`: bytes that such a process may hold; beyond it is ended.
    `cores`: processors that it may take, as a number of them; see `throttle.py`.
    """

    id: str
    kind: str
    function: str
    arguments: Mapping[str, Any]
    weight: int
    object: str
    apart: bool = False
    memory: int | None = None
    cores: float | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """`result` is what the function returned, as JSON gives it back."""

    result: Any


@dataclass(frozen=True, slots=True)
class Running:
    """`done` of `total` (0: unknown) since `since`; `rate` in units a second and `eta` in seconds, None if nobody can tell."""

    done: int
    total: int
    since: datetime
    rate: float | None
    eta: float | None

    @property
    def share(self) -> float | None:
        """Part that is done, in [0, 1]."""
        return min(self.done / self.total, 1.0) if self.total > 0 else None

    def describe(self, unit: str | None = None) -> str:
        """For a status message: "42 %, about 12 s left"; with what its units are, "42 %, 8,300 texts/s, about 12 s left"."""
        share = "running" if self.share is None else f"{self.share * 100:.0f} %"
        rate = None if unit is None or self.rate is None else f"{self.rate:,.0f} {unit}/s"
        return ", ".join(part for part in (share, rate, None if self.eta is None else f"about {self.eta:.0f} s left") if part)


@dataclass(frozen=True, slots=True)
class Queued:
    """`ahead` jobs will be started before it."""

    ahead: int

    @property
    def share(self) -> float | None:
        """Nothing is done yet."""
        return None

    def describe(self, unit: str | None = None) -> str:
        """For a status message: "queued behind 3 jobs"."""
        return "starting" if not self.ahead else f"queued behind {self.ahead} job{'s' if self.ahead > 1 else ''}"


@dataclass(frozen=True, slots=True)
class Failed:
    """It raised, or its process died, for the `attempts`-th time. Stays so until `ensure(..., retry=True)` or `forget`."""

    failure: Failure
    attempts: int

    @property
    def error(self) -> LakehouseError:
        """A new exception at each call: of the class that was raised where it is one of ours, else JobFailed or JobCrashed."""
        return self.failure.error()


JobState = Done | Running | Queued | Failed


@dataclass(frozen=True, slots=True)
class Ended:
    """What is told when a job has ended: `seconds` of its last run, and the failure if it failed."""

    job: Job
    attempts: int
    seconds: float
    failure: Failure | None


@dataclass(frozen=True, slots=True)
class JobInfo:
    """One row of `system.jobs`: a job that runs or waits. `started` is None while it waits; `eta` in seconds from now."""

    id: str
    kind: str
    object: str
    state: Literal["running", "queued"]
    done: int
    total: int
    started: datetime | None
    rate: float | None
    eta: float | None
