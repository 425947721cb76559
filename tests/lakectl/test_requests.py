"""Requests: left in the bucket, answered by whoever holds the lease, told to whoever asked. A thread answers here as the daemon does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from reconciler.lakectl import requests as asking
from state import reasons
from state.requests import Request

if TYPE_CHECKING:
    from conftest import Lakehouse

Answering = Callable[[str, str], None]


@pytest.fixture
def answering(alive: Lakehouse) -> Iterator[Answering]:
    """Answers the next request with an outcome and a message."""
    threads: list[threading.Thread] = []

    def answer(outcome: str, message: str) -> None:
        def work() -> None:
            while not (pending := alive.requests.pending()):
                pass
            request = pending[0]
            row = {"request": request.id, "verb": request.verb, "object": request.object, "actor": request.actor, "reason": request.reason}
            alive.streams_.append("requests", row | {"outcome": outcome, "message": message})
            alive.requests.remove(request.id)

        threads.append(threading.Thread(target=work))
        threads[-1].start()

    yield answer
    for thread in threads:
        thread.join(10)


def submitted(lakehouse: Lakehouse) -> Request:
    (request,) = lakehouse.requests.pending()
    return request


@pytest.mark.parametrize(("outcome", "code", "sign"), [("done", 0, "✔"), ("refused", 1, "✘"), ("failed", 1, "✘")])
def test_the_answer_is_told(alive: Lakehouse, answering: Answering, outcome: str, code: int, sign: str) -> None:
    answering(outcome, "it is looked at next")
    said = alive.call("reconcile", "dataset/candidates")
    assert said.code == code
    assert said.out.startswith(f"{sign}  Dataset/candidates: ")


def test_a_look_may_be_waited_for(alive: Lakehouse, answering: Answering) -> None:
    answering("done", "it is looked at next")
    alive.now += timedelta(seconds=10)
    alive.put("Dataset/candidates", reasons.SUCCEEDED, "20,001 rows from 3 files, version 4")
    said = alive.call("reconcile", "Dataset/candidates", "--wait", "-o", "json")
    assert (said.code, said.document["met"]) == (0, True)
    assert "--wait needs an object" in alive.call("reconcile", "--wait").err


def test_the_answer_for_programs(alive: Lakehouse, answering: Answering) -> None:
    answering("refused", "plan 1 is not what would be done any more")
    said = alive.call("approve", "1", "-o", "json")
    assert (said.code, said.document["outcome"], said.document["object"]) == (1, "refused", None)


def test_without_a_daemon_it_is_kept_for_the_next_one(dead: Lakehouse) -> None:
    said = dead.call("suspend", "Dataset/candidates", "--reason", "export is being repaired", "--for", "2h")
    assert said.code == 0
    assert "queued, not done: nobody is reconciling now; the next daemon or `lakectl apply` carries it out" in " ".join(said.out.split())
    request = submitted(dead)
    assert (request.verb, request.object, request.reason) == ("suspend", "Dataset/candidates", "export is being repaired")
    assert request.payload == {"until": "2026-03-01T14:00:00.000Z"}
    assert request.actor == asking.actor()
    assert "@" in request.actor
    assert request.at == "2026-03-01T12:00:00.000Z"


@pytest.mark.parametrize(
    ("words", "verb", "object_", "payload"),
    [
        (["reconcile"], "reconcile", "", {}),
        (["reconcile", "Dataset/x", "--files"], "resync", "Dataset/x", {}),
        (["resume", "index/x"], "resume", "Index/x", {}),
        (["approve", "3f9c"], "approve", "", {"plan": "3f9c"}),
        (["suspend", "Dataset/x", "--reason", "r"], "suspend", "Dataset/x", {}),
        (["suspend", "Dataset/x", "--reason", "r", "--until", "2026-12-01"], "suspend", "Dataset/x", {"until": "2026-12-01T00:00:00.000Z"}),
    ],
)
def test_what_each_command_asks_for(dead: Lakehouse, words: list[str], verb: str, object_: str, payload: dict[str, str]) -> None:
    assert dead.call(*words).code == 0
    request = submitted(dead)
    assert (request.verb, request.object, dict(request.payload)) == (verb, object_, payload)


def test_an_answer_that_does_not_come_is_no_yes(alive: Lakehouse) -> None:
    said = alive.call("reconcile", "--timeout", "0")
    assert said.code == 1
    assert "not answered yet" in said.out


def test_a_daemon_that_ends_meanwhile_is_noticed(alive: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_DAEMON_EVERY", 0.0)
    lives = iter([True, True, False])
    monkeypatch.setattr(asking, "is_alive", lambda heartbeat, now: next(lives))
    said = alive.call("reconcile", "-o", "json")
    assert (said.code, said.document["outcome"]) == (0, "queued")
    assert said.document["message"] == "queued, not done: the daemon has ended meanwhile; the next daemon or `lakectl apply` carries it out"


def test_whoever_insists_waits_for_a_daemon_that_comes(dead: Lakehouse, answering: Answering) -> None:
    answering("done", "suspended")
    said = dead.call("suspend", "Dataset/candidates", "--reason", "r", "--wait", "-o", "json")
    assert (said.code, said.document["outcome"]) == (0, "done")


@pytest.mark.parametrize("words", [["resume", "Dataset/candidates"], ["reconcile", "Dataset/candidates"]])
def test_and_nobody_coming_is_no_success(dead: Lakehouse, words: list[str]) -> None:
    said = dead.call(*words, "--wait", "--timeout", "0", "-o", "json")
    assert (said.code, said.document["outcome"]) == (1, "waiting")


def test_an_address_is_no_way_to_ask(alive: Lakehouse) -> None:
    said = alive.call("--url", "http://127.0.0.1:1", "reconcile")
    assert said.code == 2
    assert "works through the state bucket" in said.err
