"""What a parser says of a file, before anybody knows what the operator calls it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Report:
    """notes: sentences on what deserves a look. columns: all that the file names, also those without a value."""

    notes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


class Refused(Exception):
    """reason: without the path; remedy: what to do about it, a sentence."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
