"""Buckets: which store answers for which name, in this process.

A `BucketConfig` is all that another process needs to open the same store; it travels as JSON to job workers. (Memory is not shared
between processes: such a bucket exists for tests and scratch data.) `probe` says whether a store keeps its promises before it is trusted.
Refuses to know secrets, specs or the catalog. Next: `local_store.py`, `remote_store.py`, `reader.py`.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, cast
from weakref import WeakValueDictionary

from state.errors import BucketInvalid, BucketUnknown, ObjectExists, StateError
from state.local_store import LocalStore
from state.objects import ObjectStore, check_key

Backend = Literal["local", "memory"]
BACKENDS: tuple[Backend, ...] = ("local", "memory")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BucketConfig:
    """Where a bucket is. `root` is an absolute path (local), or whose memory it is: a memory bucket with a root is one bucket for all of
    this process, without one it is another each time. `prefix` is put before every key, without slashes at its ends."""

    name: str
    backend: Backend
    root: str | None = None
    prefix: str = ""

    def to_dict(self) -> dict[str, object]:
        """JSON-able; the inverse of `from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, object]) -> BucketConfig:
        """Raises KeyError where a field is missing. `open_store` judges the values."""
        root = document["root"]
        prefix = str(document.get("prefix", ""))
        return cls(str(document["name"]), cast(Backend, document["backend"]), None if root is None else str(root), prefix)


@dataclass(frozen=True, slots=True)
class BucketPlace:
    """Where a bucket is, as its spec says it and the catalog remembers it: a relative `path` counts from the data root."""

    backend: str
    path: str | None = None
    prefix: str = ""

    def to_dict(self) -> dict[str, object]:
        """JSON-able; the inverse of `from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, object]) -> BucketPlace:
        """Raises KeyError where the backend is missing."""
        path = document.get("path")
        return cls(str(document["backend"]), None if path is None else str(path), str(document.get("prefix", "")))

    def config(self, name: str, data_root: Path) -> BucketConfig | None:
        """What opens the bucket in any process; None where its backend is not built."""
        if self.backend == "memory":
            return BucketConfig(name, "memory", str(data_root), self.prefix)
        if self.backend == "local" and self.path is not None:
            return BucketConfig(name, "local", str((data_root / self.path).resolve()), self.prefix)
        return None


_memories: dict[BucketConfig, ObjectStore] = {}
_folders: WeakValueDictionary[BucketConfig, LocalStore] = WeakValueDictionary()
_sharing = threading.Lock()


def open_store(config: BucketConfig) -> ObjectStore:
    """One store a configuration as long as anybody holds it: a folder's staging area and what it knows to exist cost five calls to make.

    No I/O for a local bucket: its folder is made by the first put. Raises BucketInvalid.
    """
    if config.prefix:
        check_key(config.name, config.prefix)
    if config.backend == "memory":
        # Imported here: obstore's library is 20 MB, and a command that reads a local lake does without it.
        from state.remote_store import open_memory

        if config.root is None:
            return open_memory(config.name, config.prefix)
        with _sharing:
            return _memories.setdefault(config, open_memory(config.name, config.prefix))
    if config.backend != "local":
        raise BucketInvalid(f"Bucket {config.name}: backend {config.backend!r} is not built.", bucket=config.name)
    if config.root is None or not Path(config.root).is_absolute():
        raise BucketInvalid(f"Bucket {config.name}: root {config.root!r} is no absolute path.", bucket=config.name)
    with _sharing:
        store = _folders.get(config)
        if store is None:
            store = _folders[config] = LocalStore(Path(config.root, config.prefix), config.name)
        return store


class Buckets:
    """The attached buckets of a process. Thread-safe."""

    def __init__(self) -> None:
        """None are attached at first."""
        self._lock = threading.Lock()
        self._open: dict[str, tuple[BucketConfig, ObjectStore]] = {}

    def attach(self, config: BucketConfig) -> ObjectStore:
        """Open the bucket under its name, in place of one of another configuration; the same one again changes nothing."""
        with self._lock:
            known = self._open.get(config.name)
            if known is None or known[0] != config:
                known = (config, open_store(config))
                self._open[config.name] = known
            return known[1]

    def detach(self, name: str) -> None:
        """Forget a bucket; whoever holds its store may finish. No error if it is unknown."""
        with self._lock:
            self._open.pop(name, None)

    def store(self, name: str) -> ObjectStore:
        """Raises BucketUnknown."""
        return self._attached(name)[1]

    def config(self, name: str) -> BucketConfig:
        """What another process needs to open it. Raises BucketUnknown."""
        return self._attached(name)[0]

    def configs(self) -> Mapping[str, BucketConfig]:
        """By name, as of now."""
        with self._lock:
            return {name: config for name, (config, _) in sorted(self._open.items())}

    def sweep_staging(self) -> None:
        """Remove what dead processes left half-written in local buckets. A bucket that cannot be swept is left for the next time."""
        with self._lock:
            stores = [store for _, store in self._open.values() if isinstance(store, LocalStore)]
        for store in stores:
            try:
                store.sweep_staging()
            except StateError as error:
                _log.warning("half-written files stay for now: %s", error.explain())

    def _attached(self, name: str) -> tuple[BucketConfig, ObjectStore]:
        with self._lock:
            known = self._open.get(name)
        if known is None:
            raise BucketUnknown(name)
        return known


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

    Removes what probes that were killed left there: one that runs beside this may fail of that, and is repeated.
    """
    key = f"probe/{token()}"
    reachable = writable = False
    latency = 0.0
    try:
        for left in store.list("probe/"):
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
