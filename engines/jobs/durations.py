"""How long jobs took, so that a plan can say what it costs.

Per kind, the last samples of (bytes, seconds); an estimate is the median of seconds per byte times the bytes. Jobs below `FLOOR`
bytes count as that large: their cost is the start, not the bytes. Kept in `durations.json`, a hint and nothing more: written
without fsync, ignored if damaged. Next: `executor.py`, which records; `lakectl plan`, which reads.
"""

from __future__ import annotations

import json
import os
import statistics
import threading
from collections import deque
from collections.abc import Iterable
from pathlib import Path

SAMPLES = 64
FLOOR = 64 * 1024
_FILE = "durations.json"


class Durations:
    """Thread-safe. Blocking only in the constructor and in `save`."""

    def __init__(self, directory: Path) -> None:
        """Reads what former processes saved in this folder, if anything."""
        self._path = directory / _FILE
        self._lock = threading.Lock()
        self._saving = threading.Lock()
        self._kinds: dict[str, deque[tuple[int, float]]] = {}
        for kind, samples in _load(self._path):
            self._kinds[kind] = deque(samples, SAMPLES)

    def record(self, kind: str, weight: int, seconds: float) -> None:
        """One job of `weight` bytes that ended well."""
        with self._lock:
            self._kinds.setdefault(kind, deque(maxlen=SAMPLES)).append((weight, seconds))

    def estimate(self, kind: str, weight: int) -> float | None:
        """Seconds that a job of `weight` bytes will take; None if none of its kind has ever ended."""
        with self._lock:
            samples = tuple(self._kinds.get(kind, ()))
        if not samples:
            return None
        return statistics.median(seconds / max(size, FLOOR) for size, seconds in samples) * max(weight, FLOOR)

    def save(self) -> None:
        """Replaces the file. Raises OSError."""
        with self._saving:
            with self._lock:
                document = {kind: list(samples) for kind, samples in sorted(self._kinds.items())}
            self._path.parent.mkdir(parents=True, exist_ok=True)
            staged = self._path.with_name(f"{_FILE}.{os.getpid()}")
            staged.write_text(json.dumps(document))
            staged.replace(self._path)


def _load(path: Path) -> Iterable[tuple[str, list[tuple[int, float]]]]:
    try:
        document = json.loads(path.read_bytes())
        return [(kind, [(int(weight), float(seconds)) for weight, seconds in samples]) for kind, samples in document.items()]
    except (OSError, ValueError, TypeError, AttributeError):
        return []
