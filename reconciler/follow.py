"""From a revision to keys that need work: reads what changed, writes the inventory, prunes, and orders what is left.

Everything here is blocking; the queue is fed by the caller, on the event loop.
"""

import gc
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

from engines.policies.governing import Governing
from reconciler.errors import ReconcilerError, RevisionUnknown, SourceUnavailable
from reconciler.policies import WorldSpecs
from reconciler.prune import PrunePlan, moving
from reconciler.removal import Remover
from reconciler.settings import Settings, load_settings, read_at_start
from reconciler.sources.source import Source
from reconciler.status_writer import StatusWriter
from reconciler.world import SPEC_FILE, Desired, World, WorldChange
from specs.errors import LakehouseError
from specs.kinds.dataset import DatasetSpec, about
from specs.kinds.eval_set import EvalSetSpec
from specs.kinds.index import IndexSpec
from specs.kinds.policy import PolicySpec, in_force
from specs.references import order
from specs.resource import Key, Resource
from state import reasons
from state.catalog.catalog import Catalog
from state.catalog.entry import Managed
from state.failpoints import declare, hit

_BEFORE_INVENTORY = declare("follow.before-inventory")

_SOURCE = "Source/git"
"""The object under which the watched repository is listed while it cannot be read."""
_SETTINGS = "Settings/lakehouse"
"""The object under which lakehouse.yaml is listed while what it says cannot be used."""

_TURNED: Mapping[bool, tuple[str, str]] = {
    True: (reasons.GOVERNED, "is governed from now on: without a Policy it is closed to all but operators until it says `policy: none`"),
    False: (reasons.RELEASED, "is not governed any more: its spec says so"),
}


@dataclass(frozen=True, slots=True)
class Pending:
    """Keys to visit: `changed` in dependency order; `quiet` ones were settled before, or are only referred to by what changed.

    globs: of the files of every dataset and eval set that is wanted otherwise than before; none for one that reads no files now.
    """

    changed: tuple[Key, ...]
    quiet: tuple[Key, ...] = ()
    globs: Mapping[Key, tuple[str, ...]] = field(default_factory=dict)


