"""Which engine to take at which size: what was measured, and what follows from it for another size. Pure.

`MEASURED` is a table of data: a line for each kind of index and size that a benchmark was run at, to be added to or replaced by its newest
results. From the nearest line of a kind, by vectors times numbers, others are extrapolated:

| figure                   | grows with                                                                         |
|--------------------------|------------------------------------------------------------------------------------|
| query, flat              | bytes that are read                                                                |
| query, hnsw              | the logarithm of the vectors (nodes on the way), times the numbers of each         |
| query, lance             | the square root of the vectors (partitions), times the numbers of each             |
| build, hnsw              | vectors times their logarithm, times the numbers of each                           |
| build, flat and lance    | vectors times numbers                                                              |
| memory, hnsw             | nothing to estimate: vectors and links, as hnswlib lays them out                   |
| memory, lance; disk      | vectors times numbers                                                              |

Recall is not extrapolated: it falls as data grows at equal parameters, and differs by data. That is what an EvalSet measures. What no
benchmark measured of a line is None, at its size and at every other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt

from engines.vectors.graph_costs import build_work, graph_bytes
from engines.vectors.recommend import FLAT_UP_TO

NEAR = 1.2
"""A size within this factor of one that was measured, with as many numbers a vector, counts as measured."""
_FLOAT = 4


@dataclass(frozen=True, slots=True)
class Measured:
    """What a recipe took: CPU seconds to build, None where nobody measured them, milliseconds of one query at a time, bytes beside what is
    mapped. kind: of index, whatever its parameters, its engine first. links: of a graph, what its recipe calls m. source: of the line."""

    kind: str
    recipe: str
    vectors: int
    dimension: int
    recall: float
    build_seconds: float | None
    query_ms: float
    memory_bytes: int
    disk_bytes: int
    source: str
    links: int = 0

    @property
    def engine(self) -> str:
        """As a recipe names it."""
        return self.kind.partition(" ")[0]


_MIB = 1 << 20
_DOCUMENTATION = "101 809 chunks of documentation (docs/vectors.md)"
_EXACT = "100 000 synthetic vectors (bench/results/exact_search.json)"
_AT_EQUAL_RECALL = "100 000 and 1 000 000 texts at a recall of 0.97 (bench/results/lance.json)"
_MILLION = "1 000 000 texts (bench/results/million.json)"
_SMALL_GRAPH = "hnsw: {m: 32, efConstruction: 80, efSearch: 75}"
_LARGE_GRAPH = "hnsw: {m: 32, efConstruction: 160, efSearch: 42}"
_SMALL_SQ = "lance: {type: IVF_HNSW_SQ, m: 20, efConstruction: 300, refineFactor: 3, ef: 33}"
_LARGE_SQ = "lance: {type: IVF_HNSW_SQ, m: 20, efConstruction: 300, refineFactor: 3, ef: 40}"
_SMALL_RQ = "lance: {type: IVF_RQ, refineFactor: 5, nprobes: 22}"
_LARGE_RQ = "lance: {type: IVF_RQ, refineFactor: 50, nprobes: 68}"
MEASURED = (
    Measured("flat", "flat: {}", 101_809, 256, 1.0, 0.5, 3.0, 0, 99 * _MIB, _DOCUMENTATION),
    Measured("flat", "flat: {}", 100_000, 768, 1.0, None, 8.3, 0, 293 * _MIB, _EXACT),
    Measured("flat int8", "flat: {precision: int8}", 101_809, 256, 1.0, 0.6, 1.5, 0, 125 * _MIB, _DOCUMENTATION),
    Measured("flat int8", "flat: {precision: int8}", 1_000_000, 256, 1.0, 1.7, 38.7, 0, 1228 * _MIB, _MILLION),
    Measured("hnsw", _SMALL_GRAPH, 100_000, 256, 0.973, 22.6, 0.20, 124 * _MIB, 222 * _MIB, _AT_EQUAL_RECALL, links=32),
    Measured("hnsw", _LARGE_GRAPH, 1_000_000, 256, 0.973, 732, 0.24, 1240 * _MIB, 2217 * _MIB, _AT_EQUAL_RECALL, links=32),
    Measured("lance IVF_HNSW_SQ", _SMALL_SQ, 100_000, 256, 0.971, 109, 3.2, 41 * _MIB, 240 * _MIB, _AT_EQUAL_RECALL),
    Measured("lance IVF_HNSW_SQ", _LARGE_SQ, 1_000_000, 256, 0.973, 1556, 5.2, 394 * _MIB, 2411 * _MIB, _AT_EQUAL_RECALL),
    Measured("lance IVF_RQ", _SMALL_RQ, 100_000, 256, 0.972, 2.7, 4.0, 8 * _MIB, 200 * _MIB, _AT_EQUAL_RECALL),
    Measured("lance IVF_RQ", _LARGE_RQ, 1_000_000, 256, 0.971, 34.6, 8.4, 56 * _MIB, 1998 * _MIB, _AT_EQUAL_RECALL),
)


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a kind of index takes at a size, by a recipe. build_seconds: None where nobody measured them. measured: whether it was run at
    about this size; else extrapolated from `source`."""

    kind: str
    recipe: str
    build_seconds: float | None
    query_ms: float
    memory_bytes: int
    disk_bytes: int
    measured: bool
    source: str


