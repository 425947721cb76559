"""How buckets are: what each did when it was tried, and whether its rescue bucket can stand in; as GET /storage/bucket-health tells it.

Next: `buckets.py`, whose `probe` tries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from state.buckets import Probe, probe
from state.failures import BucketFailure, Failures
from state.mirrors import Lag, Mirrors
from state.objects import ObjectStore
from state.places import BucketConfig
from state.timestamps import Clock, iso

Health = Literal["ok", "degraded", "failed"]


@dataclass(frozen=True, slots=True)
class Look:
    """What a bucket did, and when (ISO 8601)."""

    probed: Probe
    at: str

    @property
    def well(self) -> bool:
        """Whether it keeps all its promises."""
        return self.probed.problem is None and self.probed.conditional_put

    @property
    def problem(self) -> str | None:
        """What was wrong, and what to do."""
        if self.probed.problem is not None:
            return self.probed.problem.explain()
        return None if self.probed.conditional_put else "A second writer overwrites what is there: no catalog can be kept in it."


def look(store: ObjectStore, clock: Clock) -> Look:
    """Tries the bucket. Blocking."""
    return Look(probe(store), iso(clock()))


def row(config: BucketConfig, looks: Mapping[str, Look], failures: Failures, mirrors: Mirrors) -> dict[str, object]:
    """One bucket as a document. looks: of it, and of its rescue bucket if there is one."""
    mine, last, lag = looks[config.name], failures.last(config.name), mirrors.lag(config.name)
    return {
        "name": config.name,
        "state": _health(mine, looks.get(config.rescue or "")),
        "reachable": mine.probed.reachable,
        "writable": mine.probed.writable,
        "conditionalPut": mine.probed.conditional_put,
        "latencyMs": round(mine.probed.latency * 1000, 3),
        "checkedAt": mine.at,
        "problem": mine.problem,
        "lastError": None if last is None else _last(last),
        "mirror": None if lag is None else _mirror(lag),
    }


def _health(mine: Look, rescue: Look | None) -> Health:
    if mine.well:
        return "ok"
    return "degraded" if rescue is not None and rescue.probed.reachable else "failed"


def _mirror(lag: Lag) -> dict[str, object]:
    return {
        "bucket": lag.bucket,
        "objectsBehind": lag.objects,
        "bytesBehind": lag.size,
        "lagSeconds": round(lag.seconds, 3),
        "damaged": len(lag.damaged),
        "checkedAt": iso(datetime.fromtimestamp(lag.at, UTC)),
    }


def _last(failure: BucketFailure) -> dict[str, object]:
    told = failure.to_row()
    return {name: told[name] for name in ("at", "op", "key", "class", "message", "rescued")}
