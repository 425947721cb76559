"""A single row of a keyed table, set or deleted by hand: a delta of one row, and what the journal says of it. Blocking.

Values come as text and are read as a CSV's are, by the column's type, so that neither leading zeros nor precision are lost on the way. The
delta is whole: all columns of the row as it is from now on. It stays known as an edit (a ledger of that kind), so that a table that is made
anew from its sources is given its edits again. Next: `row_lookup.py`, `journal.py`, `controllers/dataset/edits.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from engines.errors import EditRefused
from engines.files.conversion import Unfit, convert
from engines.files.journal import EXISTED, OLD, Cause, JournalWriter, change_rows
from engines.files.ledgers import Noted
from engines.files.row_lookup import find_row
from engines.files.staged_parts import StagedParts
from engines.files.table_writer import Provenance, TableWriter
from engines.files.types import arrow_type
from engines.row_keys import DELETED_COLUMN
from engines.sql.readings import lineage
from specs.suggestions import nearest
from state.catalog.data_files import DataFile
from state.catalog.tables import Table
from state.objects import ObjectRef, ObjectStore


@dataclass(frozen=True, slots=True)
class Edit:
    """What is asked for.

    Args:
        key: the text of the key column, or a JSON array of several.
        values: text by column, None for null; None deletes the row.
        create: whether a row may come into being.
        name: what tells this edit from all others; its rows are said to be of the source with this name.
    """

    key: str
    values: Mapping[str, str | None] | None
    name: str
    create: bool = False


@dataclass(frozen=True, slots=True)
class Edited:
    """What came of it. part is None, and changes empty, where the row is so already. changes: (field, old, new) as text. former: the row as
    it was, None where there was none; warning: a sentence on what it breaks."""

    part: DataFile | None
    noted: tuple[Noted, ...]
    changes: tuple[tuple[str, str | None, str | None], ...]
    former: pa.Table | None = None
    warning: str | None = None


Judging = Callable[[pa.RecordBatch, Collection[str]], str | None]
"""Told of a row as it would be and of the columns that change; a sentence on what it breaks. Raises EditRefused where it must not."""


def edit(
    asked: Edit,
    table: Table,
    path_of: Callable[[ObjectRef], Path],
    store: ObjectStore,
    prefix: str,
    cause: Cause,
    at: datetime,
    judging: Judging = lambda *_: None,
) -> Edited:
    """Stores the delta and its journal. prefix: of the table's objects. judging: of a row that is set.

    Raises EditRefused, and what judging, reading and storing raise.
    """
    key = _key(table, asked.key)
    former = find_row(table, [value.as_py() for value in key], path_of)
    if former is None and (asked.values is None or not asked.create):
        remedy = "`--create` adds it." if asked.values is not None else "`lakectl query` shows the keys that there are."
        raise EditRefused(f"{table.name} has no row {asked.key}.", remedy=remedy)
    row = _row(table, key, former, asked.values)
    pairs = _pairs(table, row, former, deleted=asked.values is None)
    rows = change_rows(pairs, [column.name for column in table.columns], table.primary_key, cause, at)
    if not rows.num_rows:
        return Edited(None, (), ())
    changed = row.schema.names if former is None else rows["field"].to_pylist()
    warning = judging(row, frozenset(changed)) if asked.values is not None else None
    with StagedParts(store) as parts, JournalWriter(parts, prefix, [asked.name], asked.name) as journal:
        part = _delta(asked, table, row, parts, prefix)
        journal.write(rows)
        noted = (Noted("edit", part.ref, 1, asked.name), *journal.end())
        parts.put()
    changes = zip(*(rows[name].to_pylist() for name in ("field", "old", "new")), strict=True)
    return Edited(part, noted, tuple(changes), former, warning)


def _delta(asked: Edit, table: Table, row: pa.RecordBatch, parts: StagedParts, prefix: str) -> DataFile:
    sequence = table.next_sequence
    made = Provenance(table.name, asked.name, asked.name, table.transformation, None, table.write, sequence, formers=lineage(table))
    deletes = asked.values is None
    writer = TableWriter(parts, prefix, table.schema, made, primary_key=table.primary_key, role="delta", deletes=deletes)
    try:
        writer.write(row.append_column(DELETED_COLUMN, pa.array([True])) if deletes else row)
        (part,) = writer.close()
    except BaseException:
        writer.abort()
        raise
    return replace(part, role="delta")


def _row(table: Table, key: list[pa.Scalar], former: pa.Table | None, values: Mapping[str, str | None] | None) -> pa.RecordBatch:
    """The row as it is from now on; of one that is deleted, its key alone."""
    given = dict(zip(table.primary_key, key, strict=True))
    names = [column.name for column in table.columns]
    for name in values or ():
        if name not in names:
            near = nearest(name, names)
            raise EditRefused(
                f"{table.name} has no column `{name}`.", remedy=f"Did you mean `{near}`?" if near else f"It has {', '.join(names[:20])}."
            )
        if name in given:
            raise EditRefused(f"`{name}` is in the primary key and cannot change.", remedy="Delete the row, and set one of the other key.")
    columns = []
    for column in table.columns:
        kind = arrow_type(column.type)
        if column.name in given:
            columns.append(pa.array([given[column.name].as_py()], kind))
        elif values is None or former is None or column.name in values:
            columns.append(_value(column.name, column.type, (values or {}).get(column.name)))
        else:
            columns.append(former[column.name].combine_chunks())
    return pa.RecordBatch.from_arrays(columns, names=names)


def _pairs(table: Table, row: pa.RecordBatch, former: pa.Table | None, *, deleted: bool) -> pa.RecordBatch:
    old = [pa.nulls(1, arrow_type(column.type)) if former is None else former[column.name].combine_chunks() for column in table.columns]
    facts = [pa.array([former is not None]), pa.array([deleted])]
    names = [*row.schema.names, *(OLD + name for name in row.schema.names), EXISTED, DELETED_COLUMN]
    return pa.RecordBatch.from_arrays([*row.columns, *old, *facts], names=names)


def _key(table: Table, text: str) -> list[pa.Scalar]:
    """As `engines/row_keys.py` writes it, a JSON array; the plain value will do where there is one column."""
    names = table.primary_key
    try:
        texts: Any = json.loads(text)
    except ValueError:
        texts = None
    if not isinstance(texts, list) or len(texts) != len(names):
        texts = [text]
        if len(names) > 1:
            example = json.dumps(["…"] * len(names), ensure_ascii=False)
            raise EditRefused(
                f"The key of {table.name} has {len(names)} columns: {', '.join(names)}.", remedy=f"Write it as in '{example}'."
            )
    found = []
    for name, value in zip(names, texts, strict=True):
        column = table.schema.column(name)
        if column is None:
            raise EditRefused(f"{table.name} has no column `{name}`, which `primaryKey` names.", remedy="Correct `primaryKey` in its spec.")
        found.append(_value(name, column.type, value if isinstance(value, str) else json.dumps(value))[0])
        if not found[-1].is_valid:
            raise EditRefused(f"`{name}` is in the primary key and cannot be null.", remedy="Give the key of a row.")
    return found


def _value(name: str, kind: str, text: str | None) -> pa.Array:
    target = arrow_type(kind)
    if text is None:
        return pa.nulls(1, target)
    try:
        if pa.types.is_list(target):
            return pa.array([json.loads(text)]).cast(target)
        return convert(pa.array([text]), kind, strict=kind in ("int64", "float64", "date", "timestamp"))
    except (Unfit, ValueError, TypeError, pa.ArrowException) as error:
        raise EditRefused(f"`{name}` is {kind}, and {text!r} is none.", remedy="Write it as the column's values are shown.") from error
