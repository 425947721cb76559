"""Kinds whose controller is not built yet: their specs are valid, and their status says so. Nothing is silently ignored."""

from controllers.outcome import Outcome, Stalled
from controllers.step import Started, Step
from specs.resource import Resource
from state import reasons


class Unsupported:
    """Controls nothing, and says so."""

    def observe(self, resource: Resource) -> None:
        """Nothing to read."""

    def drift(self, observed: None) -> tuple[str, ...]:
        """Nothing was made."""
        return ()

    def plan(self, resource: Resource, observed: None) -> tuple[Step, ...]:
        """Nothing to do."""
        return ()

    def conclude(self, resource: Resource, observed: None) -> Outcome:
        """Stalled: NoController."""
        kind = resource.key.kind
        return Stalled(
            reasons.NO_CONTROLLER,
            f"the spec is valid, but this version of Lakehouse does not act on {kind} objects yet; it stays without effect",
        )

    def act(self, resource: Resource, step: Step, revision: str) -> Started | None:
        """Never called: there are no steps."""
        raise AssertionError(step)
