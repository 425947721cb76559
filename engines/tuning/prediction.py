"""What building a graph would take, before it is built: from formulas whose constants are fitted to what was measured.

**Time.** Inserting a vector is a search of breadth `efConstruction` in a graph of `n` nodes, so that a build takes some n · ln n ·
efConstruction · (links) distances; source: Y. Malkov, D. Yashunin, "Efficient and robust approximate nearest neighbor search using
Hierarchical Navigable Small World graphs" (arXiv:1603.09320), section 4.2. Here

    ln seconds = ln(n · ln n · d) + c + a · ln efConstruction + b · ln m

where a and b begin at 0.8 and 0.4 and c at what 100 000 vectors of 256 numbers took with 32 / 80 (34 CPU seconds, `docs/vectors.md`); all
three are moved towards the trials by least squares with that beginning as a prior. Seconds are CPU seconds of one thread.

**Memory.** What hnswlib 0.8 allocates for each element (`hnswalg.h`: links of level 0, vector, label; links of the levels above, of which
there are 1 / (m - 1) on average; a mutex, a pointer, a level, and a mark of the visited list), scaled by the greatest ratio that was
measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from engines.tuning.space import Graph, graph_of
from engines.vectors.graph_costs import build_work, graph_bytes
from state.trials import Trial

_EXPONENTS = (0.8, 0.4)
_MEASURED_SECONDS, _MEASURED_COUNT, _MEASURED_DIMENSION, _MEASURED = 34.0, 101_809, 256, Graph("hnsw", 32, 80)
_PRIOR_WEIGHTS = (0.01, 0.1, 0.1)
"""How many trials the beginning of c, a and b is worth."""
_OVERHEAD = 46
"""Bytes of an element while it is built beside those of `graph_bytes`: a mutex of 40, a level of 4, a mark of 2."""
PROCESS_BYTES = 192 << 20
"""What a process holds that builds, before it builds: the interpreter and its libraries."""


class Size(NamedTuple):
    """Of what is built over."""

    chunks: int
    dimension: int


class _Made(NamedTuple):
    """A graph that was built: over so much, as this trial has it."""

    graph: Graph
    size: Size
    trial: Trial


class Predictor:
    """Fitted to trials of one index, each at the size that it was built over; of one that does not tell it, nothing is learnt."""

    def __init__(self, trials: Iterable[Trial], full: Size) -> None:
        """full: of all chunks there are now."""
        self._full = full
        found = [_Made(graph, size, trial) for trial in trials if (graph := _graph(trial)) and (size := _size(trial))]
        self._time = {
            engine: self._fitted([one for one in found if one.graph.engine == engine]) for engine in {one.graph.engine for one in found}
        }
        self._ratio: dict[str, float] = {}
        for graph, size, trial in found:
            peak = float(trial.detail.get("peak_bytes") or 0)
            self._ratio[graph.engine] = max(self._ratio.get(graph.engine, 1.0), peak / _formula(graph, size))

    def size(self, fidelity: float) -> Size:
        """Of this share of the chunks."""
        return _share(self._full, fidelity)

    def cpu_seconds(self, graph: Graph, fidelity: float = 1.0) -> float:
        """Of building it."""
        return math.exp(_base(self.size(fidelity)) + float(_features(graph) @ self._time.get(graph.engine, _PRIOR)))

    def memory(self, graph: Graph, fidelity: float = 1.0) -> int:
        """Bytes that the process holds while it builds, at the most."""
        return PROCESS_BYTES + int(_formula(graph, self.size(fidelity)) * self._ratio.get(graph.engine, 1.0))

    def _fitted(self, found: list[_Made]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """float64 (3,): c, a, b. One build serves many trials: it counts once."""
        taken = {(graph, size): float(trial.build_cpu_seconds or trial.build_seconds or 0) for graph, size, trial in found}
        rows, wanted = [], []
        for (graph, size), seconds in taken.items():
            if seconds > 0:
                rows.append(_features(graph))
                wanted.append(math.log(seconds) - _base(size))
        weights = np.sqrt(np.array(_PRIOR_WEIGHTS))
        system = np.vstack([*rows, np.diag(weights)])
        solved: np.ndarray[tuple[int], np.dtype[np.float64]] = np.linalg.lstsq(system, np.array([*wanted, *(weights * _PRIOR)]))[0]
        return solved


def _graph(trial: Trial) -> Graph | None:
    found = graph_of(trial)
    return None if found is None else found[0]


def _size(trial: Trial) -> Size | None:
    """What it was built over, which may be other rows than the present ones, or by another model."""
    chunks, dimension = trial.detail.get("chunks"), trial.detail.get("dimension")
    return None if chunks is None or dimension is None else _share(Size(chunks, dimension), trial.fidelity)


def _share(size: Size, fidelity: float) -> Size:
    return Size(max(2, round(size.chunks * fidelity)), size.dimension)


def _features(graph: Graph) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([1.0, math.log(graph.construction), math.log(graph.m)])


def _base(size: Size) -> float:
    return math.log(build_work(size.chunks, size.dimension))


def _formula(graph: Graph, size: Size) -> float:
    return graph_bytes(size.chunks, size.dimension, graph.m) + size.chunks * _OVERHEAD


def _constant() -> float:
    base = _base(Size(_MEASURED_COUNT, _MEASURED_DIMENSION))
    a, b = _EXPONENTS
    return math.log(_MEASURED_SECONDS) - base - a * math.log(_MEASURED.construction) - b * math.log(_MEASURED.m)


_PRIOR = np.array([_constant(), *_EXPONENTS])
