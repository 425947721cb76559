"""A million vectors of 256 numbers: build, load, search at a recall of 0.95, and memory, beside hnswlib itself, faiss and usearch.

    python -m bench.million [--vectors 1000000] [--queries 500]

The vectors and the queries are those of `bench.corpora`. Every library gets the same float32 matrix, mapped from a file, the same links and
breadth of construction, and all cores; a process of its own builds, and another one loads and searches, so that the most memory that each
ever holds is its own (VmHWM, pages of mapped files among it; RssAnon beside). Breadth of search is the least of a few that reaches the
recall, for each by itself; then queries are timed one after the other, in one thread. Peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from bench.bars import Bar
from bench.corpora import matrix_file, vectors
from bench.daemon_process import ROOT
from bench.report import Stopwatch, peak_rss_mib, write
from bench.search import SEED, K, recall
from bench.swap import anonymous_mib
from engines.vectors.engine import Parts, Vectors
from engines.vectors.matrix import open_matrix
from engines.vectors.nearest_many import nearest_many
from engines.vectors.registry import open_engine

M, EF_CONSTRUCTION = 32, 160
EFS = (40, 64, 100, 160, 240, 400)
RECALL = 0.95
DIMENSION = 256
LIBRARIES = {
    "ours": "hnswlib",
    "ours_int8": "numkong",
    "ours_lance": "lancedb",
    "hnswlib": "hnswlib",
    "faiss": "faiss",
    "usearch": "usearch",
}

Search = Callable[[Vectors], Sequence[int]]


def make(folder: Path, count: int, queries: int) -> str:
    """The queries and the exact answers, as files; gives what the vectors are of."""
    real = vectors(count)
    asked = real.queries[:queries]
    np.save(folder / "queries.npy", asked)
    np.save(folder / "truth.npy", nearest_many(real.vectors, asked, K)[0])
    return real.data


def build(library: str, folder: Path, count: int) -> dict[str, Any]:
    """Seconds, and memory of this process."""
    matrix = open_matrix(matrix_file(count), count, DIMENSION)
    before = anonymous_mib(os.getpid())
    with Stopwatch() as watch:
        _build(library, folder, matrix)
    return {
        "build_seconds": round(watch.wall, 2),
        "build_cpu_seconds": round(watch.cpu, 2),
        "build_peak_mib": peak_rss_mib(),
        "build_anonymous_mib": round(anonymous_mib(os.getpid()) - before, 1),
    }


def _build(library: str, folder: Path, matrix: Vectors) -> None:
    match library:
        case "ours" | "ours_int8" | "ours_lance":
            engine, parameters = _recipe(library)
            own = folder / library
            own.mkdir()
            numbers = iter(range(1_000_000))

            def stage() -> Path:
                path = own / str(next(numbers))
                path.touch()
                return path

            files = open_engine(engine).build(matrix, parameters, stage, threads=os.cpu_count() or 1, progress=lambda done, total: None)
            (folder / f"{library}.json").write_text(json.dumps({role: str(path) for role, path in files.items()}))
        case "hnswlib":
            import hnswlib

            graph = hnswlib.Index(space="ip", dim=DIMENSION)
            graph.init_index(max_elements=len(matrix), M=M, ef_construction=EF_CONSTRUCTION)
            graph.add_items(matrix, np.arange(len(matrix)))
            graph.save_index(str(folder / library))
        case "faiss":
            import faiss

            index = faiss.IndexHNSWFlat(DIMENSION, M, faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = EF_CONSTRUCTION
            index.add(np.asarray(matrix))
            faiss.write_index(index, str(folder / library))
        case _:
            from usearch.index import Index

            made = Index(ndim=DIMENSION, metric="ip", dtype="f32", connectivity=M, expansion_add=EF_CONSTRUCTION)
            made.add(np.arange(len(matrix)), np.asarray(matrix))
            made.save(str(folder / library))


def _recipe(library: str) -> tuple[str, dict[str, Any]]:
    match library:
        case "ours":
            return "hnsw", dict(open_engine("hnsw").recipe({"m": M, "efConstruction": EF_CONSTRUCTION}).build)
        case "ours_int8":
            return "flat", {"precision": "int8"}
        case _:
            return "lance", dict(open_engine("lance").recipe({"type": "IVF_RQ"}).build)


def search(library: str, folder: Path, count: int) -> dict[str, Any]:
    """Seconds to load, the least breadth that reaches the recall, microseconds of a query, and memory of this process."""
    queries, truth = np.load(folder / "queries.npy"), [set(ids.tolist()) for ids in np.load(folder / "truth.npy")]
    import_module(LIBRARIES[library])
    before = anonymous_mib(os.getpid())
    started = time.perf_counter()
    ways = _load(library, folder, count)
    breadth, first = next(ways)
    first(queries[0])
    load = time.perf_counter() - started
    reached = _reached(ways, breadth, first, queries, truth)
    found = _timed(reached["search"], queries)
    return {
        "load_seconds": round(load, 3),
        "breadth": reached["breadth"],
        "recall_at_10": reached["recall"],
        **found,
        "search_peak_mib": peak_rss_mib(),
        "search_anonymous_mib": round(anonymous_mib(os.getpid()) - before, 1),
    }


def _reached(ways: Iterator[tuple[int, Search]], breadth: int, way: Search, queries: Vectors, truth: Sequence[set[int]]) -> dict[str, Any]:
    while True:
        reached = round(recall(truth, [list(way(query)) for query in queries]), 4)
        following = next(ways, None)
        if reached >= RECALL or following is None:
            return {"breadth": breadth, "recall": reached, "search": way}
        breadth, way = following


def _timed(way: Search, queries: Vectors) -> dict[str, float]:
    taken = []
    for query in queries:
        started = time.perf_counter()
        way(query)
        taken.append((time.perf_counter() - started) * 1e6)
    return {f"p{share}_us": round(float(np.percentile(taken, share)), 1) for share in (50, 95, 99)}


def _load(library: str, folder: Path, count: int) -> Iterator[tuple[int, Search]]:
    """Ways to search, by breadth. Loads before the first."""
    match library:
        case "ours" | "ours_int8" | "ours_lance":
            files = {role: Path(path) for role, path in json.loads((folder / f"{library}.json").read_text()).items()}
            engine = open_engine(_recipe(library)[0])
            index = engine.open(Parts(matrix_file(count), count, DIMENSION, files))
            for breadth in EFS if library != "ours_int8" else (0,):
                index.tune({"ours": {"efSearch": breadth}, "ours_int8": {}, "ours_lance": {"nprobes": breadth}}[library])
                yield breadth, lambda query: index.search(query, K)[0].tolist()
        case "hnswlib":
            import hnswlib

            graph = hnswlib.Index(space="ip", dim=DIMENSION)
            graph.load_index(str(folder / library))
            for breadth in EFS:
                graph.set_ef(breadth)
                yield breadth, lambda query: graph.knn_query(query, K, 1)[0][0].tolist()
        case "faiss":
            import faiss

            faiss.omp_set_num_threads(1)
            read = faiss.read_index(str(folder / library))
            for breadth in EFS:
                read.hnsw.efSearch = breadth
                yield breadth, lambda query: read.search(query[None], K)[1][0].tolist()
        case _:
            from usearch.index import Index

            restored = Index.restore(str(folder / library))
            assert restored is not None
            for breadth in EFS:
                restored.expansion_search = breadth
                yield breadth, lambda query: restored.search(query, K, threads=1).keys.tolist()


def main() -> None:
    """Measure, and write bench/results/million.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        step, library, place = options.child
        print(json.dumps({"build": build, "search": search}[step](library, Path(place), options.vectors)))
        return
    figures: dict[str, Any] = {"vectors": options.vectors, "dimension": DIMENSION, "m": M, "efConstruction": EF_CONSTRUCTION}
    folder = Path(tempfile.mkdtemp(prefix="lakehouse-million-"))
    try:
        with Stopwatch() as watch:
            data = make(folder, options.vectors, options.queries)
        figures["embedding_and_truth_seconds"] = round(watch.wall, 1)
        for library in [name for name, module in LIBRARIES.items() if find_spec(module) is not None]:
            figures[library] = {**_child("build", library, folder, options.vectors), **_child("search", library, folder, options.vectors)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    ours = figures["ours"]
    most = max(ours["build_peak_mib"], ours["search_peak_mib"]) / 1024
    bars = (
        Bar("1M x 256, hnsw: the most memory of build and of search", "GiB", most, 6),
        Bar("1M x 256, hnsw: recall@10", "", ours["recall_at_10"], RECALL, at_least=True),
    )
    write("million", figures, bars=bars, seed=SEED, data=data)


def _child(step: str, library: str, folder: Path, count: int) -> dict[str, Any]:
    command = (sys.executable, "-m", "bench.million", "--vectors", str(count), "--child", step, library, str(folder))
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return dict(json.loads(output.splitlines()[-1]))


if __name__ == "__main__":
    main()
