"""What the processes of a schedule do: a daemon that writes, a reader, an operator who asks. Each in the order that the product has.

An error that a store may raise is an operation that failed: the process goes on with the next. Any other ends the schedule as a finding.
Next: `harness_world.py`, which starts them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from harness_ledger import Commit, demand
from harness_turns import Process

from state.buckets import Buckets
from state.catalog.catalog import Catalog
from state.catalog.data_files import EDIT, DataFile
from state.catalog.entry import Change, Dropped, Managed, Suspended, TableCommit
from state.catalog.log import WriterId
from state.catalog.schemas import Column, Derivation, Schema
from state.catalog.tables import Ledger, Table
from state.discards import Discards
from state.errors import BucketUnavailable, ChangeRefused, DiskFull, LeaseHeld, LeaseLost
from state.lease import Holder, Lease
from state.objects import ObjectRef, ObjectStore
from state.requests import Request, RequestQueue
from state.status import Status
from state.status_book import StatusBook
from state.streams.compaction import Compaction
from state.streams.ids import Ulids
from state.streams.stream import Streams

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness_world import World

FAILED = (BucketUnavailable, DiskFull)
DATASETS = ("a", "b", "c")
ATTEMPTS = 5
CHECKPOINT_EVERY = 4
SCHEMA = Schema(1, (Column(1, "id", "int64"),))


def content(key: str) -> bytes:
    """A data file's bytes: names derive from inputs, and so do contents."""
    return key.encode() * (1 + len(key) % 7)


def data_file(key: str, sequence: int, schema: Schema = SCHEMA) -> DataFile:
    return DataFile(ObjectRef.of("lake", key, content(key)), "base", sequence, 1, key, 0, schema.id)


def grown(table: Table, *, add: tuple[DataFile, ...] = (), remove: tuple[str, ...] = ()) -> TableCommit:
    return TableCommit(f"Dataset/{table.name}", "t", "lake", schema=None if table.schemas else SCHEMA, add=add, remove=remove)


class OneBucket(Buckets):
    """A process's one bucket, reached in its own way."""

    def __init__(self, store: ObjectStore) -> None:
        super().__init__()
        self._only = store

    def store(self, name: str) -> ObjectStore:
        return self._only


