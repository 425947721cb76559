"""The HTTP API put together: explicit parts in, an aiohttp application out.

The order of the middlewares matters: figures see every status, problems translate whatever comes from below, limits count before anything
costs, the guard names the reader before a handler runs. Routes and their description come from the same list.

It starts nothing but the threads of requests: parts are made and closed by whoever passes them. Next: `server.py`, which listens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from aiohttp import web
from prometheus_client import CollectorRegistry

from api import (
    access,
    datasets,
    embedding_cache,
    events,
    health,
    hot_cache,
    metrics,
    models,
    notifications,
    objects,
    openapi,
    policies,
    query,
    search,
    status,
    storage,
    storage_errors,
    trials,
)
from api.endpoints import Endpoint
from api.limits import Limits, bounded
from api.problems import expectations, problems
from api.reader import Directory, Listener, guard
from api.threads import RequestThreads
from engines.audit import Audit
from engines.quotas import Quotas
from state.descriptions import Describe
from state.failure_query import Remembered


class StreamSource(events.EventSource, trials.TrialSource, Protocol):
    """Streams, for reading."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes need. listen_host: what the listener is bound to; hosts: names to answer to besides. version: of this software."""

    queries: query.QueryService
    searches: search.SearchService
    statuses: status.StatusSource
    events: StreamSource
    catalog: datasets.DatasetCatalog
    describe: Describe
    hot: hot_cache.CacheSource
    embeddings: embedding_cache.EmbeddingCaches
    models: models.ModelSource
    buckets: storage.BucketSource
    objects: objects.ObjectSource
    audit: Audit
    quotas: Quotas
    notified: notifications.Notified
    missing: health.Readiness
    daemon: status.Daemon
    directory: Directory
    access: policies.AccessSource
    listen_host: str = "127.0.0.1"
    hosts: frozenset[str] = frozenset()
    version: str = "0"
    limits: Limits = field(default_factory=Limits)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)


def build_app(parts: Parts) -> web.Application:
    """The application with every route."""
    middlewares = [
        metrics.RequestMetrics(parts.registry).middleware(),
        problems,
        bounded(parts.limits),
        guard(Listener(parts.listen_host, parts.daemon.listen, parts.hosts), parts.directory, parts.buckets.configs, parts.audit),
    ]
    app = web.Application(middlewares=middlewares, client_max_size=parts.limits.body_bytes)
    threads = RequestThreads()
    app.on_cleanup.append(lambda _: threads.close())
    for endpoint in endpoints(parts, threads):
        if endpoint.method == "GET":
            app.router.add_get(endpoint.path, endpoint.answer, expect_handler=expectations)  # and HEAD, whose body aiohttp leaves out
        else:
            app.router.add_route(endpoint.method, endpoint.path, endpoint.answer, expect_handler=expectations)
    return app


def endpoints(parts: Parts, threads: RequestThreads) -> Sequence[Endpoint]:
    """Every route there is."""

    def bucket_names() -> set[str]:
        """Of those that are open, and of those that a spec declares."""
        return {*parts.buckets.configs(), *(bucket.name for bucket in parts.statuses.all("Bucket"))}

    failures = Remembered(parts.events, parts.buckets.failures)
    described = (
        *query.endpoints(parts.queries, parts.limits.query_rows),
        *search.endpoints(parts.searches, parts.limits.search_k),
        *status.endpoints(parts.statuses, parts.catalog, parts.daemon, threads.memory),
        *events.endpoints(parts.events, parts.limits.page, threads.storage),
        *hot_cache.endpoints(parts.hot),
        *embedding_cache.endpoints(parts.embeddings, parts.registry, threads.storage),
        *trials.endpoints(parts.events, parts.catalog, parts.limits.page, threads.storage),
        *datasets.endpoints(parts.catalog, parts.describe, parts.audit, parts.quotas, threads.storage),
        *storage.endpoints(parts.buckets, threads.storage),
        *notifications.endpoints(parts.notified, bucket_names),
        *storage_errors.endpoints(failures, bucket_names, parts.limits.page, threads.storage),
        *access.endpoints(parts.events, parts.limits.page, threads.storage),
        *models.endpoints(parts.models, threads.storage),  # after /models/{id}/audit
        *objects.endpoints(parts.objects, parts.audit, threads.storage),
        *policies.endpoints(parts.access, parts.queries, threads.storage),
        *health.endpoints(parts.missing),
        *metrics.endpoints(parts.registry, threads.memory),
    )
    return (*described, openapi.endpoint(described, parts.version))
