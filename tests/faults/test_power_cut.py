"""At every system call the power goes, or the disk is full, or the call fails: what was acknowledged is there, and what is there is whole.

`harness_kernel.py` stands between our code and the file system and does it at the n-th call, for every n; `harness_disk.py` then leaves
what was durable, and of the rest what a seed likes. Schedules of many processes come by all this as well: `test_fault_schedules.py`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from random import Random
from typing import Literal, get_args

import pytest
from harness_disk import Disk
from harness_kernel import Kernel
from harness_turns import Odds, Process, Schedule

from state.errors import BucketUnavailable, DiskFull, ObjectExists, ObjectMissing
from state.local_store import LocalStore
from state.streams.ids import Ulids
from state.streams.stream import Streams
from state.streams.wal import wal_paths

NOW = datetime(2026, 11, 22, 15, 0, tzinfo=UTC)
QUIET = Odds(switch=0, sleep=0, kill=0, cut=0)
NEEDS_SPACE = ("write", "mkdir", "open", "link")
End = Literal["cut", "full", "fails"]
"""The power goes, the disk is full from then on, or that one call fails."""
SEEDS = 2
"""How many ways the rest may go at each call."""


class Machine:
    """A disk, and what its one process was told."""

    def __init__(self, folder: Path, end: End, at: int) -> None:
        """end: what happens, at which system call."""
        folder.mkdir()
        self.disk = Disk(folder)
        self.lake, self.wal = self.disk.root / "some" / "lake", self.disk.root / "cache" / "wal"
        self.end, self.at = end, at
        self.calls = 0
        self.objects: dict[str, bytes] = {}
        """What was acknowledged, deletions included: what must be there."""
        self.doubt: dict[str, set[bytes | None]] = {}
        """What may be there instead, None for nothing: of operations that failed, or were under way."""
        self.events: list[str] = []
        self.tried: list[str] = []

    def run(self, body: Callable[[Machine], None]) -> None:
        """Until the body ends, or the power goes."""
        schedule = Counting(self)
        kernel = Kernel(schedule, [self.disk], fails=0)
        schedule.bury = kernel.bury
        schedule.start("process", "machine", lambda process: body(self))
        with kernel.installed():
            schedule.run()

    @property
    def streams(self) -> Streams:
        return Streams(LocalStore(self.lake, "lake"), self.wal, lambda: NOW, Ulids(lambda: NOW, Random(1).randbytes))

    # -- what is done, and noted

    def put(self, store: LocalStore, key: str, data: bytes, *, if_absent: bool = False, staged: bool = False) -> None:
        with self.changing(key, data):
            if staged:
                path = store.stage()
                path.write_bytes(data)
                store.put_file(key, path, if_absent=if_absent)
            else:
                store.put(key, data, if_absent=if_absent)

    def delete(self, store: LocalStore, key: str) -> None:
        with self.changing(key, None):
            store.delete(key)

    @contextmanager
    def changing(self, key: str, data: bytes | None) -> Iterator[None]:
        """A change that stands if the block ends well, and may stand if it does not."""
        self.doubt.setdefault(key, {self.objects.get(key)}).add(data)
        yield
        self.doubt[key] = {data}
        self.objects.pop(key, None)
        if data is not None:
            self.objects[key] = data

    # -- what must hold

    def check(self) -> None:
        """With the eyes of the next process."""
        store = LocalStore(self.lake, "lake")
        found = {info.key: store.get(info.key) for info in store.list() if not info.key.startswith("streams/")}
        for key, allowed in self.doubt.items():
            assert found.pop(key, None) in allowed, f"{key} at call {self.at}"
        assert found == {}
        seen = [event["id"] for event in self.streams.read("events")]
        assert seen == sorted(set(seen))
        assert set(self.events) <= set(seen) <= set(self.tried)

    def converge(self) -> None:
        """The next start: what was left is moved, and what was half-written is swept; everything can be done that could before."""
        store = LocalStore(self.lake, "lake")
        store.sweep_staging()
        self.streams.adopt()
        assert wal_paths(self.wal) == []
        self.check()
        for key in self.doubt:
            self.put(store, key, b"after")
            self.delete(store, key)
            with pytest.raises(ObjectMissing):
                store.get(key)
        store.sweep_staging()
        assert not [path for path in (self.lake / ".tmp").glob("*/*") if path.is_file()]


class Counting(Schedule):
    """One process, whose system calls are counted; the power goes at one of them."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(0, QUIET, self._ended)
        self._machine = machine
        self.bury: Callable[[Process], None] = lambda process: None

    def turn(self, what: str) -> None:
        super().turn(what)
        process, machine = self.here, self._machine
        if process is None:
            return
        machine.calls += 1
        if machine.end == "cut" and machine.calls == machine.at:
            self.die(process, "killed by a power cut")
            super().turn(what)
        if machine.end == "full" and machine.calls >= machine.at and what.split()[0] in NEEDS_SPACE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if machine.end == "fails" and machine.calls == machine.at:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def _ended(self, process: Process) -> None:
        self.bury(process)


def story(machine: Machine) -> None:
    """Every kind of change of a bucket, new and known folders, and events from their first to their move into the bucket."""
    store = LocalStore(machine.lake, "lake")
    failing = (DiskFull, BucketUnavailable, ObjectExists)  # the last where a deletion failed
    with suppress(*failing):
        machine.put(store, "log/1", b"one", if_absent=True)
    with suppress(*failing):
        machine.put(store, "log/2", b"two" * 100, if_absent=True, staged=True)
    with suppress(*failing):
        machine.put(store, "beat", b"first")
    with suppress(*failing):
        machine.put(store, "beat", b"second, longer")
    with suppress(*failing):
        machine.put(store, "deep/er/3", b"three", staged=True)
    with suppress(*failing):
        machine.delete(store, "log/1")
    with suppress(*failing):
        machine.put(store, "log/1", b"one again", if_absent=True)
    with suppress(*failing):
        machine.put(store, "gone/4", b"four")
    for _ in range(2):  # who asks again after a failure relies on the answer
        with suppress(*failing):
            machine.delete(store, "gone/4")
    streams = machine.streams
    for number in range(3):
        record = streams.encode("events", {"message": str(number) * 50})
        machine.tried.append(record.id)
        with suppress(*failing):
            streams.commit([record])
            machine.events.append(record.id)
        if number == 1:
            with suppress(*failing):
                streams.flush()
    with suppress(*failing):
        streams.close()


@pytest.mark.parametrize("end", get_args(End))
def test_at_every_call(quick_path: Path, end: End) -> None:
    for at in count(1):
        for seed in range(SEEDS):
            machine = Machine(quick_path / f"{at}-{seed}", end, at)
            machine.run(story)
            if end == "cut" or seed:
                machine.disk.cut(Random(seed))
            machine.check()
            machine.converge()
            machine.disk.close()
        if machine.calls < at:
            break
    assert at > 60
    assert len(machine.events) == 3
