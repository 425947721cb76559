"""Of what a derived dataset is made, and whether it may be: plain data and the choke point. Next: `derived.py`, the job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from engines.files.extract import ExtractTask
from engines.reading import Reader, TableName, decide

DERIVING = Reader(role="derived", operator=True, trusted=True)
"""Who reads on behalf of a derived dataset."""


@dataclass(frozen=True, slots=True)
class DerivedTask:
    """rows: where they go. sql: one statement. sources: what its names stand for, as `to_dict` gives it; inputs: dataset -> version."""

    rows: ExtractTask
    sql: str
    sources: tuple[Mapping[str, Any], ...]
    inputs: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        return {"rows": self.rows.to_dict(), "sql": self.sql, "sources": list(self.sources), "inputs": dict(self.inputs)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Raises KeyError or TypeError for what `to_dict` does not make."""
        return cls(ExtractTask.from_dict(document["rows"]), document["sql"], tuple(document["sources"]), document["inputs"])


def may_derive(name: TableName) -> bool:
    """Whether a derived dataset may read the whole of a table: it has no way to apply a filter or a mask."""
    return decide(DERIVING, name, "read").whole
