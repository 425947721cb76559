"""What a read of PostgreSQL is told. Plain data; the daemon makes it and a job of it, and never imports a driver. Next: `extract.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from engines.files.extract import ExtractTask


@dataclass(frozen=True, slots=True)
class PostgresTask:
    """rows: where they go. secret: its name. query: what is read; reads: the same in words.

    cursor: a column, None for a full read; last: its greatest value so far; overlap: seconds. held: what the table holds now, as a
    TableSource's `to_dict` gives it, None for nothing.
    """

    rows: ExtractTask
    secret: str
    query: str
    reads: str
    cursor: str | None = None
    last: str | None = None
    overlap: float = 0.0
    held: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        return {**{name: getattr(self, name) for name in self.__match_args__}, "rows": self.rows.to_dict()}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Raises KeyError or TypeError for what `to_dict` does not make."""
        return cls(**{**document, "rows": ExtractTask.from_dict(document["rows"])})
