"""The write-ahead file: where an event is durable first. One file a process, all streams in it, so that one sync serves all.

A line is `stream TAB id TAB crc32 TAB json LF`. Appenders that come while a sync is under way share the next one (group
commit); each returns only after the `fdatasync` that covers its line. A file is sealed, never truncated: its events move
to the bucket under names that derive from the file's own name (`segments.py`), then it is unlinked. So a crash at any
instant leaves either the file, which is moved again to the same names, or nothing to do.

Whose a file is, the kernel says: its process holds a flock on it from before the first line to after the unlink. A file
that can be locked belongs to a dead process and may be adopted. A torn last line was never acknowledged and is dropped.
Nothing here knows buckets. Read next: `stream.py`.
"""

from __future__ import annotations

import fcntl
import logging
import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from zlib import crc32

from state.errors import StateError
from state.failpoints import declare, hit
from state.local_files import make_durable, storage_error
from state.streams.ids import is_id

_log = logging.getLogger(__name__)

SUFFIX = ".wal"

Line = bytes | Callable[[], bytes]
"""A line, or what makes it when its turn comes: no line is made before all those that it follows."""

MAX_FILE_BYTES = 8 << 20
"""A file that has grown beyond this is sealed, so that one upload stays small."""

WRITTEN = declare("streams.wal-written")
SYNCED = declare("streams.wal-synced")


@dataclass(frozen=True, slots=True)
class WalRecord:
    """One line: `json` is the event as UTF-8 without a line feed."""

    stream: str
    id: str
    json: bytes

    def encode(self) -> bytes:
        """The line, with its line feed."""
        return b"%b\t%b\t%08x\t%b\n" % (self.stream.encode(), self.id.encode(), crc32(self.json), self.json)


@dataclass(frozen=True, slots=True)
class WalContent:
    """What a file holds: its records in order of writing, and how many complete lines were damaged."""

    name: str
    records: tuple[WalRecord, ...]
    damaged: int


def wal_paths(folder: Path) -> list[Path]:
    """All write-ahead files of all processes, oldest first; a missing folder has none."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == SUFFIX)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _translated(error, "list", folder) from error


def read_wal(path: Path, stream: str | None = None) -> WalContent | None:
    """The records of one file, or of one stream in it; None if it is gone, which means: moved to the bucket. Blocking."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _translated(error, "read", path) from error
    return _content(path.stem, data, stream)


def _content(name: str, data: bytes, stream: str | None = None) -> WalContent:
    lines = data.split(b"\n")
    lines.pop()  # what follows the last line feed: nothing, or a torn line
    wanted = None if stream is None else stream.encode() + b"\t"
    records = []
    damaged = 0
    for line in lines:
        if wanted is not None and not line.startswith(wanted):
            continue
        record = _decode(line)
        if record is None:
            damaged += 1
        else:
            records.append(record)
    return WalContent(name, tuple(records), damaged)


def _decode(line: bytes) -> WalRecord | None:
    fields = line.split(b"\t", 3)
    if len(fields) != 4 or fields[2] != b"%08x" % crc32(fields[3]):
        return None
    id_ = fields[1].decode("ascii", "replace")
    return WalRecord(fields[0].decode("utf-8", "replace"), id_, fields[3]) if is_id(id_) else None


def _translated(error: OSError, operation: str, path: Path) -> StateError:
    return storage_error(error, bucket="write-ahead", operation=operation, path=path)


@dataclass(slots=True, weakref_slot=True)
class WalFile:
    """A file that this process has locked; who forgets it unlocks it."""

    path: Path
    descriptor: int
    size: int = 0
    _close: Callable[[], object] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        close = weakref.finalize(self, os.close, self.descriptor)
        close.atexit = False  # a process that ends unlocks it after its last thread
        self._close = close

    @property
    def unlinked(self) -> bool:
        """Whether somebody removed it: what is written is then lost with this process."""
        return os.fstat(self.descriptor).st_nlink == 0

    def data(self) -> bytes:
        """What is in it, whoever removed its name."""
        return os.pread(self.descriptor, os.fstat(self.descriptor).st_size, 0)

    def content(self) -> WalContent:
        """Its records. Raises BucketUnavailable."""
        try:
            return _content(self.path.stem, self.data())
        except OSError as error:
            raise _translated(error, "read", self.path) from error

    def remove(self, *, keep: bool = False) -> None:
        """Unlinks, then unlocks: nobody can adopt what is about to go. keep: under another suffix, for a person to look at."""
        try:
            if keep and not self.unlinked:
                self.path.rename(self.path.with_suffix(".damaged"))
            else:
                self.path.unlink(missing_ok=True)
        except OSError as error:
            raise _translated(error, "remove", self.path) from error
        self.release()

    def release(self) -> None:
        """Unlocks; from now on another process may adopt the file. Once is enough."""
        self._close()


def orphans(folder: Path) -> Iterator[WalFile]:
    """Files of dead processes, each locked until `remove`; those of the living are skipped. Blocking."""
    for path in wal_paths(folder):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise _translated(error, "adopt", path) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        if os.fstat(descriptor).st_nlink == 0:  # another adopter was faster
            os.close(descriptor)
            continue
        yield WalFile(path, descriptor)


def _closed() -> Lock:
    lock = Lock()
    lock.acquire()
    return lock


@dataclass(slots=True)
class _Group:
    """Lines that share a sync. The first appender leads: it waits for the file; each other waits for its own lock to open.

    The leader opens the first lock, and whoever wakes the next one: if all woke at once they would only wait for each other, since one
    of them runs at a time.
    """

    lines: list[Line] = field(default_factory=list)
    waiters: list[Lock] = field(default_factory=list)
    awake: Lock = field(default_factory=_closed)
    """Open once the last of them was woken."""
    led: bool = False
    done: bool = False
    error: Exception | None = None


