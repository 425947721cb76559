"""`lakectl gc`: garbage of an open state, by the daemon that runs or in this process alone.

While anything of an owner is removed, nobody may visit it: its turn is held, and for an index those of the generations, too, whose jobs
build into its folder. Where a job of that kind waits, runs or has a result that is not in the catalog yet, all of it stays for another
time. Next: `state/garbage.py`.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from engines.jobs.executor import Executor
from engines.jobs.results import JobResults
from reconciler.opening import Housekeeping, State, open_state
from reconciler.place import Place as Where
from reconciler.retention import retention
from reconciler.settings import Settings, load_settings
from reconciler.world import World
from state.garbage import Collection, Garbage, Guard, in_words
from state.references import Place
from state.turns import Turns
from state.unreferred import Retention, places_in

_WRITERS = {"Dataset": frozenset({"Dataset"}), "Index": frozenset({"Index", "IndexGeneration", "EvalSet", "TrialRun", "TrialBudget"})}
"""Kinds whose jobs store below the folder of an owner of this kind."""


def garbage(state: State, kept_for: Retention) -> Garbage:
    """Of an open state."""
    results = JobResults(state.place.cache / "jobs")

    def kept() -> Iterator[Place]:
        for value in results.values():
            yield from places_in(value)

    return Garbage(state.catalog, state.buckets, kept_for, state.clock, kept)


def look(state: State, kept_for: Retention) -> Collection:
    """What would go now."""
    return garbage(state, kept_for).look()


def collector(
    state: State, world: World, settings: Callable[[str], Settings], executor: Executor, turns: Turns
) -> Callable[[], Collection]:
    """What a daemon does when it is asked to. settings: of a revision: both what a setting and what a Bucket says may have changed."""

    def collect() -> Collection:
        assert state.lease is not None
        assert world.revision is not None
        kept_for = retention(world, settings(world.revision))
        return garbage(state, kept_for).collect(state.lease.check, guard(world, executor, turns))

    return collect


def collect_alone(place: Where, settings: Settings, world: World) -> Collection:
    """In this process, under the lease; no job runs. Raises LeaseHeld, and what opening the state raises."""
    state = open_state(place, settings, address="")
    housekeeping = Housekeeping(state)
    try:
        assert state.lease is not None
        return garbage(state, retention(world, settings)).collect(state.lease.check, _nobody_works)
    finally:
        housekeeping.close()


def guard(world: World, executor: Executor, turns: Turns) -> Guard:
    """Beside a loop that works on objects."""

    @contextmanager
    def held(owner: str) -> Iterator[bool]:
        kinds = _WRITERS[owner.partition("/")[0]]
        others = sorted(str(key) for key in world.objects if key.kind in kinds and key.kind != owner.partition("/")[0])
        with ExitStack() as stack:
            for name in (owner, *others):
                stack.enter_context(turns.of(name))
            yield not executor.has_work(kinds)

    return held


def alone(executor: Executor, turns: Turns) -> Guard:
    """For who changes one object beside a loop that works on it."""

    @contextmanager
    def held(owner: str) -> Iterator[bool]:
        with turns.of(owner):
            yield not executor.works_on(owner)

    return held


@contextmanager
def _nobody_works(_: str) -> Iterator[bool]:
    yield True


def told(gone: Collection) -> str:
    """What was done, in words."""
    words = f"{in_words(gone.buckets)} removed" if gone.buckets else "nothing to remove"
    if gone.waiting.objects:
        words += f"; {gone.waiting.objects:,} that nothing refers to are younger than the retention"
    if gone.foreign:
        words += f"; {len(gone.foreign):,} of datasets or indexes that this catalog never knew stay"
    if gone.busy.objects:
        words += f"; {gone.busy.objects:,} stay since their owners are at work"
    return words + "".join(f"; bucket {name} was left out: {reason}" for name, reason in sorted(gone.failed.items()))


def settings_at(place: Where) -> Callable[[str], Settings]:
    """The settings of a revision. Raises SettingsInvalid, SourceUnavailable."""
    return lambda revision: load_settings(place.source.settings(revision))
