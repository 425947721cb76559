"""How much a cache of vectors holds, and how often it knew what was asked. Facts only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CacheStats:
    """`entries` vectors in `bytes`, of at most `limit`. `hits` and `misses` count texts that were asked for, `evictions` vectors that were
    let go of to stay within the limit."""

    entries: int
    bytes: int
    limit: int
    hits: int
    misses: int
    evictions: int
