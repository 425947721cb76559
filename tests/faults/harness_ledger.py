"""What must be true, whatever went wrong: the invariants of the state, checked against what its processes were told.

Processes note here what they try and what was acknowledged; `inspect` compares that with what lies in the bucket and on the machines, at
any instant, by eyes that no fault clouds. `Truth` is the log as it stands, folded from its first entry. Next: `harness_world.py`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from state.catalog.catalog import Catalog
from state.catalog.data_files import EDIT
from state.catalog.entry import Dropped, Entry, TableCommit
from state.catalog.fold import ObjectState
from state.catalog.log import log_key
from state.catalog.view import EMPTY, View
from state.errors import ObjectMissing
from state.objects import ObjectStore
from state.streams.stream import Streams
from state.timestamps import Clock

LOG = "catalog/log/"


class Violation(AssertionError):
    """An invariant does not hold."""


def demand(holds: bool, what: str) -> None:
    if not holds:
        raise Violation(what)


def contents(of: View | Catalog) -> dict[str, ObjectState]:
    """Everything in a view, to compare."""
    return dict(of.objects())


class Truth:
    """The log, folded entry by entry as it grows."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.forget()

    def forget(self) -> None:
        """After a power cut: what nobody was told of may be gone."""
        self.views: list[View] = [EMPTY]
        self.entries: list[Entry] = []
        self._bytes: list[bytes] = []

    def look(self) -> View:
        """As of the last entry."""
        while True:
            key = log_key(len(self.views))
            try:
                data = self._store.get(key)
            except ObjectMissing:
                return self.views[-1]
            entry = Entry.decode(data, key)
            self.entries.append(entry)
            self._bytes.append(data)
            self.views.append(self.views[-1].after(entry))

    def at(self, seq: int) -> View:
        self.look()
        demand(seq < len(self.views), f"somebody saw entry {seq} of a log of {len(self.views) - 1}")
        return self.views[seq]

    def effective(self) -> Iterator[Entry]:
        """The entries that count, in order."""
        refused = {entry.seq for entry in self.look().refused}
        return (entry for entry in self.entries if entry.seq not in refused)

    def check_unchanged(self) -> None:
        """Entries are written once, numbered without gaps."""
        self.look()
        keys = [info.key for info in self._store.list(LOG)]
        demand(keys == [log_key(number) for number in range(1, len(self.views))], f"the log has gaps or strangers: {keys}")
        for key, data in zip(keys, self._bytes, strict=True):
            demand(self._store.get(key) == data, f"{key} was written over")


@dataclass
class Commit:
    """A commit that a process tried, between two turns; `seq` once it was acknowledged."""

    token: str
    process: str
    epoch: int
    began: int
    ended: int = 0
    seq: int | None = None


@dataclass
class Ledger:
    """What was tried and acknowledged. `events` by machine and stream: id to content; `told` are the ids that were acknowledged.

    requests: id to whether their submission was acknowledged. led: the turn at which each epoch's writer was the one that writes.
    """

    bucket: ObjectStore
    folders: Mapping[str, Path]
    content: Callable[[str], bytes]
    """What a data file must hold, by its key."""
    clock: Clock
    commits: dict[str, Commit] = field(default_factory=dict)
    events: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=lambda: defaultdict(dict))
    told: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    requests: dict[str, bool] = field(default_factory=dict)
    led: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.truth = Truth(self.bucket)
        self._seen, self._keys = EMPTY, set[str]()

    def changed(self, operation: str, key: str) -> None:
        """Checks what one change of an object may have broken, at once."""
        if operation == "delete":
            demand(not key.startswith(LOG), f"{key} was deleted")
            demand(key not in self._referred(), f"{key} was deleted, and the catalog refers to it")
        elif key.startswith(LOG):
            self.check_files()

    def inspect(self) -> None:
        """Everything that can be said at any instant."""
        self.truth.check_unchanged()
        self.check_commits()
        self.check_files()
        for machine in self.folders:
            self.check_events(machine, self.streams(machine), others=False)

    def check_commits(self) -> None:
        """Each acknowledged one is there once, under its number, and in the order in which they were made."""
        found = Counter(entry.reason for entry in self.truth.effective())
        where = {entry.reason: entry.seq for entry in self.truth.effective()}
        acknowledged = [commit for commit in self.commits.values() if commit.seq is not None]
        self._check_edits()
        for commit in self.commits.values():
            demand(found[commit.token] <= 1, f"{commit} is in the log {found[commit.token]} times")
        for commit in acknowledged:
            demand(where.get(commit.token) == commit.seq, f"{commit} stands at {where.get(commit.token)}")
        for commit in acknowledged:
            late = [epoch for epoch, turn in self.led.items() if epoch > commit.epoch and turn < commit.began]
            demand(not late, f"{commit} took effect, although epoch {late} had begun")
        in_order = sorted(acknowledged, key=lambda commit: commit.ended)
        for earlier, later in pairwise(in_order):
            if earlier.ended < later.began:
                demand(earlier.seq < later.seq, f"{later} came before {earlier}")  # type: ignore[operator]

    def _check_edits(self) -> None:
        """What was asked for once is done once, in the life of a table."""
        done: set[tuple[str, str]] = set()
        for change in (change for entry in self.truth.effective() for change in entry.changes):
            if isinstance(change, Dropped):
                done = {edit for edit in done if edit[0] != change.object}
            for file in change.add if isinstance(change, TableCommit) else ():
                if file.source.startswith(EDIT):
                    demand((change.object, file.source) not in done, f"{file.source} was carried out twice")
                    done.add((change.object, file.source))

    def check_files(self) -> None:
        """Each file of the newest version is there with its bytes."""
        for key in sorted(self._referred()):
            try:
                data = self.bucket.get(key)
            except ObjectMissing:
                raise Violation(f"{key} is missing, and the catalog refers to it") from None
            demand(data == self.content(key), f"{key} is damaged")

    def check_view(self, seen: View) -> None:
        """What somebody sees is the log up to one entry, whole."""
        truth = self.truth.at(seen.seq)
        demand(contents(seen) == contents(truth), f"a view of entry {seen.seq} is not what the log says")

    def check_events(self, machine: str, streams: Streams, *, others: bool, told: Mapping[str, Iterable[str]] | None = None) -> None:
        """Each acknowledged event of the machine (others: of all) is read once, none twice, none altered, by their ids.

        told: what must be there, by stream, where not all of it need be.
        """
        machines = self.folders if others else [machine]
        for stream in sorted({stream for _, stream in self.events}):
            found = list(streams.records(stream))
            ids = [id_ for id_, _ in found]
            demand(ids == sorted(set(ids)), f"stream {stream} is out of order or has events twice: {ids}")
            tried = {id_: line for other in self.folders for id_, line in self.events[other, stream].items()}
            demand(all(tried.get(id_) == line for id_, line in found), f"stream {stream} has events that nobody wrote")
            must = {id_ for other in machines for id_ in self.told[other, stream]} if told is None else set(told.get(stream, ()))
            demand(must <= set(ids), f"stream {stream} lost {sorted(must - set(ids))} of {machine}")

    def streams(self, machine: str) -> Streams:
        """The streams as they are now, read from this machine."""
        return Streams(self.bucket, self.folders[machine], self.clock)

    def _referred(self) -> set[str]:
        """Keys of the newest version's data files."""
        view = self.truth.look()
        if view is not self._seen:
            tables = (state.table for state in view.objects("Dataset").values())
            self._seen, self._keys = view, {file.ref.key for table in tables if table is not None for file in table.files}
        return self._keys
