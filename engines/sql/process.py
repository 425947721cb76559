"""One query worker as the daemon sees it: start, talk, watch its memory, kill. The only module that starts query workers.

A worker is started without the daemon's environment, so that it inherits no secret, and in a session of its own, so that a Ctrl-C in the
terminal reaches the daemon alone. It refuses to decide when: that is `pool.py`, to read next.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Literal

import orjson

from engines.errors import WorkerCrashed
from engines.sql.protocol import Closed, Frame, pack, receive
from engines.sql.shared import mapped

START_SECONDS = 60.0
FIRST_LOOK = 0.02  # seconds into a conversation; most are over by then
LOOK = 0.01
_ROOT = Path(__file__).resolve().parents[2]
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TAIL = 2_000  # characters of what a worker said at last

End = Literal["memory", "stopped"]


class WorkerProcess:
    """A started worker. Used on one event loop, by one conversation at a time."""

    def __init__(self, process: subprocess.Popen[bytes], scratch: Path, said: IO[bytes], statm: int) -> None:
        self._process = process
        self._scratch = scratch
        self._said = said
        self._statm = statm
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._watch: asyncio.TimerHandle | None = None
        self._untold: dict[str, Mapping[str, Any]] = {}
        self._telling: asyncio.Task[None] | None = None
        self.ended: End | None = None
        self.busy = False
        self.discarded = False

    @classmethod
    async def start(cls, scratch: Path, memory: int) -> WorkerProcess:
        """A warm worker. scratch: where it may make a folder; memory: bytes that operators may hold. Raises WorkerCrashed."""
        ours, theirs = socket.socketpair()
        worker = None
        try:
            launched = asyncio.ensure_future(asyncio.to_thread(_launch, scratch, memory, theirs))
            try:
                worker = await asyncio.shield(launched)
            except asyncio.CancelledError:
                worker = await launched
                raise
            worker._reader, worker._writer = await asyncio.open_connection(sock=ours, limit=1 << 20)
            async with asyncio.timeout(START_SECONDS):
                await receive(worker._reader)
        except BaseException as error:
            ours.close()
            said = ""
            if worker is not None:
                worker.kill("stopped")
                said = await asyncio.shield(asyncio.to_thread(worker.bury))
            if isinstance(error, Closed | TimeoutError | OSError):
                cause = said or (error.strerror if isinstance(error, OSError) else None) or "it said nothing"
                remedy = "Look at the machine's memory, processes and open files (`ulimit -a`); the next query tries again."
                raise WorkerCrashed(f"A query worker did not start: {cause}.", remedy=remedy) from error
            raise
        return worker

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended, by itself or by us."""
        # A process whose first thread has ended holds nothing any more, but is not over for the kernel before its others have.
        return self.ended is None and self._process.poll() is None and self.memory() > 0

    def memory(self) -> int:
        """Bytes that it holds besides mapped files; 0 once it has ended."""
        try:
            fields = os.pread(self._statm, 128, 0).split()
        except OSError:
            return 0
        return (int(fields[1]) - int(fields[2])) * _PAGE

    def begin(self, memory: int) -> None:
        """Before a conversation: from now on the worker is killed when it holds more than this."""
        self.busy = True
        self._watch = asyncio.get_running_loop().call_later(FIRST_LOOK, self._look, memory)

    def finish(self) -> None:
        """After the worker's last word in a conversation: it is ready for the next."""
        self.busy = False
        self._unwatch()

    async def ask(self, header: Mapping[str, Any], body: bytes | memoryview = b"") -> Frame:
        """Say something and take the answer. Raises Closed if the worker ends instead."""
        if self._telling is not None:
            self._untold.clear()
            await asyncio.shield(self._telling)
        self._writer.write(pack(header, body))
        answer = await receive(self._reader)
        shared = answer.header.get("shared")
        return answer if shared is None else Frame(answer.header, mapped(self.pid, shared, answer.header["size"]))

    def tell(self, about: str, header: Mapping[str, Any]) -> asyncio.Task[None]:
        """Say something outside of any conversation, whatever the answer; done when that came, or a conversation begins.

        Of what is to be said about one thing, only the last is.
        """
        self._untold[about] = header
        if self._telling is None:
            self._telling = asyncio.get_running_loop().create_task(self._tell())
        return self._telling

    async def _tell(self) -> None:
        with contextlib.suppress(Closed):
            while self._untold:
                self._writer.write(pack(self._untold.pop(next(iter(self._untold)))))
                await receive(self._reader)
        self._telling = None

    def drop(self) -> None:
        """Instead of sources: let the query be. The worker is ready for the next."""
        self._writer.write(pack({"op": "drop"}))
        self.finish()

    def kill(self, why: End) -> None:
        """End it now. Returns at once; `bury` cleans up."""
        self.ended = self.ended or why
        self._unwatch()
        self._process.kill()
        with contextlib.suppress(AttributeError):  # it never got that far
            self._writer.close()

    def bury(self) -> str:
        """Wait for the end, remove what is left, give its last words. Blocking."""
        self._process.wait()
        os.close(self._statm)
        shutil.rmtree(self._scratch, ignore_errors=True)
        with self._said as said:
            said.seek(0)
            return said.read().decode(errors="replace")[-_TAIL:].strip()

    @property
    def cause_of_death(self) -> str:
        """In words, for a worker that has been buried."""
        code = self._process.returncode
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"

    def _look(self, limit: int) -> None:
        if self.memory() > limit:
            self.kill("memory")
        else:
            self._watch = asyncio.get_running_loop().call_later(LOOK, self._look, limit)

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None


def _launch(parent: Path, memory: int, theirs: socket.socket) -> WorkerProcess:
    parent.mkdir(parents=True, exist_ok=True)
    _sweep(parent)
    scratch = Path(tempfile.mkdtemp(dir=parent, prefix=f"worker-{os.getpid()}-"))
    said = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - open as long as the worker
    settings = orjson.dumps({"scratch": str(scratch), "memory": memory}).decode()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "engines.sql.worker", settings],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=said,
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONPATH": str(_ROOT)},
            cwd="/",
            start_new_session=True,
        )
    return WorkerProcess(process, scratch, said, os.open(f"/proc/{process.pid}/statm", os.O_RDONLY))


def _sweep(parent: Path) -> None:
    """Remove what the workers of daemons that were killed had spilled. A process that took a dead one's number only delays that."""
    for folder in parent.glob("worker-*-*"):
        owner = folder.name.split("-")[1]
        if owner.isdigit() and not Path("/proc", owner).exists():
            shutil.rmtree(folder, ignore_errors=True)
