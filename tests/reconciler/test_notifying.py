"""The operator's command hears of events, and whatever becomes of it, nobody waits."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from reconciler import notifying
from reconciler.notifying import Command, Event, Notifier, run

EVENT: Event = {"object": "Dataset/x", "reason": "Stale", "message": "old"}
KEEP = [sys.executable, "-c", "import sys; open('told', 'a').write(sys.stdin.read())"]


class Hearing:
    """A notifier with this command, and what it could not tell."""

    def __init__(self, folder: Path, arguments: Sequence[str], seconds: float = 30.0) -> None:
        self.failures: list[tuple[Event, str]] = []
        self.notifier = Notifier(lambda: Command(arguments, seconds), folder, lambda event, why: self.failures.append((event, why)))


def test_events_come_in_order_as_json_lines(tmp_path: Path) -> None:
    hearing = Hearing(tmp_path, KEEP)
    for number in range(3):
        hearing.notifier.tell({**EVENT, "number": number})
    hearing.notifier.close()
    assert [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()] == [{**EVENT, "number": n} for n in range(3)]
    assert hearing.failures == []


@pytest.mark.parametrize(
    ("arguments", "seconds", "problem"),
    [
        ([sys.executable, "-c", "raise SystemExit(3)"], 30.0, "`notify.command` ended with exit code 3"),
        (["/nowhere/at/all"], 30.0, "`notify.command` cannot be started: No such file or directory"),
        (["sh", "-c", "sleep 100 & sleep 100"], 0.2, "`notify.command` took longer than 0.2 s and was ended"),
    ],
)
def test_a_command_that_does_not_end_well_is_told(tmp_path: Path, arguments: list[str], seconds: float, problem: str) -> None:
    hearing = Hearing(tmp_path, arguments, seconds)
    assert run(Command(arguments, seconds), tmp_path, EVENT) == problem
    hearing.notifier.tell(EVENT)
    hearing.notifier.close()
    assert hearing.failures in ([(EVENT, problem)], []), "it waits as long as one command may take"


def test_nothing_runs_without_a_command(tmp_path: Path) -> None:
    hearing = Hearing(tmp_path, [])
    hearing.notifier.tell(EVENT)
    hearing.notifier.close()
    assert hearing.failures == []


def test_more_events_than_can_wait_are_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifying, "_MOST", 1)
    gate, begun = threading.Event(), threading.Event()
    monkeypatch.setattr(notifying, "run", lambda *_: begun.set() or (gate.wait() and None))
    hearing = Hearing(tmp_path, KEEP)
    hearing.notifier.tell(EVENT)
    begun.wait()
    for number in (1, 2):
        hearing.notifier.tell({**EVENT, "number": number})
    gate.set()
    hearing.notifier.close()
    assert hearing.failures == [({**EVENT, "number": 2}, "1 events wait for `notify.command`")]