class Daemon:
    """A writer, from taking the lease to giving it back."""

    def __init__(self, world: World, process: Process, works: int) -> None:
        """works: how many things it does before it ends by itself."""
        self._world = world
        self._ledger = world.ledger
        self._random = world.schedule.random
        self._process = process
        self._works = works
        self._clock = world.clock_of(process.machine)
        self._store = world.store_of(process)
        self._ids = Ulids(self._clock, Random(f"{world.seed}-{process.number}").randbytes)

    def live(self) -> None:
        """As the product does: open, work, close; what fails is tried again by a later life."""
        if not self._opened():
            return
        works = self._chores()
        for _ in range(self._works):
            try:
                self._random.choice(works)()
            except (*FAILED, ChangeRefused):
                continue
            except LeaseLost:
                self._world.schedule.counts["fenced"] += 1
                break
        self._close()

    def _opened(self) -> bool:
        """Whether it came to write, within some attempts: whoever runs a daemon starts it again."""
        for attempt in range(ATTEMPTS):
            try:
                self._lead(f"{self._process.name}-{attempt}")
                self._load()
            except (*FAILED, LeaseLost):
                continue
            except LeaseHeld:
                self._world.schedule.wait()
            else:
                return True
        return False

    def _lead(self, name: str) -> None:
        """Takes the lease, and opens the catalog under its epoch."""
        self._process.incarnation = name
        holder = Holder(name, self._process.machine, self._process.number, "", self._process.machine, name)
        self.catalog = Catalog.open(self._store, clock=self._clock, checkpoint_every=CHECKPOINT_EVERY)
        self.lease = Lease.acquire(self._store, holder, self._clock, floor=self.catalog.epoch)
        self.catalog.lead(WriterId(holder.id, self.lease.epoch))
        self._ledger.led[self.lease.epoch] = self._world.schedule.steps

    def _load(self) -> None:
        self.streams = Streams(self._store, self._world.folders[self._process.machine], self._clock, self._ids)
        self.streams.adopt()
        self.discards = Discards(self._store, OneBucket(self._store), self.catalog)
        self.discards.settle()
        self.statuses = StatusBook.load(self.streams, self._clock)
        self.requests = RequestQueue(self._store)

    def _close(self) -> None:
        works: Sequence[Callable[[], object]] = (
            self.lease.check,
            self.statuses.checkpoint,
            self.streams.close,
            self.catalog.checkpoint,
            self.lease.release,
        )
        for work in works:
            try:
                work()
            except FAILED:
                continue
            except LeaseLost:
                self._attempt(self.streams.close)
                break

    def _attempt(self, work: Callable[[], object]) -> None:
        try:
            work()
        except FAILED:
            return

    def _chores(self) -> list[Callable[[], object]]:
        often = [self._append, self._ingest, self._ingest, self.lease.heartbeat, self._drop, self._tell, self._migrate, self._answer]
        seldom = [self._append_many, self._append_lazily, self.streams.sync, self._checkpoint, self._look_back]
        return [*often, *often, *seldom, self.streams.flush, self.streams.flush, self.streams.adopt, self._compact]

    # -- events

    def _compact(self) -> None:
        """Whatever becomes of it, no event is lost, altered or read twice."""
        for stream in ("events", "errors"):
            self._world.schedule.counts["done: compact"] += len(Compaction(self.streams, self.lease.check).run(stream))

    def _append(self) -> None:
        with self._noted("events", 1) as events:
            self.streams.append("events", events[0])

    def _append_many(self) -> None:
        with self._noted("errors", 3) as events:
            self.streams.append_many("errors", events)

    def _append_lazily(self) -> None:
        event = self._event("events")
        self.streams.append_lazy("events", event)

    @contextmanager
    def _noted(self, stream: str, count: int) -> Iterator[list[dict[str, Any]]]:
        """Events that are acknowledged where the block ends well."""
        events = [self._event(stream) for _ in range(count)]
        yield events
        self._world.schedule.counts["done: append"] += count
        self._ledger.told[self._process.machine, stream].update(str(event["id"]) for event in events)

    def _event(self, stream: str) -> dict[str, Any]:
        event = {"id": self._ids(), "message": f"{self._process.name} {len(self._ledger.events)}"}
        return self._wrote(stream, event)

    def _wrote(self, stream: str, event: dict[str, Any]) -> dict[str, Any]:
        record = self.streams.encode(stream, {"at": "2026-11-22T15:00:00.000Z", **event})
        self._ledger.events[self._process.machine, stream][record.id] = record.json
        return {"at": "2026-11-22T15:00:00.000Z", **event}

    # -- the catalog

    @contextmanager
    def _commit(self, changes: Sequence[Change]) -> Iterator[None]:
        """Commits, and notes what came of it."""
        steps = self._world.schedule
        token = f"{self._process.name}-{steps.steps}"
        commit = self._ledger.commits[token] = Commit(token, self._process.name, self.lease.epoch, steps.steps)
        mark = Suspended("Mark/last", self._process.name, token)  # so that each has an effect, whatever came before
        seq = self.catalog.commit([*changes, mark], actor=self._process.name, reason=token)
        commit.ended, commit.seq = steps.steps, seq
        steps.counts["done: commit"] += 1
        self._ledger.check_view(self.catalog.view())
        yield

    def _ingest(self) -> None:
        """Data files first, then one entry for all the tables that they belong to."""
        names = self._random.sample(DATASETS, self._random.choice([1, 1, 2]))
        changes: list[Change] = []
        for name in names:
            table = self.catalog.table(name) or Table(name)
            changes += [Managed(f"Dataset/{name}", f"{self._process.name}-{self._world.schedule.steps}", "delete"), self._grown(table)]
        with self._commit(changes):
            pass

    def _grown(self, table: Table) -> TableCommit:
        known = self.catalog.view().peek(f"Dataset/{table.name}")
        key = f"datasets/{table.name}/{known.last_version if known else 0}/{self._random.randrange(6)}.parquet"
        remove = (table.files[0].key,) if len(table.files) > 2 else ()
        if table.file(key) is not None:
            return grown(table, remove=(key,))
        self._put(key)
        return grown(table, add=(data_file(key, table.next_sequence, table.schema if table.schemas else SCHEMA),), remove=remove)

    def _migrate(self) -> None:
        """Rows are read under another schema from now on; no file is written."""
        table = self.catalog.table(self._random.choice(DATASETS))
        if table is None or not table.schemas:
            return
        present, number = table.schema, table.next_schema_id
        derivation = Derivation(present.id, (present.columns[0].name,))
        schema = Schema(number, (Column(1, f"id{number}", "int64"),), derivation, (*present.migrations, f"m{number}"))
        with self._commit((TableCommit(f"Dataset/{table.name}", "t", "lake", schema=schema, version=table.version + 1),)):
            self._world.schedule.counts["done: migrate"] += 1

    def _edit(self, request: Request) -> None:
        """A row by hand, unless the table names it: an answer that nobody was given is asked for again."""
        table, source = self.catalog.table(request.object.partition("/")[2]), EDIT + request.id
        if table is None or any(ledger.source == source for ledger in table.ledgers):
            return
        known = self.catalog.view().peek(request.object)
        key = f"datasets/{table.name}/{known.last_version if known else 0}/{request.id}-{table.next_sequence}.parquet"
        self._put(key)
        file = replace(data_file(key, table.next_sequence, table.schema), role="delta", source=source)
        note = (Ledger("edit", file.ref, 1, source, table.version + 1, "2026-11-22T15:00:00.000Z"),)
        change = TableCommit(request.object, "t", "lake", add=(file,), note=note, version=table.version + 1)
        with self._commit((change,)):
            self._world.schedule.counts["done: edit"] += 1

    def _put(self, key: str) -> None:
        if self._random.random() < 0.5:
            self._store.put(key, content(key))
            return
        staged = self._store.stage()
        staged.write_bytes(content(key))
        self._store.put_file(key, staged)

    def _drop(self) -> None:
        """A table, and after the entry all that lies below its folder."""
        name = self._random.choice(DATASETS)
        if self.catalog.get(f"Dataset/{name}") is None:
            return
        places = [("lake", info.key) for info in self._store.list(f"datasets/{name}/")]
        with self.discards.after(f"Dataset/{name}", places), self._commit((Dropped(f"Dataset/{name}"),)):
            self._world.schedule.counts["done: drop"] += len(places)

    def _checkpoint(self) -> None:
        self.catalog.checkpoint()
        self.statuses.checkpoint()

    def _look_back(self) -> None:
        """The history, newest first, is a part of the log."""
        for entry in self.catalog.history("Dataset/a"):
            self._ledger.truth.look()
            demand(entry in self._ledger.truth.entries, f"a history knows {entry}, and the log does not")

    # -- statuses and requests

    def _tell(self) -> None:
        """A status that differs from the last one is told, and known, or it is neither."""
        name = f"Dataset/{self._random.choice(DATASETS)}"
        status = Status(name, "True", "Ready", f"{self._process.name} {self._world.schedule.steps}", observed_at="2026-11-22T15:00:00.000Z")
        before = self.statuses.get(name)
        try:
            demand(self.statuses.put(status), f"{status} is no news after {before}")
        except FAILED:
            shown = self.statuses.get(name)
            demand(shown == before, f"what could not be written is told all the same: {shown}")
            raise

    def _do(self, request: Request) -> None:
        if request.verb == "row-set":
            self._edit(request)
            return
        change = Suspended(request.object, request.actor, f"{request.id} by {self._process.name} {self._world.schedule.steps}")
        with self._commit((change,)):
            pass

    def _answer(self) -> None:
        """What was asked is done, then told, then removed."""
        for request in self.requests.pending():
            if not any(self.streams.read("requests", where={"request": request.id})):
                self._do(request)
                row = {"id": self._ids(), "request": request.id, "verb": request.verb, "outcome": "done"}
                self.streams.append("requests", self._wrote("requests", row))
                self._ledger.told[self._process.machine, "requests"].add(str(row["id"]))
            self.requests.remove(request.id)


