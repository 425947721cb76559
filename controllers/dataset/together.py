"""`publish: together`: the datasets that say so become visible in one catalog entry.

They are one group. Whoever has read its files offers the entry that it would make, and waits. As soon as every member has offered, or has
nothing to offer, one entry makes all of them. A member that cannot be made as its spec and files say holds up the others, however long that
takes: their last good versions stay served until it is mended, suspended, or leaves the group. Offers are kept in memory: after a crash
they are made again of the jobs' results. A read of a database that is due again while it waits stands until the newer one has ended.
Next: `controller.py`, which makes them.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from controllers.dataset import endings
from controllers.dataset import plan as planning
from controllers.dataset.steps import DatasetStep, Follow, Observed
from controllers.dataset.versions import committed_at
from controllers.outcome import Stalled, Waiting
from controllers.step import Started
from specs.kinds.dataset import DatasetSpec
from specs.resource import Resource
from state import reasons
from state.catalog.catalog import Catalog
from state.catalog.entry import TableCommit
from state.catalog.tables import Table
from state.failpoints import declare, hit
from state.objects import ObjectRef
from state.timestamps import Clock, iso

_BEFORE_COMMIT = declare("together.before-commit")
_AFTER_COMMIT = declare("together.after-commit")
_SHOWN = 3


class Member(Protocol):
    """A Dataset as it is wanted."""

    @property
    def resource(self) -> Resource | None:
        """The spec in force."""

    @property
    def errors(self) -> Sequence[object]:
        """Of a newer document that cannot be in force."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a member would commit on top of its table. job: whose result it is; published: called once it is committed; lost: called where
    objects of it are gone, so that the job is done again."""

    resource: Resource
    table: Table | None
    step: Follow
    job: str | None
    change: TableCommit
    revision: str
    published: Callable[[], None]
    lost: Callable[[], None]


class Together:
    """Thread-safe; blocking. One a process.

    Args:
        members: every Dataset that is wanted.
        observe: the world as one of them sees it.
        whole: whether an object is there. What waits for others for days is nobody's, and `gc` may have removed it.
    """

    def __init__(
        self,
        catalog: Catalog,
        members: Callable[[], Iterable[Member]],
        observe: Callable[[Resource], Observed],
        whole: Callable[[ObjectRef], bool],
        clock: Clock,
    ) -> None:
        self._catalog, self._members, self._observe, self._whole, self._clock = catalog, members, observe, whole, clock
        self._lock = threading.Lock()
        self._offers: dict[str, Offer] = {}

    def offered(self, resource: Resource, step: Follow, job: str | None) -> Offer | None:
        """What was offered for this very step, made of this job's result."""
        offer = self._offers.get(str(resource.key))
        return offer if offer is not None and offer.job == job and self._stands(offer, resource, (step,)) else None

    def publish(self, offer: Offer) -> Started | None:
        """Commits all offers if they are complete, else says who is missing. Raises what a commit raises."""
        with self._lock:
            self._offers[str(offer.resource.key)] = offer
            ready: list[Offer] = []
            missing: dict[str, str] = {}
            for member in self._members():
                resource = member.resource
                if resource is None or resource.spec_as(DatasetSpec).publish != "together" or self._suspended(str(resource.key)):
                    continue
                why = "its newest spec cannot be used" if member.errors else self._gather(resource, ready)
                if why is not None:
                    missing[str(resource.key)] = why
            missing |= {str(one.resource.key): "it is read again" for one in ready if not missing and not self._keeps(one.change)}
            if missing:
                return _waiting(missing)
            for one in ready:
                del self._offers[str(one.resource.key)]
            hit(_BEFORE_COMMIT)
            why = "published together" if len(ready) > 1 else offer.step.why
            at = iso(self._clock())  # one for all, and not that of the first offer, when nobody could read it
            self._catalog.commit([committed_at(one.change, at) for one in ready], actor="daemon", reason=why, revision=offer.revision)
            hit(_AFTER_COMMIT)
        for one in ready:
            one.published()
        return None

    def _gather(self, resource: Resource, ready: list[Offer]) -> str | None:
        """Takes the member's offer, if it has something to commit; why that is missing."""
        observed = self._observe(resource)
        outcome = endings.conclude(resource, observed)
        if isinstance(outcome, Stalled):
            return f"{outcome.reason}: {outcome.message}"
        steps = planning.plan(resource, observed)
        offer = self._offers.get(str(resource.key))
        if offer is not None and self._stands(offer, resource, steps):
            ready.append(offer)
            return None
        if steps:
            return "it is still being read"
        if isinstance(outcome, Waiting) and outcome.reason != reasons.SOURCE_EMPTY and outcome.blocked_by not in self._offers:
            return outcome.message
        return None

    def _keeps(self, change: TableCommit) -> bool:
        """Whether all that it would refer to is there; else the offer is forgotten."""
        refs = [*(file.ref for file in change.add), *(ledger.ref for ledger in change.note)]
        if all(map(self._whole, refs)):
            return True
        self._offers.pop(change.object).lost()
        return False

    def _stands(self, offer: Offer, resource: Resource, steps: Sequence[DatasetStep]) -> bool:
        """Whether it is what the member still needs on top of what it has now, though a source that is no file may be due again."""
        if offer.resource.digest != resource.digest or self._catalog.table(resource.key.name) is not offer.table:
            return False
        in_files = resource.spec_as(DatasetSpec).source.in_files
        return tuple(steps) == (offer.step,) or (not in_files and len(steps) == 1 and _again(offer.step) == _again(steps[0]))

    def _suspended(self, name: str) -> bool:
        record = self._catalog.get(name)
        suspended = record.suspended if record is not None else None
        return suspended is not None and (not suspended.until or suspended.until > iso(self._clock()))


def _again(step: DatasetStep) -> DatasetStep:
    """Without what tells one read of a source from the next."""
    return replace(step, why="", ingest=(), slot="", inputs=()) if isinstance(step, Follow) and step.ingest else step


def _waiting(missing: dict[str, str]) -> Started:
    names = list(missing)
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    told = "; ".join(f"{name}: {missing[name]}" for name in names[:_SHOWN])
    message = (
        f"ready, and published together with others when these are, too: {told}{more}. Until then, what was served stays served; "
        "`publish: separately` lets it go ahead"
    )
    return Started(reasons.AWAITING_OTHERS, message, blocked_by=names[0])
