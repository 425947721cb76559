"""The journal: what a change of a table did to its rows, field by field, as a Parquet ledger that is committed with the change.

An update is a row for each field whose value became another; an insert one for each field that is not null, a delete one for each that was
not. The first rows of a table, and contents of tables without a key, are one row per file with their count (`load`, and `unload` where they
go). Values are text from which the column's type gives them back: decimals with all digits, timestamps in ISO 8601, binary in base64, lists
in JSON. Pairs of rows are compared column by column, never value by value. Next: `engines/sql/changes.py`, which finds the pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engines.files.arrow_values import as_json
from engines.files.ledgers import LedgerFacts, Noted
from engines.files.staged_parts import StagedParts
from engines.files.table_writer import TINY, TINY_ROWS, out_of_space
from engines.row_keys import DELETED_COLUMN, row_keys
from specs.digests import digest
from state.digest_file import sha256_file
from state.objects import ObjectRef
from state.timestamps import iso

SCHEMA = pa.schema(
    [
        ("dataset", pa.string()),
        ("entity", pa.string()),
        ("field", pa.string()),
        ("old", pa.string()),
        ("new", pa.string()),
        ("op", pa.string()),
        ("actor", pa.string()),
        ("source", pa.string()),
        ("reason", pa.string()),
        ("revision", pa.string()),
        ("version", pa.int64()),
        ("workspace", pa.string()),
        ("at", pa.timestamp("us")),
    ]
)
_CHANGES = pa.schema([("row", pa.int64()), *((name, pa.string()) for name in ("entity", "field", "old", "new", "op"))])
OLD, EXISTED = "o:", "_existed"
"""How the columns of the former row are named beside those of the new one, and the column that says whether there was one."""


@dataclass(frozen=True, slots=True)
class Cause:
    """What all rows of one change have in common. version: the one that the change makes; source: of rows that name no other."""

    dataset: str
    version: int
    actor: str
    reason: str
    revision: str | None = None
    source: str | None = None
    workspace: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        return {name: getattr(self, name) for name in self.__match_args__}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Raises TypeError for what `to_dict` does not make."""
        return cls(**data)


def count_row(cause: Cause, op: str, source: str, rows: int, at: datetime) -> pa.Table:
    """One file's rows, counted: `op` is load or unload."""
    value = {"load": "new", "unload": "old"}[op]
    facts = {**cause.to_dict(), "source": source, "op": op, value: str(rows), "at": at.replace(tzinfo=None)}
    return pa.Table.from_arrays([pa.array([facts.get(field.name)], field.type) for field in SCHEMA], schema=SCHEMA)


def change_rows(pairs: pa.RecordBatch, columns: Sequence[str], key: Sequence[str], cause: Cause, at: datetime) -> pa.Table:
    """What became of each row, as `field_changes` tells it, with its cause."""
    found = field_changes(pairs, columns, key)
    facts: Mapping[str, Any] = {**cause.to_dict(), "at": at.replace(tzinfo=None)}
    told = [
        found[field.name] if field.name in found.column_names else pa.repeat(pa.scalar(facts[field.name], field.type), found.num_rows)
        for field in SCHEMA
    ]
    return pa.Table.from_arrays(told, schema=SCHEMA)


def field_changes(pairs: pa.RecordBatch, columns: Sequence[str], key: Sequence[str]) -> pa.Table:
    """What became of each row: `row` (its place in the batch), entity, field, old, new, op; by entity and then in the order of the columns.

    pairs: the columns of the new rows; those of the former ones under `OLD` + name; `_existed`; `_deleted` where rows may be tombstones.
    """
    existed = pairs.column(EXISTED)
    tombstones = DELETED_COLUMN in pairs.schema.names
    deleted = pc.fill_null(pairs.column(DELETED_COLUMN), False) if tombstones else pa.repeat(False, pairs.num_rows)
    every = (
        ("update", pc.and_(existed, pc.invert(deleted))),
        ("insert", pc.invert(pc.or_(existed, deleted))),
        ("delete", pc.and_(existed, deleted)),
    )
    ops = [(op, rows) for op, rows in every if pc.any(rows).as_py()]
    entity = entities(pairs, key)
    parts: list[pa.Table] = []
    for position, name in enumerate(columns):
        new, old = pairs.column(name), pairs.column(OLD + name)
        for op, rows in ops:
            if name in key and op == "update":
                continue
            concerned = {"update": lambda n=new, o=old: differ(n, o), "insert": new.is_valid, "delete": old.is_valid}[op]()
            where = pc.indices_nonzero(pc.and_(rows, concerned))
            if len(where):
                parts.append(_rows(where, entity, name, op, old, new, position))
    if not parts:
        return _CHANGES.empty_table()
    found = pa.concat_tables(parts)
    order = pc.sort_indices(found, [("entity", "ascending"), ("row", "ascending"), ("position", "ascending")])
    return found.take(order).select(_CHANGES.names)


def _rows(where: pa.Array, entity: pa.Array, name: str, op: str, old: pa.Array, new: pa.Array, position: int) -> pa.Table:
    count = len(where)
    nothing = pa.nulls(count, pa.string())
    values = {
        "row": where.cast(pa.int64()),
        "entity": entity.take(where),
        "field": pa.repeat(name, count),
        "old": nothing if op == "insert" else as_text(old.take(where)),
        "new": nothing if op == "delete" else as_text(new.take(where)),
        "op": pa.repeat(op, count),
        "position": pa.repeat(position, count),
    }
    return pa.table(values)


