"""What answered a query: an Arrow IPC stream, and what is known of it. Next: `service.py`, which gives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from engines.sql.json_rows import json_rows, type_name
from engines.sql.touched import Touched


@dataclass(frozen=True, slots=True)
class QueryResult:
    """What answered. ipc: an Arrow IPC stream; count: of its rows; text: about how many bytes they are as JSON; truncated: there were
    more; versions: of each Dataset that was read; rescues: buckets that gave files in another's place; touched: every table that was read;
    lost: rows that are in no file any more, of each Dataset that has such."""

    ipc: bytes | memoryview
    count: int
    text: int
    truncated: bool
    versions: Mapping[str, int]
    seconds: float
    rescues: tuple[str, ...] = ()
    touched: tuple[Touched, ...] = ()
    lost: Mapping[str, int] = field(default_factory=dict)

    @property
    def schema(self) -> pa.Schema:
        """Arrow's schema."""
        return pa.ipc.open_stream(self.ipc).schema

    def table(self) -> pa.Table:
        """The rows, without a copy."""
        return pa.ipc.open_stream(self.ipc).read_all()

    def columns(self) -> list[dict[str, str]]:
        """name and type of each column, in order."""
        return [{"name": field.name, "type": type_name(field.type)} for field in self.schema]

    def rows(self) -> list[dict[str, Any]]:
        """The rows as JSON values, see `json_rows.py`. CPU."""
        return json_rows(self.table())
