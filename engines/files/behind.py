"""Work behind one's back: one piece at a time, in a thread of its own, for what leaves Python alone while it parses, encodes or writes.

Whoever gives the next piece waits for the former, and is told then what that raised; so no more than one waits in memory. It refuses to be
a queue, and starts no thread before there is work for one. Next: `table_writer.py` and `csv.py`, which go on meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Behind(Generic[T]):
    """For one thread, which closes it; blocking."""

    def __init__(self) -> None:
        """Nothing is under way."""
        self._thread: ThreadPoolExecutor | None = None
        self._pending: Future[T] | None = None

    def start(self, work: Callable[[], T]) -> None:
        """Begins, as soon as the former piece is done. Raises what that raised."""
        self.wait()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "behind")
        self._pending = self._thread.submit(work)

    def wait(self) -> T | None:
        """What came of the piece under way, once; None where there is none. Raises what it raised."""
        pending, self._pending = self._pending, None
        return None if pending is None else pending.result()

    def close(self) -> None:
        """Waits for the piece under way, if any, and forgets what came of it."""
        self._pending = None
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
