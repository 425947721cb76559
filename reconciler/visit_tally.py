"""How many visits there were, and what they cost, for `/metrics`. Next: `driver.py`, which counts; `metrics.py`, which tells."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from controllers.outcome import Outcome


@dataclass(slots=True)
class VisitTally:
    """Visits so far, and their seconds, by kind and ending. Written on the event loop, read by whoever wants figures."""

    visits: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: Counter[tuple[str, str]] = field(default_factory=Counter)

    def count(self, kind: str, outcome: Outcome, seconds: float) -> None:
        """One visit."""
        label = (kind, type(outcome).__name__.lower())
        self.visits[label] += 1
        self.seconds[label] += seconds  # type: ignore[assignment]  # a Counter adds floats as well
