"""What lies in buckets and nothing refers to: the one finder of `lakectl fsck`, which tells, and `lakectl gc`, which removes.

Only objects under `datasets/` and `indexes/` are looked at; everything else in a bucket is either the state's own or not ours. An object's
age counts from when it was written or from when the catalog let go of it, whichever is later: a file of a year ago that an entry of a
minute ago removed may still be read. What results of jobs name, and wait for their entry with, counts as referred to.

It refuses to delete. Next: `references.py`, `garbage.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from state.buckets import Buckets
from state.catalog.catalog import Catalog
from state.catalog.entry import TableCommit
from state.catalog.log import Unreadable
from state.objects import ObjectInfo, ObjectStore
from state.places import BucketConfig
from state.references import Place, References, all_references
from state.timestamps import from_iso

FOLDERS = ("datasets/", "indexes/")
OWNERS = {"datasets": "Dataset", "indexes": "Index"}


@dataclass(frozen=True, slots=True)
class Unreferred:
    """An object that nothing refers to.

    Args:
        since: from when its age counts, in Unix seconds.
        etag: as when it was seen.
        known: whether the catalog knows its owner, or did; else it may be another lake's, or of a catalog that was lost.
    """

    bucket: str
    key: str
    size: int
    since: float
    etag: str
    known: bool = True

    @property
    def owner(self) -> str:
        """Whose folder it lies in, as "Kind/name"."""
        return owner_of(self.key)


def owner_of(key: str) -> str:
    """Whose folder a key of `FOLDERS` is in, as "Kind/name"."""
    folder, _, rest = key.partition("/")
    return f"{OWNERS[folder]}/{rest.partition('/')[0]}"


@dataclass(frozen=True, slots=True)
class Retention:
    """How long what nothing refers to is kept, in seconds: `default`, unless a bucket says otherwise."""

    default: float
    buckets: Mapping[str, float]

    def of(self, bucket: str) -> float:
        """Of this bucket."""
        return self.buckets.get(bucket, self.default)

    @property
    def longest(self) -> float:
        """Of any bucket."""
        return max([self.default, *self.buckets.values()])


class Finder:
    """What nothing refers to, as of the catalog when it was made. Blocking."""

    def __init__(self, catalog: Catalog, configs: Mapping[str, BucketConfig], since: datetime, kept: Iterable[Place] = ()) -> None:
        """since: how far back it matters what the catalog let go of. kept: what counts as referred to besides."""
        self._view = catalog.view()
        places = [(ref.bucket, ref.key) for _, ref in all_references(catalog.objects())]
        self._references = References([*places, *kept], configs)
        self._configs = configs
        self._let_go = _let_go(catalog, since)

    @property
    def unread(self) -> tuple[Unreadable, ...]:
        """Entries of the log that could not be read."""
        return self._let_go.unread

    def needs(self, bucket: str, key: str) -> bool:
        """Whether anything refers to this object, or to what it is a copy of."""
        return self._references.needs(bucket, key)

    def since(self, info: ObjectInfo) -> float:
        """From when the age of an object counts, in Unix seconds. A key let go of in any bucket counts in all: there may be copies.

        An entry that cannot be read may have let go of anything.
        """
        return max(info.modified, self._let_go.keys.get(info.key, 0.0), self._let_go.doubt)

    def find(self, bucket: str, infos: Iterable[ObjectInfo]) -> Iterator[Unreferred]:
        """Of these objects of the bucket, as `listed` gives them; whatever their age. What lies in a bucket within it is for that one."""
        within = _within(self._configs, bucket)
        for info in infos:
            if not info.key.startswith(within) and not self.needs(bucket, info.key):
                known = self._view.peek(owner_of(info.key)) is not None
                yield Unreferred(bucket, info.key, info.size, self.since(info), info.etag, known)


def _within(configs: Mapping[str, BucketConfig], bucket: str) -> tuple[str, ...]:
    """How keys start that lie in other buckets within this one. Endpoints are not compared: one server has many."""
    servers = {name: replace(config, service=config.service and replace(config.service, endpoint=None)) for name, config in configs.items()}
    places = (other.below(servers[bucket]) for other in servers.values()) if bucket in servers else ()
    return tuple(f"{place}/" for place in places if place)


def listed(store: ObjectStore) -> Iterator[ObjectInfo]:
    """What lies where tables and indexes are kept, by key. Raises what listing raises."""
    for folder in FOLDERS:
        yield from store.list(folder)


@dataclass(frozen=True, slots=True)
class _LetGo:
    """When the catalog last let go of keys, in Unix seconds; `doubt`: until when entries that cannot be read may have, 0 without any."""

    keys: Mapping[str, float]
    doubt: float
    unread: tuple[Unreadable, ...]


def _let_go(catalog: Catalog, since: datetime) -> _LetGo:
    """By the entries that are not older. Newest first, so that old ones are not read."""
    keys: dict[str, float] = {}
    unread: list[Unreadable] = []
    doubt, following = 0.0, math.inf
    for seq in range(catalog.seq, 0, -1):
        entry = next(catalog.readable(after=seq - 1, limit=1), None)
        if entry is None:
            continue
        if isinstance(entry, Unreadable):
            unread.append(entry)
            doubt = max(doubt, following)
            continue
        at = from_iso(entry.at)
        if at < since:
            break
        following = at.timestamp()
        for change in entry.changes:
            for key in (*change.remove, *change.drop) if isinstance(change, TableCommit) else ():
                keys.setdefault(key, following)
    return _LetGo(keys, doubt, tuple(unread))


def places_in(document: object) -> Iterator[Place]:
    """Every reference within a JSON document, however deep: what a job's result names."""
    if isinstance(document, Mapping):
        if isinstance(document.get("bucket"), str) and isinstance(document.get("key"), str):
            yield document["bucket"], document["key"]
        for value in document.values():
            yield from places_in(value)
    elif isinstance(document, list | tuple):
        for value in document:
            yield from places_in(value)


def ago(now: datetime, seconds: float) -> datetime:
    """An instant so long before now, or the first there is."""
    try:
        return datetime.fromtimestamp(now.timestamp() - seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.min.replace(tzinfo=UTC)


def attached(buckets: Buckets) -> Iterator[tuple[str, ObjectStore]]:
    """Each place once, by the first of its names: two names of one place hold the same objects."""
    seen: set[object] = set()
    for name, config in buckets.configs().items():
        place = (config.backend, config.root, config.prefix, config.service)
        if place not in seen:
            seen.add(place)
            yield name, buckets.store(name)
