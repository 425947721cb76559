"""From a revision to keys that need work: reads what changed, writes the inventory, prunes, and orders what is left.

Everything here is blocking and called by one thread at a time; the queue is fed by the caller, on the event loop.
"""

import gc
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from controllers.controller import Retiring
from reconciler.errors import ReconcilerError, RevisionUnknown, SourceUnavailable
from reconciler.prune import PrunePlan, moving, plan_prune
from reconciler.settings import Settings, load_settings
from reconciler.sources.source import Source
from reconciler.status_writer import StatusWriter
from reconciler.world import SPEC_FILE, World, WorldChange
from specs.errors import LakehouseError
from specs.kinds.dataset import DatasetSpec
from specs.references import order
from specs.resource import Key, Resource
from state import reasons
from state.catalog.catalog import Catalog
from state.catalog.entry import Dropped, Managed
from state.errors import LeaseLost
from state.failpoints import declare, hit

_log = logging.getLogger(__name__)

_BEFORE_INVENTORY = declare("follow.before-inventory")
_BEFORE_PRUNE = declare("follow.before-prune")
_AFTER_PRUNE = declare("follow.after-prune")

_SOURCE = "Source/git"
"""The object under which the watched repository is listed while it cannot be read."""


@dataclass(frozen=True, slots=True)
class Pending:
    """Keys to visit: `changed` in dependency order; `quiet` ones were settled before, or are only referred to by what changed."""

    changed: tuple[Key, ...]
    quiet: tuple[Key, ...] = ()


