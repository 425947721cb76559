"""What a file said last, so that of its next content only rows that say something else are applied: an upserted table's other rows may have
been changed by hand or by other files since, and stay.

Rows are compared by hashes of 128 bits over key and values (`value_hashes.py`), of columns by their ids, so that a new column or another
name makes no row another one. What a content said is a ledger of these, 16 bytes a row, written when a file changes: its first content is
compared by the rows that the table has of it. Memory is bounded: sets of hashes spill. Next: `attempt.py`, which writes what is `fresh`;
`controllers/dataset/said.py`, which knows what was said before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engines.files.former_parts import FormerParts
from engines.files.journal import as_text
from engines.files.ledgers import Noted
from engines.files.staged_parts import StagedParts
from engines.files.table_writer import out_of_space
from engines.files.types import arrow_type
from engines.files.value_hashes import Hashes, hash_rows
from engines.files.value_sets import ValueSet
from engines.row_keys import DELETED_COLUMN
from engines.sql.readings import PartFile
from specs.digests import digest
from state.catalog.schemas import Schema
from state.digest_file import sha256_file
from state.objects import ObjectRef, ObjectStore

_HASHES = pa.schema([("first", pa.uint64()), ("second", pa.uint64())])
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_DELETED_ID = 0
"""No column has it."""


@dataclass(frozen=True, slots=True)
class Said:
    """What to compare a content with.

    Args:
        schema: of the parts, as they are read.
        ledger, parts: files of what was said before, as hashes or as rows; where there are neither, all rows say something else.
        own: rows that this very content has in the table already, where it is read again: they stay, whatever was said before.
    """

    schema: Schema
    ledger: PartFile | None = None
    parts: tuple[PartFile, ...] = ()
    own: tuple[PartFile, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        parts, own = ([part.to_dict() for part in files] for files in (self.parts, self.own))
        return {"schema": self.schema.to_dict(), "ledger": self.ledger and self.ledger.to_dict(), "parts": parts, "own": own}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Raises KeyError for what `to_dict` does not make."""
        parts, own = (tuple(PartFile.from_dict(part) for part in data[name]) for name in ("parts", "own"))
        ledger = None if data["ledger"] is None else PartFile.from_dict(data["ledger"])
        return cls(Schema.from_dict(data["schema"]), ledger, parts, own)

    def here(self, files: FormerParts) -> Self:
        """The same with local files; what of it is lost or damaged is not there. Raises DiskFull, BucketUnavailable."""
        own = files.here(self.own)
        again = bool(self.own)  # without what it has in the table, all of it is to come
        ledger = files.here((self.ledger,)) if self.ledger is not None and (own or not again) else ()
        return replace(self, ledger=next(iter(ledger), None), parts=files.here(self.parts), own=own)


class Difference:
    """Takes the rows of a content, each key once, and gives those that are to be applied. Blocking; to be discarded.

    Raises OSError and pa.ArrowException where a file with what was said cannot be read, DiskFull, BucketUnavailable.
    """

    def __init__(self, said: Said, store: ObjectStore) -> None:
        """Reads nothing yet."""
        self._said, self._store = said, store
        self._before, self._own = ValueSet(store), ValueSet(store)
        self._files = FormerParts()
        self._known = False
        self._path: Path | None = None
        self._writer: pa.ipc.RecordBatchFileWriter | None = None
        self._rows = 0

    def fresh(self, rows: pa.RecordBatch, schema: Schema) -> pa.RecordBatch:
        """Those of the rows that say something else, or are this content's already. schema: of the rows."""
        self._know()
        hashes = row_hashes(rows, schema)
        self._note(hashes)
        mask = self._own.has(hashes)
        if self._said.ledger is not None or self._said.parts or not self._said.own:
            mask |= ~self._before.has(hashes)
        return rows.filter(pa.array(mask))

    def put(self, parts: StagedParts, prefix: str, source: str, transformation: str) -> Noted:
        """Hands the ledger over to the parts that wait. source: the content's digest."""
        path = self._close()
        ref = ObjectRef(self._store.name, f"{prefix}/said/{digest([source, transformation])}.arrow", path.stat().st_size, sha256_file(path))
        parts.add({ref.key: path})
        self._path = None
        return Noted("said", ref, self._rows, source)

    def discard(self) -> None:
        """Removes its files."""
        self._before.discard()
        self._own.discard()
        self._files.discard()
        if self._path is not None:
            self._close().unlink(missing_ok=True)
            self._path = None

    def _know(self) -> None:
        """What was said before, once."""
        if self._known:
            return
        self._said = said = self._said.here(self._files)
        self._known = True
        for hashes in _stored(said.ledger.path) if said.ledger is not None else _of_parts(said.parts, said.schema):
            self._before.add(hashes)
        for hashes in _of_parts(said.own, said.schema):
            self._own.add(hashes)

    def _note(self, hashes: Hashes) -> None:
        path, writer = self._opened()
        with out_of_space(self._store, path):
            writer.write_batch(pa.RecordBatch.from_arrays([pa.array(half) for half in hashes], schema=_HASHES))
        self._rows += len(hashes[0])

    def _opened(self) -> tuple[Path, pa.ipc.RecordBatchFileWriter]:
        if self._path is None or self._writer is None:
            self._path = self._store.stage()
            self._writer = pa.ipc.new_file(str(self._path), _HASHES)
        return self._path, self._writer

    def _close(self) -> Path:
        path, writer = self._opened()
        with out_of_space(self._store, path):
            writer.close()
        self._writer = None
        return path


def row_hashes(rows: pa.RecordBatch, schema: Schema) -> Hashes:
    """One a row, over the columns that have a value in it, in whatever order. schema: has the ids of the columns."""
    first, second = (np.zeros(rows.num_rows, np.uint64) for _ in range(2))
    ids = {column.name: column.id for column in schema.columns}
    for name, column in zip(rows.schema.names, rows.columns, strict=True):
        if name == DELETED_COLUMN:
            column = pc.if_else(column, column, pa.scalar(None, pa.bool_()))
        elif name not in ids:
            continue
        (one, other), valid = hash_rows([column if pa.types.is_binary(column.type) else as_text(column)])
        salt = np.uint64((ids.get(name, _DELETED_ID) + 1) * int(_FACTOR) % (1 << 64))
        first += np.where(valid, _salted(one, salt), np.uint64(0))
        second += np.where(valid, _salted(other, salt), np.uint64(0))
    return first, second


def _salted(hashes: np.ndarray[Any, np.dtype[np.uint64]], salt: np.uint64) -> np.ndarray[Any, np.dtype[np.uint64]]:
    mixed = (hashes ^ salt) * _FACTOR
    mixed ^= mixed >> np.uint64(32)
    return mixed * _FACTOR


def _stored(path: str) -> Iterator[Hashes]:
    with pa.memory_map(path) as file:
        reader = pa.ipc.open_file(file)
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            yield batch.column(0).to_numpy().copy(), batch.column(1).to_numpy().copy()


def _of_parts(parts: tuple[PartFile, ...], schema: Schema) -> Iterator[Hashes]:
    from engines.sql.changes import chunks

    known = [(column.name, column.type) for column in schema.columns]
    fields = pa.schema([*((name, arrow_type(kind)) for name, kind in known), (DELETED_COLUMN, pa.bool_())])
    for rows in chunks(parts, known, fields):
        for batch in rows.combine_chunks().to_batches():
            yield row_hashes(batch, schema)
