"""Compaction: fewer objects, the same events; whatever dies in between, and whoever reads meanwhile."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from state.errors import FailpointError, LeaseLost, StreamCorrupt
from state.failpoints import arm, declared, disarm
from state.local_store import LocalStore
from state.objects import ObjectInfo
from state.status import Status
from state.status_book import StatusBook
from state.streams import compaction, parquet
from state.streams.arrow import from_lines
from state.streams.compaction import Compaction, groups
from state.streams.ids import Ulids
from state.streams.schemas import EVENTS, columns
from state.streams.segments import Segment, parse_key
from state.streams.stream import Streams
from state.streams.tables import SystemTables

ROOT = Path(__file__).parents[2]


class Store(LocalStore):
    """Calls back at moments that matter, and remembers what was read."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, "lake")
        self.got: list[str] = []
        self.between: Callable[[str], None] = lambda key: None

    def list(self, prefix: str = "", after: str | None = None) -> Iterator[ObjectInfo]:
        """`between` runs when names are known, and nothing was looked at yet."""
        found = super().list(prefix, after)
        if prefix.startswith("streams/"):
            first = next(found, None)
            self.between(prefix)
            if first is not None:
                yield first
        yield from found

    def get(self, key: str) -> bytes:
        self.got.append(key)
        return super().get(key)


class Machine:
    def __init__(self, folder: Path) -> None:
        self.now = datetime(2026, 3, 1, tzinfo=UTC)
        self.folder = folder
        self.store = Store(folder / "lake")
        self.streams = self.process(1)
        self.compaction = Compaction(self.streams, lambda: None)

    def process(self, seed: int) -> Streams:
        return Streams(self.store, self.folder / "wal", lambda: self.now, Ulids(lambda: self.now, Random(seed).randbytes))

    def append(self, count: int, each: int = 1, **by: float) -> list[str]:
        """So many segments."""
        made: list[str] = []
        for _ in range(count):
            made += self.streams.append_many("events", [{"message": f"m{len(made)}", "detail": {"a": [1.0, "é"]}}] * each)
            self.streams.flush()
            self.now += timedelta(**by or {"seconds": 1})
        return made

    def ids(self, *, newest_first: bool = False) -> list[str]:
        return [record[0] for record in self.streams.records("events", newest_first=newest_first)]

    def lines(self) -> list[bytes]:
        return [record[1] for record in self.streams.records("events")]

    def listed(self) -> list[Segment]:
        found = (parse_key(info.key, info.size) for info in LocalStore.list(self.store, "streams/"))
        return [segment for segment in found if segment is not None]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    yield Machine(tmp_path)
    disarm()


def test_segments_become_one_object_with_the_same_lines(machine: Machine) -> None:
    made = machine.append(30, each=3)
    before = machine.lines()
    (folded,) = machine.compaction.run("events")
    (segment,) = machine.listed()
    assert (segment.form, segment.count, segment.first, segment.last) == ("parquet", 90, made[0], made[-1])
    assert folded.objects == (30, 1)
    assert folded.events == (90, 90)
    assert folded.bytes[1] == segment.size < folded.bytes[0]
    assert machine.lines() == before
    assert machine.ids(newest_first=True) == made[::-1]
    assert machine.streams.extent("events").count == 90
    assert machine.compaction.run("events") == []


def test_what_waits_in_write_ahead_files_and_other_streams_are_left(machine: Machine) -> None:
    machine.append(3)
    machine.streams.append("events", {"message": "waits"})
    machine.streams.append("errors", {"bucket": "b"})
    machine.compaction.run("events")
    assert len(machine.ids()) == 4
    machine.streams.flush()
    machine.compaction.run("events")
    assert [segment.stream for segment in machine.listed()] == ["errors", "events"]
    assert len(machine.ids()) == 4


@pytest.mark.parametrize(
    "line",
    [
        b'{"id":"%s","at":"2026-03-01T00:00:00Z","message":"m","detail":"{ \\"a\\" : 1.0 }"}',
        b'{"id":"%s", "at": null, "unknown":{"x":[1,2.50]},"message":7}',
        b'{"id":"%s","message":"\\u00e9","at":"not a time"}',
        b'{"id":"%s"}',
    ],
)
def test_a_line_comes_back_byte_for_byte(machine: Machine, line: bytes) -> None:
    line = line.replace(b"%s", machine.streams.ids().encode())
    data = parquet.encode([line], EVENTS.columns)
    assert [found for _, found in parquet.records(data)] == [line]
    assert parquet.rows(data, EVENTS.columns).equals(from_lines([line], EVENTS.columns))


