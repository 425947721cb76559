"""Streams: every acknowledged event exactly once, whatever dies; order, bounds and filters; no more read than asked for."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from state.errors import BucketUnavailable, DiskFull, FailpointError, StateError, StreamCorrupt
from state.failpoints import arm, declared, disarm
from state.local_store import LocalStore
from state.objects import ObjectInfo
from state.streams import ids
from state.streams.ids import Ulids
from state.streams.schemas import STREAMS, StreamInvalid
from state.streams.segments import parse_key
from state.streams.stream import Streams
from state.streams.wal import wal_paths

ROOT = Path(__file__).parents[2]


class Clock:
    """Stands still until moved."""

    def __init__(self, at: datetime = datetime(2026, 3, 30, 12, tzinfo=UTC)) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def move(self, **by: float) -> None:
        self.at += timedelta(**by)


class CountingStore(LocalStore):
    """Remembers what was read, and fails to put while `broken`."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, "lake")
        self.got: list[str] = []
        self.listed: list[str] = []
        self.broken: StateError | None = None

    def get(self, key: str) -> bytes:
        self.got.append(key)
        return super().get(key)

    def list(self, prefix: str = "", after: str | None = None) -> Iterator[ObjectInfo]:
        self.listed.append(prefix)
        return super().list(prefix, after)

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        if self.broken:
            raise self.broken
        super().put(key, data, if_absent=if_absent)


