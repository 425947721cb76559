"""Processes that take turns: exactly one runs at a time, and a seed decides at every operation who goes on and who dies.

A process is a thread that holds the baton; `Schedule.turn`, called before every operation, may hand it to another one, put the caller to
sleep for long, or kill it: then Killed unwinds the thread, and nothing that it still tries has an effect. So a run depends on its seed
alone, and a seed that failed fails again. Next: `harness_kernel.py` and `harness_store.py`, whose operations take the turns.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

NAP = 25
"""Turns of others that a process may sleep through, at most."""
LONG = 20.0
"""Seconds that pass where a lease is to run out."""


class Killed(BaseException):
    """The process is no more. Not an Exception, so that nothing survives by catching it."""


def _shut() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


@dataclass(eq=False)
class Process:
    """One simulated process, or several of its pid: `incarnation` names the present one.

    `descriptors` are the files that it has open; `ended` says that its thread has.
    """

    name: str
    machine: str
    body: Callable[[Process], None]
    number: int = 0
    incarnation: str = ""
    dead: bool = False
    ended: bool = False
    asleep_until: int = 0
    error: BaseException | None = None
    descriptors: set[int] = field(default_factory=set)
    go: threading.Lock = field(default_factory=_shut)
    """Open while it is this process's turn."""


@dataclass(frozen=True)
class Odds:
    """How often, of all turns: another goes on, the caller falls asleep, it is killed, all of its machine lose their power."""

    switch: float = 0.15
    sleep: float = 0.02
    kill: float = 0.004
    cut: float = 0.002


class Schedule:
    """The turns of one run, and its time. `at_end(process)` is called when a process has ended, by its own thread; it may start others.

    Args:
        seconds: of the true clock. running: processes that have not ended. dark: machines without power since their last cut.
    """

    def __init__(self, seed: int, odds: Odds, at_end: Callable[[Process], None]) -> None:
        self.random = Random(seed)
        self.counts: Counter[str] = Counter()
        self.story: list[str] = []
        self.steps = 0
        self.seconds = 0.0
        self.running = 0
        self.dark: set[str] = set()
        self._odds = odds
        self._at_end = at_end
        self._late: list[tuple[int, Callable[[], None]]] = []
        self._here = threading.local()
        self._processes: list[Process] = []
        self._over = _shut()

    @property
    def here(self) -> Process | None:
        """The process that this thread is; None for the test itself, which disturbs nothing."""
        return getattr(self._here, "process", None)

    def start(self, name: str, machine: str, body: Callable[[Process], None]) -> None:
        """Another process, which comes to its first turn some time later."""
        process = Process(name, machine, body, len(self._processes))
        self._processes.append(process)
        self.running += 1
        threading.Thread(target=self._live, args=(process,), name=name, daemon=True).start()

    def run(self) -> None:
        """Until every process has ended. Raises what one of them ended with that is no Killed."""
        if not self._processes:
            return
        self._next(None).go.release()
        self._over.acquire()
        self._catch_up()
        for process in self._processes:
            if process.error is not None:
                raise process.error

    def turn(self, what: str) -> None:
        """Before an operation. Raises Killed if this process dies here, or did."""
        process = self.here
        if process is None:
            return
        if process.dead:
            raise Killed
        self.steps += 1
        self.story.append(f"{self.steps:4} {process.name}: {what}")
        self.seconds += 0.05 * self.random.random()
        self._catch_up()
        self._fate(process)
        if process.dead:
            raise Killed
        if self.running > 1 and (process.asleep_until > self.steps or self.random.random() < self._odds.switch):
            self.give_way()

    def give_way(self) -> None:
        """Lets another process go on, whoever that is. Raises Killed if this one is dead afterwards."""
        process = self.here
        assert process is not None
        following = self._next(process)
        if following is not process:
            following.go.release()
            process.go.acquire()
        if process.dead:
            raise Killed

    def wait(self) -> None:
        """Lets a lease run out, and others go on meanwhile."""
        process = self.here
        assert process is not None
        self.seconds += self.random.choice([LONG / 4, LONG])
        process.asleep_until = self.steps + self.random.randint(1, NAP)
        self.turn("waits")

    def later(self, turns: int, action: Callable[[], None]) -> None:
        """Has something done that many turns later, whoever lives then."""
        self._late.append((self.steps + turns, action))

    def die(self, process: Process, how: str) -> None:
        """From now on it does nothing more."""
        process.dead = True
        self.counts[how] += 1
        self.story.append(f"     {process.name}: {how}")

    @property
    def started(self) -> int:
        """How many processes there were so far."""
        return len(self._processes)

    def name_of(self, number: int) -> str | None:
        """The process of this number as it was started last, None if it does not live."""
        process = self._processes[number] if number < len(self._processes) else None
        return None if process is None or process.ended or process.dead else process.incarnation

    def living(self, machine: str) -> bool:
        """Whether any process of the machine has not ended."""
        return any(process.machine == machine and not process.ended for process in self._processes)

    def _catch_up(self) -> None:
        due = [action for step, action in self._late if step <= self.steps or not self.running]
        self._late = [(step, action) for step, action in self._late if step > self.steps and self.running]
        for action in due:
            action()

    def _fate(self, process: Process) -> None:
        drawn = self.random.random()
        odds = self._odds
        if drawn < odds.cut:
            self.counts["power cut"] += 1
            self.dark.add(process.machine)
            for other in self._processes:
                if other.machine == process.machine and not other.ended and not other.dead:
                    self.die(other, "killed by a power cut")
        elif drawn < odds.cut + odds.kill:
            self.die(process, "killed")
        elif drawn < odds.cut + odds.kill + odds.sleep:
            self.counts["put to sleep"] += 1
            process.asleep_until = self.steps + self.random.randint(5, NAP)
            self.seconds += self.random.choice([0.0, LONG, LONG])

    def _next(self, present: Process | None) -> Process:
        """Who goes on: the dying first, so that the kernel takes back what they held; who sleeps only if all do."""
        others = [process for process in self._processes if not process.ended and process is not present]
        awake = [process for process in others if process.asleep_until <= self.steps]
        dying = [process for process in others if process.dead]
        candidates = dying or awake or ([present] if present is not None and not present.ended else others)
        return self.random.choice(candidates)

    def _live(self, process: Process) -> None:
        process.go.acquire()
        self._here.process = process
        try:
            if not process.dead:
                process.body(process)
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001 - a finding, which `run` raises
            process.error = error
        process.ended = True
        self.running -= 1
        self._here.process = None
        try:
            self._at_end(process)
        except BaseException as error:  # noqa: BLE001 - so is this
            process.error = process.error or error
        if self.running:
            self._next(process).go.release()
        else:
            self._over.release()
