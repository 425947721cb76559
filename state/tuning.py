"""What budgets did to tune indexes, as the stream `tuning` keeps it: begun, proposed, refused, failed, chosen, advised, ended, removed.

A budget keeps no state of its own. With the trials, these notes are all that it goes by after a restart: what it has spent, what it is
about to try, and why it ended. An account is what belongs to one spec of a budget and one set of answers: other limits, or other rows, open
another account, and what was measured is still known.

`Note` is a fact, `TuningBook` keeps them in memory for the one process that writes, `open_proposal` is for readers.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, fields
from typing import Any, Literal, NamedTuple, Self

import orjson

from state.catalog.indexes import Choice
from state.streams.stream import Streams

STREAM = "tuning"
StepName = Literal["begun", "proposed", "refused", "failed", "chosen", "advised", "ended", "removed"]
_JSON = ("params", "searches", "trials", "detail")
_SETTLED = ("chosen", "advised")


class Account(NamedTuple):
    """budget: "TrialBudget/name". spec: digest of what is asked for. truth: digest of the answers that trials are measured by."""

    budget: str
    spec: str
    truth: str


@dataclass(frozen=True, slots=True)
class Note:
    """One step of a budget in one account.

    `engine`, `params` (of the build), `searches` and `fidelity` are of the recipe that it is about, `trials` the names of the trials that
    it asks for, `name` what a build of it is called. `message` says why.
    """

    budget: str
    index: str
    spec: str
    truth: str
    step: StepName
    message: str
    engine: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict, hash=False)
    searches: Sequence[Mapping[str, Any]] = field(default=(), hash=False)
    fidelity: float | None = None
    trials: tuple[str, ...] = ()
    name: str | None = None
    reason: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict, hash=False)
    at: str = ""

    @property
    def account(self) -> Account:
        """Which one it belongs to."""
        return Account(self.budget, self.spec, self.truth)

    def to_row(self) -> dict[str, Any]:
        """As the stream takes it; `at` is the stream's to say."""
        row = {part.name: getattr(self, part.name) for part in fields(self) if part.name != "at"}
        return row | {"trials": list(self.trials), "searches": [dict(search) for search in self.searches]}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Raises KeyError where a column is missing."""
        values: dict[str, Any] = {part.name: row.get(part.name) for part in fields(cls)}
        values |= {name: orjson.loads(value) if isinstance(value := row[name], str) else value for name in _JSON}
        empty = {"params": values["params"] or {}, "detail": values["detail"] or {}}
        return cls(**{**values, **empty, "trials": tuple(values["trials"] or ()), "searches": tuple(values["searches"] or ())})


class TuningBook:
    """All notes, in memory once they were asked for; for the one process that writes them. Thread-safe, blocking."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._lock = threading.Lock()
        self._known: list[Note] | None = None

    def of(self, budget: str) -> tuple[Note, ...]:
        """Oldest first. Raises what reading the stream raises."""
        with self._lock:
            return tuple(note for note in self._all() if note.budget == budget)

    def add(self, note: Note) -> None:
        """Durable on return."""
        with self._lock:
            known = self._all()
            record = self._streams.encode(STREAM, note.to_row())
            self._streams.commit([record])
            known.append(Note.from_row(orjson.loads(record.json)))

    def choice(self, index: str, name: str) -> Choice | None:
        """The recipe that a budget settled on and called so, the newest of that name."""
        with self._lock:
            found = [note for note in self._all() if (note.index, note.name) == (index, name) and note.step in _SETTLED]
        return _choice(found[-1]) if found else None

    def names(self, index: str) -> frozenset[str]:
        """What the recipes of an index are called that budgets settled on."""
        with self._lock:
            return frozenset(note.name for note in self._all() if note.index == index and note.name and note.step in _SETTLED)

    def close(self, budget: str) -> None:
        """Nobody wants it any more: notes that, once, where anything is known of it. Durable on return."""
        notes = self.of(budget)
        if notes and notes[-1].step != "removed":
            last = notes[-1]
            self.add(Note(budget, last.index, last.spec, last.truth, "removed", "no spec asks for it"))

    def began(self, budget: str) -> str | None:
        """When its first account was opened, since it was removed if it ever was; None where it has none."""
        began: str | None = None
        for note in self.of(budget):
            began = None if note.step == "removed" else began or note.at
        return began

    def held(self, index: str) -> frozenset[str]:
        """Digests of the builds that budgets still need, those apart that were removed: the newest that each tries, and the newest that it
        settled on."""
        with self._lock:
            notes = [note for note in self._all() if note.index == index]
        last = {note.budget: note.step for note in notes}
        needed = [note for note in notes if note.detail.get("build") and last[note.budget] != "removed"]
        newest = {(note.budget, note.step in _SETTLED): note.detail["build"] for note in needed if note.step in ("proposed", *_SETTLED)}
        return frozenset(newest.values())

    def _all(self) -> list[Note]:
        if self._known is None:
            self._known = [Note.from_row(row) for row in self._streams.read(STREAM)]
        return self._known


def _choice(note: Note) -> Choice:
    return Choice(note.name, note.engine, dict(note.params), dict(note.searches[0]) if note.searches else {}, undeclared=True)


def unanswered(notes: Iterable[Note], measured: frozenset[str]) -> Note | None:
    """The newest proposal of one account that neither failed nor is measured; None where there is none. measured: names of trials."""
    last: Note | None = None
    for note in notes:
        if note.step == "proposed":
            last = note
        elif note.step in ("failed", "ended", "removed"):
            last = None
    return None if last is None or measured.issuperset(last.trials) else last


def open_proposal(rows: Iterable[Mapping[str, Any]], index: str, measured: frozenset[str], truths: Set[str]) -> Note | None:
    """What is to be measured next of an index, in the last account of the budget that noted something last.

    rows: the stream's, oldest first. truths: digests of the answers that the index is measured by now."""
    notes = [Note.from_row(row) for row in rows if row["index"] == index]
    gone = {budget for budget, step in {note.budget: note.step for note in notes}.items() if step == "removed"}
    left = [note for note in notes if note.budget not in gone]
    if not left or left[-1].truth not in truths:
        return None
    account = left[-1].account
    return unanswered((note for note in left if note.account == account), measured)