class Follower:
    """Keeps a world at the watched revision.

    Args:
        retiring: how objects of a kind end; kinds without an entry leave only the inventory.
    """

    def __init__(
        self,
        source: Source,
        world: World,
        catalog: Catalog,
        statuses: StatusWriter,
        retiring: Mapping[str, Retiring],
        settings: Settings,
    ) -> None:
        self._source = source
        self._world = world
        self._catalog = catalog
        self._statuses = statuses
        self._retiring = retiring
        self.settings = settings
        # a former process may have left the row that says otherwise
        self._readable = False
        self._owed: WorldChange | None = None
        self._first = False
        self._unpruned = False
        self._held = False

    def advance(self) -> Pending:
        """Moves to the revision that the ref points at now. What cannot be read leaves the last good world in force.

        Raises errors of storage; then nothing is lost: what the revision changed stays owed to the next call.
        """
        try:
            revision = self._source.revision()
            if revision != self._world.revision:
                first = self._world.revision is None
                with _without_collector() if first else nullcontext():
                    change = self._world.advance(revision)
                self._owed = change if self._owed is None else self._owed.and_then(change)
                self._first = self._first or first
                self._reload_settings(revision)
        except (SourceUnavailable, RevisionUnknown) as error:
            self._unreadable(error)
            return Pending(())
        self._recovered(revision)
        if self._owed is None:
            if self._unpruned:
                self.prune()
            return Pending(())
        pending = self._take_over(self._owed)
        self._owed, self._first = None, False
        return pending

    def _take_over(self, change: WorldChange) -> Pending:
        self._inventory(change.changed | self._named_by_policies(change.changed))
        self._drop_unmanaged(change.removed | (self._forgotten() if self._first else frozenset()))
        self._close_renamed(change.changed)
        if self._first or change.removed or self._held:
            self.prune()
        if self._first:
            return self._all()
        dependents = {key for touched in change.changed | change.removed for key in self._world.dependents(touched)}
        return Pending(self._ordered(change.changed | dependents), tuple(sorted(change.referred - change.changed - dependents)))

    def relist(self) -> tuple[Key, ...]:
        """Keys whose recorded status is not of the spec in force: what a lost notification would leave behind."""
        return tuple(key for key, desired in self._world.objects.items() if not self._statuses.recorded(desired))

    def prune(self) -> PrunePlan:
        """Removes what nobody wants, or holds it and says so. Only once it is known what is wanted."""
        assert self._world.revision is not None
        wanted = {key: desired.digest for key, desired in self._world.objects.items()}
        renamed = moving(self._world.resources("Dataset"), self._catalog.table).keys() - wanted.keys()
        plan = plan_prune(self._catalog.objects(), wanted, self.settings.max_prune, self._approvals(), renamed)
        # what is wanted is part of the plan's id, so that the next commit may change it
        self._held = bool(plan.held)
        revision = self._world.revision or ""
        for name, why in plan.held.items():
            message = f"no spec asks for it, but {why}: `lakectl approve {plan.id}` lets it go"
            self._statuses.note(name, "False", reasons.PRUNE_HELD, message, revision)
        self._unpruned = False
        for state in plan.objects:
            hit(_BEFORE_PRUNE)
            self._remove(state.object, revision)
            hit(_AFTER_PRUNE)
        return plan

    def _remove(self, name: str, revision: str) -> None:
        state = self._catalog.get(name)
        if state is None:
            return
        retiring = self._retiring.get(name.partition("/")[0])
        try:
            words = retiring.retire(state) if retiring is not None else "nothing was made of it"
            if retiring is not None:
                retiring.remove(state, revision)
            else:
                self._catalog.commit((Dropped(name),), actor="daemon", reason="no spec asks for it", revision=revision)
        except LeaseLost:
            raise
        except LakehouseError as error:
            message = f"no spec asks for it; removing it failed and is tried again: {error.explain()}"
            self._statuses.note(name, "False", reasons.PRUNING, message, revision)
            self._unpruned = True
            return
        after = self._catalog.get(name)
        if after is not None and after.retained:
            self._statuses.note(name, "True", reasons.RETAINED, f"no spec asks for it; {words}", revision)
        else:
            self._statuses.remove(name, f"no spec asks for it; {words}", revision)

    def _inventory(self, keys: Iterable[Key]) -> None:
        """One entry that says "these are ours", before anything is done about them."""
        changes = []
        for key in sorted(keys):
            desired = self._world.objects.get(key)
            if desired is None or desired.resource is None:
                continue
            named = key.kind == "Dataset" and any(other.kind == "Policy" for other in self._world.dependents(key))
            # a status of this very spec was written after its inventory, but a policy may have come since
            if not named and self._statuses.recorded(desired):
                continue
            state = self._catalog.get(str(key))
            managed = state.managed if state is not None else None
            marks = _marks(desired.resource, named, managed is not None and managed.governed)
            if managed is None or (managed.deletion, managed.governed) != marks:
                changes.append(Managed(str(key), desired.resource.digest, *marks))
        if changes:
            hit(_BEFORE_INVENTORY)
            self._catalog.commit(tuple(changes), actor="daemon", reason="inventory", revision=self._world.revision)

    def _named_by_policies(self, keys: Iterable[Key]) -> frozenset[Key]:
        policies = (self._world.resource(key) for key in keys if key.kind == "Policy")
        return frozenset(key for policy in policies if policy is not None for key in policy.references)

    def _drop_unmanaged(self, removed: Iterable[Key]) -> None:
        """A spec file that became readable again, or a document that never got anywhere, leaves no status behind."""
        for key in removed:
            if self._catalog.get(str(key)) is None:
                words = "its file can be read again, or is gone" if key.kind == SPEC_FILE else "nothing was made of it"
                self._statuses.remove(str(key), words, self._world.revision or "")

    def _close_renamed(self, changed: Iterable[Key]) -> None:
        """What moves to another name is an object of its own no more, whether it was wanted until now or retained."""
        resources = [resource for key in changed if (resource := self._world.resource(key)) is not None]
        for former, name in moving(resources, self._catalog.table).items():
            if former not in self._world.objects:
                self._statuses.remove(str(former), f"its data moves to {name}", self._world.revision)

    def _forgotten(self) -> frozenset[Key]:
        """Objects with a status that nobody wants or knows: a former process ended between removing one and saying so."""
        names = (name for name in self._statuses.names() if name != _SOURCE)
        return frozenset(key for key in map(_key, names) if key not in self._world.objects)

    def _approvals(self) -> frozenset[str]:
        return frozenset(plan_id for state in self._catalog.objects("Prune").values() for plan_id in state.approvals)

    def _all(self) -> Pending:
        changed = [key for key, desired in self._world.objects.items() if not self._statuses.settled(desired)]
        open_keys = set(changed)
        return Pending(self._ordered(changed), tuple(key for key in self._world.objects if key not in open_keys))

    def _ordered(self, keys: Iterable[Key]) -> tuple[Key, ...]:
        """Dependencies first, so that most objects find what they need at their first visit."""
        wanted = {key: self._world.resource(key) for key in keys if key in self._world.objects}
        resources = [resource for resource in wanted.values() if resource is not None]
        found = order(resources)
        placed = set(found.ordered)
        return (*found.ordered, *sorted(key for key in wanted if key not in placed))

    def _reload_settings(self, revision: str) -> None:
        try:
            settings = load_settings(self._source.settings(revision))
        except LakehouseError as error:
            self._statuses.record_event("Settings/lakehouse", "Warning", reasons.INVALID_SPEC, error.explain(), revision)
            return
        self.settings = settings

    def _unreadable(self, error: ReconcilerError) -> None:
        message = f"{error.explain()} The last revision that could be read stays in force."
        self._statuses.note(_SOURCE, "False", reasons.REVISION_UNREADABLE, message, self._world.revision)
        self._readable = False

    def _recovered(self, revision: str) -> None:
        if not self._readable:
            self._statuses.remove(_SOURCE, f"revision {revision[:12]} can be read again", revision)
        self._readable = True


def _marks(resource: Resource, named: bool, was_governed: bool) -> tuple[str, bool]:
    """What the inventory keeps of a spec for when that is gone: whether its data is deleted or retained, and whether it is governed."""
    if resource.key.kind != "Dataset":
        return "delete", False
    spec = resource.spec_as(DatasetSpec)
    return spec.deletion, named or (was_governed and spec.policy != "none")


def _key(name: str) -> Key:
    kind, _, rest = name.partition("/")
    return Key(kind, rest)


@contextmanager
def _without_collector() -> Iterator[None]:
    """A first reading makes a hundred thousand objects of which none is garbage; looking for it would double the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
