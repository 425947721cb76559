"""`system.cache`: what the hot cache holds, as an Arrow file that is written when it is asked for. Blocking."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pyarrow as pa

from engines.sql.arrow_files import write_arrow
from engines.sql.hot_cache import HotCache
from engines.sql.projection import view_schema
from engines.sql.source import ArrowTable

NAME = "system.cache"
SUMMARY = "Tables that are held ready in memory-mapped files: at which version, in how many bytes, how often read there."
_COLUMNS = (
    ("dataset", "string"), ("bucket", "string"), ("version", "int64"), ("rows", "int64"), ("bytes", "int64"), ("pinned", "bool"),
    ("hits", "int64"),
)  # fmt: skip


def cache_table(cache: HotCache | None, folder: Path) -> ArrowTable:
    """The table as it is now. folder: for the file, which is there when a query reads it."""
    schema = view_schema(_COLUMNS)
    rows = pa.RecordBatch.from_pylist([asdict(held) for held in cache.held()] if cache is not None else [], schema)
    folder.mkdir(parents=True, exist_ok=True)
    write_arrow(folder / f"{NAME}.arrow", schema, [rows])
    return ArrowTable(NAME, str(folder / f"{NAME}.arrow"))
