"""What the rows of a file must satisfy, as an ingest job is told. Plain data that crosses to another process as JSON.

`judge.py` applies it; where it comes from is `specs/kinds/dataset_rules.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from specs.digests import digest

OnViolation = Literal["quarantine", "reject", "warn"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least and the greatest value of a column, both included; None for no bound."""

    least: float | None = None
    greatest: float | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """Values of `column` occur in the column `target` of a dataset. source: its rows, what `LakeTable.to_dict` gives."""

    column: str
    dataset: str
    target: str
    source: Mapping[str, Any] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Terms:
    """A contract and what it is judged by beside the file.

    required: columns with a value in every row. unique: groups of columns. present: the rows of the table among which new ones must be
    unique, what `LakeTable.to_dict` gives; None where there are none. against: digest of the datasets that are referred to, as they are
    now; beside: and of the rows of `present`; "" for none.
    """

    on_violation: OnViolation = "quarantine"
    required: tuple[str, ...] = ()
    unique: tuple[tuple[str, ...], ...] = ()
    ranges: Mapping[str, Bounds] = field(default_factory=dict, hash=False)
    checks: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()
    present: Mapping[str, Any] | None = field(default=None, hash=False)
    against: str = ""
    beside: str = ""

    @property
    def basis(self) -> str:
        """What else than file and spec the rows depend on; "" for nothing."""
        return digest([self.against, self.beside]) if self.against or self.beside else ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Raises KeyError or TypeError for what `to_dict` does not make."""
        parsed = {
            "required": tuple(document["required"]),
            "unique": tuple(tuple(group) for group in document["unique"]),
            "ranges": {name: Bounds(**bounds) for name, bounds in document["ranges"].items()},
            "checks": tuple(document["checks"]),
            "references": tuple(Reference(**reference) for reference in document["references"]),
        }
        return cls(**{**document, **parsed})