def differ(one: pa.Array, other: pa.Array) -> pa.Array:
    """Where two columns of one type hold different values; null is a value of its own, and so is NaN."""
    if pa.types.is_list(one.type) or pa.types.is_floating(one.type):
        one, other = as_text(one), as_text(other)
    return pc.or_(pc.xor(one.is_null(), other.is_null()), pc.fill_null(pc.not_equal(one, other), False))


def entities(rows: pa.RecordBatch | pa.Table, key: Sequence[str]) -> pa.Array:
    """What the journal calls the rows: the value of a key of one column, a JSON array of several."""
    return as_text(rows.column(key[0])) if len(key) == 1 else row_keys(rows, key)


def as_text(column: pa.Array) -> pa.Array:
    """The values as text; null stays null."""
    kind = column.type
    if pa.types.is_string(kind):
        return column
    if pa.types.is_list(kind) or pa.types.is_binary(kind):
        values = [as_json(item) for item in column]
        return pa.array(
            [value if value is None or isinstance(value, str) else orjson.dumps(value).decode() for value in values], pa.string()
        )
    cast = pc.cast(column, pa.string())
    if pa.types.is_timestamp(kind):
        return pc.replace_substring_regex(pc.replace_substring(cast, " ", "T"), r"\.0+$", "")
    return cast


def dated(rows: pa.Table, instant: int) -> pa.Table:
    """Rows of the journal with the instant of their commit, in milliseconds since 1970: until then they have that of their writing. 0: as
    they are."""
    at = pa.scalar(instant, pa.timestamp("ms")).cast(SCHEMA.field("at").type)
    return rows.set_column(SCHEMA.names.index("at"), SCHEMA.field("at"), pa.repeat(at, rows.num_rows)) if instant else rows


def sources(path: Path) -> frozenset[str]:
    """What the rows of a file of the journal say that they are of. Raises OSError, pa.ArrowException."""
    column = pq.read_table(path, columns=["source"], partitioning=None)["source"]
    return frozenset(source for source in pc.unique(column).to_pylist() if source is not None)


GATHERED_ROWS = 64 * 1024
FILE_ROWS = 4 * 1024 * 1024
"""Rows of the journal that are written at once, and those of a file after which another one begins."""


class JournalWriter:
    """Writes the rows of one change to staged Parquet files. A context that drops them unless `end` was reached. Blocking."""

    def __init__(self, parts: StagedParts, prefix: str, name: Sequence[object], source: str = "", folds: Sequence[str] = ()) -> None:
        """parts: where they wait. prefix: of the table's objects; name: what the rows derive from; source, folds: see `LedgerFacts`. What
        folds others is one file, however large."""
        self._parts, self._prefix, self._name = parts, f"{prefix}/journal", tuple(name)
        self._none = self._facts = LedgerFacts("journal", "", source, 0, "", tuple(folds))
        self._writer: pq.ParquetWriter | None = None
        self._path: Path | None = None
        self._gathered: list[pa.Table] = []
        self._waiting = self._rows = 0
        self._ended: dict[Path, Noted] = {}

    def write(self, rows: pa.Table) -> None:
        """Rows that follow the former ones. Raises DiskFull."""
        if not rows.num_rows:
            return
        self._gathered.append(rows)
        self._waiting += rows.num_rows
        self._note(rows)
        if self._waiting >= GATHERED_ROWS:
            self._flush()
        if self._rows >= FILE_ROWS and not self._facts.folds:
            self._end_file()

    def end(self) -> tuple[Noted, ...]:
        """Hands the files over to the parts; none where nothing changed. Raises DiskFull."""
        self._flush()
        self._end_file()
        self._parts.add({noted.ref.key: path for path, noted in self._ended.items()})
        found, self._ended = tuple(self._ended.values()), {}
        return found

    def _flush(self) -> None:
        if not self._waiting:
            return
        store = self._parts.store
        if self._path is None:
            self._path = store.stage()
        with out_of_space(store, self._path):
            if self._writer is None:
                layout = TINY if self._waiting <= TINY_ROWS else {"compression": "zstd", "compression_level": 1}
                self._writer = pq.ParquetWriter(self._path, SCHEMA, **layout)
            self._writer.write_table(pa.concat_tables(self._gathered))
        self._rows, self._waiting, self._gathered = self._rows + self._waiting, 0, []

    def _end_file(self) -> None:
        if self._writer is None or self._path is None:
            return
        store, path, writer, facts = self._parts.store, self._path, self._writer, self._facts
        with out_of_space(store, path):
            writer.add_key_value_metadata(facts.to_metadata())
            writer.close()
        number = [len(self._ended)] if self._ended else []
        key = f"{self._prefix}/{digest(['journal', *self._name, *number])}.parquet"
        ref = ObjectRef(store.name, key, path.stat().st_size, sha256_file(path))
        self._ended[path] = Noted("journal", ref, self._rows, facts.source)
        self._writer = self._path = None
        self._rows, self._facts = 0, self._none

    def _note(self, rows: pa.Table) -> None:
        newest = pc.max(rows["at"]).as_py().replace(tzinfo=UTC)
        facts = self._facts
        version, at = max(facts.version, pc.max(rows["version"]).as_py()), max(facts.at, iso(newest))
        self._facts = replace(facts, dataset=rows["dataset"][0].as_py(), version=version, at=at)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()
        for path in (*self._ended, *((self._path,) if self._path is not None else ())):
            path.unlink(missing_ok=True)
