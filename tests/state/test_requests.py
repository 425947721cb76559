"""Requests: put once, read oldest first, removed by id; what is none is refused, or listed as damaged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from state.errors import BucketUnavailable, RequestInvalid
from state.local_store import LocalStore
from state.remote_store import ObstoreStore, open_memory
from state.requests import VERBS, Damaged, Request, RequestQueue

ONE = Request(
    "01JD000000000000000000000A", "suspend", "Dataset/candidates", "ann", "load", {"until": None}, "d1", "2026-11-22T15:00:00.000Z"
)


def nested(depth: int) -> list[object]:
    found: list[object] = []
    for _ in range(depth):
        found = [found]
    return found


@pytest.fixture
def store() -> ObstoreStore:
    return open_memory("lake")


@pytest.fixture
def queue(store: ObstoreStore) -> RequestQueue:
    return RequestQueue(store)


def test_requests_are_read_oldest_first_and_removed_by_id(queue: RequestQueue) -> None:
    later = replace(ONE, id="01JD000000000000000000000B", verb="resume", digest=None)
    queue.submit(later)
    queue.submit(ONE)
    queue.submit(ONE)
    assert queue.pending() == (ONE, later)
    queue.remove(ONE.id)
    queue.remove(ONE.id)
    assert queue.pending() == (later,)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_about_an_object_is_taken(queue: RequestQueue, verb: str) -> None:
    queue.submit(replace(ONE, verb=verb))
    assert queue.pending()[0].verb == verb


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"verb": "explode"}, "'explode' is no verb; there are suspend, "),
        ({"object": ""}, "suspend needs an object"),
        ({"object": "candidates"}, "`candidates` is not an object's key"),
        ({"id": "../x"}, "letters and digits"),
        ({"id": ""}, "letters and digits"),
        ({"actor": ""}, "an actor"),
        ({"payload": {"until": object()}}, "no JSON"),
        ({"payload": {"share": float("nan")}}, "no JSON"),
        ({"payload": []}, "wrong type"),
        ({"digest": 5}, "wrong type"),
        ({"id": "01A"}, "a ULID"),
        ({"reason": "caf\udce9"}, "can be recorded: str is not valid UTF-8"),
        ({"actor": "caf\udce9"}, "can be recorded"),
        ({"payload": {"caf\udce9": 1}}, "can be recorded"),
        ({"payload": {"rows": 2**64}}, "can be recorded: Integer exceeds 64-bit"),
        ({"payload": {"deep": nested(2000)}}, "can be recorded: Recursion"),
        ({"reason": "because " * 10_000}, "at most 65536. Say it in fewer words"),
    ],
)
def test_what_is_no_request_is_refused(queue: RequestQueue, change: dict[str, object], message: str) -> None:
    with pytest.raises(RequestInvalid, match=message):
        queue.submit(replace(ONE, **change))  # type: ignore[arg-type]
    assert queue.pending() == ()


def test_some_verbs_are_about_everything(queue: RequestQueue) -> None:
    queue.submit(replace(ONE, verb="gc", object=""))
    assert queue.pending()[0].object == ""


def test_damaged_requests_hold_nobody_up_and_can_be_removed(queue: RequestQueue, store: ObstoreStore) -> None:
    queue.submit(ONE)
    good = store.get(f"requests/{ONE.id}.json")
    bodies = {"01A": b"", "01B": b"[1]", "01C": b'{"format": 9}', "01D": b'{"format": 1, "verb": "gc"}', "01E": good}
    bodies |= {
        "01F": b"[" * 50_000,
        "01G": good.replace(b'"load"', b'"caf\\udce9"'),
        "01H": good.replace(b"null", b"[" * 600 + b"]" * 600),
        "01J": good.replace(b"null", b"NaN"),
        "01K": b"{" + b" " * 65_536,
    }
    for name, body in bodies.items():
        store.put(f"requests/{name}.json", body)
    assert queue.pending() == (ONE,)
    damaged = queue.damaged()
    assert [found.id for found in damaged] == sorted(bodies)
    assert damaged[2] == Damaged("01C", "It has format 9; this release reads 1.")
    assert ONE.id in damaged[4].reason
    for found in damaged:
        queue.remove(found.id)
    assert queue.damaged() == ()


def test_a_request_that_the_disk_does_not_give_holds_nobody_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lake = LocalStore(tmp_path, "lake")
    queue = RequestQueue(lake)
    queue.submit(ONE)
    lake.put("requests/01A.json", b"")
    flaky = RequestQueue(Unreadable(lake, "requests/01A.json"))
    assert flaky.pending() == flaky.pending() == (ONE,)
    assert [record.message for record in caplog.records] == ["the request requests/01A.json waits: Bucket lake did not answer (get): EIO."]


class Unreadable:
    """A store with an object that cannot be read."""

    def __init__(self, inner: LocalStore, key: str) -> None:
        self._inner = inner
        self._key = key

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def get(self, key: str) -> bytes:
        if key == self._key:
            raise BucketUnavailable("lake", "get", "EIO")
        return self._inner.get(key)
