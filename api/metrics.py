"""GET /metrics: figures for Prometheus. Those of requests are counted here; the loop adds its own to the same registry.

The registry is passed in: nothing is registered at import, and two apps in one process do not meet. Labels hold route patterns, methods and
statuses only, never names or texts of users, so that the number of series stays bounded.

Next: `app.py` for where the middleware stands, `reconciler/metrics.py` for the figures of the loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_1_0_0 as TEXT
from prometheus_client.exposition import generate_latest

from api.bodies import encoded
from api.endpoints import Endpoint
from api.threads import Threads

_REQUEST_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class RequestMetrics:
    """Requests by route, method and status; seconds by route; how many are being answered."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter("lakehouse_http_requests", "Requests answered.", ("route", "method", "status"), registry=registry)
        self._seconds = Histogram(
            "lakehouse_http_request_seconds", "Time to answer.", ("route",), registry=registry, buckets=_REQUEST_SECONDS
        )
        self._in_flight = Gauge("lakehouse_http_requests_in_flight", "Requests being answered.", registry=registry)
        # Looking up a labelled child takes longer than counting: kept by what is counted.
        self._counters: dict[tuple[str, str, int], Counter] = {}
        self._histograms: dict[str, Histogram] = {}

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        """Counts one answered request."""
        counter = self._counters.get((route, method, status))
        if counter is None:
            counter = self._counters[route, method, status] = self._requests.labels(route, method, str(status))
        histogram = self._histograms.get(route)
        if histogram is None:
            histogram = self._histograms[route] = self._seconds.labels(route)
        counter.inc()
        histogram.observe(seconds)

    def middleware(self, clock: Callable[[], float] = time.perf_counter) -> Middleware:
        """The outermost middleware: sees every status, those of problems too."""

        @web.middleware
        async def measured(request: web.Request, handler: Handler) -> web.StreamResponse:
            begin = clock()
            self._in_flight.inc()
            status = 499  # what stands if the client left before an answer
            try:
                response = await handler(request)
                status = response.status
                return response
            finally:
                self._in_flight.dec()
                self.observe(_route(request), _method(request), status, clock() - begin)

        return measured


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return "unknown" if resource is None else resource.canonical


def _method(request: web.Request) -> str:
    return request.method if request.method in {"GET", "HEAD", "POST"} else "other"


def endpoints(registry: CollectorRegistry, threads: Threads) -> tuple[Endpoint, ...]:
    """The route that Prometheus scrapes."""

    async def metrics(request: web.Request) -> web.StreamResponse:
        return encoded(await threads.run(lambda wanted: generate_latest(registry)), TEXT)

    return (Endpoint("GET", "/metrics", "Figures in the text format of Prometheus", metrics, {"text/plain": None}, readers="operators"),)
