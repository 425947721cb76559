"""Whoever reads an object that is missing or damaged has its owner looked at, at once and not at the next resync.

An owner is known by the key: `datasets/<name>/…`, `indexes/<name>/…`. Next: `state/failures.py`, which tells; `reconciler.driver`.
"""

import threading
import time
from collections.abc import Callable, Iterable

from state.errors import ObjectCorrupt, ObjectMissing
from state.failures import BucketFailure

_DAMAGE = (ObjectMissing.slug, ObjectCorrupt.slug)
_KINDS = {"datasets": "Dataset", "indexes": "Index"}
_PAUSE = 5.0
"""Seconds between two looks at one owner: what cannot be mended is read again and again."""


def owner_of(key: str) -> str | None:
    """The object that an object of a bucket belongs to, if it does to any."""
    folder, _, rest = key.partition("/")
    name, slash, _ = rest.partition("/")
    return f"{_KINDS[folder]}/{name}" if folder in _KINDS and slash else None


class DamageWatch:
    """Hears of every failure, from any thread."""

    def __init__(self, look: Callable[[Iterable[str]], None], clock: Callable[[], float] = time.monotonic) -> None:
        """look: asked for with names of objects."""
        self._look = look
        self._clock = clock
        self._lock = threading.Lock()
        self._looked: dict[str, float] = {}

    def heard(self, failure: BucketFailure) -> None:
        """Asks for a look at the owner, if it has one and was not looked at a moment ago."""
        owner = owner_of(failure.key)
        if failure.kind not in _DAMAGE or owner is None:
            return
        with self._lock:
            now = self._clock()
            if now < self._looked.get(owner, float("-inf")) + _PAUSE:
                return
            self._looked[owner] = now
        self._look([owner])