class Machine:
    """A state bucket and a write-ahead folder, and processes that use them."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.store = CountingStore(folder / "lake")
        self.wal = folder / "wal"
        self._seed = 0

    def process(self) -> Streams:
        self._seed += 1
        return Streams(self.store, self.wal, self.clock, Ulids(self.clock, Random(self._seed).randbytes))


def die(process: Streams) -> None:
    """Death as the kernel sees it: locks go, files stay, nothing is flushed."""
    process._wal.close()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def event(number: int) -> dict[str, object]:
    return {"object": f"Dataset/d{number % 3}", "reason": "Committed", "message": str(number)}


def messages(process: Streams, **how: object) -> list[str]:
    return [found["message"] for found in process.read("events", **how)]  # type: ignore[arg-type]


def test_an_event_gets_its_id_and_instant_and_is_read_back_by_another_process(machine: Machine) -> None:
    writer, reader = machine.process(), machine.process()
    id_ = writer.append("events", {"object": "Dataset/a", "detail": {"rows": 3}})
    expected = {"id": id_, "at": "2026-03-30T12:00:00.000Z", "object": "Dataset/a", "detail": '{"rows":3}'}
    assert ids.is_id(id_)
    assert list(reader.read("events")) == [expected]
    assert writer.flush() == 1
    assert list(reader.read("events")) == [expected]
    assert wal_paths(machine.wal) == []


def test_a_process_that_only_reads_creates_nothing(machine: Machine, tmp_path: Path) -> None:
    assert list(machine.process().read("events")) == []
    machine.process().close()
    assert list(tmp_path.iterdir()) == []


def test_order_is_the_order_of_appending_even_if_the_clock_goes_back(machine: Machine) -> None:
    writer = machine.process()
    for number in range(20):
        writer.append("events", event(number))
        machine.clock.move(milliseconds=-number)
    assert messages(writer) == [str(number) for number in range(20)]
    assert messages(writer, newest_first=True, limit=3) == ["19", "18", "17"]


def test_one_sync_for_many_events_and_several_streams(machine: Machine) -> None:
    writer = machine.process()
    found = writer.append_many("events", [event(number) for number in range(5)])
    writer.commit([writer.encode("events", event(5)), writer.encode("audit", {"reader": "anonymous"})])
    assert [one["id"] for one in writer.read("events")][:5] == list(found)
    assert writer.append_many("events", []) == ()
    assert len(list(writer.read("audit"))) == 1
    writer.flush()
    assert sorted({key.split("/")[1] for key in keys(machine)}) == ["audit", "events"]


def test_a_lazy_append_is_there_after_the_next_sync(machine: Machine) -> None:
    writer = machine.process()
    writer.append_lazy("errors", {"bucket": "lake"})
    assert list(writer.read("errors")) == []
    writer.sync()
    assert len(list(writer.read("errors"))) == 1


def test_filter_bounds_limit_and_direction(machine: Machine) -> None:
    writer = machine.process()
    found = []
    for number in range(9):
        found.append(writer.append("events", event(number)))
        machine.clock.move(minutes=1)
        if number == 4:
            writer.flush()
    assert messages(writer, where={"object": "Dataset/d1"}) == ["1", "4", "7"]
    assert messages(writer, where={"object": "Dataset/d1", "reason": "Other"}) == []
    assert messages(writer, since=found[3], until=found[6]) == ["3", "4", "5"]
    assert messages(writer, since=ids.following(found[3]), until=found[6]) == ["4", "5"]
    assert messages(writer, since="2026-03-30T12:07:00Z") == ["7", "8"]
    assert messages(writer, until="2026-03-30T14:02:00+02:00") == ["0", "1"]
    assert messages(writer, until=datetime(2026, 3, 30, 12, 1, tzinfo=UTC)) == ["0"]
    assert messages(writer, where={"object": "Dataset/d0"}, newest_first=True, limit=2) == ["6", "3"]
    assert messages(writer, since="2027-01-01") == []


@pytest.mark.parametrize("bound", ["yesterday", "", "01ARZ3NDEKTSV4RRFFQ69G5FA"])
def test_a_bound_that_is_none_is_refused_at_once(machine: Machine, bound: str) -> None:
    with pytest.raises(StreamInvalid, match="neither"):
        machine.process().read("events", since=bound)


@pytest.mark.parametrize(
    ("stream", "bad", "says"),
    [
        ("evnts", {}, "no stream 'evnts'"),
        ("events", {"mesage": "x"}, "no column mesage"),
        ("events", {"id": "7"}, "no event id"),
        ("events", {"message": object()}, "not JSON"),
        ("events", {"detail": {"a": {1, 2}}}, "not JSON"),
    ],
)
def test_what_cannot_be_appended_is_refused_before_anything_is_written(
    machine: Machine, stream: str, bad: dict[str, object], says: str
) -> None:
    writer = machine.process()
    with pytest.raises(StreamInvalid, match=says):
        writer.append_many(stream, [{"id": None}, bad])
    assert wal_paths(machine.wal) == []


def keys(machine: Machine) -> list[str]:
    return [info.key for info in LocalStore.list(machine.store, "streams/")]


def test_the_same_id_counts_once_wherever_it_lies(machine: Machine) -> None:
    one, other = machine.process(), machine.process()
    id_ = one.append("requests", {"request": "r"})
    one.flush()
    other.append("requests", {"id": id_, "request": "r"})
    assert len(list(one.read("requests"))) == 1
    other.flush()
    one.append("requests", {"id": id_, "request": "r"})
    assert len(keys(machine)) == 2
    assert len(list(one.read("requests"))) == 1
    assert len(list(one.read("requests", newest_first=True))) == 1


def test_months_become_folders_and_only_those_asked_for_are_read(machine: Machine) -> None:
    writer = machine.process()
    for month in range(6):
        writer.append("events", event(month))
        writer.flush()
        machine.clock.move(days=31)
    assert [key.split("/")[2] for key in keys(machine)] == ["2026-03", "2026-04", "2026-05", "2026-07", "2026-08", "2026-09"]
    machine.store.listed.clear()
    assert messages(writer, since="2026-04-15", until="2026-06-01") == ["1", "2"]
    assert len(machine.store.got) == 2
    listed = {prefix for prefix in machine.store.listed if prefix != "streams/events/"}
    assert listed == {"streams/events/2026-04/", "streams/events/2026-05/"}


def test_the_newest_events_open_the_newest_segments_only(machine: Machine) -> None:
    writer = machine.process()
    for number in range(50):
        writer.append("events", event(number))
        writer.flush()
        machine.clock.move(seconds=1)
    assert messages(writer, newest_first=True, limit=4) == ["49", "48", "47", "46"]
    assert len(machine.store.got) == 4
    machine.store.got.clear()
    assert messages(writer, limit=2) == ["0", "1"]
    assert len(machine.store.got) == 2


def test_a_batch_over_the_turn_of_the_month_is_two_objects(machine: Machine) -> None:
    machine.clock.at = datetime(2026, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)
    writer = machine.process()
    writer.append("events", event(0))
    machine.clock.move(milliseconds=1)
    writer.append("events", event(1))
    assert writer.flush() == 2
    assert [key.split("/")[2] for key in keys(machine)] == ["2026-12", "2027-01"]
    assert messages(writer, newest_first=True) == ["1", "0"]


def test_a_dead_process_is_adopted_and_a_living_one_is_not(machine: Machine) -> None:
    dead, living = machine.process(), machine.process()
    dead.append("events", event(0))
    machine.clock.move(seconds=1)
    living.append("events", event(1))
    die(dead)
    assert living.adopt() == 1
    assert living.adopt() == 0
    assert len(wal_paths(machine.wal)) == 1
    assert len(keys(machine)) == 1
    assert messages(machine.process()) == ["0", "1"]


def test_a_bucket_that_fails_costs_nothing_but_delay(machine: Machine) -> None:
    writer = machine.process()
    for number in range(3):
        writer.append("events", event(number))
        machine.store.broken = BucketUnavailable("lake", "put", "unplugged")
        with pytest.raises(BucketUnavailable):
            writer.flush()
    assert messages(writer) == ["0", "1", "2"]
    machine.store.broken = DiskFull("lake", "/lake")
    with pytest.raises(DiskFull):
        writer.close()
    assert messages(machine.process()) == ["0", "1", "2"]
    machine.store.broken = None
    assert machine.process().adopt() == 3
    assert messages(machine.process()) == ["0", "1", "2"]


def test_a_damaged_write_ahead_file_is_set_aside_and_its_good_lines_move(machine: Machine) -> None:
    writer = machine.process()
    for number in range(3):
        writer.append("events", event(number))
    die(writer)
    (path,) = wal_paths(machine.wal)
    path.write_bytes(path.read_bytes().replace(b'"message":"1"', b'"message":"X"'))
    assert machine.process().adopt() == 1
    assert messages(machine.process()) == ["0", "2"]
    assert [found.suffix for found in machine.wal.iterdir()] == [".damaged"]


def test_a_damaged_segment_is_named(machine: Machine) -> None:
    writer = machine.process()
    writer.append_many("events", [event(0), event(1)])
    writer.flush()
    (key,) = keys(machine)
    path = machine.store.path(key)
    assert path is not None
    whole = path.read_bytes()
    for damage in (whole.splitlines(keepends=True)[0], whole.replace(b'"1"', b'"2"'), b"", whole[:-3], whole + b"{}\n"):
        path.write_bytes(damage)
        with pytest.raises(StreamCorrupt, match=rf"{key}.* its content has the checksum [0-9a-f]{{8}}, its name says"):
            list(writer.read("events"))


def test_what_others_put_among_the_segments_is_no_event(machine: Machine) -> None:
    writer = machine.process()
    writer.append("events", event(0))
    writer.flush()
    for stray in ("streams/events/README", "streams/events/9999-99/x.jsonl", "streams/events/2026-03/notes.txt", "streams/events/z/y"):
        machine.store.put(stray, b"nothing of ours\n")
    assert messages(machine.process()) == ["0"]
    assert messages(machine.process(), newest_first=True) == ["0"]
    assert machine.process().extent("events").count == 1


def test_the_extent_is_the_same_before_a_flush_and_after(machine: Machine) -> None:
    writer = machine.process()
    writer.append_many("events", [event(0), event(1)])
    before = writer.extent("events")
    assert (before.count, len(before.stored), len(before.held)) == (2, 0, 1)
    writer.append("audit", {"reader": "r"})
    assert writer.extent("events").keys == before.keys
    writer.flush()
    after = writer.extent("events")
    assert (after.count, len(after.stored), len(after.held)) == (2, 1, 0)
    assert after.keys == before.keys
    writer.append("events", event(2))
    assert writer.extent("events").keys != before.keys


def test_key_and_segment_are_inverse(machine: Machine) -> None:
    writer = machine.process()
    for stream in STREAMS:
        writer.append(stream, {})
    writer.flush()
    found = [parse_key(key) for key in keys(machine)]
    assert [segment and segment.key for segment in found] == keys(machine)
    assert sorted(segment.stream for segment in found if segment) == sorted(STREAMS)
    assert parse_key("streams/events/2026-03/compacted.parquet") is None


def test_run_syncs_flushes_and_survives_a_failing_bucket(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("state.streams.stream.SYNC_SECONDS", 0.001)
    monkeypatch.setattr("state.streams.stream.FLUSH_BEATS", 1)
    writer = machine.process()
    stop, heard, put = threading.Event(), threading.Event(), threading.Event()
    machine.store.broken = BucketUnavailable("lake", "put", "unplugged")
    real = machine.store.put

    def repaired(key: str, data: bytes, *, if_absent: bool = False) -> None:
        real(key, data, if_absent=if_absent)
        put.set()

    monkeypatch.setattr(machine.store, "put", repaired)
    thread = threading.Thread(target=writer.run, args=(stop, lambda error: heard.set()))
    thread.start()
    writer.append_lazy("events", event(0))
    assert heard.wait(10)
    machine.store.broken = None
    assert put.wait(10)
    stop.set()
    thread.join(10)
    assert messages(writer) == ["0"]


def test_many_threads_and_a_flusher_lose_and_double_nothing(machine: Machine) -> None:
    writer, reader = machine.process(), machine.process()
    acknowledged: list[str] = []
    done = threading.Event()

    def append(thread: int) -> None:
        acknowledged.extend(writer.append("events", event(thread * 100 + number)) for number in range(40))

    def flush() -> None:
        while not done.is_set():
            writer.flush()
            known = set(acknowledged)
            seen = [found["id"] for found in reader.read("events")]
            assert known <= set(seen)
            assert len(seen) == len(set(seen))

    threads = [threading.Thread(target=append, args=(thread,)) for thread in range(8)]
    flusher = threading.Thread(target=flush)
    for thread in (*threads, flusher):
        thread.start()
    for thread in threads:
        thread.join(30)
    done.set()
    flusher.join(30)
    assert [found["id"] for found in reader.read("events")] == sorted(acknowledged)


class History:
    """Three processes on one machine, and every id that was acknowledged."""

    def __init__(self, folder: Path) -> None:
        self.machine = Machine(folder)
        self.processes = [self.machine.process() for _ in range(3)]
        self.acknowledged: list[str] = []

    def append(self, which: int) -> None:
        self.acknowledged.append(self.processes[which].append("events", event(which)))

    def append_many(self, which: int) -> None:
        self.acknowledged += self.processes[which].append_many("events", [event(which)] * 3)

    def flush(self, which: int) -> None:
        self.processes[which].flush()

    def flush_stopped(self, which: int) -> None:
        """Between two of its steps."""
        arm({("streams.after-put", "streams.before-put", "streams.before-remove")[which]: "error"})
        self.flush(which)

    def adopt(self, which: int) -> None:
        self.processes[which].adopt()

    def adopt_stopped(self, which: int) -> None:
        arm({("streams.after-put", "streams.adopting", "streams.before-remove")[which]: "error"})
        self.adopt(which)

    def killed(self, which: int) -> None:
        die(self.processes[which])
        self.processes[which] = self.machine.process()

    def later(self, which: int) -> None:
        self.machine.clock.move(days=9 * which, seconds=1)

    def bucket_fails(self, which: int) -> None:
        self.machine.store.broken = BucketUnavailable("lake", "put", "unplugged")

    def bucket_works(self, which: int) -> None:
        self.machine.store.broken = None

    def step(self, name: str, which: int) -> None:
        try:
            getattr(self, name)(which)
        except (BucketUnavailable, FailpointError):
            pass
        finally:
            disarm()


STEPS = ["append", "append_many", "flush", "flush_stopped", "adopt", "adopt_stopped", "killed", "later", "bucket_fails", "bucket_works"]


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 2)), min_size=10, max_size=40))
def test_whatever_happens_in_whatever_order(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]) -> None:
    history = History(tmp_path_factory.mktemp("machine"))
    for name, which in steps:
        history.step(name, which)
        assert [found["id"] for found in history.processes[0].read("events")] == sorted(history.acknowledged)
    newest = [found["id"] for found in history.processes[0].read("events", newest_first=True)]
    assert newest == sorted(history.acknowledged, reverse=True)


CHILD = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from state.failpoints import arm
from state.local_store import LocalStore
from state.streams.stream import Streams

folder, point, early = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "early"
if early:
    arm({point: "kill"})
streams = Streams(LocalStore(folder / "lake"), folder / "wal", lambda: datetime.now(UTC))
streams.adopt()
for number in range(3):
    print("ack", streams.append("events", {"message": str(number)}), flush=True)
arm({point: "kill"})
for number in range(3, 6):
    print("ack", streams.append("events", {"message": str(number)}), flush=True)
streams.flush()
"""
POINTS = [name for name in declared() if name.startswith(("streams.", "local-store."))]
INSTANTS = [(point, early) for point in POINTS for early in ("early", "late") if (point, early) != ("streams.adopting", "late")]


@pytest.mark.parametrize(("point", "early"), INSTANTS)
def test_kill_9_at_every_step_loses_and_doubles_nothing(machine: Machine, tmp_path: Path, point: str, early: str) -> None:
    orphan = machine.process()
    acknowledged = [orphan.append("events", event(0))]
    die(orphan)
    command = [sys.executable, "-c", CHILD, str(tmp_path), point, early]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr
    acknowledged += [line.split()[1] for line in child.stdout.splitlines()]

    store = LocalStore(tmp_path / "lake")
    reader = Streams(store, tmp_path / "wal", machine.clock)
    seen = [one["id"] for one in reader.read("events")]
    assert set(acknowledged) <= set(seen)
    assert len(seen) - len(acknowledged) <= 1  # written when killed, not yet acknowledged
    assert reader.adopt() >= 1
    assert [one["id"] for one in reader.read("events")] == seen
    assert wal_paths(tmp_path / "wal") == []
    in_bucket = [orjson.loads(line)["id"] for info in store.list("streams/") for line in store.get(info.key).splitlines()]
    assert sorted(in_bucket) == seen  # not one doubled in the bucket itself
