"""The catalog as a process has it: the log folded into an immutable view, and the one way to move it on.

The writer commits: changes are folded first (what cannot follow is refused, to its caller alone), then put into the log as one entry,
then seen. Readers need no lease: they open, and `refresh` when they want to know more. Both read without locks.

Opening as a writer puts an empty entry of its epoch, after which nothing an older writer still tries can take effect. A commit that raised
an error of the store is in doubt: its entry may stand. The next commit or open finds out; callers observe again and decide anew.

It refuses to run anything by itself: no thread, no timer. Next: `fold.py` for what changes mean, `log.py` for who wins a number.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Self

from state.catalog.checkpoint import NO_BASE, Base, Checkpoints
from state.catalog.commit_group import CommitGroup, Ticket
from state.catalog.entry import RESTORE, Cause, Change, Entry, Renamed, encode
from state.catalog.fold import ObjectState, check_wanted, fold
from state.catalog.indexes import IndexRecord
from state.catalog.log import CatalogLog, Unreadable, WriterId, log_key
from state.catalog.tables import Table
from state.catalog.view import EMPTY, RefusedEntry, View
from state.errors import CatalogCorrupt, ChangeRefused, LeaseLost, StateError
from state.objects import ObjectStore
from state.timestamps import Clock, iso

CHECKPOINT_EVERY = 512
SEVERAL = "several"
LOOK_BACK = timedelta(seconds=1)
"""A writer that was idle for longer looks whether the log is still there before it goes on."""
START_AGAIN = (
    "Stop this daemon. Restore the state bucket from a backup, or run `lakectl rebuild --yes`: whatever has its source is made again. "
    "Then start it again."
)
READ_ONLY = "Only the daemon that holds the lease writes; ask it by a request."

_log = logging.getLogger(__name__)

Subscriber = Callable[[frozenset[str]], None]
Preparing = Callable[[Iterable[ObjectState]], Callable[[], None]]


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Catalog:
    """Thread-safe. Made by `Catalog.open`; every method that reads or writes objects is blocking and passes the store's errors through."""

    def __init__(self, store: ObjectStore, clock: Clock, checkpoint_every: int) -> None:
        self._log = CatalogLog(store)
        self._checkpoints = Checkpoints(store)
        self._writer: WriterId | None = None
        self._clock = clock
        self._every = checkpoint_every
        self._view = EMPTY
        self._base: Base = NO_BASE
        self._next_checkpoint = checkpoint_every
        self._stood_at = clock()
        self._group = CommitGroup(self._write)
        self._checkpointing = threading.Lock()
        self._lost: LeaseLost | None = None
        self._subscribers: tuple[Subscriber, ...] = ()
        self._preceding: tuple[Preparing, ...] = ()
        self.damaged: tuple[str, ...] = ()

    @classmethod
    def open(
        cls,
        store: ObjectStore,
        *,
        writer: WriterId | None = None,
        clock: Clock = _utc_now,
        only: Iterable[str] | None = None,
        checkpoint_every: int = CHECKPOINT_EVERY,
    ) -> Self:
        """Fold the newest valid checkpoint and the entries after it.

        writer: who holds the lease; None to read. only: read just what these objects ("Kind/name") need; for readers.
        `damaged` says afterwards which checkpoints could not be used. Raises CatalogCorrupt where the log itself cannot be read or has a
        gap, LeaseLost where a newer epoch than the writer's has written.
        """
        catalog = cls(store, clock, checkpoint_every)
        catalog._load(None if only is None else frozenset(only))
        if writer is not None:
            catalog.lead(writer)
        return catalog

    def lead(self, writer: WriterId) -> None:
        """Go on as the writer who just took the lease, after what others committed meanwhile. Raises LeaseLost as `open` does. Blocking."""
        if self._view.only is not None:
            raise ValueError("A writer needs the whole catalog.")
        with self._group.writing:
            self._follow(self._log.tail(self._view.seq))
            self._writer = writer
            self._fence(writer)

    # -- reading

    @property
    def epoch(self) -> int:
        """The newest epoch that wrote; below zero where none ever did. The next writer's must be above it."""
        return self._view.epoch

    @property
    def seq(self) -> int:
        """The number of the last entry seen; it grows with every change."""
        return self._view.seq

    @property
    def refused(self) -> tuple[RefusedEntry, ...]:
        """Entries without effect: written after a newer epoch had begun."""
        return self._view.refused

    def view(self) -> View:
        """Everything as of one entry, for who reads several objects that belong together."""
        return self._view

    def get(self, name: str) -> ObjectState | None:
        """See `View.get`."""
        return self._view.get(name)

    def knows(self, name: str) -> bool:
        """See `View.knows`."""
        return self._view.knows(name)

    def objects(self, kind: str | None = None) -> Mapping[str, ObjectState]:
        """See `View.objects`."""
        return self._view.objects(kind)

    def table(self, name: str) -> Table | None:
        """See `View.table`."""
        return self._view.table(name)

    def index(self, name: str) -> IndexRecord | None:
        """See `View.index`."""
        return self._view.index(name)

    def entries(self, after: int = 0, limit: int | None = None) -> Iterator[Entry]:
        """The entries after number `after`, oldest first, up to what has been seen; without the refused ones. Blocking.

        Raises CatalogCorrupt where one is missing or damaged, though a checkpoint covers it: for that see `readable`.
        """
        return map(self._log.require, self._seqs(after, limit))

    def readable(self, after: int = 0, limit: int | None = None) -> Iterator[Entry | Unreadable]:
        """As `entries`, but what cannot be read is told in its place, and raises nothing."""
        for seq in self._seqs(after, limit):
            try:
                yield self._log.require(seq)
            except CatalogCorrupt as error:
                yield Unreadable(seq, str(error))

    def _seqs(self, after: int, limit: int | None) -> Iterator[int]:
        view = self._view
        last = view.seq if limit is None else min(view.seq, after + limit)
        refused = {entry.seq for entry in view.refused}
        return (seq for seq in range(after + 1, last + 1) if seq not in refused)

    def history(self, name: str) -> Iterator[Entry]:
        """The entries that touched an object, newest first; before it took over another's data, those of the other as well. Blocking."""
        view = self._view
        refused = {entry.seq for entry in view.refused}
        names = {name}
        for seq in range(view.seq, 0, -1):
            entry = None if seq in refused else self._log.mentioning(seq, names)
            if entry is None or not names & entry.objects:
                continue
            yield entry
            names |= {change.source for change in entry.changes if isinstance(change, Renamed) and change.object in names}

    def refresh(self) -> frozenset[str]:
        """See what was committed since, and return the objects that it touched; subscribers are told. For readers."""
        with self._group.writing:
            before = self._view
            entries = tuple(self._log.tail(before.seq))
            if any(before.outside(entries)):
                self._load(before.only)
            else:
                self._follow(entries)
            touched = frozenset(name for entry in entries for name in entry.objects)
            changed = touched if before.only is None else touched & before.only
        self._tell(changed)
        return changed

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Have `subscriber` called with the objects of each commit and refresh, after they can be seen; returns how to end that.

        It is called in the committing thread, may be called by several at once, and must neither block nor raise.
        """
        self._subscribers = (*self._subscribers, subscriber)

        def unsubscribe() -> None:
            self._subscribers = tuple(known for known in self._subscribers if known is not subscriber)

        return unsubscribe

    def precede(self, subscriber: Preparing) -> Callable[[], None]:
        """Have `subscriber` called with the states that a commit is about to make; returns how to end that.

        It is called in a committing thread, by one at a time. What it returns is called when the entry is durable, and before it is seen.
        Every commit waits for both, so they must be quick. They must not raise. An entry that cannot be written is not seen.
        """
        self._preceding = (*self._preceding, subscriber)

        def end() -> None:
            self._preceding = tuple(known for known in self._preceding if known is not subscriber)

        return end

    # -- writing

    def commit(self, changes: Iterable[Change], *, actor: str, reason: str, revision: str | None = None) -> int:
        """Make changes durable and seen, all or none; returns the number of the entry that has them. Blocking.

        Changes without effect write nothing. Callers in other threads may share the entry. Raises ChangeRefused (nothing was written),
        LeaseLost (this process must stop writing), ValueError (a value has no JSON form), or the store's error (in doubt).
        """
        if self._writer is None:
            raise StateError("The catalog was opened to read.", remedy=READ_ONLY)
        changes = tuple(changes)
        size = sum(len(encode(change.to_dict())) for change in changes)
        ticket = Ticket(changes, Cause(actor, reason, revision), size)
        try:
            seq = self._group.settle(ticket)
        finally:
            self._tell(frozenset(ticket.moved))
        if seq >= self._next_checkpoint:
            self._checkpoint_if_idle()
        return seq

    def checkpoint(self) -> None:
        """Make a checkpoint of what is seen now, unless there is one. Happens by itself every `checkpoint_every` entries. Blocking."""
        if self._writer is None or self._lost is not None:
            raise self._lost or StateError("The catalog was opened to read.", remedy=READ_ONLY)
        with self._checkpointing:
            self._write_checkpoint()

    def _write(self, group: list[Ticket]) -> None:
        """Settle a group of tickets by one entry. Called by one thread at a time."""
        if self._lost is not None:
            raise self._lost
        while True:
            view = self._view
            effective, states = _plan(view, group)
            if not effective:
                break
            entry = self._entry_of(view.seq + 1, effective)
            prepared = [subscriber(states.values()) for subscriber in self._preceding]
            standing = self._append(entry)
            if standing is entry:
                for finish in prepared:
                    finish()
                self._view = view.moved(entry, states)
                break
            self._view = view.after(standing)
            group[0].moved |= standing.objects
        for ticket in group:
            if ticket.open:
                ticket.seq = self._view.seq

    def _append(self, entry: Entry) -> Entry:
        if abs(self._clock() - self._stood_at) > LOOK_BACK:
            self.check_standing()
        try:
            standing = self._log.append(entry)
        except LeaseLost as error:
            self._lost = error
            raise
        self._stood_at = self._clock()
        return standing

    def check_standing(self) -> None:
        """Raises CatalogCorrupt where the last entry is gone: what is put on top of nothing, by whom still remembers, nobody could read.

        Blocking: reads the entry.
        """
        seq = self._view.seq
        if seq and self._log.read(seq) is None:
            raise CatalogCorrupt(f"{log_key(seq)} was there and is gone: somebody emptied the state bucket.", remedy=START_AGAIN)

    def _fence(self, writer: WriterId) -> None:
        """Put an entry of our epoch into the log, so that no older writer's can follow."""
        view = self._view
        if view.epoch > writer.epoch or (view.epoch == writer.epoch and view.writer != writer.id):
            raise LeaseLost(
                f"{view.writer} (epoch {view.epoch}) has written to the catalog, {writer.id} has epoch {writer.epoch}.",
                epoch=writer.epoch,
                newer=view.epoch,
            )
        opening = Ticket((), Cause(writer.id, f"epoch {writer.epoch} begins"), 0)
        while self._view.epoch != writer.epoch:
            self._follow([self._append(self._entry_of(self._view.seq + 1, [opening]))])

    def _entry_of(self, seq: int, tickets: Sequence[Ticket]) -> Entry:
        assert self._writer is not None
        causes = tuple([ticket.cause for ticket in tickets for _ in ticket.changes])
        actors, reasons, revisions = (
            {ticket.cause.actor for ticket in tickets},
            {ticket.cause.reason for ticket in tickets},
            {ticket.cause.revision for ticket in tickets},
        )
        return Entry(
            seq=seq,
            writer=self._writer.id,
            epoch=self._writer.epoch,
            at=iso(self._clock()),
            actor=actors.pop() if len(actors) == 1 else SEVERAL,
            reason=reasons.pop() if len(reasons) == 1 else SEVERAL,
            revision=revisions.pop() if len(revisions) == 1 else None,
            changes=tuple([change for ticket in tickets for change in ticket.changes]),
            causes=causes if len(set(causes)) > 1 else (),
        )

    # -- checkpoints

    def _checkpoint_if_idle(self) -> None:
        """The commit stands already, so a checkpoint that fails is only reported, and tried again after some more entries."""
        if not self._checkpointing.acquire(blocking=False):
            return
        try:
            self._write_checkpoint()
        except StateError as error:
            self._next_checkpoint = self._view.seq + self._every // 8 + 1
            _log.warning("The catalog's checkpoint failed and will be tried again: %s", error)
        finally:
            self._checkpointing.release()

    def _write_checkpoint(self) -> None:
        view = self._view
        if view.seq > self._base.checkpoint.seq:
            self.check_standing()
            self._base = self._checkpoints.write(view, self._base)
        self._next_checkpoint = view.seq + self._every

    # -- loading

    def _load(self, only: frozenset[str] | None) -> None:
        seqs = self._checkpoints.seqs()
        view, base = self._start(seqs, only)
        entries: Iterable[Entry] = self._log.tail(view.seq)
        if only is not None:
            entries = tuple(entries)
            outside = frozenset(view.outside(entries))
            if outside:
                return self._load(only | outside)
        self._view, self._base = view, base
        self._next_checkpoint = base.checkpoint.seq + self._every
        self._follow(entries)
        self._log.check_end(self.seq)
        if seqs and self.seq < seqs[0]:
            raise CatalogCorrupt(f"{log_key(self.seq + 1)} is missing, while there is a checkpoint of entry {seqs[0]}.", remedy=RESTORE)
        return None

    def _start(self, seqs: Sequence[int], only: frozenset[str] | None) -> tuple[View, Base]:
        """The newest checkpoint that can be used, or the beginning."""
        self.damaged = ()
        for seq in seqs:
            try:
                return self._checkpoints.load(seq, only)
            except CatalogCorrupt as error:
                self.damaged = (*self.damaged, f"Checkpoint {seq} is not used: {error}")
        return replace(EMPTY, only=only), NO_BASE

    def _follow(self, entries: Iterable[Entry]) -> None:
        view = self._view
        for entry in entries:
            view = view.after(entry)
        self._view = view

    def _tell(self, objects: frozenset[str]) -> None:
        for subscriber in self._subscribers if objects else ():
            subscriber(objects)


def _plan(view: View, group: Iterable[Ticket]) -> tuple[list[Ticket], dict[str, ObjectState]]:
    """The tickets that move something, and the states after all of them. Those that cannot follow are settled with their refusal."""
    after: dict[str, ObjectState] = {}
    effective: list[Ticket] = []
    for ticket in group:
        if not ticket.open:
            continue
        try:
            states = fold(lambda name: after.get(name) or view.peek(name), ticket.changes, check_wanted)
        except ChangeRefused as error:
            ticket.error = error
            continue
        if states:
            ticket.moved |= states.keys()
            effective.append(ticket)
            after.update(states)
    return effective, after
