"""Is a chained stream what was written? Recomputes every chain, and compares its end with the heads that are kept elsewhere.

    edited      a row's hash is not that of its content and the row before it; or a Parquet column says something else than its line
    removed     numbers are missing between two rows
    inserted    a row without a place in a chain, or in a place that is taken
    cut off     a chain ends before a head says that it did
    damaged     an object is not what its name says

Events come in order of their ids, and a writer's chain is in another order where its threads raced: rows wait for their turn. Heads
are read before rows, so that what is appended meanwhile is no finding. Whoever can write the bucket can write a whole chain anew, heads
included: only a head that is stored elsewhere shows that. Next: `chains.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple, cast
from zlib import crc32

import orjson

from state.streams import reading, segments
from state.streams.chains import HASH, NUMBER, WRITER, Head, Link, link_hash
from state.streams.reading import Month, Run, Span
from state.streams.schemas import schema_of
from state.streams.segments import Batch, Segment
from state.streams.stream import Streams

Fault = Literal["edited", "removed", "inserted", "cut off", "damaged"]
PATIENCE = 10_000
"""Rows of one writer that wait for a number before it counts as removed."""
WRITE_AHEAD = "write-ahead file "


class _Row(NamedTuple):
    id: str
    line: bytes
    key: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault. number: of the row in its writer's chain; key: the object that it is in, or that its neighbour is in."""

    fault: Fault
    message: str
    writer: str | None = None
    number: int | None = None
    id: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found. rows: read; unchecked: of them, so many lie before where retention let their chain begin; head: as it is now."""

    stream: str
    rows: int
    unchecked: int
    findings: tuple[Finding, ...]
    head: Head


def verify(streams: Streams, stream: str, given: Head | None = None) -> Verdict:
    """Reads all of the stream. given: a head that was stored elsewhere. Blocking. Raises what reading raises, but for damage."""
    stored, unread = streams.heads.stored(stream)
    heads: list[tuple[str, Head]] = [("the head on this machine", streams.heads.local(stream)), ("the bucket", stored)]
    if given is not None:
        heads.append(("the head that was given", given))
    check = _Check(streams.heads.begins(stream), heads)
    for key in unread:
        check.damaged(key, "it is no head: what was cut off of its writer does not show")
    previous = _Row("", b"", "")
    for row in cast(Iterator[_Row], reading.every(_months(streams, stream, check), Span(), newest_first=False)):
        if row[:2] != previous[:2]:
            check.row(row, follows=previous)
        previous = row
    return check.end(stream)


def _months(streams: Streams, stream: str, check: _Check) -> Iterator[Month]:
    waiting: dict[str, list[Batch]] = {}
    for batch in reading.pending(streams.folder, stream):
        waiting.setdefault(batch.segment.month, []).append(batch)
    for month in sorted({*segments.months(streams.store, stream), *waiting}):
        yield partial(_runs, streams, stream, month, waiting.get(month, ()), check)


def _runs(streams: Streams, stream: str, month: str, held: Sequence[Batch], check: _Check, within: Span) -> list[Run]:
    stored = [Run(one.first, one.last, partial(_load, streams, one, check)) for one in segments.listed(streams.store, stream, month)]
    waiting = [Run(batch.segment.first, batch.segment.last, partial(_held, batch)) for batch in held]
    return [run for run in (*stored, *waiting) if within.touches(run.first, run.last)]


def _held(batch: Batch) -> list[Any]:
    return [_Row(record.id, record.json, WRITE_AHEAD + batch.segment.source) for record in batch.records]


def _load(streams: Streams, segment: Segment, check: _Check) -> list[Any]:
    """As far as it can be read: a row is to be named even in an object that is damaged."""
    data = streams.store.get(segment.key)
    fault = "" if crc32(data) == segment.crc else "its content is not what its name says"
    records: list[Any] = []
    edited: Sequence[str] = ()
    try:
        records = reading.parsed(data, segment.form)
        if segment.form == "parquet":
            from state.streams import parquet

            edited = parquet.disagreeing(data, schema_of(segment.stream).columns)
        if len(records) != segment.count:
            fault = f"it has {len(records)} rows, its name says {segment.count}"
    except ValueError as error:
        fault = f"it cannot be read ({error})"
    if fault:
        check.damaged(segment.key, fault)
    check.found += [Finding("edited", "its columns say something else than its line", id=id_, key=segment.key) for id_ in edited]
    return [_Row(id_, line, segment.key) for id_, line in records]


@dataclass(slots=True)
class _Chain:
    """One writer's, as far as it was followed.

    former: None after rows that are missing: the next one cannot be checked. doubtful: the last row was found to be edited, and this
    is the hash before it: perhaps the real one is still to come.
    """

    number: int
    former: str | None
    doubtful: str | None = None
    last: _Row | None = None
    waiting: dict[int, tuple[_Row, Mapping[str, Any]]] = field(default_factory=dict)


class _Check:
    """Rows in, findings out."""

    def __init__(self, begins: Head, heads: Sequence[tuple[str, Head]]) -> None:
        self.found: list[Finding] = []
        self._begins = begins
        self._heads = heads
        self._chains = {writer: _Chain(link.number, link.hash) for writer, link in begins.items()}
        self._told = {(writer, link.number): "" for _, head in heads for writer, link in head.items()}
        self._rows = self._unchecked = 0

    def damaged(self, key: str, message: str) -> None:
        """Once an object: a month is read again where one of its objects was folded meanwhile."""
        finding = Finding("damaged", message, key=key)
        if finding not in self.found:
            self.found.append(finding)

    def row(self, row: _Row, follows: _Row) -> None:
        """follows: what was read before it."""
        self._rows += 1
        event = _parsed(row.line)
        writer, number = event.get(WRITER), event.get(NUMBER)
        if not isinstance(writer, str) or not isinstance(number, int) or not isinstance(event.get(HASH), str):
            self.found.append(Finding("inserted", "it has no place in any chain", id=row.id, key=row.key))
            return
        if event.get("id") != row.id or row.id == follows.id:
            message = "another row has its id" if row.id == follows.id else f"it lies where the id {row.id} does"
            self.found.append(Finding("inserted", message, writer, number, row.id, row.key))
            return
        chain = self._chains.setdefault(writer, _Chain(0, Link().hash))
        if number <= self._begins.get(writer, Link()).number:
            self._unchecked += 1
        elif number == chain.number and chain.doubtful is not None and link_hash(chain.doubtful, event) == event[HASH]:
            self._exchange(writer, chain, row, event)
        elif number <= chain.number or number in chain.waiting:
            self.found.append(Finding("inserted", "its place in the chain is another row's", writer, number, row.id, row.key))
        else:
            chain.waiting[number] = (row, event)
            self._follow(writer, chain)
            if len(chain.waiting) > PATIENCE:
                self._skip(writer, chain)

    def _follow(self, writer: str, chain: _Chain) -> None:
        """The rows whose turn it is."""
        while (found := chain.waiting.pop(chain.number + 1, None)) is not None:
            row, event = found
            chain.number += 1
            chain.doubtful = None
            if chain.former is not None and link_hash(chain.former, event) != event[HASH]:
                chain.doubtful = chain.former
                before = f", or the one before it ({chain.last.id})" if chain.last is not None else ""
                message = f"its hash does not follow from the row before it and its content: it was edited{before}"
                self.found.append(Finding("edited", message, writer, chain.number, row.id, row.key))
            chain.former, chain.last = event[HASH], row
            if (writer, chain.number) in self._told:
                self._told[writer, chain.number] = event[HASH]

    def _exchange(self, writer: str, chain: _Chain, row: _Row, event: Mapping[str, Any]) -> None:
        """The row before was taken for this one, which fits."""
        taken = next(found for found in reversed(self.found) if (found.writer, found.number) == (writer, chain.number))
        self.found.remove(taken)
        message = "its place in the chain is another row's"
        self.found.append(Finding("inserted", message, writer, chain.number, taken.id, taken.key))
        chain.former, chain.last, chain.doubtful = event[HASH], row, None
        if (writer, chain.number) in self._told:
            self._told[writer, chain.number] = event[HASH]

    def _skip(self, writer: str, chain: _Chain) -> None:
        """What is waited for is gone."""
        number = min(chain.waiting)
        row, _ = chain.waiting[number]
        missing = f"row {chain.number + 1} is" if number == chain.number + 2 else f"rows {chain.number + 1} to {number - 1} are"
        after = f"after {chain.last.id} and " if chain.last is not None else ""
        self.found.append(Finding("removed", f"{missing} missing {after}before {row.id}", writer, chain.number + 1, None, row.key))
        chain.number, chain.former = number - 1, None
        self._follow(writer, chain)

    def end(self, stream: str) -> Verdict:
        """After the last row."""
        for writer, chain in self._chains.items():
            while chain.waiting:
                self._skip(writer, chain)
        told: set[str] = set()
        for source, head in reversed(self._heads):  # the one that says most, once
            for writer, link in head.items():
                fault = self._against(source, writer, link)
                if fault is not None and writer not in told:
                    told.add(writer)
                    self.found.append(fault)
        head = {writer: Link(chain.number, chain.former or Link().hash) for writer, chain in self._chains.items() if chain.last is not None}
        return Verdict(stream, self._rows, self._unchecked, tuple(self.found), head)

    def _against(self, source: str, writer: str, link: Link) -> Finding | None:
        if link.number <= self._begins.get(writer, Link()).number:
            return None
        chain = self._chains.get(writer, _Chain(0, None))
        last = chain.last or _Row("", b"", "")
        if chain.number < link.number:
            one = link.number == chain.number + 1
            rows = f"row {link.number} of this writer was" if one else f"rows {chain.number + 1} to {link.number} of this writer were"
            message = f"{rows} there, says {source}"
            return Finding("cut off", message, writer, chain.number + 1, last.id or None, last.key or None)
        if self._told[writer, link.number] not in ("", link.hash):
            return Finding("edited", f"it has another hash than {source} says: the chain was written anew", writer, link.number)
        return None


def _parsed(line: bytes) -> Mapping[str, Any]:
    """Nothing for what is no event."""
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {}
    return event if isinstance(event, dict) else {}
