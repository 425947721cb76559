"""Events of coroutines, durable before they go on: many share one sync, and no event loop waits for a disk.

A thread writes whatever came while it wrote the last time, in one group with what other threads append (`wal.py`). An answer that must not
be given before its event is on the disk awaits `append`; one who was cancelled needs no answer, and its event is written all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Lock
from typing import Any, Protocol, TypeAlias

from state.errors import StateError
from state.streams.wal import WalRecord


class Log(Protocol):
    """Streams, for appending."""

    def encode(self, stream: str, event: Mapping[str, Any]) -> WalRecord:
        """An event with its id. Raises StreamInvalid."""

    def commit(self, records: Iterable[WalRecord]) -> None:
        """Returns once they are durable. Raises StateError; then nobody knows."""


Written: TypeAlias = "asyncio.Future[StateError | None]"
"""Why an event is not durable, None if it is."""


class Committer:
    """Used on one event loop, which may be another one after the first has ended; `close` from anywhere."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="committer")
        self._lock = Lock()
        self._waiting: list[tuple[WalRecord, Written]] = []
        self._writing = False

    def append(self, stream: str, event: Mapping[str, Any]) -> tuple[str, Written]:
        """The event's id, and when and how its writing ended; it is written whether or not anybody waits. Raises StreamInvalid."""
        record = self._log.encode(stream, event)
        written: Written = asyncio.get_running_loop().create_future()
        with self._lock:
            self._waiting.append((record, written))
            begins, self._writing = not self._writing, True
        if begins:
            self._thread.submit(self._write)
        return record.id, written

    def close(self) -> None:
        """Waits until all is written. Blocking."""
        self._thread.shutdown()

    def _write(self) -> None:
        while True:
            with self._lock:
                taken, self._waiting = self._waiting, []
                self._writing = bool(taken)
            if not taken:
                return
            fault: StateError | None = None
            try:
                self._log.commit([record for record, _ in taken])
            except StateError as error:
                fault = error
            except Exception as error:  # noqa: BLE001 - whatever it is, each one who waits hears of it
                fault = StateError(f"Events cannot be written: {type(error).__name__}: {error}.")
            with suppress(RuntimeError):  # the loop has ended, and with it whoever waited
                taken[0][1].get_loop().call_soon_threadsafe(_tell, [written for _, written in taken], fault)


def _tell(waiting: Sequence[Written], fault: StateError | None) -> None:
    for written in waiting:
        if not written.done():
            written.set_result(fault)
