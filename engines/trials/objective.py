"""What is made small: one measure, or several by weights. Pure, the same for whoever tunes, promotes or shows.

In words it is a measure, or measures with their weights: `latencyP95`, `latencyP95:3,memory:1`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, get_args

from specs.suggestions import nearest
from state.trials import Trial

Objective = Literal["latencyP95", "buildSeconds", "memory"]
OBJECTIVES: Mapping[Objective, str] = {"latencyP95": "p95_us", "buildSeconds": "build_cpu_seconds", "memory": "memory_bytes"}
"""Each measure, and the column that has it. Of a build its CPU seconds count: one that is kept to a share of the processors, or is built
beside others, takes longer and costs the same."""

Weights = Mapping[Objective, float]
"""None is below 0, and one at least above; one measure is a weight of 1."""
LATENCY: Weights = {"latencyP95": 1.0}

LEAST = 1e-9
"""What counts as a cost of nothing, where costs are divided by each other."""
_ALIKE: Mapping[Objective, float] = {"latencyP95": 1.0, "buildSeconds": 0.01, "memory": 1 << 20}
"""Below it two are alike where measures are weighed: exact search holds no memory of its own, and would be better than any graph by any
factor."""

BY_BREADTH: frozenset[Objective] = frozenset({"latencyP95"})
"""What the breadth of a search changes; the rest is of the build."""


def cost(trial: Trial, objective: Objective) -> float:
    """The smaller the better; infinite where it was not measured."""
    value = getattr(trial, OBJECTIVES[objective])
    return math.inf if value is None else float(value)


def score(trial: Trial, weights: Weights) -> float:
    """The weighted geometric mean of the measures, so that a tenth less of one counts as much whatever its unit; the smaller the better.

    In the measure's own unit where there is one. Of several none counts as less than a microsecond, a hundredth of a second or a MiB.
    Infinite where one was not measured.
    """
    wanted = [name for name, weight in weights.items() if weight > 0]
    if len(wanted) == 1:
        return cost(trial, wanted[0])
    costs = {name: max(cost(trial, name), _ALIKE[name]) for name in wanted}
    if any(map(math.isinf, costs.values())):
        return math.inf
    return math.exp(sum(weights[name] * math.log(value) for name, value in costs.items()) / sum(weights.values()))


def depends_on_breadth(weights: Weights) -> bool:
    """Whether a smaller breadth that passes is better than a greater one."""
    return any(weight > 0 and name in BY_BREADTH for name, weight in weights.items())


def weights_of(text: str) -> Weights:
    """The weights of an objective in words. Raises ValueError, which says what is wrong with it."""
    found: dict[Objective, float] = {}
    for part in text.split(","):
        name, colon, weight = part.strip().partition(":")
        known = next((one for one in get_args(Objective) if one == name), None)
        if known is None:
            near = nearest(name, OBJECTIVES)
            hint = f"; did you mean `{near}`?" if near else ""
            raise ValueError(f"`{name}` is none of {', '.join(OBJECTIVES)}{hint}")
        if known in found:
            raise ValueError(f"`{name}` has two weights")
        found[known] = _weight(weight) if colon else 1.0
    return found


def _weight(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ValueError(f"`{text}` is no weight; it needs a number over 0, as in latencyP95:3,memory:1")
    return value
