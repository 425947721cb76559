"""What is held ready in memory-mapped files, and what is to be: pinned tables, and those that are asked often, as far as there is room.

A snapshot is named as its view is, by exactly its files and columns, so that what is held can never be stale: a changed table has
another name. What was held before it helps: `refresh` goes on from there where only few rows were added or changed. What is superseded, or
not asked any more when room is needed, is removed; queries that have it mapped go on.

Nothing is fsynced: the folder is of one boot of the machine, and a power cut ends that. It refuses to make anything: a worker does
(`hot.py`), when `merges.py` or `hot_builds.py` ask it to.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

from engines.sql.hot import HotTask, Snapshot, document
from engines.sql.hot_shown import sweep
from engines.sql.hot_steps import (
    Kept,
    Parts,
    all_parts,
    cacheable,
    columns_of,
    continues,
    has_same_rows,
    hot_task,
    later_parts,
    paths_of,
    rows_to_search,
    since,
)
from engines.sql.readings import readings
from engines.sql.source import LakeTable
from engines.sql.views import view_name
from state.catalog.data_files import DataFile
from state.catalog.tables import Table

USES = 2
"""Queries from which on a table that is not pinned is worth holding."""

QUICK_ROWS = 50_000
"""Changed rows up to which a query waits for a snapshot to be brought up to date, rather than merges by itself."""

AHEAD_ROWS = 1_000
"""Changed rows up to which they are applied before they can be seen: no commit is held up by more than some milliseconds."""

AHEAD_SEARCHED = 2_000_000
"""Rows that are looked through for their keys at most: 30 ms."""

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Held:
    """One Dataset in the cache. hits: queries that read it there, over all its snapshots."""

    dataset: str
    bucket: str
    version: int
    rows: int
    bytes: int
    pinned: bool
    hits: int


@dataclass(frozen=True, slots=True)
class _Wanted:
    table: Table
    source: LakeTable


@dataclass(slots=True)
class _Use:
    """What is known of a Dataset.

    misses: queries since it was held last; used: place in the order of uses; refused: a snapshot; fits: whether it may be held at all.
    kept: the newest snapshot; before: the one that it was made from, which queries may still ask for. named: a table and what its view is
    called, not to be told again each time.
    """

    misses: int = 0
    hits: int = 0
    used: int = 0
    kept: Kept | None = None
    before: Kept | None = None
    wanted: _Wanted | None = None
    refused: str = ""
    fits: bool = True
    named: tuple[Table, str] | None = None

    def name(self, table: Table) -> str:
        """Of its view."""
        if self.named is None or self.named[0] is not table:
            self.named = table, view_name(table)
        return self.named[1]


def boot_folder(folder: Path) -> Path:
    """The part of a folder that is of this boot of the machine; others are removed. Blocking."""
    boot = _BOOT.read_text(encoding="ascii").strip() if _BOOT.exists() else "boot"
    own = folder / boot
    own.mkdir(parents=True, exist_ok=True)
    for other in folder.iterdir():
        if other != own:
            shutil.rmtree(other, ignore_errors=True)
    return own


class HotCache:
    """Thread-safe."""

    def __init__(self, folder: Path, most: int, pinned: Callable[[str], bool] = lambda dataset: False) -> None:
        """folder: of this cache alone, see `boot_folder`; most: bytes; pinned: whether a Dataset's spec says so."""
        self._folder = folder
        self._most = most
        self._pinned = pinned
        self._uses: dict[str, _Use] = {}
        self._running: set[HotTask] = set()
        self._count = 0
        self._lock = Lock()
        self.wanted: Callable[[], None] = lambda: None
        """Told, on any thread, that there may be something to build."""
        self.ended: Callable[[], None] = lambda: None
        """Told, on any thread, that something was built, or could not be."""

    @property
    def most(self) -> int:
        """Bytes that it may hold."""
        return self._most

    @property
    def bytes(self) -> int:
        """That snapshots take."""
        with self._lock:
            return sum(use.kept.snapshot.bytes for use in self._uses.values() if use.kept is not None)

    def ready(self, table: Table, *, present: bool) -> Path | None:
        """The document of the table's snapshot, if that is held."""
        with self._lock:
            use = self._uses.setdefault(table.name, _Use())
            name = use.name(table)
            path = document(self._folder, name)
            if not path.exists():
                return None
            # readers of a version that has been superseded meanwhile are no reason to go back to it
            if present and (use.kept is None or (use.kept.name != name and use.kept.version <= table.version)):
                self._keep(use, name, table.bucket, table.version, columns_of(table), table.primary_key)
            return path

    def choose(self, table: Table, source: LakeTable, *, present: bool) -> LakeTable:
        """The source, to be read here if its snapshot is held. If not, and it is the present one, it is remembered."""
        path = self.ready(table, present=present)
        if path is not None:
            return replace(source, hot=str(path))
        if present:
            with self._lock:
                use = self._uses[table.name]
                use.fits = bool(self._most) and use.refused != use.name(table) and cacheable(table)
                use.wanted = _Wanted(table, source) if use.fits else None
        return source

    def ahead(self, table: Table, path_of: Callable[[DataFile], str]) -> HotTask | None:
        """What makes the snapshot of a version that is about to be seen, if the one before is held and little changed, or no row at all.

        path_of: a local file, asked for those that are read. Raises what it raises.
        """
        with self._lock:
            use = self._uses.get(table.name)
            kept = None if use is None else use.kept
        if kept is None or not continues(kept, table) or readings(table) or document(self._folder, view_name(table)).exists():
            return None
        new: tuple[DataFile, ...] | None = () if has_same_rows(table, kept) else since(kept.snapshot, table)
        if new is None or sum(file.rows for file in new) > AHEAD_ROWS or rows_to_search(kept.snapshot, new) > AHEAD_SEARCHED:
            return None
        return self._begin(table, later_parts(new, {file.ref: path_of(file) for file in new}), kept.name)

    def count(self, dataset: str, *, hit: bool) -> None:
        """A query has read the Dataset, here or not."""
        with self._lock:
            use = self._uses.setdefault(dataset, _Use())
            self._count += 1
            use.used = self._count
            use.hits, use.misses = (use.hits + 1, use.misses) if hit else (use.hits, use.misses + 1)
            worth = use.wanted is not None and use.misses >= USES
        if worth:
            self.wanted()

    def refresh(self, source: LakeTable) -> HotTask | None:
        """What brings the former snapshot of a table up to this one, where few rows changed."""
        with self._lock:
            use = next((use for use in self._uses.values() if use.wanted is not None and use.wanted.source == source), None)
            new = None if use is None else _quick(use)
            if use is None or use.wanted is None or use.kept is None or new is None:
                return None
            table, former = use.wanted.table, use.kept.name
        return self._begin(table, later_parts(new, paths_of(table, source)), former)

    def build(self) -> tuple[HotTask, LakeTable] | None:
        """What is to be held next, and its table: of those that are worth it the pinned ones, and what was asked for last.

        Not what `refresh` brings up to date, which is under way, or comes with the next query.
        """
        with self._lock:
            found = [
                (self._pinned(name), use.used, use.wanted)
                for name, use in self._uses.items()
                if use.wanted is not None and (use.misses >= USES or self._pinned(name)) and _quick(use) is None
            ]
        if not found:
            return None
        _, _, wanted = max(found, key=lambda one: one[:2])
        return self._begin(wanted.table, all_parts(wanted.table, wanted.source), None), wanted.source

    def done(self, task: HotTask) -> None:
        """It is there. What it supersedes, and what there is no room for, goes. Blocking."""
        with self._lock:
            self._running.discard(task)
            use = self._uses[task.dataset]
            before = use.kept
            if before is None or before.bucket != task.bucket or before.version <= task.version:  # else a later one was ready before it
                self._keep(use, task.name, task.bucket, task.version, task.columns, task.primary_key)
            use.before = before if task.former is not None and before is not use.kept else None
            self._evict()
        self.ended()

    def failed(self, task: HotTask) -> None:
        """It cannot be held: too large, or a file of it is lost. It is not tried again before the table changes."""
        with self._lock:
            self._running.discard(task)
            use = self._uses[task.dataset]
            if task.former is not None:
                use.kept = use.before = None
            else:
                use.wanted, use.refused = None, task.name
            self._evict()
        self.ended()

    def held(self) -> tuple[Held, ...]:
        """What there is, by Dataset."""
        with self._lock:
            found = [(name, use.kept, use.hits) for name, use in sorted(self._uses.items()) if use.kept is not None]
        return tuple(
            Held(name, kept.bucket, kept.version, kept.snapshot.rows, kept.snapshot.bytes, self._pinned(name), hits)
            for name, kept, hits in found
            if kept
        )

    def settled(self, dataset: str) -> bool:
        """Whether a Dataset is held in some version, cannot be held, or need not be: only pinned ones are before they are asked often."""
        if not self._pinned(dataset):
            return True
        with self._lock:
            use = self._uses.get(dataset)
            return not self._most or (use is not None and (use.kept is not None or bool(use.refused) or not use.fits))

    def unheld(self, datasets: Iterable[str]) -> list[str]:
        """Those that are pinned and not held in any version."""
        with self._lock:
            held = {name for name, use in self._uses.items() if use.kept is not None or use.refused}
        return [name for name in datasets if name not in held and self._pinned(name)]

    def concerns(self, dataset: str) -> bool:
        """Whether a change of it is to be followed before anybody asks."""
        with self._lock:
            use = self._uses.get(dataset)
            return self._pinned(dataset) or (use is not None and use.kept is not None)

    def _begin(self, table: Table, parts: Parts, former: str | None) -> HotTask:
        task = hot_task(self._folder, self._most, table, parts, former)
        with self._lock:
            self._running.add(task)
        return task

    def _keep(
        self, use: _Use, name: str, bucket: str, version: int, columns: tuple[tuple[str, str], ...], primary_key: tuple[str, ...]
    ) -> None:
        try:
            snapshot = Snapshot.read(document(self._folder, name))
        except (OSError, ValueError):  # evicted in this moment
            return
        use.kept, use.misses = Kept(name, bucket, version, columns, primary_key, snapshot), 0
        if use.wanted is not None and view_name(use.wanted.table) == name:
            use.wanted = None

    def _evict(self) -> None:
        """Least recently used first, pinned ones last; then every file that nobody needs.

        The few files that only the snapshot before has come on top of what there is room for.
        """
        order = sorted(((self._pinned(name), use.used, name) for name, use in self._uses.items() if use.kept is not None), reverse=True)
        room = self._most
        for _, _, name in order:
            kept = self._uses[name].kept
            room -= kept.snapshot.bytes if kept is not None else 0
            if room < 0:
                self._uses[name].kept = self._uses[name].before = None
        needed = {name for use in self._uses.values() for kept in (use.kept, use.before) if kept is not None for name in _names(kept)}
        needed |= {name for task in self._running for name, _ in task.files}
        own = tuple(task.name for task in self._running)
        for path in self._folder.glob("*"):  # none where the folder was removed
            if path.name not in needed and not path.name.startswith((".", *own)):
                with suppress(OSError):  # it stays, and costs its place; whoever made a snapshot, or commits, is not held up by it
                    path.unlink()
        sweep(self._folder)


def _names(kept: Kept) -> Iterator[str]:
    yield f"{kept.name}.json"
    yield from kept.snapshot.files


def _quick(use: _Use) -> tuple[DataFile, ...] | None:
    """The files that bring what is kept up to what is wanted, if they have few rows."""
    if use.kept is None or use.wanted is None or not continues(use.kept, use.wanted.table):
        return None
    new = since(use.kept.snapshot, use.wanted.table)
    return None if new is None or sum(file.rows for file in new) > QUICK_ROWS else new
