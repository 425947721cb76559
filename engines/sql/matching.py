"""Rows of one Parquet file that have given values. Blocking.

The columns that are asked about are read first, and of the others no more than the rows that match: pyarrow reads whole row groups, which
takes four times as long for a row of a million. Conditions are values; no statement is made up.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from datafusion import SessionConfig, SessionContext, col, lit

from engines.sql.projection import plain_schema, retyped
from engines.sql.readings import quote


def matching_rows(path: Path, values: Mapping[str, Any]) -> pa.Table:
    """In the file's columns. values: by column. Raises pa.ArrowException for a file that cannot be read."""
    try:
        frame = _context().read_parquet(path, file_extension="")
        for name, value in values.items():
            frame = frame.filter(col(quote(name)) == lit(value))
        found = frame.to_arrow_table()
    except Exception as error:
        raise pa.ArrowInvalid(f"{path.name} cannot be read: {error}") from error
    return retyped(found, plain_schema(found.schema))


@lru_cache
def _context() -> SessionContext:
    """One for all, which keeps the footers of files that were asked: they never change."""
    return SessionContext(SessionConfig().with_target_partitions(1).set("datafusion.execution.parquet.pushdown_filters", "true"))
