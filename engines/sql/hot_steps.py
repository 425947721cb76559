"""How a snapshot of the hot cache comes from the one before: what is carried over, and which files bring it up to date. Pure.

Next: `hot.py`, which makes it; `hot_cache.py`, which decides what is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from engines.sql.hot import HotTask, Piece, Snapshot
from engines.sql.source import LakeTable
from engines.sql.views import parquet_files, split, view_name
from specs.digests import digest
from state.catalog.data_files import COMPACTION, DataFile
from state.catalog.tables import Table
from state.objects import ObjectRef

_KEYS = frozenset({"string", "int64", "bool", "date", "timestamp"})
"""Types of key columns by whose values rows are found again."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A snapshot that is held. name: of its document; columns, primary_key: of the table whose rows it has."""

    name: str
    bucket: str
    version: int
    columns: tuple[tuple[str, str], ...]
    primary_key: tuple[str, ...]
    snapshot: Snapshot


def columns_of(table: Table) -> tuple[tuple[str, str], ...]:
    """Name and our type of each, in order."""
    return tuple((column.name, column.type) for column in table.columns)


def cacheable(table: Table) -> bool:
    """Whether it may be held at all."""
    columns = [table.schema.column(name) for name in table.primary_key]
    return bool(table.readable) and all(column is not None and column.type in _KEYS for column in columns)


def continues(kept: Kept, table: Table) -> bool:
    """Whether rows of the one may be rows of the other."""
    return kept.columns == columns_of(table) and kept.primary_key == table.primary_key


def has_same_rows(table: Table, kept: Kept) -> bool:
    """Whether the table came from exactly what is kept by folding deltas into the base, which changes no row."""
    if not table.former:
        return False
    step = table.former[-1]
    added = [file for file in table.files if file.key in step.added]
    folds = all(file.role == "base" and file.source.startswith(COMPACTION) for file in added)
    anew = not {file.key for file in added} & {file.key for file in step.removed}
    return bool(added) and folds and anew and view_name(table.as_of(step.version)) == kept.name


def since(former: Snapshot, table: Table) -> tuple[DataFile, ...] | None:
    """The files that came since, if they do no more than add and change rows."""
    before = frozenset(former.covers)
    if not before <= {(file.key, file.sequence) for file in table.readable}:
        return None
    last = max((sequence for _, sequence in before), default=0)
    new = tuple(file for file in table.readable if (file.key, file.sequence) not in before)
    fits = not table.primary_key or all(file.role == "delta" and file.sequence > last for file in new)
    return new if fits else None


def rows_to_search(former: Snapshot, new: Iterable[DataFile]) -> int:
    """Of pieces in which rows may have a key of these files, as far as ranges of the first key column tell."""
    deltas = [file for file in new if file.role == "delta"]
    return sum(piece.rows for piece in former.pieces if any(_may_share(piece, file) for file in deltas))


def _may_share(piece: Piece, file: DataFile) -> bool:
    if piece.low is None or piece.high is None or file.key_min is None or file.key_max is None:
        return True
    low, high = file.key_min[0], file.key_max[0]
    return low is None or high is None or not (high < piece.low or low > piece.high)  # type: ignore[operator]  # of one column


Parts: TypeAlias = tuple[Sequence[tuple[DataFile, str]], tuple[str, ...]]
"""Base files to be pieces, each with its local path, and local paths of changes in order: what a snapshot is made of, or goes on by."""


def all_parts(table: Table, source: LakeTable) -> Parts:
    """Of a snapshot that nothing came before: the deltas as they are merged."""
    paths, parts = paths_of(table, source), split(table)
    base = [(file, paths[file.ref]) for file in (*parts.base, *parts.touched)]
    return base, () if source.merged is None else (source.merged,)


def later_parts(new: Iterable[DataFile], paths: Mapping[ObjectRef, str]) -> Parts:
    """Of one that goes on by these files. paths: of each of them."""
    base = [(file, paths[file.ref]) for file in new if file.role == "base"]
    deltas = sorted((file for file in new if file.role == "delta"), key=lambda file: file.sequence)
    return base, tuple(paths[file.ref] for file in deltas)


def paths_of(table: Table, source: LakeTable) -> Mapping[ObjectRef, str]:
    """The links of the view that was made of the table."""
    return {file.ref: path for file, path in parquet_files(table, source)}


def hot_task(folder: Path, most: int, table: Table, parts: Parts, former: str | None) -> HotTask:
    """What makes the table's snapshot. folder, most: of the cache."""
    columns = columns_of(table)
    base, deltas = parts
    return HotTask(
        dataset=table.name,
        bucket=table.bucket,
        version=table.version,
        name=view_name(table),
        folder=str(folder),
        columns=columns,
        primary_key=table.primary_key,
        files=tuple((f"{digest([file.ref.sha256, columns])[:32]}.arrow", path) for file, path in base),
        deltas=deltas,
        covers=tuple((file.key, file.sequence) for file in table.readable),
        most=most,
        former=former,
    )
