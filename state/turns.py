"""One thread at a time per name, without a lock kept for every name that ever was."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """Thread-safe. A thread must not ask for a turn that it has: it would wait for itself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy: dict[str, _Turn] = {}

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Waits until no other thread is inside for this name."""
        with self._lock:
            turn = self._busy.setdefault(name, _Turn())
            turn.waiting += 1
        try:
            with turn.lock:
                yield
        finally:
            with self._lock:
                turn.waiting -= 1
                if not turn.waiting:
                    del self._busy[name]


class _Turn:
    __slots__ = ("lock", "waiting")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.waiting = 0
