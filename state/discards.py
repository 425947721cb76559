"""Discards: objects that a catalog entry lets go of are deleted after it; a crash in between does not leave them for ever.

    discards/<digest>.json    whose they are, the catalog's entry before, bucket and key of each: put before the entry that lets go of
                              them, removed after the last of them is deleted

So nothing has to list a bucket to find what nobody refers to. A writer that starts settles what its predecessor left, by the log: if the
entry never came, everything stays, former versions included; if it did, what is needed again stays, and the rest goes.
Refuses to decide what goes. Next: `buckets.py`, `catalog/catalog.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import orjson

from specs.digests import digest
from state.buckets import Buckets
from state.catalog.catalog import Catalog
from state.catalog.entry import Dropped
from state.catalog.index_changes import BuildAdded, Forgotten, Served, ServedBeside, TruthMade
from state.errors import BucketUnknown, ObjectMissing, StateError
from state.failpoints import declare, hit
from state.objects import ObjectInfo, ObjectStore
from state.references import Place, all_references

NOTED = declare("discards.noted")
BEFORE_DELETE = declare("discards.before-delete")

_PREFIX = "discards/"
_LETS_GO = (BuildAdded, Dropped, Forgotten, Served, ServedBeside, TruthMade)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Note:
    """`object` is whose they are, `seq` the last entry before the one that is to let go of them; `noted` in Unix seconds."""

    object: str
    seq: int
    places: tuple[Place, ...]
    noted: float = 0.0

    def encode(self) -> bytes:
        return orjson.dumps({"object": self.object, "seq": self.seq, "places": self.places})

    @classmethod
    def decode(cls, data: bytes, noted: float) -> _Note:
        """Raises ValueError, TypeError or KeyError."""
        document = orjson.loads(data)
        places = tuple([(str(bucket), str(key)) for bucket, key in document["places"]])
        return cls(str(document["object"]), int(document["seq"]), places, noted)


class Discards:
    """Blocking, thread-safe. For the holder of the lease."""

    def __init__(self, store: ObjectStore, buckets: Buckets, catalog: Catalog) -> None:
        """store: the state bucket. buckets: where the objects are."""
        self._store = store
        self._buckets = buckets
        self._catalog = catalog

    @contextmanager
    def after(self, owner: str, places: Iterable[Place]) -> Iterator[None]:
        """Deletes the objects after the block, which writes the entry by which `owner` ("Kind/name") lets go of them.

        If the block fails, nothing is deleted. Raises what the stores raise; then the rest is deleted by the next start.
        """
        going = tuple(sorted(set(places)))
        if not going:
            yield
            return
        key = f"{_PREFIX}{digest([list(place) for place in going])}.json"
        self._store.put(key, _Note(owner, self._catalog.seq, going).encode())
        hit(NOTED)
        yield
        for place in going:
            self._delete(place)
        self._store.delete(key)

    def settle(self) -> int:
        """Deletes what former writers noted, let go of, and nothing needs again; returns how many notes there were.

        Before anything else is written. A note that cannot be carried out now, a bucket being away, stays for the next start.
        """
        referred = _referred_by(self._catalog)
        notes = list(self._store.list(_PREFIX))
        for info in notes:
            try:
                self._settle(info, referred)
            except StateError as error:
                _log.warning("what %s names is deleted by a later start: %s", info.key, error.explain())
        return len(notes)

    def _settle(self, info: ObjectInfo, referred: Callable[[Place], bool]) -> None:
        try:
            note = _Note.decode(self._store.get(info.key), info.modified)
        except (ValueError, TypeError, KeyError) as error:
            _log.warning("%s cannot be read (%s) and is removed; objects that it names may stay for ever", info.key, error)
        else:
            for place in note.places if self._came(note) else ():
                if not referred(place) and not self._made_again(place, note):
                    self._delete(place)
        self._store.delete(info.key)

    def _came(self, note: _Note) -> bool:
        """Whether the entry that lets go of the objects was written."""
        changes = (change for entry in self._catalog.entries(after=note.seq) for change in entry.changes)
        return any(isinstance(change, _LETS_GO) and change.object == note.object for change in changes)

    def _made_again(self, place: Place, note: _Note) -> bool:
        """Whether the object is younger than the note: names derive from inputs, and a finished job's outputs may wait for their entry.

        Of one that a service tells the whole second of, and that is the note's, nobody knows: it stays.
        """
        bucket, key = place
        try:
            made = self._buckets.store(bucket).head(key).modified
        except (ObjectMissing, BucketUnknown):
            return False
        return made > note.noted or (made.is_integer() and made == note.noted // 1)

    def _delete(self, place: Place) -> None:
        bucket, key = place
        hit(BEFORE_DELETE)
        try:
            self._buckets.store(bucket).delete(key)
        except BucketUnknown:
            return  # detached since: objects never go with a bucket


def _referred_by(catalog: Catalog) -> Callable[[Place], bool]:
    """Whether the catalog, as it is, refers to an object. Looks only if asked."""

    @cache
    def all_of_them() -> frozenset[Place]:
        return frozenset((ref.bucket, ref.key) for _, ref in all_references(catalog.objects()))

    return lambda place: place in all_of_them()
