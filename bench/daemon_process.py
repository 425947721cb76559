"""A daemon in a process of its own, as users run it: what it answers, what it costs, and that it ends.

The process is `lakectl daemon`; its address is read from what it leaves in `.lakehouse/`. CPU seconds are of utime and stime in /proc
(ticks of 10 ms, so measure over many of them); memory is proportional (PSS), so that what processes share counts once.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

ROOT = Path(__file__).resolve().parent.parent
LAKECTL = (sys.executable, "-P", "-m", "reconciler.lakectl")
_TICKS = os.sysconf("SC_CLK_TCK")


def environment() -> dict[str, str]:
    """Ours without settings of another lakehouse, and our packages on the path: a user's current folder has a `specs/` of its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("LAKEHOUSE_")} | {"PYTHONPATH": str(ROOT)}


class Connection:
    """One keep-alive connection that speaks JSON."""

    def __init__(self, url: str) -> None:
        self._http = http.client.HTTPConnection(url.removeprefix("http://"), timeout=120)

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Status and content."""
        self._http.request(method, path, body, {"Content-Type": "application/json"} if body is not None else {})
        answer = self._http.getresponse()
        return answer.status, answer.read()

    def get(self, path: str) -> Any:
        """The document at a path. Raises RuntimeError on any problem."""
        return self._document(*self.ask("GET", path))

    def post(self, path: str, document: Any) -> Any:
        """What a document posted to a path is answered with. Raises RuntimeError on any problem."""
        return self._document(*self.ask("POST", path, json.dumps(document).encode()))

    def close(self) -> None:
        """Ends it."""
        self._http.close()

    def _document(self, status: int, content: bytes) -> Any:
        if status != 200:
            raise RuntimeError(f"{status}: {content[:500].decode()}")
        return json.loads(content)


class DaemonProcess:
    """Runs from `__enter__` to `__exit__`. Its log goes to `daemon.log` beside the repository."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._address = folder / ".lakehouse" / "daemon.json"
        self._log_path = folder.parent / "daemon.log"

    def __enter__(self) -> Self:
        self._address.unlink(missing_ok=True)
        self.started = time.perf_counter()
        command = (*LAKECTL, "--repo", str(self._folder), "daemon", "--listen", "127.0.0.1:0")
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self._folder, env=environment(), stdout=log, stderr=log)
        self.pid = self._process.pid
        try:
            self.until(self._address.exists, 120)
            self.url = str(json.loads(self._address.read_text())["url"])
        except BaseException:
            self._end()
            raise
        self.connection = Connection(self.url)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.connection.close()
        self._end()

    def until(self, holds: Callable[[], bool], seconds: float, every: float = 0.05) -> None:
        """Waits for a condition. Raises TimeoutError, and RuntimeError if the daemon ended meanwhile."""
        deadline = time.perf_counter() + seconds
        while not holds():
            if self._process.poll() is not None:
                raise RuntimeError(f"the daemon ended with {self._process.returncode}: {self._log_path.read_text()[-2000:]}")
            if time.perf_counter() > deadline:
                raise TimeoutError(f"not there after {seconds} s: {self._log_path.read_text()[-2000:]}")
            time.sleep(every)

    def until_visited(self, seconds: float) -> float:
        """Waits for /readyz: every object was looked at once. Returns seconds since the start of the process."""
        self.until(lambda: self.connection.ask("GET", "/readyz")[0] == 200, seconds)
        return time.perf_counter() - self.started

    def until_ready(self, seconds: float) -> float:
        """Waits until every object is Ready. Returns seconds since the start of the process."""
        self.until_visited(seconds)
        self.until(lambda: not self.unready(), seconds, every=0.1)
        return time.perf_counter() - self.started

    def unready(self) -> list[dict[str, Any]]:
        """Rows of GET /status that are not Ready."""
        return [row for row in self.connection.get("/status")["objects"] if row["ready"] != "True"]

    def status(self, kind: str, name: str) -> dict[str, Any]:
        """One object's row."""
        (row,) = self.connection.get(f"/status?kind={kind}&name={name}")["objects"]
        return dict(row)

    def until_applied(self, kind: str, name: str, revision: str, seconds: float = 60, every: float = 0.002) -> None:
        """Waits until an object is Ready for a revision."""

        def applied() -> bool:
            row = self.status(kind, name)
            return bool(row["appliedRevision"] == revision and row["ready"] == "True")

        self.until(applied, seconds, every)

    def cpu_seconds(self) -> float:
        """Of the daemon itself, without its workers."""
        return cpu_seconds(self.pid)

    def tree_cpu_seconds(self) -> float:
        """Of the daemon and the workers that live, and those that were waited for."""
        return sum(cpu_seconds(process.pid, reaped=True) for process in self._tree())

    def tree_pss_mib(self) -> dict[str, float]:
        """Proportional memory of the daemon and each worker, by what they are."""
        found: dict[str, float] = {}
        for process in self._tree():
            command = process.cmdline()
            name = next((part for part in reversed(command) if part.endswith((".worker", ".main"))), "daemon")
            name = "daemon" if process.pid == self.pid else name
            found[name] = round(found.get(name, 0.0) + pss_mib(process.pid), 1)
        return found

    def _tree(self) -> list[psutil.Process]:
        own = psutil.Process(self.pid)
        return [own, *own.children(recursive=True)]

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def cpu_seconds(pid: int, *, reaped: bool = False) -> float:
    """utime + stime of a process, and of its children that ended if asked."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(value) for value in fields[11 : 15 if reaped else 13]) / _TICKS


def pss_mib(pid: int) -> float:
    """Proportional set size."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
