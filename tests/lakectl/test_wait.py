"""`lakectl wait`: yes, no, and what is not so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.lakectl.commands.wait import _seen_since
from state import reasons

if TYPE_CHECKING:
    from conftest import Lakehouse


@pytest.mark.parametrize(
    "words",
    [
        ["Dataset/candidates", "bucket/primary"],
        ["--for", "condition=Stalled", "Dataset/call-log"],
        ["--for", "condition=Stalled=False", "Dataset/notes"],
        ["--for", "condition=ready=false", "Dataset/notes"],
        ["--for", "deleted", "Dataset/never-was"],
        ["--for", "Ready", "Dataset/candidates", "--revision", "4f1c0de" + "0" * 33],
    ],
)
def test_what_is_so(alive: Lakehouse, words: list[str]) -> None:
    assert alive.call("wait", *words).code == 0


@pytest.mark.parametrize(
    "words",
    [
        ["--all"],
        ["Dataset/notes"],
        ["Dataset/nobody"],
        ["--for", "deleted", "Dataset/notes"],
        ["Dataset/candidates", "--revision", "another"],
        ["--for", "condition=Stalled", "Dataset/candidates"],
    ],
)
def test_what_is_not_so(alive: Lakehouse, words: list[str]) -> None:
    said = alive.call("wait", *words, "--timeout", "0")
    assert said.code == 1
    assert "not so after" in said.out


@pytest.mark.parametrize("words", [["Dataset/call-log"], ["--all"], ["--for", "condition=Ready", "Dataset/call-log"]])
def test_what_is_stalled_is_not_waited_for(alive: Lakehouse, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.setattr("reconciler.lakectl.commands.wait._STANDS", 0.0)
    said = alive.call("wait", *words)
    assert said.code == 1
    assert "it is Stalled, and stays so until its spec or data change" in said.out
    assert "Dataset/notes" not in said.out


def test_a_removal_that_is_held_is_not_waited_for(alive: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.lakectl.commands.wait._STANDS", 0.0)
    alive.put("Index/old", reasons.PRUNE_HELD, "no spec asks for it, but 2 of 2 would go: `lakectl approve 3f9c` lets it go")
    said = alive.call("wait", "Index/old", "--timeout", "10")
    assert said.code == 1
    assert "its removal is held until somebody approves it" in said.out
    assert "`lakectl approve 3f9c`" in " ".join(said.out.split())


def test_what_was_not_looked_at_since_does_not_count(alive: Lakehouse) -> None:
    ready = next(status for status in alive.book.all("Dataset") if status.name == "candidates")
    assert _seen_since(ready, "")
    assert not _seen_since(ready, str(ready.observed_at))
    assert not _seen_since(None, "2026")


def test_what_is_not_so_for_programs(alive: Lakehouse) -> None:
    said = alive.call("wait", "Dataset/notes", "--timeout", "0", "-o", "json")
    assert (said.document["met"], said.document["unmet"][0]["reason"]) == (False, "SourceEmpty")


def test_what_has_not_been_read_is_told(alive: Lakehouse) -> None:
    said = alive.call("wait", "Dataset/candidates", "--revision", "another", "--timeout", "0")
    assert ": commit another has not been read, but 4f1c0de" in said.out


def test_nothing_is_ready_without_a_daemon(dead: Lakehouse) -> None:
    said = dead.call("wait", "Dataset/candidates", "--timeout", "0")
    assert said.code == 1
    assert "Waiting for one to start" in said.err
