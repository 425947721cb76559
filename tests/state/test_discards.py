"""Discards: after the entry, whatever happens in between, goes what it let go of, and nothing else."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from state import failpoints
from state.buckets import Buckets
from state.catalog.catalog import Catalog
from state.catalog.data_files import DataFile
from state.catalog.entry import Change, Dropped, Managed, TableCommit
from state.catalog.index_changes import BuildAdded, CorpusAdded, Forgotten
from state.catalog.indexes import Build, Corpus
from state.catalog.log import WriterId
from state.catalog.schemas import Column, Schema
from state.discards import Discards
from state.errors import FailpointError
from state.objects import ObjectRef, ObjectStore
from state.places import BucketConfig

SCHEMA = Schema(1, (Column(1, "id", "int64"),))
X = "Dataset/x"


@dataclass
class Lake:
    """A state, and a bucket `data` beside it."""

    folder: Path
    life: int = 0

    def __post_init__(self) -> None:
        self.buckets = Buckets()
        self.store = self.buckets.attach(BucketConfig("primary", "local", str(self.folder / "lake")))
        self.data = self.buckets.attach(BucketConfig("data", "local", str(self.folder / "data")))
        self.open()

    def open(self) -> int:
        """As the next process does; returns how many notes it found."""
        self.life += 1
        self.catalog = Catalog.open(self.store, writer=WriterId(f"w{self.life}", self.life))
        self.discards = Discards(self.store, self.buckets, self.catalog)
        return self.discards.settle()

    def commit(self, *changes: Change) -> None:
        self.catalog.commit(changes, actor="ann", reason="test")

    def put(self, key: str) -> ObjectRef:
        self.data.put(key, b"x")
        return ObjectRef.of("data", key, b"x")

    def version(self, number: int, remove: tuple[str, ...] = ()) -> None:
        """One more file for x, at one key a number."""
        file = DataFile(self.put(f"x/{number}"), "base", number, 1, "src", 0, 1)
        self.commit(Managed(X, "d", "delete"), TableCommit(X, "t", "data", schema=SCHEMA, add=(file,), remove=remove))

    def drop(self, died_at: str | None = None) -> None:
        """Drops x and everything below its folder; the process may die at a failpoint."""
        failpoints.arm({died_at: "error"} if died_at else {})
        try:
            with self.discards.after(X, [("data", info.key) for info in self.data.list("x/")]):
                self.commit(Dropped(X))
        except FailpointError:
            assert died_at
        finally:
            failpoints.disarm()

    def left(self) -> list[str]:
        return [info.key for info in self.data.list()]

    def notes(self) -> list[str]:
        return keys(self.store, "discards/")


def keys(store: ObjectStore, prefix: str) -> list[str]:
    return [info.key for info in store.list(prefix)]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake(tmp_path)
    made.version(1)
    made.version(2, remove=("x/1",))
    return made


def test_what_is_let_go_of_goes_with_its_note(lake: Lake) -> None:
    lake.drop()
    assert (lake.left(), lake.notes()) == ([], [])


@pytest.mark.parametrize(("point", "left"), [("discards.noted", ["x/1", "x/2"]), ("discards.before-delete", [])])
def test_the_next_start_goes_by_the_entry(lake: Lake, point: str, left: list[str]) -> None:
    lake.drop(died_at=point)
    assert lake.left() == ["x/1", "x/2"]
    assert lake.open() == 1
    assert (lake.left(), lake.notes()) == (left, [])


def test_former_versions_of_an_emptied_table_stay_where_the_entry_never_came(lake: Lake) -> None:
    lake.commit(TableCommit(X, "t", "data", remove=("x/2",)))
    lake.drop(died_at="discards.noted")
    lake.open()
    assert lake.left() == ["x/1", "x/2"]


def test_what_was_made_again_waits_for_its_entry(lake: Lake) -> None:
    lake.drop(died_at="discards.before-delete")
    noted = next(iter(lake.store.list("discards/"))).modified
    lake.put("x/2")
    place = lake.data.path("x/2")
    assert place is not None
    os.utime(place, (noted + 1, noted + 1))
    lake.open()
    assert lake.left() == ["x/2"]


@pytest.mark.parametrize(("ago", "left"), [(0, ["x/2"]), (1, [])])
def test_what_was_made_in_the_second_of_the_note_stays_where_seconds_are_all_that_is_told(lake: Lake, ago: int, left: list[str]) -> None:
    lake.drop(died_at="discards.before-delete")
    noted = next(iter(lake.store.list("discards/"))).modified
    os.utime(str(lake.data.path("x/1")), (1, 1))
    os.utime(str(lake.data.path("x/2")), (noted // 1 - ago, noted // 1 - ago))
    lake.open()
    assert lake.left() == left


def test_what_is_referred_to_again_stays(lake: Lake) -> None:
    lake.drop(died_at="discards.before-delete")
    lake.version(1)
    os.utime(str(lake.data.path("x/1")), (1, 1))
    lake.open()
    assert lake.left() == ["x/1"]


def test_an_index_keeps_what_it_still_refers_to(lake: Lake) -> None:
    corpus = Corpus("c", lake.put("i/c"), 1, 1, "s", 1, "f", 4)
    builds = [Build(name, None, "flat", {}, "c", {"vectors": lake.put(f"i/{name}")}, 1, 4, 0.1) for name in ("a", "b")]
    lake.commit(CorpusAdded("Index/i", corpus), *(BuildAdded("Index/i", build) for build in builds))
    failpoints.arm({"discards.noted": "error"})
    with pytest.raises(FailpointError), lake.discards.after("Index/i", [("data", "i/a")]):
        raise AssertionError("never reached")
    failpoints.disarm()
    lake.commit(Forgotten("Index/i", builds=("b",)))
    lake.open()
    assert lake.left() == ["i/a", "i/b", "i/c", "x/1", "x/2"]


@pytest.mark.parametrize("body", [b"", b'[["data","x', b"\x00\xff", b"5", b'[["data", "x/1"]]', b'{"object": "Dataset/x"}'])
def test_a_damaged_note_keeps_nobody_from_starting(lake: Lake, body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    lake.store.put("discards/0.json", body)
    assert lake.open() == 1
    assert lake.left() == ["x/1", "x/2"]
    assert lake.notes() == []
    assert "discards/0.json cannot be read" in caplog.text


def test_a_bucket_that_is_away_keeps_its_note_for_a_later_start(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    lake.drop(died_at="discards.before-delete")
    (lake.folder / "data/x").rename(lake.folder / "away")
    (lake.folder / "data/x").symlink_to(lake.folder / "away")
    lake.open()
    assert len(lake.notes()) == 1
    assert "is deleted by a later start" in caplog.text
    (lake.folder / "data/x").unlink()
    (lake.folder / "away").rename(lake.folder / "data/x")
    lake.open()
    assert (lake.left(), lake.notes()) == ([], [])


def test_a_bucket_that_is_not_attached_any_more_is_left_alone(lake: Lake) -> None:
    lake.drop(died_at="discards.before-delete")
    lake.buckets.detach("data")
    lake.open()
    assert (lake.left(), lake.notes()) == (["x/1", "x/2"], [])
