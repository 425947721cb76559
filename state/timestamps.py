"""Instants as text: one form everywhere, `2026-11-22T15:51:52.123Z` (UTC, milliseconds), so that text sorts as time does.

No clock is read here; clocks are passed in by whoever owns the process.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Gives the present as a timezone-aware datetime."""


def iso(at: datetime) -> str:
    """`at` must be aware; the text has 24 characters."""
    utc = at if at.tzinfo is UTC else at.astimezone(UTC)
    return utc.isoformat(timespec="milliseconds")[:23] + "Z"


def from_iso(text: str) -> datetime:
    """Any ISO 8601 date or instant; without an offset it is UTC. Raises ValueError."""
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)
