"""What `/metrics` tells of searches."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from engines.search_tally import Of, SearchTally
from reconciler.metrics import watch_searches


def test_searches_are_told_by_index_model_and_mode() -> None:
    tally, registry = SearchTally(), CollectorRegistry()
    watch_searches(registry, tally)
    for seconds in (0.0004, 0.001, 0.3, 99.0):
        tally.add(Of("docs", "builtin", "vector"), seconds)
    tally.add(Of("docs", "minilm", "hybrid"), 0.02)
    told = generate_latest(registry).decode()
    which = 'index="docs",mode="vector",model="builtin"'
    found = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in told.splitlines() if not line.startswith("#")}
    found = {name.replace('index="docs",model="builtin",mode="vector"', which): value for name, value in found.items()}
    assert found[f"lakehouse_search_seconds_count{{{which}}}"] == 4
    assert found[f"lakehouse_search_seconds_sum{{{which}}}"] == 99.3014
    buckets = {
        name.partition('le="')[2].partition('"')[0]: value for name, value in found.items() if "_bucket" in name and "builtin" in name
    }
    assert (buckets["0.0005"], buckets["0.001"], buckets["0.25"], buckets["0.5"], buckets["10.0"], buckets["+Inf"]) == (1, 2, 2, 3, 3, 4)
    assert 'model="minilm"' in told
