"""Whether specs can be: they parse, and what they refer to is declared. Looks at no state, and so is quick enough for a hook."""

from reconciler.blob_cache import BlobCache
from reconciler.plan import Plan
from reconciler.sources.source import Source
from reconciler.world import World
from specs.resource import Key
from specs.suggestions import did_you_mean
from specs.version import PARSER_VERSION


def check_offline(source: Source) -> Plan:
    """Whether the specs parse and their references resolve, without looking at any state."""
    revision = source.revision()
    world = World(source, BlobCache(None, PARSER_VERSION), lambda key, digest: None)
    world.advance(revision)
    return Plan(revision, errors=errors(world), warnings=warnings(world))


def errors(world: World) -> tuple[str, ...]:
    """Faults of specs, in the order of their places."""
    found = {error for desired in world.objects.values() for error in desired.errors}
    return tuple(str(error) for error in sorted(found, key=lambda error: (error.path, error.line, error.column)))


def warnings(world: World) -> tuple[str, ...]:
    """References to objects that no spec declares: allowed, since they may follow in another commit."""
    missing = [
        f"{desired.resource.origin.path}:{desired.resource.origin.line}: {key} refers to {reference}, which no spec declares"
        f"{_nearest(reference, world)}"
        for key, desired in sorted(world.objects.items())
        if desired.resource is not None
        for reference in desired.resource.references
        if reference not in world.objects
    ]
    return tuple(missing)


def _nearest(missing: Key, world: World) -> str:
    hint = did_you_mean(missing.name, [key.name for key in world.objects if key.kind == missing.kind])
    return f"; {hint}" if hint else ""
