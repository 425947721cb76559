"""`lakectl apply`: a writer in the foreground that ends when the world matches, or cannot.

Converged means: every object was visited for this revision, requests that waited are answered, nothing waits, no job runs, and all is
Ready. What waits for something that nobody is making, what is Stalled, and what failed three times in a row ends the wait as a problem. A
TrialBudget tries recipes for as long as it may, which nothing waits for: it is told as `searching`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from engines.jobs.job import JobInfo
from reconciler.assembly import Assembly, assemble
from reconciler.opening import Housekeeping, open_state
from reconciler.place import Place
from reconciler.settings import Settings
from specs.resource import Key
from state import reasons
from state.status import Status

_LOOK_EVERY = 0.05
_MOST_FAILURES = 3


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: objects that are Ready of all that are wanted, and what is being worked on, in words."""

    done: int
    total: int
    working: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Convergence:
    """How it ended. `problems` are the statuses that are not Ready, in the order of `objects`, without those of searches that go on."""

    converged: bool
    revision: str
    problems: tuple[Status, ...]
    objects: tuple[Status, ...]
    seconds: float

    @property
    def searching(self) -> tuple[Status, ...]:
        """Of budgets whose search has not ended."""
        return tuple(status for status in self.objects if searches(status))


def searches(status: Status) -> bool:
    """Whether it is of a budget whose search has not ended."""
    return status.ready != "True" and status.reason == reasons.TUNING


async def apply_here(place: Place, settings: Settings, *, seconds: float, told: Callable[[Progress], None]) -> Convergence:
    """Reconciles the place's revision until it converges, cannot, or so many seconds have passed.

    Raises LeaseHeld where a daemon (or another apply) is at work, and what `open_state` raises.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    state = await asyncio.to_thread(open_state, place, settings, address="")
    housekeeping = Housekeeping(state)
    try:
        assembly = await assemble(state, settings)
        assembly.models.start()
        try:
            driving = asyncio.create_task(assembly.driver.run())
            try:
                await _until_quiet(assembly, driving, began + seconds, told)
            finally:
                assembly.driver.stop()
                await driving
            return _ending(assembly, loop.time() - began)
        finally:
            await asyncio.to_thread(assembly.models.close)
            await asyncio.to_thread(assembly.executor.shutdown)
            await asyncio.to_thread(assembly.files.save)
            await asyncio.to_thread(assembly.notifier.close)
    finally:
        await asyncio.to_thread(housekeeping.close)


async def _until_quiet(assembly: Assembly, driving: "asyncio.Task[None]", deadline: float, told: Callable[[Progress], None]) -> None:
    """Returns when nothing moves any more; ends with the driver if that fails."""
    loop = asyncio.get_running_loop()
    while loop.time() < deadline and not driving.done():
        await asyncio.wait((driving,), timeout=_LOOK_EVERY)
        told(_progress(assembly))
        if assembly.driver.obeyed and _quiet(assembly):
            return


def _quiet(assembly: Assembly) -> bool:
    queue = assembly.queue
    if not queue.idle or assembly.executor.jobs():
        return False
    # what has ended and is looked at again later, as a mirror is, has nothing left to do now
    waiting = queue.delayed - assembly.driver.ready - assembly.driver.stalled
    return all(assembly.driver.failures(key) >= _MOST_FAILURES or _held_up(assembly, key) for key in waiting)


def _held_up(assembly: Assembly, key: Key) -> bool:
    """Somebody wants it to be left alone, perhaps for a year, or it waits for another that is not made: nothing to wait for here."""
    status = assembly.state.statuses.get(str(key))
    if status.reason == reasons.AWAITING_OTHERS:
        return assembly.state.statuses.get(str(status.detail.get("blockedBy"))).ready != "True"
    return status.reason in (reasons.SUSPENDED, reasons.MODEL_UNAVAILABLE, reasons.MODEL_DRIFT) or searches(status)


def _progress(assembly: Assembly) -> Progress:
    """From the driver's own sets: decoding statuses many times a second would cost more than the work."""
    jobs = {job.object: job for job in assembly.executor.jobs()}
    working = {str(key): "" for key in sorted(assembly.queue.processing)}
    working |= {name: f"{job.kind}: {_share(job)}" for name, job in jobs.items()}
    return Progress(len(assembly.driver.ready), len(assembly.world.objects), tuple(working.items()))


def _share(job: JobInfo) -> str:
    return f"{job.done / job.total:.0%}" if job.total else job.state


def _ending(assembly: Assembly, seconds: float) -> Convergence:
    wanted = {str(key): desired for key, desired in assembly.world.objects.items()}
    statuses = {status.object: status for status in assembly.state.statuses.all()}
    objects = []
    for name, desired in sorted(wanted.items()):
        status = statuses.get(name)
        if status is None or status.digest != desired.digest:
            status = Status(name, "Unknown", reasons.NOT_OBSERVED, "it was not looked at before the time was up")
        objects.append(status)
    extra = [status for name, status in statuses.items() if name not in wanted and status.ready != "True"]
    problems = [status for status in (*objects, *extra) if status.ready != "True" and not searches(status)]
    read = assembly.world.revision
    return Convergence(read is not None and not problems, read or "", tuple(problems), tuple(objects), seconds)
