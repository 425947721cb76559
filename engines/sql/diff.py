"""Which rows two versions of a table differ in, field by field. Blocking, in bounded memory.

Rows are told apart by the primary key; without one by the content that they came with and their place in it. Files that both versions have
are not read, unless a file that only one of them has may hold rows of the same keys: a key in none of those has the same row in both.
Values are compared as the columns' types compare; of a column that changed its type, as text. Next: `spool.py`, which joins them;
`engines/files/journal.py`, which says what became of a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from engines.errors import EngineError
from engines.files.journal import EXISTED, OLD, entities, field_changes
from engines.files.types import arrow_type
from engines.row_keys import DELETED_COLUMN, FILE_COLUMN, ROW_COLUMN, row_keys
from engines.sql.problems import translate
from engines.sql.readings import quote
from engines.sql.source import LakeTable
from engines.sql.spool import Range, any_of, batches, ranges, read_rows, register_sorted, spooling_context
from engines.sql.suspects import suspects
from engines.sql.version_pair import Pair

_THERE, _PLACE, _TOUCHED = "__there", "__place", "__touched"


@dataclass(slots=True)
class Difference:
    """What was found. rows: the first ones, `{"op", "key", "fields": {name: {"old", "new"}}}`."""

    added: int = 0
    removed: int = 0
    changed: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Rows that differ."""
        return self.added + self.removed + self.changed


def difference(pair: Pair, scratch: Path, most: int) -> Difference:
    """Counts of all rows that differ, and the first of them by key. Raises EngineError."""
    found = Difference()
    columns = _columns(pair)
    for batch in _joined(pair, columns, scratch):
        existed, deleted = batch.column(EXISTED), batch.column(DELETED_COLUMN)
        gone = pc.sum(deleted).as_py() or 0
        new = batch.num_rows - (pc.sum(existed).as_py() or 0)
        found.added, found.removed = found.added + new, found.removed + gone
        found.changed += batch.num_rows - new - gone
        if (left := most - len(found.rows)) > 0:
            found.rows += _told(batch.slice(0, left), columns, pair.primary_key)
    return found


CHANGED = pa.schema([("key", pa.string()), ("there", pa.bool_())])


def changed_keys(pair: Pair, columns: Sequence[str], scratch: Path) -> Iterator[pa.RecordBatch]:
    """As CHANGED: the keys of rows that differ in these columns, and whether they are in the later version; where rows share a key, of all
    of that key. Raises EngineError."""
    for batch in _joined(pair, [column for column in _columns(pair) if column in columns], scratch, whole_keys=not pair.distinct):
        keys = row_keys(batch, pair.primary_key)
        yield pa.RecordBatch.from_arrays([keys, pc.invert(batch.column(DELETED_COLUMN))], schema=CHANGED)


WAS, IS = "__was", "__is"
"""Columns of `changed_rows`: whether the former version has the row, and whether the later one has."""


def changed_rows(pair: Pair, columns: Sequence[str], scratch: Path) -> Iterator[pa.RecordBatch]:
    """Rows that differ in these columns, which must be in both: `key`, WAS, IS, and the columns as the later version has them, null where
    the row is gone. Where rows share a key, all of that key. Raises EngineError."""
    for batch in _joined(pair, list(columns), scratch, whole_keys=not pair.distinct):
        keys, gone = row_keys(batch, pair.primary_key), batch.column(DELETED_COLUMN)
        values = [batch.column(name) for name in columns]
        yield pa.RecordBatch.from_arrays([keys, batch.column(EXISTED), pc.invert(gone), *values], names=["key", WAS, IS, *columns])


def _told(batch: pa.RecordBatch, columns: Sequence[str], key: Sequence[str]) -> list[dict[str, Any]]:
    existed, deleted = batch.column(EXISTED).to_pylist(), batch.column(DELETED_COLUMN).to_pylist()
    ops = ["removed" if gone else "changed" if before else "added" for before, gone in zip(existed, deleted, strict=True)]
    rows = [{"op": op, "key": key_, "fields": {}} for op, key_ in zip(ops, entities(batch, key).to_pylist(), strict=True)]
    for change in field_changes(batch, columns, key).to_pylist():
        rows[change["row"]]["fields"][change["field"]] = {"old": change["old"], "new": change["new"]}
    return rows


def _columns(pair: Pair) -> list[str]:
    """Of both, which have the same, in the later one's order."""
    return [name for name, _ in pair.later.columns]


