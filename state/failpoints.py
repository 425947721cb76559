"""Failpoints: named instants at which a test may kill the process or make it fail.

Code that moves from one durable step to the next declares a name at module level and calls `hit` between the steps:

    BEFORE_PUT = declare("catalog.before-put")
    ...
    hit(BEFORE_PUT)

A harness imports the modules, reads `declared()`, and stops a daemon at each in turn. Nothing is armed by itself: settings or a
test call `arm`. A job's worker process is armed by the executor with what its parent has, and "kill" then ends both.
Refuses to be clever: no delays, no probabilities. Next: `local_store.py` for uses of it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from state.errors import FailpointError

ACTIONS = ("kill", "error")

_declared: set[str] = set()
_armed: dict[str, _Trap] = {}
_lock = threading.Lock()


@dataclass(slots=True)
class _Trap:
    action: str
    remaining: int
    text: str


def declare(name: str) -> str:
    """Register a name, `<module>.<instant>`, and return it. At module level, so that importing makes it known."""
    _declared.add(name)
    return name


def declared() -> tuple[str, ...]:
    """Every name of the modules imported so far, sorted."""
    return tuple(sorted(_declared))


def hit(name: str) -> None:
    """Nothing, unless armed: then the process ends by SIGKILL, or FailpointError is raised."""
    if _armed:
        _spring(name)


def arm(points: Mapping[str, str]) -> None:
    """Add {name: action}: "kill" or "error", at the first hit; "kill@3" at the third. Raises ValueError for another action.

    "error" is raised once; later hits pass, so that a retry can be seen to succeed. What is armed alike already goes on counting.
    """
    for name, text in points.items():
        action, at, count = text.partition("@")
        if action not in ACTIONS or (at and (not count.isdecimal() or int(count) < 1)):
            message = f"Failpoint {name}: {text!r} is no action; say kill, error, kill@N or error@N."
            raise ValueError(message)
        with _lock:
            if name in _armed and _armed[name].text == text:
                continue
            _armed[name] = _Trap(action, int(count or 1), text)


def disarm() -> None:
    """Forget what was armed; names stay declared."""
    with _lock:
        _armed.clear()


def armed() -> dict[str, str]:
    """What `arm` was given and has not sprung yet, for handing on to a worker process."""
    with _lock:
        return {name: trap.text for name, trap in _armed.items()}


def _spring(name: str) -> None:
    with _lock:
        trap = _armed.get(name)
        if trap is None:
            return
        trap.remaining -= 1
        if trap.remaining > 0:
            return
        del _armed[name]
    if trap.action == "error":
        message = f"Failpoint {name} was armed to fail."
        raise FailpointError(message)
    for pid in _victims:
        os.kill(pid, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


_victims: list[int] = []


def kill_also(pid: int) -> None:
    """A "kill" in this process ends `pid` first: a worker's parent, without which its own death would look like a crashed job."""
    _victims.append(pid)
