"""The specs of this repository, read and parsed: for commands that tell where an object is declared, or what nobody has looked at yet."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconciler.blob_cache import BlobCache
from reconciler.footprint import StatePointer
from reconciler.lakectl.here import Here
from reconciler.place import Place, find_state_bucket, locate
from reconciler.settings import Settings, load_settings
from reconciler.world import Desired, World
from specs.resource import Key
from specs.version import PARSER_VERSION
from state import reasons
from state.status import Status


@dataclass(frozen=True, slots=True)
class SpecsHere:
    """What the commit at HEAD asks for (or the folder, where there is no git)."""

    revision: str
    world: World

    def desired(self, object_: str) -> Desired | None:
        """The object as wanted, None if no spec declares it."""
        return self.world.desired(Key(*object_.split("/", 1)))

    def names(self) -> list[str]:
        """Every object that is declared."""
        return sorted(str(key) for key in self.world.objects)


def place_of(here: Here, ref: str = "HEAD") -> Place:
    """The place with its source opened. Raises SourceUnavailable."""
    return locate(here.root, ref, here.data_root)


def settings_of(place: Place) -> Settings:
    """The settings at the place's revision. Raises SettingsInvalid, SourceUnavailable."""
    return load_settings(place.source.settings(place.source.revision()))


def read_specs(here: Here) -> SpecsHere:
    """Raises SourceUnavailable, RevisionUnknown (a repository without commits)."""
    place = place_of(here)
    world = World(place.source, BlobCache(None, PARSER_VERSION), lambda key, digest: None)
    revision = place.source.revision()
    world.advance(revision)
    return SpecsHere(revision, world)


def wanted_digests(place: Place) -> dict[str, str]:
    """What each object's status says once it was looked at for this revision: a digest by object. Raises SourceUnavailable."""
    world = World(place.source, BlobCache(None, PARSER_VERSION), lambda key, digest: None)
    world.advance(place.source.revision())
    return {str(key): desired.digest for key, desired in world.objects.items()}


def visited(statuses: Iterable[Status], wanted: Mapping[str, str]) -> bool:
    """Whether everything was looked at for that revision: an older status may be Ready for what is no longer asked for."""
    found = {status.object: status.digest for status in statuses}
    return all(found.get(name) == digest for name, digest in wanted.items())


def wanted(here: Here) -> tuple[Status, ...]:
    """Every declared object, as one that nobody has observed."""
    specs = read_specs(here)
    return tuple(
        Status(name, "Unknown", reasons.NOT_OBSERVED, "nobody has looked at it yet", specs.revision, digest=desired.digest)
        for name in specs.names()
        if (desired := specs.desired(name)) is not None
    )


def state_bucket(here: Here) -> StatePointer | None:
    """Where the specs keep the state; None where that is no folder of this machine. Raises StateBucketMissing, SourceUnavailable."""
    place = place_of(here)
    name = settings_of(place).state.bucket
    found = StatePointer(name, find_state_bucket(place.source, name), "")
    return found if found.place.backend == "local" else None
