"""`system.models`: the models that this process knows of, as an Arrow file that is written when it is asked for. Blocking."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from engines.model_list import ModelList, ModelRow
from engines.sql.arrow_files import write_arrow
from engines.sql.projection import view_schema
from engines.sql.source import ArrowTable

NAME = "system.models"
SUMMARY = (
    "Models: the built-in embedder, MiniLM, those of an Ollama server; which are in memory, who names them, and why one cannot be had."
)
_COLUMNS = (
    ("name", "string"), ("provider", "string"), ("kind", "string"), ("digest", "string"), ("dimension", "int64"), ("context", "int64"),
    ("loaded", "bool"), ("size_vram", "int64"), ("bound", "string"), ("state", "string"), ("error", "string"),
)  # fmt: skip


def models_table(models: ModelList | None, folder: Path) -> ArrowTable:
    """The table as it is now; `bound` is JSON. folder: for the file, which is there when a query reads it."""
    schema = view_schema(_COLUMNS)
    rows = pa.RecordBatch.from_pylist([_plain(row) for row in models.rows()] if models is not None else [], schema)
    folder.mkdir(parents=True, exist_ok=True)
    write_arrow(folder / f"{NAME}.arrow", schema, [rows])
    return ArrowTable(NAME, str(folder / f"{NAME}.arrow"))


def _plain(row: ModelRow) -> dict[str, Any]:
    return asdict(row) | {"bound": orjson.dumps(row.bound).decode()}
