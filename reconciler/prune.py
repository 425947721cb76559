"""Removing what no spec wants any more, by an inventory that was written before the first side effect; pure.

Data is retained unless its spec said otherwise, derived things go. A commit that removes more than `maxPrune` of a kind
(and more than a single object), any dataset that a policy governs, or a policy of a dataset that does not say `policy: none`, is held until
somebody approves exactly this plan; so is everything while a spec file cannot be read, since it may ask for what seems unwanted. Any number
of EvalSets and TrialBudgets may go, and of what profiles have of indexes for themselves. A plan's id covers what would go, at the versions
observed, and what is wanted in its stead.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from reconciler.world import SPEC_FILE
from specs.digests import digest
from specs.kinds.dataset import DatasetSpec
from specs.resource import MARK, Key, Resource
from state.catalog.fold import Approval, ObjectState
from state.catalog.tables import Table

_ORDER = ("IndexGeneration", "Index", "Dataset", "Bucket")
"""Dependents go before what they depend on; kinds without a place here go first."""
_CHEAP = frozenset({"EvalSet", "TrialBudget"})
"""Kinds that hold nothing of which an approval could save anybody the making: answers are computed again, trials stay, and what was chosen
goes on serving."""


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """What goes, in order, and what does not without an approval.

    Args:
        held: objects that may not go unasked, with the reason in words.
        id: short digest of what is held, which an approval names.
        wanted: digest of what is wanted of the kinds of what is held.
        versions: what is held, each "Kind/name@version".
    """

    objects: tuple[ObjectState, ...] = ()
    held: Mapping[str, str] = field(default_factory=dict)
    id: str = ""
    wanted: str = ""
    versions: tuple[str, ...] = ()


def plan_prune(
    objects: Mapping[str, ObjectState],
    wanted: Mapping[Key, str],
    max_prune: float,
    approvals: Collection[Approval] = (),
    moving: Collection[Key] = (),
    released: Collection[Key] = (),
) -> PrunePlan:
    """What of the inventory nobody wants.

    Args:
        objects: what the catalog knows, by name. Looked at only as far as something goes: a start over many costs their names.
        wanted: digests of what is wanted, by key; files that cannot be read among them.
        max_prune: share in [0, 1] of a kind that may go unasked.
        moving: datasets whose data a wanted one takes over under its own name; they go with that.
        released: datasets that are wanted and say `policy: none`.
    """
    ours = {str(key) for key in wanted}
    leaving = {str(key) for key in moving}
    surplus = sorted((objects[name] for name in objects if name not in ours and _is_managed(objects[name], leaving)), key=_order)
    if not surplus:
        return PrunePlan()
    going = Counter(_kind(state) for state in surplus if MARK not in state.object)
    written = (name for name in objects if MARK not in name)
    totals = Counter(kind for name in written if (kind := name.partition("/")[0]) in going and _is_managed(objects[name], leaving))
    guarded = objects.keys() - {str(key) for key in released}
    unread = min((key.name for key in wanted if key.kind == SPEC_FILE), default=None)
    approved = _approved(wanted, approvals)
    held = {
        state.object: why
        for state in surplus
        if versioned(state) not in approved and (why := _why_held(state, going, totals, max_prune, unread, guarded)) is not None
    }
    goes = tuple(state for state in surplus if state.object not in held)
    versions = tuple(versioned(state) for state in surplus if state.object in held)
    subset = _digest_of_kinds(wanted, versions)
    return PrunePlan(goes, held, digest([subset, versions])[:12], subset, versions)


def versioned(state: ObjectState) -> str:
    """The object as an approval names it: "Kind/name@version", 0 where it has no table."""
    return f"{state.object}@{state.table.version if state.table is not None else 0}"


def _why_held(
    state: ObjectState, going: Counter[str], totals: Counter[str], max_prune: float, unread: str | None, guarded: Collection[str]
) -> str | None:
    kind = _kind(state)
    if unread is not None:
        return f"{unread} cannot be read and may ask for it, so mend that file first"
    if state.governed:
        return "a policy governs it"
    governs = state.managed.about.get("dataset") if kind == "Policy" and state.managed is not None else None
    if f"Dataset/{governs}" in guarded:
        return f"it governs {governs}; its rules hold until then, and while no other Policy does, nobody but operators reads {governs}"
    if kind not in _CHEAP and MARK not in state.object and going[kind] > 1 and going[kind] / totals[kind] > max_prune:
        return f"{going[kind]} of {totals[kind]} {kind} objects would go, more than maxPrune {max_prune:.0%}"
    return None


def _approved(wanted: Mapping[Key, str], approvals: Collection[Approval]) -> frozenset[str]:
    """What somebody let go, at its version, while what is wanted is still what it was then."""
    valid = (approval for approval in approvals if approval.objects and approval.digest == _digest_of_kinds(wanted, approval.objects))
    return frozenset(name for approval in valid for name in approval.objects)


def _digest_of_kinds(wanted: Mapping[Key, str], versions: Iterable[str]) -> str:
    """Of what is wanted of the kinds that `versions` name."""
    kinds = {name.partition("/")[0] for name in versions}
    return digest(sorted([str(key), text] for key, text in wanted.items() if key.kind in kinds))


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


def released(resources: Iterable[Resource]) -> frozenset[Key]:
    """Datasets that say `policy: none`."""
    said = (each for each in resources if each.key.kind == "Dataset" and '"policy"' in each.body)  # as in `moving`
    return frozenset(each.key for each in said if each.spec_as(DatasetSpec).policy == "none")


def _is_managed(state: ObjectState, leaving: Collection[str]) -> bool:
    return state.managed is not None and not state.retained and state.object not in leaving


def _kind(state: ObjectState) -> str:
    return state.object.partition("/")[0]


def _order(state: ObjectState) -> tuple[int, str]:
    kind = _kind(state)
    return (_ORDER.index(kind) if kind in _ORDER else -1, state.object)
