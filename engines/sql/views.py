"""Snapshots of tables as folders of symbolic links, `<views>/<digest>/{base,touched,deltas/__sequence=<n>}/<number>.parquet`; files of a
schema that is not read by name have folders of their own, `base-<schema>` and so on (`readings.py`).

A folder is named by exactly the files it links to and the columns they are read as, so it never changes its meaning and is made once.
Which base files a delta can touch is told by the key ranges in the catalog, over the key's first column: files that none touches skip
the merge.
Which folders there are is known without making any: `planned`. A table that is read from the hot cache needs no link.
It refuses to read Parquet. Next: `tables.py` for names, `merge.py` for what becomes of the folders.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import orjson

from engines.sql.readings import readings
from engines.sql.source import SEQUENCE, Folder, FormerFiles, LakeTable
from state.catalog.data_files import DataFile, Scalar
from state.catalog.tables import Table
from state.failures import BucketFailure
from state.local_files import storage_error
from state.objects import Found, ObjectRef

MERGED = "merged.arrow"
STAGED = f".{MERGED}-"
"""How the name of a merged file begins while it is written."""

_NUMBERED = "{:08d}.parquet"

_ORDERED = ("string", "int64", "float64", "bool", "date")
"""Types whose catalog values compare as the values do. Decimals and timestamps are text there and do not."""


class Files(Protocol):
    """The one reader of objects."""

    def find(self, ref: ObjectRef) -> Found:
        """A verified local file. Blocking."""

    def again(self, failure: BucketFailure) -> None:
        """Tells that a file which was found with this failure answers once more."""


@dataclass(frozen=True, slots=True)
class View:
    """What to read. failures: of a bucket that did not give files of it, one for each that answered in its place."""

    table: LakeTable
    failures: tuple[BucketFailure, ...]


@dataclass(frozen=True, slots=True)
class Split:
    """A table's files by how they are read."""

    base: tuple[DataFile, ...]
    touched: tuple[DataFile, ...]
    deltas: tuple[DataFile, ...]


def split(table: Table) -> Split:
    """Which files are read as they are, which are merged with which; lost ones are not. Pure."""
    base = tuple(file for file in table.readable if file.role == "base")
    deltas = tuple(file for file in table.readable if file.role == "delta")
    if not table.primary_key or not deltas:
        return Split(table.readable, (), ())
    touched = {file.ref for file in touching(table, base, deltas)}
    return Split(tuple(file for file in base if file.ref not in touched), tuple(file for file in base if file.ref in touched), deltas)


def touching(table: Table, files: Iterable[DataFile], others: Sequence[DataFile]) -> Iterator[DataFile]:
    """Those of the files whose rows may have a key of the others' rows, as far as the catalog tells. Pure."""
    column = table.schema.column(table.primary_key[0])
    if column is None or column.type not in _ORDERED:
        yield from files
        return
    ranges = [_range(file) for file in others]
    yield from (file for file in files if any(_overlap(_range(file), other) for other in ranges))


def _range(file: DataFile) -> tuple[Scalar, Scalar]:
    low = None if file.key_min is None else file.key_min[0]
    high = None if file.key_max is None else file.key_max[0]
    return low, high


def _overlap(one: tuple[Scalar, Scalar], other: tuple[Scalar, Scalar]) -> bool:
    """Whether two ranges may share a value. None is unknown."""
    return not (_less(one[1], other[0]) or _less(other[1], one[0]))


def _less(one: Scalar, other: Scalar) -> bool:
    return one is not None and other is not None and one < other  # type: ignore[operator] # of one column, so of one type


def view_name(table: Table) -> str:
    """What the table's folder is called: a digest of exactly the files it links to, and of the columns, which what is merged has."""
    parts = [(file.ref.bucket, file.ref.key, file.ref.sha256, file.role, file.sequence) for file in table.readable]
    columns = [(column.name, column.type) for column in table.columns]
    former = [(number, found.to_dict()) for number, found in readings(table).items()]
    return hashlib.sha256(orjson.dumps([parts, table.primary_key, columns, *([former] if former else [])])).hexdigest()[:32]


def planned(table: Table, folder: Path, name: str, *, placed: bool = False) -> LakeTable:
    """What the view will be, below `folder`, whether its links are there or not. name: as SQL calls the table; placed: see `LakeTable`.
    Pure."""
    parts = split(table)
    top = folder / view_name(table)
    former = readings(table)
    present = _folders(top, "", _within(parts, {file.schema_id for file in table.files} - former.keys()))
    groups = tuple(FormerFiles(found, *_folders(top, f"-{number}", _within(parts, {number}))) for number, found in former.items())
    columns = tuple((column.name, column.type) for column in table.columns)
    merged = str(top / MERGED) if parts.deltas else None
    deletes = any(file.deletes for file in parts.deltas)
    return LakeTable(name, table.version, columns, table.primary_key, *present, merged, (), table.lost_rows, deletes, groups, placed=placed)


