"""Search behind filters, beside what it chooses from: comparing what is allowed, and hnswlib's own filter.

    python -m bench.filtered_search [--chunks 100000] [--queries 200]

Data, build and queries are those of `bench.search`. Filters pass a random share of the chunks; two more have to do with the query: one
passes the half that is farthest from it, one a tenth around another text. hnswlib's filter is a callback; it gets the fastest there is,
the `__getitem__` of bytes. Recall is that at 10 against exact search.

Comparing by hand multiplies what it gathered by BLAS, which takes three quarters of the time of a product of each row by itself, by which
equal vectors have equal scores, whatever else passes: what a policy hides must not show in the last digit of what it does not
(`engines/vectors/matrix.py`). At 1 % that is all that ours takes more. `steps` has what each part takes there, and what was tried instead:
to find candidates by BLAS and compare these again costs about what it saves, and more within the engine; groups of rows by BLAS keep their
scores by grace of its kernels only; faiss's products by index, which copy no row, take as long.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bench.bars import Bar
from bench.corpora import documentation
from bench.report import write
from bench.search import SEED, SHARES, K, World, bare_graph, in_turns, make_world, recall
from engines.embedding.registry import open_embedder
from engines.vectors.engine import Ids, Mask, Vectors
from engines.vectors.filtering import listed_if_few
from engines.vectors.matrix import ROUNDING, best_of, kth_best, nearest, open_matrix
from engines.vectors.recommend import recommend

SLOW = 0.02  # share below which hnswlib's filter is asked a few times only: it takes 20 ms and more
FEW = 20
FEW_PASS = 0.01
BLOCK, GROUP = 512, 32
ROUNDS = 5


def main() -> None:
    """Measure, and write bench/results/filtered_search.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=200)
    options = parser.parse_args()
    texts = documentation()
    recipe = recommend(options.chunks)
    world = make_world(texts[: options.chunks], recipe.build, recipe.search)
    queries = open_embedder().embed(texts[options.chunks : options.chunks + options.queries])
    matrix = open_matrix(world.paths["vectors"], world.build.count, world.build.dimension)
    random = {share: np.random.default_rng(SEED).random(len(matrix)) < share for share in SHARES}
    filters = {f"{share:.1%} at random": measure(world, matrix, queries, [allowed] * len(queries)) for share, allowed in random.items()}
    for name, masks in correlated(matrix, queries[:FEW]).items():
        filters[name] = measure(world, matrix, queries[:FEW], masks)
    steps = steps_of(matrix, queries, random[FEW_PASS])
    results = {
        "chunks": len(matrix),
        "dimension": matrix.shape[1],
        "recipe": {**recipe.build, **recipe.search},
        "filters": filters,
        "steps": steps,
    }
    write("filtered_search", results, bars=bars(filters), seed=SEED, data=f"{len(matrix)} chunks of botocore's documentation", threads=1)


def bars(filters: dict[str, Any]) -> list[Bar]:
    """The worst of each; time only of filters that ignore the query, of which an index can know beforehand which way is the better."""
    recalls = [found["recall_at_10"] for found in filters.values()]
    ratios = [found["over_better"] for name, found in filters.items() if name.endswith("at random")]
    return [
        Bar("filtered search, recall@10, worst filter", "", min(recalls), 0.95, at_least=True),
        Bar("filtered search over the better of comparing and callback, p50, worst share", "x", max(ratios), 1.0),
    ]


def correlated(matrix: Vectors, queries: Vectors) -> dict[str, list[Mask]]:
    """Masks, one a query."""
    far, around = [], []
    for number, query in enumerate(queries):
        scores, other = matrix @ query, matrix @ queries[number - 1]
        far.append(scores < np.median(scores))
        around.append(other >= np.quantile(other, 0.9))
    return {"farthest half": far, "tenth around another text": around}


