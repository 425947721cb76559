"""What a reader is shown of a table in the hot cache, made once as a snapshot of its own: rows that are hidden are not in it, nor is any
value that is masked, so that it is read without a barrier and as fast as a table that nothing governs.

`<cache>/shown/<snapshot>-<digest>/` has a document and Arrow files, one for each piece of the snapshot it was made of; what a former
snapshot's has of the same piece is linked, not made again. It appears whole, and goes when its snapshot does, or when there is no room:
all of them take no more than the snapshots leave of the cache. Making them is a worker's (`ShownTask`), at most once at a time
(`merges.py`). It refuses to be read by whoever did not ask `decide`: `service.py` names the one that a decision is for.
"""

from __future__ import annotations

import os
import shutil
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any, Protocol, Self
from uuid import uuid4

import pyarrow as pa

from engines.sql.arrow_files import mapped, write_arrow
from engines.sql.barrier import guarded, permitted, shown_columns
from engines.sql.careful import Careful, table_of
from engines.sql.hot import Opened, Piece, Snapshot, TooLarge, alive, document
from engines.sql.projection import view_schema
from engines.sql.shown import ShownAs
from engines.sql.source import LakeTable
from specs.digests import digest

FOLDER = "shown"
_DOCUMENT = "rows"


@dataclass(frozen=True, slots=True)
class ShownTask:
    """What to make. JSON-able by `asdict`.

    table: as SQL calls it; snapshot: the document of its rows; columns: (name, our type); folder: of the hot cache; most: bytes that it may
    take.
    """

    table: str
    snapshot: str
    columns: tuple[tuple[str, str], ...]
    shown: ShownAs
    folder: str
    most: int

    @property
    def name(self) -> str:
        """Of the folder that it makes."""
        return f"{Path(self.snapshot).stem}-{self.shown.digest}"

    @property
    def document(self) -> Path:
        """That it makes."""
        return document(Path(self.folder) / FOLDER / self.name, _DOCUMENT)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `asdict`, JSON or not."""
        columns = tuple((name, kind) for name, kind in data["columns"])
        return cls(**{**data, "columns": columns, "shown": ShownAs.from_dict(data["shown"])})


def show(task: ShownTask) -> int:
    """Makes it, unless it is there. Returns its bytes. Blocking. Raises QueryProblem, also for a policy that fails, TooLarge, OSError."""
    if task.document.exists():
        return Snapshot.read(task.document).bytes
    return _Showing(task).run()


class _Showing:
    def __init__(self, task: ShownTask) -> None:
        self._task = task
        self._schema = view_schema(task.columns)
        self._opened = Opened()
        self._forms = Path(task.folder) / FOLDER

    def run(self) -> int:
        self._check_policy()
        aside = self._forms / f".{self._task.name}-{uuid4().hex[:12]}"
        aside.mkdir(parents=True)
        try:
            pieces, size = [], 0
            for piece in Snapshot.read(Path(self._task.snapshot)).pieces:
                name = f"{digest([piece.file, piece.batch, piece.dead])}.arrow"
                self._make(aside / name, piece)
                size += (aside / name).stat().st_size
                if size > self._task.most:
                    raise TooLarge
                reader = mapped(aside / name)
                pieces += [Piece(name, number, reader.get_batch(number).num_rows) for number in range(reader.num_record_batches)]
            Snapshot(tuple(pieces), (), size).write(document(aside, _DOCUMENT))
            with suppress(OSError):  # somebody else has made it meanwhile
                aside.rename(self._forms / self._task.name)
            return size
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _check_policy(self) -> None:
        """That it plans at all, which no row tells."""
        empty = pa.RecordBatch.from_arrays([pa.array([], field.type) for field in self._schema], schema=self._schema)
        with guarded(self._task.shown):
            permitted(table_of(empty), self._task.table, self._task.shown).select(*shown_columns(self._schema, self._task.shown))

    def _make(self, target: Path, piece: Piece) -> None:
        """What is shown of the rows of a piece, from another snapshot's where that has it."""
        for other in self._forms.glob(f"*-{self._task.shown.digest}/{target.name}"):
            with suppress(OSError):  # it goes with its snapshot, maybe now
                os.link(other, target)
                return
        rows = alive(self._opened.batch(Path(self._task.snapshot).parent, piece), piece.dead)
        write_arrow(target, self._schema, Careful(self._task.table, self._task.shown).rows(rows))


def sweep(folder: Path) -> None:
    """Removes what is of snapshots that are gone. folder: of the hot cache. Blocking."""
    for form in (folder / FOLDER).glob("*-*"):  # what begins with a dot is being made, or was when its worker ended
        if not document(folder, form.name.lstrip(".").partition("-")[0]).exists():
            shutil.rmtree(form, ignore_errors=True)


class HeldSnapshots(Protocol):
    """The hot cache, as far as there is room beside it."""

    @property
    def most(self) -> int:
        """Bytes that all may take."""

    @property
    def bytes(self) -> int:
        """That its snapshots take."""


class ShownForms:
    """Which there are. Thread-safe."""

    def __init__(self, cache: HeldSnapshots) -> None:
        self._cache = cache
        self._sizes: OrderedDict[str, int] = OrderedDict()
        """Of those that were made here, least recently used first."""
        self._refused: set[str] = set()
        self._lock = Lock()

    def found(self, source: LakeTable) -> LakeTable:
        """The source, to be read from what is held of it, if it is a part of a table in the hot cache. Blocking."""
        task = _task(source)
        if task is None or not task.document.exists():
            return source
        with self._lock:
            self._used(task)
        return replace(source, shown=replace(task.shown, held=str(task.document)))

    def missing(self, source: LakeTable) -> ShownTask | None:
        """What makes it, if it is not held and may be."""
        task = _task(source)
        if task is None or task.shown.held is not None:
            return None
        with self._lock:
            return None if task.name in self._refused else replace(task, most=self._room())

    def done(self, task: ShownTask, size: int) -> None:
        """It is there. What there is no room for goes, least recently used first. Blocking."""
        with self._lock:
            forms = Path(task.folder) / FOLDER
            self._sizes[task.name] = size
            self._sizes = OrderedDict((name, kept) for name, kept in self._sizes.items() if (forms / name).exists())
            while self._sizes and sum(self._sizes.values()) > self._room():
                name, _ = self._sizes.popitem(last=False)
                shutil.rmtree(forms / name, ignore_errors=True)

    def failed(self, task: ShownTask) -> None:
        """It has no room, or a policy cannot be applied: then whoever reads is told by the barrier."""
        with self._lock:
            self._refused.add(task.name)

    def _used(self, task: ShownTask) -> None:
        if task.name not in self._sizes:  # of an earlier process of this boot
            with suppress(OSError, ValueError):
                self._sizes[task.name] = Snapshot.read(task.document).bytes
        else:
            self._sizes.move_to_end(task.name)

    def _room(self) -> int:
        return max(self._cache.most - self._cache.bytes, 0)


def _task(source: LakeTable) -> ShownTask | None:
    """None for what is whole, or not in the hot cache."""
    if source.shown is None or source.hot is None:
        return None
    return ShownTask(source.name, source.hot, source.columns, source.shown, str(Path(source.hot).parent), 0)
