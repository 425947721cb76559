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
    def test_one_that_was_lost_keeps_everybody_out(self, start: Start, tmp_path: Path, left: str) -> None:
        state = start()
        state.store.put(left, b"{}")
        end(state)
        end(start())
        shutil.rmtree(tmp_path / "lake/catalog")
        if left.startswith(("datasets/", "streams/")):
            with pytest.raises(CatalogLost, match="catalog of bucket primary is lost"):
                start()
        else:
            assert start().catalog.seq == 1


MIRRORED = (
    BUCKET.replace("path: lake}", "path: lake}, rescue: {bucket: copy, mirror: true}")
    + "---\n"
    + BUCKET.replace("primary", "copy").replace("lake}", "copy}")
)


class TestFormerState:
    """Where something remembers a state, nobody begins anew, and nobody calls it empty."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        """The state was here, has a copy, and is gone: it lies in `away`. (Written elsewhere: stores know what they have seen.)"""
        source = Past([{"specs/all.yaml": MIRRORED}])
        state = open_state(Place(source, tmp_path / "away"), Settings(), address="")
        end(state)
        state.streams.close()
        shutil.copytree(tmp_path / "away/.lakehouse", tmp_path / "here/.lakehouse")
        shutil.copytree(tmp_path / "away/lake", tmp_path / "here/copy")
        return Place(source, tmp_path / "here")

    @pytest.mark.parametrize("address", ["", None], ids=["writer", "reader"])
    @pytest.mark.parametrize(
        ("forgotten", "sign"),
        [
            ((), "state.json knows its state .*; its rescue bucket copy holds a copy"),
            (("copy",), "knows"),
            ((".lakehouse",), "holds a copy"),
        ],
        ids=["both know", "the machine knows", "the mirror knows"],
    )
    def test_is_not_begun_anew(self, place: Place, tmp_path: Path, forgotten: tuple[str, ...], sign: str, address: str | None) -> None:
        for name in forgotten:
            shutil.rmtree(place.data_root / name)
        with pytest.raises(CatalogLost, match=sign) as raised:
            open_state(place, Settings(), address=address)
        remedy = str(raised.value.remedy)
        assert f"Mount or restore the folder {place.data_root}/lake" in remedy
        assert ("copy back what bucket copy holds" in remedy, "empty bucket copy" in remedy) == (("copy" not in forgotten),) * 2
        assert ("delete .lakehouse/state.json" in remedy) is (".lakehouse" not in forgotten)
        assert not (place.data_root / "lake").exists()

    def test_goes_on_when_it_is_there_again(self, place: Place, tmp_path: Path) -> None:
        with pytest.raises(CatalogLost):
            open_state(place, Settings(), address="")
        shutil.copytree(tmp_path / "away/lake", place.data_root / "lake")
        state = open_state(place, Settings(), address="")
        state.streams.close()
        assert state.catalog.epoch == 2

    def test_is_begun_anew_on_purpose(self, place: Place, tmp_path: Path) -> None:
        shutil.rmtree(place.data_root / "copy")
        (place.data_root / ".lakehouse/state.json").unlink()
        state = open_state(place, Settings(), address="")
        state.streams.close()
        assert (state.catalog.seq, state.id != (tmp_path / "away/lake/state.json").read_text()) == (1, True)

    def test_that_lost_only_its_id_has_the_same_one_again(self, place: Place, tmp_path: Path) -> None:
        shutil.copytree(tmp_path / "away/lake", place.data_root / "lake")
        (place.data_root / "lake/state.json").unlink()
        state = open_state(place, Settings(), address="")
        state.streams.close()
        assert state.id == (tmp_path / "away/lake/state.json").read_text()