def _joined(pair: Pair, columns: Sequence[str], scratch: Path, *, whole_keys: bool = False) -> Iterator[pa.RecordBatch]:
    """whole_keys: with rows that do not differ, where another of their key does."""
    if not _has_files(pair.former) and not _has_files(pair.later):
        return
    context = spooling_context(scratch)
    key = _order(pair)
    try:
        bounds, keys = [], suspects(pair)
        for name, table in (("former", pair.former), ("later", pair.later)):
            wanted = list(dict.fromkeys((*key, *columns)))
            schema = pa.schema([(column, _type(column, table)) for column in wanted])
            rows = read_rows(table, wanted, identity=True)
            if keys is not None:
                rows = (batch.filter(pc.is_in(batch.column(key[0]), value_set=keys)) for batch in rows)
            bounds.append(register_sorted(context, name, rows, schema, key, scratch))
        for part in ranges(*bounds) if _type(key[0], pair.former) == _type(key[0], pair.later) else [Range(None, None)]:
            yield from batches(context, _statement(pair, columns, part, whole_keys=whole_keys), part.parameters)
    except Exception as error:
        problem = translate(error)
        raise EngineError(problem.message, remedy=problem.remedy) from error


def _type(column: str, table: LakeTable) -> pa.DataType:
    return arrow_type(dict(table.columns).get(column) or {FILE_COLUMN: "string", ROW_COLUMN: "int64"}[column])


def _has_files(table: LakeTable) -> bool:
    return any(folder is not None for folder in (table.base, table.touched, table.deltas))


def _order(pair: Pair) -> tuple[str, ...]:
    """What rows are told apart by: the key, or the place within a content and then the content, so that a changed file's rows meet."""
    return pair.primary_key or (ROW_COLUMN, FILE_COLUMN)


def _statement(pair: Pair, columns: Sequence[str], part: Range, *, whole_keys: bool) -> str:
    key = _order(pair)
    former, later = dict(pair.former.columns), dict(pair.later.columns)
    retyped = {name for name in columns if former[name] != later[name]}
    by = key if pair.distinct else (*key, _PLACE)
    on = " AND ".join(f"(n.{quote(name)} IS NOT DISTINCT FROM f.{quote(name)})" for name in by)
    keys = [f"coalesce(n.{quote(name)}, f.{quote(name)})" for name in key]
    names = [f"{value} AS {quote(name)}" for name, value in zip(key, keys, strict=True)]
    names += [f"n.{quote(name)} AS {quote(name)}" for name in columns if name not in key]
    names += [f"f.{quote(name)} AS {quote(OLD + name)}" for name in columns]
    facts = [f"f.{_THERE} IS TRUE AS {EXISTED}", f"n.{_THERE} IS NOT TRUE AS {DELETED_COLUMN}"]
    differs = [f"(n.{quote(name)} IS DISTINCT FROM f.{quote(name)})" for name in columns if name not in key]
    where = any_of([f"n.{_THERE} IS NULL", f"f.{_THERE} IS NULL", *differs])
    sides = [_side(name, key, columns, retyped, part.holds(key[0]), numbered=not pair.distinct) for name in ("later", "former")]
    both = f"{sides[0]} n FULL JOIN {sides[1]} f ON {on}"
    found, ordered = f"SELECT {', '.join([*names, *facts])}", f"ORDER BY {', '.join(map(quote, key))}"
    if not whole_keys:
        return f"{found} FROM {both} WHERE {where} {ordered}"
    touched = f"bool_or({where}) OVER (PARTITION BY {', '.join(keys)}) AS {_TOUCHED}"
    return f"SELECT * FROM ({found}, {touched} FROM {both}) WHERE {_TOUCHED} {ordered}"


def _side(table: str, key: Sequence[str], columns: Sequence[str], retyped: set[str], where: str, *, numbered: bool) -> str:
    """One version's rows; numbered: those of one key among each other, in an order that derives from their values."""
    chosen = {name: f"arrow_cast({quote(name)}, 'Utf8')" if name in retyped else quote(name) for name in (*key, *columns)}
    names = [f"{value} AS {quote(name)}" for name, value in chosen.items()]
    if numbered:
        keys, values = (", ".join(map(quote, of)) for of in (key, columns))
        names.append(f"row_number() OVER (PARTITION BY {keys} ORDER BY {values}) AS {_PLACE}")
    return f"(SELECT {', '.join(names)}, true AS {_THERE} FROM {table} WHERE {where})"
