"""A world for a tuner, by formulas: what graphs find, how fast, and what building them takes. Trials of it look like measured ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from engines.trials.objective import Weights
from engines.tuning.facts import Attempt, Decision, Done, Facts, Refused, Try
from engines.tuning.prediction import Size
from engines.tuning.space import Graph, Space, between, graph_named
from engines.tuning.strategy import decide
from engines.tuning.surface import surface
from state.trials import Trial, trial_id

WIDE = Space(("hnsw",), (8, 48), (16, 400), (10, 400))


@dataclass(frozen=True)
class World:
    """hardness: how much is missed. noise: of times, by graph and breadth, as a factor. broken: graphs whose build dies of memory."""

    chunks: int = 100_000
    hardness: float = 1.0
    noise: Callable[[Graph, int], float] = lambda graph, breadth: 1.0
    broken: Callable[[Graph], bool] = lambda graph: False

    def recall(self, graph: Graph, breadth: int, fidelity: float) -> float:
        """Near what hnswlib finds in real texts: .953 for 16/80/40 at 100 000, .987 for 32/80/100."""
        quality = graph.m**0.7 * graph.construction**0.35
        missed = 5.4 * self.hardness * (self.chunks * fidelity / 100_000) ** 0.27 / (breadth**0.9 * quality**0.35)
        return max(0.0, 1 - missed / (1 + 16 / graph.construction) ** -1)

    def microseconds(self, graph: Graph, breadth: int, fidelity: float) -> float:
        size = (self.chunks * fidelity / 100_000) ** 0.2
        return size * (15 + 0.35 * breadth * graph.m**0.45) * self.noise(graph, breadth)

    def seconds(self, graph: Graph, fidelity: float) -> float:
        return 34 * (self.chunks * fidelity / 100_000) ** 1.1 * (graph.construction / 80) ** 0.75 * (graph.m / 32) ** 0.3

    def trial(self, graph: Graph, breadth: int, fidelity: float, truth: str = "now", **more: Any) -> Trial:
        found = self.recall(graph, breadth, fidelity)
        seconds, p95_us = self.seconds(graph, fidelity), self.microseconds(graph, breadth, fidelity)
        values: dict[str, Any] = {"fidelity": fidelity, "truth": truth, "build_cpu_seconds": seconds, "build_seconds": seconds}
        values["detail"] = {"chunks": self.chunks} | more.pop("detail", {})
        return made(graph.engine, {**graph.parameters, "seed": 100}, graph.search(breadth), found, p95_us, **{**values, **more})

    def best(self, space: Space, gate: float) -> float:
        """The least time of an exhaustive grid, where all recall is what it seems."""
        graphs = [Graph("hnsw", m, c) for m in range(space.m[0], space.m[1] + 1, 4) for c in (16, 32, 64, 100, 200, 400)]
        passing = (
            self.microseconds(graph, breadth, 1.0)
            for graph in graphs
            for breadth in range(*space.breadth, 2)
            if self.recall(graph, breadth, 1.0) - MARGIN >= gate
        )
        return min(passing, default=math.inf)


MARGIN = 0.005
"""Of the lower bound below the recall."""


def made(
    engine: str,
    params: Mapping[str, Any],
    search: Mapping[str, Any],
    recall: float,
    p95_us: float,
    *,
    fidelity: float = 1.0,
    truth: str = "now",
    **more: Any,
) -> Trial:
    """A trial with these figures."""
    low = recall - MARGIN
    build = str(sorted(params.items()))
    detail = {"build": build, "search": dict(search), "truth": truth, "halves": [{"recall": recall, "low": low}] * 2}
    detail |= {"chunks": 100_000, "dimension": 256}
    values: dict[str, Any] = {
        "trial": trial_id(build, search, truth, fidelity), "index": "i", "generation": None, "engine": engine,
        "params": {**params, **search}, "fidelity": fidelity, "eval_set": "e", "snapshot": "s", "recall_at_1": recall,
        "recall_at_10": recall, "recall_low": low, "p50_us": p95_us / 2, "p95_us": p95_us, "p99_us": p95_us * 2, "qps": None,
        "build_seconds": 1.0, "build_cpu_seconds": 1.0, "load_seconds": 0.1, "memory_bytes": 1 << 20, "disk_bytes": 1 << 20,
        "proposed_by": "TrialBudget/t", "detail": {**detail, **more.pop("detail", {})},
    }  # fmt: skip
    return Trial(**{**values, **more})


def nobody(space: Space, known: Mapping[Graph, float], seed: int, left: Any) -> Graph | None:
    """A sampler that has no idea."""
    return None


def by_surface(space: Space, known: Mapping[Graph, float], seed: int, left: Any) -> Graph | None:
    """A sampler that takes the best of a lattice by what is known: for tests that optuna, a hundred times as slow, is no part of."""
    expected = surface(space, {graph: value for graph, value in known.items() if graph in space})
    lattice = (
        Graph(engine, between(space.m, x / 7), between(space.construction, y / 7))
        for engine in space.graphs
        for x in range(8)
        for y in range(8)
    )
    fresh = [graph for graph in lattice if graph not in left]
    return next(iter(fresh), None) if expected is None else min(fresh, key=expected, default=None)


@dataclass
class Run:
    """A budget spent on a world: decides, and is told what it asked for, until it is done."""

    world: World = field(default_factory=World)
    space: Space = WIDE
    gate: float = 0.97
    limit: int = 40
    seconds: float = 600.0
    memory: int | None = None
    cores: float = 1.0
    weights: Weights = field(default_factory=lambda: {"latencyP95": 1.0})
    suggest: Any = nobody
    trials: list[Trial] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    moves: list[Try] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    truth: str = "now"
    used: int = 0
    taken: float = 0.0
    cpu: float = 0.0

    def facts(self) -> Facts:
        known = list(self.trials), self.truth, list(self.attempts)
        left = self.limit - self.used, self.seconds - self.taken
        size = Size(self.world.chunks, 256)
        return Facts(self.space, self.gate, self.weights, size, *known, self.limit, *left, self.cores, self.memory)

    def step(self) -> Decision:
        """One decision, carried out."""
        decision = decide(self.facts(), self.suggest)
        self.refused += decision.refused
        self.attempts += [Attempt(one.graph, one.fidelity, one.cause) for one in decision.refused]
        if isinstance(decision.move, Try):
            self._carry_out(decision.move)
        return decision

    def to_end(self) -> Done:
        """Until it is done, which it has to be some time."""
        for _ in range(200):
            move = self.step().move
            if isinstance(move, Done):
                return move
        raise AssertionError("it goes on for ever")

    def _carry_out(self, move: Try) -> None:
        self.moves.append(move)
        self.used += len(move.searches)
        graph = graph_named(move.engine, move.parameters)
        if graph is None:
            self.trials += [made(move.engine, move.parameters, {}, 1.0, 3000.0, truth=self.truth)]
            return
        self.attempts.append(Attempt(graph, move.fidelity))
        if self.world.broken(graph):
            self.attempts.append(Attempt(graph, move.fidelity, "memory"))
            return
        breadths = [int(search.get("efSearch", search.get("ef"))) for search in move.searches]
        self.trials += [self.world.trial(graph, breadth, move.fidelity, self.truth) for breadth in breadths]
        seconds = 0.0 if move.goes_on else self.world.seconds(graph, move.fidelity)
        self.taken, self.cpu = self.taken + seconds / self.cores + 1.0, self.cpu + seconds

    @property
    def best(self) -> Trial:
        whole = [trial for trial in self.trials if trial.fidelity >= 1 and trial.recall_low >= self.gate]
        return min(whole, key=lambda trial: trial.p95_us)
