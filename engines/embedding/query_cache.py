"""The vectors of texts that were looked for lately, in memory: what is asked again is not embedded again.

Bounded in bytes; what was not asked for the longest goes first. By model: vectors of two never meet. Next: `registry.py`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from engines.embedding.cache_stats import CacheStats
from engines.embedding.registry import Embedder, Model

_OVERHEAD = 256
"""Bytes of a key and an array beside their contents, about."""

_Key = tuple[str, str]


class QueryCache:
    """Thread-safe."""

    def __init__(self, limit: int) -> None:
        """limit: bytes; 0 keeps nothing."""
        self._limit = limit
        self._held: OrderedDict[_Key, NDArray[np.float32]] = OrderedDict()
        self._lock = Lock()
        self._bytes = self._hits = self._misses = self._evictions = 0

    def remembering(self, open_model: Callable[[Model], Embedder]) -> Callable[[Model], Embedder]:
        """The same, but each embedder asks here before it embeds a single text."""
        return lambda model: _Remembering(open_model(model), self)

    def get(self, fingerprint: str, text: str) -> NDArray[np.float32] | None:
        """float32 (1, dimension), not to be written to."""
        with self._lock:
            found = self._held.get((fingerprint, text))
            if found is None:
                self._misses += 1
                return None
            self._hits += 1
            self._held.move_to_end((fingerprint, text))
            return found

    def keep(self, fingerprint: str, text: str, vector: NDArray[np.float32]) -> None:
        """vector: float32 (1, dimension). What is larger than all the room is not kept."""
        key, size = (fingerprint, text), _size(text, vector)
        if size > self._limit:
            return
        vector.flags.writeable = False
        with self._lock:
            if key in self._held:
                return
            self._held[key] = vector
            self._bytes += size
            while self._bytes > self._limit:
                (_, oldest), gone = self._held.popitem(last=False)
                self._bytes -= _size(oldest, gone)
                self._evictions += 1

    def stats(self) -> CacheStats:
        """Since it was made."""
        with self._lock:
            return CacheStats(len(self._held), self._bytes, self._limit, self._hits, self._misses, self._evictions)


class _Remembering:
    """An embedder that asks the cache first; see `registry.Embedder`."""

    def __init__(self, bare: Embedder, cache: QueryCache) -> None:
        self.name, self.fingerprint, self.dimension, self.quick = bare.name, bare.fingerprint, bare.dimension, bare.quick
        self.offsets = bare.offsets
        self._bare = bare
        self._cache = cache

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if len(texts) != 1:
            return self._bare.embed(texts)
        found = self._cache.get(self.fingerprint, texts[0])
        if found is None:
            found = self._bare.embed(texts)
            self._cache.keep(self.fingerprint, texts[0], found)
        return found


def _size(text: str, vector: NDArray[np.float32]) -> int:
    return len(text) * 4 + vector.nbytes + _OVERHEAD
