"""What words add to vectors: each text's first sentence asks for the rest of it, which is indexed; and what a search then takes.

A query and its answer share no sentence, only a subject (the inverse cloze task, Lee et al. 2019). The same people wrote both in the same
words, which favours words; what people ask is harder. Texts are the services' documentation in botocore, as in `search.py`.

    python -m bench.hybrid_search
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bench.corpora import documentation
from bench.report import Stopwatch, write
from bench.search import SEED
from engines.embedding.chunking import Chunking
from engines.embedding.registry import open_embedder
from engines.lexical.bm25 import Statistics, open_lexical_index
from engines.lexical.job import LexicalTask, make_lexical
from engines.ranking import Ranker, Ranking, mode_of
from engines.serving import Serving, open_serving
from engines.vectors import builds
from engines.vectors.builds import BuildTask
from engines.vectors.corpus import CorpusTask, make_corpus
from engines.vectors.engine import Vectors
from engines.vectors.recommend import recommend
from state.buckets import Buckets
from state.catalog.indexes import ServingManifest
from state.places import BucketConfig
from state.reader import ObjectReader

K = 10
CHUNKS = 100_000
WAYS = {
    "vector": Ranking("vector"),
    "lexical": Ranking("lexical"),
    "hybrid": Ranking("hybrid"),
    "hybrid, words half": Ranking("hybrid", 1.0, 0.5),
    "hybrid, vectors half": Ranking("hybrid", 0.5, 1.0),
    "hybrid, by row": Ranking("hybrid", by_row=True),
    "hybrid, diversity 0.3": Ranking("hybrid", diversity=0.3),
    "hybrid, reranked": Ranking("hybrid", rerank="builtin"),
}


def pairs(texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """A text's first sentence and the rest, where both say something."""
    for text in texts:
        first, _, rest = re.sub(r"\s+", " ", text).partition(". ")
        if 30 <= len(first) <= 200 and len(rest) >= 60:
            yield first, rest


def opened(texts: Sequence[str], folder: Path) -> tuple[Serving, dict[str, float]]:
    """The texts embedded, built over and indexed by words; and what the words took."""
    target = BucketConfig("bench", "local", str(folder / "lake"))
    size = len(texts)
    rows = pa.table({"key": [f"[{at}]" for at in range(size)], "text": list(texts)}).to_batches(max_chunksize=8192)
    task = CorpusTask("docs", "docs", {}, "s", 1, size, ("text",), Chunking(), "builtin", target, "c", str(folder / "work"))

    def quiet(done: int, total: int) -> None:
        """Nothing."""

    corpus = make_corpus(task, rows, quiet)
    path, recipe = str(folder / "lake" / corpus.ref.key), recommend(corpus.chunks)
    build = builds.run(BuildTask(corpus, path, None, recipe.engine, recipe.build, target, "b"), quiet)
    with Stopwatch() as making:
        lexical = make_lexical(LexicalTask(corpus.digest, path, corpus.chunks, target, "l"), quiet)
    buckets = Buckets()
    buckets.attach(target)
    files = ObjectReader(buckets, folder / "cache", 0)
    manifest = ServingManifest(build.digest, None, recipe.search, lexical=lexical)
    serving = open_serving(build, manifest, files, open_embedder, 0.0)
    paths = {role: files.find(ref).path for role, ref in lexical.files.items()}
    started = time.perf_counter()
    open_lexical_index(paths, Statistics(lexical.chunks, lexical.terms))
    made = {
        "chunks": corpus.chunks,
        "build_cpu_seconds": round(making.cpu, 2),
        "disk_mib": round(sum(ref.size for ref in lexical.files.values()) / 2**20, 1),
        "open_seconds": round(time.perf_counter() - started, 4),
    }
    return serving, made


def searched(serving: Serving, text: str, ranking: Ranking) -> list[str]:
    """Keys of the hits, as a search in its thread has it."""

    def query() -> Vectors:
        return open_embedder().embed([text])[0]

    ranker = Ranker(serving, ranking, mode_of(ranking, serving, text), text, query, None, None)
    return [row[0] for row, _ in ranker.hits(K)]


def measure(serving: Serving, asked: Sequence[tuple[str, str]], ranking: Ranking) -> dict[str, float]:
    """asked: queries with the key that answers. nDCG with one relevant row is 1 / log2(1 + rank)."""
    ranks, times = [], []
    for text, wanted in asked:
        started = time.perf_counter()
        found = searched(serving, text, ranking)
        times.append(time.perf_counter() - started)
        ranks.append(found.index(wanted) + 1 if wanted in found else 0)
    gains = [1 / np.log2(1 + rank) if rank else 0.0 for rank in ranks]
    half = 1.96 * float(np.std(gains)) / len(gains) ** 0.5
    return {
        "recall_at_10": round(float(np.mean([rank > 0 for rank in ranks])), 4),
        "ndcg_at_10": round(float(np.mean(gains)), 4),
        "ndcg_95_percent": round(half, 4),
        "p50_ms": round(float(np.percentile(times, 50)) * 1000, 3),
        "p95_ms": round(float(np.percentile(times, 95)) * 1000, 3),
    }


def main() -> None:
    """Measure, and write bench/results/hybrid_search.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--chunks", type=int, default=CHUNKS)
    parser.add_argument("--queries", type=int, default=500)
    options = parser.parse_args()
    texts = documentation()
    known = list(pairs(texts))[: options.queries]
    answers = [rest for _, rest in known]
    taken = set(answers)
    whole = {f"{first}. {rest}" for first, rest in known}  # would answer better than what is asked for
    corpus = (answers + [text for text in texts if text not in taken | whole])[: options.chunks]
    asked = [(first, f"[{at}]") for at, (first, _) in enumerate(known)]
    with tempfile.TemporaryDirectory() as folder:
        serving, made = opened(corpus, Path(folder))
        measured = partial(measure, serving, asked)
        measured(WAYS["hybrid"])
        ways: dict[str, Any] = {name: measured(ranking) for name, ranking in WAYS.items()}
    figures = {"queries": len(asked), "words": made, "ways": ways}
    write("hybrid_search", figures, seed=SEED, data=f"{made['chunks']} chunks of botocore's documentation", threads=1)


if __name__ == "__main__":
    main()
