"""Garbage: removes what nothing refers to once its retention is over, for the holder of the lease.

What `Finder` finds is a suspicion of a moment ago. Before each single delete, under the guard of its owner, so that nobody begins to store
or to refer to anything of it meanwhile: the lease is still held, the catalog as it is now does not refer to the object, and the object is
still the one that was seen, and old enough by the clock that stamped it. A process killed in between has deleted what nobody needs, or has
not; there is nothing to clean up after it.

It refuses to decide how long is long enough, and to touch anything outside `FOLDERS`. Next: `unreferred.py`, which finds.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

from state.buckets import Buckets
from state.catalog.catalog import Catalog
from state.errors import ObjectMissing, StateError
from state.failpoints import declare, hit
from state.objects import ObjectStore
from state.references import Place
from state.unreferred import Finder, Retention, Unreferred, ago, attached, listed

BEFORE_DELETE = declare("garbage.before-delete")
AFTER_DELETE = declare("garbage.after-delete")

_log = logging.getLogger(__name__)

Guard = Callable[[str], AbstractContextManager[bool]]
"""Keeps everybody from working on an owner ("Kind/name") while it is held; False where work on it is under way already."""


@dataclass(slots=True)
class Tally:
    """Objects and their bytes, in one bucket."""

    objects: int = 0
    size: int = 0

    def add(self, size: int) -> None:
        """One more object."""
        self.objects += 1
        self.size += size


@dataclass(slots=True)
class Collection:
    """What may go or went, by bucket. `items`: what may go, where nothing was removed. `waiting` is too young, `busy` is left since its
    owner is at work, `foreign` since the catalog never knew its owner. `failed`: bucket and reason."""

    buckets: dict[str, Tally] = field(default_factory=dict)
    items: list[Unreferred] = field(default_factory=list)
    waiting: Tally = field(default_factory=Tally)
    busy: Tally = field(default_factory=Tally)
    foreign: list[Unreferred] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def total(self) -> Tally:
        """Over all buckets."""
        return Tally(sum(tally.objects for tally in self.buckets.values()), sum(tally.size for tally in self.buckets.values()))


class Garbage:
    """Blocking. For one thread at a time."""

    def __init__(
        self,
        catalog: Catalog,
        buckets: Buckets,
        retention: Retention,
        clock: Callable[[], datetime],
        kept: Callable[[], Iterable[Place]],
    ) -> None:
        """kept: what counts as referred to besides the catalog: results of jobs that wait for their entry."""
        self._catalog = catalog
        self._buckets = buckets
        self._retention = retention
        self._clock = clock
        self._kept = kept
        self._known: tuple[int, Finder] | None = None

    def look(self) -> Collection:
        """What would go now. Deletes nothing, needs no lease."""
        found = Collection()
        for bucket, _, garbage in self._per_bucket(found, lambda _: self._clock().timestamp()):
            for item in garbage:
                found.buckets.setdefault(bucket, Tally()).add(item.size)
            found.items += garbage
        return found

    def collect(self, lease: Callable[[], object], guard: Guard) -> Collection:
        """Removes it. lease: raises LeaseLost where it is held no more. A bucket that fails is left for another time."""
        gone = Collection()
        for bucket, store, garbage in self._per_bucket(gone, self._now_at):
            try:
                for owner, items in groupby(garbage, key=lambda item: item.owner):
                    with guard(owner) as free:
                        for item in items:
                            if not free:
                                gone.busy.add(item.size)
                            elif self._remove(store, item, lease):
                                gone.buckets.setdefault(bucket, Tally()).add(item.size)
            except StateError as error:
                if not self._is_of(bucket, error):
                    raise
                gone.failed[bucket] = error.explain()
        return gone

    def _per_bucket(self, into: Collection, now: Callable[[ObjectStore], float]) -> Iterator[tuple[str, ObjectStore, list[Unreferred]]]:
        """What is old enough, by key. now: the present by the clock of a store, in Unix seconds."""
        finder = self._finder()
        for bucket, store in attached(self._buckets):
            try:
                present = min(now(store), self._clock().timestamp())
                found = list(finder.find(bucket, listed(store)))
            except StateError as error:
                into.failed[bucket] = error.explain()
                continue
            before = present - self._retention.of(bucket)
            for item in found:
                if not item.known:
                    into.foreign.append(item)
                elif item.since > before:
                    into.waiting.add(item.size)
            yield bucket, store, [item for item in found if item.known and item.since <= before]

    def _finder(self) -> Finder:
        """By the catalog as it is now; made anew where that moved on."""
        seq = self._catalog.seq
        if self._known is None or self._known[0] != seq:
            since = ago(self._clock(), self._retention.longest)
            self._known = seq, Finder(self._catalog, self._buckets.configs(), since, self._kept())
        return self._known[1]

    def _remove(self, store: ObjectStore, item: Unreferred, lease: Callable[[], object]) -> bool:
        """Whether the object was removed; it stays where anything is not as it was."""
        lease()
        try:
            if store.head(item.key).etag != item.etag:
                return False
        except ObjectMissing:
            return False
        if self._finder().needs(item.bucket, item.key):
            return False
        hit(BEFORE_DELETE)
        store.delete(item.key)
        hit(AFTER_DELETE)
        return True

    def _now_at(self, store: ObjectStore) -> float:
        """The present by the clock that stamps this store's objects: ages must not depend on whose clock is wrong."""
        key = f"probe/gc-{secrets.token_hex(8)}"
        store.put(key, b"")
        try:
            return store.head(key).modified
        finally:
            store.delete(key)

    def _is_of(self, bucket: str, error: StateError) -> bool:
        return getattr(error, "bucket", None) == bucket


def as_rows(tallies: Mapping[str, Tally]) -> list[dict[str, object]]:
    """As `-o json` has it, by bucket."""
    return [{"bucket": name, "objects": tally.objects, "bytes": tally.size} for name, tally in sorted(tallies.items())]


def in_words(tallies: Mapping[str, Tally]) -> str:
    """For people: `3 objects (1.2 MB) of bucket archive, …`; empty for nothing."""
    parts = (
        f"{tally.objects:,} object{'s' if tally.objects != 1 else ''} ({tally.size / 1e6:.1f} MB) of bucket {name}"
        for name, tally in sorted(tallies.items())
    )
    return ", ".join(parts)
