"""What is asked of SQL: a statement, its values, and which of its tables' versions it reads. Next: `service.py`, which answers it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from engines.at import PRESENT, At

LookedUp: TypeAlias = Callable[[Sequence[str]], None]
"""Hears of the tables that a statement names, however it ends. Quick: it is called on the event loop."""


def _nobody(names: Sequence[str]) -> None:
    """Hears of them."""


@dataclass(frozen=True, slots=True)
class QueryRequest:
    """One read-only statement. params: scalars and lists of scalars, by the names of the statement's `$name`. at: which versions of its
    tables are read, under which schemas. max_rows: None for as many as the reader's limits allow, which hold anyway. looked_up: whoever
    hears which tables it names."""

    sql: str
    params: Mapping[str, Any] = field(default_factory=dict, hash=False)
    at: At = PRESENT
    max_rows: int | None = None
    looked_up: LookedUp = field(default=_nobody, compare=False)
