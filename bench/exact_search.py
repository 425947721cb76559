"""Exact search beside what memory and BLAS allow, on synthetic vectors.

    python -m bench.exact_search [--vectors 100000] [--dimension 768]

The limit of one query is reading the vectors once: the greatest number of all bytes, by one thread or by two, whichever is faster. That of
a batch is the product of the matrix with all queries and nothing else. All take turns, query by query, over files that are mapped as a
build's are; every answer of int8 and of a batch is compared with that of float32.
"""

from __future__ import annotations

import argparse
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from bench.bars import Bar
from bench.report import Stopwatch, write
from bench.search import in_turns
from engines.vectors.codes import open_codes, write_codes
from engines.vectors.engine import Vectors
from engines.vectors.matrix import nearest, open_matrix
from engines.vectors.nearest_many import nearest_many

SEED = 7
K = 10
QUERIES = 64
TRUTH = 500
SHARES = (0.01, 0.1, 0.5)


def unit(rows: int, dimension: int, seed: int) -> Vectors:
    """Evenly on the sphere: the hardest case for a bound, since nothing is near."""
    vectors = np.random.default_rng(seed).standard_normal((rows, dimension), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def measure(folder: Path, rows: int, dimension: int) -> dict[str, Any]:
    """Microseconds of each, and what they are times their limits."""
    unit(rows, dimension, SEED).tofile(folder / "vectors.f32")
    matrix = open_matrix(folder / "vectors.f32", rows, dimension)
    with Stopwatch() as encoding:
        write_codes(folder / "codes.i8", matrix, lambda done, total: None)
    codes = open_codes(folder / "codes.i8", rows, dimension)
    queries = unit(TRUTH, dimension, SEED + 1)
    batch = queries[:QUERIES]
    with ThreadPoolExecutor(2) as threads:

        def read(vectors: np.ndarray, parts: int) -> None:
            words = vectors.reshape(-1)
            words = words[: len(words) // 8 * 8].view(np.int64) if vectors.dtype == np.int8 else words
            list(threads.map(np.max, np.array_split(words, parts)))

        names = ("float32", "int8", "read_float32_1", "read_float32_2", "read_int8_1", "read_int8_2")
        times = in_turns(
            batch,
            2,
            lambda query: nearest(matrix, query, K),
            lambda query: codes.nearest(matrix, query, K),
            lambda query: read(matrix, 1),
            lambda query: read(matrix, 2),
            lambda query: read(codes.codes, 1),
            lambda query: read(codes.codes, 2),
        )
    found: dict[str, Any] = dict(zip(names, times, strict=True))
    many, product = in_turns(range(12), 1, lambda _: nearest_many(matrix, batch, K), lambda _: batch @ matrix.T)
    found |= {"batch_64": many, "product_64": product}
    filtered = {}
    for share in SHARES:
        allowed = np.random.default_rng(SEED).random(rows) < share
        ours = in_turns(
            batch,
            1,
            lambda query, allowed=allowed: nearest(matrix, query, K, allowed),
            lambda query, allowed=allowed: codes.nearest(matrix, query, K, allowed),
        )
        filtered[share] = dict(zip(("float32", "int8"), ours, strict=True))
    with Stopwatch() as truth:
        ids, scores = nearest_many(matrix, queries, K)
    for query, exact, cosines in zip(batch, ids, scores, strict=False):
        for other in (nearest(matrix, query, K), codes.nearest(matrix, query, K)):
            assert (other[0].tolist(), other[1].tolist()) == (exact.tolist(), cosines.tolist())
    times_p50 = {name: found[name]["p50_us"] for name in found}
    return found | {
        "filtered": filtered,
        "encode_seconds": round(encoding.wall, 2),
        f"truth_of_{TRUTH}_seconds": round(truth.wall, 2),
        "float32_over_read": round(times_p50["float32"] / min(times_p50["read_float32_1"], times_p50["read_float32_2"]), 3),
        "int8_over_read": round(times_p50["int8"] / min(times_p50["read_int8_1"], times_p50["read_int8_2"]), 3),
        "float32_over_int8": round(times_p50["float32"] / times_p50["int8"], 3),
        "batch_over_product": round(times_p50["batch_64"] / times_p50["product_64"], 3),
    }


def main() -> None:
    """Measure, and write bench/results/exact_search.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=768)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), options.vectors, options.dimension)
    bars = (
        Bar("exact search, float32, over reading the vectors, p50", "x", figures["float32_over_read"], 1.15),
        Bar("exact search, int8 re-scored, over reading the codes, p50", "x", figures["int8_over_read"], 2.5),
        Bar("exact search, float32 over int8 re-scored, p50", "x", figures["float32_over_int8"], 1.5, at_least=True),
        Bar("exact search, 64 queries at once, over BLAS, p50", "x", figures["batch_over_product"], 1.3),
    )
    data = f"{options.vectors} random vectors of {options.dimension} numbers"
    write("exact_search", figures, bars=bars, seed=SEED, data=data)


if __name__ == "__main__":
    main()
