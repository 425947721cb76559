"""What there is to do about a Policy, and what is said of it; pure. It is in force by being there: what remains is to try its cases.

A faulty one is Stalled, and its dataset closed to all but operators. Cases that fail, and masks that show nothing of their column's type,
are conditions beside Ready: the policy is in force.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from controllers.outcome import Aspect, Outcome, Ready, Stalled, Waiting
from controllers.step import Work
from engines.policies.governed import NO_ROW, PolicyRules, Unfit
from specs.kinds.policy import PolicySpec
from specs.resource import Resource
from state import reasons

PAUSE = 60.0
"""Seconds between two runs of the cases of a policy whose rules did not change: data may come in every second."""


@dataclass(frozen=True, slots=True)
class Tried:
    """Cases that were run. of: what they were run against, rules and data; at: seconds of a clock; failed: a sentence each."""

    of: tuple[object, ...]
    at: float
    cases: int
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Observed:
    """The world as a policy sees it.

    Args:
        wanted: whether a spec declares the dataset; `table`: whether it has columns.
        rules: the policy over these; `fault`: why it cannot be applied.
        others: policies that govern the dataset besides; `closed`: why nobody but operators may read it.
        tried: how the cases ended last, in this process; `of`: what they would be run against now, None where nobody can run them.
        now: seconds of a clock.
        unfit: masks that show nothing of their column's type.
    """

    wanted: bool
    table: bool = False
    rules: PolicyRules | None = None
    fault: str | None = None
    others: tuple[str, ...] = ()
    closed: str | None = None
    tried: Tried | None = None
    of: tuple[object, ...] | None = None
    now: float = 0.0
    unfit: tuple[Unfit, ...] = ()


@dataclass(frozen=True, slots=True)
class TryCases:
    """Runs the cases that are written beside the policy."""

    why: str
    cases: int

    @property
    def work(self) -> Work | None:
        """Queries."""
        return None

    def summary(self) -> str:
        """See `Step`."""
        return f"run {self.cases} {'case' if self.cases == 1 else 'cases'}"


def plan(resource: Resource, observed: Observed) -> tuple[TryCases, ...]:
    """Its cases, where they were not run against the present rules and rows; as a policy whose rules stay, once in a while."""
    cases, tried = len(resource.spec_as(PolicySpec).tests), observed.tried
    if not cases or observed.of is None or observed.fault is not None or not observed.table:
        return ()
    if tried is None or tried.of[0] != observed.of[0]:
        return (TryCases("its rules or cases are new here", cases),)
    if tried.of != observed.of and observed.now - tried.at >= PAUSE:
        return (TryCases("the data is another", cases),)
    return ()


def conclude(resource: Resource, observed: Observed) -> Outcome:
    """The ending when nothing is left to do."""
    spec = resource.spec_as(PolicySpec)
    dataset = f"Dataset/{spec.dataset}"
    if not observed.wanted:
        return Waiting(reasons.REFERENCE_MISSING, f"{dataset} is not there; declare it", blocked_by=dataset)
    if not observed.table or observed.rules is None:
        return Waiting(reasons.DEPENDENCY_NOT_READY, f"{dataset} holds nothing yet, and is closed until then", blocked_by=dataset)
    if observed.fault is not None:
        message = f"{spec.dataset} is closed to all but operators until this is corrected: {observed.fault}"
        return Stalled(reasons.POLICY_FAULTY, message, also=())
    masked = sorted({column for rule in observed.rules.masks for column in rule.columns})
    roles = sorted({role for rule in observed.rules.rows if rule.where != NO_ROW for role in rule.roles})
    rows = f"rows for {', '.join(roles)}" if roles else "no row" if spec.rows else "all rows"
    beside = f"; {observed.closed}" if observed.closed is not None else f", beside {', '.join(observed.others)}" if observed.others else ""
    detail: dict[str, object] = {"dataset": spec.dataset, "roles": roles, "masked": masked, "others": list(observed.others)}
    waits = observed.tried is not None and observed.of is not None and observed.tried.of != observed.of
    seconds = max(1.0, PAUSE - (observed.now - observed.tried.at)) if waits and observed.tried is not None else None
    warned = f"; masks that show nothing of their types: {', '.join(each.column for each in observed.unfit)}" if observed.unfit else ""
    message = f"{rows} of {spec.dataset}, {len(masked)} of its columns masked{beside}{warned}"
    also = (*_masks(observed), *_tests(resource.key.name, spec, observed.tried))
    return Ready(message, detail, seconds=seconds, also=also)


def _masks(observed: Observed) -> Iterator[Aspect]:
    if observed.unfit:
        yield Aspect("MasksUnfit", True, reasons.MASK_UNFIT, ". ".join(each.said for each in observed.unfit))


def _tests(name: str, spec: PolicySpec, tried: Tried | None) -> Iterator[Aspect]:
    if not spec.tests:
        return
    if tried is None:
        yield Aspect("TestsFailing", None, reasons.NOT_OBSERVED, f"a daemon runs the cases, and `lakectl policy test {name}`")
        return
    if not tried.failed:
        yield Aspect("TestsFailing", False, reasons.TESTS_PASSED, f"{tried.cases} of {tried.cases} cases pass")
        return
    first, *more = tried.failed
    rest = f", and {len(more)} more" if more else ""
    message = f"the policy is in force, and {first}{rest}: `lakectl policy test {name}` shows what came"
    yield Aspect("TestsFailing", True, reasons.TESTS_FAILED, message)
