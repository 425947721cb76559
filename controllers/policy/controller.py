"""Policy's eyes and hands: what the book of policies makes of it, and who runs its cases, if anybody does in this process."""

import time
from collections.abc import Callable, Sequence

from controllers.outcome import Outcome
from controllers.policy import plan as planning
from controllers.policy.plan import Observed, Tried, TryCases
from controllers.step import Started
from engines.policies.book import PolicyBook
from engines.policies.testing import CaseResult
from specs.kinds.policy import PolicySpec
from specs.resource import Key, Resource
from state.catalog.catalog import Catalog
from state.catalog.entry import Dropped
from state.catalog.fold import ObjectState

RunCases = Callable[[PolicySpec], Sequence[CaseResult]]
"""Blocking."""


class PolicyController:
    """See `controllers.controller.Controller`. run_cases: set by whoever can query; without it nobody looks at the cases."""

    def __init__(
        self,
        catalog: Catalog,
        book: PolicyBook,
        wanted: Callable[[Key], Resource | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """wanted: the spec in force of an object, None if nobody wants it. clock: seconds."""
        self._catalog = catalog
        self.book = book
        self._wanted = wanted
        self._clock = clock
        self._tried: dict[str, Tried] = {}
        self.run_cases: RunCases | None = None

    def observe(self, resource: Resource) -> Observed:
        """What the policy is over the present columns, and how its cases ended last."""
        name, dataset = resource.key.name, resource.spec_as(PolicySpec).dataset
        table, wanted = self._catalog.table(dataset), self._wanted(Key("Dataset", dataset)) is not None
        if table is None or not table.columns or not wanted:
            return Observed(wanted)
        standing = self.book.standing(dataset)
        rules = next((each for each in standing.rules if each.name == name), None)
        others = tuple(each.name for each in standing.rules if each.name != name)
        closed = standing.governed.closed if standing.governed is not None else None
        of = (resource.digest, standing.governed, table.snapshot) if self.run_cases is not None else None
        tried = self._tried.get(name)
        unfit = standing.unfit.get(name, ())
        return Observed(True, True, rules, standing.faults.get(name), others, closed, tried, of, self._clock(), unfit)

    def drift(self, observed: Observed) -> tuple[str, ...]:
        """Nothing was made."""
        return ()

    def plan(self, resource: Resource, observed: Observed) -> tuple[TryCases, ...]:
        """See `plan.plan`."""
        return planning.plan(resource, observed)

    def conclude(self, resource: Resource, observed: Observed) -> Outcome:
        """See `plan.conclude`."""
        return planning.conclude(resource, observed)

    def act(self, resource: Resource, step: TryCases, revision: str) -> Started | None:
        """Runs the cases, one query after the other."""
        observed = self.observe(resource)
        if self.run_cases is None or observed.of is None:
            return None
        results = self.run_cases(resource.spec_as(PolicySpec))
        failed = tuple(f"case {each.number} ({each.case.role}) {_ended(each)}" for each in results if not each.passed)
        self._tried[resource.key.name] = Tried(observed.of, self._clock(), len(results), failed)
        return None

    def retire(self, record: ObjectState) -> str:
        """Its rules end with it."""
        dataset = record.managed.about.get("dataset") if record.managed is not None else None
        return f"its rules end; without another Policy {dataset} is closed until it says `policy: none`"

    def remove(self, record: ObjectState, revision: str) -> None:
        """Only the inventory knows a policy."""
        self._catalog.commit((Dropped(record.object),), actor="daemon", reason="no spec asks for it", revision=revision)
        self._tried.pop(record.name, None)


def _ended(result: CaseResult) -> str:
    """Without a value of the data."""
    return "cannot be run" if result.got is None else "returns other rows"
