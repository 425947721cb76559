"""One run: a bucket, two machines, and the processes that come and go on them, all by one seed.

Three of four seeds keep the state in an object service that both machines reach and whose operations fail; the fourth keeps it in a folder
of the first machine's disk, where the system calls fail and the power may go. Write-ahead files are always real files on such a disk.
The second machine's clock may be an hour off. When the last process has ended, everything is healed, each machine starts once more, and
what is then there is compared with what was acknowledged. Next: `harness_actors.py`, `harness_ledger.py`.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from unittest.mock import patch

import orjson
from harness_actors import CHECKPOINT_EVERY, Daemon, OneBucket, ask, content, data_file, grown, read
from harness_disk import Disk
from harness_kernel import Kernel
from harness_ledger import Ledger, Violation, demand
from harness_store import FaultyStore, ModelBucket
from harness_turns import Odds, Process, Schedule

import state.lease
from reconciler.fsck import check, check_log, check_segments
from reconciler.opening import State
from state.catalog.catalog import Catalog
from state.catalog.entry import Change, Managed
from state.catalog.log import WriterId
from state.catalog.tables import Table
from state.discards import Discards
from state.lease import Holder, Lease
from state.local_store import LocalStore
from state.objects import ObjectStore
from state.places import BucketConfig
from state.requests import RequestQueue
from state.status_book import StatusBook
from state.streams.stream import Streams
from state.streams.wal import wal_paths
from state.timestamps import Clock
from state.unreferred import Retention

EPOCH = datetime(2026, 11, 22, 15, 0, tzinfo=UTC)
MACHINES = ("desk", "server")
LIVES = 3
CALL_FAULTS = 0.02
CHUNK = 25
"""Seeds that a core plays at a time."""
MEMORY = Path("/dev/shm")


@dataclass
class Told:
    """What a run was: how often each fault happened, and its turns in words."""

    counts: Counter[str]
    story: list[str]


class World:
    """A run that is being played."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed = seed
        self.local = seed % 4 == 0
        self.schedule = Schedule(seed, Odds(), self._at_end)
        self._skew = self.schedule.random.choice([0.0, 0.0, 3600.0, -3600.0])
        self._lives = 0
        self.disks = {machine: self._disk(folder / machine) for machine in MACHINES}
        self.folders = {machine: disk.root / "cache" / "wal" for machine, disk in self.disks.items()}
        self._lake = self.disks["desk"].root / "lake"
        staged = folder / "staged"
        staged.mkdir()
        self.bucket: ObjectStore = (
            LocalStore(self._lake, "lake") if self.local else ModelBucket("lake", lambda: self.schedule.seconds, staged, self._changed)
        )
        self.ledger = Ledger(self.bucket, self.folders, content, self.clock_of("desk"))
        self.kernel = Kernel(self.schedule, list(self.disks.values()), CALL_FAULTS)

    def clock_of(self, machine: str) -> Clock:
        skew = self._skew if machine == "server" else 0.0
        return lambda: EPOCH + timedelta(seconds=self.schedule.seconds + skew)

    def store_of(self, process: Process) -> ObjectStore:
        """The bucket as this process has it."""
        inner = LocalStore(self._lake, "lake") if self.local else self.bucket
        return FaultyStore(inner, process, self.schedule, faulty=not self.local)

    def play(self) -> None:
        """Raises Violation, or whatever surprised a process."""
        with self.kernel.installed(), self._processes_known():
            self._stock()
            for start in (self._daemon, self._daemon, self._reader, self._operator):
                start()
            self.schedule.run()
            self.schedule.seconds += 2 * 3600
            self._heal()
        for disk in self.disks.values():
            disk.close()

    def _stock(self) -> None:
        """What an undisturbed life left before: two tables."""
        changes: list[Change] = []
        for name in ("a", "b"):
            keys = [f"datasets/{name}/0/{number}.parquet" for number in range(2)]
            for key in keys:
                self.bucket.put(key, content(key))
            files = [data_file(key, number + 1) for number, key in enumerate(keys)]
            changes += [Managed(f"Dataset/{name}", "d", "delete"), grown(Table(name), add=tuple(files))]
        self._life("desk", "first", changes)
        for disk in self.disks.values():
            disk.trust()

    # -- who lives

    def _daemon(self) -> None:
        self._lives += 1
        self._start("daemon", lambda process: Daemon(self, process, self.schedule.random.randint(6, 20)).live())

    def _reader(self) -> None:
        self._start("reader", lambda process: read(self, process, 2))

    def _operator(self) -> None:
        self._start("operator", lambda process: ask(self, process, 2))

    def _start(self, kind: str, body: Callable[[Process], None]) -> None:
        machine = "desk" if self.local else self.schedule.random.choice(MACHINES)
        self.schedule.start(f"{kind}-{self.schedule.started}", machine, body)

    def _at_end(self, process: Process) -> None:
        self.kernel.bury(process)
        for machine in sorted(self.schedule.dark):
            if not self.schedule.living(machine):
                self.schedule.dark.remove(machine)
                self.disks[machine].cut(self.schedule.random)
                if self.local:
                    self.ledger.truth.forget()
        if not self.schedule.dark:
            self.ledger.inspect()
        if self._lives < LIVES:
            self.schedule.random.choice([self._daemon, self._daemon, self._daemon, self._reader])()

    @contextmanager
    def _processes_known(self) -> Iterator[None]:
        """What the lease asks of the kernel: which machine this is, and which process a pid is there."""

        class Processes:
            @staticmethod
            def machine() -> str:
                here = self.schedule.here
                return here.machine if here is not None else "a third one"

            @staticmethod
            def started(pid: int) -> str | None:
                return self.schedule.name_of(pid)

        with patch.object(state.lease, "processes", Processes):
            yield

    @staticmethod
    def _disk(root: Path) -> Disk:
        root.mkdir(parents=True)
        return Disk(root)

    def _changed(self, operation: str, key: str) -> None:
        self.ledger.changed(operation, key)

    # -- the end

    def _heal(self) -> None:
        """Each machine starts once more, undisturbed, and nothing is left to do."""
        self.ledger.inspect()
        for machine in MACHINES:
            self._life(machine, f"last-{machine}", [Managed("Mark/last", machine, "retain")])
        self.ledger.inspect()
        for machine, folder in self.folders.items():
            demand(wal_paths(folder) == [], f"{machine} still holds write-ahead files")
            self.ledger.check_events(machine, self.ledger.streams(machine), others=True)
        catalog = Catalog.open(self.bucket)
        demand(catalog.damaged == (), f"checkpoints are damaged: {catalog.damaged}")
        self.ledger.check_view(catalog.view())
        demand(not list(self.bucket.list("discards/")), "notes of discards were left")
        self._check_answers()
        self._check_fsck(catalog)

    def _life(self, machine: str, name: str, changes: list[Change]) -> None:
        clock = self.clock_of(machine)
        catalog = Catalog.open(self.bucket, clock=clock, checkpoint_every=CHECKPOINT_EVERY)
        lease = Lease.acquire(self.bucket, Holder(name, machine, 9999, "", machine, name), clock, floor=catalog.epoch)
        catalog.lead(WriterId(name, lease.epoch))
        streams = Streams(self.bucket, self.folders[machine], clock)
        streams.adopt()
        Discards(self.bucket, OneBucket(self.bucket), catalog).settle()
        book = StatusBook.load(streams, clock)
        if self.local:
            self._check_statuses(book, streams)
        for request in RequestQueue(self.bucket).pending():
            if not any(streams.read("requests", where={"request": request.id})):
                record = streams.encode("requests", {"request": request.id, "verb": request.verb, "outcome": "done"})
                self.ledger.events[machine, "requests"][record.id] = record.json
                streams.commit([record])
            RequestQueue(self.bucket).remove(request.id)
        catalog.commit(changes, actor=name, reason=name)
        book.checkpoint()
        streams.close()
        catalog.checkpoint()
        lease.release()

    def _check_statuses(self, book: StatusBook, streams: Streams) -> None:
        """The book is the fold of the stream, with the checkpoint as without."""
        newest: dict[str, bytes] = {}
        for _, line in streams.records("status"):
            newest[orjson.loads(line)["object"]] = line
        demand(
            newest == {orjson.loads(line)["object"]: line for line in book.lines()},
            "the book of statuses is not its stream",
        )

    def _check_answers(self) -> None:
        """Each request that was acknowledged was answered; on one machine once."""
        rows = Counter(row["request"] for row in self.ledger.streams("desk").read("requests"))
        for id_, acknowledged in self.ledger.requests.items():
            demand(rows[id_] >= acknowledged, f"request {id_} was never answered")
            demand(rows[id_] <= 1 or not self.local, f"request {id_} was answered {rows[id_]} times")

    def _check_fsck(self, catalog: Catalog) -> None:
        """`lakectl fsck` finds nothing. (Files are no Parquet here, so what is in them is the ledger's to compare.)"""
        buckets = SimpleNamespace(configs=lambda: {"lake": BucketConfig("lake", "memory")}, store=lambda name: self.bucket)
        place = SimpleNamespace(cache=self.disks["desk"].root / "cache")
        clock = self.clock_of("desk")
        state = SimpleNamespace(catalog=catalog, buckets=buckets, store=self.bucket, clock=clock, place=place)
        report = check(cast(State, state), Retention(inf, {}), deep=False, grace=inf)
        check_log(self.bucket, report, deep=True)
        check_segments(self.bucket, report)
        demand(report.entries > 0, "fsck looked at nothing")
        # an actor stores the first file of a dataset before the entry that says whose it is, which a daemon does not
        known = [found for found in report.findings if found.problem != "unreferred" or catalog.view().peek(found.owner) is not None]
        demand(not known and not report.unchecked, f"fsck: {known} {report.unchecked}")


