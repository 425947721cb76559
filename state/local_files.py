"""Files and folders of a local disk: put there durably, and what fails told as one of our errors.

For whoever writes files of its own on a local disk; objects are put by `local_store.py`.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from state.errors import NO_SPACE, BucketUnavailable, DiskFull, KeyInvalid, StateError

_REMEDIES = {
    errno.EACCES: "Check the folder's owner and permissions.",
    errno.EPERM: "Check the folder's owner and permissions.",
    errno.EROFS: "Mount the file system for writing, or move the bucket to another.",
    errno.EMFILE: "Raise this process's limit of open files (ulimit -n).",
    errno.ENFILE: "Raise the machine's limit of open files (sysctl fs.file-max).",
    errno.EIO: "Check the disk: the kernel's log (dmesg) tells more.",
}


def make_durable(folder: Path) -> None:
    """Makes a folder that no power cut takes away. Raises OSError.

    The names of all folders above it are synced, whoever made them: somebody may have been killed before that, or never cared. Ends where
    another file system begins, or this user may not look.
    """
    folder.mkdir(parents=True, exist_ok=True)
    device = folder.stat().st_dev
    for parent in folder.parents:
        try:
            if parent.stat().st_dev != device:
                return
            sync(parent, os.O_RDONLY | os.O_DIRECTORY)
        except PermissionError:
            return


def storage_error(error: OSError, *, bucket: str, operation: str, path: Path) -> StateError:
    """One of ours for an OSError on a local disk. Engines that write into a staged file themselves use it, too."""
    if error.errno in NO_SPACE:
        return DiskFull(bucket, str(path))
    if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.EEXIST):
        return KeyInvalid(bucket, str(path), "a key that begins with it, or that it begins with, is taken")
    return BucketUnavailable(bucket, operation, f"{error.strerror or error} ({path})", remedy=_REMEDIES.get(error.errno or 0))


def is_empty(folder: Path) -> bool:
    """Whether nothing is there, not even the folder; of one that cannot be looked at nobody knows."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False


def write_durably(path: Path, data: bytes) -> None:
    """A new file that is on the disk when this returns. Raises OSError."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def sync(path: Path, flags: int) -> None:
    """Waits until a file, or what names a folder holds, is on the disk. flags: to open it by. Raises OSError."""
    handle = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
