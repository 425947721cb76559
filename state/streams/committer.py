"""Events of coroutines, durable before they go on: many share one sync, and no event loop waits for a disk.

A thread writes whatever came while it wrote the last time, in one group with what other threads append (`wal.py`). An answer that must not
be given before its event is on the disk awaits `append`; one who was cancelled needs no answer, and its event is written all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from queue import SimpleQueue
from threading import Lock, Thread
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
    """Used on one event loop, which may be another one after the first has ended; `close` from anywhere.

    Events reach the thread by one queue, on which it sleeps: every other way to wake it takes longer than what it then does.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._waiting: SimpleQueue[tuple[WalRecord, Written] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="committer", daemon=True)
        self._closing = Lock()
        self._closed = False

    def append(self, stream: str, event: Mapping[str, Any]) -> tuple[str, Written]:
        """The event's id, and when and how its writing ended; it is written whether or not anybody waits.

        Raises StreamInvalid, and StateError after `close`.
        """
        record = self._log.encode(stream, event)
        written: Written = asyncio.get_running_loop().create_future()
        with self._closing:
            if self._closed:
                raise StateError("Events cannot be written any more: whoever writes them is closed.")
            if self._thread.ident is None:
                self._thread.start()
            self._waiting.put((record, written))
        return record.id, written

    def close(self) -> None:
        """Waits until all is written. Blocking."""
        with self._closing:
            self._closed = True
            self._waiting.put(None)
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        """Writes what came until `close`, whatever came meanwhile together."""
        closed = False
        while not closed:
            taken = [self._waiting.get()]
            while not self._waiting.empty():
                taken.append(self._waiting.get())
            closed = None in taken
            if together := [one for one in taken if one is not None]:
                self._write(together)

    def _write(self, taken: Sequence[tuple[WalRecord, Written]]) -> None:
        fault: StateError | None = None
        try:
            self._log.commit([record for record, _ in taken])
        except StateError as error:
            fault = error
        except Exception as error:  # noqa: BLE001 - whatever it is, each one who waits hears of it
            fault = StateError(f"Events cannot be written: {type(error).__name__}: {error}.")
        with suppress(RuntimeError):  # the loop has ended, and with it whoever waited
            taken[-1][1].get_loop().call_soon_threadsafe(_tell, [written for _, written in taken], fault)


def _tell(waiting: Sequence[Written], fault: StateError | None) -> None:
    for written in waiting:
        if not written.done():
            written.set_result(fault)
