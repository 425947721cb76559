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
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

from engines.sql.hot import HotTask, Snapshot, document
from engines.sql.source import LakeTable
from engines.sql.views import parquet_files, split, view_name
from specs.digests import digest
from state.catalog.records import DataFile, Table

USES = 2
"""Queries from which on a table that is not pinned is worth holding."""

QUICK_ROWS = 50_000
"""Changed rows up to which a query waits for a snapshot to be brought up to date, rather than merges by itself."""

_KEYS = frozenset({"string", "int64", "bool", "date", "timestamp"})
"""Types of key columns by whose values rows are found again."""

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
class _Kept:
    name: str
    bucket: str
    version: int
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class _Wanted:
    table: Table
    source: LakeTable


@dataclass(slots=True)
class _Use:
    """What is known of a Dataset. misses: queries since it was held last; used: place in the order of uses; refused: a snapshot."""

    misses: int = 0
    hits: int = 0
    used: int = 0
    kept: _Kept | None = None
    wanted: _Wanted | None = None
    refused: str = ""


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

    @property
    def most(self) -> int:
        """Bytes that it may hold."""
        return self._most

    def choose(self, table: Table, source: LakeTable, *, present: bool) -> LakeTable:
        """The source, to be read here if its snapshot is held. If not, and it is the present one, it is remembered."""
        name = view_name(table)
        path = document(self._folder, name)
        with self._lock:
            use = self._uses.setdefault(table.name, _Use())
            if path.exists():
                if present and (use.kept is None or use.kept.name != name):
                    self._keep(use, name, table.bucket, table.version)
                return replace(source, hot=str(path))
            if present:
                use.wanted = _Wanted(table, source) if self._most and use.refused != name and _cacheable(table) else None
        return source

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
            if use is None or use.wanted is None or use.kept is None:
                return None
            table, former = use.wanted.table, use.kept
        new = _since(former.snapshot, table)
        if new is None or sum(file.rows for file in new) > QUICK_ROWS:
            return None
        return self._begin(self._task(table, source, new, former.name))

    def build(self) -> tuple[HotTask, LakeTable] | None:
        """What is to be held next, and its table: of those that are worth it the pinned ones, and what was asked for last."""
        with self._lock:
            found = [
                (self._pinned(name), use.used, use.wanted)
                for name, use in self._uses.items()
                if use.wanted is not None and (use.misses >= USES or self._pinned(name))
            ]
        if not found:
            return None
        _, _, wanted = max(found, key=lambda one: one[:2])
        return self._begin(self._task(wanted.table, wanted.source, None, None)), wanted.source

    def done(self, task: HotTask) -> None:
        """It is there. What it supersedes, and what there is no room for, goes. Blocking."""
        with self._lock:
            self._running.discard(task)
            use = self._uses[task.dataset]
            self._keep(use, task.name, task.bucket, task.version)
            self._evict()

    def failed(self, task: HotTask) -> None:
        """It cannot be held: too large, or a file of it is lost. It is not tried again before the table changes."""
        with self._lock:
            self._running.discard(task)
            use = self._uses[task.dataset]
            if task.former is not None:
                use.kept = None
            else:
                use.wanted, use.refused = None, task.name
            self._evict()

    def held(self) -> tuple[Held, ...]:
        """What there is, by Dataset."""
        with self._lock:
            found = [(name, use.kept, use.hits) for name, use in sorted(self._uses.items()) if use.kept is not None]
        return tuple(
            Held(name, kept.bucket, kept.version, kept.snapshot.rows, kept.snapshot.bytes, self._pinned(name), hits)
            for name, kept, hits in found
            if kept
        )

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

    def _begin(self, task: HotTask) -> HotTask:
        with self._lock:
            self._running.add(task)
        return task

    def _task(self, table: Table, source: LakeTable, new: tuple[DataFile, ...] | None, former: str | None) -> HotTask:
        """new: files that came after the former snapshot; None to hold all of them."""
        paths = {file.ref: path for file, path in parquet_files(table, source)}
        parts = split(table)
        base = (*parts.base, *parts.touched) if new is None else tuple(file for file in new if file.role == "base")
        if new is None:
            deltas: tuple[str, ...] = () if source.merged is None else (source.merged,)
        else:
            later = sorted((file for file in new if file.role == "delta"), key=lambda file: file.sequence)
            deltas = tuple(paths[file.ref] for file in later)
        return HotTask(
            dataset=table.name,
            bucket=table.bucket,
            version=table.version,
            name=view_name(table),
            folder=str(self._folder),
            columns=source.columns,
            primary_key=source.primary_key,
            files=tuple((f"{digest([file.ref.sha256, source.columns])[:32]}.arrow", paths[file.ref]) for file in base),
            deltas=deltas,
            covers=tuple((file.key, file.sequence) for file in table.readable),
            most=self._most,
            former=former,
        )

    def _keep(self, use: _Use, name: str, bucket: str, version: int) -> None:
        try:
            snapshot = Snapshot.read(document(self._folder, name))
        except (OSError, ValueError):  # evicted in this moment
            return
        use.kept, use.misses = _Kept(name, bucket, version, snapshot), 0
        if use.wanted is not None and view_name(use.wanted.table) == name:
            use.wanted = None

    def _evict(self) -> None:
        """Least recently used first, pinned ones last; then every file that nobody needs."""
        order = sorted(((self._pinned(name), use.used, name) for name, use in self._uses.items() if use.kept is not None), reverse=True)
        room = self._most
        for _, _, name in order:
            kept = self._uses[name].kept
            room -= kept.snapshot.bytes if kept is not None else 0
            if room < 0:
                self._uses[name].kept = None
        needed = {name for use in self._uses.values() if use.kept is not None for name in _names(use.kept)}
        needed |= {name for task in self._running for name, _ in task.files}
        own = tuple(task.name for task in self._running)
        for path in self._folder.iterdir():
            if path.name not in needed and not path.name.startswith((".", *own)):
                path.unlink(missing_ok=True)


def _names(kept: _Kept) -> Iterator[str]:
    yield f"{kept.name}.json"
    yield from kept.snapshot.files


def _cacheable(table: Table) -> bool:
    columns = [table.schema.column(name) for name in table.primary_key]
    return bool(table.readable) and all(column is not None and column.type in _KEYS for column in columns)


def _since(former: Snapshot, table: Table) -> tuple[DataFile, ...] | None:
    """The files that came since, if they do no more than add and change rows."""
    before = frozenset(former.covers)
    if not before <= {(file.key, file.sequence) for file in table.readable}:
        return None
    last = max((sequence for _, sequence in before), default=0)
    new = tuple(file for file in table.readable if (file.key, file.sequence) not in before)
    fits = not table.primary_key or all(file.role == "delta" and file.sequence > last for file in new)
    return new if fits else None
