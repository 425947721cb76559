"""A table held ready: its rows at one snapshot as memory-mapped Arrow files, merged, so that a query has nothing to decode or to join.

A snapshot is a small document that lists pieces: batches of Arrow files, each less the rows that a delta has replaced or deleted. Every
base file is an Arrow file of its own, which later snapshots share. A delta is applied by finding its keys in the pieces (only where they
may lie, which each piece's key range tells) and adding its rows as a piece: nothing is rebuilt but pieces with many holes, and small ones.

Files are named by what they hold, or once and never again, and appear whole. Whoever has one mapped keeps it when it is removed.
Next: `hot_cache.py`, which decides what is held; `merge.py`, which reads tables that are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datafusion import SessionConfig, SessionContext

from engines.row_keys import DELETED_COLUMN
from engines.sql.arrow_files import mapped, write_arrow
from engines.sql.projection import plain_schema, retyped, view_schema

LEAST_SLICE = 8 * 1024
"""Rows between two holes, on average, below which a piece is written anew without them: smaller batches cost more than they hold."""

SMALL_PIECES = 16
"""Pieces below LEAST_SLICE that a snapshot may have before they are written as one."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A batch of an Arrow file, less the rows `dead`, in order. low, high: of the first key column, None where not known."""

    file: str
    batch: int
    rows: int
    low: str | int | None = None
    high: str | int | None = None
    dead: tuple[int, ...] = ()

    @property
    def alive(self) -> int:
        """Rows that are read."""
        return self.rows - len(self.dead)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the document of a snapshot says. covers: (key, sequence) of the Parquet files whose rows these are; bytes: of all files."""

    pieces: tuple[Piece, ...]
    covers: tuple[tuple[str, int], ...]
    bytes: int

    @property
    def files(self) -> frozenset[str]:
        """Names of the Arrow files."""
        return frozenset(piece.file for piece in self.pieces)

    @property
    def rows(self) -> int:
        """That are read."""
        return sum(piece.alive for piece in self.pieces)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises OSError, ValueError."""
        data = orjson.loads(path.read_bytes())
        pieces = tuple(Piece(**{**piece, "dead": tuple(piece["dead"])}) for piece in data["pieces"])
        return cls(pieces, tuple((key, sequence) for key, sequence in data["covers"]), data["bytes"])

    def write(self, path: Path) -> None:
        """Whole or not at all."""
        aside = path.with_name(f".{path.name}")
        aside.write_bytes(orjson.dumps(self))
        aside.replace(path)


