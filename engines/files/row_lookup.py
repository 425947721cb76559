"""One row of a keyed table by its key, without a query engine: the newest file that has it says what it is. Blocking.

Files whose key range excludes the key are not opened, and row groups whose statistics do are not read. Next: `edit.py`, which asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from engines.files.types import arrow_type
from engines.row_keys import DELETED_COLUMN
from state.catalog.records import DataFile, Table
from state.objects import ObjectRef

_ORDERED = (bool, int, str)
"""Values that compare in the catalog as they do in a file."""


def find_row(table: Table, key: Sequence[Any], path_of: Callable[[ObjectRef], Path]) -> pa.Table | None:
    """The row in the table's present columns, None where there is none. key: a value for each key column.

    path_of: a local file with an object's bytes. Raises what it raises, and pa.ArrowException for a damaged file.
    """
    schema = pa.schema([(column.name, arrow_type(column.type)) for column in table.columns])
    wanted = [(name, "==", value) for name, value in zip(table.primary_key, key, strict=True)]
    for file in reversed(table.data_files):
        if not file.lost and _may_have(file, key[0]):
            found = pq.read_table(path_of(file.ref), filters=wanted, partitioning=None)
            if found.num_rows:
                deleted = DELETED_COLUMN in found.column_names and found[DELETED_COLUMN][0].as_py()
                return None if deleted else _completed(found.slice(0, 1), schema)
    return None


def _may_have(file: DataFile, value: Any) -> bool:
    if file.key_min is None or file.key_max is None or not isinstance(value, _ORDERED):
        return True
    low, high = file.key_min[0], file.key_max[0]
    try:
        return (low is None or low <= value) and (high is None or value <= high)  # type: ignore[operator]
    except TypeError:
        return True


def _completed(row: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [row[field.name].cast(field.type) if field.name in row.column_names else pa.nulls(1, field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)
