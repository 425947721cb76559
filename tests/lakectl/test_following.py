"""How long what follows a daemon waits."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from reconciler.lakectl.following import Wanted, _until_settled
from reconciler.lakectl.observation import Observation
from state import reasons
from state.status import Status


@dataclass
class Daemon:
    """One that shows these pictures, the last one for ever."""

    pictures: list[Observation]
    looks: list[Observation] = field(default_factory=list)

    def look(self) -> Observation:
        self.looks.append(self.pictures[min(len(self.looks), len(self.pictures) - 1)])
        return self.looks[-1]


def seen(*, ready: bool) -> Observation:
    index = Status("Index/i", "True", "Succeeded", "") if ready else Status("Index/i", "False", reasons.BUILDING, "building")
    return Observation("c", (index, Status("TrialBudget/t", "False", reasons.TUNING, "trying recipes")))


def test_a_search_is_not_waited_for() -> None:
    daemon: Any = Daemon([seen(ready=False), seen(ready=False), seen(ready=True)])
    found = _until_settled(daemon, Wanted({}), time.monotonic() + 60, lambda _: None)
    assert found == daemon.pictures[-1]
    assert len(daemon.looks) == 3
