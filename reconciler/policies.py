"""The policies in force at the watched revision: what `engines/policies` asks of specs, answered by the world."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from engines.policies.book import PolicyBook
from engines.policies.governed import Checked, PolicyRules
from engines.policies.governing import Named
from reconciler.opening import State
from reconciler.world import SPEC_FILE, Desired, World
from specs.kinds.dataset import DatasetSpec
from specs.kinds.policy import PolicySpec
from specs.kinds.profile import ProfileSpec
from specs.resource import Key


class WorldSpecs:
    """Implements `engines.policies.governing.Specs`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._known_faulty: tuple[object, Mapping[str, tuple[str, ...]]] | None = None

    @property
    def stamp(self) -> object:
        """See `Specs`. The world replaces its objects, and never alters them."""
        return self._world.objects

    def policies(self, dataset: str) -> Iterable[Named]:
        """See `Specs`."""
        return ((each.key.name, each.spec_as(PolicySpec)) for each in self._world.of("Policy", Key("Dataset", dataset)))

    def faulty(self, dataset: str) -> Iterable[str]:
        """See `Specs`."""
        objects, known = self._world.objects, self._known_faulty
        if known is None or known[0] is not objects:
            known = self._known_faulty = objects, _faulty(objects.values())
        return known[1].get(dataset, ())

    def declares(self, policy: str) -> bool:
        """See `Specs`."""
        return self._world.resource(Key("Policy", policy)) is not None

    def dataset(self, name: str) -> DatasetSpec | None:
        """See `Specs`."""
        resource = self._world.resource(Key("Dataset", name))
        return None if resource is None else resource.spec_as(DatasetSpec)


def _faulty(objects: Iterable[Desired]) -> Mapping[str, tuple[str, ...]]:
    """By Dataset: Policies, or files of documents without a name, whose newest text means to govern it, and whose spec in force, if there
    is one, does not."""
    found: dict[str, tuple[str, ...]] = {}
    wrong = [one for one in objects if one.errors and one.key.kind in ("Policy", SPEC_FILE)]
    governed = {(error, one.resource.spec_as(PolicySpec).dataset) for one in wrong if one.resource is not None for error in one.errors}
    for desired in wrong:
        # an error without a name is told of its file, and of each policy that holds only because its document is not to be found
        own = [error for error in desired.errors if (error.key is None) == (desired.key.kind == SPEC_FILE)]
        for dataset in dict.fromkeys(dataset for error in own for dataset in error.governs if (error, dataset) not in governed):
            found[dataset] = (*found.get(dataset, ()), desired.key.name)
    return found


def profile_of(world: World, name: str) -> ProfileSpec | None:
    """The spec in force of a profile."""
    resource = world.resource(Key("Profile", name))
    return None if resource is None else resource.spec_as(ProfileSpec)


def policy_book(state: State, world: World) -> PolicyBook:
    """Of an open state and a world, which may be moved on."""
    return PolicyBook(WorldSpecs(world), state.catalog, state.describe, _check)


def _check(rules: PolicyRules, columns: Mapping[str, str]) -> Checked:
    from engines.sql.policy_sql import check  # where nothing is governed, nobody waits for DataFusion

    return check(rules, columns)
