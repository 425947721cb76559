"""Rows in order -> Parquet parts in a bucket, each with what the catalog will say about it.

Rows are gathered to row groups of ROW_GROUP_ROWS (fewer where rows are long), groups to parts of PART_ROWS or PART_BYTES. Column ids
are Parquet field ids, and the footer says all that the catalog will (`footers.py`), so that a lost one can be rebuilt from the files. A
part's name derives from the inputs, so that writing it again replaces it by an equal one. A table without primary key gets two hidden
columns, `_file` and `_row`, which identify its rows; a delta that may have tombstones a third, `_deleted`.

Refuses to store anything: only the caller knows when all parts are wanted. Next: `staged_parts.py`, where they wait; `ingest.py`, the
caller.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engines.files.behind import Behind
from engines.files.staged_parts import StagedParts
from engines.files.statistics import Key, KeyRange, column_stats
from engines.files.types import arrow_type
from engines.row_keys import DELETED_COLUMN, FILE_COLUMN, ROW_COLUMN
from specs.digests import digest
from state.catalog.data_files import DataFile, Role
from state.catalog.schemas import Schema
from state.digest_file import GrowingFile
from state.errors import NO_SPACE, DiskFull
from state.objects import ObjectRef, ObjectStore

ROW_GROUP_ROWS = 128 * 1024
ROW_GROUP_BYTES = 64 << 20
PART_ROWS = 8 * ROW_GROUP_ROWS
PART_BYTES = 256 << 20
TINY_ROWS = 1_000
TINY: Mapping[str, Any] = {"compression": "snappy", "use_dictionary": False}
"""How so few rows are encoded."""
SAMPLED_ROWS, MOST_DISTINCT = 8_192, 0.9
MOST_INTEGER_DIGITS = 18
HIDDEN = (FILE_COLUMN, ROW_COLUMN, DELETED_COLUMN)


class Content(NamedTuple):
    """A content that was folded into others' rows: its digest, its place among the contents, and a path that it is bound to, None where it
    is bound to none any more, with its size in bytes."""

    digest: str
    place: int
    path: str | None
    size: int


@dataclass(frozen=True, slots=True)
class Provenance:
    """Of what the rows are made: `source` is the content digest, `path` how the operator calls the file, `size` its bytes.

    `write` is the table's mode, `sequence` the place that these rows take among the table's; `folds` are keys of the objects that they take
    the place of. `basis`: digest of what else the rows depend on, "" for nothing. `contents`: those that the table holds without files of
    their own from then on. `formers` are former schemas of the table, where its files are not all read by name.
    """

    dataset: str
    path: str
    source: str
    transformation: str
    size: int | None = None
    write: str = "append"
    sequence: int = 0
    folds: tuple[str, ...] = ()
    basis: str = ""
    contents: tuple[Content, ...] = ()
    formers: tuple[Schema, ...] = ()


class TableWriter:
    """Writes one table's rows of one source. Not thread-safe. Blocking."""

    def __init__(
        self,
        parts: StagedParts,
        prefix: str,
        schema: Schema,
        provenance: Provenance,
        *,
        primary_key: Sequence[str],
        role: Role,
        deletes: bool = False,
    ) -> None:
        """parts: gets what is written, at the end. prefix: of the parts' keys, without a slash at the end.

        role "delta" says that rows come sorted by the primary key; deletes, that they come with `_deleted`.
        """
        self._parts, self._prefix, self._schema, self._provenance = parts, prefix, schema, provenance
        self._primary_key, self._role = tuple(primary_key), role
        facts = table_facts(schema, provenance, self._primary_key, role)
        self._arrow = parquet_schema(schema, facts, identified=not primary_key, deletes=deletes)
        made_of = [provenance.path, provenance.source, provenance.transformation, schema.to_dict(), provenance.sequence]
        self._name = digest([*made_of, provenance.basis] if provenance.basis else made_of)
        self._done: list[DataFile] = []
        self._staged: dict[str, Path] = {}
        self._part: _Part | None = None
        self._waiting: list[pa.RecordBatch] = []
        self._rows = self._bytes = self._row = 0
        self._behind: Behind[None] = Behind()

    @property
    def rows(self) -> int:
        """Rows taken so far."""
        return self._row + self._rows

    def write(self, batch: pa.RecordBatch) -> None:
        """Rows that follow the former ones. Columns by name, typed as the schema says; a missing one is null. Raises DiskFull."""
        self._waiting.append(batch)
        self._rows += batch.num_rows
        self._bytes += batch.nbytes
        while self._rows >= ROW_GROUP_ROWS or (self._bytes >= ROW_GROUP_BYTES and self._rows):
            self._write_group(min(self._rows, ROW_GROUP_ROWS))

    def finish(self) -> None:
        """No rows follow: what is left is encoded while the caller has something else to do."""
        if self._rows:
            self._write_group(self._rows)

    def close(self) -> tuple[DataFile, ...]:
        """Writes what is left and hands the parts over; in order, none for no rows."""
        self.finish()
        self._behind.wait()
        self._behind.close()
        self._finish_part(last=True)
        self._parts.add(self._staged)
        return tuple(self._done)

    def abort(self) -> None:
        """Drops what was written. Not after `close`."""
        self._behind.close()
        if self._part is not None:
            self._part.drop()
            self._part = None
        for path in self._staged.values():
            path.unlink(missing_ok=True)

    def _write_group(self, count: int) -> None:
        """It is encoded while the rows of the next are read; at once where a thread would cost more."""
        table = pa.Table.from_batches(self._waiting)
        rest = table.slice(count)
        self._waiting = rest.to_batches()
        self._rows, self._bytes = rest.num_rows, rest.nbytes if rest.num_rows else 0
        group = self._completed(table.slice(0, count))
        self._behind.wait()
        if self._part is not None and (self._part.rows >= PART_ROWS or self._part.size >= PART_BYTES):
            self._finish_part(last=False)
        if self._part is None:
            layout = _layout(self._arrow, group)
            self._part = _Part(self._parts.store, self._arrow, self._row, KeyRange(self._primary_key), layout)
        write = partial(self._part.write, group, sorted_by_key=self._role == "delta")
        if count <= TINY_ROWS:
            write()
        else:
            self._behind.start(write)
        self._row += count

    def _completed(self, table: pa.Table) -> pa.Table:
        """In the schema's order, with nulls for what the source lacks, and the hidden columns."""
        present, count = set(table.column_names), table.num_rows
        given = (field for field in self._arrow if field.name not in (FILE_COLUMN, ROW_COLUMN))
        columns = [table[field.name] if field.name in present else pa.nulls(count, field.type) for field in given]
        if not self._primary_key:
            columns += [pa.repeat(self._provenance.source, count), pa.array(np.arange(self._row, self._row + count))]
        return pa.Table.from_arrays(columns, schema=self._arrow)

    def _finish_part(self, *, last: bool) -> None:
        """last: no other part follows, which its footer says: whoever rebuilds a catalog must know that none is missing."""
        part = self._part
        if part is None:
            return
        contents = self._provenance.contents if last else None
        ref, footer = part.end(f"{self._prefix}/{self._name}-{len(self._done):04d}.parquet", contents)
        self._staged[ref.key], self._part = part.staged, None
        if part.rows >= ROW_GROUP_ROWS:
            pa.default_memory_pool().release_unused()  # or a daemon keeps for ever what one large file needed
        stats = column_stats(footer, [column.name for column in self._schema.columns])
        made, keys = self._provenance, part.keys
        self._done.append(
            DataFile(
                ref, self._role, made.sequence, part.rows, made.source, part.first_row, self._schema.id, keys.low, keys.high, stats,
                part.deletes,
            )
        )  # fmt: skip


