"""One row of a keyed table by its key, without a statement: the newest file that has it says what it is. Blocking.

Files whose key range excludes the key are not opened, and row groups whose statistics do are not read. A row of a former schema is brought
under the present one. Next: `engines/sql/matching.py`, which reads a file; `edit.py`, which asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from engines.files.types import arrow_type
from engines.row_keys import DELETED_COLUMN
from engines.sql.readings import Reading, readings
from state.catalog.data_files import DataFile
from state.catalog.tables import Table
from state.objects import ObjectRef

_ORDERED = (bool, int, str)
"""Values that compare in the catalog as they do in a file."""


def find_row(table: Table, key: Sequence[Any], path_of: Callable[[ObjectRef], Path]) -> pa.Table | None:
    """The row in the table's present columns, None where there is none. key: a value for each key column.

    path_of: a local file with an object's bytes. Raises what it raises, and pa.ArrowException for a damaged file.
    """
    from engines.sql.matching import matching_rows  # who only ingests needs no engine

    schema = pa.schema([(column.name, arrow_type(column.type)) for column in table.columns])
    former = readings(table)
    for file in reversed(table.data_files):
        if not file.lost and _may_have(file, key[0]):
            found = matching_rows(path_of(file.ref), dict(zip(_key_names(table, file), key, strict=True)))
            if found.num_rows:
                deleted = DELETED_COLUMN in found.column_names and found[DELETED_COLUMN][0].as_py()
                return None if deleted else _present(found.slice(0, 1), former.get(file.schema_id), schema)
    return None


def _key_names(table: Table, file: DataFile) -> Iterator[str]:
    """The primary key's columns by the names that they have in the file: those may have been renamed since."""
    written = next(schema for schema in table.schemas if schema.id == file.schema_id)
    names = {column.id: column.name for column in written.columns}
    ids = {column.name: column.id for column in table.columns}
    return (names.get(ids[name], name) for name in table.primary_key)


def _present(row: pa.Table, reading: Reading | None, schema: pa.Schema) -> pa.Table:
    if reading is None:
        return _completed(row, schema)
    from engines.sql.projection import projected_rows

    return projected_rows(row, reading, schema)


def _may_have(file: DataFile, value: Any) -> bool:
    if file.key_min is None or file.key_max is None or not isinstance(value, _ORDERED):
        return True
    low, high = file.key_min[0], file.key_max[0]
    try:
        return (low is None or low <= value) and (high is None or value <= high)  # type: ignore[operator]
    except TypeError:
        return True


def _completed(row: pa.Table, schema: pa.Schema) -> pa.Table:
    missing = pa.nulls(1)
    found = ((field.type, row[field.name] if field.name in row.column_names else missing) for field in schema)
    return pa.Table.from_arrays([column if column.type == kind else column.cast(kind) for kind, column in found], schema=schema)
