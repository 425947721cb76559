"""A folder as an object store, durable by our own hand.

obstore's LocalStore never calls fsync, and its put-if-absent can leave an empty object behind a power cut. So: write a private
file in `.tmp/` of the same filesystem, fsync it, link it (if_absent: exactly one link wins) or rename it, fsync the folder. A
folder that is made is fsynced into its parent first. At every instant the key holds nothing, the old content or the new.

Below the root no symlink is followed and none is listed: an object is what was put, not what somebody points to. (Checked before
each access; someone who can swap folders during one owns the data anyway.) Names that can be no key are not listed either.
Empty folders are not objects and stay. A root that had something in it and is gone, or empty as a mount point is without its disk, is
never made anew: neither read nor written, until something is in it again. Next: `local_files.py`, `staging.py`, `objects.py`.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import defaultdict
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NoReturn

from state.errors import BucketUnavailable, KeyInvalid, ObjectExists, ObjectMissing, StateError
from state.failpoints import declare, hit
from state.local_files import is_empty, make_durable, storage_error, sync, write_durably
from state.objects import PIECE, ObjectInfo, OpenObject, check_key, key_fault
from state.staging import Staging, discard

STAGED = declare("local-store.staged")
LINKED = declare("local-store.linked")

STAGING_FOLDER = ".tmp"


class LocalStore:
    """Objects below `root`, which the first put makes. See `ObjectStore` for what the methods promise."""

    def __init__(self, root: Path, name: str | None = None) -> None:
        """root: absolute; may be a symlink itself. name: what errors call it, by default the root."""
        self.root = Path(os.path.realpath(root))
        self._name = name or str(root)
        self._staging = Staging(self.root / STAGING_FOLDER)
        self._folders: set[str] = set()  # known to exist, durably
        self._inhabited = False  # something was seen or put in the root

    @property
    def name(self) -> str:
        """The bucket's name."""
        return self._name

    def expect(self) -> None:
        """Somebody knows that the root was made before: so it is not made anew by this process."""
        self._inhabited = True

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        """Four system calls that wait for the disk at most: two fsyncs, and two more for a new folder."""
        target, there = self._look_up(key)
        with self._translated("put", target):
            if if_absent and there:
                self._refuse_existing(key, target)
            staged = self._new_staged()
            try:
                write_durably(staged, data)
                self._publish(key, staged, target, if_absent)
            finally:
                discard(staged)

    def stage(self) -> Path:
        """An empty file below `.tmp/`, on the filesystem of the root."""
        with self._translated("stage", self.root):
            staged = self._new_staged()
            staged.touch(exist_ok=False)
            return staged

    def put_file(self, key: str, staged: Path, *, if_absent: bool = False) -> None:
        """Links or renames: the cost does not depend on the size, but for what the disk has not yet written."""
        try:
            target = self._locate(key)
            with self._translated("put", target):
                sync(staged, os.O_RDONLY)
                self._publish(key, staged, target, if_absent)
        except BaseException:
            discard(staged)
            raise
        if if_absent:  # else it is the object now
            discard(staged)

    def get(self, key: str) -> bytes:
        """The whole file."""
        with self._reading("get", key) as path:
            return path.read_bytes()

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """One open, one seek, one read."""
        with self._reading("get", key) as path, path.open("rb") as file:
            file.seek(start)
            return file.read(length)

    def open(self, key: str, start: int = 0, length: int | None = None) -> OpenObject:
        """The file stays open until the pieces are read or closed: an object that is replaced meanwhile is read as it was."""
        with self._reading("get", key) as path:
            file = path.open("rb")
            found = os.fstat(file.fileno())
        pieces = self._pieces(path, file, start, found.st_size if length is None else length)
        next(pieces)
        return OpenObject(_info(key, found), pieces)

    def _pieces(self, path: Path, file: BinaryIO, start: int, length: int) -> Generator[bytes, None, None]:
        with file, self._translated("get", path):
            yield b""  # taken by who opens: a generator that never began would not close the file
            file.seek(start)
            while length > 0 and (piece := file.read(min(PIECE, length))):
                length -= len(piece)
                yield piece

    def head(self, key: str) -> ObjectInfo:
        """One stat."""
        with self._reading("head", key) as path:
            found = path.stat()
            if not stat.S_ISREG(found.st_mode):
                raise ObjectMissing(self._name, key)
            return _info(key, found)

    def sizes(self, keys: Collection[str]) -> Mapping[str, int]:
        """One stat an object, and one for each folder above: no more than a listing takes, which looks at others besides."""
        below: dict[str, list[str]] = defaultdict(list)
        for key in keys:
            if key_fault(key) is None:
                below[key.rpartition("/")[0]].append(key)
        found: dict[str, int] = {}
        for folder, inside in below.items():
            try:
                place = str(self._locate(folder) if folder else self.root)
            except StateError:
                continue
            for key in inside:
                try:
                    facts = os.lstat(f"{place}/{key.rpartition('/')[2]}")
                except OSError:
                    continue
                if stat.S_ISREG(facts.st_mode):
                    found[key] = facts.st_size
        self._inhabited = self._inhabited or bool(found)
        return found

    def list(self, prefix: str = "", after: str | None = None) -> Iterator[ObjectInfo]:
        """Reads only the folders that the answer can lie in; one stat an object."""
        base = prefix.rpartition("/")[0]
        folder = self._locate(base) if base else self.root
        return self._walk(folder, f"{base}/" if base else "", prefix, after or "")

    def folders(self, prefix: str) -> Sequence[str]:
        """One folder is read."""
        folder = self._locate(prefix.rstrip("/")) if prefix else self.root
        with self._translated("list", folder):
            names = _entries(folder)
            if not names:
                self._check_root("list")
            return [name.rstrip("/") for name in names if name.endswith("/")]

    def delete(self, key: str) -> None:
        """Removes the file and fsyncs its folder."""
        target = self._locate(key)
        with self._translated("delete", target):
            try:
                target.unlink()
            except (NotADirectoryError, IsADirectoryError):
                return
            except FileNotFoundError:
                # Whoever removed it may have failed, or been killed, before the fsync.
                if not target.parent.is_dir():
                    self._check_root("delete")
                    return
            sync(target.parent, os.O_RDONLY | os.O_DIRECTORY)

    def path(self, key: str) -> Path | None:
        """The file itself. Treat it as read-only."""
        return self._locate(key)

    def sweep_staging(self) -> int:
        """Remove what processes that died left in `.tmp/`; returns how many there were. Safe at any time, beside any writer."""
        with self._translated("sweep", self.root):
            return self._staging.sweep()

    # -- writing

    def _new_staged(self) -> Path:
        self._make_folder(self.root)
        return self._staging.new()

    def _publish(self, key: str, staged: Path, target: Path, if_absent: bool) -> None:
        hit(STAGED)
        self._make_folder(target.parent)
        try:
            self._move(key, staged, target, if_absent)
        except FileNotFoundError:
            # Somebody removed the folder (or all of `.tmp`) behind our back. The staged file decides which.
            if not staged.exists():
                raise
            self._folders.clear()
            self._make_folder(target.parent)
            self._move(key, staged, target, if_absent)
        hit(LINKED)
        sync(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        self._inhabited = True

    def _move(self, key: str, staged: Path, target: Path, if_absent: bool) -> None:
        if not if_absent:
            os.replace(staged, target)  # noqa: PTH105  (the same call; Path.replace builds a Path for nothing)
            return
        try:
            os.link(staged, target)
        except FileExistsError:
            self._refuse_existing(key, target)

    def _refuse_existing(self, key: str, target: Path) -> NoReturn:
        """The loser may act on the winner's object at once, so it must be durable before the loser hears of it."""
        if target.is_dir():
            raise KeyInvalid(self._name, key, "longer keys begin with it")
        sync(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        raise ObjectExists(self._name, key)

    def _make_folder(self, folder: Path) -> None:
        """Create the folder and fsync its name into every folder above it, once per process and folder."""
        known = str(folder)
        if known in self._folders:
            return
        if folder == self.root:
            self._check_root("put")
            make_durable(folder)
        else:
            self._make_folder(folder.parent)
            try:
                folder.mkdir(exist_ok=True)
            except FileNotFoundError:  # an ancestor that was known has been removed
                self._folders.clear()
                self._make_folder(folder.parent)
                folder.mkdir(exist_ok=True)
            sync(folder.parent, os.O_RDONLY | os.O_DIRECTORY)
        self._folders.add(known)

    # -- reading

    def _walk(self, folder: Path, base: str, prefix: str, after: str) -> Iterator[ObjectInfo]:
        with self._translated("list", folder):
            names = _entries(folder)
            if names:
                self._inhabited = True
            else:
                self._check_root("list")
        for name in names:
            key = base + name
            if key.endswith("/"):
                inside = key.startswith(prefix) or prefix.startswith(key)
                if inside and (key > after or after.startswith(key)):
                    yield from self._walk(folder / name, key, prefix, after)
            elif key.startswith(prefix) and key > after:
                with self._translated("list", folder):
                    found = _lstat_if_there(folder / name)
                if found is not None:  # else deleted meanwhile
                    yield _info(key, found)

    def _locate(self, key: str) -> Path:
        """The path of a key. Raises KeyInvalid if it leaves the root, passes a symlink, or is in the staging area."""
        return self._look_up(key)[0]

    def _look_up(self, key: str) -> tuple[Path, bool]:
        """The same, and whether something is there."""
        check_key(self._name, key)
        path = str(self.root)
        for segment in key.split("/"):
            if segment == STAGING_FOLDER:
                raise KeyInvalid(self._name, key, f"`{STAGING_FOLDER}` is where objects are staged")
            path = f"{path}/{segment}"
            try:
                mode = os.lstat(path).st_mode
            except (FileNotFoundError, NotADirectoryError):
                return self.root / key, False
            except OSError as error:
                raise storage_error(error, bucket=self._name, operation="open", path=Path(path)) from error
            if stat.S_ISLNK(mode):
                raise KeyInvalid(self._name, key, f"{path} is a symlink, and a bucket holds only what was put into it")
        return self.root / key, True

    def _file_in_the_way(self) -> Path | None:
        """What stands where the root, or a folder above it, should be."""
        there = next((path for path in (self.root, *self.root.parents) if path.exists()), self.root)
        return None if there.is_dir() else there

    def _check_root(self, operation: str) -> None:
        """Raises BucketUnavailable where the root had something in it and has nothing now, or is gone.

        A new one in its place would pass for a bucket that lost everything, and lie below the disk that is mounted again.
        """
        if self._inhabited and is_empty(self.root):
            remedy = (
                "Mount or restore it, and work goes on by itself. If it is lost for good: where it held the state, stop the daemon and run "
                f"`lakectl rebuild`; elsewhere `mkdir -p {self.root}/datasets`, and what has its source is made again."
            )
            raise BucketUnavailable(self._name, operation, f"its folder {self.root} is gone, or empty now", remedy=remedy)

    @contextmanager
    def _reading(self, operation: str, key: str) -> Iterator[Path]:
        path = self._locate(key)
        with self._translated(operation, path):
            try:
                yield path
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
                self._check_root(operation)
                raise ObjectMissing(self._name, key) from error
            self._inhabited = True

    @contextmanager
    def _translated(self, operation: str, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                # A folder was removed behind our back: the next call makes it anew.
                self._folders.clear()
                self._staging.reopen()
                self._check_root(operation)
            if error.errno in (errno.ENOTDIR, errno.EEXIST) and (file := self._file_in_the_way()):
                remedy = "Move it away, or give the bucket another path."
                raise BucketUnavailable(self._name, operation, f"{file} is no folder", remedy=remedy) from error
            raise storage_error(error, bucket=self._name, operation=operation, path=path) from error


def _entries(folder: Path) -> list[str]:
    """Names in key order, those of folders with a slash: `a.b` comes before `a/b`, as it does among keys."""
    names = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_symlink() or entry.name == STAGING_FOLDER or not entry.name.isprintable():
                    continue
                if entry.is_dir():
                    names.append(f"{entry.name}/")
                elif entry.is_file():
                    names.append(entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    names.sort()
    return names


def _lstat_if_there(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _info(key: str, found: os.stat_result) -> ObjectInfo:
    return ObjectInfo(key, found.st_size, found.st_mtime, f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}")
