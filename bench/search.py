"""What search costs over its libraries, on 100 000 chunks of real text.

    python -m bench.search [--chunks 100000] [--queries 500] [--m 32 --ef-construction 80]

The data are the documentation strings inside the botocore package; the queries are strings of it that are not in the index. Corpus and
build are made once, by the same code as a daemon's jobs, and kept in the folder for temporary files. Ours and the bare library search the
same graph with the same parameters and take turns, query by query, so that load from elsewhere meets both alike. The service is compared
with the sums of the bare hnswlib call and an embedding: wordllama's own, and ours, which it is made of.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np
import pyarrow as pa

from bench import corpora
from bench.bars import Bar
from bench.corpora import documentation
from bench.report import Stopwatch, write
from engines import search as service_module
from engines.embedding.chunking import Chunking
from engines.embedding.registry import open_embedder
from engines.search import SearchService
from engines.search_answer import SearchRequest
from engines.vectors import builds
from engines.vectors.builds import BuildTask, open_build
from engines.vectors.chunk_table import ChunkTable
from engines.vectors.corpus import CorpusTask, make_corpus
from engines.vectors.engine import VectorIndex, Vectors
from engines.vectors.matrix import nearest, open_matrix
from engines.vectors.recommend import recommend
from state.buckets import Buckets
from state.catalog.fold import ObjectState
from state.catalog.indexes import Build, Corpus, IndexRecord, ServingManifest
from state.places import BucketConfig
from state.reader import ObjectReader

SEED = 7
K = 10
COPIES = 7
SHARES = (0.001, 0.01, 0.1, 0.5, 0.9)
CACHE = corpora.CACHE / "search"
TARGET = BucketConfig("bench", "local", str(CACHE / "lake"))


@dataclass(frozen=True)
class World:
    """A build over the texts, open; and what making it took, unless it was in the cache."""

    corpus: Corpus
    build: Build
    index: VectorIndex
    table: ChunkTable
    paths: Mapping[str, Path]
    load_seconds: float
    made: Mapping[str, float]


def make_world(texts: Sequence[str], parameters: Mapping[str, Any], search: Mapping[str, Any]) -> World:
    """Embed and build, or take both from the cache."""
    CACHE.mkdir(parents=True, exist_ok=True)
    made: dict[str, float] = {}
    corpus = make_corpus_of(texts, made)
    path = Path(TARGET.root or "", corpus.ref.key)
    task = BuildTask(corpus, str(path), None, "hnsw", parameters, TARGET, "builds")
    build = _cached(f"build-{task.digest}", Build, lambda: builds.run(task, lambda done, total: None), made)
    paths = {role: Path(TARGET.root or "", ref.key) for role, ref in build.files.items()}
    started = time.perf_counter()
    index, table = open_build(build, paths, search)
    return World(corpus, build, index, table, paths, time.perf_counter() - started, made)


def make_corpus_of(texts: Sequence[str], made: dict[str, float] | None = None) -> Corpus:
    """Embedded, or from the cache. made: takes what it took."""
    CACHE.mkdir(parents=True, exist_ok=True)
    found: Corpus = _cached(f"corpus-{len(texts)}", Corpus, lambda: _make_corpus(texts), {} if made is None else made)
    return found


def _make_corpus(texts: Sequence[str]) -> Corpus:
    size = len(texts)
    task = CorpusTask("docs", "docs", {}, f"{size}", 1, size, ("text",), Chunking(), "builtin", TARGET, "c", str(CACHE / "work"))
    rows = pa.table({"key": [f"[{at}]" for at in range(size)], "text": list(texts)}).to_batches(max_chunksize=8192)
    return make_corpus(task, rows, lambda done, total: None)


def _cached(name: str, record: Any, make: Callable[[], Any], made: dict[str, float]) -> Any:
    file = CACHE / f"{name}.json"
    if file.exists():
        return record.from_dict(json.loads(file.read_text()))
    with Stopwatch() as watch:
        result = make()
    kind = name.partition("-")[0]
    made[f"{kind}_seconds"], made[f"{kind}_cpu_seconds"] = round(watch.wall, 2), round(watch.cpu, 2)
    file.write_text(json.dumps(result.to_dict()))
    return result


def in_turns(questions: Sequence[Any], rounds: int, *asked: Callable[[Any], object]) -> list[dict[str, float]]:
    """Every function on every question, in turns whose order alternates; microseconds at p50 and p99 of each."""
    times: list[list[float]] = [[] for _ in asked]
    for round_ in range(rounds):
        for number, question in enumerate(questions):
            order = range(len(asked)) if (round_ + number) % 2 else reversed(range(len(asked)))
            for at in order:
                started = time.perf_counter()
                asked[at](question)
                times[at].append((time.perf_counter() - started) * 1e6)
    return [_percentiles(found) for found in times]


def _percentiles(microseconds: Sequence[float]) -> dict[str, float]:
    return {"p50_us": round(float(np.percentile(microseconds, 50)), 2), "p99_us": round(float(np.percentile(microseconds, 99)), 2)}


def measure_engine(world: World, queries: Vectors, search: Mapping[str, Any]) -> dict[str, Any]:
    """The engine's call beside bare knn_query, each over a copy of the same graph.

    Where a copy comes to lie in memory moves its times by several percent, so both are opened anew a few times; the ratio is their median.
    """
    pairs = [_one_pair(world, queries, search, bare_first=number % 2 == 1) for number in range(COPIES)]
    ratios = sorted(ours["p50_us"] / library["p50_us"] for ours, library in pairs)
    ours, library = pairs[-1]
    spread = [round(ratio, 4) for ratio in ratios]
    return {"ours": ours, "bare_hnswlib": library, "ratio": spread[COPIES // 2], "ratios": spread}


def _one_pair(world: World, queries: Vectors, search: Mapping[str, Any], *, bare_first: bool) -> list[dict[str, float]]:
    early = bare_graph(world, search) if bare_first else None  # whichever is loaded first may lie better
    index, _ = open_build(world.build, world.paths, search)
    bare = early or bare_graph(world, search)
    return in_turns(queries, 4, lambda query: index.search(query, K), lambda query: bare.knn_query(query, K, 1))


def bare_graph(world: World, search: Mapping[str, Any]) -> hnswlib.Index:
    """hnswlib itself over the world's graph."""
    index = hnswlib.Index(space="ip", dim=world.index.dimension)
    index.load_index(str(world.paths["graph"]))
    index.set_ef(search["efSearch"])
    return index