def play(seed: int, folder: Path) -> Told:
    """Plays a seed in a folder of its own, which is then removed. A violation says how to come by it again."""
    here = folder / str(seed)
    world = World(seed, here)
    try:
        world.play()
    except Exception as error:
        story = "\n".join(world.schedule.story[-80:])
        raise Violation(f"seed {seed}: {type(error).__name__}: {error}\n{story}") from error
    finally:
        shutil.rmtree(here, ignore_errors=True)
    return Told(world.schedule.counts, world.schedule.story)


def play_all(seeds: Sequence[int]) -> tuple[Counter[str], list[str]]:
    """Plays many, on every core: what was counted, and the violations."""
    counts: Counter[str] = Counter()
    violations: list[str] = []
    chunks = [seeds[at : at + CHUNK] for at in range(0, len(seeds), CHUNK)]
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        for found, broken in pool.imap(_play_some, chunks):
            counts += found
            violations += broken
        pool.close()
        pool.join()
    return counts, violations


def _play_some(seeds: Sequence[int]) -> tuple[Counter[str], list[str]]:
    logging.disable(logging.CRITICAL)
    counts: Counter[str] = Counter()
    violations = []
    # in memory, where the machine has such a folder: it is made and removed thousands of times, and only seems durable
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        for seed in seeds:
            try:
                told = play(seed, Path(folder))
            except Violation as violation:
                violations.append(str(violation))
            else:
                counts += told.counts
                counts["operations"] += len(told.story)
    return counts, violations
