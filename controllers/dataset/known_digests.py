"""Digests of source files as they were when they were hashed last, by this process or a former one; so a start reads what is new only.

One file, rewritten whole and atomically by the one writer of the state; others only read it. It is a cache: a missing, torn, edited one, or
one of another data root, is an empty one. It refuses to say whether a file is still the same: that is `files.py`'s, by the signature.
"""

import contextlib
import threading
from pathlib import Path
from typing import NamedTuple

import orjson

from state.digest_file import sha256_bytes

_FORMAT = 1


class Signature(NamedTuple):
    """What moves when a file does: bytes, nanoseconds of modification and of change, inode."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


class KnownDigests:
    """Thread-safe."""

    def __init__(self, path: Path | None = None, root: Path | None = None) -> None:
        """path: the file; None to remember only while the process lives. root: the data root, below which all paths are. Blocking."""
        self._path, self._header = path, [_FORMAT, str(root)]
        self._lock = threading.Lock()
        self._former = _load(path, self._header) if path is not None else {}
        self._used: dict[str, list[object]] = {}
        self._new = False
        self._saved = False  # what is taken over after that is not among what was written

    def get(self, path: str, signature: Signature) -> str | None:
        """The SHA-256 of the file's content, if it was hashed while it had this signature."""
        with self._lock:
            known = self._used.get(path)
            if known is None:
                known = self._former.pop(path, None)
                if known is not None:
                    self._used[path] = known
                    self._new |= self._saved
        return str(known[-1]) if known is not None and tuple(known[:-1]) == signature else None

    def put(self, path: str, signature: Signature, digest: str) -> None:
        """Remembers what was hashed."""
        with self._lock:
            self._used[path] = [*signature, digest]
            self._new = True

    def forget(self, path: str) -> None:
        """Has the file read again."""
        with self._lock:
            self._new |= self._used.pop(path, self._former.pop(path, None)) is not None

    def save(self) -> None:
        """Writes what this process used, if any of it is new; a full disk costs the cache, nothing else. Blocking."""
        with self._lock:
            if self._path is None or not self._new:
                return
            self._new, self._saved = False, True
            body = orjson.dumps([self._header, self._used])
        staged = self._path.with_suffix(".tmp")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            staged.write_bytes(sha256_bytes(body).encode() + b"\n" + body)
            staged.replace(self._path)


def _load(path: Path, header: list[object]) -> dict[str, list[object]]:
    try:
        said, _, body = path.read_bytes().partition(b"\n")
        if said.decode() != sha256_bytes(body):
            return {}
        found, digests = orjson.loads(body)
    except (OSError, ValueError, TypeError):
        return {}
    return digests if found == header else {}
