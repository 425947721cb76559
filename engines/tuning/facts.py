"""What a tuner knows when it is asked for the next trial, and what it may answer. Plain data; next: `strategy.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from engines.trials.objective import Weights
from engines.tuning.prediction import Size
from engines.tuning.space import Graph, Space
from state.trials import Trial

Suggest = Callable[[Space, Mapping[Graph, float], int, AbstractSet[Graph]], Graph | None]
"""See `sampler.suggest`."""
Cause = Literal["memory", "time", "engine", "other"]
"""Why a graph was refused, or failed."""


class Attempt(NamedTuple):
    """One graph that a budget proposed, or refused, in its account. cause: None for what was measured, or is about to be."""

    graph: Graph
    fidelity: float
    cause: Cause | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that the next step depends on.

    Args:
        gate: the least recall that a promotion may have.
        size: of all chunks.
        trials: of the index, by any answers, oldest first. truth: the answers that count.
        attempts: of this account, oldest first. failed: exact recipes that failed in it, by what they are called.
        trials_limit, trials_left, seconds_left: of the budget. memory: bytes that a build may hold; None for any.
        cores: processors that a build gets, at most 1: it is one thread.
    """

    space: Space
    gate: float
    weights: Weights
    size: Size
    trials: Sequence[Trial]
    truth: str
    attempts: Sequence[Attempt]
    trials_limit: int
    trials_left: int
    seconds_left: float
    cores: float = 1.0
    memory: int | None = None
    failed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Try:
    """Build this, and measure these searches. seconds: predicted; None for what is built already. goes_on: with a graph whose least
    passing breadth is not found yet."""

    engine: str
    parameters: Mapping[str, Any] = field(hash=False)
    searches: Sequence[Mapping[str, Any]] = field(hash=False)
    fidelity: float
    why: str
    seconds: float | None = None
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """This graph is not built."""

    graph: Graph
    fidelity: float
    cause: Cause
    why: str


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing more is tried. spent: by a limit; hopeless: no setting of the space can pass."""

    why: str
    spent: bool = False
    hopeless: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What was refused on the way to the next trial, and that."""

    move: Try | Done
    refused: tuple[Refused, ...] = ()

    @property
    def midst(self) -> bool:
        """Whether a graph is not finished: nothing is judged before."""
        return isinstance(self.move, Try) and self.move.goes_on
