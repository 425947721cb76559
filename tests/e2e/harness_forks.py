"""Processes that are forked from one that has imported what they need, with the part of `subprocess.Popen` that tests use."""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any


class ForkServer:
    """The process that `daemon_process.py` is. Thread-safe."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        script = Path(__file__).with_name("daemon_process.py")
        command = [sys.executable, "-P", str(script), str(theirs.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=environment)
        theirs.close()
        self._running: dict[int, Forked] = {}

    def fork(self, wanted: Mapping[str, Any], err: IO[bytes]) -> Forked:
        """wanted: repo, how, cwd, environment; see `daemon_process.py`."""
        read, write = os.pipe()
        with self._lock:
            socket.send_fds(self._control, [json.dumps(wanted).encode()], [write, err.fileno()])
            os.close(write)
            while (pid := self._hear()) is None:
                pass
            forked = self._running[pid] = Forked(self, pid, os.fdopen(read))
        return forked

    def listen(self) -> None:
        """Tells those that ended so."""
        with self._lock:
            while select.select([self._control], [], [], 0)[0]:
                self._hear()

    def close(self) -> None:
        """Ends whatever still runs."""
        self._control.close()
        self._process.wait()

    def _hear(self) -> int | None:
        """One message: the process that was started, None if one ended."""
        message = json.loads(self._control.recv(1 << 16))
        if "started" in message:
            return int(message["started"])
        self._running.pop(message["ended"]).returncode = message["code"]  # kept by the process: a pid is given again
        return None


class Forked:
    """As `subprocess.Popen`."""

    def __init__(self, server: ForkServer, pid: int, stdout: IO[str]) -> None:
        self.pid = pid
        self.stdout = stdout
        self.returncode: int | None = None
        self._server = server

    def poll(self) -> int | None:
        if self.returncode is None:
            self._server.listen()
        return self.returncode

    def wait(self, timeout: float = 60.0) -> int:
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            time.sleep(0.005)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it ended since
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@cache
def fork_server(path: str) -> ForkServer:
    """One for all tests of this process. path: where it finds our packages."""
    made = ForkServer({**os.environ, "PYTHONPATH": path})
    atexit.register(made.close)
    return made
