"""What is made small: one measure, or several by weights. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping

from engines.trials.choice import Objective, cost
from state.trials import Trial

Weights = Mapping[Objective, float]
"""One measure is a weight of 1."""

BY_BREADTH: frozenset[Objective] = frozenset({"latencyP95"})
"""What the breadth of a search changes; the rest is of the build."""


def score(trial: Trial, weights: Weights) -> float:
    """The weighted geometric mean of the measures, so that a tenth less of one counts as much whatever its unit; the smaller the better.

    In the measure's own unit where there is one. Infinite where one was not measured.
    """
    total = sum(weights.values())
    if total <= 0:
        return 1.0
    costs = [(cost(trial, name), weight) for name, weight in weights.items() if weight > 0]
    if any(math.isinf(value) for value, _ in costs):
        return math.inf
    return math.exp(sum(weight * math.log(max(value, 1e-9)) for value, weight in costs) / total)


def depends_on_breadth(weights: Weights) -> bool:
    """Whether a smaller breadth that passes is better than a greater one."""
    return any(weight > 0 and name in BY_BREADTH for name, weight in weights.items())
