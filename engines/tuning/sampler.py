"""Which graph to try next: optuna's tree-structured Parzen estimator proposes some, and a surface through what is known picks one.

The study is made anew of what is known each time it is asked, so that it remembers whatever any budget measured, and equal knowledge gives
an equal proposal. Costs change smoothly with links and breadth, which the estimator does not know: `surface.py` makes up for that with few
points. Source of the estimator: S. Watanabe, "Tree-Structured Parzen Estimator" (arXiv:2304.11127). The one module that imports optuna,
when it is first asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from engines.tuning.space import Graph, Space
from engines.tuning.surface import surface

_PROPOSALS = 24


def suggest(space: Space, known: Mapping[Graph, float], seed: int, left: Set[Graph]) -> Graph | None:
    """A graph of the space that is not among those left out; None where none comes to mind. known: the smaller the better, finite."""
    if not space.graphs:
        return None
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    choices = {
        "engine": optuna.distributions.CategoricalDistribution(space.graphs),
        "m": optuna.distributions.IntDistribution(*space.m, log=True),
        "construction": optuna.distributions.IntDistribution(*space.construction, log=True),
    }
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=1))
    within = {graph: value for graph, value in known.items() if graph in space}
    for graph, value in within.items():
        study.add_trial(optuna.trial.create_trial(params=graph._asdict(), distributions=choices, value=value))
    asked = dict.fromkeys(Graph(**study.ask(choices).params) for _ in range(_PROPOSALS))
    fresh = [graph for graph in asked if graph not in left]
    expected = surface(space, within)
    return next(iter(fresh), None) if expected is None else min(fresh, key=expected, default=None)