def test_columns_that_were_added_since_are_made_of_the_lines() -> None:
    line = b'{"id":"01ARZ3NDEKTSV4RRFFQ69G5FAV","at":"2026-03-01T00:00:00.000Z","b":5}'
    old, new = columns("id at:timestamp a"), columns("id at:timestamp a b:int64")
    assert parquet.rows(parquet.encode([line], old), new).to_pylist() == from_lines([line], new).to_pylist()
    assert pq.read_table(pa.BufferReader(parquet.encode([line], new)))["b"].to_pylist() == [5]


def test_sql_sees_the_same_rows_before_and_after(machine: Machine, tmp_path: Path) -> None:
    book = StatusBook.load(machine.streams, lambda: machine.now)
    tables = SystemTables(machine.streams, None, book, None, tmp_path / "cache")  # type: ignore[arg-type]
    machine.append(5)
    before = tables.table("events")
    assert before is not None
    machine.compaction.run("events")
    after = tables.table("events")
    assert after is not None
    assert after.equals(before)
    machine.append(1)
    grown = tables.table("events")
    assert grown is not None
    assert grown.num_rows == 6


def test_statuses_are_folded_from_what_was_compacted(machine: Machine) -> None:
    book = StatusBook.load(machine.streams, lambda: machine.now)
    for number in range(6):
        machine.now += timedelta(seconds=1)
        book.put(Status(f"Dataset/d{number % 2}", "True", "Succeeded", str(number)))
        machine.streams.flush()
        if number == 3:
            book.checkpoint()
    machine.compaction.run("status")
    again = StatusBook.load(machine.process(2), lambda: machine.now)
    assert {status.object: status.message for status in again.all()} == {"Dataset/d0": "4", "Dataset/d1": "5"}


def test_objects_are_bounded_and_large_ones_left_alone(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "MOST_EVENTS", 10)
    monkeypatch.setattr(compaction, "FEW_EVENTS", 5)
    machine.append(11, each=3)
    machine.compaction.run("events")
    assert [segment.count for segment in machine.listed()] == [10, 10, 10, 3]
    machine.append(2)
    machine.store.got.clear()
    machine.compaction.run("events")
    assert [segment.count for segment in machine.listed()] == [10, 10, 10, 5]
    assert len(machine.store.got) == 3
    assert len(machine.ids()) == 35


def test_past_months_are_compacted_by_themselves_and_the_present_one_when_it_is_crowded(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "MANY_SEGMENTS", 4)
    machine.append(2, days=16)  # 1 and 17 March
    machine.append(3)  # 2 April
    assert [folded.month for folded in machine.compaction.run_due("events", lambda: True)] == ["2026-03"]
    machine.append(2)
    assert [folded.month for folded in machine.compaction.run_due("events", lambda: True)] == ["2026-04"]
    assert len(machine.listed()) == 2


def test_it_ends_between_objects_when_it_is_not_wanted_any_more(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "MOST_EVENTS", 2)
    made = machine.append(6)
    wanted = iter((True, True, False))
    assert machine.compaction.run("events", lambda: next(wanted)) == []
    assert [segment.form for segment in machine.listed()].count("parquet") == 2
    assert machine.ids() == made
    machine.compaction.run("events")
    assert [(segment.form, segment.count) for segment in machine.listed()] == [("parquet", 2)] * 3
    assert machine.ids() == made


@pytest.mark.parametrize("newest_first", [False, True])
def test_a_reader_whose_segments_are_folded_away_reads_on(machine: Machine, newest_first: bool) -> None:
    made = machine.append(10)
    reading = machine.streams.records("events", newest_first=newest_first)
    seen = [next(reading)[0] for _ in range(3)]
    machine.compaction.run("events")
    made += machine.append(1)
    seen += [record[0] for record in reading]
    assert set(made[:10]) <= set(seen)
    assert len(seen) == len(set(seen))
    assert seen == sorted(seen, reverse=newest_first)


def test_a_listing_during_which_all_is_folded_misses_nothing(machine: Machine) -> None:
    """Names are taken, then a compaction runs to its end, then the names are looked at: those that are gone are no objects."""
    made = machine.append(10)

    def fold(prefix: str) -> None:
        machine.store.between = lambda prefix: None
        machine.compaction.run("events")

    machine.store.between = fold
    assert machine.ids() == made
    made += machine.append(5)
    machine.store.between = fold
    assert machine.streams.extent("events").count == 15


def test_a_segment_that_somebody_removed_is_passed_over(machine: Machine) -> None:
    machine.append(3)
    (machine.folder / "lake" / machine.listed()[1].key).unlink()
    assert len(machine.ids()) == 2
    reading = machine.streams.records("events")
    next(reading)
    (machine.folder / "lake" / machine.listed()[1].key).unlink()
    assert list(reading) == []


