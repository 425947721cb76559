"""Statuses: written only when something changed, folded back whatever died, never Ready without having been seen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from state import reasons
from state.errors import BucketUnavailable
from state.failpoints import arm, disarm
from state.local_store import LocalStore
from state.objects import ObjectInfo
from state.status import Condition, Status, unknown
from state.status_book import CHECKPOINT_CHANGES, StatusBook
from state.status_checkpoint import PREFIX
from state.streams.ids import Ulids
from state.streams.stream import Streams

ROOT = Path(__file__).parents[2]


class World:
    """One state bucket; `book()` is a process that starts."""

    def __init__(self, folder: Path) -> None:
        self.now = datetime(2026, 3, 1, tzinfo=UTC)
        self.store = LocalStore(folder / "lake", "lake")
        self.folder = folder
        self.seed = 0

    def clock(self) -> datetime:
        return self.now

    def streams(self) -> Streams:
        self.seed += 1
        return Streams(self.store, self.folder / "wal", self.clock, Ulids(self.clock, Random(self.seed).randbytes))

    def book(self) -> StatusBook:
        return StatusBook.load(self.streams(), self.clock)

    def tick(self, seconds: float = 60) -> str:
        self.now += timedelta(seconds=seconds)
        return self.now.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def checkpoints(self) -> list[str]:
        return [info.key for info in self.store.list(PREFIX)]

    def history(self) -> int:
        return len(list(self.streams().read("status")))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def ready(object_: str = "Dataset/a", **changes: object) -> Status:
    conditions = (Condition("Ready", "True", reasons.SUCCEEDED), Condition("Stalled", "False", reasons.SUCCEEDED))
    status = Status(object_, "True", reasons.SUCCEEDED, "10 rows", "r1", "r1", None, "d1", conditions, {"rows": 10})
    return replace(status, **changes)  # type: ignore[arg-type]


def test_never_observed_is_unknown(world: World) -> None:
    status = world.book().get("Dataset/a")
    assert status == unknown("Dataset/a")
    assert (status.ready, status.reason) == ("Unknown", reasons.NOT_OBSERVED)
    assert "Dataset/a" not in world.book()


def test_documents_have_exactly_the_promised_fields() -> None:
    status = ready(observed_at="2026-03-01T00:00:00.000Z")
    expected = {
        "kind": "Dataset",
        "name": "a",
        "ready": "True",
        "reason": "Succeeded",
        "message": "10 rows",
        "revision": "r1",
        "appliedRevision": "r1",
        "observedAt": "2026-03-01T00:00:00.000Z",
        "digest": "d1",
    }
    assert status.to_document() == expected
    described = status.describe()
    assert described.keys() == expected.keys() | {"conditions", "detail"}
    assert described["detail"] == {"rows": 10}
    assert described["conditions"][0] == {
        "type": "Ready",
        "status": "True",
        "reason": "Succeeded",
        "message": "",
        "lastTransitionTime": "",
        "observedDigest": None,
        "revision": None,
    }


def test_only_a_difference_is_written(world: World) -> None:
    book = world.book()
    assert book.put(ready())
    for _ in range(3):
        later = world.tick()
        assert not book.put(ready(observed_at=later))
        assert book.get("Dataset/a").observed_at == later
    assert world.history() == 1


READY = ready().conditions


@pytest.mark.parametrize(
    "change",
    [
        {"ready": "False"},
        {"reason": "Failed"},
        {"message": "11 rows"},
        {"revision": "r2"},
        {"applied_revision": None},
        {"digest": "d2"},
        {"detail": {"rows": 11}},
        {"conditions": READY[:1]},
        {"conditions": (replace(READY[0], status="False"), READY[1])},
        {"conditions": (replace(READY[0], reason="Failed"), READY[1])},
        {"conditions": (replace(READY[0], message="m"), READY[1])},
        {"conditions": (replace(READY[0], observed_digest="d"), READY[1])},
        {"conditions": (replace(READY[0], revision="r2"), READY[1])},
        {"conditions": (READY[0], replace(READY[1], type="Reconciling"))},
    ],
)
def test_every_field_but_the_instants_makes_a_difference(world: World, change: dict[str, object]) -> None:
    book = world.book()
    book.put(ready())
    assert book.put(ready(**change))
    assert not book.put(ready(**change))
    assert world.history() == 2
    found = world.book().get("Dataset/a")
    assert found == book.get("Dataset/a")


def test_last_transition_moves_only_with_the_condition_status(world: World) -> None:
    book = world.book()
    first = world.tick()
    book.put(ready())
    world.tick()
    book.put(ready(conditions=(replace(READY[0], message="other"), READY[1])))
    found = book.get("Dataset/a").condition("Ready")
    assert found is not None
    assert (found.last_transition, found.message) == (first, "other")
    third = world.tick()
    book.put(ready(conditions=(replace(READY[0], status="False"), READY[1])))
    assert [c.last_transition for c in book.get("Dataset/a").conditions] == [third, first]
    assert not book.put(ready(conditions=(replace(READY[0], status="False", last_transition="2000-01-01T00:00:00.000Z"), READY[1])))
    assert world.book().get("Dataset/a") == book.get("Dataset/a")


def test_remove_closes_and_survives(world: World) -> None:
    book = world.book()
    book.put(ready("Dataset/a"))
    book.put(ready("Dataset/b"))
    book.checkpoint()
    assert book.remove("Dataset/a")
    assert not book.remove("Dataset/a")
    assert not book.remove("Dataset/zzz")
    for known in (book, world.book()):
        assert [status.object for status in known.all()] == ["Dataset/b"]
    (last,) = world.streams().read("status", newest_first=True, limit=1)
    assert (last["object"], last["reason"], last["removed"]) == ("Dataset/a", reasons.REMOVED, True)
    assert world.book().put(ready("Dataset/a"))


def test_what_differs_is_written_and_listed_by_kind(world: World) -> None:
    book = world.book()
    statuses = [ready(f"Dataset/d{n}") for n in range(20)]
    assert all(book.put(status) for status in statuses)
    changed = [replace(s, message="other") if n % 5 == 0 else s for n, s in enumerate(statuses)]
    assert [s.object for s in changed if book.put(s)] == ["Dataset/d0", "Dataset/d5", "Dataset/d10", "Dataset/d15"]
    assert len(book) == 20
    assert [s.object for s in book.all("Dataset")][:3] == ["Dataset/d0", "Dataset/d1", "Dataset/d10"]
    assert book.all("Index") == []


def test_a_failed_write_leaves_the_book_as_it_was(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    book = world.book()
    book.put(ready())
    arm({"streams.wal-written": "error"})
    with pytest.raises(Exception, match="armed"):
        book.put(ready(message="other"))
    disarm()
    assert book.get("Dataset/a").message == "10 rows"
    assert book.put(ready(message="other"))
    assert world.book().get("Dataset/a").message == "other"


def test_no_change_no_checkpoint(world: World) -> None:
    book = world.book()
    assert not book.checkpoint()
    book.put(ready())
    assert not book.checkpoint(if_due=True)
    assert book.checkpoint()
    assert not book.checkpoint()
    book.put(ready(observed_at=world.tick()))
    assert not book.checkpoint()
    assert not world.book().checkpoint()
    assert len(world.checkpoints()) == 1
    for number in range(CHECKPOINT_CHANGES + 1):
        book.put(ready(f"Dataset/d{number}"))
    assert book.checkpoint(if_due=True)
    assert not book.checkpoint(if_due=True)


def test_the_newest_checkpoints_are_kept_and_a_damaged_one_is_passed_over(world: World) -> None:
    book = world.book()
    for number in range(4):
        world.tick()
        book.put(ready(message=str(number)))
        book.checkpoint()
    newest = world.checkpoints()[-1]
    assert len(world.checkpoints()) == 2
    path = world.store.path(newest)
    assert path is not None
    for damage in (path.read_bytes()[:-5], path.read_bytes().replace(b"10", b"11"), b"", *_heads()):
        path.write_bytes(damage)
        assert world.book().get("Dataset/a").message == "3"
    for key in world.checkpoints():
        world.store.delete(key)
    assert world.book().get("Dataset/a").message == "3"


def test_a_checkpoint_that_goes_while_a_reader_loads_is_passed_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    book = world.book()
    book.put(ready(message="told"))
    book.checkpoint()
    real = world.store.get

    def late(key: str) -> bytes:
        if key.startswith(PREFIX):
            world.store.delete(key)
        return real(key)

    monkeypatch.setattr(world.store, "get", late)
    assert world.book().get("Dataset/a").message == "told"


def _heads() -> list[bytes]:
    """First lines of checkpoints without a body, none of which is right."""
    right: dict[str, object] = {"format": 1, "through": "0" * 26, "count": 0, "crc32": 0}
    wrong = [{}, {"format": 1}, right | {"count": 1}, right | {"through": 7}, right | {"through": "x"}, right | {"crc32": 1}]
    return [b"[1]\n", *(orjson.dumps(head) + b"\n" for head in wrong)]


def test_what_was_only_shown_is_gone_with_the_next_put_or_removal(world: World) -> None:
    book = world.book()
    book.put(ready())
    book.show(ready(ready="False", message="the disk is full"))
    assert book.get("Dataset/a").message == "the disk is full"
    assert not book.put(ready())  # as it is on the disk
    assert book.get("Dataset/a").message == "10 rows"
    book.show(ready("Dataset/b", message="never written"))
    assert sorted(book.names()) == ["Dataset/a", "Dataset/b"]
    assert not book.remove("Dataset/b")
    assert "Dataset/b" not in book
    assert world.history() == 1


@pytest.mark.parametrize("act", ["put", "remove"])
def test_what_is_told_with_a_status_is_written_with_it_or_not_at_all(world: World, monkeypatch: pytest.MonkeyPatch, act: str) -> None:
    streams = world.streams()
    book = StatusBook.load(streams, world.clock)
    book.put(ready(message="before"))
    told = (streams.encode("events", {"object": "Dataset/a", "reason": "Told"}),)
    syncs: list[int] = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: syncs.append(descriptor) or real(descriptor))
    assert book.put(ready(), told) if act == "put" else book.remove("Dataset/a", told)
    assert len(syncs) == 1
    assert [event["reason"] for event in world.streams().read("events")] == ["Told"]
    assert not (book.put(ready(), told) if act == "put" else book.remove("Dataset/a", told))
    assert len(syncs) == 1


def test_loading_reads_the_checkpoint_and_the_tail_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    streams = world.streams()
    book = StatusBook.load(streams, world.clock)
    for number in range(5):
        world.tick()
        book.put(ready(message=str(number)))
        streams.flush()
    book.checkpoint()
    world.tick()
    book.put(ready(message="tail"))
    streams.flush()
    got: list[str] = []
    real = world.store.get
    monkeypatch.setattr(world.store, "get", lambda key: got.append(key) or real(key))
    assert world.book().get("Dataset/a").message == "tail"
    assert len(got) == 2


def test_a_status_that_is_under_way_is_not_behind_the_checkpoint(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its id is lower than one that is already folded: the checkpoint must not claim to cover it."""
    streams = world.streams()
    book = StatusBook.load(streams, world.clock)
    begun, go_on = threading.Event(), threading.Event()
    real = streams.commit

    def commit(records: list[object]) -> None:
        if threading.current_thread() is slow:
            begun.set()
            assert go_on.wait(10)
        real(records)  # type: ignore[arg-type]

    slow = threading.Thread(target=book.put, args=(ready("Dataset/slow"),))
    monkeypatch.setattr(streams, "commit", commit)
    slow.start()
    assert begun.wait(10)
    book.put(ready("Dataset/fast"))
    book.checkpoint()
    go_on.set()
    slow.join(10)
    assert [status.object for status in world.book().all()] == ["Dataset/fast", "Dataset/slow"]