class Follower:
    """Keeps a world at the watched revision. Thread-safe: who follows the ref and who answers requests take turns."""

    def __init__(
        self, source: Source, world: World, catalog: Catalog, statuses: StatusWriter, remover: Remover, settings: Settings
    ) -> None:
        self._source = source
        self._world = world
        self._catalog = catalog
        self._statuses = statuses
        self._remover = remover
        self.settings = settings
        self._governing = Governing(WorldSpecs(world), catalog)
        self._lock = threading.RLock()
        # a former process may have left the row that says otherwise
        self._readable = False
        self._owed: WorldChange | None = None
        self._first = False
        self._settings_of: str | None = None
        self._at_start: dict[str, object] | None = None

    def advance(self) -> Pending:
        """Moves to the revision that the ref points at now. What cannot be read leaves the last good world in force.

        Raises errors of storage; then nothing is lost: what the revision changed stays owed to the next call.
        """
        with self._lock:
            return self._advance()

    def _advance(self) -> Pending:
        try:
            revision = self._source.revision()
            if revision != self._world.revision:
                first = self._world.revision is None
                with _without_collector() if first else nullcontext():
                    change = self._world.advance(revision)
                self._owed = change if self._owed is None else self._owed.and_then(change)
                self._first = self._first or first
            if revision != self._settings_of:
                self._reload_settings(revision)
        except (SourceUnavailable, RevisionUnknown) as error:
            self._unreadable(error)
            return Pending(())
        self._recovered(revision)
        if self._owed is None:
            if self._remover.unfinished:
                self.prune()
            return Pending(())
        pending = self._take_over(self._owed)
        self._owed, self._first = None, False
        return pending

    def _take_over(self, change: WorldChange) -> Pending:
        self._inventory(change.changed | self._with_derived(change.changed | change.referred))
        self._drop_unmanaged(change.removed | (self._forgotten() if self._first else frozenset()))
        self._close_renamed(change.changed)
        if self._first or change.removed or self._remover.held:
            self.prune()
        if self._first:
            return self._all(self._globs(self._world.objects))
        touched = change.changed | change.removed
        dependents = {key for each in touched for key in self._world.dependents(each)}
        governed = change.meant | (change.referred if any(key.kind == "Policy" for key in touched) else frozenset())
        quiet = tuple(sorted((change.referred | self._readers(governed)) - change.changed - dependents))
        return Pending(self._ordered(change.changed | dependents), quiet, self._globs(change.changed | change.removed))

    def relist(self) -> tuple[Key, ...]:
        """Keys whose recorded status is not of the spec in force, or that the catalog does not know: what a lost notification, or a
        removal that the spec's return overtook, would leave behind. They are in the inventory afterwards."""
        with self._lock:
            keys = tuple(key for key, desired in self._world.objects.items() if not self._taken_up(desired))
            self._inventory(keys)
        return keys

    def prune(self) -> PrunePlan:
        """Removes what nobody wants, or holds it and says so. Only once it is known what is wanted."""
        with self._lock:
            waiting = {Key("Dataset", name) for name in self._governing.waiting()}
            plan = self._remover.prune(self.settings.max_prune)
            self._inventory(self._with_derived(waiting))  # what the last policy that went leaves open
            return plan

    def _inventory(self, keys: Iterable[Key]) -> None:
        """One entry that says "these are ours", before anything is done about them."""
        changes: list[Managed] = []
        turned: dict[str, bool] = {}
        for key in sorted(keys):
            desired = self._world.objects.get(key)
            if desired is None or desired.resource is None:
                continue
            if not self._may_be_governed(desired.resource) and self._taken_up(desired):
                continue
            state = self._catalog.view().peek(str(key))
            managed, was_governed = (state.managed, state.governed) if state is not None else (None, False)
            governed = key.kind == "Dataset" and self._governing.is_governed(key.name)
            deletion, about = _marks(desired.resource)
            if managed is None or (managed.deletion, managed.about) != (deletion, about) or was_governed != governed:
                changes.append(Managed(str(key), desired.resource.digest, deletion, governed, about))
            if was_governed != governed:
                turned[str(key)] = governed
        for name, governed in turned.items():  # first: told twice after a crash, but never kept from a catalog that is rebuilt by it
            self._statuses.record_event(name, "Normal", *_TURNED[governed], self._world.revision)
        if changes:
            hit(_BEFORE_INVENTORY)
            self._catalog.commit(tuple(changes), actor="daemon", reason="inventory", revision=self._world.revision)

    def _may_be_governed(self, resource: Resource) -> bool:
        """Whether it has to be asked again although nothing of it changed: a policy may have come or gone since."""
        if resource.key.kind != "Dataset":
            return False
        if any(other.kind == "Policy" for other in self._world.dependents(resource.key)):
            return True
        state = self._catalog.view().peek(str(resource.key)) if '"policy"' in resource.body else None
        return (state is not None and state.governed) or '"sql"' in resource.body

    def _taken_up(self, desired: Desired) -> bool:
        """Whether a status of this very spec was written, which comes after its inventory, and the catalog still has the object.

        A former process may have ended between dropping it and removing its status. Nothing is decoded: a first start asks for all.
        """
        return self._statuses.recorded(desired) and (desired.resource is None or self._catalog.knows(str(desired.key)))

    def _with_derived(self, keys: Iterable[Key]) -> frozenset[Key]:
        """The Datasets among them, and those that are made of these."""
        found: set[Key] = set()
        waiting = [key for key in keys if key.kind == "Dataset"]
        while waiting:
            key = waiting.pop()
            if key not in found:
                found.add(key)
                waiting += [other for other in self._world.dependents(key) if other.kind == "Dataset"]
        return frozenset(found)

    def _readers(self, datasets: Iterable[Key]) -> frozenset[Key]:
        """Whoever tells what policies of these come to: the policies, and profiles that bind them, or what is made of them."""
        found: set[Key] = set()
        for dataset in self._with_derived(datasets):
            for key in self._world.dependents(dataset):
                found |= {key, *(self._world.dependents(key) if key.kind == "Index" else ())}
        return frozenset(key for key in found if key.kind in ("Policy", "Profile"))

    def _drop_unmanaged(self, removed: Iterable[Key]) -> None:
        """A spec file that became readable again, or a document that never got anywhere, leaves no status behind."""
        for key in removed:
            if self._catalog.get(str(key)) is None:
                words = "its file can be read again, or is gone" if key.kind == SPEC_FILE else "nothing was made of it"
                self._remover.forget(str(key), words)

    def _close_renamed(self, changed: Iterable[Key]) -> None:
        """What moves to another name is an object of its own no more, whether it was wanted until now or retained."""
        resources = [resource for key in changed if (resource := self._world.resource(key)) is not None]
        for former, name in moving(resources, self._catalog.table).items():
            self._remover.forget(str(former), f"its data moves to {name}")

    def _forgotten(self) -> frozenset[Key]:
        """Objects with a status that nobody wants or knows: a former process ended between removing one and saying so."""
        names = (name for name in self._statuses.names() if name not in (_SOURCE, _SETTINGS))
        return frozenset(key for key in map(Key.of, names) if key not in self._world.objects)

    def _globs(self, keys: Iterable[Key]) -> dict[Key, tuple[str, ...]]:
        return {key: _files(self._world.resource(key)) for key in keys if key.kind in ("Dataset", "EvalSet")}

    def _all(self, globs: Mapping[Key, tuple[str, ...]]) -> Pending:
        changed = [key for key, desired in self._world.objects.items() if not self._statuses.settled(desired)]
        open_keys = set(changed)
        return Pending(self._ordered(changed), tuple(key for key in self._world.objects if key not in open_keys), globs)

    def _ordered(self, keys: Iterable[Key]) -> tuple[Key, ...]:
        """Dependencies first, so that most objects find what they need at their first visit."""
        wanted = {key: self._world.resource(key) for key in keys if key in self._world.objects}
        resources = [resource for resource in wanted.values() if resource is not None]
        found = order(resources)
        placed = set(found.ordered)
        return (*found.ordered, *sorted(key for key in wanted if key not in placed))

    def _reload_settings(self, revision: str) -> None:
        """Raises SourceUnavailable and RevisionUnknown; then they are read with the next call."""
        text = self._source.settings(revision)
        try:
            self.settings = load_settings(text)
        except LakehouseError as error:
            message = f"{error.explain()} The last good settings stay in force."
            self._statuses.note(_SETTINGS, "False", reasons.INVALID_SPEC, message, revision)
        else:
            self._statuses.remove(_SETTINGS, "what lakehouse.yaml says is in force", revision)
            self._tell_restart(read_at_start(self.settings), revision)
        self._settings_of = revision

    def _tell_restart(self, wanted: dict[str, object], revision: str) -> None:
        """What this process goes on with although a commit says otherwise."""
        known, self._at_start = self._at_start, wanted
        changed = [name for name, value in wanted.items() if known is not None and known[name] != value]
        if changed:
            message = f"{', '.join(f'`{name}`' for name in changed)} changed; a daemon reads that when it starts: restart it"
            self._statuses.record_event(_SETTINGS, "Warning", reasons.RESTART_NEEDED, message, revision)

    def _unreadable(self, error: ReconcilerError) -> None:
        message = f"{error.explain()} The last revision that could be read stays in force."
        self._statuses.note(_SOURCE, "False", reasons.REVISION_UNREADABLE, message, self._world.revision)
        self._readable = False

    def _recovered(self, revision: str) -> None:
        if not self._readable:
            self._statuses.remove(_SOURCE, f"revision {revision[:12]} can be read again", revision)
        self._readable = True


