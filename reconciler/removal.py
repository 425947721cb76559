"""Carries out what `reconciler.prune` decides: what nobody wants is removed, or held and said so.

Removals and visits of one object take turns: one that is under way may still be making what is to go.
"""

from collections.abc import Mapping

from controllers.controller import Retiring
from reconciler.prune import PrunePlan, moving, plan_prune, released, versioned
from reconciler.status_writer import StatusWriter
from reconciler.world import World
from specs.errors import LakehouseError
from specs.resource import Key
from state import reasons
from state.catalog.catalog import Catalog
from state.catalog.entry import Approved, Dropped
from state.catalog.fold import ObjectState
from state.errors import LeaseLost
from state.failpoints import declare, hit
from state.turns import Turns

_BEFORE_PRUNE = declare("follow.before-prune")
_AFTER_PRUNE = declare("follow.after-prune")


def removals(world: World, catalog: Catalog, max_prune: float) -> PrunePlan:
    """What of the catalog's inventory the world does not want, by what was approved so far."""
    wanted = {key: desired.digest for key, desired in world.objects.items()}
    renamed = moving(world.resources("Dataset"), catalog.table).keys() - wanted.keys()
    approvals = [approval for state in catalog.objects("Prune").values() for approval in state.approvals.values()]
    return plan_prune(catalog.objects(), wanted, max_prune, approvals, renamed, released(world.resources("Dataset")))


class Remover:
    """Blocking; one thread at a time.

    Args:
        retiring: how objects of a kind end; kinds without an entry leave only the inventory.
        turns: taken by whoever works on an object, under its name.
    """

    def __init__(self, world: World, catalog: Catalog, statuses: StatusWriter, retiring: Mapping[str, Retiring], turns: Turns) -> None:
        self._world = world
        self._catalog = catalog
        self._statuses = statuses
        self._retiring = retiring
        self._turns = turns
        self.held = False
        """Whether something waits for an approval; its plan's id changes with what is wanted."""
        self.unfinished = False
        """Whether something could not be removed, and is to be tried again."""

    def prune(self, max_prune: float) -> PrunePlan:
        """Removes what nobody wants, or holds it and says so. Only once it is known what is wanted."""
        revision = self._world.revision
        assert revision is not None
        plan = removals(self._world, self._catalog, max_prune)
        self.held, self.unfinished = bool(plan.held), False
        for name, why in plan.held.items():
            message = f"no spec asks for it, but {why}: `lakectl approve {plan.id}` lets it go"
            self._statuses.note(name, "False", reasons.PRUNE_HELD, message, revision)
        for state in plan.objects:
            hit(_BEFORE_PRUNE)
            with self._turns.of(state.object):
                self._remove(state.object, revision)
            hit(_AFTER_PRUNE)
        self._use_up_approvals()
        return plan

    def forget(self, name: str, words: str) -> None:
        """Takes back the status of what left nothing else behind. Nothing happens if it is wanted, or has none."""
        with self._turns.of(name):
            if Key.of(name) not in self._world.objects:
                self._statuses.remove(name, words, self._world.revision)

    def _remove(self, name: str, revision: str) -> None:
        state = self._catalog.get(name)
        if state is None or Key.of(name) in self._world.objects:
            return
        try:
            words = self._retire(state, revision)
        except LeaseLost:
            raise
        except (LakehouseError, OSError) as error:
            told = error.explain() if isinstance(error, LakehouseError) else str(error)
            message = f"no spec asks for it; removing it failed and is tried again: {told}"
            self._statuses.note(name, "False", reasons.PRUNING, message, revision)
            self.unfinished = True
            return
        after = self._catalog.get(name)
        if after is not None and after.retained:
            self._statuses.note(name, "True", reasons.RETAINED, f"no spec asks for it; {words}", revision)
        else:
            self._statuses.remove(name, f"no spec asks for it; {words}", revision)

    def _retire(self, state: ObjectState, revision: str) -> str:
        """Ends the object; what became of it, in words."""
        retiring = self._retiring.get(Key.of(state.object).kind)
        if retiring is None:
            self._catalog.commit((Dropped(state.object),), actor="daemon", reason="no spec asks for it", revision=revision)
            return "nothing was made of it"
        words = retiring.retire(state)
        retiring.remove(state, revision)
        return words

    def _use_up_approvals(self) -> None:
        """An approval is of one removal: what comes back and is unwanted once more is asked about again."""
        for state in self._catalog.objects("Prune").values():
            for plan_id, approval in state.approvals.items():
                if approval.objects and not any(self._is_left(name) for name in approval.objects):
                    used = Approved(state.object, plan_id, approval.by, approval.digest)
                    self._catalog.commit((used,), actor="daemon", reason="what was approved is gone", revision=self._world.revision)

    def _is_left(self, name: str) -> bool:
        state = self._catalog.get(name.rpartition("@")[0])
        if state is None or state.managed is None or state.retained or versioned(state) != name:
            return False
        return Key.of(state.object) not in self._world.objects
