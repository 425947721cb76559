"""Which keys of a bucket are Lakehouse's own: what it writes of state, tables and indexes is never a source. Pure.

Next: `places.py`, which tells how two buckets lie to each other.
"""

from __future__ import annotations

from state.places import BucketConfig

PROBES = "probe/"
"""Below it, objects come and go in any bucket that is looked at."""
LAKE_KEYS = (
    "catalog/", "chains/", "datasets/", "discards/", "indexes/", "keys/", "lease/", "lost/", PROBES, "requests/", "state.json", "streams/",
)  # fmt: skip
"""How the key of everything begins that Lakehouse writes into a bucket."""


def lake_keys(lake: BucketConfig, seen_from: BucketConfig) -> tuple[str, ...]:
    """How the keys of one bucket's own objects begin in another (or the same) one; nothing where the two do not overlap."""
    inside = lake.below(seen_from)
    if inside is not None:
        return tuple(f"{inside}/{own}" if inside else own for own in LAKE_KEYS)
    above = seen_from.below(lake)
    return ("",) if above is not None and f"{above}/".startswith(LAKE_KEYS) else ()
