"""Mirrors: what a bucket has that its rescue bucket lacks, and how far that one is behind.

Only what is new counts. What is gone from a bucket stays in its mirror, since that is when it is needed. What lies in both is copied
again only if it was written anew; whoever copies (`engines/mirroring.py`) checks it against the catalog before it takes the place of a
good copy, and never replaces what is written once. Objects of the moment (the lease, requests, probes) are left out: a copy of them would
say what is not so any more.

A pass in progress leaves a mirror that is whole for what it has: data comes before the catalog that refers to it.
It refuses to copy, and to delete. Next: `controllers/bucket/`, which decides when.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from state.catalog.fold import ObjectState
from state.objects import ObjectInfo, ObjectStore
from state.references import all_references

LEFT_OUT = ("lease/", "probe/", "requests/", "discards/")
WRITTEN_ONCE = ("catalog/log/", "streams/")
_REFERRING = "catalog/"


@dataclass(frozen=True, slots=True)
class Copy:
    """An object to be copied. sha256: what it must be, where the catalog says so; replaces: another lies under its key."""

    key: str
    size: int
    etag: str
    modified: float
    sha256: str | None = None
    replaces: bool = False

    @property
    def refers(self) -> bool:
        """Whether it refers to other objects, which have to be there before it."""
        return self.key.startswith(_REFERRING)


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a mirror is behind.

    Args:
        bucket: the rescue bucket.
        objects, size: what it lacks, and of how many bytes.
        oldest: when the oldest of them was written, in Unix seconds; None if nothing is lacking.
        at: when that was so.
        damaged: keys that are not copied, since they are not what the catalog says.
    """

    bucket: str
    objects: int
    size: int
    oldest: float | None
    at: float
    damaged: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Since the oldest object that is lacking was written; 0 if none is."""
        return 0.0 if self.oldest is None else max(0.0, self.at - self.oldest)


class Mirrors:
    """The mirrors of a process as they were last seen. Thread-safe."""

    def __init__(self) -> None:
        """None was seen yet."""
        self._lock = threading.Lock()
        self._lags: dict[str, Lag] = {}

    def note(self, bucket: str, lag: Lag | None) -> None:
        """How it stands with a bucket's mirror; None: it has none any more."""
        with self._lock:
            if lag is None:
                self._lags.pop(bucket, None)
            else:
                self._lags[bucket] = lag

    def lag(self, bucket: str) -> Lag | None:
        """None where the bucket has no mirror, or nobody looked yet."""
        with self._lock:
            return self._lags.get(bucket)


def missing(source: ObjectStore, target: ObjectStore, known: Callable[[str], str | None]) -> Iterator[Copy]:
    """What the target lacks, by key. known: the etag of the source's object that was copied last under a key, if that was seen.

    Blocking. Raises what listing raises.
    """
    for ours, theirs in _beside(source.list(), target.list()):
        if ours.key.startswith(LEFT_OUT):
            continue
        if theirs is None:
            yield Copy(ours.key, ours.size, ours.etag, ours.modified)
        elif not ours.key.startswith(WRITTEN_ONCE) and known(ours.key) != ours.etag and _newer(ours, theirs):
            yield Copy(ours.key, ours.size, ours.etag, ours.modified, replaces=True)


def in_order(copies: Iterator[Copy]) -> list[Copy]:
    """As they are to be copied: what is referred to before what refers to it."""
    return sorted(copies, key=lambda copy: (copy.refers, copy.key))


def expected(copies: list[Copy], bucket: str, objects: Mapping[str, ObjectState]) -> list[Copy]:
    """The same, each with what the catalog says that it must be."""
    wanted = {copy.key for copy in copies}
    known = {ref.key: ref.sha256 for _, ref in all_references(objects) if ref.bucket == bucket and ref.key in wanted}
    return [replace(copy, sha256=known.get(copy.key)) for copy in copies]


def _newer(ours: ObjectInfo, theirs: ObjectInfo) -> bool:
    """Whether ours was written after theirs was copied, as far as the two stores' clocks tell, or is another for certain."""
    return ours.size != theirs.size or ours.modified > theirs.modified


def _beside(ours: Iterator[ObjectInfo], theirs: Iterator[ObjectInfo]) -> Iterator[tuple[ObjectInfo, ObjectInfo | None]]:
    """Each of ours with theirs of the same key; both come by key."""
    held = next(theirs, None)
    for info in ours:
        while held is not None and held.key < info.key:
            held = next(theirs, None)
        yield info, held if held is not None and held.key == info.key else None
