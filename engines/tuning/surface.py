"""A smooth surface through what is known of a space: of second degree in the logarithms of links and breadth of construction.

Costs and breadths at the gate change smoothly with both, and a single measurement is off by some percent: what the surface says of a graph
is surer than that, and is said of graphs that nobody built, too. Weak ridges keep it from bending after few points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from engines.tuning.space import Graph, Space

LEAST = 4
"""Known graphs from which a surface says something."""
_RIDGE = 1e-2
"""How much a bend of the surface has to explain to be believed."""


def surface(space: Space, known: Mapping[Graph, float]) -> Callable[[Graph], float] | None:
    """The expected value of a graph; None while too little is known. known: finite values."""
    if len(known) < LEAST:
        return None
    rows = np.array([_terms(space, graph) for graph in known])
    system = np.vstack([rows, np.sqrt(_RIDGE) * np.eye(rows.shape[1])])
    values = np.array(list(known.values()))
    middle = float(values.mean())
    weights = np.linalg.lstsq(system, np.concatenate([values - middle, np.zeros(rows.shape[1])]))[0]
    return lambda graph: middle + float(np.array(_terms(space, graph)) @ weights)


def _terms(space: Space, graph: Graph) -> list[float]:
    x, y = _place(graph.m, space.m), _place(graph.construction, space.construction)
    return [*(float(graph.engine == engine) for engine in space.graphs), x, y, x * y, x * x, y * y]


def _place(value: int, bounds: tuple[int, int]) -> float:
    """From -1 to 1, by the logarithm."""
    low, high = bounds
    return 0.0 if low == high else 2 * math.log(value / low) / math.log(high / low) - 1
