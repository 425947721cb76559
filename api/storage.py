"""GET /storage/buckets and /storage/bucket-health: which buckets are open, and how each is.

Being well is found out by trying: a put, a second one that must lose, a read, a delete. A look is shared by whoever asks within a few
seconds, so that asking often costs a bucket nothing. Next: `objects.py` for their objects; `state/bucket_health.py`, which tries.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from aiohttp import web
from pydantic import Field

from api.bodies import JSON, Document, answer
from api.endpoints import Endpoint
from api.reader import READER, may
from api.threads import Threads
from engines.reading import BucketName
from state.bucket_health import Health, Look, look, row
from state.failures import Failures
from state.mirrors import Mirrors
from state.objects import ObjectStore
from state.places import Backend, BucketConfig

FRESH = 5.0
"""Seconds for which a look at a bucket is good."""


class BucketSource(Protocol):
    """The attached buckets. Thread-safe, from memory."""

    @property
    def failures(self) -> Failures:
        """What failed in them."""

    @property
    def mirrors(self) -> Mirrors:
        """How far their mirrors are behind."""

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


class MirrorHealth(Document):
    """How far a bucket's mirror was behind when the daemon looked last."""

    bucket: str = Field(description="The rescue bucket that is kept mirrored.")
    objects_behind: int
    bytes_behind: int
    lag_seconds: float = Field(description="Since the oldest object that it lacks was written; 0 if it lacks none.")
    damaged: int = Field(description="Objects that are not what the catalog says, and so are not copied.")
    checked_at: str


class BucketHealth(Document):
    """What a bucket did when it was tried."""

    name: str
    state: Health = Field(
        description="degraded: it failed, and its rescue bucket can be read; failed: it did, and nothing answers in its place."
    )
    reachable: bool
    writable: bool
    conditional_put: bool
    latency_ms: float = Field(description="Of one put.")
    checked_at: str
    problem: str | None = Field(description="What was wrong, and what to do.")
    last_error: LastError | None
    mirror: MirrorHealth | None = Field(description="null where none is kept, or nobody looked yet.")


class HealthAnswer(Document):
    """How each bucket is."""

    buckets: list[BucketHealth]


@dataclass(slots=True)
class Looks:
    """Looks at buckets, one at a time each, and remembers. Used on one event loop."""

    buckets: BucketSource
    threads: Threads
    clock: Callable[[], float] = time.monotonic
    _known: dict[str, tuple[float, Look]] = field(default_factory=dict)
    _running: dict[str, asyncio.Task[Look]] = field(default_factory=dict)

    async def look(self, name: str) -> Look:
        """How the bucket is, now or a few seconds ago. Raises BucketUnknown."""
        until, known = self._known.get(name, (0.0, None))
        if known is not None and self.clock() < until:
            return known
        task = self._running.get(name)
        if task is None:
            task = self._running[name] = asyncio.create_task(self._probe(name))
            task.add_done_callback(lambda _: self._running.pop(name, None))
        return await asyncio.shield(task)

    async def _probe(self, name: str) -> Look:
        store = self.buckets.store(name)
        found = await self.threads.run(lambda _: look(store, lambda: datetime.now(UTC)))
        self._known[name] = (self.clock() + FRESH, found)
        return found


@dataclass(frozen=True, slots=True)
class BucketRoutes:
    """Answers both."""

    buckets: BucketSource
    looks: Looks

    async def listed(self, request: web.Request) -> web.StreamResponse:
        """From memory."""
        return answer({"buckets": [_row(config) for config in self._shown(request).values()]})

    async def tried(self, request: web.Request) -> web.StreamResponse:
        """All at once, each as long as its bucket takes."""
        configs, there = self._shown(request), self.buckets.configs()
        rescues = {config.rescue for config in configs.values() if config.rescue in there}  # a bucket may be degraded by one not shown
        names = sorted({*configs, *(name for name in rescues if name is not None)})
        looks = dict(zip(names, await asyncio.gather(*(self.looks.look(name) for name in names)), strict=True))
        told = [row(config, looks, self.buckets.failures, self.buckets.mirrors) for config in configs.values()]
        return answer({"buckets": told})

    def _shown(self, request: web.Request) -> Mapping[str, BucketConfig]:
        configs = self.buckets.configs()
        return {name: config for name, config in configs.items() if may(request[READER], BucketName(name), "describe")}


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


def endpoints(buckets: BucketSource, threads: Threads) -> tuple[Endpoint, ...]:
    """The routes of buckets."""
    routes = BucketRoutes(buckets, Looks(buckets, threads))
    return (
        Endpoint("GET", "/storage/buckets", "The buckets that are open", routes.listed, {JSON: BucketsAnswer}, readers="operators"),
        Endpoint(
            "GET",
            "/storage/bucket-health",
            "How each bucket does when it is tried",
            routes.tried,
            {JSON: HealthAnswer},
            readers="operators",
        ),
    )
