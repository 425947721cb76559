"""Rows that are set aside: spooled while a file is judged, then written as a Parquet ledger with their original text.

What is known of a row while the file is read is its place, the rule and the reason; a second reading gives line and text of those rows
alone, but of a source that is no file, where they are noted at once. All are streams in the file's order, so that a file of nothing but
violations takes no more memory than another. Next: `judge.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from engines.files.ledgers import LedgerFacts, Noted
from engines.files.staged_parts import StagedParts
from engines.files.table_writer import out_of_space
from specs.digests import digest
from state.digest_file import sha256_file
from state.objects import ObjectRef, ObjectStore
from state.timestamps import iso

SCHEMA = pa.schema(
    [
        ("dataset", pa.string()),
        ("source", pa.string()),
        ("line", pa.int64()),
        ("rule", pa.string()),
        ("reason", pa.string()),
        ("text", pa.string()),
        ("at", pa.timestamp("us")),
    ]
)
Originals: TypeAlias = Iterator[tuple[int | None, str]]
"""Line and text of each."""

_HELD_ROWS = 8_192
_HELD_CHARACTERS = 8 << 20


class Violation(NamedTuple):
    """row: its place among all rows of the file, from 0. rule: the first that it breaks; reason: all of them, in words. line, text: of a
    row that is in no file."""

    row: int
    rule: str
    reason: str
    line: int | None = None
    text: str = ""


_SPOOLED = pa.schema([("row", pa.int64()), ("rule", pa.string()), ("reason", pa.string()), ("line", pa.int64()), ("text", pa.string())])


class Spool:
    """Violations in the file's order, beyond some thousands in a staged file. Not thread-safe."""

    def __init__(self, store: ObjectStore) -> None:
        """store: where the file is staged."""
        self._store = store
        self._held: list[Violation] = []
        self._characters = 0
        self._path: Path | None = None
        self._writer: pa.ipc.RecordBatchFileWriter | None = None
        self.count = 0

    def add(self, violation: Violation) -> None:
        """One that follows the former ones. Raises DiskFull."""
        self._held.append(violation)
        self.count += 1
        self._characters += len(violation.text)
        if len(self._held) >= _HELD_ROWS or self._characters >= _HELD_CHARACTERS:
            self._spill()

    def __iter__(self) -> Iterator[Violation]:
        """All of them; nothing may be added any more."""
        if self._writer is not None and self._path is not None:
            self._close()
            with pa.OSFile(str(self._path)) as file, pa.ipc.open_file(file) as reader:
                for number in range(reader.num_record_batches):
                    yield from map(Violation, *(column.to_pylist() for column in reader.get_batch(number).columns))
        yield from self._held

    def discard(self) -> None:
        """Removes the file."""
        self._close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _spill(self) -> None:
        columns = zip(*self._held, strict=True)
        batch = pa.RecordBatch.from_arrays(
            [pa.array(found, kind) for found, kind in zip(columns, _SPOOLED.types, strict=True)], schema=_SPOOLED
        )
        self._held, self._characters = [], 0
        if self._writer is None:
            self._path = self._store.stage()
            self._writer = pa.ipc.new_file(str(self._path), batch.schema)
        assert self._path is not None
        with out_of_space(self._store, self._path):
            self._writer.write_batch(batch)

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()


@dataclass(frozen=True, slots=True)
class Origin:
    """What the rows of a file are of. basis: what else than file and spec they depend on; prefix: of the table's objects; against: see
    `state.catalog.tables.Ledger`."""

    dataset: str
    path: str
    digest: str
    transformation: str
    basis: str
    prefix: str
    against: str = ""


def write_quarantine(parts: StagedParts, spool: Spool, originals: Originals, origin: Origin, at: datetime) -> Noted:
    """The ledger, among the parts that wait. originals: of the violations. Blocking. Raises DiskFull, and what reading them raises."""
    path = parts.store.stage()
    try:
        with out_of_space(parts.store, path), pq.ParquetWriter(path, SCHEMA, compression="zstd", compression_level=1) as writer:
            for table in _tables(spool, originals, origin, at):
                writer.write_table(table)
            facts = LedgerFacts(
                "quarantine", origin.dataset, origin.digest, 0, iso(at), (), origin.transformation, origin.basis, origin.against
            )
            writer.add_key_value_metadata(facts.to_metadata())
        sha256 = sha256_file(path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    # the instant is in the name since it is in the rows: written again under the same name, it would be another object
    name = digest(["quarantine", origin.path, origin.digest, origin.transformation, origin.basis, at.isoformat()])
    ref = ObjectRef(parts.store.name, f"{origin.prefix}/quarantine/{name}.parquet", path.stat().st_size, sha256)
    parts.add({ref.key: path})
    return Noted("quarantine", ref, spool.count, origin.digest, origin.against)


def _tables(spool: Spool, originals: Originals, origin: Origin, at: datetime) -> Iterator[pa.Table]:
    rows: list[tuple[int | None, str, str, str]] = []
    size = 0
    for violation, (line, text) in zip(spool, originals, strict=True):
        rows.append((line, violation.rule, violation.reason, text))
        size += len(text)
        if len(rows) >= _HELD_ROWS or size >= _HELD_CHARACTERS:
            yield _table(rows, origin, at)
            rows, size = [], 0
    if rows:
        yield _table(rows, origin, at)


def _table(rows: list[tuple[int | None, str, str, str]], origin: Origin, at: datetime) -> pa.Table:
    count = len(rows)
    lines, rules, reasons, texts = (list(column) for column in zip(*rows, strict=True))
    same = [pa.repeat(origin.dataset, count), pa.repeat(origin.path, count)]
    told = [pa.array(lines, pa.int64()), *(pa.array(column, pa.string()) for column in (rules, reasons, texts))]
    return pa.Table.from_arrays(
        [*same, *told, pa.repeat(pa.scalar(at.replace(tzinfo=None), SCHEMA.field("at").type), count)], schema=SCHEMA
    )
