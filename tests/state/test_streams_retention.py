"""Retention: whole months go, told first; chains of what stays are intact."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from state.errors import FailpointError, LeaseLost, StreamCorrupt
from state.failpoints import arm, declared, disarm
from state.local_store import LocalStore
from state.streams.compaction import Compaction
from state.streams.ids import Ulids
from state.streams.retention import Removal, Retention
from state.streams.stream import Streams
from state.streams.verification import verify


class Machine:
    def __init__(self, folder: Path) -> None:
        self.now = datetime(2026, 1, 15, tzinfo=UTC)
        self.folder = folder
        self.streams = self.process()
        self.told: list[Removal] = []
        for month in range(4):  # January to April
            self.now = datetime(2026, 1 + month, 15, tzinfo=UTC)
            self.streams.append_many("audit", [{"rows": number} for number in range(3)])
            self.streams.append("errors", {"bucket": str(month)})
            self.streams.flush()

    def process(self) -> Streams:
        return Streams(
            LocalStore(self.folder / "lake"), self.folder / "wal", lambda: self.now, Ulids(lambda: self.now, Random(1).randbytes)
        )

    def retention(self, check: Callable[[], None] = lambda: None) -> Retention:
        return Retention(self.streams, check, self.told.append)

    def months(self, stream: str) -> list[str]:
        return sorted({segment.month for segment in self.streams.extent(stream).stored})


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("days", "kept"),
    [
        (1, ["2026-04"]),
        (15, ["2026-03", "2026-04"]),  # the last of March is not 15 days old on the 15th of April
        (30, ["2026-03", "2026-04"]),
        (60, ["2026-02", "2026-03", "2026-04"]),
        (36500, ["2026-01", "2026-02", "2026-03", "2026-04"]),
        (999_999, ["2026-01", "2026-02", "2026-03", "2026-04"]),
    ],
)
def test_months_wholly_older_go_and_are_told(machine: Machine, days: int, kept: list[str]) -> None:
    removed = machine.retention().run("errors", timedelta(days=days))
    assert machine.months("errors") == kept
    assert removed == machine.told
    assert [removal.month for removal in removed] == [f"2026-0{month}" for month in range(1, 5 - len(kept))]
    assert all((removal.objects, removal.events) == (1, 1) for removal in removed)
    assert len(machine.months("audit")) == 4


@pytest.mark.parametrize("compacted", [False, True])
def test_a_chain_begins_where_the_note_says(machine: Machine, compacted: bool) -> None:
    if compacted:
        Compaction(machine.streams, lambda: None).run("audit")
    whole = dict(verify(machine.process(), "audit").head)
    machine.retention().run("audit", timedelta(days=30))
    verdict = verify(machine.process(), "audit", whole)
    assert (verdict.rows, verdict.unchecked, verdict.findings) == (6, 0, ())
    assert verdict.head == whole
    machine.now += timedelta(days=400)
    machine.retention().run("audit", timedelta(days=30))
    assert verify(machine.process(), "audit", whole).findings == ()


def test_what_is_removed_by_others_is_a_finding(machine: Machine) -> None:
    for path in (machine.folder / "lake/streams/audit/2026-01").iterdir():
        path.unlink()
    (found,) = verify(machine.process(), "audit").findings
    assert (found.fault, found.number) == ("removed", 1)


POINTS = [name for name in declared() if name.startswith("retention.")]


@pytest.mark.parametrize("point", POINTS)
def test_stopped_at_any_step_and_run_again(machine: Machine, point: str) -> None:
    arm({point: "error"})
    with pytest.raises(FailpointError):
        machine.retention().run("audit", timedelta(days=30))
    disarm()
    assert verify(machine.process(), "audit").findings == ()
    machine.retention().run("audit", timedelta(days=30))
    assert machine.months("audit") == ["2026-03", "2026-04"]
    assert verify(machine.process(), "audit").findings == ()
    assert {removal.month for removal in machine.told} == {"2026-01", "2026-02"}


def test_what_cannot_be_read_stays_and_is_not_told_to_be_gone(machine: Machine) -> None:
    (path,) = (machine.folder / "lake/streams/audit/2026-01").iterdir()
    path.write_bytes(b"nonsense")
    with pytest.raises(StreamCorrupt):
        machine.retention().run("audit", timedelta(days=30))
    assert path.exists()
    assert machine.told == []


def test_whoever_lost_the_lease_removes_nothing(machine: Machine) -> None:
    def check() -> None:
        raise LeaseLost("over", epoch=1)

    with pytest.raises(LeaseLost):
        machine.retention(check).run("errors", timedelta(days=30))
    assert len(machine.months("errors")) == 4
    assert machine.told == []
