"""Rows of one Parquet file that have given values. Blocking.

The columns that are asked about are read first, and of the others no more than the rows that match: pyarrow reads whole row groups, which
takes four times as long for a row of a million. Conditions are values; no statement is made up.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from datafusion import SessionConfig, SessionContext, col, lit

from engines.sql.projection import plain_schema
from engines.sql.readings import quote


def matching_rows(path: Path, values: Mapping[str, Any]) -> pa.Table:
    """In the file's columns. values: by column. Raises pa.ArrowException for a file that cannot be read."""
    config = SessionConfig().with_target_partitions(1).set("datafusion.execution.parquet.pushdown_filters", "true")
    try:
        frame = SessionContext(config).read_parquet(path, file_extension="")
        for name, value in values.items():
            frame = frame.filter(col(quote(name)) == lit(value))
        found = frame.to_arrow_table()
    except Exception as error:
        raise pa.ArrowInvalid(f"{path.name} cannot be read: {error}") from error
    return found.cast(plain_schema(found.schema))