def measure(world: World, matrix: Vectors, queries: Vectors, masks: Sequence[Mask]) -> dict[str, Any]:
    """Recall and microseconds of ours, of comparing and of the callback."""
    bare = bare_graph(world, world.index.describe()["search"])
    share = float(np.mean(masks[0]))
    passes = [mask.tobytes().__getitem__ for mask in masks]
    numbers = range(len(queries))
    few = numbers if share > SLOW else range(min(FEW, len(queries)))
    ours, compared, callback = one_after_the_other(
        (numbers, lambda at: world.index.search(queries[at], K, masks[at])),
        (numbers, lambda at: compare(matrix, queries[at], masks[at])),
        (few, lambda at: _called(bare, queries[at], passes[at])),
    )
    truth = [set(nearest(matrix, queries[at], K, masks[at])[0].tolist()) for at in numbers]
    found = [world.index.search(queries[at], K, masks[at])[0].tolist() for at in numbers]
    better = min(compared["p50_us"], callback["p50_us"])
    return {
        "recall_at_10": round(recall(truth, found), 4),
        "ours": ours,
        "compared": compared,
        "callback": callback,
        "over_better": round(ours["p50_us"] / better, 3),
    }


def steps_of(matrix: Vectors, queries: Vectors, allowed: Mask) -> dict[str, float]:
    """Microseconds at p50, of the best round, of what comparing few takes, part by part, and of what else it could be made of."""
    ids = np.flatnonzero(allowed)
    blocks = [ids[start : start + BLOCK] for start in range(0, len(ids), BLOCK)]
    gathered = [matrix.take(block, axis=0) for block in blocks]
    grouped = [rows[: len(rows) // GROUP * GROUP].reshape(-1, GROUP, rows.shape[1]) for rows in gathered]
    steps: dict[str, Callable[[int], object]] = {
        "list what passes": lambda at: listed_if_few(allowed),
        "list it by numpy": lambda at: np.flatnonzero(allowed),
        "gather, in blocks": lambda at: [matrix.take(block, axis=0) for block in blocks],
        "gather, all": lambda at: matrix.take(ids, axis=0),
        "products, each row by itself": lambda at: [np.vecdot(rows, queries[at]) for rows in gathered],
        "products, by BLAS": lambda at: [rows @ queries[at] for rows in gathered],
        "products, groups by BLAS": lambda at: [np.matvec(rows, queries[at]) for rows in grouped],
        "all but listing": lambda at: best_of(matrix, queries[at], K, ids),
        "all but listing, candidates by BLAS": lambda at: _compared_again(matrix, queries[at], ids),
    }
    times = one_after_the_other(*((range(len(queries)), step) for step in steps.values()))
    return {name: time["p50_us"] for name, time in zip(steps, times, strict=True)}


def _compared_again(matrix: Vectors, query: Vectors, ids: Ids) -> tuple[Ids, Vectors]:
    scores = np.concatenate([matrix.take(ids[start : start + BLOCK], axis=0) @ query for start in range(0, len(ids), BLOCK)])
    return best_of(matrix, query, K, ids[scores >= kth_best(scores, K) - 2 * ROUNDING])


def one_after_the_other(*asked: tuple[range, Callable[[int], object]]) -> list[dict[str, float]]:
    """Each function on all its numbers, ROUNDS times, so that it finds the caches as it leaves them; the p50 of its best round.

    In turns, what reads little would find them emptied by what reads much.
    """
    rounds = [[in_turns(numbers, 1, function)[0] for numbers, function in asked] for _ in range(ROUNDS)]
    return [min(times, key=lambda time: time["p50_us"]) for times in zip(*rounds, strict=True)]


def compare(matrix: Vectors, query: Vectors, allowed: Mask) -> tuple[Ids, Vectors]:
    """What anybody would write."""
    ids = np.flatnonzero(allowed)
    scores = matrix.take(ids, axis=0) @ query
    best = np.argpartition(scores, -K)[-K:] if len(ids) > K else np.arange(len(ids))
    best = best[np.argsort(-scores[best])]
    return ids[best], scores[best]


def _called(bare: Any, query: Vectors, passes: Callable[[int], int]) -> object:
    try:
        return bare.knn_query(query, K, 1, passes)
    except RuntimeError:  # fewer than k were found
        return None


if __name__ == "__main__":
    main()
