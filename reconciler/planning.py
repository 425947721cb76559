"""What a revision would change, and why: the same `observe` and `plan` as the daemon's, without its `act`.

Reads only; needs neither a daemon nor the lease. What an object waits for is told where it has no step of its own: an index
over a dataset that is yet to be read has nothing to plan until then.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controllers.controller import Controller
from controllers.dataset.checks import FileChecks
from controllers.step import Step
from engines.jobs.executor import Executor
from engines.policies.book import PolicyBook
from engines.vectors.embedding_cache import NO_CACHE
from reconciler.checking import errors, folders, unfit, warnings
from reconciler.kinds import make_kinds, make_world, source_files
from reconciler.loop import failed, held, with_errors
from reconciler.models import connected
from reconciler.opening import open_state
from reconciler.place import Place
from reconciler.plan import Plan, PlannedObject, PlannedPrune, PlannedStep
from reconciler.removal import removals
from reconciler.settings import Settings
from reconciler.status_writer import StatusWriter
from reconciler.world import Desired, World
from specs.errors import LakehouseError
from specs.kinds.policy import PolicySpec
from specs.references import order
from specs.resource import Key, Resource
from state import reasons
from state.catalog.catalog import Catalog
from state.tuning import TuningBook


def make_plan(place: Place, settings: Settings) -> Plan:
    """What the place's revision would change in the state as it is. Blocking. Raises what `open_state` raises."""
    state = open_state(place, settings, address=None)
    statuses = StatusWriter(state.statuses, state.streams, state.clock)
    world = make_world(state, statuses)
    revision = place.source.revision()
    world.advance(revision)
    connected(settings)
    executor = Executor(place.cache / "jobs")
    try:
        files = source_files(state)
        checks, tuning = FileChecks(state.buckets, state.objects), TuningBook(state.streams)
        kinds = make_kinds(state, world, statuses, executor, files, checks, NO_CACHE, tuning)
        planner = _Planner(kinds.controllers, world, state.catalog, executor, state.clock())
        objects = tuple(planner.plan(desired) for desired in _ordered(world))
        pruned = removals(world, state.catalog, settings.max_prune)
        going = [PlannedPrune(item.object, _becomes(kinds.retiring, item), None) for item in pruned.objects]
        held = [PlannedPrune(name, _waits(kinds.retiring, state.catalog, name, pruned.id), why) for name, why in pruned.held.items()]
        faults = errors(world) + _unfit(objects, world)
        warned = (*warnings(world), *_unfit_masks(world, kinds.policy.book))
        return Plan(revision, objects, (*going, *held), faults, warned, folders(world, place.data_root))
    finally:
        executor.shutdown()


@dataclass(frozen=True, slots=True)
class _Planner:
    """Plans one object as the loop would."""

    controllers: Mapping[str, Controller[Any, Any]]
    world: World
    catalog: Catalog
    executor: Executor
    now: datetime

    def plan(self, desired: Desired) -> PlannedObject:
        name = str(desired.key)
        try:
            outcome = held(desired, self.catalog.get(name), self.world.circle(desired.key), self.now)
            if outcome is None and desired.resource is not None:
                controller = self.controllers[desired.key.kind]
                observed = controller.observe(desired.resource)
                steps = controller.plan(desired.resource, observed)
                if steps:
                    planned = tuple(_step(step, self.executor) for step in steps)
                    return PlannedObject(name, planned, "changes", reasons.PROGRESSING, "")
                outcome = with_errors(desired, controller.conclude(desired.resource, observed))
        except LakehouseError as error:
            outcome = failed(error)
        assert outcome is not None
        return PlannedObject(name, (), type(outcome).__name__.lower(), outcome.reason, outcome.message)


def _step(step: Step, executor: Executor) -> PlannedStep:
    work = step.work
    return PlannedStep(step.summary(), step.why, executor.estimate(work.kind, work.weight) if work is not None else None)


def _unfit(objects: Iterable[PlannedObject], world: World) -> tuple[str, ...]:
    """Specs that parse and yet ask for what cannot be, as what is there shows: an index of a column that its dataset does not have."""
    unfit_ones = (planned for planned in objects if planned.reason == reasons.INVALID_SPEC)
    return tuple(line for planned in unfit_ones for line in unfit(world.objects[Key.of(planned.object)], planned.message))


def _unfit_masks(world: World, book: PolicyBook) -> Iterator[str]:
    """Masks that show nothing of their column's type: allowed, since nothing is what somebody may mean."""
    for policy in sorted(world.resources("Policy"), key=lambda each: each.key):
        for each in book.standing(policy.spec_as(PolicySpec).dataset).unfit.get(policy.key.name, ()):
            yield f"{policy.origin.path}:{policy.origin.line}: {policy.key}: {each.said}"


def _becomes(retiring: Mapping[str, Any], record: Any) -> str:
    kind = record.object.partition("/")[0]
    return str(retiring[kind].retire(record)) if kind in retiring else "nothing was made of it"


def _waits(retiring: Mapping[str, Any], catalog: Catalog, name: str, plan: str) -> str:
    record = catalog.get(name)
    becomes = f"{_becomes(retiring, record)}; " if record is not None else ""
    return f"{becomes}held until `lakectl approve {plan}`"


def _ordered(world: World) -> Iterable[Desired]:
    resources: list[Resource] = [desired.resource for desired in world.objects.values() if desired.resource is not None]
    placed = order(resources).ordered
    rest = sorted(world.objects.keys() - set(placed))
    return [world.objects[key] for key in (*placed, *rest)]
