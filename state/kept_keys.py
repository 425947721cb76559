"""Keys that a state makes for itself, and keeps in its bucket: 32 random bytes, the same for every process, for keyed digests.

They never leave the state. One that is lost is made anew, and digests from then on are others.
"""

from __future__ import annotations

import secrets
from contextlib import suppress

from state.errors import ObjectExists, ObjectMissing
from state.objects import ObjectStore

PREFIX = "keys/"
BYTES = 32


def kept_key(store: ObjectStore, name: str, *, create: bool) -> bytes | None:
    """The key of this name; None if there is none and none may be made. Blocking. Raises what the store raises."""
    place = f"{PREFIX}{name}"
    with suppress(ObjectMissing):
        return store.get(place)
    if not create:
        return None
    with suppress(ObjectExists):
        store.put(place, secrets.token_bytes(BYTES), if_absent=True)
    return store.get(place)
