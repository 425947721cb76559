"""What a table's name resolves to: local folders of Parquet files, or one Arrow file. Plain data that crosses to a worker as JSON.

A table of many files is a folder of symbolic links, because one listing table is far cheaper to plan than a union of many. An upsert
table with deltas is three folders: base files that no delta can touch, base files that one may, and the deltas, each below
`__sequence=<n>` so that a row's sequence is known without a column in the file. Next: `tables.py` makes these, `merge.py` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from engines.sql.readings import Reading
from engines.sql.shown import ShownAs

SEQUENCE, NEWEST = "__sequence", "__newest"
"""Columns that merging adds; no table may have them."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of links to Parquet files, and how many there must be: a listing passes over a link whose file is gone without a word."""

    path: str
    files: int


@dataclass(frozen=True, slots=True)
class FormerFiles:
    """Files that were written under another schema and are not read by name; folders as in `LakeTable`."""

    reading: Reading
    base: Folder | None = None
    touched: Folder | None = None
    deltas: Folder | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FormerFiles:
        """Of what `asdict` gave."""
        return cls(Reading.from_dict(data["reading"]), **_folders(data))


def _folders(data: Mapping[str, Any]) -> dict[str, Folder]:
    return {name: Folder(**data[name]) for name in ("base", "touched", "deltas") if data[name] is not None}


@dataclass(frozen=True, slots=True)
class LakeTable:
    """A Dataset at one snapshot.

    name: as SQL calls it. columns: (name, our type) in order. base: folder of files read as they are; touched: folder of base files whose
    rows a delta may replace; deltas: folder of delta files, with tombstones among their rows where `deletes`; merged: the Arrow file that
    keeps the newest row per key of the deltas, made by whoever needs it first. A folder that would be empty is None; touched and deltas
    need a primary key. hot: the document of the same rows in the hot cache, read instead while it is there. rescues: buckets that gave
    files in another's place. lost: rows of files that nobody has any more. former: the files that need more than their names to be read
    under these columns. placed: of a table of ledgers, whose files lie below `__sequence=<n>` as deltas do;
    n is the instant that is their rows' `at`, in milliseconds, or 0 where that is in the file. shown: what the reader may see of it, None
    for all; only `session.py` opens a table that has it.
    """

    name: str
    version: int
    columns: tuple[tuple[str, str], ...]
    primary_key: tuple[str, ...] = ()
    base: Folder | None = None
    touched: Folder | None = None
    deltas: Folder | None = None
    merged: str | None = None
    rescues: tuple[str, ...] = ()
    lost: int = 0
    deletes: bool = False
    former: tuple[FormerFiles, ...] = ()
    hot: str | None = None
    placed: bool = False
    shown: ShownAs | None = None

    @property
    def folders(self) -> tuple[Folder | None, ...]:
        """All of them."""
        others = (folder for files in self.former for folder in (files.base, files.touched, files.deltas))
        return (self.base, self.touched, self.deltas, *others)

    def to_dict(self) -> dict[str, Any]:
        """The inverse of `source_from_dict`."""
        return {"kind": "lake", **asdict(self)}


@dataclass(frozen=True, slots=True)
class ArrowTable:
    """A system table: an Arrow IPC file, mapped into memory. shown: as of LakeTable."""

    name: str
    path: str
    shown: ShownAs | None = None

    def to_dict(self) -> dict[str, Any]:
        """The inverse of `source_from_dict`."""
        return {"kind": "arrow", **asdict(self)}


TableSource: TypeAlias = LakeTable | ArrowTable


def source_from_dict(data: Mapping[str, Any]) -> TableSource:
    """Raises KeyError or TypeError for what `to_dict` did not make."""
    shown = None if data["shown"] is None else ShownAs.from_dict(data["shown"])
    fields = {**{name: value for name, value in data.items() if name != "kind"}, "shown": shown}
    if data["kind"] == "arrow":
        return ArrowTable(**fields)
    lists = {name: tuple(fields[name]) for name in ("primary_key", "rescues")}
    columns = tuple((name, type_) for name, type_ in fields["columns"])
    former = tuple(FormerFiles.from_dict(files) for files in fields["former"])
    return LakeTable(**{**fields, **_folders(fields), **lists, "columns": columns, "former": former})