def read(world: World, process: Process, looks: int) -> None:
    """A reader: what it sees is whole, and goes on only. Takes no lease, and writes nothing."""
    store = world.store_of(process)
    streams = Streams(store, world.folders[process.machine], world.clock_of(process.machine))
    catalog: Catalog | None = None
    for _ in range(looks):
        try:
            if catalog is None:
                catalog = Catalog.open(store)
            seen = catalog.seq
            catalog.refresh()
            demand(catalog.seq >= seen, f"a reader went back from entry {seen} to {catalog.seq}")
            world.ledger.check_view(catalog.view())
            _read_one(world, store)
            told = {stream: set(world.ledger.told[process.machine, stream]) for stream in ("events", "errors", "requests")}
            world.ledger.check_events(process.machine, streams, others=False, told=told)
            StatusBook.load(streams, world.clock_of(process.machine))
        except FAILED:
            continue


def _read_one(world: World, store: ObjectStore) -> None:
    """One object, opened alone."""
    name = f"Dataset/{world.schedule.random.choice(DATASETS)}"
    catalog = Catalog.open(store, only={name})
    state = catalog.get(name)
    demand(state == world.ledger.truth.at(catalog.seq).get(name), f"{name} alone is not what the log says at entry {catalog.seq}")


def ask(world: World, process: Process, requests: int) -> None:
    """An operator, who asks again where the answer was lost."""
    queue = RequestQueue(world.store_of(process))
    ids = Ulids(world.clock_of(process.machine), Random(f"{world.seed}-{process.number}").randbytes)
    for _ in range(requests):
        verb = world.schedule.random.choice(["suspend", "row-set", "row-set"])
        request = Request(ids(), verb, f"Dataset/{world.schedule.random.choice(DATASETS)}", "ann", "test")
        world.ledger.requests[request.id] = False
        for _ in range(3):
            try:
                queue.submit(request)
            except FAILED:
                continue
            world.ledger.requests[request.id] = True
            break
