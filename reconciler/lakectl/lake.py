"""The state read without a daemon: statuses, events, requests and the lease's heartbeat, from bucket and write-ahead files.

Only the light part of `state` is imported, and no spec is parsed, unless nobody ever wrote here: then the specs are all
there is to tell. `reconciler.opening` opens the whole state, catalog and buckets with it, for queries and plans.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from reconciler.footprint import StatePointer, read_pointer, state_id, write_ahead
from reconciler.former_state import check_never_used, has_no_log
from reconciler.lakectl.errors import NoLakehouse
from reconciler.lakectl.here import Here, read_head
from reconciler.lakectl.observation import Event, Gone, Observation, Writer
from reconciler.lakectl.words import short
from state.buckets import open_store
from state.lease import Heartbeat, is_alive, read_heartbeat
from state.objects import ObjectStore
from state.status import Status
from state.status_book import StatusBook
from state.streams.stream import Streams

_SILENT = 30.0
"""Seconds without a heartbeat after which a live process is called silent: it beats every five."""


@dataclass(frozen=True, slots=True)
class Lake:
    """An open state. Implements `observation.Observer`. Blocking."""

    here: Here
    store: ObjectStore
    streams: Streams
    clock: Callable[[], datetime]

    def heartbeat(self) -> Heartbeat | None:
        """The newest holder's."""
        return read_heartbeat(self.store)

    def look(self, kind: str | None = None, name: str | None = None) -> Observation:
        """See `Observer`; here conditions and details cost nothing."""
        heartbeat, statuses = self.heartbeat(), self.described(kind, name)
        revision = heartbeat.revision if heartbeat is not None else None
        now = self.clock()
        if heartbeat is None or not is_alive(heartbeat, now):
            return Observation(revision, statuses, gone=Gone(heartbeat), note=self._missing(revision))
        holder = heartbeat.holder
        writer = Writer(holder.address, holder.pid, holder.host)
        silent = heartbeat.age(now) > _SILENT
        note = f"Process {holder.pid} lives, but said nothing for {int(heartbeat.age(now))} seconds." if silent else ""
        return Observation(revision, statuses, writer=writer, note=note)

    def described(self, kind: str | None = None, name: str | None = None) -> tuple[Status, ...]:
        """See `Observer`."""
        book = StatusBook.load(self.streams, self.clock)
        if kind is not None and name is not None:
            return (book.get(f"{kind}/{name}"),) if f"{kind}/{name}" in book else ()
        return tuple(status for status in book.all(kind) if name in (None, status.name))

    def events(self, filters: Mapping[str, str], since: str | None, limit: int | None) -> tuple[Event, ...]:
        """See `Observer`."""
        newest = self.streams.read("events", since=since, where=filters, newest_first=True)
        return tuple(islice(newest, limit))[::-1]

    def _missing(self, revision: str | None) -> str:
        """What the next writer will find, or has to read."""
        if has_no_log(self.store):
            return "The catalog is lost: `lakectl fsck` says what to do."
        head = read_head(self.here.root)
        if head is None or revision is None or head == revision or revision.startswith("dir-"):
            return ""
        return f"Nobody has read commit {short(head)}, where HEAD is now."


@dataclass(frozen=True, slots=True)
class Untouched:
    """A repository that nobody reconciled yet: what its specs ask for, all of it Unknown. Implements `Observer`."""

    statuses: tuple[Status, ...]

    def look(self, kind: str | None = None, name: str | None = None) -> Observation:
        """See `Observer`."""
        return Observation(None, self.described(kind, name), gone=Gone(None))

    def described(self, kind: str | None = None, name: str | None = None) -> tuple[Status, ...]:
        """See `Observer`."""
        return tuple(s for s in self.statuses if kind in (None, s.kind) and name in (None, s.name))

    def events(self, filters: Mapping[str, str], since: str | None, limit: int | None) -> tuple[Event, ...]:
        """Nothing happened."""
        return ()


def open_lake(here: Here, clock: Callable[[], datetime]) -> Lake | Untouched:
    """The state of a repository, or what its specs ask for. Raises LakehouseError: CatalogLost where there was a state and is none."""
    pointer = read_pointer(here.cache) or find_pointer(here)
    if pointer is not None:
        lake = _lake(here, pointer, clock)
        if not state_id(lake.store) and has_no_log(lake.store):
            _check_never_used(here, pointer, lake.store)
        if pointer.id or lake.heartbeat() is not None:
            return lake
    from reconciler.lakectl.specs_here import wanted

    return Untouched(wanted(here))


def require_lake(here: Here, clock: Callable[[], datetime]) -> Lake:
    """The state, to leave a request in. Raises NoLakehouse where there is none."""
    lake = open_lake(here, clock)
    if isinstance(lake, Lake):
        return lake
    raise NoLakehouse(
        "there is no state yet: nobody has reconciled this repository.", remedy="Start `lakectl daemon`, or run `lakectl apply` once."
    )


def find_pointer(here: Here) -> StatePointer | None:
    """Where the specs say the state is: for a fresh clone beside an old lake. Parses specs."""
    from reconciler.lakectl.specs_here import state_bucket

    return state_bucket(here)


def _check_never_used(here: Here, pointer: StatePointer, store: ObjectStore) -> None:
    """Raises CatalogLost. Parses specs."""
    from reconciler.lakectl.specs_here import place_of
    from reconciler.opening import rescue_of

    check_never_used(store, pointer, pointer.words(here.data_root), rescue_of(place_of(here), pointer.name))


def _lake(here: Here, pointer: StatePointer, clock: Callable[[], datetime]) -> Lake:
    store = open_store(pointer.config(here.data_root))
    return Lake(here, store, Streams(store, write_ahead(here.cache, pointer.id or state_id(store)), clock), clock)
