"""Chains: every event of a stream that asks for it carries the hash of what came before, so that a change of the past shows.

    chain_hash = SHA-256(chain_hash of the former event, then the event as canonical JSON with all but chain_hash)

A chain is one writer's: `chain_writer` names it, `chain_number` counts from 1 in the order in which events became durable. After a
write that failed nobody knows what is on the disk: the writer then begins a new chain. What was cut off at the end shows only
against a head (the last number and hash of each writer) that is kept elsewhere:

    <write-ahead folder>/heads/<stream>/<writer>.json       of what is durable here, within a second
    chains/<stream>/<writer>.json                           in the bucket, of what has been moved there
    chains/<stream>.begins.json                             the last link of each writer that retention removed

A head is written after what it speaks of, so that a crash leaves it behind, never ahead. Next: `verification.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from state.errors import ObjectMissing
from state.objects import ObjectStore
from state.streams.schemas import CHAIN_COLUMNS, STREAMS
from state.streams.wal import WalRecord

PREFIX = "chains/"
ORIGIN = "0" * 64
"""The hash before the first event of a chain."""
WRITER, NUMBER, HASH = (column.name for column in CHAIN_COLUMNS)


@dataclass(frozen=True, slots=True)
class Link:
    """A place in a writer's chain: how many events came up to here, and the hash of the last one."""

    number: int = 0
    hash: str = ORIGIN


Head = Mapping[str, Link]
"""The last link by writer."""


def link_hash(former: str, event: Mapping[str, Any]) -> str:
    """The hash of an event that follows `former`, 64 hex digits. The event's own `chain_hash` is left out."""
    canonical = orjson.dumps({name: value for name, value in event.items() if name != HASH}, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(former.encode() + canonical).hexdigest()


class Chains:
    """The chains that one process writes. Used by one thread at a time, in the order of writing; `head` by any."""

    def __init__(self, name: str) -> None:
        """name: unique to the process."""
        self._name = name
        self._begun = 1
        self._durable: dict[str, Link] = {}
        self._written: dict[str, Link] = {}

    @property
    def writer(self) -> str:
        """Whose the present chains are."""
        return self._name if self._begun == 1 else f"{self._name}-{self._begun}"

    def line(self, record: WalRecord) -> bytes:
        """The line of the next event, with its place in the chain. See `settle`."""
        former = self._written.get(record.stream, Link())
        event = orjson.loads(record.json) | {WRITER: self.writer, NUMBER: former.number + 1}
        link = Link(former.number + 1, link_hash(former.hash, event))
        self._written[record.stream] = link
        return WalRecord(record.stream, record.id, orjson.dumps(event | {HASH: link.hash})).encode()

    def settle(self, written: bool) -> None:
        """The lines since the last call are durable; or nobody knows, and new chains begin."""
        if written:
            self._durable = dict(self._written)
        elif self._written != self._durable:
            self._begun += 1
            self._durable, self._written = {}, {}

    def heads(self) -> dict[str, Head]:
        """By stream, of what is durable."""
        durable, writer = self._durable, self.writer
        return {stream: {writer: link} for stream, link in durable.items()}


def heads_in(records: Iterable[WalRecord]) -> dict[str, Head]:
    """By stream, the last link of each writer among these events."""
    found: dict[str, dict[str, Link]] = {}
    for record in records:
        schema = STREAMS.get(record.stream)
        if schema is None or not schema.chained:
            continue
        event = orjson.loads(record.json)
        head = found.setdefault(record.stream, {})
        number = event.get(NUMBER, 0)
        if number > head.get(event.get(WRITER), Link()).number:
            head[event[WRITER]] = Link(number, event[HASH])
    return dict(found)


class Heads:
    """Heads of one state, in the bucket and on this machine. Thread-safe, blocking."""

    def __init__(self, store: ObjectStore, folder: Path) -> None:
        """folder: of this machine's own; made when there is something to keep."""
        self._store = store
        self._folder = folder
        self._kept: dict[tuple[str, str], Link] = {}
        self._stored: dict[tuple[str, str], Link] = {}

    def keep(self, heads: Mapping[str, Head]) -> None:
        """On this machine; what is as it was is not written. Raises OSError."""
        for stream, head in heads.items():
            for writer, link in head.items():
                if self._kept.get((stream, writer)) != link:
                    path = self._folder / stream / f"{writer}.json"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    aside = path.with_suffix(".tmp")
                    aside.write_bytes(_link_json(link))
                    aside.replace(path)
                    self._kept[stream, writer] = link

    def store(self, heads: Mapping[str, Head]) -> None:
        """In the bucket, where no later ones are. Raises what the store raises."""
        for stream, head in heads.items():
            for writer, link in head.items():
                known = self._stored.get((stream, writer)) or _get(self._store, f"{PREFIX}{stream}/{writer}.json")
                if link.number > known.number:
                    self._store.put(f"{PREFIX}{stream}/{writer}.json", _link_json(link))
                    known = link
                self._stored[stream, writer] = known

    def local(self, stream: str) -> Head:
        """Those of this machine; one that cannot be read says nothing."""
        found = {}
        for path in sorted((self._folder / stream).glob("*.json")):
            with suppress(OSError, ValueError, KeyError, TypeError):
                found[path.stem] = _link(orjson.loads(path.read_bytes()))
        return found

    def stored(self, stream: str) -> tuple[Head, tuple[str, ...]]:
        """Those of the bucket, and the keys of those that are there and say nothing."""
        found = {}
        for info in list(self._store.list(f"{PREFIX}{stream}/")):
            found[info.key] = _get(self._store, info.key)
        head = {key.rpartition("/")[2].removesuffix(".json"): link for key, link in found.items()}
        return head, tuple(key for key, link in found.items() if not link.number)

    def begins(self, stream: str) -> Head:
        """The last link of each writer that retention removed."""
        try:
            return parse_head(self._store.get(_begins_key(stream)))
        except (ObjectMissing, ValueError):
            return {}

    def begin_after(self, stream: str, removed: Head) -> None:
        """Notes what is about to be removed, beside what was noted before."""
        noted = dict(self.begins(stream))
        for writer, link in removed.items():
            if link.number > noted.get(writer, Link()).number:
                noted[writer] = link
        self._store.put(_begins_key(stream), orjson.dumps(head_document(noted)))


def head_document(head: Head) -> dict[str, dict[str, Any]]:
    """JSON-able; the inverse of `parse_head`."""
    return {writer: {"number": link.number, "hash": link.hash} for writer, link in sorted(head.items())}


def parse_head(data: bytes) -> Head:
    """A head from JSON: by itself, or as the member `head` of a verification's document. Raises ValueError."""
    document = orjson.loads(data)
    try:
        return {writer: _link(link) for writer, link in document.get("head", document).items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError("it is no head: by writer, `number` and `hash`") from error


def _link(document: Mapping[str, Any]) -> Link:
    return Link(int(document["number"]), str(document["hash"]))


def _link_json(link: Link) -> bytes:
    return orjson.dumps({"number": link.number, "hash": link.hash})


def _get(store: ObjectStore, key: str) -> Link:
    """What cannot be read says nothing."""
    try:
        return _link(orjson.loads(store.get(key)))
    except (ObjectMissing, ValueError, KeyError, TypeError):
        return Link()


def _begins_key(stream: str) -> str:
    return f"{PREFIX}{stream}.begins.json"
