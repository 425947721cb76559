"""GET /hnsw/cache/stats tells what both caches of embeddings hold, and /metrics the same."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from api.embedding_cache import EmbeddingCaches
from engines.embedding.cache_stats import CacheStats

pytestmark = pytest.mark.anyio


async def test_figures_of_both_caches(opened: Any) -> None:
    caches = EmbeddingCaches(lambda: CacheStats(5, 5120, 1 << 20, 7, 3, 2), lambda: CacheStats(1, 1300, 1 << 14, 4, 6, 0))
    async with opened(embeddings=caches, registry=CollectorRegistry()) as client:
        answer = await client.get("/hnsw/cache/stats")
        assert answer.status == 200
        assert await answer.json() == {
            "texts": {"entries": 5, "bytes": 5120, "limit": 1 << 20, "hits": 7, "misses": 3, "evictions": 2},
            "queries": {"entries": 1, "bytes": 1300, "limit": 1 << 14, "hits": 4, "misses": 6, "evictions": 0},
        }
        figures = await (await client.get("/metrics")).text()
    assert 'lakehouse_embedding_cache_entries{of="texts"} 5.0' in figures
    assert 'lakehouse_embedding_cache_hits_total{of="queries"} 4.0' in figures
    assert 'lakehouse_embedding_cache_evictions_total{of="texts"} 2.0' in figures


async def test_an_empty_cache_has_figures_and_takes_no_parameters(opened: Any) -> None:
    async with opened() as client:
        told = await (await client.get("/hnsw/cache/stats")).json()
        assert told["texts"] == {"entries": 0, "bytes": 0, "limit": 1 << 20, "hits": 0, "misses": 0, "evictions": 0}
        assert (await client.get("/hnsw/cache/stats?of=texts")).status == 400
