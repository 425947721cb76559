"""`lakectl rebuild`: the catalog from git and the buckets alone, where its log is lost or cannot be read.

Buckets are opened as the specs say; every Parquet file below `datasets/` says in its footer whose it is, and all that the catalog knew of
it, the journal's files and those of rows changed by hand included. Suspensions are those that operators asked for, by the stream of
requests. What comes of it is one entry. Indexes are not restored: the next start builds them from the tables. Approvals and former versions
are gone; a table's versions go on from the newest that its journal tells of.

It refuses where a readable catalog exists. Next: `controllers/dataset/rebuilding.py`, which decides; `state/catalog/restart.py`, which
writes.
"""

import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ulid import ULID

from controllers.bucket.plan import place as place_of
from controllers.dataset.rebuilding import FoundLedger, Part, Rebuilt, changes, rebuild
from engines.files.footers import read_footer
from engines.files.ledgers import Noted, read_ledger_facts
from reconciler.blob_cache import BlobCache
from reconciler.errors import CatalogReadable
from reconciler.follow import first_mark
from reconciler.footprint import state_id, write_ahead
from reconciler.opening import state_config, utc_now
from reconciler.place import Place
from reconciler.settings import Settings
from reconciler.suspensions import in_force
from reconciler.world import World
from specs.kinds.bucket import BucketSpec
from specs.kinds.dataset import DatasetSpec
from specs.resource import Key
from specs.version import PARSER_VERSION
from state import reasons
from state.buckets import Buckets
from state.catalog.catalog import Catalog
from state.catalog.entry import Change, Managed, Suspended
from state.catalog.log import WriterId
from state.catalog.restart import newest_epoch, restart
from state.digest_file import sha256_file
from state.errors import CatalogCorrupt, StateError
from state.lease import Holder, Lease
from state.objects import ObjectRef
from state.own_copy import own_copy
from state.profiles import parse, source_of
from state.streams.stream import Streams
from state.timestamps import iso

