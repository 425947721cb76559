"""How many searches each index answered, by which model and in which mode, and how long they took: for `/metrics`.

There are as many series as specs name indexes and models; what is refused is no search of an index, and is counted by route only.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field

BOUNDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Of:
    """What answered."""

    index: str
    model: str
    mode: str


@dataclass(slots=True)
class Times:
    """counts: within each of BOUNDS, but beyond the one before; and beyond the last. seconds: of all together."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0


class SearchTally:
    """Counted on one event loop, read from any thread."""

    def __init__(self) -> None:
        self._of: dict[Of, Times] = {}

    def add(self, of: Of, seconds: float) -> None:
        """One search that was answered."""
        times = self._of.get(of)
        if times is None:
            times = self._of[of] = Times()
        times.counts[bisect_left(BOUNDS, seconds)] += 1
        times.seconds += seconds

    def all(self) -> Mapping[Of, Times]:
        """As they are now."""
        return {of: Times(list(times.counts), times.seconds) for of, times in list(self._of.items())}
