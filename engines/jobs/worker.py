"""A job worker process: `python -m engines.jobs.worker PARENT`, started by the executor only.

Reads jobs as lines of JSON from its stdin and runs them one after the other. Writes lines of JSON to its stdout: `{"progress": [done,
total]}`, `{"bucket_failure": …}` for an operation of a bucket that failed, `{"timed": true}` or false (`timed.py`), then `{"done": …}`
once the result is durable, or `{"failed": …}`. What a job prints goes to stderr.
It must never outlive its parent, nor be in the way of the daemon's answers: niced, batch scheduled, ended by the kernel with the
thread that started it and, elsewhere than on Linux, by the end of stdin. Next: `process.py`, the other end.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from engines.jobs.failure import Failure
from engines.jobs.function import call
from engines.jobs.job import Done
from engines.jobs.lifeline import die_with
from engines.jobs.process import HELD_TOO_MUCH
from engines.jobs.results import JobResults
from engines.jobs.timed import said_to
from state import failpoints
from state.errors import StateError
from state.failures import Failures

RESULT_WRITTEN = failpoints.declare("jobs.result-written")

PROGRESS_INTERVAL = 0.1
_LOOK = 0.02
_PAGE = os.sysconf("SC_PAGE_SIZE")
_NICENESS = 10  # a tenth of a busy core: at 19 a machine that is busy with others' work starves a job for minutes


def main(parent: int) -> None:
    """parent: the process that must be alive."""
    _step_back()
    die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the daemon ends us in its own order
    faulthandler.enable()
    failpoints.kill_also(parent)
    incoming, send = _take_over_pipes()
    mailbox = _Mailbox(incoming)
    while (request := mailbox.next()) is not None:
        _run(request, send)


class _Mailbox:
    """Jobs as they come in. The end of stdin ends an idle worker in good order and a busy one at once."""

    def __init__(self, incoming: Any) -> None:
        self._incoming = incoming
        self._requests: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self._busy = False
        self._ended = False
        threading.Thread(target=self._listen, name="stdin", daemon=True).start()

    def next(self) -> dict[str, Any] | None:
        self._busy = False
        request = self._requests.get()
        self._busy = True
        return None if self._ended else request

    def _listen(self) -> None:
        for line in self._incoming:
            self._requests.put(json.loads(line))
        self._ended = True
        self._requests.put(None)
        if self._busy:
            os._exit(0)


def _run(request: dict[str, Any], send: Callable[[dict[str, Any]], None]) -> None:
    failpoints.arm(request["failpoints"])
    last = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= PROGRESS_INTERVAL or done == total:
            last = now
            send({"progress": [done, total]})

    failures = Failures()
    failures.listen(lambda failure: send({"bucket_failure": failure.to_row()}))
    with _bounded(request["memory"]), said_to(lambda begins: send({"timed": begins})):
        outcome = call(request["function"], request["arguments"], progress, failures)
    if isinstance(outcome, Done):
        try:
            JobResults(Path(request["results"])).write(request["id"], outcome.result)
        except StateError as error:
            outcome = Failure.of(error)
    if isinstance(outcome, Failure):
        send({"failed": outcome.to_dict()})
        return
    failpoints.hit(RESULT_WRITTEN)
    send({"done": True})


@contextlib.contextmanager
def _bounded(memory: int | None) -> Iterator[None]:
    """Ends this process once it holds more than so many bytes besides mapped files: what allocates them heeds no exception."""
    statm = Path("/proc/self/statm")
    if memory is None or not statm.exists():
        yield
        return
    over = threading.Event()

    def look() -> None:
        while not over.wait(_LOOK):
            fields = statm.read_text().split()
            if (int(fields[1]) - int(fields[2])) * _PAGE > memory:
                os._exit(HELD_TOO_MUCH)

    watch = threading.Thread(target=look, name="memory", daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()


def _take_over_pipes() -> tuple[Any, Callable[[dict[str, Any]], None]]:
    """The pipes under other numbers, so that a job that prints, or reads a password, does not talk to the executor."""
    incoming = os.fdopen(os.dup(0), "rb")
    outgoing = os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    lock = threading.Lock()

    def send(message: dict[str, Any]) -> None:
        line = memoryview(json.dumps(message).encode() + b"\n")
        with lock:
            while line:
                line = line[os.write(outgoing, line) :]

    return incoming, send


def _step_back() -> None:
    os.nice(_NICENESS)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # containers may forbid it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        with contextlib.suppress(OSError):
            # where the kernel groups tasks by session, niceness counts within a session only: be one, and nice as a whole
            os.setsid()
            Path("/proc/self/autogroup").write_text(str(_NICENESS))


if __name__ == "__main__":
    main(int(sys.argv[1]))