_FOLDER = "datasets/"
_EDITS, _LEDGERS = "/edits/", ("/journal/", "/quarantine/")
ACTOR, REASON = "lakectl rebuild", "the catalog was lost, and is rebuilt from the tables' files"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A dataset that cannot be rebuilt, or a file that belongs to none; `reason` is a sentence."""

    name: str
    files: int
    reason: str


@dataclass(frozen=True, slots=True)
class Findings:
    """What will be rebuilt. `declared`: datasets that a spec asks for; the others are retained. `governed`: objects that a policy named and
    no spec released."""

    tables: tuple[Rebuilt, ...]
    left_out: tuple[LeftOut, ...]
    declared: frozenset[str]
    suspensions: tuple[Suspended, ...] = ()
    governed: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Found:
    """What one bucket has of one dataset, by key."""

    parts: dict[str, Part] = field(default_factory=dict)
    ledgers: dict[str, FoundLedger] = field(default_factory=dict)


class Rebuild:
    """Of one place. Blocking."""

    def __init__(self, place: Place, settings: Settings) -> None:
        """Opens the buckets that the specs declare. Raises SourceUnavailable, StateBucketMissing and what opening a bucket raises."""
        self._place = place
        self._world = World(place.source, BlobCache(None, PARSER_VERSION), lambda key, digest: None)
        self._world.advance(place.source.revision())
        self._buckets, rescues = Buckets(), dict[str, str | None]()
        for key in self._world.objects:
            resource = self._world.resource(key) if key.kind == "Bucket" else None
            if resource is not None:
                config = place_of(resource.spec_as(BucketSpec)).config(key.name, place.data_root)
                rescues[key.name] = config.rescue
                self._buckets.attach(config)
        self._state = self._buckets.attach(state_config(place, settings))
        self._mirror = rescues.get(self._state.name)

    def check(self) -> None:
        """Raises CatalogReadable where there is nothing to rebuild."""
        try:
            seq = Catalog.open(self._state).seq
        except CatalogCorrupt:
            return
        if seq:
            raise CatalogReadable(
                f"the catalog in bucket {self._state.name} can be read ({seq} entries).",
                remedy="`lakectl daemon` or `lakectl apply` goes on from it; `lakectl fsck --deep` says what is wrong and what mends it.",
            )

    def look(self) -> Findings:
        """Reads the footers."""
        found: dict[str, dict[str, _Found]] = {}
        left: list[LeftOut] = []
        old: dict[str, int] = {}
        for one in self._files(left):
            if isinstance(one, FoundLedger):
                found.setdefault(self._name(one.facts.dataset), {}).setdefault(one.ref.bucket, _Found()).ledgers[one.ref.key] = one
            elif one.footer.complete:
                found.setdefault(self._name(one.written.dataset), {}).setdefault(one.ref.bucket, _Found()).parts[one.ref.key] = one
            else:
                name = self._name(one.ref.key.removeprefix(_FOLDER).partition("/")[0])
                old[name] = old.get(name, 0) + 1
        reason = "an older version wrote them, and their footers say too little: they are read again from their sources"
        left += [LeftOut(f"Dataset/{name}", count, reason) for name, count in sorted(old.items())]
        with_parts = (name for name, held in sorted(found.items()) if name not in old and any(one.parts for one in held.values()))
        tables = tuple(self._rebuilt(name, found[name]) for name in with_parts)
        declared = frozenset(key.name for key in self._world.objects if key.kind == "Dataset")
        for table in tables:
            if table.torn:
                torn = "a part of their contents is missing, so that they are read again from their sources"
                left.append(LeftOut(f"Dataset/{table.name}", len(table.torn), torn))
        suspensions, governed = self._remembered(left)
        return Findings(tuple(table for table in tables if table.parts), tuple(left), declared, suspensions, governed)

    def run(self, found: Findings) -> int:
        """Writes the catalog; returns how many tables it has. Raises LeaseHeld, CatalogReadable."""
        holder = Holder(str(ULID()), host=socket.gethostname(), pid=os.getpid(), address="")
        lease = Lease.acquire(self._state, holder, utc_now, floor=newest_epoch(self._state))
        try:
            self.check()
            made, now = self._inventory(found), utc_now()
            made += [
                change
                for table in found.tables
                for change in changes(table, self._refs(table), self._profiles(table), declared=table.name in found.declared, at=iso(now))
            ]
            made += found.suspensions
            lease.check()
            writer = WriterId(holder.id, lease.epoch)
            mirror = None if self._mirror is None else self._buckets.store(self._mirror)
            run = str(ULID.from_datetime(now))
            restart(self._state, mirror, writer, made, run=run, at=iso(now), actor=ACTOR, reason=REASON)
        finally:
            lease.release()
        return len(found.tables)

    def _inventory(self, found: Findings) -> list[Change]:
        """That these are ours: the next start takes what the catalog knows as taken up. What is retained is so only after it had a spec."""
        keys = {Key("Dataset", table.name) for table in found.tables if table.name in found.declared}
        keys |= {Key.of(held.object) for held in found.suspensions}
        marks = (first_mark(self._world, key, str(key) in found.governed) for key in sorted(keys))
        retained = {f"Dataset/{table.name}" for table in found.tables} - {str(key) for key in keys}
        kept = (Managed(name, "", "retain", governed=True) for name in sorted(retained & found.governed))
        return [*(mark for mark in marks if mark is not None), *kept]

    def _files(self, left: list[LeftOut]) -> Iterator[Part | FoundLedger]:
        for bucket in self._buckets.configs():
            store = self._buckets.store(bucket)
            for info in store.list(_FOLDER):
                if not info.key.endswith(".parquet"):
                    continue
                ref = ObjectRef(bucket, info.key, info.size, "")
                try:
                    with own_copy(store, info.key) as path:
                        yield _ledger(ref, path) if any(folder in info.key for folder in _LEDGERS) else Part(ref, read_footer(path))
                except (OSError, ValueError) as error:
                    left.append(LeftOut(f"{bucket}/{info.key}", 1, f"{error}"))

    def _remembered(self, left: list[LeftOut]) -> tuple[tuple[Suspended, ...], frozenset[str]]:
        """By the streams: suspensions in force, of objects that a spec asks for by the name they have now; and what is governed."""
        streams = Streams(self._state, write_ahead(self._place.cache, state_id(self._state)), utc_now)
        try:
            asked = in_force(streams.read("requests"), utc_now())
            turns = (event for event in streams.read("events") if event["reason"] in (reasons.GOVERNED, reasons.RELEASED))
            governed = {event["object"]: event["reason"] == reasons.GOVERNED for event in turns}
        except StateError as error:
            said = f"the streams of requests and events cannot be read, nor what was suspended or governed: {error}"
            left.append(LeftOut("Suspensions", 1, said))
            return (), frozenset()
        now = {self._renamed(Key.of(name)): held for name, held in asked.items()}
        held = tuple(replace(held, object=str(key)) for key, held in now.items() if key in self._world.objects)
        return held, frozenset(str(self._renamed(Key.of(name))) for name, is_governed in governed.items() if is_governed)

    def _renamed(self, key: Key) -> Key:
        return Key(key.kind, self._name(key.name)) if key.kind == "Dataset" else key

    def _name(self, written: str) -> str:
        """The dataset that holds now what was written for another: the one that was renamed since."""
        resources = self._world.resources()
        names = {resource.key.name for resource in resources if resource.key.kind == "Dataset"}
        former = {
            spec.renamed_from: resource.key.name
            for resource in resources
            if resource.key.kind == "Dataset" and (spec := resource.spec_as(DatasetSpec)).renamed_from is not None
        }
        return written if written in names else former.get(written, written)

    def _rebuilt(self, name: str, found: Mapping[str, _Found]) -> Rebuilt:
        """In the bucket of the table; what only its rescue bucket has counts as its own, and is fetched later."""
        rescuers = {config.rescue for config in self._buckets.configs().values()}
        bucket = min((held for held in found if found[held].parts), key=lambda held: (held in rescuers, held))
        asked = next((r.spec_as(DatasetSpec).bucket for r in self._world.resources() if str(r.key) == f"Dataset/{name}"), None)
        if asked is not None and (asked in found or self._buckets.rescue(asked) in found):
            bucket = asked
        own, copies = (found.get(held or "", _Found()) for held in (bucket, self._buckets.rescue(bucket)))
        parts, ledgers = {**copies.parts, **own.parts}, {**copies.ledgers, **own.ledgers}
        edits = [part for key, part in parts.items() if _EDITS in key]
        return rebuild(name, bucket, [part for key, part in parts.items() if _EDITS not in key], edits, ledgers.values())

    def _refs(self, table: Rebuilt) -> dict[str, ObjectRef]:
        """Each with its SHA-256: all of every file is read."""
        refs = {}
        for ref in table.refs:
            with own_copy(self._buckets.store(ref.bucket), ref.key) as path:
                refs[ref.key] = replace(ref, bucket=table.bucket, sha256=sha256_file(path))
        return refs

    def _profiles(self, table: Rebuilt) -> list[Noted]:
        """The newest of each content that lies beside its parts, else a copy; one that cannot be understood is left out."""
        sources, rescue = {part.written.source for part in table.parts}, self._buckets.rescue(table.bucket)
        folders = sorted({part.ref.key.rpartition("/")[0] for part in table.parts})
        found: dict[str, Noted] = {}
        for store in (self._buckets.store(bucket) for bucket in (rescue, table.bucket) if bucket is not None):
            listed = (info for folder in folders for info in store.list(f"{folder}/profile/"))
            for info in sorted(listed, key=lambda info: info.modified):
                document = store.get(info.key)
                try:
                    source, columns = source_of(document), len(parse(document))
                except (ValueError, KeyError, TypeError):
                    continue
                if source in sources:
                    found[source] = Noted("profile", ObjectRef.of(table.bucket, info.key, document), columns, source)
        return list(found.values())


def _ledger(ref: ObjectRef, path: Path) -> FoundLedger:
    """Raises ValueError for what says too little, OSError."""
    facts, rows = read_ledger_facts(path)
    if facts is None:
        raise ValueError("an older version wrote it, and its footer says too little")
    return FoundLedger(ref, rows, facts)
