"""GET /hnsw/cache/stats: how many embeddings are held, in how many bytes, and how often a text had one already.

`/metrics` has the same figures. Next: `engines/vectors/embedding_cache.py` and `engines/embedding/query_cache.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import Field

from api.bodies import JSON, Document, NoParameters, encoded, read_parameters
from api.endpoints import Endpoint
from api.threads import Threads
from engines.embedding.cache_stats import CacheStats


@dataclass(frozen=True, slots=True)
class EmbeddingCaches:
    """Where both tell their figures. Blocking."""

    texts: Callable[[], CacheStats]
    queries: Callable[[], CacheStats]

    def stats(self) -> Mapping[str, CacheStats]:
        """Of texts that were embedded for indexes, and of those that were looked for."""
        return {"texts": self.texts(), "queries": self.queries()}


class CacheFigures(Document):
    """Of one cache."""

    entries: int = Field(description="Vectors.")
    bytes: int
    limit: int = Field(description="Bytes that it may hold.")
    hits: int = Field(description="Texts that had a vector already.")
    misses: int = Field(description="Texts that had none, and went to the model.")
    evictions: int = Field(description="Vectors that were let go of to stay within the limit.")


class EmbeddingCacheAnswer(Document):
    """Both caches of embeddings."""

    texts: CacheFigures = Field(description="Of texts that any index has had embedded: on disk, mapped; counted since the cache was made.")
    queries: CacheFigures = Field(description="Of texts that were looked for: in memory; counted since the daemon started.")


@dataclass(frozen=True, slots=True)
class EmbeddingCacheRoute:
    """Answers it."""

    caches: EmbeddingCaches
    threads: Threads

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Figures of the whole lake."""
        read_parameters(request, NoParameters)
        return encoded(await self.threads.run(lambda _: orjson.dumps(document(self.caches))))


def document(caches: EmbeddingCaches) -> dict[str, dict[str, int]]:
    """As `EmbeddingCacheAnswer`."""
    return {name: asdict(found) for name, found in caches.stats().items()}


class CacheCollector(Collector):
    """The same for Prometheus, as it is at the moment of a scrape."""

    def __init__(self, caches: EmbeddingCaches) -> None:
        self._caches = caches

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        entries = GaugeMetricFamily("lakehouse_embedding_cache_entries", "Vectors held, of texts or of queries.", labels=("of",))
        size = GaugeMetricFamily("lakehouse_embedding_cache_bytes", "Bytes held.", labels=("of",))
        hits = CounterMetricFamily("lakehouse_embedding_cache_hits", "Texts that had a vector already.", labels=("of",))
        misses = CounterMetricFamily("lakehouse_embedding_cache_misses", "Texts that went to the model.", labels=("of",))
        evictions = CounterMetricFamily("lakehouse_embedding_cache_evictions", "Vectors that were let go of for room.", labels=("of",))
        for name, found in self._caches.stats().items():
            for family, value in (
                (entries, found.entries),
                (size, found.bytes),
                (hits, found.hits),
                (misses, found.misses),
                (evictions, found.evictions),
            ):
                family.add_metric((name,), value)
        yield from (entries, size, hits, misses, evictions)


def endpoints(caches: EmbeddingCaches, registry: CollectorRegistry, threads: Threads) -> tuple[Endpoint, ...]:
    """The one route; and the figures, among those that are scraped."""
    registry.register(CacheCollector(caches))
    handle = EmbeddingCacheRoute(caches, threads).handle
    summary = "How many embeddings are held, and how often they were known"
    return (Endpoint("GET", "/hnsw/cache/stats", summary, handle, {JSON: EmbeddingCacheAnswer}, readers="operators"),)
