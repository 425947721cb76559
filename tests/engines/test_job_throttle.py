"""A job's process takes as many processors as it may: by figures, and with a real process that is stopped and goes on."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.jobs import throttle as module
from engines.jobs.executor import Executor, JobLimits
from engines.jobs.job import Done, Failed, Job
from engines.jobs.throttle import OWED, TICK, Allowance, Throttle, cpu_seconds

SECONDS = 10.0


def spend(
    cores: float,
    threads: Callable[[float], float],
    ticks: Callable[[int], float] = lambda number: TICK,
    owing: Callable[[float], bool] = lambda now: False,
) -> list[tuple[float, float]]:
    """A process with so many busy threads at each instant, looked at by an allowance; (instant, CPU seconds so far) at each look."""
    allowance, now, used, held, found = Allowance(cores), 0.0, 0.0, False, [(0.0, 0.0)]
    number = 0
    while now < 3 * SECONDS:
        elapsed = ticks(number)
        taken = 0.0 if held else threads(now) * elapsed
        now, used, number = now + elapsed, used + taken, number + 1
        allowance.owing = owing(now)
        held = allowance.tick(elapsed, taken)
        found.append((now, used))
    return found


def shares(found: list[tuple[float, float]]) -> list[float]:
    """Processors taken in every ten seconds."""
    return [
        (used - before) / (now - then)
        for at, (then, before) in enumerate(found)
        if (later := next(((n, u) for n, u in found[at:] if n - then >= SECONDS), None)) is not None
        for now, used in (later,)
    ]


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.75])
@pytest.mark.parametrize("processors", [1, 2, 8])
@pytest.mark.parametrize("threads", [1, 2, 8])
def test_within_a_tenth_over_any_ten_seconds(share: float, processors: int, threads: int) -> None:
    cores, busy = share * processors, float(min(threads, processors))
    found = shares(spend(cores, lambda now: busy))
    assert max(found) <= 1.1 * cores
    assert min(found) >= 0.9 * min(cores, busy)


def test_who_waited_takes_no_more_afterwards() -> None:
    """Idle for ten seconds, then eight threads."""
    found = spend(0.5, lambda now: 0.0 if now < SECONDS else 8.0)
    assert max(shares(found)) <= 0.55


@given(st.lists(st.floats(0.01, 0.3), min_size=5, max_size=40), st.sampled_from([0.2, 0.5, 1.0]))
def test_looks_that_come_late_are_made_up_for(ticks: list[float], cores: float) -> None:
    """On a busy machine: one thread, which is all that a build is."""
    found = shares(spend(cores, lambda now: 1.0, lambda number: ticks[number % len(ticks)]))
    assert max(found) <= 1.1 * cores + 0.03


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("processors", [1, 2, 8])
def test_what_is_timed_is_owed_and_stays_within_a_tenth(share: float, processors: int) -> None:
    """For a second in every three; all processors are busy."""
    cores = share * processors
    found = spend(cores, lambda now: processors, owing=lambda now: now % 3 < 1)
    assert max(shares(found)) <= 1.1 * cores
    assert min(shares(found)) >= 0.9 * cores
    plain, timed = Allowance(cores), Allowance(cores, owing=True)
    taken = cores * OWED * 0.9
    assert plain.tick(0.01, taken)
    assert not timed.tick(0.01, taken), "it is not stopped at once"
    timed.owing = False
    assert timed.tick(0.01, 0.0), "but has to pay"
    assert timed.tick(0.4, 0.0)
    assert not timed.tick(0.2, 0.0)


class Process:
    """What is done to it, in order."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.seen: list[str] = []
        self.told = threading.Event()

    def hold(self) -> None:
        self.seen.append("hold")
        self.told.set()

    def go_on(self) -> None:
        self.seen.append("go on")


def test_what_is_held_goes_on_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    used = iter(range(1_000_000))
    monkeypatch.setattr(module, "cpu_seconds", lambda pid: float(next(used)))
    process = Process()
    throttle = Throttle(process, 0.5)
    assert process.told.wait(30)
    throttle.end()
    assert process.seen[-1] == "go on"


def test_a_process_that_is_gone_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cpu_seconds", lambda pid: None)
    process = Process()
    Throttle(process, 0.5).end()
    assert process.seen == []
    assert cpu_seconds(2**22 + 1) is None


def ended(executor: Executor, job: Job, over: threading.Event) -> Done | Failed:
    while not isinstance(state := executor.ensure(job), Done | Failed):
        assert over.wait(60)
        over.clear()
    return state


def test_a_job_with_a_limit(tmp_path: Path) -> None:
    """It ends as it would without, and its worker is free for the next."""
    over = threading.Event()
    executor = Executor(tmp_path, JobLimits(workers=1), lambda _: over.set())
    try:
        slow = Job("spin", "spin", "jobs_under_test:spin", {"seconds": 0.6}, 1, "X/a", apart=True, cores=0.5)
        found = ended(executor, slow, over)
        assert isinstance(found, Done)
        assert found.result >= 0.6
        free = Job("add", "add", "jobs_under_test:add", {"numbers": [1, 2]}, 1, "X/a", apart=True)
        then = ended(executor, free, over)
        assert isinstance(then, Done)
        assert then.result["sum"] == 3
    finally:
        executor.shutdown()


def test_a_job_says_what_is_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[bool] = []
    monkeypatch.setattr(Throttle, "owe", lambda self, owing: said.append(owing))
    over = threading.Event()
    executor = Executor(tmp_path, JobLimits(workers=1), lambda _: over.set())
    try:
        job = Job("time", "time", "jobs_under_test:time_something", {}, 1, "X/a", apart=True, cores=0.5)
        assert ended(executor, job, over) == Done("timed")
        assert said == [True, False]
        assert ended(executor, replace(job, id="free", cores=None), over) == Done("timed"), "there is nobody to say it to"
    finally:
        executor.shutdown()


def test_what_is_held_can_be_cancelled(tmp_path: Path) -> None:
    executor = Executor(tmp_path, JobLimits(workers=1))
    log = tmp_path / "log"
    job = Job(
        "wait", "wait", "jobs_under_test:log_and_wait", {"log": str(log), "gate": str(tmp_path / "gate")}, 1, "X/a", apart=True, cores=1e-6
    )
    executor.ensure(job)
    executor.shutdown()
    assert executor.worker_pids() == ()