def make_view(table: Table, folder: Path, files: Files, name: str, *, placed: bool = False) -> View:
    """The links, made or mended, below `folder`. Blocking. name, placed: as of `planned`. Raises what reading an object raises."""
    parts = split(table)
    failures: dict[str, BucketFailure] = {}
    former = readings(table)
    top = folder / view_name(table)
    _link_all(top, "", _within(parts, {file.schema_id for file in table.files} - former.keys()), files, failures, placed=placed)
    for number in former:
        _link_all(top, f"-{number}", _within(parts, {number}), files, failures)
    return View(replace(planned(table, folder, name, placed=placed), rescues=tuple(sorted(failures))), tuple(failures.values()))


def _within(parts: Split, schemas: Set[int]) -> Split:
    """Those files that were written under some schemas."""
    chosen = (tuple(file for file in files if file.schema_id in schemas) for files in (parts.base, parts.touched, parts.deltas))
    return Split(*chosen)


def _folders(top: Path, suffix: str, parts: Split) -> tuple[Folder | None, Folder | None, Folder | None]:
    """Of base, touched and deltas."""
    base, touched, deltas = (
        Folder(str(top / f"{kind}{suffix}"), len(files)) if files else None
        for kind, files in (("base", parts.base), ("touched", parts.touched), ("deltas", parts.deltas))
    )
    return base, touched, deltas


def _link_all(top: Path, suffix: str, parts: Split, files: Files, failures: dict[str, BucketFailure], *, placed: bool = False) -> None:
    """failures: takes one for each bucket that answered in another's place, by its name."""
    _link(top / f"base{suffix}", _placed(parts.base) if placed else _names(parts.base), files, failures)
    _link(top / f"touched{suffix}", _names(parts.touched), files, failures)
    _link(top / f"deltas{suffix}", _placed(parts.deltas), files, failures)


def _names(files: Sequence[DataFile]) -> dict[str, DataFile]:
    return {_NUMBERED.format(number): file for number, file in enumerate(files)}


def _placed(files: Sequence[DataFile]) -> dict[str, DataFile]:
    return {f"{SEQUENCE}={file.sequence}/{_NUMBERED.format(number)}": file for number, file in enumerate(files)}


def parquet_files(table: Table, source: LakeTable) -> Iterator[tuple[DataFile, str]]:
    """Each of the table's files with its link in the view that was made of it, where all are read by name. Pure."""
    parts = split(table)
    for folder, files in (
        (source.base, _names(parts.base)),
        (source.touched, _names(parts.touched)),
        (source.deltas, _placed(parts.deltas)),
    ):
        yield from ((file, f"{folder.path}/{name}") for name, file in files.items() if folder is not None)


def _link(folder: Path, wanted: Mapping[str, DataFile], files: Files, failures: dict[str, BucketFailure]) -> None:
    for relative, file in wanted.items():
        found = files.find(file.ref)
        link, target = folder / relative, found.path.absolute()
        if found.failure is not None and found.rescue is not None:
            failures.setdefault(found.rescue, found.failure)
        if link.is_symlink() and link.readlink() == target:
            continue
        # several queries may make one view at once, each with links of its own that take each other's place
        aside = link.with_name(f".{link.name}.{os.getpid()}-{threading.get_ident()}")
        try:
            link.parent.mkdir(parents=True, exist_ok=True)
            aside.unlink(missing_ok=True)
            aside.symlink_to(target)
            aside.replace(link)
        except OSError as error:
            raise storage_error(error, bucket="cache", operation="link", path=link) from error


class ViewSweep:
    """Removes what no table needs any more, once it has been superfluous for a while: folders, which a query may still read, and what
    a merge that was killed left in those that are needed."""

    def __init__(self, folder: Path, grace: float) -> None:
        """grace: seconds."""
        self._folder = folder
        self._grace = grace
        self._since: dict[str, float] = {}

    def run(self, tables: Iterable[Table], now: float) -> int:
        """How many folders and files were removed. now: seconds of any clock that does not go back. Blocking."""
        if not self._folder.is_dir():
            return 0
        needed = {view_name(table) for table in tables}
        present = {path.name for path in self._folder.iterdir()}
        torn = {str(path.relative_to(self._folder)) for name in present & needed for path in (self._folder / name).glob(f"{STAGED}*")}
        self._since = {name: self._since.get(name, now) for name in (present - needed) | torn}
        gone = [name for name, since in self._since.items() if now - since >= self._grace]
        for name in gone:
            if name in torn:
                (self._folder / name).unlink(missing_ok=True)
            else:
                shutil.rmtree(self._folder / name, ignore_errors=True)
        return len(gone)
