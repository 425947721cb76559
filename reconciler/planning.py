"""What a revision would change, and why: the same `observe` and `plan` as the daemon's, without its `act`.

Reads only; needs neither a daemon nor the lease. What an object waits for is told where it has no step of its own: an index
over a dataset that is yet to be read has nothing to plan until then.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from controllers.controller import Controller
from controllers.dataset.files import SourceFiles
from controllers.step import Step
from engines.jobs.executor import Executor
from reconciler.assembly import make_kinds, make_world
from reconciler.blob_cache import BlobCache
from reconciler.loop import failed, held, with_errors
from reconciler.opening import open_state
from reconciler.place import Place
from reconciler.prune import governed, moving, plan_prune
from reconciler.settings import Settings
from reconciler.sources.source import Source
from reconciler.status_writer import StatusWriter
from reconciler.world import Desired, World
from specs.errors import LakehouseError
from specs.references import order
from specs.resource import Resource
from specs.version import PARSER_VERSION
from state import reasons
from state.catalog.catalog import Catalog


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step: what, why, and the seconds that past jobs of its kind took for as much; None where nobody knows."""

    summary: str
    why: str
    seconds: float | None


@dataclass(frozen=True, slots=True)
class PlannedObject:
    """One object: its steps, or the ending that it would have without any (`state` is ready, waiting, stalled or failed)."""

    object: str
    steps: tuple[PlannedStep, ...]
    state: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class PlannedPrune:
    """An object that no spec asks for: what becomes of it, and why that would be held, if it would."""

    object: str
    words: str
    held: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done. `errors` are faults of specs, with their places; they make a plan unfit to be committed."""

    revision: str
    objects: tuple[PlannedObject, ...] = ()
    prune: tuple[PlannedPrune, ...] = ()
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())

    @property
    def changes(self) -> bool:
        """Whether anything would be done."""
        return bool(self.prune) or any(planned.steps for planned in self.objects)

    def to_document(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "revision": self.revision,
            "changes": self.changes,
            "errors": list(self.errors),
            "warnings": list(self.warnings),
            "objects": [
                {
                    "object": planned.object,
                    "steps": [{"summary": step.summary, "why": step.why, "seconds": step.seconds} for step in planned.steps],
                    "state": planned.state,
                    "reason": planned.reason,
                    "message": planned.message,
                }
                for planned in self.objects
            ],
            "prune": [{"object": item.object, "becomes": item.words, "held": item.held} for item in self.prune],
        }


def make_plan(place: Place, settings: Settings) -> Plan:
    """What the place's revision would change in the state as it is. Blocking. Raises what `open_state` raises."""
    state = open_state(place, settings, address=None)
    statuses = StatusWriter(state.statuses, state.streams, state.clock)
    world = make_world(state, statuses)
    revision = place.source.revision()
    world.advance(revision)
    executor = Executor(place.cache / "jobs")
    try:
        kinds = make_kinds(state, world, statuses, executor, SourceFiles(place.data_root))
        planner = _Planner(kinds.controllers, world, state.catalog, executor, state.clock())
        objects = tuple(planner.plan(desired) for desired in _ordered(world))
        wanted = {key: desired.digest for key, desired in world.objects.items()}
        renamed = moving(world.resources("Dataset"), state.catalog.table).keys() - wanted.keys()
        pruned = plan_prune(state.catalog.objects().values(), wanted, governed(world), settings.max_prune, (), renamed)
        going = [PlannedPrune(item.object, _becomes(kinds.retiring, item), None) for item in pruned.objects]
        held = [PlannedPrune(name, f"held until `lakectl approve {pruned.id}`", why) for name, why in pruned.held.items()]
        return Plan(revision, objects, (*going, *held), _errors(world), _warnings(world))
    finally:
        executor.shutdown()


def check_offline(source: Source) -> Plan:
    """Whether the specs parse and their references resolve, without looking at any state."""
    revision = source.revision()
    world = World(source, BlobCache(None, PARSER_VERSION), lambda key, digest: None)
    world.advance(revision)
    return Plan(revision, errors=_errors(world), warnings=_warnings(world))


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


def _becomes(retiring: Mapping[str, Any], record: Any) -> str:
    kind = record.object.partition("/")[0]
    return str(retiring[kind].retire(record)) if kind in retiring else "nothing was made of it"


def _ordered(world: World) -> Iterable[Desired]:
    resources: list[Resource] = [desired.resource for desired in world.objects.values() if desired.resource is not None]
    placed = order(resources).ordered
    rest = sorted(world.objects.keys() - set(placed))
    return [world.objects[key] for key in (*placed, *rest)]


def _errors(world: World) -> tuple[str, ...]:
    found = {error for desired in world.objects.values() for error in desired.errors}
    return tuple(str(error) for error in sorted(found, key=lambda error: (error.path, error.line, error.column)))


def _warnings(world: World) -> tuple[str, ...]:
    """References to objects that no spec declares: allowed, since they may follow in another commit."""
    missing = [
        f"{desired.resource.origin.path}:{desired.resource.origin.line}: {key} refers to {reference}, which no spec declares"
        for key, desired in sorted(world.objects.items())
        if desired.resource is not None
        for reference in desired.resource.references
        if reference not in world.objects
    ]
    return tuple(missing)
