"""Answers over HTTP: what they take over the bare libraries, and what becomes of them while an index is built.

    python -m bench.serving [--texts 100000] [--questions 400] [--idle-seconds 40]

One daemon over a repository with 100 000 real texts (`bench/search.py` says which), an hnsw index of them, and a small table. First each
answer takes turns with the bare calls: /search with wordllama's own embedding, hnswlib's knn_query over a second copy of the same graph
and a bare aiohttp route that sends the same bytes; /query with the same statement in DataFusion over the same Parquet file. Then 40
requests a second, half of each sort, are sent to the idle daemon, and again while a commit has it build a second generation of the index.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datafusion
import hnswlib
import pyarrow as pa
import pyarrow.parquet as pq

from bench.bars import Bar
from bench.corpora import documentation
from bench.daemon_process import ROOT, Connection, DaemonProcess
from bench.percentiles import milliseconds
from bench.report import write
from bench.repository import BUCKET, HEAD, Repository, dataset
from bench.search import SEED, K, bare_embedder
from engines.vectors.recommend import recommend
from state.catalog.catalog import Catalog
from state.catalog.indexes import Build
from state.local_store import LocalStore

QUERY = "SELECT city, count(*) AS orders, sum(amount) AS total FROM orders WHERE amount > 10 GROUP BY city ORDER BY city"
_ROWS = 20_000
_EVERY = 0.025


def repository(folder: Path, texts: Sequence[str]) -> Repository:
    """Texts with an index that serves its first generation, and a small table."""
    made = Repository(folder)
    made.data("data/README", "made by the benchmark\n")
    pq.write_table(pa.table({"id": range(len(texts)), "text": list(texts)}), folder / "data" / "texts.parquet")
    rng = random.Random(SEED)
    made.data("data/orders.csv", "id,city,amount\n" + "".join(f"{n},city {n % 40},{rng.random() * 100:.2f}\n" for n in range(_ROWS)))
    index = "dataset: texts, text: [text], embed: {model: builtin}, serve: {generation: docs-g1}"
    made.start(
        [
            ("README.md", "# Bench\n"),
            ("specs/primary.yaml", BUCKET),
            ("specs/texts.yaml", dataset("texts", "data/texts.parquet", "Texts", ", primaryKey: [id]")),
            ("specs/orders.yaml", dataset("orders", "data/orders.csv", "Orders")),
            ("specs/docs.yaml", f"{HEAD}kind: Index\nmetadata: {{name: docs}}\nspec: {{{index}}}\n"),
            ("specs/docs-g1.yaml", generation("docs-g1", len(texts), 100)),
        ]
    )
    return made


def generation(name: str, chunks: int, seed: int) -> str:
    """The recommended recipe for so many chunks, as hnsw."""
    recipe = recommend(max(chunks, 50_000))
    words = ", ".join(f"{key}: {value}" for key, value in {**recipe.build, **recipe.search, "seed": seed}.items())
    return f"{HEAD}kind: IndexGeneration\nmetadata: {{name: {name}}}\nspec: {{index: docs, hnsw: {{{words}}}}}\n"


class Bare:
    """The libraries on what the daemon made."""

    def __init__(self, folder: Path) -> None:
        catalog = Catalog.open(LocalStore(folder / "lake"))
        record, table = catalog.index("docs"), catalog.table("orders")
        assert record is not None
        assert table is not None
        build: Build = next(iter(record.builds.values()))
        self._graph = hnswlib.Index(space="ip", dim=build.dimension)
        self._graph.load_index(str(folder / "lake" / build.files["graph"].key))
        self._graph.set_ef(recommend(max(build.count, 50_000)).search["efSearch"])
        self._embedder = bare_embedder()
        self._session = datafusion.SessionContext()
        self._session.register_parquet("orders", str(folder / "lake" / table.files[0].key))
        self.count = build.count

    def embed(self, text: str) -> Any:
        """The text's vector."""
        return self._embedder.embed([text], norm=True)

    def search(self, vector: Any) -> Any:
        """Ids and distances."""
        return self._graph.knn_query(vector, K, 1)

    def query(self) -> pa.Table:
        """The statement of `QUERY`, in a session that knows the table already."""
        return self._session.sql(QUERY).to_arrow_table()


