"""Embedding as a job: its rate beside the bare library's, and how soon rows that came or changed are found.

    python -m bench.embedding [--texts 100000] [--queries 300] [--append 1000]

The texts are those of `search.py`. First wordllama embeds them in one call, and the job makes a corpus of them: rows read, cut, embedded,
kept in checkpoints and written as Parquet; by CPU seconds, since wordllama may use more threads. Then a daemon serves an hnsw index of
them: 1 000 rows are appended, then 1 % of the rows get another text, and each time is from the file's arrival until a search over HTTP
gives one of them. Recall@10 is by queries that are in no row, before and after, against exact answers over all texts as they are then.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.bars import Bar
from bench.daemon_process import DaemonProcess
from bench.report import Stopwatch, write
from bench.repository import BUCKET, HEAD, Repository, dataset
from bench.search import SEED, K, bare_embedder, documentation
from engines.embedding.chunking import Chunking
from engines.embedding.registry import open_embedder
from engines.vectors.corpus import CorpusTask, make_corpus
from engines.vectors.recommend import recommend
from state.catalog.catalog import Catalog
from state.local_store import LocalStore
from state.places import BucketConfig

ROUNDS = 3


def rates(texts: Sequence[str], folder: Path) -> dict[str, float]:
    """Texts a CPU second of the library, of our embedder and of the job, and the job's seconds: the best of ROUNDS, in turns."""
    wordllama, ours = bare_embedder(), open_embedder()
    table = pa.table({"key": [f"[{at}]" for at in range(len(texts))], "text": list(texts)}).to_batches(max_chunksize=8192)

    def job() -> None:
        work = Path(tempfile.mkdtemp(dir=folder))
        target = BucketConfig("bench", "local", str(work / "lake"))
        task = CorpusTask("docs", "docs", {}, "s", 1, len(texts), ("text",), Chunking(), "builtin", target, "c", str(work / "work"))
        make_corpus(task, table, lambda done, total: None)

    ways = {"wordllama": lambda: wordllama.embed(list(texts), norm=True), "embedder": lambda: ours.embed(texts), "job": job}
    found: dict[str, list[Stopwatch]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            with Stopwatch() as watch:
                way()
            found[name].append(watch)
    told = {f"{name}_texts_per_cpu_second": round(len(texts) / min(watch.cpu for watch in all_)) for name, all_ in found.items()}
    return told | {"job_seconds": round(min(watch.wall for watch in found["job"]), 3)}


class Lake:
    """A repository with texts and a graph over them, followed by a daemon."""

    def __init__(self, folder: Path, texts: Sequence[str]) -> None:
        self.texts = dict(enumerate(texts))
        self._made = Repository(folder)
        self._made.data("data/README", "made by the benchmark\n")
        self.write("first", self.texts)
        recipe = recommend(max(len(texts), 50_000))
        words = ", ".join(f"{name}: {value}" for name, value in {**recipe.build, **recipe.search}.items())
        generation = f"{HEAD}kind: IndexGeneration\nmetadata: {{name: docs-g1}}\nspec: {{index: docs, hnsw: {{{words}}}}}\n"
        index = f"{HEAD}kind: Index\nmetadata: {{name: docs}}\nspec: {{dataset: texts, text: [text]}}\n"
        rows = dataset("texts", '"data/texts/*.parquet"', "Texts", ", primaryKey: [id], write: upsert")
        specs = {"primary": BUCKET, "texts": rows, "docs": index, "docs-g1": generation}
        self._made.start([("README.md", "# Bench\n"), *((f"specs/{name}.yaml", text) for name, text in specs.items())])
        self.folder = folder

    def write(self, name: str, texts: Mapping[int, str]) -> float:
        """A file of rows, moved to its place; the instant at which it was there."""
        place = self._made.folder / "data" / "texts" / f"{name}.parquet"
        place.parent.mkdir(parents=True, exist_ok=True)
        aside = self._made.folder / f".{name}.part"
        pq.write_table(pa.table({"id": list(texts), "text": list(texts.values())}), aside)
        aside.rename(place)
        self.texts |= texts
        return time.perf_counter()

    def build(self) -> str:
        """What serves, by digest."""
        record = Catalog.open(LocalStore(self.folder / "lake")).index("docs")
        assert record is not None
        assert record.serving is not None
        return record.serving.build

    def recall(self, daemon: DaemonProcess, queries: Sequence[str]) -> float:
        """Share of the K exact best that are found; one as near as the last of them counts."""
        model = open_embedder()
        held = model.embed(list(self.texts.values()))
        shares = []
        for query in queries:
            vector = model.embed([query])[0]
            exact = held @ vector
            least = np.partition(exact, -K)[-K] - 1e-6
            hits = daemon.connection.post("/search", {"index": "docs", "text": query, "k": K})["hits"]
            shares.append(sum(hit["score"] >= least for hit in hits) / K)
        return round(float(np.mean(shares)), 4)


def until_found(daemon: DaemonProcess, text: str, since: float) -> float:
    """Seconds until a search for a text gives it."""

    def there() -> bool:
        hits = daemon.connection.post("/search", {"index": "docs", "text": text, "k": 1})["hits"]
        return bool(hits and hits[0]["text"] == text)

    daemon.until(there, 600, every=0.01)
    return round(time.perf_counter() - since, 3)


def served(lake: Lake, more: Sequence[str], queries: Sequence[str]) -> dict[str, Any]:
    """What an append and a change take, and what becomes of recall and of the build."""
    count = len(lake.texts)
    with DaemonProcess(lake.folder) as daemon:
        ready = daemon.until_ready(3_600)
        before = lake.recall(daemon, queries), lake.build()
        came = {count + at: text for at, text in enumerate(more)}
        appended = until_found(daemon, came[count], lake.write("came", came))
        changed = {at: f"Changed in part. {lake.texts[at]}" for at in range(0, count, 100)}
        changing = until_found(daemon, changed[0], lake.write("changed", changed))
        after = lake.recall(daemon, queries), lake.build()
        cache = daemon.connection.get("/hnsw/cache/stats")["texts"]
    return {
        "from_nothing_to_ready_seconds": round(ready, 2),
        "append_rows": len(came),
        "append_seconds": appended,
        "changed_rows": len(changed),
        "change_seconds": changing,
        "recall_at_10_before": before[0],
        "recall_at_10_after": after[0],
        "rebuilt": before[1] != after[1],
        "cache": cache,
    }


def main() -> None:
    """Measure, and write bench/results/embedding.json. Raises RuntimeError where an append made a build."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--append", type=int, default=1_000)
    options = parser.parse_args()
    texts = documentation()
    rows, rest = texts[: options.texts], texts[options.texts :]
    queries, more = rest[: options.queries], rest[options.queries :][: options.append]
    if len(more) < options.append:
        parser.error(f"there are {len(texts)} texts: at most {len(texts) - options.queries - options.append} leave enough to append")
    with tempfile.TemporaryDirectory(prefix="lakehouse-bench-") as folder:
        rate = rates(rows, Path(folder))
        lake = served(Lake(Path(folder, "repository"), rows), more, queries)
    if lake["rebuilt"]:
        raise RuntimeError("the index was built anew, where its tail should have told of the change")
    ratio = rate["job_texts_per_cpu_second"] / rate["wordllama_texts_per_cpu_second"]
    most = 1 + 0.01 * rate["job_seconds"]
    lost = lake["recall_at_10_before"] - lake["recall_at_10_after"]
    bars = (
        Bar("embedding as a job, over the bare library's rate", "x", ratio, 0.9, at_least=True),
        Bar(f"append of {len(more):,} rows to {len(rows):,}, until found", "s", lake["append_seconds"], 2, None, "loop_cpu_seconds"),
        Bar("1 % of the texts changed, until found", "s", lake["change_seconds"], round(most, 3), None, "loop_cpu_seconds"),
        Bar("recall@10 lost by rows that came and changed", "", lost, 0.005),
    )
    write("embedding", {"rate": rate, "served": lake}, bars=bars, seed=SEED, data=f"{len(rows)} of botocore's documentation strings")


if __name__ == "__main__":
    main()