def first_mark(world: World, key: Key, governed: bool) -> Managed | None:
    """The inventory's entry for an object that it does not have; None without a valid spec."""
    resource = world.resource(key)
    if resource is None:
        return None
    deletion, about = _marks(resource)
    return Managed(str(key), resource.digest, deletion, governed, about)


def _marks(resource: Resource) -> tuple[str, Mapping[str, object]]:
    """What the inventory keeps of a spec, also for when that is gone: whether its data is deleted or retained, and what it says about the
    data. Of a Policy all that is in force of it, for as long as its removal waits."""
    match resource.key.kind:
        case "Index":
            return "delete", {"dataset": resource.spec_as(IndexSpec).dataset}
        case "Policy":
            return "delete", in_force(resource.spec_as(PolicySpec))
        case "Dataset":
            spec = resource.spec_as(DatasetSpec)
            return spec.deletion, about(spec)
        case _:
            return "delete", {}


@contextmanager
def _without_collector() -> Iterator[None]:
    """A first reading makes a hundred thousand objects of which none is garbage; looking for it would double the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _files(resource: Resource | None) -> tuple[str, ...]:
    """The globs of the files that an object is made of."""
    if resource is None:
        return ()
    if resource.key.kind == "Dataset":
        return tuple(resource.spec_as(DatasetSpec).source.files)
    queries = resource.spec_as(EvalSetSpec).queries
    return () if queries is None else (queries,)
