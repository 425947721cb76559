"""Keeps a job's process to so many processors: it is stopped (SIGSTOP) once it has taken more than they give, and goes on (SIGCONT) once
they would have given it.

What may be taken grows with time and is kept up to `BURST` seconds of it, so that a process that waited takes no more afterwards; what
was taken beyond is owed. With a look every `TICK` seconds, a process of several threads overdraws some hundredths of a second at most,
which over ten seconds is far below a tenth. While something is timed (`timed.py`) it is not stopped until it owes `OWED` seconds, and it
pays for them afterwards: with the rest that stays below a tenth as well. Where the kernel does not tell CPU times (elsewhere than on
Linux) nothing is throttled.

`Allowance` is pure; `Throttle` is a thread for each job that has a limit. A process that is stopped is killed like any other.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

TICK = 0.02
BURST = 0.05
OWED = 0.6
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class Held(Protocol):
    """A process. Thread-safe."""

    @property
    def pid(self) -> int:
        """Of the process."""

    def hold(self) -> None:
        """Stops it where it is, until `go_on`."""

    def go_on(self) -> None:
        """After `hold`; nothing otherwise."""


@dataclass(slots=True)
class Allowance:
    """CPU seconds that may be taken now; below 0 they are owed. cores: what is given a second. owing: whether they may be, for now."""

    cores: float
    left: float = 0.0
    held: bool = False
    owing: bool = False

    def tick(self, elapsed: float, used: float) -> bool:
        """Whether the process is to be held from now on. Both since the last tick: seconds, and CPU seconds of all threads."""
        self.left = min(self.left + self.cores * elapsed, self.cores * BURST) - used
        self.held = self.left < (-self.cores * OWED if self.owing else 0)
        return self.held


class Throttle:
    """From the beginning of a job to its end."""

    def __init__(self, process: Held, cores: float) -> None:
        """Begins at once."""
        self._process = process
        self._allowance = Allowance(cores)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"throttle-{process.pid}", daemon=True)
        self._thread.start()

    def owe(self, owing: bool) -> None:
        """Whether something is timed from now on."""
        self._allowance.owing = owing

    def end(self) -> None:
        """The process is free; returns when nothing holds it any more."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        held = False
        try:
            then, used = time.monotonic(), cpu_seconds(self._process.pid)
            while used is not None and not self._over.wait(TICK):
                now, taken = time.monotonic(), cpu_seconds(self._process.pid)
                if taken is None:
                    return
                wanted = self._allowance.tick(now - then, taken - used)
                if wanted != held:
                    (self._process.hold if wanted else self._process.go_on)()
                then, used, held = now, taken, wanted
        finally:
            if held:
                self._process.go_on()


def cpu_seconds(pid: int) -> float | None:
    """What all threads of a process have taken, those included that have ended; None where it is gone, or the kernel does not tell."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(after_name[11]) + int(after_name[12])) / _TICKS_A_SECOND
    return None
