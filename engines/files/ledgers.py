"""What a job notes beside the rows that it writes: an object that its commit refers to. Plain data that crosses processes as JSON.

The object's own footer says as much as the catalog will, so that a lost catalog gets its ledgers back. Next: `journal.py`,
`quarantine.py`, `profiling.py`, `state/catalog/tables.py` for what becomes of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from state.catalog.tables import Ledger, LedgerKind
from state.objects import ObjectRef


@dataclass(frozen=True, slots=True)
class Noted:
    """A ledger that is written and not committed yet. source: the content digest that it is about; rows it holds; against: see
    `state.catalog.tables.Ledger`."""

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


METADATA = b"lakehouse.ledger"


@dataclass(frozen=True, slots=True)
class LedgerFacts:
    """What the footer of a ledger in Parquet says of it, see `state.catalog.tables.Ledger`. folds: keys of the ledgers that it replaced,
    and of those that they had replaced. transformation, basis: of a quarantine, what its rows were judged by, as of `Provenance`."""

    kind: LedgerKind
    dataset: str
    source: str
    version: int
    at: str
    folds: tuple[str, ...] = ()
    transformation: str = ""
    basis: str = ""
    against: str = ""

    def to_metadata(self) -> dict[bytes, bytes]:
        """What goes into the footer; the inverse of `read_ledger_facts`."""
        return {METADATA: orjson.dumps(self)}

    def ledger(self, ref: ObjectRef, rows: int) -> Ledger:
        """The catalog's entry."""
        return Ledger(self.kind, ref, rows, self.source, self.version, self.at, against=self.against)


def read_ledger_facts(path: Path) -> tuple[LedgerFacts | None, int]:
    """The facts, None where an older version wrote the file, and its rows. Raises ValueError for what is no such file; OSError."""
    try:
        found = pq.read_metadata(path)
        said = (found.metadata or {}).get(METADATA)
        facts = None if said is None else orjson.loads(said)
        return None if facts is None else LedgerFacts(**{**facts, "folds": tuple(facts["folds"])}), found.num_rows
    except (pa.ArrowException, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"it is no ledger of ours: {str(error).splitlines()[0]}") from error
