"""The demo's lakehouse in .demo/: its repository, its daemon, `lakectl` as it would be typed, and the words in between.

It refuses to reach into the project: what is shown goes through `lakectl` and HTTP, as anybody's tools would. Next: `demo.py`.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pygit2
from rich.console import Console
from rich.markup import escape

EXAMPLES = Path(__file__).resolve().parent
DEMO = EXAMPLES.parent / ".demo"
LAKECTL = str(Path(sys.executable).parent / "lakectl")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("LAKEHOUSE_")}
"""Without settings that are meant for another lakehouse."""
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""The daemon is on this machine: a proxy for the rest of the world must not be asked for it."""
PATIENCE = 120.0
"""Seconds that anything may take before the demo gives up."""

console = Console(highlight=False)


class Unexpected(Exception):
    """Something was not as it should be; the text says what."""


def commit(message: str) -> str:
    """Commits everything that is not ignored; returns the revision."""
    repository = pygit2.init_repository(DEMO, initial_head="main")
    repository.index.add_all()
    repository.index.write()
    author = pygit2.Signature("Lakehouse demo", "demo@localhost")
    parents = [] if repository.head_is_unborn else [repository.head.target]
    revision = str(repository.create_commit("HEAD", author, author, message, repository.index.write_tree(), parents))
    console.print(f'   [dim]commit {revision[:7]}[/]  "{message}"')
    return revision


class Daemon:
    """`lakectl daemon` on .demo/, as a process of its own. The log is .demo/daemon.log, the pid file .demo/daemon.pid."""

    def __init__(self) -> None:
        command = [LAKECTL, "--repo", str(DEMO), "daemon", "--listen", "127.0.0.1:0"]
        with (DEMO / "daemon.log").open("wb") as log:
            self.process = subprocess.Popen(command, env=ENVIRONMENT, stdout=log, stderr=log, start_new_session=True)
        (DEMO / "daemon.pid").write_text(f"{self.process.pid}\n")
        self.url = ""

    def answering(self) -> None:
        """Waits until it does."""
        self.url = until("the daemon answers", self._address)

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """The JSON that a GET, or a POST of `body`, is answered with; None while the answer is an error."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        try:
            with DIRECT.open(request, timeout=PATIENCE) as answer:
                return json.load(answer)
        except urllib.error.HTTPError:
            return None
        except OSError as error:
            raise Unexpected(f"the daemon does not answer: {error}\n{log_tail()}") from error

    def one(self, sql: str) -> Any:
        """The only value of a query's only row."""
        answer = self.ask("/query", {"sql": sql})
        return next(iter(answer["rows"][0].values())) if answer else None

    def search(self, index: str, text: str) -> tuple[str, str]:
        """Generation and key of the best hit; empty while nothing answers."""
        answer = self.ask("/search", {"index": index, "text": text, "k": 1})
        return (answer["generation"], answer["hits"][0]["key"]) if answer and answer["hits"] else ("", "")

    def end(self) -> int:
        """Sends SIGTERM and waits; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Unexpected("the daemon did not end on SIGTERM") from None

    def _address(self) -> str | None:
        if self.process.poll() is not None:
            raise Unexpected(f"the daemon ended with {self.process.returncode}\n{log_tail()}")
        try:
            left = json.loads((DEMO / ".lakehouse" / "daemon.json").read_text())
        except (OSError, ValueError):
            return None
        return str(left["url"]) if left["pid"] == self.process.pid else None


def show(*words: str) -> None:
    """Runs `lakectl` as it would be typed. Raises Unexpected if it does not end with 0."""
    _type(words)
    code = subprocess.run([LAKECTL, "--repo", str(DEMO), *words], env=ENVIRONMENT, check=False).returncode
    if code != 0:
        raise Unexpected(f"lakectl {words[0]} ended with {code}")


def shown(*words: str) -> str:
    """As `show`; returns what was shown."""
    done = _said(words)
    if done.returncode != 0:
        raise Unexpected(f"lakectl {' '.join(words)} ended with {done.returncode}")
    return done.stdout


def refused(*words: str) -> None:
    """As `show`, of what is to be refused. Raises Unexpected if it is not."""
    if _said(words).returncode == 0:
        raise Unexpected(f"lakectl {' '.join(words)} was not refused")


def _said(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    _type(words)
    done = subprocess.run([LAKECTL, "--repo", str(DEMO), *words], env=ENVIRONMENT, check=False, capture_output=True, text=True)
    console.file.write(done.stdout + done.stderr)
    return done


def _type(words: Sequence[str]) -> None:
    typed = " ".join(word if re.fullmatch("[\\w/.,-]+", word) else f'"{word}"' for word in words)
    console.print(f"\n[bold]$ lakectl {escape(typed)}[/]", soft_wrap=True)
    console.file.flush()


def run(script: str, *arguments: str) -> str:
    """What one of the examples' programs prints. Raises Unexpected if it fails."""
    made = subprocess.run([sys.executable, str(EXAMPLES / Path(script)), *arguments], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise Unexpected(f"{script}: {made.stderr.strip()}")
    return made.stdout


def until(what: str, holds: Callable[[], Any]) -> Any:
    """Asks every few milliseconds until the answer is true, and returns it. Raises Unexpected when patience ends."""
    deadline = time.monotonic() + PATIENCE
    while not (found := holds()):
        if time.monotonic() > deadline:
            raise Unexpected(f"not after {PATIENCE:.0f} seconds: {what}\n{log_tail()}")
        time.sleep(0.02)
    return found


def heading(text: str) -> None:
    """The title of a step."""
    console.print(f"\n[bold cyan]{text}[/]")


def seconds(began: float) -> str:
    """Since then, for people."""
    return f"{time.monotonic() - began:.2f} s"


def log_tail() -> str:
    """The end of the daemon's log."""
    return "\n".join((DEMO / "daemon.log").read_text(errors="replace").splitlines()[-15:])
