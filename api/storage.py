"""GET /storage/buckets and /storage/bucket-health: which buckets are open, and how each is.

Being well is found out by trying: a put, a second one that must lose, a read, a delete. A look is shared by whoever asks within a few
seconds, so that asking often costs a bucket nothing. Next: `objects.py` for their objects; `state/buckets.py`, which tries.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, Protocol

from aiohttp import web
from pydantic import Field

from api.bodies import JSON, Document, answer
from api.endpoints import Endpoint
from api.reader import READER, may
from api.threads import Threads
from engines.reading import BucketName
from state.buckets import Probe, probe
from state.failures import BucketFailure, Failures
from state.objects import ObjectStore
from state.places import Backend, BucketConfig
from state.timestamps import iso

FRESH = 5.0
"""Seconds for which a look at a bucket is good."""


class BucketSource(Protocol):
    """The attached buckets. Thread-safe, from memory."""

    @property
    def failures(self) -> Failures:
        """What failed in them."""

    def configs(self) -> Mapping[str, BucketConfig]:
        """By name."""

    def store(self, name: str) -> ObjectStore:
        """Raises BucketUnknown."""


class BucketRow(Document):
    """A bucket."""

    name: str
    backend: Backend
    bucket: str | None = Field(description="Its name on the object service; null for others.")
    endpoint: str | None = Field(description="The object service's URL; null for others, and for the service's own.")
    prefix: str
    rescue: str | None = Field(description="The bucket that answers when this one cannot.")


class BucketsAnswer(Document):
    """All buckets that are open, by name."""

    buckets: list[BucketRow]


class LastError(Document):
    """What failed last in a bucket, in this process."""

    at: str
    op: str
    key: str
    kind: str = Field(alias="class", description="The error's slug.")
    message: str
    rescued: bool = Field(description="Whether its rescue bucket answered.")


class BucketHealth(Document):
    """What a bucket did when it was tried."""

    name: str
    state: Literal["ok", "degraded", "failed"] = Field(
        description="degraded: it failed, and its rescue bucket can be read; failed: it did, and nothing answers in its place."
    )
    reachable: bool
    writable: bool
    conditional_put: bool
    latency_ms: float = Field(description="Of one put.")
    checked_at: str
    problem: str | None = Field(description="What was wrong, and what to do.")
    last_error: LastError | None


class HealthAnswer(Document):
    """How each bucket is."""

    buckets: list[BucketHealth]


@dataclass(frozen=True, slots=True)
class _Look:
    """What a bucket did, when, and until when (of the monotonic clock) that is good."""

    probed: Probe
    at: str
    until: float

    @property
    def well(self) -> bool:
        return self.probed.problem is None and self.probed.conditional_put

    @property
    def problem(self) -> str | None:
        if self.probed.problem is not None:
            return self.probed.problem.explain()
        return None if self.probed.conditional_put else "A second writer overwrites what is there: no catalog can be kept in it."


@dataclass(slots=True)
class Health:
    """Looks at buckets, one at a time each, and remembers. Used on one event loop."""

    buckets: BucketSource
    threads: Threads
    clock: Callable[[], float] = time.monotonic
    _known: dict[str, _Look] = field(default_factory=dict)
    _running: dict[str, asyncio.Task[_Look]] = field(default_factory=dict)

    async def look(self, name: str) -> _Look:
        """How the bucket is, now or a few seconds ago. Raises BucketUnknown."""
        known = self._known.get(name)
        if known is not None and self.clock() < known.until:
            return known
        task = self._running.get(name)
        if task is None:
            task = self._running[name] = asyncio.create_task(self._probe(name))
            task.add_done_callback(lambda _: self._running.pop(name, None))
        return await asyncio.shield(task)

    async def _probe(self, name: str) -> _Look:
        store = self.buckets.store(name)
        probed = await self.threads.run(lambda _: probe(store))
        self._known[name] = look = _Look(probed, iso(datetime.now(UTC)), self.clock() + FRESH)
        return look


@dataclass(frozen=True, slots=True)
class BucketRoutes:
    """Answers both."""

    buckets: BucketSource
    health: Health

    async def listed(self, request: web.Request) -> web.StreamResponse:
        """From memory."""
        return answer({"buckets": [_row(config) for config in self._shown(request).values()]})

    async def tried(self, request: web.Request) -> web.StreamResponse:
        """All at once, each as long as its bucket takes."""
        configs = self._shown(request)
        looks = dict(zip(configs, await asyncio.gather(*(self.health.look(name) for name in configs)), strict=True))
        return answer({"buckets": [self._health(config, looks) for config in configs.values()]})

    def _shown(self, request: web.Request) -> Mapping[str, BucketConfig]:
        configs = self.buckets.configs()
        return {name: config for name, config in configs.items() if may(request[READER], BucketName(name), "describe")}

    def _health(self, config: BucketConfig, looks: Mapping[str, _Look]) -> dict[str, object]:
        look, last = looks[config.name], self.buckets.failures.last(config.name)
        rescue = looks.get(config.rescue or "")
        failing = "degraded" if rescue is not None and rescue.probed.reachable else "failed"
        return {
            "name": config.name,
            "state": "ok" if look.well else failing,
            "reachable": look.probed.reachable,
            "writable": look.probed.writable,
            "conditionalPut": look.probed.conditional_put,
            "latencyMs": round(look.probed.latency * 1000, 3),
            "checkedAt": look.at,
            "problem": look.problem,
            "lastError": None if last is None else _last(last),
        }


def _row(config: BucketConfig) -> dict[str, object]:
    service = config.service
    return {
        "name": config.name,
        "backend": config.backend,
        "bucket": None if service is None else service.bucket,
        "endpoint": None if service is None else service.endpoint,
        "prefix": config.prefix,
        "rescue": config.rescue,
    }


def _last(failure: BucketFailure) -> dict[str, object]:
    row = failure.to_row()
    return {name: row[name] for name in ("at", "op", "key", "class", "message", "rescued")}


def endpoints(buckets: BucketSource, threads: Threads) -> tuple[Endpoint, ...]:
    """The routes of buckets."""
    routes = BucketRoutes(buckets, Health(buckets, threads))
    return (
        Endpoint("GET", "/storage/buckets", "The buckets that are open", routes.listed, {JSON: BucketsAnswer}),
        Endpoint("GET", "/storage/bucket-health", "How each bucket does when it is tried", routes.tried, {JSON: HealthAnswer}),
    )