def measure_quality(world: World, queries: Vectors, search: Mapping[str, Any]) -> dict[str, Any]:
    """recall@10 against exact search: of the recipe, by efSearch, and behind random filters; and what exact search costs."""
    matrix = open_matrix(world.paths["vectors"], world.build.count, world.build.dimension)
    truth = [set(nearest(matrix, query, K)[0].tolist()) for query in queries]
    by_ef = {}
    for ef in sorted({30, 64, 100, 160, search["efSearch"]}):
        world.index.tune({"efSearch": ef})
        by_ef[ef] = round(recall(truth, [world.index.search(query, K)[0].tolist() for query in queries]), 4)
    world.index.tune(search)
    filtered = {}
    for share in SHARES:
        allowed = np.random.default_rng(SEED).random(world.build.count) < share
        exact = [set(nearest(matrix, query, K, allowed)[0].tolist()) for query in queries[:200]]
        found = [world.index.search(query, K, allowed)[0].tolist() for query in queries[:200]]
        (times,) = in_turns(queries[:200], 1, lambda query, allowed=allowed: world.index.search(query, K, allowed))
        filtered[share] = {"recall_at_10": round(recall(exact, found), 4), **times}
    (flat,) = in_turns(queries[:100], 1, lambda query: nearest(matrix, query, K))
    return {"recall_at_10": by_ef[search["efSearch"]], "recall_by_ef_search": by_ef, "filtered": filtered, "flat": flat}


def recall(truth: Sequence[set[int]], found: Sequence[list[int]]) -> float:
    """The mean share of each truth that was found."""
    return float(np.mean([len(right & set(ids)) / len(right) for right, ids in zip(truth, found, strict=True) if right]))


