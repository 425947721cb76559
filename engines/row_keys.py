"""A row's identity as text, the same wherever it is computed: in hits, filters, the journal and tombstones.

With a primary key: its values as a canonical JSON array, as `specs.digests.canonical_json` writes it (ASCII, no spaces): `["CAND-1"]`,
`[7,"2024-01-31"]`. Integers, floats and booleans are JSON's; dates and timestamps ISO 8601 text (a fraction of a second only where there
is one, six digits), decimals text with all digits of their scale, binary base64 text; a null, a NaN and an infinity are null.
Without one: `<content digest of the file>:<ordinal of the row in it>`, from the hidden columns that such tables carry.

Computed for whole batches: only texts that JSON must escape, and types that are rare in keys, are written value by value.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

FILE_COLUMN = "_file"
ROW_COLUMN = "_row"
DELETED_COLUMN = "_deleted"
"""Of deltas that have tombstones: true in a row that deletes the one of its key."""
_ESCAPED = r"[^ !#-\[\]-~]"
"""What json.dumps with ensure_ascii does not write as it is."""


def identity_columns(primary_key: Sequence[str]) -> tuple[str, ...]:
    """The columns that a row's key is made of: the primary key, or the hidden ones."""
    return tuple(primary_key) or (FILE_COLUMN, ROW_COLUMN)


def row_keys(rows: pa.RecordBatch | pa.Table, primary_key: Sequence[str]) -> Any:
    """The keys of the rows, in order: a pa.StringArray (of a table, chunked). Raises KeyError if an identity column is missing."""
    if isinstance(rows, pa.Table):
        return pa.chunked_array([row_keys(batch, primary_key) for batch in rows.to_batches()], pa.string())
    if not primary_key:
        return pc.binary_join_element_wise(_plain(rows.column(FILE_COLUMN)), rows.column(ROW_COLUMN).cast(pa.string()), ":")
    parts: list[Any] = ["["]
    for position, name in enumerate(primary_key):
        parts += [","] if position else []
        parts.append(_as_json(rows.column(name)))
    return pc.binary_join_element_wise(*parts, "]", "")


def row_key(row: Mapping[str, Any], primary_key: Sequence[str]) -> str:
    """The key of one row given as Python values."""
    if not primary_key:
        return f"{row[FILE_COLUMN]}:{row[ROW_COLUMN]}"
    return "[" + ",".join([_value(row[name]) for name in primary_key]) + "]"


def _plain(column: Any) -> Any:
    return column if column.type == pa.string() else column.cast(pa.string())


def _as_json(column: Any) -> Any:
    """The values as JSON texts."""
    if column.null_count:
        return pc.fill_null(_present_as_json(column), "null")
    return _present_as_json(column)


def _present_as_json(column: Any) -> Any:
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return column.cast(pa.string())
    if pa.types.is_decimal(kind) or pa.types.is_date32(kind):
        return pc.binary_join_element_wise('"', column.cast(pa.string()), '"', "")
    if pa.types.is_string(kind) or pa.types.is_string_view(kind) or pa.types.is_large_string(kind):
        return _quoted(_plain(column))
    return pa.array([None if value is None else _value(value) for value in column.to_pylist()], pa.string())


def _quoted(texts: Any) -> Any:
    quoted = pc.binary_join_element_wise('"', texts, '"', "")
    special = pc.fill_null(pc.match_substring_regex(texts, _ESCAPED), False)
    if not pc.any(special).as_py():
        return quoted
    escaped = [json.dumps(text) for text in texts.filter(special).to_pylist()]
    return pc.replace_with_mask(quoted, special, pa.array(escaped, pa.string()))


def _value(value: Any) -> str:
    match value:
        case None:
            return "null"
        case float():
            return json.dumps(value) if math.isfinite(value) else "null"
        case date():  # a datetime is one
            return f'"{value.isoformat()}"'
        case Decimal():
            return f'"{value:f}"'
        case bytes():
            return f'"{base64.b64encode(value).decode()}"'
        case _:
            return json.dumps(value)
