"""Daemons under test: a git repository, a process, its HTTP API, and waiting for what it does. No sleeps, only conditions."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from harness_forks import fork_server

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0
POLL, RAREST_POLL = 0.02, 0.1
"""Seconds between two looks; they grow, since whoever is looked at works on the same cores."""

BUCKET = """
apiVersion: lakehouse/v1
kind: Bucket
metadata: {name: primary}
spec: {local: {path: lake}}
"""


def wait_for(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """The first true value of the condition. Fails with `what` and the last value."""
    end, pause = time.monotonic() + seconds, POLL
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"after {seconds:g} s still not: {what}; {value!r}")
        time.sleep(pause)
        pause = min(pause * 1.2, RAREST_POLL)
    return value


@dataclass
class Repository:
    """A git repository with specs and data files."""

    path: Path

    def __post_init__(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main")
        self.write(".gitignore", "lake/\n.lakehouse/\ndata/\n")

    @property
    def lake(self) -> Path:
        return self.path / "lake"

    @property
    def cache(self) -> Path:
        return self.path / ".lakehouse"

    def git(self, *arguments: str) -> str:
        identity = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
        alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        done = subprocess.run(
            ["git", *arguments], cwd=self.path, check=True, capture_output=True, text=True, env={**os.environ, **identity, **alone}
        )
        return done.stdout.strip()

    def write(self, name: str, content: str | bytes) -> Path:
        """A file, replaced at once: a daemon that looks meanwhile sees the old one or the new one."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        staged = path.with_name(f".{path.name}.new")
        staged.write_bytes(content.encode() if isinstance(content, str) else content)
        staged.replace(path)
        return path

    def commit(self, message: str = "change", **files: str) -> str:
        """Commits everything; files by their names below specs/, without suffix. Returns the revision."""
        for name, text in files.items():
            self.write(f"specs/{name}.yaml", text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.head

    @property
    def head(self) -> str:
        return self.git("rev-parse", "HEAD")


def lakectl(repository: Repository, *words: str) -> tuple[int, Any]:
    """Exit code and document."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-P", "-m", "reconciler.lakectl", "--repo", str(repository.path), *words, "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@dataclass(frozen=True)
class Answer:
    status: int
    document: Any
    headers: Mapping[str, str]

    @property
    def problem(self) -> str:
        """The slug of a problem document."""
        return str(self.document.get("type", "")).rpartition(":")[2]


@dataclass
class Daemon:
    """One process. `how`: see `daemon_process.py`."""

    repository: Repository
    log: Path
    failpoints: str = ""
    how: Mapping[str, float] = field(default_factory=dict)
    url: str = ""

    def __post_init__(self) -> None:
        ours = {name for name in os.environ if name.startswith("LAKEHOUSE_") and not name.startswith("LAKEHOUSE_SECRET__")}
        environment = {name: value for name, value in os.environ.items() if name not in ours}
        environment |= {"PYTHONPATH": str(ROOT), "LAKEHOUSE_LISTEN": "127.0.0.1:0"}
        if self.failpoints:
            environment["LAKEHOUSE_FAILPOINTS"] = self.failpoints
        wanted = {"repo": str(self.repository.path), "how": dict(self.how), "cwd": str(self.repository.path), "environment": environment}
        with self.log.open("ab") as log:
            self.process = fork_server(str(ROOT)).fork(wanted, log)

    def up(self) -> Daemon:
        """Waits until it says where it answers."""
        with self.process.stdout as stdout:
            self.url = stdout.readline().strip()
        if not self.url:
            raise Gone(self.process.wait(), self.said)
        return self

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def request(self, method: str, path: str, body: object = None, timeout: float = PATIENCE, **headers: str) -> Answer:
        """Raises OSError or http.client.HTTPException where nobody answers."""
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=timeout)
        try:
            text = None if body is None else json.dumps(body)
            kind = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, path, text, kind | {name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            content = response.read()
            is_json = "json" in response.headers.get("Content-Type", "")
            document = json.loads(content) if is_json else content.decode(errors="replace")
            return Answer(response.status, document, response.headers)
        finally:
            connection.close()

    def poke(self) -> bool:
        """Has it look at the ref and at requests now. Raises OSError where nobody listens."""
        where = json.loads((self.repository.cache / "daemon.json").read_text())["socket"]
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(where)
            return connection.recv(1) == b""

    def query(self, sql: str, **params: object) -> list[dict[str, Any]]:
        """The rows. Fails for a problem."""
        answer = self.ask(sql, **params)
        assert answer.status == 200, answer
        rows: list[dict[str, Any]] = answer.document["rows"]
        return rows

    def ask(self, sql: str, **params: object) -> Answer:
        return self.request("POST", "/query", {"sql": sql, "params": params})

    def value(self, sql: str, **params: object) -> Any:
        """The one value, None while there is no such table."""
        answer = self.ask(sql, **params)
        if answer.status != 200:
            return None
        (row,) = answer.document["rows"]
        (value,) = row.values()
        return value

    def search(self, index: str, text: str, k: int = 10) -> Answer:
        return self.request("POST", "/search", {"index": index, "text": text, "k": k})

    def status(self, name: str | None = None) -> dict[str, Any]:
        """Every object's status by its name, or that of one, {} if there is none."""
        found = self.request("GET", "/status").document
        by_name = {f"{row['kind']}/{row['name']}": row for row in found["objects"]}
        return by_name if name is None else by_name.get(name, {})

    def wait_status(self, name: str, reason: str, *words: str, ready: str | None = None) -> dict[str, Any]:
        """Waits until the object's status has this reason and all words; returns it."""

        def there() -> Any:
            row = self.status(name)
            fits = row.get("reason") == reason and all(word in row["message"] for word in words)
            return row if fits and ready in (None, row["ready"]) else None

        try:
            found: dict[str, Any] = wait_for(there, f"{name} is {reason} {words}")
        except AssertionError as error:
            raise AssertionError(f"{error}: it is {self.status(name)}") from error
        return found

    def figures(self) -> dict[str, float]:
        """Gauges by name and labels."""
        text = self.request("GET", "/metrics").document
        return {name: float(value) for name, value in re.findall(r"^(\S+) ([0-9.e+-]+)$", text, re.MULTILINE)}

    def settled(self) -> bool:
        """Whether the newest revision is followed, everything is Ready, and nothing moves."""
        document = self.request("GET", "/status").document
        return (
            all(row["ready"] == "True" for row in document["objects"])
            and self.request("GET", "/readyz").status == 200
            and not self.moving()
            and document["revision"] == self.repository.head
        )

    def moving(self) -> bool:
        """Whether anything is queued or at work."""
        return any(value for name, value in self.figures().items() if name.startswith(("lakehouse_queue_keys", "lakehouse_jobs")))

    def wait_settled(self) -> None:
        try:
            wait_for(self.settled, "settled")
        except AssertionError as error:
            raise AssertionError(f"{error}: {json.dumps(self.status(), indent=1)}\n{self.said[-4000:]}") from error

    def stop(self, seconds: float = PATIENCE) -> int:
        """SIGTERM; returns the exit code."""
        if self.alive:
            self.process.send_signal(signal.SIGTERM)
        return self.wait(seconds)

    def kill(self) -> None:
        self.process.kill()
        self.wait()

    def wait(self, seconds: float = PATIENCE) -> int:
        return self.process.wait(seconds)

    def children(self) -> list[psutil.Process]:
        """Query and job workers."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []


class Gone(AssertionError):
    """A daemon ended before it answered."""

    def __init__(self, code: int, said: str) -> None:
        super().__init__(f"it ended with {code} before it answered: {said[-4000:]}")
        self.code = code


@dataclass
class Daemons:
    """Starts daemons and ends those that a test leaves behind."""

    folder: Path
    started: list[Daemon] = field(default_factory=list)

    def begin(self, repository: Repository, failpoints: str = "", **how: float) -> Daemon:
        """Without waiting for it to answer."""
        daemon = Daemon(repository, self.folder / f"daemon-{len(self.started)}.log", failpoints, how)
        self.started.append(daemon)
        return daemon

    def start(self, repository: Repository, failpoints: str = "", **how: float) -> Daemon:
        return self.begin(repository, failpoints, **how).up()

    def end(self) -> None:
        for daemon in self.started:
            daemon.kill()
            daemon.process.stdout.close()


def gone(processes: list[psutil.Process]) -> bool:
    """Whether none of the processes runs any more."""
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)
