"""hnsw beside LanceDB's three indexes, on 100 000 and 1 000 000 real vectors: what decides whether Lance takes hnsw's place.

    python -m bench.lance [--vectors 100000 1000000] [--queries 500]

Every figure is of a process of its own. Loading is from files to the first answer; the start of the process, imports (LanceDB takes
seconds) and connecting are left out, which favours Lance. From disk means that the page cache has let go of the files. Latencies are those
of one query at a time at equal recall: the search parameters are the fastest that reach 0.97, found by bisection; all indexes are open in
one process and take turns, round by round. Lance's indexes are as its documentation advises: partitions by its own count of rows, and for
IVF_HNSW_SQ its own 20 links and a breadth of 300. hnsw's is what an Index of this size gets.

`verdict` is the rule. `docs/adr/0018-lance-beside-hnsw.md` holds the table. Next: `lance_cases.py`, `corpora.py`.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeVar

from bench import lance_cases
from bench.corpora import SEED, vectors
from bench.lance_cases import APPENDED, TARGET, Case
from bench.report import machine, write
from engines.vectors.recommend import recommend

T = TypeVar("T")
SIZES = (100_000, 1_000_000)
LOADS = 5
LANCE = (
    {"type": "IVF_HNSW_SQ", "m": 20, "efConstruction": 300},
    {"type": "IVF_PQ"},
    {"type": "IVF_RQ"},
)
LOADS_FASTER, AS_FAST, WITHIN = 2.0, 1.05, 1.5
"""Times: hnsw's load over Lance's; and Lance's latency over hnsw's, to match it and to be within half as much again."""


def verdict(hnsw: Mapping[str, Any], lance: Mapping[str, Any]) -> dict[str, Any]:
    """What the rule says of one of Lance's indexes beside hnsw. Either: the figures of `measure`.

    migrate: it loads from disk twice as fast, and matches the latency. stay: its latency is within 50 % of hnsw's; then what stays is
    hnsw, up to its `ceiling`. close: neither, or it does not reach the recall.
    """
    if lance["search"] is None or hnsw["search"] is None:
        return {"verdict": "close", "load_ratio": None, "latency_ratio": None}
    loads, takes = hnsw["load_from_disk_seconds"] / lance["load_from_disk_seconds"], lance["p50_us"] / hnsw["p50_us"]
    word = "stay" if takes <= WITHIN else "close"
    if loads >= LOADS_FASTER and takes <= AS_FAST:
        word = "migrate"
    return {"verdict": word, "load_ratio": round(loads, 2), "latency_ratio": round(takes, 2)}


def decided(sizes: Mapping[str, Mapping[str, Any]]) -> str:
    """The rule over all sizes: the best word that one index of Lance's has at every size."""
    words = ("close", "stay", "migrate")
    names = [name for name in next(iter(sizes.values())) if name != "hnsw"]
    least = [min(words.index(found[name]["rule"]["verdict"]) for found in sizes.values()) for name in names]
    return words[max(least)]


def ceiling(sizes: Mapping[str, Mapping[str, Any]], memory_gib: float) -> dict[str, int]:
    """How many vectors hnsw could hold in so much memory, by what each took in the largest index, were there nothing else in it."""
    count = max(sizes, key=int)
    each = sizes[count]["hnsw"]["memory_mib"] * 2**20 / int(count)
    return {"bytes_a_vector": round(each), "vectors": int(memory_gib * 2**30 / each)}


def measure(count: int, asked: int) -> dict[str, Any]:
    """Figures of every index over so many vectors, by name. asked: queries."""
    cases = (Case("hnsw", count, recommend(count).build), *(Case("lance", count, parameters) for parameters in LANCE))
    apart(vectors, count)
    queries, tenth = apart(lance_cases.truth, count, asked)
    found: dict[str, dict[str, Any]] = {}
    for case in cases:
        print(f"{case.name}, {count} vectors: building and tuning", flush=True)
        found[case.name] = {"parameters": dict(case.parameters), **apart(lance_cases.build, case)}
        found[case.name] |= apart(lance_cases.tune, case, queries, tenth)
    usable = [(case, found[case.name]["search"]) for case in cases if found[case.name]["search"] is not None]
    for (case, search), times in zip(usable, apart(lance_cases.race, usable, queries[: lance_cases.TIMED]), strict=True):
        found[case.name] |= times
        for name, from_disk in (("load_from_disk_seconds", True), ("load_seconds", False)):
            seconds = [apart(lance_cases.load, case, search, queries[0], from_disk=from_disk) for _ in range(LOADS)]
            found[case.name][name] = round(statistics.median(seconds), 4)
        found[case.name] |= apart(lance_cases.memory, case, search, queries)
        found[case.name] |= apart(lance_cases.append, case, vectors(count).queries[:APPENDED])
    for name in found.keys() - {"hnsw"}:
        found[name]["rule"] = verdict(found["hnsw"], found[name])
    return found


def apart(function: Callable[..., T], *arguments: Any, **more: Any) -> T:
    """What it gives in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(function, *arguments, **more).result()


def main() -> None:
    """Measure, and write bench/results/lance.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--vectors", type=int, nargs="+", default=SIZES)
    parser.add_argument("--queries", type=int, default=500)
    options = parser.parse_args()
    sizes = {f"{count}": measure(count, options.queries) for count in options.vectors}
    figures = {
        "recall_at_10": TARGET,
        "queries": options.queries,
        "appended": APPENDED,
        "sizes": sizes,
        "ceiling": ceiling(sizes, machine()["memory_gib"]),
        "verdict": decided(sizes),
    }
    data = "; ".join(vectors(count).data for count in options.vectors)
    write("lance", figures, seed=SEED, data=data)
    print(f"verdict: {figures['verdict']}")


if __name__ == "__main__":
    main()
