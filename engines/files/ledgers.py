"""What a job notes beside the rows that it writes: an object that its commit refers to. Plain data that crosses processes as JSON.

Next: `journal.py`, `quarantine.py`, `profiling.py`, `state/catalog/records.py` for what becomes of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from state.catalog.records import LedgerKind
from state.objects import ObjectRef


@dataclass(frozen=True, slots=True)
class Noted:
    """A ledger that is written and not committed yet. source: the content digest that it is about; rows it holds; against: see
    `state.catalog.records.Ledger`."""

    kind: LedgerKind
    ref: ObjectRef
    rows: int
    source: str
    against: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        return {"kind": self.kind, "ref": self.ref.to_dict(), "rows": self.rows, "source": self.source, "against": self.against}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Raises KeyError or TypeError for what `to_dict` does not make."""
        return cls(**{**data, "ref": ObjectRef.from_dict(data["ref"])})
