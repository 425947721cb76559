"""How old a dataset's data is, against `freshness`; pure.

Age counts from when a source was last changed or confirmed: of files, from the newest modification of one that matches now (writing the
same rows again confirms them), else from the newest that was ever read; of other sources, from when a read of them last ended well, whether
or not it brought anything new.
It is looked at whenever the dataset is, and at the instant at which it becomes stale.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from controllers.dataset.files import SourceFile
from controllers.outcome import Aspect, Outcome, Ready, Stalled
from specs.durations import format_duration
from specs.kinds.dataset import DatasetSpec
from state import reasons
from state.catalog.tables import Table
from state.timestamps import from_iso, iso

_LONGEST = 86_400.0
"""Seconds after which it is looked at again at the latest: a clock that counts seconds does not follow one that is set."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """The instant that age counts from, how long data is fresh, and what time it is. read: whether it is that of a read, not of data."""

    newest: datetime
    stale_after: timedelta
    now: datetime
    read: bool = False

    @property
    def left(self) -> float:
        """Seconds until it is stale; negative or 0 once it is."""
        return (self.newest - self.now + self.stale_after).total_seconds()


def freshness(spec: DatasetSpec, table: Table | None, files: Sequence[SourceFile], now: datetime) -> Freshness | None:
    """None where nothing is asked for, or nothing was read yet. files: that match now."""
    if spec.freshness is None or table is None or not table.version:
        return None
    if table.origin is not None and table.origin.read and not spec.source.in_files:
        return Freshness(from_iso(table.origin.read), spec.freshness.stale_after, now, read=True)
    known = [file.mtime_ns for file in files] or [binding.mtime_ns for binding in table.bindings.values()]
    newest = max(known, default=0)
    at = datetime.fromtimestamp(newest / 1e9, UTC) if newest else from_iso(table.at) if table.at else now
    return Freshness(at, spec.freshness.stale_after, now)


def aged(outcome: Outcome, fresh: Freshness | None) -> Outcome:
    """The ending with the condition `Stale`, where `freshness` is asked for; what is Ready and stale says so in its reason."""
    if not isinstance(outcome, Ready | Stalled):
        return outcome
    if fresh is None:
        return replace(outcome, also=())
    whence = "its source was last read at" if fresh.read else "its newest data is of"
    words = f"{whence} {iso(fresh.newest)[:16].replace('T', ' ')} UTC, and `staleAfter` is {format_duration(fresh.stale_after)}"
    if fresh.left > 0:
        seconds = min(fresh.left, _LONGEST, outcome.seconds if outcome.seconds is not None else _LONGEST)
        return replace(outcome, also=(Aspect("Stale", False, reasons.FRESH, words),), seconds=seconds)
    stale = (Aspect("Stale", True, reasons.STALE, words),)
    if isinstance(outcome, Ready):
        return replace(outcome, reason=reasons.STALE, message=f"{outcome.message}; stale: {words}", also=stale)
    return replace(outcome, also=stale)
