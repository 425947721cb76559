"""A job that embeds by a model of a server waits until that model is in memory, and lets it go once it has ended.

Few models are in memory at once, and never two that embed; who is first is not decided here (`engines/ollama/choice.py`). A job that may
call one is told of before it begins, so that one that is killed is known; what it called, when it has ended, before what it made is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from controllers.step import Started
from engines.embedding.registry import Model, by_server, model_name
from engines.jobs.job import Job
from engines.ollama.calls import Tally, taken
from engines.ollama.choice import ModelState
from specs.errors import LakehouseError
from state import reasons

_SECONDS = 15.0
"""Until it looks again by itself; whoever loads models tells it sooner."""


class Turns(Protocol):
    """Who may have a model in memory. Returns at once."""

    def want(self, owner: str, model: str) -> ModelState:
        """From now on until `let_go`, one model an owner."""

    def let_go(self, owner: str) -> None:
        """No longer."""


class JobCalls(Protocol):
    """Keeps a record of what jobs called. Blocking."""

    def begun(self, job: Job, model: str) -> str:
        """One that is about to begin; the record's id. What it raises is raised in place of the job."""

    def ended(self, job: Job, model: str, begun: str | None, tally: Tally | None, error: LakehouseError | None) -> None:
        """One that has ended, and why it failed, if it did: then nobody knows how many calls it made, and tally is None. begun: the record
        of its beginning. What it raises is raised in place of the job's result."""


class ModelTurns:
    """turns: None where nobody sees to it: then a job asks, and the server loads what it is asked for."""

    def __init__(self, turns: Turns | None, calls: JobCalls) -> None:
        self._turns = turns
        self._calls = calls
        self._begun: dict[tuple[str, str], str] = {}
        """The record of the beginning of the last job of each object and kind."""

    def run(self, job: Job, model: Model, run: Callable[[], Started | Mapping[str, Any]], *, begun: bool) -> Started | Mapping[str, Any]:
        """The result of a job that embeds by this model, as `run` gives it; or that it runs, or waits for its turn. Raises what `run`
        does."""
        owner = job.object
        if waits := self._wait(owner, model, begun=begun):
            return waits
        if not begun:
            self._begin(job, model)
        try:
            found = run()
        except LakehouseError as error:
            self._end(job, model, None, error)
            raise
        if isinstance(found, Started):
            return found
        result, tally = taken(found)
        self._end(job, model, tally or Tally(), None)
        return result

    def _begin(self, job: Job, model: Model) -> None:
        if not by_server(model):
            return
        try:
            self._begun[job.object, job.kind] = self._calls.begun(job, model_name(model))
        except LakehouseError:
            self.let_go(job.object)
            raise

    def _end(self, job: Job, model: Model, tally: Tally | None, error: LakehouseError | None) -> None:
        self.let_go(job.object)
        if by_server(model):
            self._calls.ended(job, model_name(model), self._begun.pop((job.object, job.kind), None), tally, error)

    def _wait(self, owner: str, model: Model, *, begun: bool) -> Started | None:
        """What a job for this object waits for; None where it may begin. begun: it has, and is not held up."""
        if self._turns is None or not by_server(model):
            self.let_go(owner)
            return None
        state = self._turns.want(owner, model_name(model))
        match state.phase:
            case "loaded":
                return None
            case _ if begun:
                return None
            case _ if state.drift:
                return Started(reasons.MODEL_DRIFT, f"{model_name(model)} is not loaded yet: {state.drift}", seconds=_SECONDS)
            case "loading":
                return Started(reasons.EMBEDDING, f"{model_name(model)} is being loaded", seconds=_SECONDS)
            case _:
                return Started(reasons.MODEL_UNAVAILABLE, f"{model_name(model)} is not loaded: {state.reason}", seconds=_SECONDS)

    def let_go(self, owner: str) -> None:
        """It may be another's turn."""
        if self._turns is not None:
            self._turns.let_go(owner)
