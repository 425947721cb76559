"""When a source is due to be read again: the instants of `refresh`, and an operator's word; pure.

A table remembers the instant that was honoured last (`Origin.slot`). One that has passed since is due, once, however many passed: so a
run that was missed while nobody ran is caught up, and a failed one is tried again until it is recorded. Each object has a jitter of its
own, derived from its name: the whole period of `every`, at most CRON_JITTER after a time of `cron`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cronsim import CronSim

from specs.digests import digest
from specs.kinds.dataset_rules import Refresh
from state.timestamps import iso

CRON_JITTER = timedelta(seconds=30)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Slot:
    """at: the instant to honour, ISO 8601, "" where there is none; due: it has not been. seconds: until the next one, None without any."""

    at: str = ""
    due: bool = False
    seconds: float | None = None


ALWAYS = Slot()
"""Of a source that nothing but its own changes makes due."""


def slot(name: str, refresh: Refresh, honoured: str, asked: str, now: datetime) -> Slot:
    """name: the object's. honoured: the slot that its table has; asked: when an operator last wanted a read, "" for never."""
    passed = max((iso(at) for at in _passed(name, refresh, now)), default="")
    latest = max(passed, asked)
    following = min(_following(name, refresh, now), default=None)
    seconds = None if following is None else max((following - now).total_seconds(), 0.0)
    return Slot(max(latest, honoured), latest > honoured, seconds)


def _passed(name: str, refresh: Refresh, now: datetime) -> list[datetime]:
    found = []
    if refresh.every is not None:
        found.append(now - (now - _EPOCH - _share(name) * refresh.every) % refresh.every)
    if refresh.cron is not None:
        jitter = _share(name) * CRON_JITTER
        # the library gives what lies before a minute, and knows no seconds
        earlier = next(CronSim(refresh.cron, (now - jitter).replace(second=0, microsecond=0) + _MINUTE, reverse=True), None)
        found += [] if earlier is None else [earlier + jitter]
    return found


def _following(name: str, refresh: Refresh, now: datetime) -> list[datetime]:
    found = []
    if refresh.every is not None:
        found.append(now + refresh.every - (now - _EPOCH - _share(name) * refresh.every) % refresh.every)
    if refresh.cron is not None:
        jitter = _share(name) * CRON_JITTER
        later = next(CronSim(refresh.cron, now - jitter), None)
        found += [] if later is None else [later + jitter]
    return found


def _share(name: str) -> float:
    """In [0, 1), the same for a name at every time and on every machine."""
    return int(digest(["refresh", name])[:8], 16) / 2**32
