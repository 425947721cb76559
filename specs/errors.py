"""The root of every error that Lakehouse raises.

    LakehouseError
    ├── specs.errors.SpecInvalid       a caller asked for a kind, name or size that cannot be
    ├── state.errors.StateError        storage, catalog, lease, streams
    ├── engines.errors.EngineError     SQL, search, files, models
    └── ...                            one branch a room, drawn in that room's own `errors.py`

A faulty *document* is not an exception: parsing returns `specs.parse.SpecError` values, because a file with one bad
document still yields the others. Exceptions here are for callers that pass something impossible.
"""

from __future__ import annotations

from typing import ClassVar


class LakehouseError(Exception):
    """An error of ours, with a stable name for machines and a way out for people.

    `slug` is kebab-case, stable across versions and used as the problem type over HTTP. `remedy` is one sentence that
    names the next step, or None where there is none to name. Both may be set per class or per instance.
    """

    slug: ClassVar[str] = "lakehouse-error"
    remedy: str | None = None

    def __init__(self, message: str = "", *, remedy: str | None = None) -> None:
        super().__init__(message)
        if remedy is not None:
            self.remedy = remedy

    @property
    def message(self) -> str:
        """The sentence without the remedy, as `str(error)` gives it."""
        return str(self)

    def explain(self) -> str:
        """The message, followed by the remedy if there is one."""
        return f"{self} {self.remedy}" if self.remedy else str(self)


class SpecInvalid(LakehouseError):
    """A kind, name, key, duration or size given by a caller (not by a document) cannot be."""

    slug = "spec-invalid"