@dataclass(frozen=True, slots=True)
class Advice:
    """recipe: the one to take, and why; predictions: of all kinds that can be had at this size."""

    recipe: str
    why: str
    predictions: tuple[Prediction, ...]


def advise(vectors: int, dimension: int, memory: int, table: Sequence[Measured] = MEASURED) -> Advice:
    """vectors, dimension >= 1. memory: bytes that a graph may take."""
    found = tuple(predict(line, vectors, dimension) for line in _nearest(table, vectors * dimension) if _possible(line, dimension))
    by_engine = {name: [one for one in found if one.kind.split()[0] == name] for name in ("flat", "hnsw", "lance")}
    if vectors <= FLAT_UP_TO:
        best = by_engine["flat"][0]
        return Advice(best.recipe, f"up to {FLAT_UP_TO:,} vectors exact search is fast enough, and has nothing to build or to miss", found)
    graph = min(by_engine["hnsw"], key=lambda one: one.query_ms)
    if graph.memory_bytes <= memory:
        return Advice(graph.recipe, "its graph fits into memory, and nothing answers faster", found)
    fitting = [one for one in by_engine["lance"] if one.memory_bytes <= memory]
    disk = min(fitting, key=lambda one: one.query_ms) if fitting else min(by_engine["lance"], key=lambda one: one.memory_bytes)
    return Advice(disk.recipe, "a graph does not fit into memory; this one stays on disk", found)


def predict(line: Measured, vectors: int, dimension: int) -> Prediction:
    """What a recipe takes at another size than the one of its line. Source of the growth: the table above."""
    more, wider = vectors / line.vectors, dimension / line.dimension
    deeper = log(max(vectors, 2)) / log(line.vectors)
    memory, query, build = line.memory_bytes * more * wider, more * wider, more * wider
    match line.engine:
        case "hnsw":
            memory, query = graph_bytes(vectors, dimension, line.links), deeper * wider
            build = build_work(max(vectors, 2), dimension) / build_work(line.vectors, line.dimension)
        case "lance":
            query = sqrt(more) * wider
    near = dimension == line.dimension and 1 / NEAR <= more <= NEAR
    return Prediction(
        kind=line.kind,
        recipe=line.recipe,
        build_seconds=None if line.build_seconds is None else line.build_seconds * build,
        query_ms=line.query_ms * query,
        memory_bytes=round(memory),
        disk_bytes=round(line.disk_bytes * more * wider) if line.engine != "hnsw" else round(memory + vectors * dimension * _FLOAT),
        measured=near,
        source=line.source,
    )


def _nearest(table: Sequence[Measured], size: int) -> list[Measured]:
    """One line for each kind, in the order of the table."""
    found: dict[str, Measured] = {}
    for line in table:
        known = found.get(line.kind)
        if known is None or _distance(line, size) < _distance(known, size):
            found[line.kind] = line
    return list(found.values())


def _distance(line: Measured, size: int) -> float:
    return abs(log(line.vectors * line.dimension / size))


def _possible(line: Measured, dimension: int) -> bool:
    """A bit for each number fills whole bytes."""
    return line.kind != "lance IVF_RQ" or dimension % 8 == 0