def test_a_deletion_that_takes_effect_late_is_left_to_the_next_run(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    made = machine.append(5)
    with monkeypatch.context() as late:
        late.setattr(machine.store, "delete", lambda key: None)
        machine.compaction.run("events")
    get = machine.store.get

    def vanishing(key: str) -> bytes:
        if key.endswith(".jsonl"):
            machine.store.delete(key)
        return get(key)

    with monkeypatch.context() as late:
        late.setattr(machine.store, "get", vanishing)
        assert machine.compaction.run("events") == []
    assert machine.ids() == made
    machine.compaction.run("events")
    assert [segment.form for segment in machine.listed()] == ["parquet"]
    assert machine.ids() == made


def test_a_damaged_segment_stays_and_holds_up_no_other_month(machine: Machine) -> None:
    machine.append(4, days=16)
    bad = machine.folder / "lake" / machine.listed()[0].key
    bad.write_bytes(b"{}\n")
    with pytest.raises(StreamCorrupt, match="is damaged"):
        machine.compaction.run("events")
    assert bad.exists()
    assert [segment.form for segment in machine.listed()] == ["jsonl", "jsonl", "parquet"]


def test_whoever_lost_the_lease_deletes_nothing(machine: Machine) -> None:
    def check() -> None:
        raise LeaseLost("over", epoch=1)

    made = machine.append(4)
    with pytest.raises(LeaseLost):
        Compaction(machine.streams, check).run("events")
    assert sum(segment.form == "jsonl" for segment in machine.listed()) == 4
    assert machine.ids() == made


POINTS = [name for name in declared() if name.startswith("compaction.")]


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("count", [1, 2])
def test_stopped_at_any_step_and_run_again(machine: Machine, monkeypatch: pytest.MonkeyPatch, point: str, count: int) -> None:
    monkeypatch.setattr(compaction, "MOST_EVENTS", 8)
    made = machine.append(5, each=3)
    arm({point: f"error@{count}"})
    if point == "compaction.marked" and count == 2:  # once a run
        machine.compaction.run("events")
    else:
        with pytest.raises(FailpointError):
            machine.compaction.run("events")
    disarm()
    assert machine.ids() == made
    made += machine.append(1)
    assert machine.ids() == made
    machine.compaction.run("events")
    assert machine.ids() == made
    assert [segment.count for segment in machine.listed()] == [8, 8]  # not one doubled
    assert sum(segment.count for segment in machine.listed()) == len(made)


CHILD = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from state.failpoints import arm
from state.local_store import LocalStore
from state.streams.compaction import Compaction
from state.streams.stream import Streams

arm({sys.argv[2]: "kill"})
folder = Path(sys.argv[1])
Compaction(Streams(LocalStore(folder / "lake"), folder / "wal", lambda: datetime.now(UTC)), lambda: None).run("events")
"""


@pytest.mark.parametrize("point", POINTS)
def test_kill_9_at_every_step_loses_and_doubles_nothing(machine: Machine, point: str) -> None:
    made = machine.append(6)
    command = [sys.executable, "-c", CHILD, str(machine.folder), point]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert machine.ids() == made
    machine.compaction.run("events")
    assert machine.ids() == made
    assert [segment.count for segment in machine.listed()] == [6]


def segment(first: int, last: int, form: str = "parquet", count: int = 100_000) -> Segment:
    return Segment("events", "2026-03", f"{first:026d}", f"{last:026d}", "w", count, 0, form)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ([], []),
        ([segment(1, 5)], []),
        ([segment(1, 5, count=3), segment(6, 9, count=3)], []),
        ([segment(1, 5, "jsonl")], [[0]]),
        ([segment(1, 5), segment(6, 7, "jsonl"), segment(8, 9)], [[1]]),
        ([segment(1, 5, count=3), segment(6, 7, "jsonl"), segment(8, 9, count=3)], [[0, 1, 2]]),
        ([segment(1, 5), segment(4, 7, "jsonl"), segment(8, 9)], [[0, 1]]),
        ([segment(1, 5), segment(4, 7), segment(8, 9)], [[0, 1]]),
        ([segment(1, 2, "jsonl"), segment(3, 5), segment(6, 7, "jsonl")], [[0], [2]]),
    ],
)
def test_what_is_folded_together(listed: list[Segment], expected: list[list[int]]) -> None:
    assert [[listed.index(one) for one in group] for group in groups(listed)] == expected


def test_the_marker_says_what_was_done(machine: Machine) -> None:
    machine.append(3)
    machine.compaction.run("events")
    marker = orjson.loads(machine.store.get("streams/events/compacted.json"))
    assert (marker["month"], marker["folded"], marker["objects"]) == ("2026-03", 3, 1)
