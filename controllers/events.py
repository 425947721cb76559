"""Where controllers say what happened that is no change of status: a file that vanished, a build that was promoted."""

from typing import Protocol


class Events(Protocol):
    """Appends to the stream of events; durable on return."""

    def record_event(self, object: str, type: str, reason: str, message: str, revision: str | None) -> None:  # noqa: A002 - the stream's own words
        """One event; `type` is Normal or Warning, `reason` one of `state.reasons`."""
        ...
