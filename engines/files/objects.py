"""Objects of a bucket as source files: the two jobs that read them.

`identify` reads each object once, for its digest: by it a copy is told from something new, and by etag and digest together nobody reads
the object again. `ingest` gives the files of a batch local places: objects of a local bucket are opened where they are, others come through
the verified cache that all readers share, and are held until the job ends. What is not as when its digest was taken is FileChanged.

It refuses to list, and to decide what is new. Next: `batch.py`, which reads the files; `state/reader.py` for the cache.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Self

from engines.errors import FileChanged
from engines.files.batch import Batch, ingest_batch
from engines.files.ingest_task import IngestTask
from engines.files.object_place import ObjectPlace
from engines.jobs.job import Progress
from state.buckets import job_store
from state.errors import BucketUnavailable, ObjectCorrupt, ObjectMissing
from state.objects import ObjectInfo, ObjectRef, ObjectStore
from state.reader import ObjectReader

AT_ONCE = 8
"""Objects that are read at a time for their digests: many are small, and a request takes longer than their bytes."""


def etag_of(info: ObjectInfo) -> str:
    """By which a change is seen; of a server that gives none, by the second."""
    return info.etag or f"modified {int(info.modified)}"


@dataclass(frozen=True, slots=True)
class IdentifyTask:
    """objects: as they were listed."""

    place: ObjectPlace
    objects: tuple[ObjectInfo, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        return {"place": self.place.to_dict(), "objects": [asdict(info) for info in self.objects]}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Raises KeyError or TypeError for what `to_dict` does not make."""
        return cls(ObjectPlace.from_dict(document["place"]), tuple(ObjectInfo(**info) for info in document["objects"]))


@dataclass(frozen=True, slots=True)
class Identified:
    """What became of objects, by key. digests: SHA-256 of those that are what was listed; unreadable: of others, why they cannot be read.
    In neither are those that changed meanwhile: the next listing shows what they are now."""

    digests: Mapping[str, str]
    unreadable: Mapping[str, str]


def identify(arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """An `IdentifyTask` in, an `Identified` out, both as JSON. progress: in bytes. Blocking.

    Raises DiskFull; BucketUnavailable where none of the objects can be read; FileChanged where all of them changed.
    """
    task = IdentifyTask.from_dict(arguments)
    reader, bucket = task.place.reader(), task.place.bucket.name
    total, tally, lock = sum(info.size for info in task.objects), 0, threading.Lock()

    def one(info: ObjectInfo) -> str | BucketUnavailable | ObjectMissing | None:
        nonlocal tally
        try:
            found, digest = reader.take(bucket, info.key)
        except (BucketUnavailable, ObjectMissing) as error:
            return error
        with lock:
            tally += info.size
            progress(tally, total)
        return digest if (found.size, etag_of(found)) == (info.size, etag_of(info)) else None

    with ThreadPoolExecutor(AT_ONCE) as threads:
        found = dict(zip((info.key for info in task.objects), threads.map(one, task.objects), strict=True))
    digests = {key: each for key, each in found.items() if isinstance(each, str)}
    failed = {key: each for key, each in found.items() if isinstance(each, BucketUnavailable | ObjectMissing)}
    if not digests and len(failed) == len(found):
        for error in failed.values():
            if isinstance(error, BucketUnavailable):
                raise error
    if not digests and not failed:
        raise FileChanged(f"{bucket}/{next(iter(found))}", "changed while it was read")
    return asdict(Identified(digests, {key: _why(error) for key, error in failed.items()}))


def _why(error: BucketUnavailable | ObjectMissing) -> str:
    if isinstance(error, ObjectMissing):
        return "is listed, and nothing is there under this key; remove it, if it is not gone by itself"
    return f"cannot be read: {error}".removesuffix(".")


@dataclass(frozen=True, slots=True)
class SourceObject:
    """What a file of the batch is read from. etag: as it was listed; sha256: of its bytes."""

    key: str
    etag: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ObjectsTask:
    """batch: whose tasks lack a path where they are of an object. objects: by the digest of their task."""

    place: ObjectPlace
    batch: Batch
    objects: Mapping[str, SourceObject]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the inverse of `from_dict`."""
        objects = {digest: asdict(each) for digest, each in self.objects.items()}
        return {"place": self.place.to_dict(), "batch": self.batch.to_dict(), "objects": objects}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Raises KeyError or TypeError for what `to_dict` does not make."""
        objects = {digest: SourceObject(**each) for digest, each in document["objects"].items()}
        return cls(ObjectPlace.from_dict(document["place"]), Batch.from_dict(document["batch"]), objects)


def ingest(arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """An `ObjectsTask` in, a `BatchResult` out, both as JSON. Blocking. The disk has to hold the remote objects of the batch.

    Raises as an ingest of files does, and BucketUnavailable of the source.
    """
    task = ObjectsTask.from_dict(arguments)
    reader, store, objects = task.place.reader(), job_store(task.place.bucket), task.objects
    with ExitStack() as stack:
        tasks = tuple(
            _placed(reader, store, each, objects[each.digest], stack) if each.digest in objects else each for each in task.batch.tasks
        )
        return ingest_batch(replace(task.batch, tasks=tasks), progress, job_store(tasks[0].target)).to_dict()


def _placed(reader: ObjectReader, store: ObjectStore, task: IngestTask, source: SourceObject, stack: ExitStack) -> IngestTask:
    """The task with a local file, and what stat says of it: nothing but the very bytes of its digest passes for it from here on."""
    try:
        path = store.path(source.key)
        if path is None:
            ref = ObjectRef(store.name, source.key, source.size, source.sha256)
            # readers tell a compressed file by its name
            path = reader.own(ref, ".gz" if source.key.endswith(".gz") else "")
            stack.callback(partial(path.unlink, missing_ok=True))
            facts = path.stat()
        else:
            facts = path.stat()
            if etag_of(store.head(source.key)) != source.etag:
                raise FileChanged(task.display_path, "was replaced since its digest was taken")
    except (ObjectMissing, ObjectCorrupt, FileNotFoundError) as error:
        raise FileChanged(task.display_path, "is gone, or was replaced, since its digest was taken") from error
    return replace(task, path=str(path), size=facts.st_size, mtime_ns=facts.st_mtime_ns)
