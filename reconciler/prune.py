"""Removing what no spec wants any more, by an inventory that was written before the first side effect; pure.

Data is retained unless its spec said otherwise, derived things go. A commit that removes more than `maxPrune` of a kind
(and more than a single object), or any dataset that a policy governs, is held until somebody approves exactly this plan:
its id covers what would go, what is wanted in its stead, and the versions observed.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from specs.digests import digest
from specs.kinds.dataset import DatasetSpec
from specs.resource import Key, Resource
from state.catalog.fold import ObjectState
from state.catalog.records import Table

_ORDER = ("IndexGeneration", "Index", "Dataset", "Bucket")
"""Dependents go before what they depend on; kinds without a place here go first."""


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """What goes, in order, and whether that needs an approval.

    Args:
        id: short digest that an approval names.
        held: objects that may not go without it, with the reason in words.
    """

    id: str
    objects: tuple[ObjectState, ...]
    held: Mapping[str, str]


def plan_prune(
    objects: Mapping[str, ObjectState],
    wanted: Mapping[Key, str],
    max_prune: float,
    approved: Collection[str],
    moving: Collection[Key] = (),
) -> PrunePlan:
    """What of the inventory nobody wants.

    Args:
        objects: what the catalog knows, by name. Looked at only as far as something goes: a start over many costs their names.
        wanted: digests of what is wanted, by key.
        max_prune: share in [0, 1] of a kind that may go unasked.
        approved: ids of approved plans.
        moving: datasets whose data a wanted one takes over under its own name; they go with that.
    """
    ours = {str(key) for key in wanted}
    leaving = {str(key) for key in moving}
    surplus = sorted((objects[name] for name in objects if name not in ours and _is_managed(objects[name], leaving)), key=_order)
    going = Counter(_key(state).kind for state in surplus)
    totals = Counter(kind for name in objects if (kind := name.partition("/")[0]) in going and _is_managed(objects[name], leaving))
    plan_id = _identity(surplus, wanted)
    held: dict[str, str] = {}
    if plan_id not in approved:
        for state in surplus:
            key = _key(state)
            share = going[key.kind] / totals[key.kind]
            if state.managed is not None and state.managed.governed:
                held[state.object] = "a policy governs it"
            elif going[key.kind] > 1 and share > max_prune:
                part = f"{going[key.kind]} of {totals[key.kind]} {key.kind} objects"
                held[state.object] = f"{part} would go, more than maxPrune {max_prune:.0%}"
    return PrunePlan(plan_id, tuple(state for state in surplus if state.object not in held), held)


def moving(resources: Iterable[Resource], table: Callable[[str], Table | None]) -> dict[Key, Key]:
    """Datasets whose `renamedFrom` is still to be carried out: the former key to the new one. `table` gives what a name holds."""
    found: dict[Key, Key] = {}
    for resource in resources:
        # typed specs are dear, and few datasets were ever renamed
        if resource.key.kind != "Dataset" or '"renamedFrom"' not in resource.body:
            continue
        former = resource.spec_as(DatasetSpec).renamed_from
        if former is not None and table(resource.key.name) is None and table(former) is not None:
            found[Key("Dataset", former)] = resource.key
    return found


def _is_managed(state: ObjectState, leaving: Collection[str]) -> bool:
    return state.managed is not None and not state.retained and state.object not in leaving


def _identity(surplus: list[ObjectState], wanted: Mapping[Key, str]) -> str:
    kinds = {_key(state).kind for state in surplus}
    subset = sorted([str(key), text] for key, text in wanted.items() if key.kind in kinds)
    versions = [[state.object, state.table.version if state.table is not None else 0] for state in surplus]
    return digest([subset, versions])[:12]


def _key(state: ObjectState) -> Key:
    kind, _, name = state.object.partition("/")
    return Key(kind, name)


def _order(state: ObjectState) -> tuple[int, str]:
    kind = _key(state).kind
    return (_ORDER.index(kind) if kind in _ORDER else -1, state.object)