def measure_service(world: World, texts: Sequence[str], search: Mapping[str, Any]) -> dict[str, Any]:
    """The service, on the loop and through a thread, beside bare embedding + bare knn_query."""
    bare = bare_graph(world, search)
    wordllama = bare_embedder()
    ours = open_embedder()
    names = ("service", "service_by_thread", "bare_sum", "bare_wordllama", "bare_hnswlib", "builtin_embedder")
    times: dict[str, list[float]] = {name: [] for name in names}

    def timed(name: str, started: float) -> None:
        times[name].append((time.perf_counter() - started) * 1e6)

    async def run() -> None:
        service = _service(world, search)
        for text in texts * 5:
            request = SearchRequest("docs", text, k=K)
            for name, short in (("service", service_module.SHORT_TEXT), ("service_by_thread", -1)):
                kept, service_module.SHORT_TEXT = service_module.SHORT_TEXT, short
                started = time.perf_counter()
                await service.search(request)
                timed(name, started)
                service_module.SHORT_TEXT = kept
            started = time.perf_counter()
            vector = wordllama.embed([text], norm=True)
            timed("bare_wordllama", started)
            embedded = time.perf_counter()
            bare.knn_query(vector, K, 1)
            timed("bare_hnswlib", embedded)
            timed("bare_sum", started)
            started = time.perf_counter()
            ours.embed([text])
            timed("builtin_embedder", started)
        service.close()

    asyncio.run(run())
    found: dict[str, Any] = {name: _percentiles(values[len(texts) :]) for name, values in times.items()}
    found["service_over_bare_sum_us"] = round(found["service"]["p50_us"] - found["bare_sum"]["p50_us"], 2)
    parts = found["builtin_embedder"]["p50_us"] + found["bare_hnswlib"]["p50_us"]
    found["service_over_its_parts_us"] = round(found["service"]["p50_us"] - parts, 2)
    return found


def _service(world: World, search: Mapping[str, Any]) -> SearchService:
    buckets = Buckets()
    buckets.attach(TARGET)
    manifest = ServingManifest(world.build.digest, None, search)
    record = IndexRecord("docs", {world.corpus.digest: world.corpus}, {world.build.digest: world.build}, manifest)

    class Catalog:
        def index(self, name: str) -> IndexRecord:
            return record

        def table(self, name: str) -> None:
            return None

        def objects(self, kind: str) -> Mapping[str, ObjectState]:
            return {}

    class Filters:
        async def keys(self, dataset: str, filter_sql: str, reader: object, moment: object = None) -> pa.Array:
            return pa.array([], pa.string())

    return SearchService(Catalog(), ObjectReader(buckets, CACHE, 0), Filters())


def bare_embedder() -> Any:
    """wordllama itself, without its download and without its way with the root logger."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    import wordllama

    root.handlers[:] = handlers
    root.setLevel(level)
    return wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)


def measure_embedding(texts: Sequence[str]) -> dict[str, float]:
    """Texts a CPU second in a batch, ours beside wordllama's."""
    rates = {}
    wordllama = bare_embedder()
    for name, embed in (("wordllama", lambda: wordllama.embed(list(texts), norm=True)), ("ours", lambda: open_embedder().embed(texts))):
        embed()
        with Stopwatch() as watch:
            embed()
        rates[f"{name}_texts_per_cpu_second"] = round(len(texts) / watch.cpu)
    return rates


def main() -> None:
    """Measure, and write bench/results/search.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--m", type=int)
    parser.add_argument("--ef-construction", type=int)
    parser.add_argument("--ef-search", type=int)
    options = parser.parse_args()
    texts = documentation()
    held_out = texts[options.chunks : options.chunks + options.queries]
    recipe = recommend(options.chunks)
    given = {"m": options.m, "efConstruction": options.ef_construction}
    recipe = replace(
        recipe,
        build={**recipe.build, **{name: value for name, value in given.items() if value is not None}},
        search={**recipe.search, **({} if options.ef_search is None else {"efSearch": options.ef_search})},
    )
    world = make_world(texts[: options.chunks], recipe.build, recipe.search)
    queries = open_embedder().embed(held_out)
    results = {
        "chunks": world.build.count,
        "dimension": world.build.dimension,
        "recipe": {"engine": recipe.engine, **recipe.build, **recipe.search},
        **world.made,
        "load_seconds": round(world.load_seconds, 3),
        "engine": measure_engine(world, queries, recipe.search),
        "quality": measure_quality(world, queries, recipe.search),
        "service": measure_service(world, held_out, recipe.search),
        "embedding": measure_embedding(texts[:20_000]),
    }
    aside = results["service"]["service_over_its_parts_us"] / 1000
    bars = (
        Bar("search, recall@10", "", results["quality"]["recall_at_10"], 0.97, at_least=True),
        Bar("search engine's call over bare hnswlib, p50", "x", results["engine"]["ratio"], 1.05),
        Bar("search through the service, over our embedding + hnswlib, p50", "ms", aside, 0.3, scale="loop_cpu_seconds"),
    )
    write("search", results, bars=bars, seed=SEED, data=f"{world.build.count} chunks of botocore's documentation strings", threads=1)


if __name__ == "__main__":
    main()
