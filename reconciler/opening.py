"""Opening the state: with the lease, to write it, or without, to read it. Everything that lives as long as the process.

A writer takes the lease, opens the catalog under its epoch, adopts the write-ahead files of dead processes and sweeps what
they left half-written. A reader takes nothing and waits for nobody.
"""

import logging
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from ulid import ULID

from controllers.bucket.controller import attach_recorded
from engines.jobs.results import JobResults
from reconciler.errors import CatalogLost, StateBucketMissing
from reconciler.footprint import STATE_KEY, StatePointer, read_pointer, state_id, write_ahead, write_pointer
from reconciler.former_state import check_never_used
from reconciler.place import Place, find_state_bucket
from reconciler.settings import Settings
from state.buckets import Buckets, open_store
from state.catalog.catalog import Catalog
from state.catalog.log import WriterId
from state.descriptions import Descriptions
from state.discards import Discards
from state.errors import ObjectExists, StateError
from state.failures import Failures
from state.lease import Holder, Lease
from state.objects import ObjectStore
from state.places import BucketConfig
from state.profiles import Profiles
from state.reader import ObjectReader
from state.requests import RequestQueue
from state.secrets import check_secrets
from state.status_book import StatusBook
from state.streams.ids import Ulids
from state.streams.stream import Streams

_log = logging.getLogger(__name__)

_KEPT_RESULTS = 7 * 24 * 3600.0
"""Seconds for which the result of a job is kept that nobody came for."""


def utc_now() -> datetime:
    """The one clock that is not passed in: it is passed on from here."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class State:
    """An open state. `lease` is None for readers.

    Args:
        id: of the state itself, by which a client knows that it talks to the right daemon.
        bucket: name of the state bucket; `store` is its store.
        buckets: every bucket that the catalog knows, attached.
    """

    id: str
    place: Place
    bucket: str
    store: ObjectStore
    buckets: Buckets
    catalog: Catalog
    streams: Streams
    statuses: StatusBook
    requests: RequestQueue
    objects: ObjectReader
    lease: Lease | None
    describe: Descriptions
    clock: Callable[[], datetime] = utc_now

    @property
    def local_roots(self) -> tuple[Path, ...]:
        """Folders of local buckets: what is written there is ours."""
        configs = self.buckets.configs().values()
        return tuple(Path(config.root, config.prefix) for config in configs if config.backend == "local" and config.root is not None)

    def ours(self) -> tuple[Path, ...]:
        """Folders below the data root that hold no data of users: buckets as attached now, the cache, git's own."""
        return (*self.local_roots, self.place.cache, self.place.data_root / ".git")


def open_state(place: Place, settings: Settings, *, address: str | None) -> State:
    """Opens the state; `address` is where this process will answer, or None to open it for reading only.

    Raises StateBucketMissing, CatalogLost, LeaseHeld (naming the holder), SecretsFileRefused, and errors of the state bucket.
    """
    if address is not None:
        check_secrets()
    pointer = _pointer(place, settings)
    ids = Ulids(utc_now)
    buckets = Buckets(Failures(utc_now, ids))
    store = buckets.attach(pointer.config(place.data_root))
    catalog = Catalog.open(store, clock=utc_now)
    _check_begun(place, pointer, store, catalog)
    pointer = replace(pointer, id=_identity(store, pointer.id, create=address is not None))
    lease = None if address is None else _take(place, pointer, store, catalog, address)
    streams = Streams(store, write_ahead(place.cache, pointer.id), utc_now, ids)
    attach_recorded(catalog, buckets, place.data_root)
    objects = ObjectReader(buckets, place.cache / "objects", settings.work.cache_bytes)
    if lease is not None:
        buckets.failures.listen(lambda failure: streams.append_lazy("errors", failure.to_row()))
        streams.adopt()
        Discards(store, buckets, catalog).settle()
        _sweep(place, buckets, objects)
    return State(
        id=pointer.id,
        place=place,
        bucket=pointer.name,
        store=store,
        buckets=buckets,
        catalog=catalog,
        streams=streams,
        statuses=StatusBook.load(streams, utc_now),
        requests=RequestQueue(store),
        objects=objects,
        lease=lease,
        describe=Descriptions(Profiles(objects)),
    )


