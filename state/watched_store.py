"""A bucket's store as a process uses it: failures are recorded, and a bucket that keeps failing is left alone for a while.

The breaker: after three failures in a row the bucket is not asked for a second, then for two, four, … up to ten; in between a thread of its
own tries a small operation, and a success closes it. Whoever asks a dead server would otherwise wait for its timeout each time.
Refuses to judge objects: that one is missing is an answer, here; whoever knows that it must be there records it (`reader.py`).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from state.errors import BucketUnavailable, DiskFull, ObjectExists, ObjectMissing, SecretError, StateError
from state.failures import Failures
from state.objects import ObjectInfo, ObjectStore, OpenObject
from state.staging import discard

PATIENCE = 3
"""Failures in a row after which a bucket is left alone."""
SHORTEST, LONGEST = 1.0, 10.0
"""Seconds for which it is."""
_PROBED = "probe/"


class Breaker:
    """Whether a bucket may be asked. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Closed: it may."""
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._until = 0.0

    @property
    def open(self) -> bool:
        """Whether it may not be asked."""
        return self._failures >= PATIENCE

    def claim(self) -> bool:
        """Whether it is time to try again, and this caller's task; nobody else's until it was time once more."""
        with self._lock:
            now = self._clock()
            if not self.open or now < self._until:
                return False
            self._until = now + self._pause()
            return True

    def wait(self) -> float:
        """Seconds until it is time to try again."""
        return max(0.0, self._until - self._clock())

    def succeeded(self) -> None:
        """It answered."""
        if self._failures:
            with self._lock:
                self._failures = 0

    def failed(self) -> None:
        """It did not."""
        with self._lock:
            self._failures += 1
            if self.open:
                self._until = self._clock() + self._pause()

    def _pause(self) -> float:
        return float(min(LONGEST, SHORTEST * 2 ** max(0, self._failures - PATIENCE)))


def _in_a_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="bucket-probe", daemon=True).start()


class WatchedStore:
    """Another store, watched. See `ObjectStore` for what the methods promise; BucketUnavailable may come at once."""

    def __init__(
        self,
        store: ObjectStore,
        failures: Failures,
        breaker: Breaker | None,
        *,
        beside: Callable[[Callable[[], None]], None] = _in_a_thread,
    ) -> None:
        """breaker: None for a store that fails at once, which costs nobody any time. beside: runs what nobody waits for."""
        self._store = store
        self._failures = failures
        self._breaker = breaker
        self._beside = beside

    @property
    def name(self) -> str:
        """The bucket's name."""
        return self._store.name

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        """See `ObjectStore`."""
        with self._watched("put", key):
            self._store.put(key, data, if_absent=if_absent)

    def stage(self) -> Path:
        """See `ObjectStore`."""
        with self._watched("stage", ""):
            return self._store.stage()

    def put_file(self, key: str, staged: Path, *, if_absent: bool = False) -> None:
        """See `ObjectStore`."""
        try:
            with self._watched("put", key):
                self._store.put_file(key, staged, if_absent=if_absent)
        except BucketUnavailable:  # perhaps without having been asked
            discard(staged)
            raise

    def get(self, key: str) -> bytes:
        """See `ObjectStore`."""
        with self._watched("get", key):
            return self._store.get(key)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """See `ObjectStore`."""
        with self._watched("get", key):
            return self._store.get_range(key, start, length)

    def open(self, key: str, start: int = 0, length: int | None = None) -> OpenObject:
        """See `ObjectStore`."""
        with self._watched("get", key):
            opened = self._store.open(key, start, length)
        return OpenObject(opened.info, self._pieces(key, opened.pieces))

    def head(self, key: str) -> ObjectInfo:
        """See `ObjectStore`."""
        with self._watched("head", key):
            return self._store.head(key)

    def sizes(self, keys: Collection[str]) -> Mapping[str, int]:
        """See `ObjectStore`."""
        with self._watched("list", ""):
            return self._store.sizes(keys)

    def list(self, prefix: str = "", after: str | None = None) -> Iterator[ObjectInfo]:
        """See `ObjectStore`."""
        with self._watched("list", prefix):
            yield from self._store.list(prefix, after)

    def folders(self, prefix: str) -> Sequence[str]:
        """See `ObjectStore`."""
        with self._watched("list", prefix):
            return self._store.folders(prefix)

    def delete(self, key: str) -> None:
        """See `ObjectStore`."""
        with self._watched("delete", key):
            self._store.delete(key)

    def path(self, key: str) -> Path | None:
        """See `ObjectStore`."""
        return self._store.path(key)

    def _pieces(self, key: str, pieces: Generator[bytes, None, None]) -> Generator[bytes, None, None]:
        with self._watched("get", key):
            yield from pieces

    @contextmanager
    def _watched(self, operation: str, key: str) -> Iterator[None]:
        if self._breaker is not None and self._breaker.open:
            if self._breaker.claim():
                self._beside(self._try)
            reason = f"it failed {PATIENCE} times in a row and is asked again in {math.ceil(self._breaker.wait())} s"
            refused = BucketUnavailable(self.name, operation, reason)
            self._failures.record(self.name, operation, key, refused, attempt=0)
            raise refused
        with self._judged(operation, key):
            yield

    def _try(self) -> None:
        """Ask the bucket for next to nothing, to see whether it answers again."""
        with suppress(StateError), self._judged("list", _PROBED):
            next(iter(self._store.list(_PROBED)), None)

    @contextmanager
    def _judged(self, operation: str, key: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        except (BucketUnavailable, DiskFull, SecretError) as error:
            attempts = error.attempts if isinstance(error, BucketUnavailable) else 1
            if self._breaker is not None and isinstance(error, BucketUnavailable):
                self._breaker.failed()
            self._failures.record(self.name, operation, key, error, duration_ms=(time.perf_counter() - began) * 1000, attempt=attempts)
            raise
        except (ObjectMissing, ObjectExists):
            self._answered()
            raise
        self._answered()

    def _answered(self) -> None:
        if self._breaker is not None:
            self._breaker.succeeded()
