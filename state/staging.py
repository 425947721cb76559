"""Staging: private files on a store's own filesystem, and the removal of those whose process died.

Every process that stages has one folder below `.tmp/` and holds a lock (flock) on the file of the same name beside it. The
kernel drops the lock with the process, however it ends, so that a sweep needs no clock, no pids and no guess: a folder
whose lock can be taken is a leftover. Works between containers that share a disk, where pids mean nothing.
Refuses to touch anything below `.tmp/` that it does not recognise. Next: `local_store.py`, its only user.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import secrets
import shutil
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

LOCK_SUFFIX = ".lock"


class Stages(Protocol):
    """A store, as far as this needs it."""

    def stage(self) -> Path:
        """See `ObjectStore`."""


@contextmanager
def scratch(store: Stages) -> Iterator[Path]:
    """An empty folder on the store's own disk, among what is staged, which a later start sweeps if this process is killed. Raises what
    staging raises."""
    staged = store.stage()
    try:
        with TemporaryDirectory(dir=staged.parent, prefix="scratch-") as folder:
            yield Path(folder)
    finally:
        staged.unlink(missing_ok=True)


class Staging:
    """The staging area of one store in one process. Thread-safe; nothing is created before the first `new`."""

    def __init__(self, base: Path) -> None:
        """base: the `.tmp` folder, made when first needed."""
        self._base = base
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._folder: Path | None = None
        self._pid = 0
        self._close: Callable[[], object] = lambda: None  # removes the folder and drops its lock

    def new(self) -> Path:
        """The path of a new file in this process' folder; not created. Raises OSError."""
        # A forked child shares the parent's lock and counter, so it must open a folder of its own.
        folder = self._folder
        if folder is None or self._pid != os.getpid():
            folder = self._open()
        return folder / str(next(self._numbers))

    def reopen(self) -> None:
        """Let go of the folder if somebody removed it; the next `new` makes another. One that is there may hold others' files."""
        with self._lock:
            if self._folder is not None and not self._folder.exists():
                self._folder = None
                self._close()

    def sweep(self) -> int:
        """Remove the folders of dead processes; returns how many. Raises OSError."""
        try:
            # Folders first: one exists only while, or after, its lock existed.
            entries = sorted(self._base.iterdir(), key=lambda path: path.name.endswith(LOCK_SUFFIX))
        except FileNotFoundError:
            return 0
        return sum(_sweep_one(entry) for entry in entries if entry != self._folder)

    def _open(self) -> Path:
        with self._lock:
            if self._folder is not None and self._pid == os.getpid():
                return self._folder
            self._base.mkdir(parents=True, exist_ok=True)
            folder, handle = _claim(self._base)
            self._pid = os.getpid()
            self._close = weakref.finalize(self, _close, folder, handle, self._pid)
            try:
                folder.mkdir()
            except OSError:
                self._close()
                raise
            self._folder = folder
            return folder


def discard(staged: Path) -> None:
    """Removes a staged file. One that cannot be removed now is left to a sweep: what it was staged for is done, or has failed already."""
    with suppress(OSError):
        staged.unlink(missing_ok=True)


def _claim(base: Path) -> tuple[Path, int]:
    """A locked file of a fresh name. Returns the folder that it guards, and the open handle that holds the lock."""
    while True:
        folder = base / f"{os.getpid()}-{secrets.token_hex(4)}"
        lock = folder.with_name(folder.name + LOCK_SUFFIX)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if _try_lock(handle) and _same_file(lock, handle):
            return folder, handle
        os.close(handle)  # a sweep came between create and lock: it removed the file, so this lock would guard nothing


def _sweep_one(entry: Path) -> int:
    is_lock = entry.name.endswith(LOCK_SUFFIX)
    if not is_lock and not entry.is_dir():
        return 0
    lock = entry if is_lock else entry.with_name(entry.name + LOCK_SUFFIX)
    try:
        handle = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        if not is_lock:
            shutil.rmtree(entry, ignore_errors=True)  # an earlier sweep died halfway
        return 0 if is_lock else 1
    try:
        if not _try_lock(handle):
            return 0
        shutil.rmtree(lock.with_name(lock.name.removesuffix(LOCK_SUFFIX)), ignore_errors=True)
        lock.unlink(missing_ok=True)
        return 1
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _same_file(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _close(folder: Path, handle: int, pid: int) -> None:
    if pid == os.getpid():
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_name(folder.name + LOCK_SUFFIX).unlink(missing_ok=True)
    os.close(handle)