@contextmanager
def bare_route(folder: Path, answers: dict[str, str]) -> Iterator[Connection]:
    """A connection to a bare server that sends these answers."""
    path = folder / "answers.json"
    path.write_text(json.dumps(answers))
    process = subprocess.Popen((sys.executable, "-m", "bench.bare_route", str(path)), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Connection(f"http://127.0.0.1:{int(process.stdout.readline())}")
    finally:
        process.terminate()
        process.wait()


def timed(taken: list[float], work: Callable[[], Any]) -> Any:
    """The work's result; its seconds are added to `taken`."""
    began = time.perf_counter()
    result = work()
    taken.append(time.perf_counter() - began)
    return result


def over_http(daemon: DaemonProcess, bare: Bare, folder: Path, questions: Sequence[str]) -> dict[str, Any]:
    """Milliseconds of our answers and of the bare calls, taken in turns."""
    bodies = [json.dumps({"index": "docs", "text": text, "k": K}) for text in questions]
    statement = json.dumps({"sql": QUERY})
    answers = {body: answer(daemon.connection, "/search", body) for body in bodies}
    answers[statement] = answer(daemon.connection, "/query", statement)
    names = (
        "search",
        "search_bare_embedding",
        "search_bare_hnswlib",
        "search_bare_route",
        "query",
        "query_bare_datafusion",
        "query_bare_route",
    )
    taken: dict[str, list[float]] = {name: [] for name in names}
    with bare_route(folder, answers) as route:
        for round_ in range(3):
            for text, body in zip(questions, bodies, strict=True):
                timed(taken["search"], lambda body=body: answer(daemon.connection, "/search", body))
                vector = timed(taken["search_bare_embedding"], lambda text=text: bare.embed(text))
                timed(taken["search_bare_hnswlib"], lambda vector=vector: bare.search(vector))
                timed(taken["search_bare_route"], lambda body=body: answer(route, "/search", body))
                timed(taken["query"], lambda: answer(daemon.connection, "/query", statement))
                timed(taken["query_bare_datafusion"], bare.query)
                timed(taken["query_bare_route"], lambda: answer(route, "/query", statement))
            if round_ == 0:
                taken = {name: [] for name in taken}
        route.close()
    found: dict[str, Any] = {name: milliseconds(seconds) for name, seconds in taken.items()}
    floor = sum(found[name]["p50_ms"] for name in names if name.startswith("search_bare"))
    found["search_over_bare_sum_ms"] = round(found["search"]["p50_ms"] - floor, 3)
    found["query_over_bare_ms"] = round(found["query"]["p50_ms"] - found["query_bare_datafusion"]["p50_ms"], 3)
    return found


def answer(connection: Connection, path: str, body: str) -> str:
    """What a request is answered with. Raises RuntimeError on any problem."""
    status, content = connection.ask("POST", path, body.encode())
    if status != 200:
        raise RuntimeError(f"{path}: {status}: {content[:300].decode()}")
    return content.decode()


class Load:
    """Forty requests a second, a search and a query in turns.

    Seconds count from when a request is sent; where the answer before came late, from when it was due: others would have waited.
    """

    def __init__(self, connection: Connection, questions: Sequence[str]) -> None:
        self._connection = connection
        self._bodies = [json.dumps({"index": "docs", "text": text, "k": K}) for text in questions]

    def run(self, going: Callable[[], bool]) -> dict[str, list[float]]:
        """Seconds by route, for as long as `going` says so; it is asked once a second."""
        taken: dict[str, list[float]] = {"/search": [], "/query": []}
        due, number, look = time.perf_counter(), 0, 0.0
        while True:
            if due - look >= 1:
                look = due
                if not going():
                    return taken
            late = time.perf_counter() > due
            time.sleep(max(0.0, due - time.perf_counter()))
            began = due if late else time.perf_counter()
            path = "/query" if number % 2 else "/search"
            body = json.dumps({"sql": QUERY}) if number % 2 else self._bodies[number // 2 % len(self._bodies)]
            answer(self._connection, path, body)
            taken[path].append(time.perf_counter() - began)
            number += 1
            due = max(due + _EVERY, time.perf_counter() - _EVERY)


def under_build(daemon: DaemonProcess, made: Repository, chunks: int, questions: Sequence[str], seconds: float) -> dict[str, Any]:
    """Latencies idle, and while a second generation is built; what the build took."""
    load = Load(daemon.connection, questions)
    watching = Connection(daemon.url)

    def for_seconds() -> Callable[[], bool]:
        until = time.perf_counter() + seconds
        return lambda: time.perf_counter() < until

    def state() -> dict[str, Any]:
        rows = watching.get("/status?kind=IndexGeneration&name=docs-g2")["objects"]
        return rows[0] if rows else {"reason": "", "ready": "False"}

    idle = load.run(for_seconds())
    made.commit({"specs/docs-g2.yaml": generation("docs-g2", chunks, 101)})
    daemon.until(lambda: state()["reason"] == "Building" or state()["ready"] == "True", 60)
    began = time.perf_counter()
    building = load.run(lambda: state()["ready"] != "True")
    took = time.perf_counter() - began
    after = load.run(for_seconds())
    watching.close()
    found: dict[str, Any] = {"build_seconds": round(took, 2)}
    for path in idle:
        both = milliseconds(idle[path] + after[path])
        found[path] = {"idle": milliseconds(idle[path]), "idle_after": milliseconds(after[path]), "building": milliseconds(building[path])}
        for quantile in ("p50_ms", "p99_ms"):
            found[path][f"{quantile[:3]}_ratio"] = round(found[path]["building"][quantile] / both[quantile], 3)
    return found


def main() -> None:
    """Measure, and write bench/results/serving.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--questions", type=int, default=400)
    parser.add_argument("--idle-seconds", type=float, default=40)
    options = parser.parse_args()
    texts = documentation()
    questions = texts[options.texts : options.texts + options.questions]
    with tempfile.TemporaryDirectory(prefix="lakehouse-bench-") as folder:
        made = repository(Path(folder, "repository"), texts[: options.texts])
        with DaemonProcess(made.folder) as daemon:
            ready = daemon.until_ready(1_800)
            bare = Bare(made.folder)
            http = over_http(daemon, bare, Path(folder), questions)
            built = under_build(daemon, made, bare.count, questions, options.idle_seconds)
    figures = {"chunks": bare.count, "from_nothing_to_serving_seconds": round(ready, 1), "http": http, "under_build": built}
    bars = (
        Bar("/search over HTTP, over hnswlib + embedding + route, p50", "ms", http["search_over_bare_sum_ms"], 1, None, "loop_cpu_seconds"),
        Bar("/query over HTTP, over bare DataFusion, p50", "ms", http["query_over_bare_ms"], 4, 2.5, "loop_cpu_seconds"),
        *(Bar(f"{path} p99 while an index builds, over idle", "x", built[path]["p99_ratio"], 2) for path in ("/query", "/search")),
    )
    write("serving", figures, bars=bars, seed=SEED, data=f"{bare.count} chunks of botocore's documentation strings; {_ROWS} rows of orders")


if __name__ == "__main__":
    main()
