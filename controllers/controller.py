"""What every kind gives the loop: observe (reads), plan and conclude (pure), act (writes), retire (pure).

The loop calls `observe`, then `plan`; while there are steps it calls `act` on each and observes again; when no steps are
left, `conclude` names the ending. All of it is blocking and may be called from several threads, but never for one object
at once. Nothing else may write to the world on behalf of a kind.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from controllers.outcome import Outcome
from controllers.step import Started, Step
from specs.resource import Resource
from state.catalog.fold import ObjectState

Observed = TypeVar("Observed")
Does = TypeVar("Does", bound=Step)


class Controller(Protocol[Observed, Does]):
    """One kind's way from spec to world."""

    def observe(self, resource: Resource) -> Observed:
        """Reads the world. Whatever is random or external is obtained here. Raises LakehouseError."""
        ...

    def drift(self, observed: Observed) -> Sequence[str]:
        """What was changed behind our back: names of objects that were made and are missing or damaged, sorted; pure."""
        ...

    def plan(self, resource: Resource, observed: Observed) -> Sequence[Does]:
        """The steps from `observed` to the spec, in order; pure. Empty when nothing can or need be done."""
        ...

    def conclude(self, resource: Resource, observed: Observed) -> Outcome:
        """The ending when `plan` is empty; pure."""
        ...

    def act(self, resource: Resource, step: Does, revision: str) -> Started | None:
        """Does one step; Started where it runs on as a job. Idempotent. Raises LakehouseError."""
        ...


class Retiring(Protocol):
    """How objects of a kind end whose spec is gone."""

    def retire(self, record: ObjectState) -> str:
        """What becomes of the object, in words ("its data is retained"); pure."""
        ...

    def remove(self, record: ObjectState, revision: str) -> None:
        """Makes it so. Idempotent. Raises LakehouseError."""
        ...


Registry = Mapping[str, "Controller[object, Step]"]
"""Controllers by kind."""
