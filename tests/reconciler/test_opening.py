"""Opening a state that somebody tampered with, or that a process left in the middle of something."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from small_lake import BUCKET, Past

from reconciler.errors import CatalogLost
from reconciler.opening import State, open_state
from reconciler.place import Place
from reconciler.settings import Settings
from state.catalog.entry import Managed
from state.errors import LeaseHeld, LeaseLost

Start = Callable[[], State]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Opens the state in the test's folder to write."""
    place = Place(Past([{"specs/all.yaml": BUCKET}]), tmp_path)
    opened: list[State] = []

    def opening() -> State:
        opened.append(open_state(place, Settings(), address=""))
        return opened[-1]

    yield opening
    while opened:
        opened.pop().streams.close()


def end(state: State) -> None:
    assert state.lease is not None
    state.lease.release()


class TestLease:
    def test_deleted_between_two_lives_keeps_nobody_out(self, start: Start, tmp_path: Path) -> None:
        for _ in range(3):
            end(start())
        shutil.rmtree(tmp_path / "lake/lease")
        state = start()
        assert state.lease is not None
        assert state.lease.epoch == state.catalog.epoch == 4

    def test_deleted_under_a_writer_fences_that_one(self, start: Start, tmp_path: Path) -> None:
        old = start()
        shutil.rmtree(tmp_path / "lake/lease")
        new = start()
        new.catalog.commit((Managed("Dataset/x", "d", "retain"),), actor="new", reason="")
        with pytest.raises(LeaseLost):
            old.catalog.commit((Managed("Dataset/y", "d", "retain"),), actor="old", reason="")
        assert old.lease is not None
        with pytest.raises(LeaseLost):
            old.lease.heartbeat()
        assert list(new.catalog.objects("Dataset")) == ["Dataset/x"]

    def test_without_its_claim_is_still_held(self, start: Start, tmp_path: Path) -> None:
        state = start()
        assert state.lease is not None
        (tmp_path / f"lake/lease/{state.lease.epoch:020d}.json").unlink()
        with pytest.raises(LeaseHeld):
            start()
        state.lease.heartbeat()


class TestCatalog:
    """A state without a catalog is a new one, or one that lost it."""

    @pytest.mark.parametrize("left", ["datasets/x/1.parquet", "streams/events/2026-11/1.jsonl", "requests/1.json"])
    def test_one_that_was_lost_keeps_writers_out(self, start: Start, tmp_path: Path, left: str) -> None:
        state = start()
        state.store.put(left, b"{}")
        end(state)
        end(start())
        shutil.rmtree(tmp_path / "lake/catalog")
        if left.startswith(("datasets/", "streams/")):
            with pytest.raises(CatalogLost, match="its log is lost"):
                start()
        else:
            assert start().catalog.seq == 1
