"""Objects: immutable bytes under a key, and the seven things that a store of them can do.

A key is relative, `/`-separated UTF-8: `datasets/candidates/ab12-0000.parquet`. Whoever refers to an object records its size and
SHA-256 in an `ObjectRef`, written only after the object is durable. There is no append, no rename, no update by etag: a
local folder cannot do the last one, and nothing here needs it.
Next: `local_store.py` (our own durable writer), `remote_store.py` (everything else), `reader.py` (verified reads).
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from state.digest_file import sha256_bytes
from state.errors import KeyInvalid
from state.failures import BucketFailure

MAX_KEY_BYTES = 1024
MAX_SEGMENT_BYTES = 255
PIECE = 1024 * 1024
"""Bytes that a store gives at a time."""
_NO_NAMES = frozenset({"", ".", ".."})


@dataclass(frozen=True, slots=True, order=True)
class ObjectRef:
    """Where an object is and what it must be. `size` in bytes, `sha256` as 64 hex digits."""

    bucket: str
    key: str
    size: int
    sha256: str

    @classmethod
    def of(cls, bucket: str, key: str, data: bytes) -> ObjectRef:
        """The reference to `data` under this key; writes nothing."""
        return cls(bucket, key, len(data), sha256_bytes(data))

    def to_dict(self) -> dict[str, object]:
        """JSON-able; the inverse of `from_dict`."""
        return {"bucket": self.bucket, "key": self.key, "size": self.size, "sha256": self.sha256}

    @classmethod
    def from_dict(cls, document: Mapping[str, object]) -> ObjectRef:
        """Raises KeyError where a field is missing."""
        size = document["size"]
        assert isinstance(size, int)
        return cls(str(document["bucket"]), str(document["key"]), size, str(document["sha256"]))


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store says about an object. `modified` in Unix seconds; `etag` changes with the content, its form is the store's."""

    key: str
    size: int
    modified: float
    etag: str


@dataclass(frozen=True, slots=True)
class Found:
    """A local file with an object's bytes. failure: of its own bucket, where it came from the rescue bucket."""

    path: Path
    failure: BucketFailure | None = None

    @property
    def rescue(self) -> str | None:
        """That bucket."""
        return None if self.failure is None else self.failure.rescue_bucket


@dataclass(frozen=True, slots=True)
class OpenObject:
    """An object that is being read. `pieces`, of about a MiB, raise what `get` raises, and let go of the object when they are closed."""

    info: ObjectInfo
    pieces: Generator[bytes, None, None]


class ObjectStore(Protocol):
    """Blocking and thread-safe. Raises KeyInvalid, ObjectMissing, ObjectExists, DiskFull and BucketUnavailable, nothing else."""

    @property
    def name(self) -> str:
        """What errors call this store: the bucket's name."""

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        """Durable on return, never seen half-written. With if_absent exactly one of many callers wins, the others get ObjectExists.

        Over a network an if_absent that timed out may have won: whoever gets ObjectExists compares the content with its own.
        """

    def stage(self) -> Path:
        """A new empty file for `put_file`, private to this process. Removed when the process ends, or by a later sweep."""

    def put_file(self, key: str, staged: Path, *, if_absent: bool = False) -> None:
        """As `put`, with the content of a file made by `stage`. The file is gone afterwards, whatever happened."""

    def get(self, key: str) -> bytes:
        """The whole content, unverified: `reader.ObjectReader` verifies."""

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Bytes from `start` (from 0); fewer than `length`, or none, where the object ends before."""

    def open(self, key: str, start: int = 0, length: int | None = None) -> OpenObject:
        """Facts, and the bytes from `start` (from 0) on: none where the object ends before, all of the rest without `length`."""

    def head(self, key: str) -> ObjectInfo:
        """Raises ObjectMissing."""

    def sizes(self, keys: Collection[str]) -> Mapping[str, int]:
        """Bytes of those of many objects that a few cheap looks find; only `head` says that one of the others is not there."""

    def list(self, prefix: str = "", after: str | None = None) -> Iterator[ObjectInfo]:
        """Objects whose key begins with `prefix` (any string, need not end at a slash) and is greater than `after`, by key."""

    def folders(self, prefix: str) -> Sequence[str]:
        """Sorted names of folders directly below `prefix`, which is empty or ends at a slash. One of them may be empty by now."""

    def delete(self, key: str) -> None:
        """Durable on return. No error if there is nothing."""

    def path(self, key: str) -> Path | None:
        """Where the object is as a local file, for engines that open in place; None for a remote store. Does not say that it exists."""


def check_key(bucket: str, key: str) -> None:
    """Raises KeyInvalid unless every store can keep an object under this key and give it back from `list`."""
    reason = key_fault(key)
    if reason is not None:
        raise KeyInvalid(bucket, key, reason)


def key_fault(key: str) -> str | None:
    """Why no store can keep an object under this key; None where it can."""
    if not key:
        return "it is empty"
    if key.startswith("/"):
        return "it is absolute"
    if not key.isprintable():
        return "it has control or unprintable characters"
    segments = key.split("/")
    if not _NO_NAMES.isdisjoint(segments):
        return "it has an empty, `.` or `..` segment"
    length = len(key.encode())
    if length > MAX_KEY_BYTES:
        return f"it is longer than {MAX_KEY_BYTES} bytes"
    if length > MAX_SEGMENT_BYTES and any(len(segment.encode()) > MAX_SEGMENT_BYTES for segment in segments):
        return f"a segment is longer than {MAX_SEGMENT_BYTES} bytes"
    return None
