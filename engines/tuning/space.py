"""What may be tried of an index, and how what was measured is read in those terms: graphs, and breadths of a search in each.

A graph is an engine with its links and its breadth of construction: what is built. `hnsw` is one, `lance` with `IVF_HNSW_SQ` another. Exact
recipes (`flat`) have nothing to search for. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from state.trials import Trial

_BREADTH = {"hnsw": "efSearch", "lance": "ef"}
_FIXED: Mapping[str, Mapping[str, Any]] = {"hnsw": {}, "lance": {"type": "IVF_HNSW_SQ"}}
_LEAST = {"hnsw": 1, "lance": 100}
"""Breadths below these change nothing: LanceDB looks for ten candidates of each of ten hits, which are compared exactly."""
_DESIGN = ((0.5, 0.5), (0.25, 0.75), (0.75, 0.25), (0.25, 0.25), (0.75, 0.75))
EXACT: tuple[Mapping[str, Any], ...] = ({}, {"precision": "int8"})


class Graph(NamedTuple):
    """What is built."""

    engine: str
    m: int
    construction: int

    @property
    def parameters(self) -> dict[str, Any]:
        """As an IndexGeneration names them."""
        return {**_FIXED[self.engine], "m": self.m, "efConstruction": self.construction}

    def search(self, breadth: int) -> dict[str, Any]:
        """As an IndexGeneration names it."""
        return {_BREADTH[self.engine]: breadth}

    def within(self, other: Graph) -> bool:
        """Whether it is of no better quality than the other by construction: neither more links nor a broader search for them."""
        return self.engine == other.engine and self.m <= other.m and self.construction <= other.construction

    def __str__(self) -> str:
        return f"{self.engine} m={self.m} efConstruction={self.construction}"


@dataclass(frozen=True, slots=True)
class Space:
    """Engines, and [smallest, largest] of each parameter."""

    engines: tuple[str, ...]
    m: tuple[int, int]
    construction: tuple[int, int]
    breadth: tuple[int, int]

    @property
    def graphs(self) -> tuple[str, ...]:
        """Engines that build graphs."""
        return tuple(engine for engine in self.engines if engine in _BREADTH)

    def breadths(self, engine: str) -> tuple[int, int]:
        """[smallest, largest] that makes a difference."""
        low, high = self.breadth
        return min(high, max(low, _LEAST[engine])), high

    def __contains__(self, graph: Graph) -> bool:
        pairs = ((graph.m, self.m), (graph.construction, self.construction))
        return graph.engine in self.graphs and all(low <= value <= high for value, (low, high) in pairs)

    def design(self) -> tuple[Graph, ...]:
        """Where to begin: the middle of each engine's space, and the middles of its four quarters, by the logarithms; each once."""
        found = {
            Graph(engine, between(self.m, m), between(self.construction, construction)): None
            for m, construction in _DESIGN
            for engine in self.graphs
        }
        return tuple(found)

    def best_built(self) -> Iterator[Graph]:
        """Of each engine the graph that finds most: where it fails, no other passes."""
        return (Graph(engine, self.m[1], self.construction[1]) for engine in self.graphs)


def between(bounds: tuple[int, int], share: float) -> int:
    """A whole number within the bounds, at this share of the way by the logarithm."""
    low, high = bounds
    return min(high, max(low, round(math.exp(math.log(low) + share * (math.log(high) - math.log(low))))))


def graph_named(engine: str | None, parameters: Mapping[str, Any]) -> Graph | None:
    """The graph of an engine's parameters; None where they are not of one."""
    if engine not in _BREADTH:
        return None
    return Graph(engine, int(parameters["m"]), int(parameters["efConstruction"]))


def graph_of(trial: Trial) -> tuple[Graph, int] | None:
    """What a trial is of, and its breadth; None for a recipe that no space holds."""
    fixed, params = _FIXED.get(trial.engine), trial.params
    if fixed is None or any(params.get(name) != value for name, value in fixed.items()):
        return None
    breadth = params.get(_BREADTH[trial.engine])
    graph, others = Graph(trial.engine, params.get("m", 0), params.get("efConstruction", 0)), _OTHERS[trial.engine]
    plain = all(params.get(name) == value for name, value in others.items())
    return (graph, breadth) if isinstance(breadth, int) and plain else None


_OTHERS: Mapping[str, Mapping[str, Any]] = {"hnsw": {"seed": 100}, "lance": {"nprobes": 20, "refineFactor": 10}}
"""Parameters that are left as they are."""