def state_config(place: Place, settings: Settings) -> BucketConfig:
    """Where the state is, whatever stands in it. Raises StateBucketMissing."""
    return _pointer(place, settings).config(place.data_root)


def _take(place: Place, pointer: StatePointer, store: ObjectStore, catalog: Catalog, address: str) -> Lease:
    """Where the state is, is remembered here; then it is led. Raises LeaseHeld."""
    if pointer != read_pointer(place.cache):
        write_pointer(place.cache, pointer)
    return _lead(store, catalog, address)


def _check_begun(place: Place, pointer: StatePointer, store: ObjectStore, catalog: Catalog) -> None:
    """Raises CatalogLost where the catalog is empty and was not always."""
    if catalog.seq:
        return
    try:
        check_never_used(store, pointer, pointer.words(place.data_root), rescue_of(place, pointer.name))
    except CatalogLost:
        catalog.refresh()
        if not catalog.seq:  # else its first writer came in between
            raise


def rescue_of(place: Place, state: str) -> ObjectStore | None:
    """The rescue bucket that the specs give the state's; None for none. Raises SourceUnavailable."""
    try:
        name = find_state_bucket(place.source, state).rescue
        return None if name is None else open_store(find_state_bucket(place.source, name).config(name, place.data_root))
    except StateBucketMissing:
        return None


def _lead(store: ObjectStore, catalog: Catalog, address: str) -> Lease:
    """Takes the lease, above every epoch that the catalog has seen: somebody may have deleted the lease's own objects."""
    holder = Holder(str(ULID()), host=socket.gethostname(), pid=os.getpid(), address=address)
    lease = Lease.acquire(store, holder, utc_now, floor=catalog.epoch)
    catalog.lead(WriterId(holder.id, lease.epoch))
    return lease


def _sweep(place: Place, buckets: Buckets, objects: ObjectReader) -> None:
    """Removes what processes that died left half-written, and results of jobs that nobody came for."""
    buckets.sweep_staging()
    objects.sweep()
    JobResults(place.cache / "jobs").sweep(_KEPT_RESULTS, lambda: utc_now().timestamp())


class Housekeeping:
    """The thread that moves events to the bucket while a writer runs, and the orderly end of it all."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._stop = threading.Event()
        self._told = ""
        self._thread = threading.Thread(target=state.streams.run, args=(self._stop, self._failed), name="streams", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Flushes streams, checkpoints what changed, and gives the lease back. What cannot be written now is found by the next start."""
        self._stop.set()
        self._thread.join()
        # whoever lost the lease has not seen what the new holder wrote, and has no more to say about the whole
        fenced = not self._attempt(self._state.lease.check) if self._state.lease is not None else True
        works = (
            (self._state.streams.close,)
            if fenced
            else (self._state.statuses.checkpoint, self._state.streams.close, self._state.catalog.checkpoint)
        )
        for work in works:
            self._attempt(work)
        if self._state.lease is not None:
            self._attempt(self._state.lease.release)

    def _attempt(self, work: Callable[[], object]) -> bool:
        """Whether it succeeded."""
        try:
            work()
        except StateError as error:
            _log.warning("while closing: %s", error.explain())
            return False
        return True

    def _failed(self, error: StateError) -> None:
        if error.explain() != self._told:  # it fails again every few seconds
            self._told = error.explain()
            _log.warning("events are kept in the write-ahead files for now: %s", self._told)


def _pointer(place: Place, settings: Settings) -> StatePointer:
    """Where it was before, unless it was never there; a service is reached as the specs say it now: its server may have moved."""
    name = settings.state.bucket
    known = read_pointer(place.cache)
    if known is None or known.name != name:
        return StatePointer(name, find_state_bucket(place.source, name), "")
    if known.place.service is None:
        return known
    try:
        found = find_state_bucket(place.source, name)
    except StateBucketMissing:
        return known
    return replace(known, place=found) if found.holds_the_same(known.place) else known


def _identity(store: ObjectStore, former: str, *, create: bool) -> str:
    """The state's id, made at its first opening for writing; "" while nobody ever wrote. former: of the state that was rebuilt."""
    known = state_id(store)
    if known or not create:
        return known
    try:
        store.put(STATE_KEY, (former or str(ULID())).encode(), if_absent=True)
    except ObjectExists:
        _log.debug("another process made the state a moment ago")
    return state_id(store)
