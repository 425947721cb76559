"""Whether specs can be: they parse, fit each other, and what they refer to is declared. Looks at no state, and so is quick enough for
a hook."""

from pathlib import Path

from controllers.bucket.plan import place
from controllers.bucket.rescue import unfit as unfit_rescue
from engines.sql.policy_sql import fault_alone
from engines.sql.spec_sql import fault
from reconciler.blob_cache import BlobCache
from reconciler.place import Place
from reconciler.plan import Plan
from reconciler.world import Desired, World
from specs.kinds.bucket import BucketSpec
from specs.kinds.dataset import DatasetSpec
from specs.kinds.policy import PolicySpec
from specs.references import order
from specs.resource import MARK, Key
from specs.suggestions import did_you_mean
from specs.version import PARSER_VERSION


def check_offline(where: Place) -> Plan:
    """Whether the specs parse, are fit for each other, and their references resolve, without looking at any state."""
    revision = where.source.revision()
    world = World(where.source, BlobCache(None, PARSER_VERSION), lambda key, digest: None)
    world.advance(revision)
    faults = errors(world) + _unfit_rescues(world, where.data_root) + _unfit_sql(world)
    return Plan(revision, errors=faults, warnings=warnings(world), folders=folders(world, where.data_root))


def errors(world: World) -> tuple[str, ...]:
    """Faults of specs, in the order of their places."""
    found = {error for desired in world.objects.values() for error in desired.errors}
    ordered = sorted(found, key=lambda error: (error.path, error.line, error.column))
    return (*(str(error) for error in ordered), *_circles(world))


def _circles(world: World) -> tuple[str, ...]:
    """References that lead back to where they begin, each with the place of its first object."""
    resources = {key: desired.resource for key, desired in world.objects.items() if desired.resource is not None}
    circles = order(resources.values()).cycles
    return tuple(
        f"{resources[circle[0]].origin}: {circle[0]} refers to itself: {' -> '.join(f'{key} ({resources[key].origin})' for key in circle)}"
        f" -> {circle[0]}; remove one of these references"
        for circle in circles
    )


def unfit(desired: Desired, why: str) -> tuple[str, ...]:
    """The fault of a spec that parses and yet cannot be; none where a newer document does not parse, which is told instead."""
    if desired.resource is None or desired.errors:
        return ()
    return (f"{desired.resource.origin.path}:{desired.resource.origin.line}: {desired.key}: {why}",)


def _unfit_rescues(world: World, data_root: Path) -> tuple[str, ...]:
    found = ((bucket.key, unfit_rescue(bucket, world.resource, data_root)) for bucket in world.resources("Bucket"))
    return tuple(line for key, why in found if why is not None for line in unfit(world.objects[key], why))


def _unfit_sql(world: World) -> tuple[str, ...]:
    found = [(dataset.key, fault(dataset.spec_as(DatasetSpec))) for dataset in world.resources("Dataset")]
    found += [(policy.key, fault_alone(policy.spec_as(PolicySpec))) for policy in world.resources("Policy")]
    return tuple(line for key, why in found if why is not None for line in unfit(world.objects[key], why))


def warnings(world: World) -> tuple[str, ...]:
    """References to objects that no spec declares: allowed, since they may follow in another commit."""
    missing = [
        f"{desired.resource.origin.path}:{desired.resource.origin.line}: {key} refers to {reference}, which no spec declares"
        f"{_nearest(reference, world)}"
        for key, desired in sorted(world.objects.items())
        if desired.resource is not None
        for reference in desired.resource.references
        if reference not in world.objects and MARK not in reference.name  # what a profile has for itself nobody declares
    ]
    return tuple(missing)


def folders(world: World, data_root: Path) -> dict[str, Path]:
    """See `Plan.folders`."""
    found: dict[str, Path] = {}
    for resource in sorted(world.resources("Bucket"), key=lambda resource: resource.key):
        config = place(resource.spec_as(BucketSpec)).config(resource.key.name, data_root)
        if config.backend == "local":
            found[f"{resource.origin.path}:{resource.origin.line}: {resource.key}"] = Path(config.root or "", config.prefix)
    return found


def _nearest(missing: Key, world: World) -> str:
    hint = did_you_mean(missing.name, [key.name for key in world.objects if key.kind == missing.kind])
    return f"; {hint}" if hint else ""