class _Part:
    """A Parquet file being written to a staged path."""

    def __init__(self, store: ObjectStore, schema: pa.Schema, first_row: int, keys: KeyRange, layout: Mapping[str, Any]) -> None:
        self._store, self.first_row, self.keys, self.rows, self.deletes = store, first_row, keys, 0, 0
        self.staged = store.stage()
        self._footers: list[pq.FileMetaData] = []
        try:
            with out_of_space(store, self.staged):
                self._file = pa.OSFile(str(self.staged), "wb")
                self._writer = pq.ParquetWriter(self._file, schema, metadata_collector=self._footers, **layout)
                self._digest = GrowingFile(self.staged)
        except BaseException:
            self.staged.unlink(missing_ok=True)
            raise

    @property
    def size(self) -> int:
        """Bytes on disk so far."""
        return self.staged.stat().st_size

    def write(self, group: pa.Table, *, sorted_by_key: bool) -> None:
        """One row group."""
        with out_of_space(self._store, self.staged):
            self._writer.write_table(group, row_group_size=group.num_rows)
            self._digest.follow()
        self.keys.add(group, sorted_by_key=sorted_by_key)
        self.rows += group.num_rows
        if DELETED_COLUMN in group.column_names:
            self.deletes += pc.sum(group[DELETED_COLUMN]).as_py() or 0

    def end(self, key: str, contents: tuple[Content, ...] | None) -> tuple[ObjectRef, pq.FileMetaData]:
        """Ends the file; what it will be under its key. contents: None unless it is the last part."""
        with out_of_space(self._store, self.staged):
            self._writer.add_key_value_metadata(part_facts(self.first_row, self.keys.low, self.keys.high, self.deletes, contents))
            self._writer.close()
            self._file.close()
            self._digest.follow()
        return ObjectRef(self._store.name, key, self.size, self._digest.close()), self._footers[0]

    def drop(self) -> None:
        """Removes the file; what goes wrong with ending it matters to nobody."""
        # RuntimeError: a writer that could not end has no footer to collect
        with suppress(OSError, RuntimeError, pa.ArrowException):
            self._writer.close()
        with suppress(OSError, pa.ArrowException):
            self._file.close()
        self._digest.close()
        self.staged.unlink(missing_ok=True)


