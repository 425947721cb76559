"""Runs the operator's command for events that somebody should hear of, with the event as JSON on its standard input.

Nothing is sent anywhere by this process: what becomes of an event is the command's business. It runs in a thread of its own, one event at
a time in order, with a time limit, so that no visit waits for it; a command that fails, hangs or cannot be started is an event itself, and
is not run for that one. Each event is told once at most: one that a killed process had not told is in `system.events` all the same.
"""

import logging
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

_log = logging.getLogger(__name__)

_MOST = 1_000
"""Events that wait."""

Event = Mapping[str, Any]
Failed = Callable[[Event, str], None]
"""Told which event could not be told, and why."""


@dataclass(frozen=True, slots=True)
class Command:
    """What is run, and for how many seconds at most. Without arguments nothing is."""

    arguments: Sequence[str]
    seconds: float


class Notifier:
    """Thread-safe. Its thread begins with the first event."""

    def __init__(self, command: Callable[[], Command], folder: Path, failed: Failed) -> None:
        """command: as the settings in force have it. folder: that it runs in."""
        self._command = command
        self._folder = folder
        self._failed = failed
        self._waiting: queue.Queue[Event | None] = queue.Queue(_MOST)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def tell(self, event: Event) -> None:
        """Returns at once."""
        if not self._command().arguments:
            return
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="notify", daemon=True)
                self._thread.start()
        try:
            self._waiting.put_nowait(event)
        except queue.Full:
            self._failed(event, f"{_MOST} events wait for `notify.command`")

    def close(self) -> None:
        """Tells what waits, for as long as one command may take, and ends."""
        if self._thread is not None:
            until = time.monotonic() + self._command().seconds
            with suppress(queue.Full):  # the end waits for its place among what waits
                self._waiting.put(None, timeout=self._command().seconds)
            self._thread.join(max(until - time.monotonic(), 0.0))

    def _run(self) -> None:
        while (event := self._waiting.get()) is not None:
            problem = run(self._command(), self._folder, event)
            if problem is not None:
                self._failed(event, problem)


def run(command: Command, folder: Path, event: Event) -> str | None:
    """What went wrong; None if the command ended with 0. Its output is not looked at. Blocking."""
    if not command.arguments:
        return None
    try:
        process = subprocess.Popen(
            list(command.arguments), cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        return f"`notify.command` cannot be started: {error.strerror if isinstance(error, OSError) else error}"
    try:
        process.communicate(orjson.dumps(event) + b"\n", timeout=command.seconds)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its children, too
        process.communicate()
        return f"`notify.command` took longer than {command.seconds:g} s and was ended"
    if process.returncode:
        return f"`notify.command` ended with exit code {process.returncode}"
    return None
