"""Discards: objects that a catalog entry lets go of are deleted after it; a crash in between does not leave them for ever.

    discards/<digest>.json    bucket and key of each: put before the entry, removed after the last of them is deleted

So nothing has to list a bucket to find what nobody refers to. A writer that starts settles what its predecessor left: what the catalog
still refers to stays, since the entry never came; the rest goes. Refuses to decide what goes. Next: `buckets.py`, `objects.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from specs.digests import digest
from state.buckets import Buckets
from state.errors import BucketUnknown
from state.failpoints import declare, hit
from state.objects import ObjectStore

NOTED = declare("discards.noted")
BEFORE_DELETE = declare("discards.before-delete")

_PREFIX = "discards/"

Place = tuple[str, str]
"""An object: its bucket and its key."""


class Discards:
    """Blocking, thread-safe. For the holder of the lease."""

    def __init__(self, store: ObjectStore, buckets: Buckets) -> None:
        """store: the state bucket. buckets: where the objects are."""
        self._store = store
        self._buckets = buckets

    @contextmanager
    def after(self, places: Iterable[Place]) -> Iterator[None]:
        """Deletes the objects after the block, which writes the entry that lets go of them.

        If the block fails, nothing is deleted now. Raises what the stores raise; then the rest is deleted by the next start.
        """
        going = sorted(set(places))
        if not going:
            yield
            return
        key = f"{_PREFIX}{digest([list(place) for place in going])}.json"
        self._store.put(key, json.dumps(going).encode())
        hit(NOTED)
        yield
        self._delete(going)
        self._store.delete(key)

    def settle(self, referred: Callable[[Place], bool]) -> int:
        """Deletes what former writers noted and nothing refers to; returns how many notes there were. Before anything else is written."""
        notes = [info.key for info in self._store.list(_PREFIX)]
        for key in notes:
            self._delete(place for bucket, name in json.loads(self._store.get(key)) if not referred(place := (bucket, name)))
            self._store.delete(key)
        return len(notes)

    def _delete(self, places: Iterable[Place]) -> None:
        for bucket, key in places:
            hit(BEFORE_DELETE)
            try:
                self._buckets.store(bucket).delete(key)
            except BucketUnknown:
                continue  # detached since: objects never go with a bucket
