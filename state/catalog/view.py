"""All objects as they were after one entry: an immutable view that any thread may read without a lock.

Objects lie in 256 shards by a hash of their name, which are also the units of a checkpoint. A view after an entry shares all shards with
the one before but those the entry touched; so moving on is cheap, several objects move at once, and a checkpoint sees by identity which
shards changed. A state that came from a checkpoint stays bytes until somebody asks for it.

It refuses to write; the only thing that ever changes inside is bytes giving way to the equal state. Next: `catalog.py`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import orjson

from state.catalog.entry import Entry, Renamed, corrupt, touched
from state.catalog.fold import ObjectState, fold
from state.catalog.indexes import IndexRecord
from state.catalog.log import log_key
from state.catalog.tables import Table
from state.errors import CatalogCorrupt, ChangeRefused

SHARDS = 256

Shard: TypeAlias = dict[str, ObjectState | bytes]


def shard_of(name: str) -> int:
    return zlib.crc32(name.encode()) % SHARDS


class RefusedEntry(NamedTuple):
    """An entry of a writer whose lease had passed on. It stands in the log and has no effect."""

    seq: int
    writer: str
    epoch: int


@dataclass(frozen=True, slots=True)
class View:
    """The objects after entry `seq`. `epoch` and `writer` are the newest seen. With `only`, other objects are not absent but unknown."""

    seq: int
    epoch: int
    writer: str
    refused: tuple[RefusedEntry, ...]
    shards: tuple[Shard, ...]
    only: frozenset[str] | None = None

    def get(self, name: str) -> ObjectState | None:
        """The object "Kind/name", None if there is none. Raises ValueError for one that this view was not opened for."""
        if not self._known(name):
            raise ValueError(f"The catalog was opened for {', '.join(sorted(self.only or ()))}, not for {name}.")
        state = self._state(name)
        return None if state is None or state.gone else state

    def knows(self, name: str) -> bool:
        """Whether there is such an object; unlike `get`, decodes nothing."""
        state = self.shards[shard_of(name)].get(name) if self._known(name) else None
        return state is not None and _alive(state)

    def objects(self, kind: str | None = None) -> Mapping[str, ObjectState]:
        """Every object (of one kind) by name, in order of names. Names cost nothing; a state is decoded when it is looked at."""
        prefix = "" if kind is None else f"{kind}/"
        found = [name for shard in self.shards for name, state in list(shard.items()) if name.startswith(prefix) and _alive(state)]
        return Objects(self, dict.fromkeys(sorted(name for name in found if self._known(name))))

    def table(self, name: str) -> Table | None:
        """What the Dataset of this name holds."""
        state = self.get(f"Dataset/{name}")
        return None if state is None else state.table

    def index(self, name: str) -> IndexRecord | None:
        """What was built for the Index of this name."""
        state = self.get(f"Index/{name}")
        return None if state is None else state.index

    def after(self, entry: Entry) -> View:
        """The view after `entry`, which must be the next one. An entry of an older epoch only joins `refused`.

        Raises CatalogCorrupt where it does not follow: whoever wrote it folded it first, so log or checkpoint are damaged.
        """
        if entry.epoch < self.epoch or (entry.epoch == self.epoch and entry.writer != self.writer):
            refused = (*self.refused, RefusedEntry(entry.seq, entry.writer, entry.epoch))
            return replace(self, seq=entry.seq, refused=refused)
        try:
            moved = fold(self.peek, [change for change in entry.changes if any(map(self._known, touched(change)))])
        except ChangeRefused as error:
            raise CatalogCorrupt(
                f"{log_key(entry.seq)} does not follow the entries before it: {error}",
                remedy="Delete the objects below catalog/checkpoints/: then the whole log is folded. If this comes again, restore the log.",
            ) from error
        return self.moved(entry, moved)

    def moved(self, entry: Entry, states: Mapping[str, ObjectState]) -> View:
        """The view after `entry`, whose fold gave `states`."""
        shards = list(self.shards)
        for name, state in states.items():
            if self._known(name):
                number = shard_of(name)
                if shards[number] is self.shards[number]:
                    shards[number] = dict(shards[number])
                shards[number][name] = state
        return replace(self, seq=entry.seq, epoch=entry.epoch, writer=entry.writer, shards=tuple(shards))

    def peek(self, name: str) -> ObjectState | None:
        """As `get`, with what a dropped object leaves behind; None for an object outside `only`."""
        return self._state(name)

    def outside(self, entries: Iterable[Entry]) -> Iterator[str]:
        """Objects that must be known to fold `entries` and are not: the former names of objects in `only`."""
        for entry in entries:
            for change in entry.changes:
                if isinstance(change, Renamed) and self._known(change.object) and not self._known(change.source):
                    yield change.source

    def _known(self, name: str) -> bool:
        return self.only is None or name in self.only

    def _state(self, name: str) -> ObjectState | None:
        shard = self.shards[shard_of(name)]
        state = shard.get(name)
        if isinstance(state, bytes):
            # Threads may do this at once: they store equal states, in a shard that no writer changes.
            state = shard[name] = decode_state(name, state)
        return state


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Objects(Mapping[str, ObjectState]):
    """The objects of a view under these names."""

    view: View
    names: Mapping[str, None]

    def __getitem__(self, name: str) -> ObjectState:
        state = self.view.peek(name) if name in self.names else None
        if state is None:
            raise KeyError(name)
        return state

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def _alive(state: ObjectState | bytes) -> bool:
    """What is still bytes exists: checkpoints list apart what is gone."""
    return isinstance(state, bytes) or not state.gone


EMPTY = View(0, -1, "", (), tuple({} for _ in range(SHARDS)))
"""Before the first entry."""


def decode_state(name: str, data: bytes) -> ObjectState:
    """Raises CatalogCorrupt."""
    try:
        return ObjectState.from_dict(orjson.loads(data))
    except (ValueError, TypeError, KeyError, AttributeError, AssertionError) as error:
        raise corrupt(f"{name} in the catalog's checkpoint", data, error) from error
