"""The vectors of texts that were looked for lately, in memory: what is asked again is not embedded again.

Bounded in bytes; what was not asked for the longest goes first. By model: vectors of two never meet. By reader: how long a search takes
tells nobody what others look for. Next: `registry.py`.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from engines.embedding.cache_stats import CacheStats
from engines.embedding.registry import Embedder

_OVERHEAD = 256
"""Bytes of a key and an array beside their contents, about."""

Asker: TypeAlias = tuple[str | None, str | None]
"""A reader: its token's id and its profile."""

_Key: TypeAlias = tuple[Asker, str, str]


class QueryCache:
    """Thread-safe."""

    def __init__(self, limit: int) -> None:
        """limit: bytes; 0 keeps nothing."""
        self._limit = limit
        self._held: OrderedDict[_Key, NDArray[np.float32]] = OrderedDict()
        self._lock = Lock()
        self._bytes = self._hits = self._misses = self._evictions = 0

    def vector(self, who: Asker, model: Embedder, text: str) -> NDArray[np.float32]:
        """float32 (1, dimension), not to be written to. Blocking where this reader did not ask for the text lately."""
        key = who, model.fingerprint, text
        with self._lock:
            found = self._held.get(key)
            if found is not None:
                self._hits += 1
                self._held.move_to_end(key)
                return found
            self._misses += 1
        found = model.embed([text])
        self._keep(key, found)
        return found

    def _keep(self, key: _Key, vector: NDArray[np.float32]) -> None:
        """What is larger than all the room is not kept."""
        size = _size(key, vector)
        if size > self._limit:
            return
        vector.flags.writeable = False
        with self._lock:
            if key in self._held:
                return
            self._held[key] = vector
            self._bytes += size
            while self._bytes > self._limit:
                self._bytes -= _size(*self._held.popitem(last=False))
                self._evictions += 1

    def stats(self) -> CacheStats:
        """Since it was made."""
        with self._lock:
            return CacheStats(len(self._held), self._bytes, self._limit, self._hits, self._misses, self._evictions)


def _size(key: _Key, vector: NDArray[np.float32]) -> int:
    return len(key[-1]) * 4 + vector.nbytes + _OVERHEAD