def parquet_schema(schema: Schema, facts: Mapping[str, bytes], *, identified: bool, deletes: bool = False) -> pa.Schema:
    """The Arrow schema of a part: field ids, the hidden columns, and the footer's keys and values."""
    fields = [pa.field(column.name, arrow_type(column.type), metadata={"PARQUET:field_id": str(column.id)}) for column in schema.columns]
    if deletes:
        fields.append(pa.field(DELETED_COLUMN, pa.bool_()))
    if identified:
        fields += [pa.field(FILE_COLUMN, pa.string()), pa.field(ROW_COLUMN, pa.int64())]
    return pa.schema(fields, metadata=facts)


def table_facts(schema: Schema, provenance: Provenance, primary_key: Sequence[str], role: Role) -> Mapping[str, bytes]:
    """What the footer of every part of a source says. `footers.py` reads it."""
    source: dict[str, object] = {"path": provenance.path, "digest": provenance.source, "size": provenance.size}
    if provenance.folds:
        source["folds"] = provenance.folds
    if provenance.basis:
        source["basis"] = provenance.basis
    formers = [former.to_dict() for former in provenance.formers if former.id != schema.id]
    table = {"write": provenance.write, "primaryKey": list(primary_key), "role": role, "sequence": provenance.sequence}
    return {
        "lakehouse.dataset": provenance.dataset.encode(),
        "lakehouse.columns": orjson.dumps(schema.to_dict() | ({"formers": formers} if formers else {})),
        "lakehouse.source": orjson.dumps(source),
        "lakehouse.transformation": provenance.transformation.encode(),
        "lakehouse.table": orjson.dumps(table),
    }


def part_facts(first_row: int, low: Key | None, high: Key | None, deletes: int, contents: Sequence[Content] | None) -> Mapping[str, bytes]:
    """What the footer says of a single part, once it is written. contents: of the last one, see `Provenance`; None for others."""
    facts: dict[str, object] = {"firstRow": first_row, "keyMin": low, "keyMax": high, "deletes": deletes, "last": contents is not None}
    if contents:
        facts["contents"] = [tuple(content) for content in contents]
    return {"lakehouse.part": orjson.dumps(facts)}


def _layout(schema: pa.Schema, group: pa.Table) -> dict[str, Any]:
    """How a part is encoded that begins with these rows.

    A tiny one costs half in snappy without dictionaries: 0.39 ms against 0.71 for 20 rows of 13 columns. In a large one a dictionary of
    values that hardly repeat is built, given up and paid for: a third of the time that a million rows of 13 columns take to write.
    Decimals of up to 18 digits are integers: DataFusion reads them in half the time that byte arrays of a fixed length take. What has no
    dictionary is written as differences, and texts with their lengths apart from them: see ADR 15.
    """
    layout: dict[str, Any] = {"store_decimal_as_integer": True}
    if group.num_rows <= TINY_ROWS:
        return {**layout, **TINY}
    repeating = [name for name in schema.names if name != ROW_COLUMN and _repeats(group[name])]
    encodings = {field.name: found for field in schema if field.name not in repeating and (found := _encoding(field.type)) is not None}
    layout |= {"compression": "zstd", "compression_level": 1, "use_dictionary": repeating, "column_encoding": encodings}
    return layout | {"write_page_index": True}  # by which a row is found by its key in a third of the time


def _encoding(kind: pa.DataType) -> str | None:
    """Of values that hardly repeat; None for Parquet's plain one."""
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return "DELTA_LENGTH_BYTE_ARRAY"
    narrow = pa.types.is_decimal(kind) and kind.precision <= MOST_INTEGER_DIGITS
    return "DELTA_BINARY_PACKED" if narrow or pa.types.is_integer(kind) or pa.types.is_temporal(kind) else None


def _repeats(column: pa.ChunkedArray) -> bool:
    """Whether values recur often enough for a dictionary, by the first of them. What cannot be counted is taken to."""
    sample = column.slice(0, SAMPLED_ROWS)
    try:
        return bool(pc.count_distinct(sample).as_py() <= MOST_DISTINCT * len(sample))
    except pa.ArrowNotImplementedError:  # lists
        return True


@contextmanager
def out_of_space(store: ObjectStore, path: Path) -> Iterator[None]:
    """A full disk under what pyarrow writes, as ours."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise DiskFull(store.name, str(path.parent)) from error
        raise
