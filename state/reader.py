"""The one reader of objects: what it returns is what the reference says, or it raises.

Objects of local buckets are opened in place: the size is checked every time, the SHA-256 once for each (path, size, mtime) that this
process sees. Objects of remote buckets come through a cache on disk, named by content, bounded, verified before they get
their name. What a bucket cannot give, unreachable, missing or damaged, is taken from its rescue bucket, if that holds the same bytes.
Engines see local paths only, so that retries, rescue buckets and credentials live here and nowhere else.
Refuses to return unverified bytes, and to write anywhere but in its cache. Next: `objects.py`, `buckets.py`.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from state.buckets import Buckets
from state.digest_file import sha256_bytes, sha256_file
from state.errors import BucketUnavailable, BucketUnknown, ObjectCorrupt, ObjectMissing, SecretError, StateError
from state.failures import FAULTS, BucketFailure, Trial
from state.local_files import storage_error
from state.objects import Found, ObjectInfo, ObjectRef, ObjectStore, OpenObject
from state.staging import Staging
from state.turns import Turns

REMEMBERED = 100_000
# A path that was just handed out may not be open yet, so what was used within these seconds stays, even over the bound.
GRACE = 60.0

_TICK = 0.05
"""Seconds that a local file must have rested before it is hashed: file systems stamp times by the kernel's tick (10 ms at most), and two
writes of one size within a tick look the same."""

_RESCUABLE = (BucketUnavailable, BucketUnknown, SecretError, ObjectMissing, ObjectCorrupt)

T = TypeVar("T")

_Identity = tuple[str, int, int, str]
"""Path, size, mtime and what was expected: a change of any asks for another look."""


class ObjectReader:
    """Thread-safe; blocking. One a process; several processes may share a cache folder."""

    def __init__(self, buckets: Buckets, cache_dir: Path, max_bytes: int, *, clock: Callable[[], float] = time.time) -> None:
        """max_bytes: of the cache of remote objects; exceeded only by what is in use. clock: Unix seconds, as files' mtimes are."""
        self.cache_dir, self.max_bytes = cache_dir, max_bytes
        self._buckets = buckets
        self._cache = cache_dir / "objects"
        self._staging = Staging(cache_dir / ".tmp")
        self._clock = clock
        self._lock = threading.Lock()
        self._verified: OrderedDict[_Identity, None] = OrderedDict()
        self._damaged: set[_Identity] = set()  # what is repaired has another mtime
        self._turns = Turns()  # nothing is hashed or downloaded twice at once

    def find(self, ref: ObjectRef) -> Found:
        """A local file with exactly the bytes of `ref`; read-only. Raises ObjectMissing, ObjectCorrupt and what the store raises.

        A cached file may be removed a minute after it was last asked for; who has it open keeps it.
        """
        path, failure = self._rescued(ref, self._path)
        return Found(path, failure)

    def again(self, failure: BucketFailure) -> None:
        """Tells that a file which was found with this failure answers once more. Returns at once."""
        self._buckets.failures.repeat(failure)

    def path(self, ref: ObjectRef) -> Path:
        """As `find`, for whom it is all the same where it came from."""
        return self.find(ref).path

    def read(self, ref: ObjectRef) -> bytes:
        """The bytes of a small object; raises as `find` does."""
        return self._rescued(ref, self._read)[0]

    def head(self, bucket: str, key: str) -> tuple[ObjectInfo, str | None]:
        """Facts of an object that nothing refers to here, and the rescue bucket that told them. Raises what the store raises."""
        return self._by_key(bucket, key, "head", lambda store: store.head(key))

    def open(self, bucket: str, key: str, start: int = 0, length: int | None = None) -> tuple[OpenObject, str | None]:
        """Its bytes, unverified, as `ObjectStore.open` gives them, and the rescue bucket that they come from."""
        return self._by_key(bucket, key, "get", lambda store: store.open(key, start, length))

    def _by_key(self, bucket: str, key: str, operation: str, read: Callable[[ObjectStore], T]) -> tuple[T, str | None]:
        with self._buckets.failures.trying() as trial:
            try:
                return read(self._buckets.store(bucket)), None
            except (BucketUnavailable, SecretError, ObjectMissing) as error:
                rescue = self._buckets.rescue(bucket)
                if rescue is None:
                    raise
                try:
                    found = read(self._buckets.store(rescue))
                except StateError as another:
                    raise error from another
                if isinstance(error, ObjectMissing):  # which is no failure where the other has it neither
                    self._buckets.failures.record(bucket, operation, key, error)
                trial.rescue = rescue
                return found, rescue

    def _rescued(self, ref: ObjectRef, read: Callable[[ObjectRef], T]) -> tuple[T, BucketFailure | None]:
        """What is read, and the failure of its own bucket where it came from the rescue bucket. Raises what its own bucket raised."""
        with self._buckets.failures.trying() as trial:
            try:
                return read(ref), None
            except _RESCUABLE as error:
                self._note(trial, ref, error)
                rescue = self._buckets.rescue(ref.bucket)
                if rescue is None:
                    raise
                try:
                    found = read(replace(ref, bucket=rescue))
                except StateError as another:
                    self._note(trial, replace(ref, bucket=rescue), another)
                    raise error from another
                trial.rescue = rescue
        return found, trial.failures[0]

    def _note(self, trial: Trial, ref: ObjectRef, error: StateError) -> None:
        """What the store itself could not know: that an object must be there, what its bytes must be, how opening it in place ends."""
        if isinstance(error, FAULTS) and not trial.noted(ref.bucket):
            self._buckets.failures.record(ref.bucket, "get", ref.key, error)

    def _path(self, ref: ObjectRef) -> Path:
        store = self._buckets.store(ref.bucket)
        local = store.path(ref.key)
        if local is None:
            return self._cached(store, ref)
        try:
            self._check(local, ref)
        except ObjectMissing:
            store.head(ref.key)  # tells where all of the bucket is gone
            raise
        return local

    def _read(self, ref: ObjectRef) -> bytes:
        store = self._buckets.store(ref.bucket)
        if store.path(ref.key) is None:
            return self._cached(store, ref).read_bytes()
        data = store.get(ref.key)
        if len(data) != ref.size:
            raise _corrupt_size(ref, len(data))
        found = sha256_bytes(data)
        if found != ref.sha256:
            raise _corrupt_content(ref, found)
        return data

    def take(self, bucket: str, key: str) -> tuple[ObjectInfo, str]:
        """Facts and SHA-256 of an object that nothing refers to yet; a remote one is in the cache then. Never from the rescue bucket.

        The facts are of after it was read: an etag that was known before tells whether it stayed what it was. Raises what the store raises.
        """
        store = self._buckets.store(bucket)
        local = store.path(key)
        if local is None:
            return self._taken(store, key)
        rested = self._clock() - store.head(key).modified
        if 0 <= rested < _TICK:
            time.sleep(_TICK - rested)
        try:
            found = sha256_file(local)
        except OSError as error:
            store.head(key)
            raise storage_error(error, bucket=bucket, operation="get", path=local) from error
        return store.head(key), found

    def own(self, ref: ObjectRef, suffix: str) -> Path:
        """As `path`, of a remote object, but as a file of this process' own that nothing evicts. The caller removes it.

        suffix: of its name. Raises as `path` does, and DiskFull.
        """
        found = self.path(ref)
        try:
            held = self._staging.new()
            held = held.with_name(held.name + suffix)
            held.hardlink_to(found)
        except OSError as error:
            raise storage_error(error, bucket=ref.bucket, operation="cache", path=found) from error
        return held

    def copy_of(self, ref: ObjectRef) -> Path | None:
        """Where a remote object is once somebody has read it; None for one that is read in place. Raises BucketUnknown."""
        return self._place(ref) if self._buckets.store(ref.bucket).path(ref.key) is None else None

    def whole(self, ref: ObjectRef) -> bool:
        """Whether the object is there, as large as it should be, and not one whose content this process found damaged. A light look.

        Raises what the store raises, but for a missing object or bucket.
        """
        try:
            store = self._buckets.store(ref.bucket)
            if store.head(ref.key).size != ref.size:
                return False
            local = store.path(ref.key) if self._damaged else None
            if local is None:
                return True
            identity = _identity(local, ref)
        except (ObjectMissing, BucketUnknown):
            return False
        with self._lock:
            return identity not in self._damaged

    def lacking(self, refs: Collection[ObjectRef]) -> frozenset[ObjectRef]:
        """Those that are not `whole`. Of many, each bucket is asked at once, and then for each that was not seen as it should be."""
        by_bucket: dict[str, list[ObjectRef]] = defaultdict(list)
        for ref in refs:
            by_bucket[ref.bucket].append(ref)
        with self._lock:
            damaged = {sha256 for *_, sha256 in self._damaged}
        return frozenset(
            ref for bucket, inside in by_bucket.items() for ref in self._unseen(bucket, inside, damaged) if not self.whole(ref)
        )

    def _unseen(self, bucket: str, refs: list[ObjectRef], damaged: set[str]) -> list[ObjectRef]:
        """What a cheap look does not show to be whole."""
        try:
            sizes = self._buckets.store(bucket).sizes([ref.key for ref in refs]) if len(refs) > 1 else {}
        except BucketUnknown:
            return refs
        return [ref for ref in refs if sizes.get(ref.key) != ref.size or ref.sha256 in damaged]

    def folder(self) -> Path:
        """A new folder on the cache's filesystem, of this process alone and removed after it. Raises what the disk raises."""
        try:
            self._staging.reopen()  # the cache may have been removed
            folder = self._staging.new()
            folder.mkdir()
        except OSError as error:
            raise storage_error(error, bucket="cache", operation="stage", path=self._cache) from error
        return folder

    def sweep(self) -> int:
        """Remove what processes that died left half-downloaded; returns how many there were."""
        return self._staging.sweep()

    def _check(self, path: Path, ref: ObjectRef) -> None:
        """Compare size, and content unless this very file was compared before."""
        identity = _identity(path, ref)
        if identity[1] != ref.size:
            raise _corrupt_size(ref, identity[1])
        if self._knows(identity):
            return
        with self._turns.of(str(path)):
            if self._knows(identity):
                return
            try:
                found = sha256_file(path)
            except FileNotFoundError as error:
                raise ObjectMissing(ref.bucket, ref.key) from error
            except OSError as error:
                raise storage_error(error, bucket=ref.bucket, operation="get", path=path) from error
            if found != ref.sha256:
                with self._lock:
                    self._damaged.add(identity)
                raise _corrupt_content(ref, found)
            self._remember(identity)

    def _cached(self, store: ObjectStore, ref: ObjectRef) -> Path:
        path = self._place(ref)
        with self._turns.of(ref.sha256):
            try:
                self._check(path, ref)
            except ObjectMissing:
                self._download(store, ref, path)
            except ObjectCorrupt:
                path.unlink(missing_ok=True)  # the cache's copy is damaged, which says nothing about the object
                self._download(store, ref, path)
            try:
                now = self._clock()
                os.utime(path, (now, path.stat().st_mtime))  # atime is when it was used last; mtime stays its identity
            except FileNotFoundError:
                self._download(store, ref, path)
        return path

    def _download(self, store: ObjectStore, ref: ObjectRef, path: Path) -> None:
        try:
            staged = self._staging.new()
            try:
                size, found = _copy(store, ref, staged)
                if size != ref.size:
                    raise _corrupt_size(ref, size)
                if found != ref.sha256:
                    raise _corrupt_content(ref, found)
                self._keep(staged, ref, path)
            finally:
                staged.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(error, bucket=ref.bucket, operation="cache", path=path) from error

    def _taken(self, store: ObjectStore, key: str) -> tuple[ObjectInfo, str]:
        try:
            staged = self._staging.new()
            try:
                opened = store.open(key)
                size, found = _write(opened, staged)
                if size != opened.info.size:
                    raise BucketUnavailable(store.name, "get", f"{key} broke off after {size} of {opened.info.size} bytes")
                ref = ObjectRef(store.name, key, size, found)
                path = self._place(ref)
                with self._turns.of(found):
                    self._keep(staged, ref, path)
            finally:
                staged.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(error, bucket=store.name, operation="cache", path=self._cache) from error
        return opened.info, found

    def _place(self, ref: ObjectRef) -> Path:
        return self._cache / ref.sha256[:2] / ref.sha256

    def _keep(self, staged: Path, ref: ObjectRef, path: Path) -> None:
        """A verified file as the cache's. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        staged.replace(path)
        self._remember(_identity(path, ref))
        self._evict(keep=path)

    def _evict(self, keep: Path) -> None:
        """Remove what was used longest ago until the cache is within its bound. Looks at the disk: other processes add, too."""
        found = []
        for path in self._cache.glob("??/*"):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            found.append((stat.st_atime, stat.st_size, path))
        total = sum(size for _, size, _ in found)
        for used, size, path in sorted(found):
            if total <= self.max_bytes or used > self._clock() - GRACE:
                return
            if path != keep:
                path.unlink(missing_ok=True)
                total -= size

    def _knows(self, identity: _Identity) -> bool:
        with self._lock:
            return identity in self._verified

    def _remember(self, identity: _Identity) -> None:
        with self._lock:
            self._verified[identity] = None
            if len(self._verified) > REMEMBERED:
                self._verified.popitem(last=False)


def _identity(path: Path, ref: ObjectRef) -> _Identity:
    try:
        stat = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ObjectMissing(ref.bucket, ref.key) from error
    except OSError as error:
        raise storage_error(error, bucket=ref.bucket, operation="get", path=path) from error
    return str(path), stat.st_size, stat.st_mtime_ns, ref.sha256


def _copy(store: ObjectStore, ref: ObjectRef, target: Path) -> tuple[int, str]:
    """Bytes of the object and their SHA-256; an object of another size is not read."""
    opened = store.open(ref.key)
    if opened.info.size != ref.size:
        opened.pieces.close()
        return opened.info.size, ""
    return _write(opened, target)


def _write(opened: OpenObject, target: Path) -> tuple[int, str]:
    """Bytes that were written, and their SHA-256."""
    digest = hashlib.sha256()
    size = 0
    with target.open("wb") as file, closing(opened.pieces):
        for piece in opened.pieces:
            digest.update(piece)
            file.write(piece)
            size += len(piece)
    return size, digest.hexdigest()


def _corrupt_size(ref: ObjectRef, found: int) -> ObjectCorrupt:
    return ObjectCorrupt(ref.bucket, ref.key, expected=f"{ref.size} bytes", found=f"{found} bytes")


def _corrupt_content(ref: ObjectRef, found: str) -> ObjectCorrupt:
    return ObjectCorrupt(ref.bucket, ref.key, expected=f"sha256 {ref.sha256}", found=f"sha256 {found}")
