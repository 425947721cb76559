"""The objects of a bucket that a Dataset follows, listed as files are: path `bucket/key`, bound to the digest of their content.

A listing tells no content. What an object's is, is known by its etag: from the table's own record, which remembers etag and digest of what
it read, or from a job of this process that read the object once (`Identify`). So looking again reads nothing, nor does a restart. What
matches and cannot be read is named with the reason. What Lakehouse wrote itself is no source; nor are the empty objects by which programs
mark folders.

It reads no object. Next: `files.py` for what files and objects have in common; `engines/files/objects.py`, the jobs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from posixpath import splitext

from controllers.dataset import origins
from controllers.dataset.files import Listing, SourceFile, Unusable, format_of, identity
from controllers.dataset.steps import Follow, Identify
from controllers.jobs import job_weight, run_job
from controllers.outcome import Failed, Outcome, Waiting
from controllers.step import Started
from engines.files.batch import Batch
from engines.files.formats import FORMATS, named_format
from engines.files.object_place import ObjectPlace
from engines.files.objects import Identified, IdentifyTask, ObjectsTask, SourceObject, etag_of
from engines.jobs.executor import Executor
from engines.jobs.job import Job
from specs.digests import digest
from specs.kinds.dataset import DatasetSpec
from specs.resource import Key, Resource
from state import reasons
from state.buckets import Buckets
from state.catalog.tables import ObjectVersion, Table
from state.errors import BucketUnavailable, BucketUnknown, KeyInvalid, SecretError, StateError
from state.lake_keys import PROBES, lake_keys
from state.objects import ObjectInfo, check_key
from state.places import BucketConfig
from state.reader import ObjectReader

TRIED_AGAIN = 60.0
"""Seconds after which an object that could not be read is tried again, when its dataset is looked at."""
_REQUEST = 64 << 10
"""What a request counts as in a job's weight, in bytes."""


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """Why an object could not be read, and when: monotonic seconds."""

    etag: str
    reason: str
    at: float