@dataclass(frozen=True, slots=True)
class HotTask:
    """What to hold. JSON-able by `asdict`.

    bucket, version: of the Dataset; name: of the snapshot; folder: of the cache; former: name of a snapshot to go on from, None for the
    first. files: (name, Parquet file) of the base files that are pieces, in order; deltas: Parquet files with changes of rows, in order,
    or the one Arrow file that they have been merged to. covers: as `Snapshot`. most: bytes that it may take.
    """

    dataset: str
    bucket: str
    version: int
    name: str
    folder: str
    columns: tuple[tuple[str, str], ...]
    primary_key: tuple[str, ...]
    files: tuple[tuple[str, str], ...]
    deltas: tuple[str, ...]
    covers: tuple[tuple[str, int], ...]
    most: int
    former: str | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `asdict`, JSON or not."""
        pairs = {name: tuple((one, other) for one, other in data[name]) for name in ("columns", "files", "covers")}
        return cls(**{**data, **pairs, "primary_key": tuple(data["primary_key"]), "deltas": tuple(data["deltas"])})


class TooLarge(Exception):
    """The table would take more than it may."""


def document(folder: Path, name: str) -> Path:
    """Where a snapshot is described."""
    return folder / f"{name}.json"


def batches(path: Path, opened: Opened | None = None) -> list[pa.RecordBatch]:
    """The rows of a snapshot, as views on mapped files. Raises OSError, ValueError where it is not whole any more.

    opened: files that are mapped already, to be shared with what was read before.
    """
    snapshot, opened = Snapshot.read(path), opened or Opened()
    return [part for piece in snapshot.pieces for part in alive(opened.batch(path.parent, piece), piece.dead)]


def build(task: HotTask) -> Snapshot:
    """Makes a snapshot and describes it. Blocking. Raises TooLarge, OSError."""
    return _Builder(task).run()


class Opened:
    """Arrow files, each mapped once, with the batches that were read of them."""

    def __init__(self) -> None:
        self._files: dict[Path, pa.ipc.RecordBatchFileReader] = {}
        self._batches: dict[tuple[Path, int], pa.RecordBatch] = {}

    def batch(self, folder: Path, piece: Piece) -> pa.RecordBatch:
        """All rows of a piece, dead ones among them. Raises OSError, ValueError."""
        path = folder / piece.file
        found = self._batches.get((path, piece.batch))
        if found is None:
            if path not in self._files:
                self._files[path] = mapped(path)
            found = self._batches[path, piece.batch] = self._files[path].get_batch(piece.batch)
        return found

    def let_go(self) -> None:
        """Of files that were removed: mapped, they keep their place on the disk."""
        gone = {path for path in self._files if not path.exists()}
        self._files = {path: file for path, file in self._files.items() if path not in gone}
        self._batches = {place: batch for place, batch in self._batches.items() if place[0] not in gone}


class _Builder:
    def __init__(self, task: HotTask) -> None:
        self._task = task
        self._folder = Path(task.folder)
        self._schema = view_schema(task.columns)
        self._opened = Opened()
        self._own = f"{task.name}-{uuid4().hex[:12]}"
        self._number = 0

    def run(self) -> Snapshot:
        task = self._task
        self._folder.mkdir(parents=True, exist_ok=True)  # it may be removed at any time
        pieces: list[Piece] = []
        if task.former is not None:
            pieces += Snapshot.read(document(self._folder, task.former)).pieces
        for name, path in task.files:
            pieces += self._file(name, path)
            self._check(pieces)
        for path in task.deltas:
            pieces = self._apply(pieces, self._changes(path))
        pieces = self._compact(pieces)
        size = self._check(pieces)
        snapshot = Snapshot(tuple(pieces), task.covers, size)
        snapshot.write(document(self._folder, task.name))
        return snapshot

    def _check(self, pieces: Iterable[Piece]) -> int:
        size = sum((self._folder / name).stat().st_size for name in {piece.file for piece in pieces})
        if size > self._task.most:
            raise TooLarge
        return size

    def _file(self, name: str, path: str) -> list[Piece]:
        """A base file, converted unless it was before."""
        target = self._folder / name
        if not target.exists():
            write_arrow(target, self._schema, _parquet(path, self._schema))
        return self._pieces(name)

    def _pieces(self, name: str) -> list[Piece]:
        reader = mapped(self._folder / name)
        found = (reader.get_batch(number) for number in range(reader.num_record_batches))
        return [Piece(name, number, batch.num_rows, *self._range(batch)) for number, batch in enumerate(found)]

    def _range(self, batch: pa.RecordBatch) -> tuple[Any, Any]:
        """Of the first key column, if its type has an order that JSON keeps."""
        if not self._task.primary_key:
            return None, None
        column = _plain(batch.column(self._task.primary_key[0]))
        if not (pa.types.is_string(column.type) or pa.types.is_integer(column.type)):
            return None, None
        bounds = pc.min_max(column)
        return bounds["min"].as_py(), bounds["max"].as_py()

    def _changes(self, path: str) -> pa.Table:
        """Rows with `_deleted`, which may be null; each key once."""
        schema = plain_schema(self._schema.append(pa.field(DELETED_COLUMN, pa.bool_())))
        # few rows, which DataFusion takes three times as long to read
        rows = mapped(Path(path)).read_all() if path.endswith(".arrow") else pq.ParquetFile(path).read(use_threads=False)
        there = frozenset(rows.column_names)
        columns = [rows[field.name] if field.name in there else pa.nulls(len(rows), field.type) for field in schema]
        return retyped(pa.Table.from_arrays(columns, schema.names), schema)

    def _apply(self, pieces: Sequence[Piece], changes: pa.Table) -> list[Piece]:
        keys = _Keys(changes, self._task.primary_key)
        left = [self._without(piece, keys) for piece in pieces]
        kept = pc.invert(pc.fill_null(changes[DELETED_COLUMN], False))
        rows = changes.filter(kept).drop_columns([DELETED_COLUMN])
        return [piece for piece in (*left, *self._write(rows.to_batches())) if piece.alive]

    def _without(self, piece: Piece, keys: _Keys) -> Piece:
        if not keys.may_touch(piece):
            return piece
        batch = self._opened.batch(self._folder, piece)
        dead = np.union1d(np.asarray(piece.dead, np.int64), keys.places(batch))
        return piece if len(dead) == len(piece.dead) else replace(piece, dead=tuple(dead.tolist()))

    def _compact(self, pieces: Sequence[Piece]) -> list[Piece]:
        """Pieces with too many holes anew, and small ones as one where there are too many of them."""
        small = [piece for piece in pieces if piece.rows < LEAST_SLICE]
        gather = len(small) > SMALL_PIECES
        kept = [piece for piece in pieces if not (gather and piece.rows < LEAST_SLICE)]
        found: list[Piece] = []
        for piece in kept:
            found += self._write(self._rows(piece)) if len(piece.dead) * LEAST_SLICE > piece.rows else [piece]
        return found + self._write(part for piece in small for part in self._rows(piece)) if gather else found

    def _rows(self, piece: Piece) -> list[pa.RecordBatch]:
        alive = np.ones(piece.rows, bool)
        alive[list(piece.dead)] = False
        batch = self._opened.batch(self._folder, piece)
        return [retyped(batch, plain_schema(batch.schema)).filter(pa.array(alive))]  # pyarrow cannot take views

    def _write(self, parts: Iterable[pa.RecordBatch]) -> list[Piece]:
        """Rows of this snapshot alone, until another goes on from it.

        Under a name that no file ever had: one that was made in another way, and evicted, may still be mapped by its name.
        """
        rows = [part for part in parts if part.num_rows]
        if not rows:
            return []
        name = f"{self._own}-{self._number}.arrow"
        self._number += 1
        write_arrow(self._folder / name, self._schema, rows)
        return self._pieces(name)


class _Keys:
    """The keys of changes, to be found in pieces."""

    def __init__(self, changes: pa.Table, primary_key: Sequence[str]) -> None:
        self._names = list(primary_key)
        self._keys = changes.select(self._names)
        self._first = self._keys.column(0).combine_chunks()
        self._bounds = pc.min_max(self._first)

    def may_touch(self, piece: Piece) -> bool:
        """Whether a key may be among the rows of a piece."""
        if not len(self._first):
            return False
        if piece.low is None or piece.high is None:
            return True
        low, high = self._bounds["min"].as_py(), self._bounds["max"].as_py()
        if high < piece.low or low > piece.high:
            return False
        return len(self._first) > 1000 or any(piece.low <= key <= piece.high for key in self._first.to_pylist())

    def places(self, batch: pa.RecordBatch) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Where in the batch rows have one of the keys."""
        mask = pc.is_in(_plain(batch.column(self._names[0])), value_set=self._first)
        found: np.ndarray[Any, np.dtype[np.int64]] = np.flatnonzero(mask.to_numpy(zero_copy_only=False))
        if len(self._names) == 1 or not len(found):
            return found
        keys = batch.select(self._names)
        rows = pa.Table.from_batches([keys.cast(plain_schema(keys.schema)).take(pa.array(found))]).append_column("__place", pa.array(found))
        matched: np.ndarray[Any, np.dtype[np.int64]] = rows.join(self._keys, self._names, join_type="left semi")["__place"].to_numpy()
        return np.sort(matched)


def alive(batch: pa.RecordBatch, dead: Sequence[int]) -> Iterator[pa.RecordBatch]:
    """The batch without some of its rows, in slices: nothing is copied."""
    begin = 0
    for place in (*dead, batch.num_rows):
        if place > begin:
            yield batch.slice(begin, place - begin)
        begin = place + 1


def _parquet(path: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows in the file's order; columns that it lacks are null."""
    context = SessionContext(SessionConfig().with_target_partitions(1))
    context.register_parquet("t", path, schema=schema, file_extension="")
    return (batch.to_pyarrow() for batch in context.table("t").execute_stream())


def _plain(column: pa.Array) -> pa.Array:
    return column.cast(plain_schema(pa.schema([("c", column.type)])).field(0).type)
