"""The log: one write-once object per entry, numbered without gaps from 1. `catalog/log/00000000000000000042.json`.

Writing an entry is putting it if absent, so exactly one writer gets each number. Whoever finds its number taken looks at what stands there:
the very bytes it wanted to put (its own put, which had timed out and yet won; they carry writer, epoch and time), an entry of an older
epoch or its own earlier one in doubt (to be folded first), or one of a newer epoch: then the lease is lost.

Readers ask for the next number until there is none; nothing is listed and nothing is ever deleted, since history is read from here.
Next: `checkpoint.py` (not to fold everything at each start), `catalog.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import orjson

from state.catalog.entry import RESTORE, Entry
from state.errors import CatalogCorrupt, LeaseLost, ObjectExists, ObjectMissing
from state.failpoints import declare, hit
from state.objects import ObjectStore

BEFORE_PUT = declare("catalog.before-put")
AFTER_PUT = declare("catalog.after-put")

_PROBES = tuple(2**power for power in range(1, 10))
"""How far behind a missing entry others are looked for: a gap with anything right behind it is noticed."""


@dataclass(frozen=True, slots=True)
class WriterId:
    """A writer: an id that no other process ever had, and the epoch of the lease it holds."""

    id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An entry that is missing or damaged, though a checkpoint may cover it; `message` says how."""

    seq: int
    message: str


def log_key(seq: int) -> str:
    return f"catalog/log/{seq:020d}.json"


class CatalogLog:
    """Blocking, thread-safe. Errors of the store pass through; after one from `append` it is open whether the entry stands."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def append(self, entry: Entry) -> Entry:
        """The entry that now stands under `entry.seq`, durably: `entry` itself, or one to be folded before trying the next number.

        Raises LeaseLost where a newer epoch, or another writer of this epoch, has the number; CatalogCorrupt where it cannot be read.
        """
        key, data = log_key(entry.seq), entry.encode()
        hit(BEFORE_PUT)
        try:
            self._store.put(key, data, if_absent=True)
        except ObjectExists:
            found = self._store.get(key)
            if found != data:
                return _superseded(entry, _decode(entry.seq, found))
        hit(AFTER_PUT)
        return entry

    def read(self, seq: int) -> Entry | None:
        """None where there is none. Raises CatalogCorrupt for one that is empty, torn, of an unknown format or under a wrong number."""
        data = self._get(seq)
        return None if data is None else _decode(seq, data)

    def mentioning(self, seq: int, names: Iterable[str]) -> Entry | None:
        """As `require`, but None, and not parsed, where none of these names occurs in the entry."""
        data = self._get(seq)
        if data is None:
            raise _missing(seq)
        return _decode(seq, data) if any(orjson.dumps(name) in data for name in names) else None

    def require(self, seq: int) -> Entry:
        """An entry that must be there. Raises CatalogCorrupt where it is not."""
        entry = self.read(seq)
        if entry is None:
            raise _missing(seq)
        return entry

    def tail(self, after: int) -> Iterator[Entry]:
        """The entries after number `after`, as long as there is a next one."""
        while (entry := self.read(after + 1)) is not None:
            yield entry
            after += 1

    def check_end(self, seq: int) -> None:
        """Raises CatalogCorrupt where the entry after `seq` is missing and later ones are there."""
        for distance in _PROBES:
            if not self._exists(seq + distance):
                continue
            if self._exists(seq + 1):  # a writer went on meanwhile
                return
            raise CatalogCorrupt(f"{log_key(seq + 1)} is missing, while {log_key(seq + distance)} is there.", remedy=RESTORE)

    def _get(self, seq: int) -> bytes | None:
        try:
            return self._store.get(log_key(seq))
        except ObjectMissing:
            return None

    def _exists(self, seq: int) -> bool:
        try:
            self._store.head(log_key(seq))
        except ObjectMissing:
            return False
        return True


def _missing(seq: int) -> CatalogCorrupt:
    return CatalogCorrupt(f"{log_key(seq)} is missing.", remedy=RESTORE)


def _decode(seq: int, data: bytes) -> Entry:
    entry = Entry.decode(data, log_key(seq))
    if entry.seq != seq:
        raise CatalogCorrupt(f"{log_key(seq)} says that it is entry {entry.seq}.", remedy=RESTORE)
    return entry


def _superseded(ours: Entry, standing: Entry) -> Entry:
    if standing.epoch < ours.epoch or (standing.epoch, standing.writer) == (ours.epoch, ours.writer):
        return standing
    raise LeaseLost(
        f"{standing.writer} (epoch {standing.epoch}) wrote entry {standing.seq} before {ours.writer} (epoch {ours.epoch}).",
        epoch=ours.epoch,
        newer=standing.epoch,
    )