def test_a_clock_that_went_back_does_not_bring_old_statuses_back(world: World) -> None:
    world.book().put(ready(message="old"))
    world.tick(-7200)
    world.book().put(ready(message="new"))
    assert world.book().get("Dataset/a").message == "new"


class Unlistable(LocalStore):
    def list(self, prefix: str = "", after: str | None = None) -> Iterator[ObjectInfo]:
        raise BucketUnavailable("lake", "list", "unplugged")


def test_a_bucket_that_does_not_answer_is_an_error_not_an_empty_book(tmp_path: Path) -> None:
    streams = Streams(Unlistable(tmp_path / "lake"), tmp_path / "wal", lambda: datetime.now(UTC))
    with pytest.raises(BucketUnavailable):
        StatusBook.load(streams, lambda: datetime.now(UTC))


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "put", "remove", "checkpoint", "flush", "restart", "later"]), st.integers(0, 3), st.integers(0, 2)
    ),
    max_size=30,
)


@settings(max_examples=50, deadline=None)
@given(operations=OPERATIONS)
def test_a_book_is_what_was_put_into_it(tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[str, int, int]]) -> None:
    world = World(tmp_path_factory.mktemp("world"))
    streams = world.streams()
    book = StatusBook.load(streams, world.clock)
    expected: dict[str, str] = {}
    for operation, which, value in operations:
        object_ = f"Dataset/d{which}"
        if operation == "put":
            assert book.put(ready(object_, message=str(value))) == (expected.get(object_) != str(value))
            expected[object_] = str(value)
        elif operation == "remove":
            assert book.remove(object_) == (expected.pop(object_, None) is not None)
        elif operation == "later":
            world.tick(which * 1e6)
        elif operation == "restart":
            streams = world.streams()
            book = StatusBook.load(streams, world.clock)
        else:
            (book.checkpoint if operation == "checkpoint" else streams.flush)()
        assert {status.object: status.message for status in book.all()} == expected
    assert {status.object: status.message for status in world.book().all()} == expected


CHILD = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from state.failpoints import arm
from state.local_store import LocalStore
from state.status import Status
from state.status_book import StatusBook
from state.streams.stream import Streams

folder, point = Path(sys.argv[1]), sys.argv[2]
clock = lambda: datetime.now(UTC)
streams = Streams(LocalStore(folder / "lake"), folder / "wal", clock)
book = StatusBook.load(streams, clock)
for number in range(4):
    book.put(Status("Dataset/a", "True", "Succeeded", str(number)))
    print(number, flush=True)
    if number == 2:
        arm({point: "kill"})
    book.checkpoint()
streams.close()
"""


@pytest.mark.parametrize(
    "point", ["status.checkpoint-written", "local-store.staged", "local-store.linked", "streams.wal-written", "streams.before-remove"]
)
def test_kill_9_keeps_the_last_acknowledged_status(world: World, tmp_path: Path, point: str) -> None:
    command = [sys.executable, "-c", CHILD, str(tmp_path), point]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr
    acknowledged = int(child.stdout.split()[-1])
    assert int(world.book().get("Dataset/a").message) in (acknowledged, acknowledged + 1)