class WriteAhead:
    """This process's write-ahead files in `folder`, called `<name>-<number>.wal`. Thread-safe, blocking.

    `name` must be new: no process that lives or lived may have used it. No file exists before the first append.
    """

    def __init__(self, folder: Path, name: str, settle: Callable[[bool], None] = lambda written: None) -> None:
        """settle: told after each group whether its lines are durable; if not, nobody knows."""
        self._settle = settle
        self._folder = folder
        self._name = name
        self._number = 0
        self._group, self._former = _Group(), _Group()
        self._former.awake.release()
        self._joining = Lock()
        self._writing = Lock()
        self._file: WalFile | None = None
        self._sealed: list[WalFile] = []

    def append(self, *lines: Line) -> None:
        """Returns once `lines` are on the disk. Raises DiskFull or BucketUnavailable; then they are not acknowledged."""
        waiter = _closed()
        place = 0
        with self._joining:
            group = self._group
            group.lines.extend(lines)
            leads, group.led = not group.led, True
            if not leads:
                place = len(group.waiters) + 1
                group.waiters.append(waiter)
        if leads:
            with self._writing:  # meanwhile others join
                if not group.done:
                    self._commit()
        else:
            _wait(waiter, group, place)
        if isinstance(group.error, OSError):
            raise _translated(group.error, "append", self._folder) from group.error
        if group.error is not None:
            raise group.error

    def append_lazy(self, *lines: Line) -> None:
        """Joins the next group without waiting for it; lost if the process dies before."""
        with self._joining:
            self._group.lines.extend(lines)

    def sync(self) -> None:
        """Makes durable what was appended lazily."""
        if self._group.lines:
            self.append(b"")

    def seal(self) -> tuple[WalFile, ...]:
        """Ends the present file; gives all sealed ones, oldest first. Each is the caller's to move, then to `drop`."""
        with self._writing:
            if self._group.lines:
                self._commit()
            self._retire()
            return tuple(self._sealed)

    def drop(self, file: WalFile) -> None:
        """Forgets a sealed file that was removed or set aside."""
        with self._writing:
            self._sealed.remove(file)

    @property
    def size(self) -> int:
        """Bytes that wait to be moved."""
        with self._writing:
            return sum(file.size for file in self._sealed) + (self._file.size if self._file else 0)

    def close(self) -> None:
        """Unlocks what was not moved, so that another process may adopt it."""
        with self._writing:
            self._retire()
            for file in self._sealed:
                file.release()
            self._sealed.clear()

    def _commit(self) -> None:
        """Writes and syncs the group that is being joined; `_writing` is held. Nobody is told of success but by an end without error."""
        with self._former.awake:  # they will have more to write, and a group of few costs as much as one of many
            pass
        with self._joining:
            group, self._group = self._group, _Group()
        self._former = group
        group.error = StateError("The write-ahead file was given up while it was written.")
        try:
            self._write(b"".join([line if isinstance(line, bytes) else line() for line in group.lines]))
            group.error = None
        except Exception as error:  # noqa: BLE001 - whatever it is, each appender hears of it
            group.error = error
        finally:
            self._settle(group.error is None)
            group.done = True
            _wake(group, 0)

    def _write(self, data: bytes) -> None:
        file = self._present()
        try:
            _write_all(file, data)
            hit(WRITTEN)
            os.fdatasync(file.descriptor)
        except BaseException:
            self._give_up(file)
            raise
        file.size += len(data)
        if file.size > MAX_FILE_BYTES:
            self._retire()
        hit(SYNCED)

    def _present(self) -> WalFile:
        """The file to write to. One whose name is gone is written again: with the process all that was acknowledged would be lost."""
        file = self._file
        if file is None:
            return self._begin()
        if not file.unlinked:
            return file
        _log.warning("%s was removed while it was written; the events in it are written once more", file.path)
        data = file.data()[: file.size]
        successor = self._begin()
        try:
            _write_all(successor, data)
            os.fdatasync(successor.descriptor)
        except OSError:
            self._file = file  # still the only one that has it all
            successor.remove()
            raise
        successor.size = len(data)
        file.release()
        return successor

    def _give_up(self, file: WalFile) -> None:
        """Takes back what is not acknowledged; what a failed sync left on the disk nobody knows: the next append goes to a new file."""
        with suppress(OSError):
            os.ftruncate(file.descriptor, file.size)
        self._retire()

    def _begin(self) -> WalFile:
        if not (self._number and self._folder.is_dir()):
            make_durable(self._folder)
        while True:
            self._number += 1
            path = self._folder / f"{self._name}-{self._number:06d}{SUFFIX}"
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            except FileExistsError:
                continue
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:  # else an adopter took the empty file for an orphan
                break
            os.close(descriptor)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._file = WalFile(path, descriptor)
        return self._file

    def _retire(self) -> None:
        file, self._file = self._file, None
        if file is not None and file.size:
            self._sealed.append(file)
        elif file is not None:
            file.remove()


def _write_all(file: WalFile, data: bytes) -> None:
    written = 0
    while written < len(data):
        written += os.write(file.descriptor, memoryview(data)[written:])


def _wait(waiter: Lock, group: _Group, following: int) -> None:
    """Returns when the group is done. Not to be interrupted before: others wait for this one to wake them."""
    interruption: BaseException | None = None
    while not group.done:
        try:
            waiter.acquire()
        except BaseException as error:  # noqa: BLE001 - raised below
            interruption = error
    _wake(group, following)
    if interruption is not None:
        raise interruption


def _wake(group: _Group, place: int) -> None:
    (group.waiters[place] if place < len(group.waiters) else group.awake).release()
