"""One worker process as its parent sees it: started, given a job, listened to, ended.

Must be started by a thread that lives as long as the executor: the kernel ends the worker with the thread that made it. Refuses to know
what jobs mean. Next: `worker.py`, the other end; `executor.py`, the only user.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from engines.jobs.job import Job
from state import failpoints

HELD_TOO_MUCH = 77
"""The exit code of a worker that ended itself, since its job held more memory than it may."""


class Ending(NamedTuple):
    """How a process ended, in words. memory: for want of it, beyond doubt."""

    how: str
    memory: bool = False


def oom_kills() -> int:
    """How many processes the kernel has killed so far since memory had run out, of all on this machine; 0 where it does not tell."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    return 0


class WorkerProcess:
    """A running `python -m engines.jobs.worker`. `send` and `messages` are for one thread each; the rest is thread-safe."""

    def __init__(self) -> None:
        """Starts it, without waiting for it to be up. Raises OSError."""
        self.killed = False
        self._oom_kills = oom_kills()
        # Our own import path, and never the current folder: that is the user's repository, with a `specs/` of its own.
        path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "engines.jobs.worker", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def send(self, job: Job, arguments: str, results: Path) -> None:
        """Hands over a job, its arguments as JSON text. No error if the worker is dead: `messages` ends, then."""
        self._oom_kills = oom_kills()
        request = {
            "id": job.id,
            "function": job.function,
            "arguments": arguments,
            "results": str(results),
            "failpoints": failpoints.armed(),
            "memory": job.memory,
        }
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ValueError):  # ValueError: reaped, and so closed, meanwhile
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()

    def messages(self) -> Iterator[dict[str, Any]]:
        """Blocking; until the process ends. A line that was cut off by its death is dropped."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith(b"\n"):
                yield json.loads(line)

    def end(self) -> None:
        """Asks an idle worker to end in good order; does not wait."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def hold(self) -> None:
        """Stops it where it is, until `go_on`."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """After `hold`; nothing otherwise."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """At once; does not wait. `killed` is set before, so that nobody gives it another job."""
        self.killed = True
        self._process.kill()

    def reap(self) -> Ending:
        """After `messages` has ended: waits for the process, and says how it ended."""
        code = self._process.wait()
        self.end()
        assert self._process.stdout is not None
        self._process.stdout.close()
        if code == HELD_TOO_MUCH:
            return Ending("held more memory than it may, and was ended", memory=True)
        if code >= 0:
            return Ending(f"ended with exit code {code}")
        name = signal.Signals(-code).name if -code in {item.value for item in signal.Signals} else f"signal {-code}"
        if -code == signal.SIGKILL and not self.killed and oom_kills() > self._oom_kills:
            return Ending(f"was killed by {name}, since the machine ran out of memory", memory=True)
        return Ending(f"was killed by {name}")