class SourceObjects:
    """Lists objects, and has them read. Thread-safe; blocking.

    Args:
        keeps: whether Lakehouse keeps state, tables or indexes in a bucket.
        hidden: folders that no bucket's objects are in, also where one lies around them: the cache, git's own.
        wanted: the spec in force of another object.
    """

    def __init__(
        self,
        buckets: Buckets,
        objects: ObjectReader,
        executor: Executor,
        keeps: Callable[[str], bool],
        hidden: Sequence[Path],
        wanted: Callable[[Key], Resource | None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._buckets, self._objects, self._executor = buckets, objects, executor
        self._keeps, self._hidden, self._wanted, self._monotonic = keeps, hidden, wanted, monotonic
        self._lock = threading.Lock()
        self._known: dict[BucketConfig, dict[str, ObjectVersion]] = {}  # by key
        self._unreadable: dict[BucketConfig, dict[str, _Unreadable]] = {}
        self._forgotten: tuple[tuple[str, str], ...] = ()  # buckets and prefixes whose bindings are not believed
        self._begun: dict[str, str] = {}  # the last ingest's job, by Dataset

    def look(self, resource: Resource, table: Table | None) -> tuple[Listing, Outcome | None]:
        """What is there; or what the table followed last, and why nobody can tell.

        While an ingest runs, what came since is left for when it is over: it would else be begun for ever.
        """
        spec = resource.spec_as(DatasetSpec)
        name = spec.source.bucket
        assert name is not None
        try:
            listing = self._list(spec, table)
            return (self._as_before(listing, name, table) if self._runs(resource) else listing), None
        except (BucketUnknown, BucketUnavailable, SecretError) as error:
            return origins.as_bound(table) if table is not None else Listing(), self._away(name, error, table)

    def forget(self, bucket: str, prefix: str) -> None:
        """Has all objects read again when they are looked at next (`lakectl resync`)."""
        try:
            config = self._buckets.config(bucket)
        except BucketUnknown:
            return
        with self._lock:
            self._forgotten = tuple({*self._forgotten, (bucket, prefix)})
            known, unreadable = self._known.get(config, {}), self._unreadable.get(config, {})
            self._known[config] = {key: version for key, version in known.items() if not key.startswith(prefix)}
            self._unreadable[config] = {key: why for key, why in unreadable.items() if not key.startswith(prefix)}

    def identify(self, resource: Resource, step: Identify) -> Started | None:
        """Has the objects read for their digests, which are remembered. Raises what the job raises."""
        place = self._place(step.bucket)
        task = IdentifyTask(place, step.objects).to_dict()
        weight = job_weight(sum(info.size + _REQUEST for info in step.objects), place.bucket)
        job = Job(digest(["identify", task]), "identify", "engines.files.objects:identify", task, weight, str(resource.key))
        value = run_job(self._executor, job, reasons.INGESTING, step.summary())
        if isinstance(value, Started):
            return value
        found, now = Identified(**value), self._monotonic()
        with self._lock:
            known, unreadable = self._known.setdefault(place.bucket, {}), self._unreadable.setdefault(place.bucket, {})
            for info in step.objects:
                if info.key in found.digests:
                    known[info.key] = ObjectVersion(etag_of(info), found.digests[info.key])
                    unreadable.pop(info.key, None)
                elif info.key in found.unreadable:
                    unreadable[info.key] = _Unreadable(etag_of(info), found.unreadable[info.key], now)
        self._executor.forget(job.id)
        return None

    def job(self, job: Job, bucket: str, step: Follow) -> Job:
        """The ingest of files as one of objects."""
        place = self._place(bucket)
        start = len(place.bucket.name) + 1
        objects = {
            file.digest: SourceObject(file.path[start:], file.object.etag, file.size, file.object.sha256)
            for file in step.ingest
            if file.object is not None
        }
        arguments = ObjectsTask(place, Batch.from_dict(job.arguments), objects).to_dict()
        weight = job_weight(job.weight, place.bucket)
        made = replace(job, id=digest(["ingest", arguments]), function="engines.files.objects:ingest", arguments=arguments, weight=weight)
        self._begun[job.object] = made.id
        return made

    def _runs(self, resource: Resource) -> bool:
        """Whether an ingest is under way, or has a result that nobody took yet."""
        return self._executor.has(self._begun.get(str(resource.key), ""))

    def _as_before(self, listing: Listing, bucket: str, table: Table | None) -> Listing:
        """With what is bound in place of what was replaced since, and nothing new."""
        paths = {f"{bucket}/{info.key}" for info in listing.unread}
        bound = [file for file in origins.as_bound(table).files if file.path in paths] if table is not None else []
        return replace(listing, files=tuple(sorted((*listing.files, *bound), key=lambda file: file.path)), unread=())

    def _place(self, bucket: str) -> ObjectPlace:
        return ObjectPlace(self._buckets.config(bucket), str(self._objects.cache_dir), self._objects.max_bytes)

    def _away(self, name: str, error: StateError, table: Table | None) -> Outcome:
        bucket = f"Bucket/{name}"
        if not isinstance(error, BucketUnknown):
            stays = f"version {table.version} stays served" if table is not None and table.columns else "there is nothing to serve yet"
            return Failed(reasons.BUCKET_UNAVAILABLE, f"{error.explain()} It is the source: {stays}.")
        if self._wanted(Key("Bucket", name)) is not None:
            return Waiting(reasons.DEPENDENCY_NOT_READY, f"{bucket}, the source, is not open", blocked_by=bucket)
        return Waiting(reasons.REFERENCE_MISSING, f"{bucket}, the source, is not there; declare it", blocked_by=bucket)

    def _list(self, spec: DatasetSpec, table: Table | None) -> Listing:
        """Raises what the store raises."""
        name, prefix, form = str(spec.source.bucket), spec.source.prefix, spec.source.format
        config = self._buckets.config(name)
        ours = _Ours(config, self._buckets.configs().values(), self._hidden, self._keeps)
        if prefix and ours.holds(prefix):
            return Listing(unusable=(Unusable(f"{name}/{prefix}", "is where Lakehouse keeps its own; keep source objects apart from it"),))
        files: list[SourceFile] = []
        unusable: list[Unusable] = []
        unread: list[ObjectInfo] = []
        known, failed = self._known.get(config, {}), self._unreadable.get(config, {})
        bound = table if config.backend != "memory" else None  # its etags begin anew in each process
        listed = [info for info in self._buckets.store(name).list(prefix) if not ours.holds(info.key)]
        self._let_go(config, prefix, {info.key for info in listed})
        for info in _without_markers(listed):
            path = f"{name}/{info.key}"
            why = _fault(name, info.key, form) or self._unread(failed.get(info.key), info)
            if why is not None:
                shown = path if path.isprintable() else path.encode("unicode_escape").decode()
                unusable.append(Unusable(shown, why))
                continue
            version = self._version(known.get(info.key), path, info, bound)
            if version is None:
                unread.append(info)
                continue
            content = identity(path, format_of(info.key, form), version.sha256)
            files.append(SourceFile(path, content, info.size, int(info.modified * 1e9), object=version))
        return Listing(tuple(files), tuple(unusable), tuple(unread))

    def _let_go(self, bucket: BucketConfig, prefix: str, listed: Set[str]) -> None:
        """Of what is known of objects that are gone: keys of a bucket that is written to all the time are never the same ones."""
        with self._lock:
            for known in (self._known.get(bucket, {}), self._unreadable.get(bucket, {})):
                for key in [key for key in known if key.startswith(prefix) and key not in listed]:
                    del known[key]

    def _unread(self, failed: _Unreadable | None, info: ObjectInfo) -> str | None:
        """Why the object could not be read a moment ago."""
        if failed is None or failed.etag != etag_of(info) or self._monotonic() - failed.at > TRIED_AGAIN:
            return None
        return failed.reason

    def _version(self, known: ObjectVersion | None, path: str, info: ObjectInfo, table: Table | None) -> ObjectVersion | None:
        """What its content is, if this process or the table knows."""
        etag = etag_of(info)
        if known is not None and known.etag == etag:
            return known
        if table is None or any(path.startswith(f"{bucket}/{prefix}") for bucket, prefix in self._forgotten):
            return None
        seen = [record.object for record in (table.binding(path), table.refusals.get(path)) if record is not None]
        return next((version for version in seen if version is not None and version.etag == etag), None)


class _Ours:
    """Which keys of a bucket are of what Lakehouse wrote, also where a bucket of it lies within this one, or around it."""

    def __init__(self, source: BucketConfig, buckets: Iterable[BucketConfig], hidden: Sequence[Path], keeps: Callable[[str], bool]) -> None:
        self._starts = [(start, bucket.name) for bucket in buckets for start in lake_keys(bucket, source)]
        folders = [BucketConfig("", "local", str(folder)).below(source) for folder in hidden]
        self._hidden = tuple(f"{folder}/" for folder in folders if folder)
        self._all = (*(start for start, _ in self._starts), *self._hidden)
        self._keeps = keeps
        self._kept: dict[str, bool] = {}

    def holds(self, key: str) -> bool:
        """Whether the key is one of them. A bucket in which Lakehouse keeps nothing has none but what tries whether it works."""
        if not key.startswith(self._all):
            return False
        if key.startswith(self._hidden):
            return True
        return any(start.endswith(PROBES) or self._is_kept(name) for start, name in self._starts if key.startswith(start))

    def _is_kept(self, name: str) -> bool:
        if name not in self._kept:
            self._kept[name] = self._keeps(name)
        return self._kept[name]


def _fault(bucket: str, key: str, form: str | None) -> str | None:
    """Why an object can be no source."""
    try:
        check_key(bucket, key)
    except KeyInvalid as error:
        return f"has a key that cannot be read: {error.reason}"
    if form is None and named_format(key) is None:
        return f"has no format that is read; known suffixes are {', '.join(FORMATS)}; say `source.format`, or narrow `source.prefix`"
    return None


def _without_markers(listed: Sequence[ObjectInfo]) -> Iterable[ObjectInfo]:
    """All but empty objects that stand for a folder: others lie below them, or their name has no suffix."""
    if all(info.size for info in listed):
        return listed
    folders = {str(folder) for info in listed for folder in PurePosixPath(info.key).parents}
    return (info for info in listed if info.size or (info.key not in folders and splitext(info.key)[1]))
