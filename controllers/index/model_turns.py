"""An index whose model a server runs waits until that model is in memory, and lets it go once its job has ended.

Few models are in memory at once, and never two that embed; who is first is not decided here (`engines/ollama/choice.py`).
"""

from __future__ import annotations

from typing import Protocol

from controllers.step import Started
from engines.embedding.registry import Model, by_server, model_name
from engines.ollama.choice import ModelState
from state import reasons

_SECONDS = 15.0
"""Until it looks again by itself; whoever loads models tells it sooner."""


class Turns(Protocol):
    """Who may have a model in memory. Returns at once."""

    def want(self, owner: str, model: str) -> ModelState:
        """From now on until `let_go`, one model an owner."""

    def let_go(self, owner: str) -> None:
        """No longer."""


class ModelTurns:
    """turns: None where nobody sees to it: then a job asks, and the server loads what it is asked for."""

    def __init__(self, turns: Turns | None) -> None:
        self._turns = turns

    def wait(self, owner: str, model: Model, *, begun: bool) -> Started | None:
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
            case "loading":
                return Started(reasons.EMBEDDING, f"{model_name(model)} is being loaded", seconds=_SECONDS)
            case _:
                return Started(reasons.MODEL_UNAVAILABLE, f"{model_name(model)} is not loaded: {state.reason}", seconds=_SECONDS)

    def let_go(self, owner: str) -> None:
        """It may be another's turn."""
        if self._turns is not None:
            self._turns.let_go(owner)
