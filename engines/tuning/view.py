"""Trials as a tuner reads them: curves of graphs over a share of the rows and over all, the best, and what is out of the question. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from statistics import median
from typing import Any

from engines.trials.choice import FASTER, passes, sure_recall
from engines.trials.objective import LEAST, depends_on_breadth, score
from engines.tuning import curve
from engines.tuning.curve import Point, least_passing, reaches
from engines.tuning.facts import Facts
from engines.tuning.prediction import Predictor
from engines.tuning.space import Graph, between, graph_of
from engines.tuning.surface import surface
from state.trials import Trial

RUNG = 0.1
"""Share of the chunks that ranks graphs."""
FLOOR = 2_000
"""Chunks that it has at the least: of fewer, nearly any graph finds everything."""
_GROWTH = 0.26
"""What is missed grows with this power of the rows: of real documentation 16 / 80 / 40 misses 0.026 of 10 000 rows and 0.047 of 100 000. A
share is held to a stricter gate by so much, so that graphs are compared at the breadths that all rows need."""
_DOUBLE_BUILD = 0.05
"""Of two graphs that promise the same, the one that is built sooner comes first: twice the time has to be worth some percent."""
_WORSE = math.log(2)
_AROUND = 1.5
_NO_BETTER = 1.1
"""A graph that two points or more promise to cost so many times the best is left, though another point might surprise."""

Curves = Mapping[Graph, Sequence[Point]]


class View:
    """One account's look at what is known."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self.predictor = Predictor(facts.trials, facts.size)
        self.on_rung: Curves = {} if self.rung is None else self._curves(facts.truth, self.rung)
        self._whole = [trial for trial in facts.trials if trial.fidelity >= 1 and trial.detail.get("truth") == facts.truth]
        self._full = self._curves(facts.truth, 1.0)

    @property
    def rung(self) -> float | None:
        """The share that ranks graphs; None where the index is too small for one, or the space has nothing to rank."""
        facts = self._facts
        share = max(RUNG, round(FLOOR / facts.size.chunks, 4)) if facts.size.chunks else 1.0
        enough = len(facts.space.design()) > 2 and facts.trials_limit >= 10
        return share if share <= 0.5 and enough else None

    @property
    def seen(self) -> frozenset[Graph]:
        """Graphs that were measured by these answers, or attempted in this account."""
        return frozenset(self.on_rung) | frozenset(self._full) | {attempt.graph for attempt in self._facts.attempts}

    @cached_property
    def best(self) -> float:
        """The score of the best that passes, of whatever recipe; infinite where nothing does."""
        facts = self._facts
        return min((score(trial, facts.weights) for trial in self._whole if passes(trial, facts.gate)), default=math.inf)

    @property
    def nothing_passes(self) -> bool:
        """Whether there is reason to fear for the space: no graph passes, and none of the rung promises to, or one has failed wholly."""
        if any(least_passing(points, self._facts.gate) for points in self._full.values()) or not self.seen:
            return False
        promising = any(self._reached(graph) is not None for graph in self.on_rung if not self.tried(graph))
        return not promising if self.rung is not None else any(self._failed_wholly(graph) for graph in self._full)

    @property
    def hopeless(self) -> bool:
        """Whether no setting of the space can pass, since the graphs that find most do not."""
        corners = tuple(self._facts.space.best_built())
        return math.isinf(self.best) and bool(corners) and all(self._failed_wholly(graph) for graph in corners)

    @property
    def stale(self) -> int:
        """How many graphs beyond the first ones this account attempted since the best of its kind: over a share, if shares rank them."""
        attempts = [a for a in self._facts.attempts if a.cause is None and (a.fidelity >= 1) == (self.rung is None)]
        scores = {
            attempt.graph: self._full_score(attempt.graph) if self.rung is None else self._cost(attempt.graph) for attempt in attempts
        }
        least = min(scores.values(), default=math.inf)
        since = next((at for at, a in enumerate(attempts) if scores[a.graph] == least < math.inf), 0)
        return len({attempt.graph for attempt in attempts[since:] if scores[attempt.graph] > least} - set(self._facts.space.design()))

    def tried(self, graph: Graph) -> bool:
        """Whether it was built over everything."""
        return graph in self._full

    def measured_exactly(self, parameters: Mapping[str, Any]) -> bool:
        """Whether this recipe of exact search was measured by these answers."""
        return any(trial.engine == "flat" and dict(trial.params) == dict(parameters) for trial in self._whole)

    def left(self, graph: Graph) -> bool:
        """Whether it lies in a region that has failed: of recall, by a graph that had more of everything; of memory, by one with fewer
        links; of an engine as a whole."""
        if any(graph.within(other) and self._failed_wholly(other) for other in self._full):
            return True
        for attempt in self._facts.attempts:
            same = attempt.graph.engine == graph.engine
            if same and (
                attempt.cause == "engine"
                or (attempt.cause == "memory" and graph.m >= attempt.graph.m)
                or (attempt.cause == "time" and attempt.graph.within(graph))
                or (attempt.cause == "other" and attempt.graph == graph)
            ):
                return True
        return False

    def unfinished(self, most: int) -> Graph | None:
        """The graph that was built last in this account, if its least passing breadth is still to be found. most: breadths to measure."""
        whole = [attempt for attempt in self._facts.attempts if attempt.fidelity >= 1]
        if not whole or whole[-1].cause is not None or not self.tried(whole[-1].graph):
            return None
        graph = whole[-1].graph
        points = self._full[graph]
        passing, failing = least_passing(points, self._facts.gate), curve.most_failing(points, self._facts.gate)
        if len(points) >= most or (passing is not None and not depends_on_breadth(self._facts.weights)):
            return None
        others = min((self._full_score(other) for other in self._full if other != graph), default=math.inf)
        reached = reaches(points, self._facts.gate, self._bounds(graph))
        if (failing is not None and failing.score >= others) or (reached is not None and reached.score > _NO_BETTER * others):
            return None
        return graph if self.next_breadth(graph) is not None else None

    def next_breadth(self, graph: Graph) -> int | None:
        """Of a search of all rows; None where there is nothing more to find."""
        return curve.next_breadth(self._full.get(graph, ()), self._facts.gate, self._bounds(graph), self._guess(graph))

    def ranked(self, most: int) -> list[Graph]:
        """Graphs of the rung that are worth building over everything, by what they would cost at the gate: until so many of them were
        built and anything passes, the best; then those that promise to be so much better than what passes that they would replace it."""
        costs = {graph: cost for graph in self.on_rung if (cost := self._cost(graph)) < math.inf and not self.left(graph)}
        fresh = sorted((graph for graph in costs if not self.tried(graph)), key=lambda graph: self._worth(graph, costs[graph]))
        built = len(costs) - len(fresh)
        if built < most or math.isinf(self.best):
            return fresh[: max(1, most - built)]
        ratio = self._ratio()
        return [graph for graph in fresh if ratio is not None and costs[graph] * ratio < FASTER * self.best]

    def _worth(self, graph: Graph, cost: float) -> float:
        return math.log(cost) + _DOUBLE_BUILD * math.log2(self.predictor.cpu_seconds(graph))

    def place(self, graph: Graph) -> str:
        """Its rank on the rung, in words."""
        costs = sorted((self._cost(other), other) for other in self.on_rung)
        number = next((at for at, (_, other) in enumerate(costs, 1) if other == graph), len(costs))
        return f"it is {'the best' if number == 1 else f'number {number}'} of {len(self.on_rung)}"

    def rung_breadths(self, graph: Graph) -> tuple[int, ...]:
        """Of the searches over a share: two, around where the graph is expected to reach the gate, by the others; far apart at first."""
        low, high = self._bounds(graph)
        found = {other: math.log(reached.breadth) for other in self.on_rung if (reached := self._reached(other)) is not None}
        own = [breadth for other, breadth in found.items() if other.engine == graph.engine]
        if not own:
            return tuple(sorted({between((low, high), 1 / 3), between((low, high), 2 / 3)}))
        expected = surface(self._facts.space, found)
        middle = math.exp(median(own) if expected is None else expected(graph))
        return tuple(sorted({min(high, max(low, round(middle * factor))) for factor in (1 / _AROUND, _AROUND)}))

    def values(self) -> dict[Graph, float]:
        """What a sampler learns from: the logarithm of each graph's score over the least, within what compares; of all answers, the
        present ones' last, and what was built over everything last of these."""
        facts, found = self._facts, {}
        truths = dict.fromkeys(str(trial.detail.get("truth")) for trial in facts.trials if trial.detail.get("truth") != facts.truth)
        for truth in (*truths, facts.truth):
            shares = sorted({trial.fidelity for trial in facts.trials if trial.detail.get("truth") == truth})
            for share in shares:
                found.update(self._values(self._curves(truth, share), share))
        return found

    def closest(self) -> str:
        """The greatest recall of the space that was measured, in words."""
        points = [(point.recall, graph, point.breadth) for graph, curve_ in self._full.items() for point in curve_]
        if not points:
            return "nothing of it could be measured"
        recall, graph, breadth = max(points)
        return f"{graph} with a breadth of {breadth} finds {recall:.3f} at least, the gate is {self._facts.gate:g}"

    def _values(self, curves: Curves, share: float) -> dict[Graph, float]:
        scores: dict[Graph, float] = {}
        for graph, points in curves.items():
            found = least_passing(points, self._facts.gate) if share >= 1 else self._reaches(graph, points, share)
            scores[graph] = math.inf if found is None else found.score
        finite = [value for value in scores.values() if 0 < value < math.inf]
        if not finite:
            return dict.fromkeys(scores, _WORSE)
        worst = math.log(max(finite) / min(finite)) + _WORSE
        return {graph: math.log(value / min(finite)) if 0 < value < math.inf else worst for graph, value in scores.items()}

    def _curves(self, truth: str, fidelity: float) -> dict[Graph, list[Point]]:
        found: dict[Graph, list[Point]] = defaultdict(list)
        for trial in self._facts.trials:
            if trial.detail.get("truth") == truth and math.isclose(min(1.0, trial.fidelity), fidelity) and (of := graph_of(trial)):
                found[of[0]].append(self._point(trial, of[1]))
        return dict(found)

    def _point(self, trial: Trial, breadth: int) -> Point:
        return Point(breadth, sure_recall(trial.recall_low, trial.detail), max(LEAST, score(trial, self._facts.weights)))

    def _failed_wholly(self, graph: Graph) -> bool:
        high = self._bounds(graph)[1]
        return any(point.breadth >= high and point.recall < self._facts.gate for point in self._full.get(graph, ()))

    def _cost(self, graph: Graph) -> float:
        """What it would cost at the gate, by the rung: between what its own trials say, and what those of its neighbours do."""
        return self._costs.get(graph, math.inf)

    @cached_property
    def _costs(self) -> Mapping[Graph, float]:
        found = {graph: math.log(reached.score) for graph in self.on_rung if (reached := self._reached(graph)) is not None}
        expected = surface(self._facts.space, found)
        return {graph: math.exp(own if expected is None else (own + expected(graph)) / 2) for graph, own in found.items()}

    def _full_score(self, graph: Graph) -> float:
        passing = least_passing(self._full.get(graph, ()), self._facts.gate)
        return math.inf if passing is None else passing.score

    def _reached(self, graph: Graph) -> curve.Reached | None:
        return self._reaches(graph, self.on_rung[graph], self.rung or 1.0)

    def _reaches(self, graph: Graph, points: Sequence[Point], share: float) -> curve.Reached | None:
        """What it costs where it is as good over this share as it has to be over all rows."""
        return reaches(points, 1 - (1 - self._facts.gate) * share**_GROWTH, self._bounds(graph))

    def _bounds(self, graph: Graph) -> tuple[int, int]:
        return self._facts.space.breadths(graph.engine)

    def _both(self) -> list[tuple[curve.Reached, Point]]:
        pairs = ((self._reached(graph), least_passing(self._full[graph], self._facts.gate)) for graph in self.on_rung if self.tried(graph))
        return [(reached, passing) for reached, passing in pairs if reached is not None and passing is not None]

    def _ratio(self) -> float | None:
        """How much more a graph costs over all rows than on the rung; None until one was measured on both."""
        both = [passing.score / reached.score for reached, passing in self._both() if reached.score > 0]
        return median(both) if both else None

    def _guess(self, graph: Graph) -> int | None:
        if self.nothing_passes:
            return self._bounds(graph)[1]
        reached = self._reached(graph) if graph in self.on_rung else None
        if reached is not None:
            grown = [passing.breadth / reached_.breadth for reached_, passing in self._both()]
            return math.ceil(reached.breadth * (median(grown) if grown else 1.0))
        passing = [point.breadth for points in self._full.values() if (point := least_passing(points, self._facts.gate))]
        return round(median(passing)) if passing else between(self._bounds(graph), 0.5)
