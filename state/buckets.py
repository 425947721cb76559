"""Buckets: which store answers for which name, in this process.

A `BucketConfig` is all that another process needs to open the same store; it travels as JSON to job workers. (Memory is not shared
between processes: such a bucket exists for tests and scratch data.) `probe` says whether a store keeps its promises before it is trusted.
Refuses to know specs or the catalog. Next: `places.py`, `local_store.py`, `remote_store.py`, `reader.py`.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from weakref import WeakValueDictionary

from state.errors import BucketInvalid, BucketUnknown, ObjectExists, StateError
from state.failures import Failures, failures_here
from state.local_store import LocalStore
from state.mirrors import Mirrors
from state.objects import ObjectStore, check_key
from state.places import BACKENDS, BucketConfig, ServiceKind
from state.secrets import secrets_here
from state.watched_store import Breaker, WatchedStore

_log = logging.getLogger(__name__)


_memories: dict[BucketConfig, ObjectStore] = {}
_opened: WeakValueDictionary[BucketConfig, ObjectStore] = WeakValueDictionary()
_sharing = threading.Lock()


def open_store(config: BucketConfig) -> ObjectStore:
    """One store a configuration as long as anybody holds it: a folder's staging area and a service's connections cost to make.

    No I/O: a local folder is made by the first put, a service is asked by the first operation. Raises BucketInvalid, KeyInvalid.
    """
    if config.prefix:
        check_key(config.name, config.prefix)
    with _sharing:
        if config.backend == "memory":
            return _open_memory(config)
        store = _opened.get(config)
        if store is None:
            store = _opened[config] = _open_local(config) if config.backend == "local" else _open_service(config)
        return store


def job_store(config: BucketConfig) -> ObjectStore:
    """As `open_store`, for a job in whatever process: what fails is told to whoever runs the job."""
    return WatchedStore(open_store(config), failures_here(), None)


def _open_local(config: BucketConfig) -> ObjectStore:
    if config.root is None or not Path(config.root).is_absolute():
        raise BucketInvalid(f"Bucket {config.name}: root {config.root!r} is no absolute path.", bucket=config.name)
    return LocalStore(Path(config.root, config.prefix), config.name)


def _open_memory(config: BucketConfig) -> ObjectStore:
    # Imported here, and below: obstore's library is 20 MB, and a command that reads a local lake does without it.
    from state.remote_store import open_memory

    if config.root is None:
        return open_memory(config.name, config.prefix)
    return _memories.setdefault(config, open_memory(config.name, config.prefix))


def _open_service(config: BucketConfig) -> ObjectStore:
    from state.remote_store import open_service

    if config.backend not in BACKENDS or config.service is None:
        raise BucketInvalid(f"Bucket {config.name}: there is no backend {config.backend!r} like this.", bucket=config.name)
    kind = cast(ServiceKind, config.backend)
    return open_service(kind, config.service, config.name, prefix=config.prefix, timeout=config.timeout, secrets=secrets_here())


class Buckets:
    """The attached buckets of a process. Thread-safe."""

    def __init__(self, failures: Failures | None = None) -> None:
        """None are attached at first. failures: where their failed operations are recorded."""
        self.failures = failures or Failures()
        self.mirrors = Mirrors()
        self._lock = threading.Lock()
        self._open: dict[str, tuple[BucketConfig, ObjectStore]] = {}

    def attach(self, config: BucketConfig, *, opened: bool = False) -> ObjectStore:
        """Open the bucket under its name, in place of one of another configuration; the same one again changes nothing.

        opened: whether it was opened before, by whatever process: a local one's folder is not made anew.
        """
        with self._lock:
            known = self._open.get(config.name)
            if known is None or known[0] != config:
                known = (config, self._watched(config, opened=opened))
                self._open[config.name] = known
            return known[1]

    def detach(self, name: str) -> None:
        """Forget a bucket; whoever holds its store may finish. No error if it is unknown."""
        with self._lock:
            self._open.pop(name, None)

    def store(self, name: str) -> ObjectStore:
        """Raises BucketUnknown."""
        return self._attached(name)[1]

    def ask(self, name: str) -> None:
        """Asks the bucket for next to nothing, to see whether it answers. Raises BucketUnknown, and what the store raises."""
        next(iter(self.store(name).list("probe/")), None)

    def config(self, name: str) -> BucketConfig:
        """What another process needs to open it. Raises BucketUnknown."""
        return self._attached(name)[0]

    def rescue(self, name: str) -> str | None:
        """The bucket that answers reads which this one cannot; also for a bucket that is unknown: None."""
        with self._lock:
            known = self._open.get(name)
        return known[0].rescue if known is not None else None

    def configs(self) -> Mapping[str, BucketConfig]:
        """By name, as of now."""
        with self._lock:
            return {name: config for name, (config, _) in sorted(self._open.items())}

    def sweep_staging(self) -> None:
        """Remove what dead processes left half-written in local buckets. A bucket that cannot be swept is left for the next time."""
        with self._lock:
            configs = [config for config, _ in self._open.values() if config.backend == "local"]
        for config in configs:
            try:
                cast(LocalStore, open_store(config)).sweep_staging()
            except StateError as error:
                _log.warning("half-written files stay for now: %s", error.explain())

    def _watched(self, config: BucketConfig, *, opened: bool) -> ObjectStore:
        store = open_store(config)
        if opened and isinstance(store, LocalStore):
            store.expect()
        return WatchedStore(store, self.failures, None if config.service is None else Breaker())

    def _attached(self, name: str) -> tuple[BucketConfig, ObjectStore]:
        with self._lock:
            known = self._open.get(name)
        if known is None:
            raise BucketUnknown(name)
        return known


LEFT_OVER = 600.0
"""Seconds after which a probe's object is one that was left behind."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a store did when tried. `latency` in seconds for one put; `problem` is a sentence, None if all is well."""

    reachable: bool
    writable: bool
    conditional_put: bool
    latency: float
    problem: StateError | None = None


def probe(
    store: ObjectStore,
    *,
    token: Callable[[], str] = lambda: secrets.token_hex(8),
    clock: Callable[[], float] = time.perf_counter,
) -> Probe:
    """Put, lose a second put-if-absent, read back, delete, under `probe/<token>`. Blocking; never raises a StateError.

    Removes what probes that were killed left there.
    """
    key = f"probe/{token()}"
    reachable = writable = False
    latency = 0.0
    try:
        for left in store.list("probe/"):
            if left.modified < time.time() - LEFT_OVER:
                store.delete(left.key)
        reachable = True
        started = clock()
        store.put(key, b"first", if_absent=True)
        latency = clock() - started
        writable = True
        try:
            store.put(key, b"second", if_absent=True)
        except ObjectExists:
            conditional = store.get(key) == b"first"
        else:
            conditional = False
        store.delete(key)
    except StateError as error:
        return Probe(reachable, writable, False, latency, error)
    return Probe(True, True, conditional, latency)
